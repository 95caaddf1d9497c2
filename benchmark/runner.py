"""Which cells are pending, what a run needs before the first of them starts, and how one cell is run and committed."""

import io
import os
import shutil
import time
import traceback
from collections import Counter
from collections.abc import Callable, Iterator
from contextlib import closing, contextmanager
from dataclasses import asdict, replace
from itertools import pairwise
from pathlib import Path
from typing import Any

import numpy as np
import torch
from PIL import Image

import variants
from benchmark import UserError
from benchmark.cell import (
    FINISHED,
    Cell,
    append_rows,
    cell_status,
    code_hash,
    commit_status,
    digest,
    read_matrix,
    read_protocols,
    write_bytes,
    write_json,
)
from benchmark.environment import environment
from benchmark.matrix import Matrix
from benchmark.measure import content_hash, measure, open_instrument, protocol_id
from benchmark.memory import out_of_memory, release_memory, reset_peak_memory
from benchmark.train import Snapshot, make_dataset, make_networks, make_objective, make_recipe, train
from benchmark.workload import reference_workload

Event = dict[str, Any]
GRID = 8  # a saved sheet shows GRID x GRID samples


def prepare(
    folder: Path, name: str, description: str, matrix: Matrix, listed: list[Cell], cells: list[Cell], device: str
) -> None:
    """Load the datasets of the cells to run, open their instruments (training a classifier where one is asked for),
    measure their noise floors, and write matrix.json, with all listed cells, and protocols.json. Raises UserError for
    data that cannot be had."""
    protocols = read_protocols(folder)
    for cell in {cell.dataset.label: cell for cell in cells}.values():
        try:
            dataset = make_dataset(cell.dataset)
            train_split, held = dataset.splits
            instrument = open_instrument(cell.dataset, cell.evaluation, device)
            known = protocols.get(cell.dataset.label, {"protocol": None, "floor": {}})
            if known["protocol"] == protocol_id(instrument) and {*instrument.columns.values()} <= {*known["floor"]}:
                continue  # measured before
            floor = {column: value for column, (value, _) in instrument.floor().items()}
        except Exception as error:
            reason = out_of_memory(error, device)
            if reason is None and not isinstance(error, ValueError | OSError):
                raise
            raise UserError(f"dataset {cell.dataset.label}: {reason or ' '.join(str(error).split())}") from error
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
            and {"name": extractor.name, "weights_sha256": extractor.weights_sha256, "accuracy": extractor.accuracy},
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
            "evaluation_hash": digest(cell.evaluation),
            "spec": cell.spec,
        }
        for cell in listed
    ]
    config = matrix.model_dump(mode="json")
    value: dict[str, Any] = {"name": name, "description": description, "hash": digest(config), "config": config}
    value |= {"reference": matrix.reference, "targets": matrix.targets, "cells": entries}
    try:
        write_json(folder / "matrix.json", value)
        write_json(folder / "protocols.json", protocols)
    except OSError as error:
        raise UserError(f"--results: {folder} cannot be written to: {error.strerror}") from error


def pending(folder: Path, cells: list[Cell], force: bool, retry_errors: bool) -> list[Cell]:
    """The cells still to run: what is neither committed (done, diverged) nor an error left alone."""
    settled = {*FINISHED} | (set() if retry_errors else {"error"})
    return [cell for cell in cells if force or cell_status(folder, cell.key).get("status") not in settled]


