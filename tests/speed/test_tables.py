"""`make speed`: the tables of 10,000 cells with 2 million rows of evaluations. Nothing is asserted
about time."""

import json
from itertools import product
from pathlib import Path
from typing import Any

import numpy as np

from benchmark import metrics
from benchmark.analysis import published, tables
from benchmark.matrix.cell import Cell, Choice
from benchmark.matrix.options import Training
from benchmark.store.code import training_code

OBJECTIVES = ("minimax", "nonsaturating", "lsgan", "wgan", "wgan_gp", "wgan_fdgp", "hinge")
METRICS = (
    "fid",
    "is_mean",
    "is_std",
    "kid",
    "precision",
    "recall",
    "nn_ratio",
    "duplicates",
    "modes_covered",
)
PROBES = (
    "d_loss",
    "g_loss",
    "d_real",
    "d_fake",
    "d_grad_norm",
    "g_grad_norm",
    "slope",
    "slope_std",
    "d_real_std",
    "d_fake_std",
    "d_loss_train",
    "d_loss_holdout",
)
COLUMNS = [f"{name}_classifier_10k" for name in (*METRICS, "reverse_kl")]


def write(
    folder: Path,
    objectives: int = 10,
    architectures: int = 20,
    datasets: int = 10,
    seeds: int = 5,
    evaluations: int = 20,
    rows: int = 30,
    layers: int = 10,
) -> Path:
    """Results of objectives × architectures × datasets × seeds, ten metrics at each evaluation,
    `layers` rows of layers.jsonl at each, `rows` of steps.jsonl. One run in 50 diverged, one in 100
    is missing."""
    rng = np.random.default_rng(0)
    smaller = np.array([metrics.sign(name) for name in COLUMNS])
    # FID from 400 down to 20, the others below 1 or above
    scale = np.where(np.arange(len(COLUMNS)) == 0, 1, 1e6)
    axes = [
        choices(("digits",), datasets),
        choices(("dcgan", "resnet"), architectures),
        choices(OBJECTIVES, objectives),
    ]
    training = Training(batch_size=64, steps=1000)
    entries = []
    codes: dict[Any, str] = {}
    for k, (dataset, architecture, objective, seed) in enumerate(product(*axes, range(seeds))):
        cell = Cell(objective, architecture, dataset, seed, training)
        entries.append(entry(cell))
        if k % 100 == 99:
            continue
        status = "diverged" if k % 50 == 48 else "done"
        variants = (objective, architecture, dataset)
        if variants not in codes:
            codes[variants] = training_code(cell)
        path = folder / "cells" / cell.key
        path.mkdir(parents=True)
        level = 20 * (1 + 0.2 * rng.random()) * (1 + 0.1 * (k // seeds % 7))
        values = level * (1 + 19 * np.exp(-np.arange(evaluations) / 3))[:, None] / scale
        values = rng.uniform(0.9, 1.1, (evaluations, len(COLUMNS))) * values**smaller
        seconds = (10 * level * np.arange(evaluations)).tolist()
        write_evals(path, values, seconds)
        write_steps(path, rng.random((rows, len(PROBES))))
        write_layers(path, rng.random((evaluations, layers)))
        write_state(path, cell, status, codes[variants], evaluations, seconds[-1])
    write_matrix(folder, axes, entries)
    return folder


def choices(names: tuple[str, ...], n: int) -> list[Choice]:
    """n choices, the names in turn."""
    return [Choice(names[i % len(names)], {"variant": i}) for i in range(n)]


def entry(cell: Cell) -> dict[str, Any]:
    """An entry of matrix.json."""
    return {
        "key": cell.key,
        "objective": cell.objective.label,
        "architecture": cell.architecture.label,
        "modality": "images",
        "dataset": cell.dataset.label,
        "seed": cell.seed,
        "evaluation_hash": "e0",
        "spec": cell.spec,
    }


# Rows are written as text, because json.dumps of millions of rows takes minutes


def write_evals(path: Path, values: np.ndarray, seconds: list[float]) -> None:
    with (path / "evals.jsonl").open("w") as file:
        for i, evaluation in enumerate(values.tolist()):
            start = (
                f'{{"schema": 1, "samples_seen": {6400 * i}, "g_steps": {50 * i}, '
                f'"train_seconds": {seconds[i]!r}, '
            )
            for name, value in zip(COLUMNS, evaluation, strict=True):
                file.write(
                    f'{start}"metric": "{name}", "value": {value!r}, "stderr": null, '
                    '"n": 10000, "protocol": "aaaaaaaa"}\n'
                )


def write_steps(path: Path, values: np.ndarray) -> None:
    with (path / "steps.jsonl").open("w") as file:
        for i, row in enumerate(values.tolist()):
            probes = [f'"{name}": {value!r}' for name, value in zip(PROBES, row, strict=True)]
            file.write(
                f'{{"schema": 1, "g_step": {50 * i}, "samples_seen": {6400 * i}, '
                f'"penalty": NaN, "saturation": NaN, {", ".join(probes)}}}\n'
            )


def write_layers(path: Path, values: np.ndarray) -> None:
    with (path / "layers.jsonl").open("w") as file:
        for i, row in enumerate(values.tolist()):
            for j, value in enumerate(row):
                file.write(
                    f'{{"schema": 1, "g_step": {50 * i}, "network": "D", '
                    f'"layer": "blocks.{j}.weight", "depth": {j}, "grad_norm": {value!r}}}\n'
                )


def write_state(
    path: Path, cell: Cell, status: str, code: str, evaluations: int, seconds: float
) -> None:
    """spec.json, environment.json and status.json of a cell."""
    spec = {"schema": 1, **cell.spec, "norm": "none", "evaluation": {}}
    (path / "spec.json").write_text(json.dumps(spec, indent=1))
    environment = {
        "schema": 1,
        "device": "Synthetic",
        "versions": {"torch": "2.14.1"},
        "git": {"commit": "0" * 40},
    }
    (path / "environment.json").write_text(json.dumps(environment, indent=1))
    state = {
        "schema": 1,
        "status": status,
        "reason": None,
        "onset": 900 if status == "diverged" else None,
        "samples_seen": 6400 * (evaluations - 1),
        "g_steps": 50 * (evaluations - 1),
        "train_seconds": seconds,
        "eval_seconds": 1.0,
        "other_seconds": 1.0,
        "peak_memory_mb": 300.0,
        "precision": "float32",
        "recipe": {"optimizer": "adam", "lr": 2e-4},
        "protocol": "aaaaaaaa",
        "code": code,
        "evaluation_hash": "e0",
        "forwards_per_d_step": 400.0,
        "forwards_per_g_step": 300.0,
    }
    (path / "status.json").write_text(json.dumps(state, indent=1))


def write_matrix(folder: Path, axes: list[list[Choice]], entries: list[dict[str, Any]]) -> None:
    """matrix.json and protocols.json."""
    datasets, _, objectives = axes
    matrix = {
        "schema": 1,
        "name": folder.name,
        "hash": "",
        "reference": objectives[1].label,
        "cells": entries,
        "config": {},
    }
    (folder / "matrix.json").write_text(json.dumps(matrix))
    record = {"protocol": "aaaaaaaa", "floor": dict.fromkeys(COLUMNS, 10.0)}
    protocols = {"schema": 1} | {dataset.label: record for dataset in datasets}
    (folder / "protocols.json").write_text(json.dumps(protocols))


def test_tables(benchmark: Any, tmp_path: Path) -> None:
    write(tmp_path)
    benchmark.group = "10,000 cells, 2 million rows of evaluations"
    benchmark.pedantic(lambda: published.write(tables.load(tmp_path).published, tmp_path), rounds=1)
