"""What a run says: its options and plan, and its progress, on a terminal a line per cell and an
overall bar."""

from types import TracebackType
from typing import Any

from rich.console import Console
from rich.progress import (
    BarColumn,
    MofNCompleteColumn,
    Progress,
    Task,
    TaskID,
    TextColumn,
    TimeRemainingColumn,
)
from rich.text import Text

from benchmark.text import duration, place_name

LINES = 16  # of running cells, at most


class Display:
    """A context manager; `event` takes what the driver reports. `ended` has the status of every
    cell that did."""

    def __init__(self, total: int, workers: int) -> None:
        self.console, self.total = Console(stderr=True), total
        self.most, self.ended = min(workers, LINES), dict[str, str]()
        self.lines: dict[str, TaskID] = {}
        self.partial: dict[str, float] = {}  # key -> progress of a running cell
        self.progress = Progress(
            TextColumn("{task.description}", markup=False),
            BarColumn(),
            MofNCompleteColumn() if total == 1 else TextColumn("{task.percentage:>3.0f}%"),
            Left(),
            console=self.console,
            disable=not self.console.is_terminal,
        )
        self.overall = self.progress.add_task(f"0/{total} cells", total=total, left="")

    def event(self, event: dict[str, Any]) -> None:
        key, status = event["key"], event["status"]
        if status == "running":
            self.partial[key] = event["progress"]
            if key in self.lines:
                self.progress.update(self.lines[key], completed=event["progress"])
            elif len(self.lines) < self.most:
                self.lines[key] = self.progress.add_task(
                    key[:70], total=1.0, completed=event["progress"]
                )
        else:
            self.partial.pop(key, None)
            if key in self.lines:
                self.progress.remove_task(self.lines.pop(key))
            self._say(event)
        self.progress.update(self.overall, completed=len(self.ended) + sum(self.partial.values()))

    def _say(self, event: dict[str, Any]) -> None:
        key, status = event["key"], event["status"]
        if status == "taken":
            line = f"{key}: another run has it now"
        elif status == "lost":
            line = f"{key}: {event['reason']}; it is started again"
        else:
            self.ended[key] = status
            left = duration(event["left"])
            self.progress.update(
                self.overall, description=f"{len(self.ended)}/{self.total} cells", left=left
            )
            reason = f": {event['reason']}" if event["reason"] else ""
            line = f"[{len(self.ended)}/{self.total}] {key} {status}{reason}"
            if not self.console.is_terminal:
                line += f" ({event.get('train_seconds') or 0:.1f} s training, {left} left)"
            elif status == "done":
                return
        self.console.print(
            line, markup=False, highlight=False, soft_wrap=not self.console.is_terminal
        )

    def __enter__(self) -> "Display":
        self.progress.start()
        return self

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        trace: TracebackType | None,
    ) -> None:
        self.progress.stop()


class Left(TimeRemainingColumn):
    """The time left: of the run as the driver has it, of a cell by its own pace."""

    def render(self, task: Task) -> Text:
        return Text(task.fields["left"]) if "left" in task.fields else super().render(task)


def option_lines(cells: list[Any]) -> list[str]:
    """Every option in force: evaluation once, training per dataset, and architecture where it has
    its own."""
    shown: dict[str, dict[str, list[str]]] = {}  # dataset -> options -> architectures
    for cell in cells:
        kinds = shown.setdefault(cell.dataset.label, {})
        kinds.setdefault(_listed(cell.training.plain()), []).append(cell.architecture.label)
    lines = []
    for dataset, kinds in shown.items():
        for options, architectures in kinds.items():
            whose = dataset
            if len(kinds) > 1:
                whose = place_name(", ".join(dict.fromkeys(architectures)), dataset)
            lines.append(f"[training of {whose}] {options}")
    return [*lines, f"[evaluation] {_listed(cells[0].evaluation.plain())}"] if cells else []


def plan_lines(
    cells: list[Any], seconds: dict[str, float | None], workers: int | None
) -> list[str]:
    """Every cell with its estimated cost, and the sum; shared by so many workers here, or by those
    of a cluster."""
    lines = []
    for cell in cells:
        cost = seconds[cell.key]
        lines.append(f"{'unknown' if cost is None else f'{cost:8.1f} s'}  {cell.key}")
    known = [cost for cost in seconds.values() if cost is not None]
    minutes = sum(known) / 60
    here = f", about {minutes / max(1, min(workers, len(cells))):.1f} min here" if workers else ""
    lines.append(
        f"estimated: {minutes:.1f} worker-minutes{here} (training only for what has never run here)"
    )
    if len(known) < len(cells):
        lines.append(
            f"{len(cells) - len(known)} cells have no estimate: their data is not on this machine"
        )
    return lines


def _listed(options: dict[str, Any]) -> str:
    return ", ".join(f"{key} = {value}" for key, value in options.items())