def run_cell(cell: Cell, folder: Path, device: str, on_event: Callable[[Event], None]) -> Event:
    """Train and measure one cell into its folder, and commit its status. Returns the status.

    Divergence and errors are findings: they end the cell, not the run. Only saving may raise."""
    path = folder / "cells" / cell.key
    shutil.rmtree(path, ignore_errors=True)
    write_json(path / "spec.json", cell.spec | {"evaluation": cell.evaluation, "norm": cell.norm, "key": cell.key})
    write_json(path / "environment.json", environment(device))
    status: Event = {
        "key": cell.key,
        "status": "running",
        "reason": None,
        "onset": None,
        "samples_seen": 0,
        "g_steps": 0,
        "train_seconds": 0.0,
        "eval_seconds": 0.0,
        "peak_memory_mb": 0.0,
        "device": device,
        "precision": cell.training["precision"],
        "layout": cell.training["layout"],
        "norm": cell.norm,
        "code": code_hash(cell),
        "evaluation_hash": digest(cell.evaluation),
    }
    write_json(path / "status.json", status)
    started = time.perf_counter()
    release_memory(device)
    try:
        before, status["reference_mb"] = reference_workload(device)
        protocol = protocol_id(open_instrument(cell.dataset, cell.evaluation, device))
        sizes = [sum(p.numel() for p in network.parameters()) for network in make_networks(cell)]
        status |= {"protocol": protocol, "recipe": asdict(make_recipe(cell))}
        status["parameters"] = dict(zip(("generator", "discriminator"), sizes, strict=True))
        with closing(train(cell, device)) as snapshots:
            for snapshot in snapshots:
                status |= {"samples_seen": snapshot.samples_seen, "g_steps": snapshot.g_steps}
                status["train_seconds"] = snapshot.train_seconds
                status |= dict(zip(("forwards_per_d_step", "forwards_per_g_step"), snapshot.forwards, strict=True))
                if snapshot.row:
                    append_rows(path / "steps.jsonl", [snapshot.row])
                    status["peak_memory_mb"] = max(status["peak_memory_mb"], snapshot.peak_memory_mb)
                if snapshot.due:
                    began = time.perf_counter()
                    append_rows(path / "evals.jsonl", evaluate(snapshot, protocol, device))
                    append_rows(path / "layers.jsonl", layer_rows(snapshot))
                    save_samples(path / "samples", snapshot)
                    status["eval_seconds"] += time.perf_counter() - began
                reset_peak_memory(device)  # neither the warm-up nor measuring is what the objective costs
                on_event({"key": cell.key, "progress": snapshot.progress})
        status |= {"status": "done", "onset": snapshot.onset}
        if snapshot.onset is None:
            save_generator(path, snapshot)
        else:
            status |= {"status": "diverged", "reason": "a loss is not finite"}
        status["reference_ms"] = (before + reference_workload(device)[0]) / 2  # the machine's pace may drift
    except FloatingPointError as error:
        status |= {"status": "diverged", "reason": str(error), "onset": status["g_steps"]}
    except Exception as error:
        reason = out_of_memory(error, device) or f"{type(error).__name__}: {' '.join(str(error).split())[:500]}"
        status |= {"status": "error", "reason": reason}
        write_bytes(path / "traceback.txt", traceback.format_exc().encode())
    seconds = time.perf_counter() - started
    status["other_seconds"] = seconds - status["train_seconds"] - status["eval_seconds"]
    commit_status(path, status)
    return status


def evaluate(snapshot: Snapshot, protocol: str, device: str) -> list[dict[str, Any]]:
    """The rows of evals.jsonl for a snapshot."""
    n = open_instrument(snapshot.cell.dataset, snapshot.cell.evaluation, device).n
    at = {"samples_seen": snapshot.samples_seen, "g_steps": snapshot.g_steps, "train_seconds": snapshot.train_seconds}
    return [
        at | {"metric": column, "value": value, "stderr": stderr, "n": n, "protocol": protocol}
        for column, (value, stderr) in measure(snapshot, device).items()
    ]


def layer_rows(snapshot: Snapshot) -> list[dict[str, Any]]:
    """The rows of layers.jsonl for a snapshot: one per network and parameter tensor, counted from the input."""
    return [
        {"g_step": snapshot.g_steps, "network": network, "layer": name, "depth": depth, "grad_norm": norm}
        for network, norms in snapshot.layers.items()
        for depth, (name, norm) in enumerate(norms.items())
    ]


