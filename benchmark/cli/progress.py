"""What a run prints: its options, its plan and its progress; on a terminal a line per cell and a
bar for all."""

from typing import TYPE_CHECKING, Any

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

from benchmark.cli.options import note
from benchmark.text import duration, place_name

if TYPE_CHECKING:
    from benchmark.matrix.cell import Cell
    from benchmark.run.events import CellNews
    from benchmark.run.session import Session
    from benchmark.store.schema import Status

MOST_LINES = 16  # of running cells


class Display:
    """Shows how a run goes: the Reporter of the command line."""

    progress: Progress

    def __init__(self) -> None:
        self.console = Console(stderr=True)
        self.num_ended = 0
        self.lines: dict[str, TaskID] = {}  # by key
        self.partial: dict[str, float] = {}  # key → progress of a running cell

    def note(self, text: str) -> None:
        note.print(text)

    def begin(self, num_cells: int, num_workers: int) -> None:
        self.num_cells, self.most_lines = num_cells, min(num_workers, MOST_LINES)
        percent = TextColumn("{task.percentage:>3.0f}%")
        self.progress = Progress(
            TextColumn("{task.description}", markup=False),
            BarColumn(),
            MofNCompleteColumn() if num_cells == 1 else percent,
            TimeLeft(),
            console=self.console,
            disable=not self.console.is_terminal,
        )
        self.overall = self.progress.add_task(f"0/{num_cells} cells", total=num_cells, left="")
        self.progress.start()

    def end(self) -> None:
        self.progress.stop()

    def news(self, news: "CellNews") -> None:
        from benchmark.run.events import Ended, Lost, Running, Taken

        match news.event:
            case Running(key, status):
                self._show_running(key, status.progress or 0.0)
            case Taken(key):
                self._remove(key)
                self._print(f"{key}: another process is running it")
            case Lost(key, reason):
                self._remove(key)
                self._print(f"{key}: {reason}; it is started again")
            case Ended(key, status):
                self._remove(key)
                self._show_end(key, status, duration(news.seconds_left))
        completed = self.num_ended + sum(self.partial.values())
        self.progress.update(self.overall, completed=completed)

    def _show_running(self, key: str, progress: float) -> None:
        self.partial[key] = progress
        if key in self.lines:
            self.progress.update(self.lines[key], completed=progress)
        elif len(self.lines) < self.most_lines:
            self.lines[key] = self.progress.add_task(key[:70], total=1.0)
            self.progress.update(self.lines[key], completed=progress)

    def _remove(self, key: str) -> None:
        self.partial.pop(key, None)
        if key in self.lines:
            self.progress.remove_task(self.lines.pop(key))

    def _show_end(self, key: str, status: "Status", left: str) -> None:
        self.num_ended += 1
        counted = f"{self.num_ended}/{self.num_cells}"
        self.progress.update(self.overall, description=f"{counted} cells", left=left)
        line = f"[{counted}] {key} {status.status}"
        if status.reason:
            line += f": {status.reason}"
        if not self.console.is_terminal:
            line += f" ({status.train_seconds or 0:.1f} s training, {left} left)"
        elif status.status == "done":
            return
        self._print(line)

    def _print(self, line: str) -> None:
        soft_wrap = not self.console.is_terminal
        self.console.print(line, markup=False, highlight=False, soft_wrap=soft_wrap)


class TimeLeft(TimeRemainingColumn):
    """The time left: of the run as the driver has it, of a cell at its own pace."""

    def render(self, task: Task) -> Text:
        if "left" in task.fields:
            return Text(task.fields["left"])
        return super().render(task)


def option_lines(cells: "list[Cell]") -> list[str]:
    """Every option in force: evaluation once, training per dataset, and per architecture if an
    architecture has options of its own."""
    shown: dict[str, dict[str, list[str]]] = {}  # dataset → options → architectures
    for cell in cells:
        by_options = shown.setdefault(cell.dataset.label, {})
        names = by_options.setdefault(_listed(cell.training.plain()), [])
        if cell.architecture.label not in names:
            names.append(cell.architecture.label)
    lines = []
    for dataset, by_options in shown.items():
        for options, names in by_options.items():
            whose = dataset
            if len(by_options) > 1:
                whose = place_name(", ".join(names), dataset)
            lines.append(f"[training of {whose}] {options}")
    if cells:
        lines.append(f"[evaluation] {_listed(cells[0].evaluation.plain())}")
    return lines


def plan_lines(session: "Session") -> list[str]:
    """Every cell with its estimated cost, and the sum."""
    estimates = session.estimates
    lines = []
    for key in session.cells:
        seconds = estimates[key]
        cost = "unknown" if seconds is None else f"{seconds:8.1f} s"
        lines.append(f"{cost}  {key}")
    known = [seconds for seconds in estimates.values() if seconds is not None]
    minutes = sum(known) / 60
    here = ""
    if session.options.engine == "local":
        workers = max(1, min(len(session.devices), len(session.cells)))
        here = f", about {minutes / workers:.1f} min here"
    lines.append(
        f"estimated: {minutes:.1f} worker-minutes{here} (training only for what has never run here)"
    )
    num_unknown = len(estimates) - len(known)
    if num_unknown:
        lines.append(f"{num_unknown} cells have no estimate: their data is not on this machine")
    return lines


def _listed(options: dict[str, Any]) -> str:
    return ", ".join(f"{key} = {value}" for key, value in options.items())
