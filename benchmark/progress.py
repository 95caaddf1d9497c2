"""Progress on a terminal: a line per worker and an overall bar with the time left; elsewhere plain lines."""

import time
from types import TracebackType
from typing import Any

from rich.console import Console
from rich.progress import BarColumn, MofNCompleteColumn, Progress, TaskID, TextColumn, TimeRemainingColumn


class Display:
    """A context manager; `event` takes what an engine reports."""

    def __init__(self, total: int, workers: int) -> None:
        self.console, self.total, self.finished = Console(stderr=True), total, 0
        self.started, self.partial = time.monotonic(), [0.0] * workers
        self.progress = Progress(
            TextColumn("{task.description}", markup=False),
            BarColumn(),
            MofNCompleteColumn() if total == 1 else TextColumn("{task.percentage:>3.0f}%"),
            TimeRemainingColumn(),
            console=self.console,
            disable=not self.console.is_terminal,
        )
        self.overall: TaskID = self.progress.add_task(f"0/{total} cells", total=total)
        self.lines = [self.progress.add_task("starting", total=1.0) for _ in range(workers)]

    def event(self, worker: int, event: dict[str, Any]) -> None:
        if "status" not in event:
            self.partial[worker] = event["progress"]
            self.progress.update(self.lines[worker], description=event["key"][:70], completed=event["progress"])
        else:
            self.finished, self.partial[worker] = self.finished + 1, 0.0
            self.progress.update(self.overall, description=f"{self.finished}/{self.total} cells")
            self.progress.update(self.lines[worker], description="waiting", completed=0.0)
            reason = f": {event['reason']}" if event["reason"] else ""
            line = f"[{self.finished}/{self.total}] {event['key']} {event['status']}{reason}"
            if not self.console.is_terminal:
                line += f" ({event.get('train_seconds', 0):.1f} s training, {self._left()} left)"
                self.console.print(line, markup=False, highlight=False, soft_wrap=True)
            elif event["status"] not in ("done",):
                self.console.print(line, markup=False, highlight=False)
        self.progress.update(self.overall, completed=self.finished + sum(self.partial))

    def _left(self) -> str:
        seconds = (time.monotonic() - self.started) / self.finished * (self.total - self.finished)
        return f"{seconds // 60:.0f} min {seconds % 60:02.0f} s"

    def __enter__(self) -> "Display":
        self.progress.start()
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self.progress.stop()
