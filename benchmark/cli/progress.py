"""What a run prints: its options, its plan and its progress; on a terminal a line per cell and a
bar for all."""

from collections.abc import Iterator
from typing import TYPE_CHECKING

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
from benchmark.text import as_toml, duration, number, place_name, plural

if TYPE_CHECKING:
    from benchmark.matrix.cell import Cell
    from benchmark.matrix.options import Training
    from benchmark.run.events import CellNews
    from benchmark.run.session import Session
    from benchmark.store.schema import Status

MOST_LINES = 16  # of running cells
# Why a dry run does not download
NOT_NOW = "and nothing is downloaded here"


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

    def add(self, num_cells: int) -> None:
        self.num_cells += num_cells
        self.progress.update(self.overall, total=self.num_cells)

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
    """Every option in force, as lines of a matrix file: each training once, with the places that it
    holds for, and the evaluation, which is the same for all. What an objective sets for its own
    cells stands in its label."""
    places: dict[str, dict[str, None]] = {}  # dataset → architectures
    # training → dataset → architectures
    holders: dict[Training, dict[str, dict[str, None]]] = {}
    for cell in cells:
        dataset, architecture = cell.dataset.label, cell.architecture.label
        holder = holders.setdefault(cell.training.without(cell.objective.params), {})
        for of_dataset in (places, holder):
            of_dataset.setdefault(dataset, {})[architecture] = None
    lines = []
    for training, holder in holders.items():
        names = []
        for dataset, architectures in holder.items():
            is_whole = architectures.keys() == places[dataset].keys()
            names.append(dataset if is_whole else place_name(", ".join(architectures), dataset))
        lines.append(f"training = {as_toml(training.plain())}  # {'; '.join(names)}")
    if cells:
        lines.append(f"evaluation = {as_toml(cells[0].evaluation.plain())}")
    return lines


def plan_lines(session: "Session") -> Iterator[str]:
    """What is to run, by place and objective; the data that is missing; the cost."""
    places: dict[str, dict[str, list[Cell]]] = {}
    for cell in session.todo.values():
        place = place_name(cell.architecture.label, cell.dataset.label)
        places.setdefault(place, {}).setdefault(_group_name(session, cell), []).append(cell)
    missing = session.missing_data
    for place, groups in places.items():
        num_cells = sum(map(len, groups.values()))
        yield f"{place}: {plural(num_cells, 'cell')} to run"
        width = max(map(len, groups))
        for objective, cells in groups.items():
            seconds = _mean([session.estimates[cell.key] for cell in cells])
            cost = "" if seconds is None else f"  {_spent(seconds)} each"
            seeds = ranges([*{cell.seed for cell in cells}])
            yield f"  {objective:{width}}  seed {seeds}{cost}"
    for dataset, reason in missing.items():
        advice = f"data of {dataset} is missing: {reason}"
        yield advice.replace(NOT_NOW, "`ganbench run` downloads it")
    if session.todo:
        yield from _cost_lines(session)
    else:
        yield "nothing is left to run"


def _group_name(session: "Session", cell: "Cell") -> str:
    """What a plan calls the group of a cell; configurations of a search are one group."""
    names = session.growing.now.display_names.get("objective", {})
    part = session.growing.now.parts.get(cell.key)
    label = cell.objective.label
    if part is None:
        return f"{label} ({names[label]})" if label in names else label
    if part.phase == "pool":
        return f"{part.objective}: {part.of} configurations"
    return f"{names.get(label, label)}: final runs"


def _mean(seconds: list[float | None]) -> float | None:
    """The mean of the seconds that are known; None where none is."""
    known = [value for value in seconds if value is not None]
    return sum(known) / len(known) if known else None


def _cost_lines(session: "Session") -> Iterator[str]:
    """The cost of the matrix by its head, and the cost of what is to run as far as it is known."""
    from benchmark.matrix.files import cost_of

    cost = cost_of(session.description)
    if cost:
        yield f"cost of the whole matrix, by its head: {cost}"
    known = [seconds for seconds in session.estimates.values() if seconds is not None]
    num_cells = len(session.todo)
    following = session.growing.following(session.estimates)
    if following:
        num_cells += len(following)
        known += [seconds for seconds in following if seconds is not None]
        cells = plural(len(following), "cell")
        yield f"and {cells} that follow from results, priced as a mean configuration"
    if known:
        where = ""
        if session.options.engine == "local":
            workers = max(1, min(len(session.devices), num_cells))
            where = f", with {plural(workers, 'worker')} {duration(sum(known) / workers)}"
        yield (
            f"estimated for {len(known):,} of {plural(num_cells, 'cell')}: "
            f"{duration(sum(known))} of work{where} (what has never run here: training alone, one "
            "seed after the other)"
        )
    elif not cost:
        yield "the cost is not known: nothing like it has run here"


def _spent(seconds: float) -> str:
    return f"{number(seconds)} s" if seconds < 60 else duration(seconds)


def ranges(seeds: list[int]) -> str:
    """`0-3, 5`: numbers in rising order."""
    runs: list[list[int]] = []
    for seed in sorted(seeds):
        if runs and runs[-1][-1] == seed - 1:
            runs[-1].append(seed)
        else:
            runs.append([seed])
    return ", ".join(f"{run[0]}-{run[-1]}" if len(run) > 1 else str(run[0]) for run in runs)
