"""Which cells of a matrix are still to run, and what they may cost."""

from collections.abc import Iterable
from dataclasses import replace
from itertools import pairwise

from benchmark.errors import UserError
from benchmark.machine.memory import out_of_memory, total_memory
from benchmark.matrix.cell import Cell
from benchmark.matrix.pairs import sizes
from benchmark.run.queue import learned
from benchmark.store.clocks import group_of
from benchmark.store.schema import FINISHED, SETTLED, Status
from benchmark.train.build import make_objective, open_workbench
from benchmark.train.loop import train
from variants.datasets import no_downloads

TRIAL_STEPS = 3  # generator steps that are timed for an estimate


def pending(
    cells: dict[str, Cell], known: dict[str, Status], *, force: bool, retry_errors: bool
) -> dict[str, Cell]:
    """The cells that are still to run, by key: all with `force`; otherwise those that are neither
    finished nor, without `retry_errors`, ended in an error or at the time limit."""
    if force:
        return dict(cells)
    left_alone = FINISHED if retry_errors else SETTLED
    return {key: cell for key, cell in cells.items() if known[key].status not in left_alone}


def check_size(cells: Iterable[Cell], device: str) -> None:
    """Raise UserError for a cell that does not fit into the memory of a device, before anything of
    it is allocated."""
    total = total_memory(device)
    for cell in cells:
        for part, needed in sizes(cell).items():
            if total is not None and needed > total:
                raise UserError(
                    f"{cell.architecture.label} x {cell.dataset.label}: {part} take "
                    f"{_gib(needed)} of memory or more, and {device} has {_gib(total)}"
                )


def _gib(num_bytes: int) -> str:
    return f"{num_bytes / 2**30:,.4g} GiB"


def estimate(
    cells: dict[str, Cell], known: dict[str, Status], device: str
) -> dict[str, float | None]:
    """Seconds per cell, by key: the median of the finished cells of the group, otherwise the time
    of TRIAL_STEPS generator steps now, extrapolated (training only). None if the data is not on
    this machine: nothing is downloaded for an estimate."""
    groups: dict[str, float | None] = {}
    groups.update(learned((cell.spec, known[key]) for key, cell in cells.items()))
    for cell in cells.values():
        group = group_of(cell.spec)
        if group not in groups:
            groups[group] = _time_steps(cell, device)
    return {key: groups[group_of(cell.spec)] for key, cell in cells.items()}


def _time_steps(cell: Cell, device: str) -> float | None:
    options = cell.training
    trial = replace(
        cell,
        training=options.replaced(steps=TRIAL_STEPS, samples=None, seconds=None),
        evaluation=cell.evaluation.replaced(schedule=[1.0], log_every=1),
    )
    try:
        with no_downloads():
            bench = open_workbench(trial)
        clock = [snapshot.train_seconds for snapshot in train(trial, device, bench=bench)]
    except OSError:
        return None
    except ValueError as error:
        raise UserError(f"{cell.key}: {error}") from error
    except Exception as error:
        reason = out_of_memory(error, device)
        if reason is None:
            raise
        raise UserError(f"{cell.key}: {reason}") from error
    if options.seconds:
        return options.seconds
    quickest = min(after - before for before, after in pairwise(clock))
    return quickest * _num_steps(cell)


def _num_steps(cell: Cell) -> float:
    """Generator steps of a whole cell with a budget in steps or samples."""
    if cell.training.steps:
        return cell.training.steps
    assert cell.training.samples
    # Far from the first steps, where some objectives take more critic steps
    d_steps = make_objective(cell.objective).d_steps(1000)
    return cell.training.samples / (cell.training.batch_size * d_steps)
