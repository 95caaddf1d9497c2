"""Which cells of a matrix are still to run, which places are to be raced before, and what both may
cost."""

from collections import defaultdict
from collections.abc import Callable, Collection, Iterable, Iterator
from contextlib import closing
from dataclasses import replace
from functools import partial
from itertools import pairwise
from platform import node
from time import monotonic

from benchmark.errors import UserError
from benchmark.machine.limits import total_memory
from benchmark.matrix import recall
from benchmark.matrix.cell import Cell, Choice, digest
from benchmark.matrix.search.part import Rung
from benchmark.run.engines.base import Pool
from benchmark.run.events import Entrant, RaceTask
from benchmark.run.options import RunOptions
from benchmark.run.queue import learned
from benchmark.run.stacking import Place, Stacks, num_steps, place_of
from benchmark.store.clocks import group_of
from benchmark.store.code import training_code
from benchmark.store.layout import ResultSet
from benchmark.store.schema import FINISHED, SETTLED, Race, RunStatus, Status
from benchmark.text import one_line, place_name, plural

TRIAL_STEPS = 3  # generator steps that are timed for an estimate
TRIAL_SECONDS = 10.0  # that all of them may take; the last one ends later


def statuses(
    results: ResultSet, keys: Iterable[str], rung: Callable[[str], Rung | None]
) -> tuple[dict[str, Status], dict[str, str]]:
    """Key → what is known of a cell, and the fault of each that is damaged; a finished one with
    damaged files is MISSING, and so is one that another rung ended. rung: of a cell, by key."""
    # A cell that never began has no folder
    folders = {folder.name for folder in results.cells.glob("*")}
    known, faults = {}, {}
    for key in keys:
        known[key] = Status(status=RunStatus.MISSING)
        if key not in folders:
            continue
        files = results.cell(key)
        status, fault = files.read_status()
        if status.status.is_finished:
            fault = files.fault(status)
        if fault is not None:
            faults[key] = fault
        is_stopped = status.status == RunStatus.STOPPED
        if fault is not None or (is_stopped and status.rung != rung(key)):
            status = Status(status=RunStatus.MISSING, attempt=status.attempt)
        known[key] = status
    return known, faults


def pending(
    cells: dict[str, Cell], known: dict[str, Status], *, force: bool, retry_errors: bool
) -> dict[str, Cell]:
    """The cells that are still to run, by key: all with `force`; otherwise those that are neither
    finished nor, without `retry_errors`, ended in an error or at the time limit."""
    if force:
        return dict(cells)
    left_alone = FINISHED if retry_errors else SETTLED
    return {key: cell for key, cell in cells.items() if known[key].status not in left_alone}


def races(cells: Iterable[Cell], todo: Collection[str], stacks: Stacks) -> list[RaceTask]:
    """The races of the places that have cells to run, with every objective of the matrix there,
    whichever cells are to run: costs compare within one race. cells: of the whole matrix. todo:
    keys."""
    places: dict[Place, list[Cell]] = defaultdict(list)
    for cell in cells:
        places[place_of(cell)].append(cell)
    tasks = []
    for (architecture, dataset), here in places.items():
        if not any(cell.key in todo for cell in here):
            continue
        firsts: dict[str, Cell] = {}
        for cell in here:
            firsts.setdefault(cell.objective.label, cell)
        entrants = []
        for label, cell in firsts.items():
            entrants.append(Entrant(label, stacks.stack_of(cell) or (cell,)))
        execution = stacks.execution_of(here[0])
        asked = digest([execution, *map(_raced_like, entrants)])
        num_seeds = len({cell.seed for cell in here})
        tasks.append(RaceTask(dataset, architecture, asked, tuple(entrants), num_seeds, execution))
    return tasks


def _raced_like(entrant: Entrant) -> list[object]:
    """Equal for entrants whose steps cost the same on one device."""
    cell = entrant.cells[0]
    spec = {name: value for name, value in cell.spec.items() if name != "seed"}
    return [spec, cell.norm, len(entrant.cells), training_code(cell)]


def is_raced(task: RaceTask, made: Iterable[Race], device: str | None, threads: int) -> bool:
    """Whether a race has a result already, on the same device (any for None: that of a cluster is
    not known before) with as many threads."""
    for race in made:
        machine = race.surroundings
        is_here = device in (None, machine.device) and machine.threads == threads
        if is_here and race.asked == task.asked and not race.fault:
            return True
    return False


def hold_races(
    contests: list[RaceTask],
    results: ResultSet,
    pool: Pool,
    machine: tuple[str | None, int],
    note: Callable[[str], None],
) -> None:
    """Hold the races that have no result on such a machine (device, threads) yet. A race without a
    result is noted: the place has no raced seconds."""
    made = results.races
    due = [contest for contest in contests if not is_raced(contest, made, *machine)]
    for race in pool.races(_announced(due, note)):
        results.write_race(race)
        if race.fault:
            where = place_name(race.architecture, race.dataset)
            note(f"{where} has no raced seconds: {race.fault}")


def _announced(contests: list[RaceTask], note: Callable[[str], None]) -> Iterator[RaceTask]:
    """The contests, each with a note as it begins."""
    for contest in contests:
        where = place_name(contest.architecture, contest.dataset)
        what = f"racing {plural(len(contest.entrants), 'objective')} of {where}"
        if "compiled" in contest.execution:
            what = f"compiling (once, minutes) and {what}"
        note(f"{what}: what a generator step costs …")
        yield contest


