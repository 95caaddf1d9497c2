"""Open the instrument of a dataset, and measure a snapshot with it."""

from functools import lru_cache

from benchmark.matrix.cell import Cell, Choice
from benchmark.matrix.options import Evaluation
from benchmark.measure.protocol import Instrument, Reading
from benchmark.train.data import make_dataset
from benchmark.train.snapshot import Snapshot


def open_instrument(choice: Choice, evaluation: Evaluation, device: str) -> Instrument:
    """The instrument of a dataset under an evaluation, opened at most once per process and
    device. Raises ValueError for data that is too small, UserError for an extractor that cannot be
    had."""
    return _open(choice, evaluation.model_dump_json(), device)


@lru_cache(maxsize=4)
def _open(choice: Choice, evaluation: str, device: str) -> Instrument:
    from benchmark.measure import images, points

    dataset = make_dataset(choice)
    module = {"images": images, "points": points}[dataset.modality]
    return module.Instrument(dataset, Evaluation.model_validate_json(evaluation), device)


def measure(snapshot: Snapshot, device: str) -> dict[str, Reading]:
    """Every metric of a snapshot, by column. Uses no random stream of the training."""
    cell: Cell = snapshot.cell
    instrument = open_instrument(cell.dataset, cell.evaluation, device)
    return instrument.measure(snapshot.sample(instrument.n))