def save_generator(path: Path, snapshot: Snapshot) -> None:
    """Save the weights of the generator that samples, for more samples than were measured (`ganbench sample`)."""
    buffer = io.BytesIO()
    torch.save({name: value.cpu() for name, value in snapshot.G.state_dict().items()}, buffer)
    write_bytes(path / "generator.pt", buffer.getvalue())


def save_samples(folder: Path, snapshot: Snapshot) -> None:
    """Save images (GRID² of them) or points (1,000) as npz, and images as a PNG sheet too."""
    images = len(make_dataset(snapshot.cell.dataset).shape) == 3
    samples = snapshot.sample(GRID**2 if images else 1000).cpu().numpy()
    stem, buffer = f"{snapshot.g_steps:06d}", io.BytesIO()
    np.savez_compressed(buffer, samples=samples)
    write_bytes(folder / f"{stem}.npz", buffer.getvalue())
    if images:
        channels, side = samples.shape[1], samples.shape[2]
        rows = samples.reshape(GRID, GRID, channels, side, side).transpose(0, 3, 1, 4, 2)
        sheet, buffer = rows.reshape(GRID * side, GRID * side, channels), io.BytesIO()
        Image.fromarray(sheet.squeeze()).save(buffer, "PNG")
        write_bytes(folder / f"{stem}.png", buffer.getvalue())


def interrupted(folder: Path, key: str, reason: str = "interrupted", status: str = "interrupted") -> Event:
    """Mark a cell whose worker is gone; run again, it starts anew (an error only with --retry-errors)."""
    found = cell_status(folder, key) | {"key": key, "status": status, "reason": reason}
    write_json(folder / "cells" / key / "status.json", found)
    return found


def states(folder: Path) -> list[dict[str, Any]]:
    """State, progress and mark of every cell of a results folder, in the matrix's order. Raises UserError for none."""
    return [
        {"status": "missing", "reason": None} | cell_status(folder, cell["key"]) | {"key": cell["key"]}
        for cell in read_matrix(folder)["cells"]
    ]


def count(found: list[Event]) -> str:
    """`68 done, 2 diverged`."""
    counts = Counter(state["status"] for state in found).most_common()
    return ", ".join(f"{n} {status}" for status, n in counts) or "no cells"


def estimate(folder: Path, cells: list[Cell], device: str) -> dict[str, float | None]:
    """Seconds per cell, by key: what the group's committed cells took, else three generator steps timed now
    (training only). None where the data is not on this machine: nothing is downloaded for an estimate."""
    known: dict[str, float | None] = {}
    seconds: dict[str, float | None] = {}
    for cell in cells:
        group = digest([cell.spec["objective"], cell.spec["architecture"], cell.spec["dataset"], cell.training])
        status = cell_status(folder, cell.key)
        if status.get("status") == "done":
            known[group] = status["train_seconds"] + status["eval_seconds"] + status["other_seconds"]
        elif group not in known:
            known[group] = _time_steps(cell, device)
        seconds[cell.key] = known[group]
    return seconds


def _time_steps(cell: Cell, device: str, steps: int = 3) -> float | None:
    options = cell.training
    trial = options | {"steps": steps, "samples": None, "seconds": None}
    short = replace(cell, training=trial, evaluation=cell.evaluation | {"schedule": [1.0], "log_every": 1})
    try:
        with _offline():
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
    if options["seconds"]:
        return options["seconds"]
    per_step = options["batch_size"] * make_objective(cell.objective).d_steps(1000)
    quickest = min(after - before for before, after in pairwise(clock))
    return quickest * (options["steps"] or options["samples"] / per_step)


@contextmanager
def _offline() -> Iterator[None]:
    before = os.environ.get("GANBENCH_OFFLINE")
    os.environ["GANBENCH_OFFLINE"] = "1"
    try:
        yield
    finally:
        if before is None:
            del os.environ["GANBENCH_OFFLINE"]
        else:
            os.environ["GANBENCH_OFFLINE"] = before