def check_size(cells: Iterable[Cell], device: str) -> None:
    """Raise UserError for a cell that does not fit into the memory of a device, before anything of
    it is allocated."""
    total = total_memory(device)
    alike: dict[object, Cell] = {}
    for cell in cells:
        alike.setdefault((place_of(cell), cell.norm, cell.training, cell.evaluation.n), cell)
    for cell in alike.values():
        for part, needed in recall.sizes(cell).items():
            if total is not None and needed > total:
                raise UserError(
                    f"{cell.architecture.label} x {cell.dataset.label}: {part} take "
                    f"{_gib(needed)} of memory or more, and {device} has {_gib(total)}"
                )


def checked(
    options: RunOptions, devices: list[str], cells: list[Cell], note: Callable[[str], None]
) -> RunOptions:
    """The options of a run on its devices. Every CUDA device is checked first: a line says what was
    found, and what fails on one device is used on none. Raises UserError for a cell that does
    not fit, and for a device that gives wrong numbers."""
    from benchmark.train.execution.modes import resolve
    from benchmark.train.execution.self_check import self_check
    from benchmark.train.step_memory import check_fit

    if options.engine != "local" or not cells:
        return options
    precisions = {cell.training.precision for cell in cells}
    for device in dict.fromkeys(devices):
        check_fit(cells, device)
        if not device.startswith("cuda"):
            continue
        asked = resolve(options.execution, device)
        findings = self_check(device, asked, precisions)
        note(findings.line)
        if findings.execution != asked:
            options = replace(options, execution=findings.execution)
    return options


def _gib(num_bytes: int) -> str:
    return f"{num_bytes / 2**30:,.4g} GiB"


def estimate(
    cells: dict[str, Cell],
    known: dict[str, Status],
    device: str,
    todo: Collection[str] | None = None,
    alike: Callable[[Cell], Cell] = lambda cell: cell,
) -> dict[str, float | None]:
    """Seconds per cell of `todo` (None: of all), by key: the median of the finished cells of the
    group, otherwise the time of TRIAL_STEPS generator steps, extrapolated (training only). These
    are trained once on a machine. None if the data is not on this machine, for nothing is
    downloaded for an estimate, and for groups whose turn came after TRIAL_SECONDS of trials. alike:
    a cell that stands for all that cost the same."""
    groups: dict[str, float | None] = {}
    groups.update(learned((alike(cell).spec, known[key]) for key, cell in cells.items()))
    end = monotonic() + TRIAL_SECONDS
    asked: dict[str, str] = {}
    for key, cell in cells.items():
        if todo is not None and key not in todo:
            continue
        group = asked[key] = group_of(alike(cell).spec)
        if group not in groups:
            groups[group] = _trial(group, cell, device, end)
    recall.save()
    return {key: groups[group] for key, group in asked.items()}


def missing_data(cells: Iterable[Cell]) -> dict[str, str]:
    """Dataset -> why its data cannot be read here, which says where to put it; for the datasets
    whose data is not on this machine. Nothing is downloaded."""
    missing = {}
    for label, choice in {cell.dataset.label: cell.dataset for cell in cells}.items():
        try:
            if recall.is_found_anywhere(choice.name):
                about = [choice.name, choice.params]
                recall.answer("is_readable", about, partial(_read, choice))
            else:
                _read(choice)
        except OSError as error:
            missing[label] = one_line(error)
        except ValueError as error:
            raise UserError(f"dataset {label}: {error}") from error
    recall.save()
    return missing


def _read(choice: Choice) -> bool:
    """Load a dataset without a download. Raises OSError for data that is not here."""
    from benchmark.train.build import load_dataset
    from variants.datasets import no_downloads

    with no_downloads():
        load_dataset(choice)
    return True


def _trial(group: str, cell: Cell, device: str, end: float) -> float | None:
    """Seconds of a whole cell as `_time_steps` found them on this machine; None without data, and
    where it was too late."""

    def find() -> float | None:
        return _time_steps(cell, device, end) if monotonic() < end else None

    try:
        return recall.answer("trial", [group, device, node()], find)
    except OSError:
        return None


def _time_steps(cell: Cell, device: str, end: float) -> float | None:
    """Seconds of a whole cell by a few steps of it. None where only the first step, which costs
    more than others, was done by `end` of the monotonic clock. Raises OSError without data."""
    from benchmark.machine.clock import one_thread
    from benchmark.machine.memory import out_of_memory
    from benchmark.train.build import open_workbench
    from benchmark.train.loop import train
    from variants.datasets import no_downloads

    options = cell.training
    trial = replace(
        cell,
        training=options.replaced(steps=TRIAL_STEPS, samples=None, seconds=None),
        evaluation=cell.evaluation.replaced(schedule=[1.0], log_every=1),
    )
    try:
        with no_downloads():
            bench = open_workbench(trial)
        clock = []
        with one_thread(), closing(train(trial, device, bench=bench)) as snapshots:
            for snapshot in snapshots:
                clock.append(snapshot.train_seconds)
                if clock[-1] > clock[0] and monotonic() > end:
                    break
    except OSError:
        raise
    except ValueError as error:
        raise UserError(f"{cell.key}: {error}") from error
    except Exception as error:
        reason = out_of_memory(error, device)
        if reason is None:
            raise
        raise UserError(f"{cell.key}: {reason}") from error
    if options.seconds:
        return options.seconds
    steps = [after - before for before, after in pairwise(clock) if after > before]
    return min(steps) * num_steps(cell) if len(steps) > 1 else None
