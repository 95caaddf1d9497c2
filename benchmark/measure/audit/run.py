"""Audit the metrics of a dataset: every metric of real samples with every planted fault."""

from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import replace
from functools import partial
from typing import Any

import numpy as np
import torch
from torch import Tensor

from benchmark.errors import UserError
from benchmark.matrix.cell import Cell
from benchmark.measure.audit.faults import FAULTS, NEED_LABELS, Fault, Material
from benchmark.measure.instrument import open_instrument
from benchmark.measure.protocol import Draw, Instrument, Reading, protocol_id
from benchmark.metrics import metric
from benchmark.stats.detection import course, first_seen, rates, seen_from
from benchmark.text import one_line

SHARES = (0.05, 0.1, 0.25, 0.5, 0.75, 0.9, 1.0)
UNPLANTED = 39  # draws without a fault: a level of 1/40 on either side
PLANTED = 20  # draws with each fault and share
Row = dict[str, Any]
Values = dict[tuple[str, str, float], list[float]]  # (column, fault, share) -> values


def audit_datasets(
    cells: Sequence[Cell], device: str, note: Callable[[str], object]
) -> tuple[list[Row], list[Row]]:
    """The rows of `audit` and of `limits` for every dataset of cells, with dataset, protocol and n.
    Raises UserError for data that cannot be read or is too small."""
    values: list[Row] = []
    found: list[Row] = []
    for label, cell in {cell.dataset.label: cell for cell in cells}.items():
        try:
            instrument = open_instrument(cell.dataset, cell.evaluation, device)
            note(f"auditing {len(instrument.columns)} metrics on {label} …")
            rows = list(audit(instrument))
        except (ValueError, OSError) as error:
            raise UserError(f"dataset {label}: {one_line(error)}") from error
        where = {"dataset": label, "protocol": protocol_id(instrument), "n": instrument.n}
        values += [where | row for row in rows]
        found += [where | row for row in limits(rows)]
    return values, found


def audit(instrument: Instrument) -> Iterator[Row]:
    """What every metric reads of every fault and share, one row each: column, metric, fault, share,
    draws, mean and sd of the values, seen and better (the shares of the draws that are worse, and
    better, than all draws without a fault). share 0 is without a fault."""
    unplanted, planted = _values(instrument)
    for column, values in unplanted.items():
        yield _row(column, "", 0.0, values) | {"seen": None, "better": None}
    for (column, fault, share), values in planted.items():
        seen, better = rates(badness(column, values), badness(column, unplanted[column]))
        yield _row(column, fault, share, values) | {"seen": seen, "better": better}


def limits(rows: list[Row]) -> Iterator[Row]:
    """What every metric sees of every fault, one row each, from the rows of `audit`: column,
    metric, fault, course (monotone, not monotone or flat), seen_from (the smallest share from which
    on it is seen with 80 % power), better_from (the smallest share that reads as better)."""
    by_fault: dict[tuple[str, str], list[Row]] = {}
    without = {}
    for row in rows:
        if row["fault"]:
            by_fault.setdefault((row["column"], row["fault"]), []).append(row)
        else:
            without[row["column"]] = row
    for (column, fault), planted in by_fault.items():
        ordered = sorted(planted, key=lambda row: row["share"])
        shares = [row["share"] for row in ordered]
        clean = without[column]
        means = badness(column, [clean["mean"], *(row["mean"] for row in ordered)])
        yield {
            "column": column,
            "metric": metric(column).name,
            "fault": fault,
            "course": course(means, spread(column, clean)),
            "seen_from": seen_from(shares, [row["seen"] for row in ordered]),
            "better_from": first_seen(shares, [row["better"] for row in ordered]),
        }


def badness(column: str, values: list[float]) -> np.ndarray:
    """Values of a metric on a scale on which more is worse."""
    row = metric(column)
    array = np.array(values, dtype=float)
    if row.ideal is not None:
        with np.errstate(divide="ignore"):
            return np.abs(np.log(array / row.ideal))
    return array if row.direction == "min" else -array


def spread(column: str, clean: Row) -> float:
    """The standard deviation of a value without a fault, on the scale of `badness`."""
    if metric(column).ideal is not None:
        return clean["sd"] / clean["mean"]
    return clean["sd"]


def _values(instrument: Instrument) -> tuple[dict[str, list[float]], Values]:
    """The values of the draws without a fault by column, and of those with one."""
    samples, labels = instrument.real_samples()
    modality = instrument.parts["modality"]
    faults = FAULTS[modality]
    if labels is None:
        faults = {name: fault for name, fault in faults.items() if name not in NEED_LABELS}
    unplanted: dict[str, list[float]] = {}
    planted: Values = {}
    draws = instrument.draws(UNPLANTED + PLANTED, num_spare(instrument, labels))
    for number, draw in enumerate(draws):
        if number < UNPLANTED:
            for column, value in _plain(instrument.measure_real(draw)):
                unplanted.setdefault(column, []).append(value)
            continue
        material = _material(instrument, draw, samples, labels)
        for name, fault in faults.items():
            for share in SHARES:
                material.generator.manual_seed(number)
                plant = partial(_plant, material, fault, share)
                readings = instrument.measure_real(draw, plant)
                for column, value in _plain(readings):
                    planted.setdefault((column, name, share), []).append(value)
    return unplanted, planted


def _plant(material: Material, fault: Fault, share: float, samples: Tensor) -> Tensor:
    return fault(replace(material, samples=samples), share)


def num_spare(instrument: Instrument, labels: Tensor | None) -> int:
    """How many samples a draw leaves out of both splits, so that a dropped class can be replaced by
    unseen samples of the others: twice as many as a class has."""
    if labels is None:
        return 0
    return 2 * round(instrument.n * torch.bincount(labels).max().item() / len(labels))


def _material(
    instrument: Instrument, draw: Draw, samples: Tensor, labels: Tensor | None
) -> Material:
    others = samples[draw.spare]
    chosen_labels = None
    if labels is not None:
        chosen_labels = labels[draw.chosen]
        others = others[labels[draw.spare] != chosen_labels.mode().values]
    return Material(
        samples[draw.chosen],
        chosen_labels,
        others,
        samples[draw.training],
        instrument.dataset.modes(),
        torch.Generator(),
        num_values=_num_values(instrument),
    )


def _num_values(instrument: Instrument) -> int:
    is_text = instrument.parts["modality"] == "text"
    return instrument.dataset.shape[1] if is_text else 256


def _plain(readings: Mapping[str, Reading]) -> Iterator[tuple[str, float]]:
    for column, reading in readings.items():
        yield column, reading.value


def _row(column: str, fault: str, share: float, values: list[float]) -> Row:
    array = np.array(values)
    return {
        "column": column,
        "metric": metric(column).name,
        "fault": fault,
        "share": share,
        "draws": len(array),
        "mean": float(array.mean()),
        "sd": float(array.std(ddof=1)),
    }
