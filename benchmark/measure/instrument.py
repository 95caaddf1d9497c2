"""Open the instrument of a dataset, measure a snapshot with it, and take its noise floor: what
every metric reads on real samples in the place of generated ones."""

from contextlib import suppress
from dataclasses import dataclass
from functools import lru_cache

import numpy as np

from benchmark.matrix.cell import Cell, Choice, digest
from benchmark.matrix.options import Evaluation
from benchmark.measure.kept import read_arrays, write_arrays
from benchmark.measure.protocol import Instrument, Reading, cache_folder
from benchmark.train.data import make_dataset
from benchmark.train.snapshot import Snapshot

DRAWS = 20  # of real samples, for a noise floor


@dataclass
class NoiseFloor:
    """The noise floor of every column of an instrument."""

    mean: dict[str, float]
    """Mean over the draws, by column; NaN where a draw has no value."""
    spread: dict[str, float]
    """Standard deviation of a draw, by column."""
    draws: int
    source: str
    """Where the samples of a draw come from."""


def open_instrument(choice: Choice, evaluation: Evaluation, device: str) -> Instrument:
    """The instrument of a dataset under an evaluation, opened at most once per process and
    device. Raises ValueError for data that is too small, UserError for an extractor that cannot be
    had."""
    return _open(choice, evaluation.model_dump_json(), device)


@lru_cache(maxsize=4)
def _open(choice: Choice, evaluation: str, device: str) -> Instrument:
    from benchmark.measure import images, points, text

    dataset = make_dataset(choice)
    module = {"images": images, "points": points, "text": text}[dataset.modality]
    return module.Instrument(dataset, Evaluation.model_validate_json(evaluation), device)


def measure(snapshot: Snapshot, device: str) -> dict[str, Reading]:
    """Every metric of a snapshot, by column. Uses no random stream of the training."""
    cell: Cell = snapshot.cell
    instrument = open_instrument(cell.dataset, cell.evaluation, device)
    return instrument.measure(instrument.generated(snapshot))


def noise_floor(instrument: Instrument, code: str) -> NoiseFloor:
    """The noise floor over DRAWS draws, or fewer where these would take long, kept between runs.
    code: the hash of the code that measures."""
    count = min(DRAWS, instrument.floor_draws)
    columns = list(instrument.columns.values())
    values = _kept_values(instrument, columns, count, code)
    mean, spread = values.mean(0), values.std(0, ddof=1)
    return NoiseFloor(
        dict(zip(columns, mean.tolist(), strict=True)),
        dict(zip(columns, spread.tolist(), strict=True)),
        count,
        instrument.floor_source,
    )


def _kept_values(instrument: Instrument, columns: list[str], count: int, code: str) -> np.ndarray:
    """The values of the draws, (count, columns): read from the measuring cache, or measured and
    written there."""
    key = digest([instrument.parts, columns, count, code], 16)
    file = cache_folder() / f"floor-{key}.npz"
    kept = read_arrays(file)
    if kept and kept.get("values", np.empty(0)).shape == (count, len(columns)):
        return kept["values"]
    rows = []
    for draw in instrument.draws(count):
        readings = instrument.measure_real(draw)
        rows.append([readings[column].value for column in columns])
    values = np.array(rows, dtype=float).reshape(count, len(columns))
    # a cache that cannot be written to costs time alone
    with suppress(OSError):
        write_arrays(file, values=values)
    return values
