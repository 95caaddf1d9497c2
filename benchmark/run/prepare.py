"""What a run needs before the first cell starts: its data, instruments and noise floors, which
cells are pending, and what they may cost."""

from dataclasses import replace
from itertools import pairwise
from pathlib import Path
from typing import Any

import variants
from benchmark.errors import UserError
from benchmark.machine.memory import out_of_memory
from benchmark.matrix.cell import Cell, digest
from benchmark.matrix.options import Matrix
from benchmark.measure.instrument import open_instrument
from benchmark.measure.protocol import content_hash, protocol_id
from benchmark.run.queue import learned
from benchmark.store.clocks import group
from benchmark.store.files import write_json
from benchmark.store.result_set import FINISHED, SETTLED, read_protocols
from benchmark.train.build import make_objective
from benchmark.train.data import make_dataset
from benchmark.train.loop import train
from variants.datasets import no_downloads


def prepare(
    folder: Path,
    name: str,
    description: str,
    matrix: Matrix,
    listed: list[Cell],
    cells: list[Cell],
    device: str,
) -> None:
    """Load the datasets of the cells to run, open their instruments (training a classifier where
    one is asked for), measure their noise floors, and write matrix.json, with all listed cells, and
    protocols.json. Raises UserError for data that cannot be had."""
    protocols = read_protocols(folder)
    for cell in {cell.dataset.label: cell for cell in cells}.values():
        try:
            dataset = make_dataset(cell.dataset)
            train_split, held = dataset.splits
            instrument = open_instrument(cell.dataset, cell.evaluation, device)
            known = protocols.get(cell.dataset.label, {"protocol": None, "floor": {}})
            if known["protocol"] == protocol_id(instrument) and {*instrument.columns.values()} <= {
                *known["floor"]
            }:
                continue  # measured before
            floor = {column: value for column, (value, _) in instrument.floor().items()}
        except Exception as error:
            reason = out_of_memory(error, device)
            if reason is None and not isinstance(error, ValueError | OSError):
                raise
            raise UserError(
                f"dataset {cell.dataset.label}: {reason or ' '.join(str(error).split())}"
            ) from error
        extractor, corrupt = instrument.extractor, [*train_split.corrupt, *held.corrupt]
        protocols[cell.dataset.label] = {
            "protocol": protocol_id(instrument),
            "parts": instrument.parts,
            "dataset": {
                "source": dataset.source,
                "licence": dataset.licence,
                "split": dataset.split,
                "note": dataset.note,
                "content_hash": content_hash(train_split.samples, held.samples),
                "n_train": len(train_split.samples),
                "n_holdout": len(held.samples),
                "shape": list(dataset.shape),
                "corrupt": {"n": len(corrupt), "names": corrupt[:20]},
            },
            "extractor": extractor
            and {
                "name": extractor.name,
                "weights_sha256": extractor.weights_sha256,
                "accuracy": extractor.accuracy,
            },
            "floor": floor,
        }
    entries = [
        {
            "key": cell.key,
            "objective": cell.objective.label,
            "architecture": cell.architecture.label,
            "dataset": cell.dataset.label,
            "modality": variants.load("datasets", cell.dataset.name).Dataset.modality,
            "seed": cell.seed,
            "evaluation_hash": cell.evaluation_hash,
            "spec": cell.spec,
        }
        for cell in listed
    ]
    config = matrix.model_dump(mode="json")
    value: dict[str, Any] = {
        "name": name,
        "description": description,
        "hash": digest(config),
        "config": config,
    }
    value |= {"reference": matrix.reference, "targets": matrix.targets, "cells": entries}
    try:
        write_json(folder / "matrix.json", value)
        write_json(folder / "protocols.json", protocols)
    except OSError as error:
        raise UserError(f"--results: {folder} cannot be written to: {error.strerror}") from error


def pending(
    cells: dict[str, Cell], known: dict[str, dict[str, Any]], force: bool, retry_errors: bool
) -> dict[str, Cell]:
    """The cells still to run, by key, given their statuses: what is neither committed (done,
    diverged) nor an error or a timeout left alone."""
    settled = FINISHED if retry_errors else SETTLED
    return {
        key: cell for key, cell in cells.items() if force or known[key].get("status") not in settled
    }


def estimate(
    cells: dict[str, Cell], known: dict[str, dict[str, Any]], device: str
) -> dict[str, float | None]:
    """Seconds per cell, by key, given their statuses: what the group's finished cells took, else
    three generator steps timed now (training only). None where the data is not on this machine:
    nothing is downloaded for an estimate."""
    groups: dict[str, float | None] = {
        **learned((cell.spec, known[key]) for key, cell in cells.items())
    }
    for cell in cells.values():
        if (name := group(cell.spec)) not in groups:
            groups[name] = _time_steps(cell, device)
    return {key: groups[group(cell.spec)] for key, cell in cells.items()}


def _time_steps(cell: Cell, device: str, steps: int = 3) -> float | None:
    options = cell.training
    trial = options.replaced(steps=steps, samples=None, seconds=None)
    evaluation = cell.evaluation.replaced(schedule=[1.0], log_every=1)
    short = replace(cell, training=trial, evaluation=evaluation)
    try:
        with no_downloads():
            make_dataset(cell.dataset).splits  # noqa: B018  loaded here, where nothing may be downloaded
        clock = [s.train_seconds for s in train(short, device)]
    except OSError:
        return None
    except ValueError as error:
        raise UserError(f"{cell.key}: {error}") from error
    except Exception as error:
        if reason := out_of_memory(error, device):
            raise UserError(f"{cell.key}: {reason}") from error
        raise
    if options.seconds:
        return options.seconds
    per_step = options.batch_size * make_objective(cell.objective).d_steps(1000)
    quickest = min(after - before for before, after in pairwise(clock))
    return quickest * (options.steps or (options.samples or 0) / per_step)
