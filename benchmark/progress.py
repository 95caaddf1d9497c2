"""What a run says: its options and plan, and its progress, on a terminal a line per worker and an overall bar."""

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


def option_lines(cells: list[Any]) -> list[str]:
    """Every option in force: evaluation once, training per dataset, and architecture where it has its own."""
    shown: dict[str, dict[str, list[str]]] = {}  # dataset -> options -> architectures
    for cell in cells:
        kinds = shown.setdefault(cell.dataset.label, {})
        kinds.setdefault(_listed(cell.training), []).append(cell.architecture.label)
    lines = []
    for dataset, kinds in shown.items():
        for options, architectures in kinds.items():
            whose = f"{', '.join(dict.fromkeys(architectures))} on {dataset}" if len(kinds) > 1 else dataset
            lines.append(f"[training of {whose}] {options}")
    return [*lines, f"[evaluation] {_listed(cells[0].evaluation)}"] if cells else []


def plan_lines(cells: list[Any], seconds: dict[str, float | None], workers: int) -> list[str]:
    """Every cell with its estimated cost, and the sum."""
    lines = []
    for cell in cells:
        cost = seconds[cell.key]
        lines.append(f"{'unknown' if cost is None else f'{cost:8.1f} s'}  {cell.key}")
    known = [cost for cost in seconds.values() if cost is not None]
    minutes = sum(known) / 60
    lines.append(
        f"estimated: {minutes:.1f} worker-minutes, about {minutes / max(1, min(workers, len(cells))):.1f} min here "
        "(training only for what has never run here)"
    )
    if len(known) < len(cells):
        lines.append(f"{len(cells) - len(known)} cells have no estimate: their data is not on this machine")
    return lines


def _listed(options: dict[str, Any]) -> str:
    return ", ".join(f"{key} = {value}" for key, value in options.items())
