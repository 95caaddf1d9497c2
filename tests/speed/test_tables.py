"""`make speed`: the tables of 10,000 cells with 2 million rows of evaluations. Nothing is asserted
about time."""

import json
from itertools import product
from pathlib import Path

import numpy as np

from benchmark import metrics
from benchmark.analysis import tables
from benchmark.matrix.cell import Cell, Choice
from benchmark.matrix.options import Training
from benchmark.store.code import code_hash

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
)
PROBES += ("d_fake_std", "d_loss_train", "d_loss_holdout")


def write(
    folder: Path,
    objectives=10,
    architectures=20,
    datasets=10,
    seeds=5,
    evaluations=20,
    rows=30,
    layers=10,
) -> Path:
    """Results of objectives x architectures x datasets x seeds, ten metrics at each evaluation,
    `layers` rows of layers.jsonl at each, `rows` of steps.jsonl. One run in 50 diverged, one in 100
    is missing."""
    rng = np.random.default_rng(0)
    columns = [f"{name}_classifier_10k" for name in (*METRICS, "reverse_kl")]
    smaller = np.array([metrics.sign(name) for name in columns])
    scale = np.where(
        np.arange(len(columns)) == 0, 1, 1e6
    )  # FID from 400 down to 20, the others below 1 or above
    axes = [[Choice(names[i % len(names)], {"variant": i}) for i in range(n)] for names, n in
            ((OBJECTIVES, objectives), (("dcgan", "resnet"), architectures), (("digits",), datasets))]  # fmt: skip
    training = Training(batch_size=64, steps=1000)
    entries, code = [], {}
    for k, (dataset, architecture, objective, seed) in enumerate(
        product(axes[2], axes[1], axes[0], range(seeds))
    ):
        cell = Cell(objective, architecture, dataset, seed, training)
        spec = {"schema": 1, **cell.spec, "norm": "none", "evaluation": {}}
        entries.append({
            "key": cell.key, "objective": objective.label, "architecture": architecture.label, "modality": "images",
            "dataset": dataset.label, "seed": seed, "evaluation_hash": "e0", "spec": cell.spec,
        })  # fmt: skip
        if k % 100 == 99:
            continue
        how = "diverged" if k % 50 == 48 else "done"
        named = (objective, architecture, dataset)
        code[named] = code.get(named) or code_hash(cell)
        path = folder / "cells" / cell.key
        path.mkdir(parents=True)
        level = 20 * (1 + 0.2 * rng.random()) * (1 + 0.1 * (k // seeds % 7))
        values = level * (1 + 19 * np.exp(-np.arange(evaluations) / 3))[:, None] / scale
        values = rng.uniform(0.9, 1.1, (evaluations, len(columns))) * values**smaller
        seconds = (10 * level * np.arange(evaluations)).tolist()
        (path / "evals.jsonl").write_text("".join(
            f'{{"schema": 1, "samples_seen": {6400 * i}, "g_steps": {50 * i}, "train_seconds": {seconds[i]!r}, '
            f'"metric": "{name}", "value": {value!r}, "stderr": null, "n": 10000, "protocol": "aaaaaaaa"}}\n'
            for i, at in enumerate(values.tolist()) for name, value in zip(columns, at, strict=True)
        ))  # fmt: skip
        (path / "steps.jsonl").write_text("".join(
            f'{{"schema": 1, "g_step": {50 * i}, "samples_seen": {6400 * i}, "penalty": NaN, "saturation": NaN, '
            + ", ".join(f'"{name}": {value!r}' for name, value in zip(PROBES, at, strict=True)) + "}\n"
            for i, at in enumerate(rng.random((rows, len(PROBES))).tolist())
        ))  # fmt: skip
        (path / "layers.jsonl").write_text("".join(
            f'{{"schema": 1, "g_step": {50 * i}, "network": "D", "layer": "blocks.{j}.weight", "depth": {j}, '
            f'"grad_norm": {value!r}}}\n'
            for i, at in enumerate(rng.random((evaluations, layers)).tolist()) for j, value in enumerate(at)
        ))  # fmt: skip
        (path / "spec.json").write_text(json.dumps(spec, indent=1))
        environment = {
            "schema": 1,
            "device": "Synthetic",
            "versions": {"torch": "2.14.1"},
            "git": {"commit": "0" * 40},
        }
        (path / "environment.json").write_text(json.dumps(environment, indent=1))
        (path / "status.json").write_text(json.dumps({
            "schema": 1, "status": how, "reason": None, "onset": 900 if how == "diverged" else None,
            "samples_seen": 6400 * (evaluations - 1), "g_steps": 50 * (evaluations - 1), "train_seconds": seconds[-1],
            "eval_seconds": 1.0, "other_seconds": 1.0, "peak_memory_mb": 300.0, "precision": "float32",
            "recipe": {"optimizer": "adam", "lr": 2e-4}, "protocol": "aaaaaaaa", "code": code[named],
            "evaluation_hash": "e0", "forwards_per_d_step": 400.0, "forwards_per_g_step": 300.0,
        }, indent=1))  # fmt: skip
    matrix = {
        "schema": 1,
        "name": folder.name,
        "hash": "",
        "reference": axes[0][1].label,
        "cells": entries,
    }
    matrix["config"] = {}
    (folder / "matrix.json").write_text(json.dumps(matrix))
    floor = dict.fromkeys(columns, 10.0)
    (folder / "protocols.json").write_text(
        json.dumps(
            {"schema": 1} | {d.label: {"protocol": "aaaaaaaa", "floor": floor} for d in axes[2]}
        )
    )
    return folder


def test_tables(benchmark, tmp_path):
    write(tmp_path)
    benchmark.group = "10,000 cells, 2 million rows of evaluations"
    benchmark.pedantic(lambda: tables.write(tables.load(tmp_path), tmp_path), rounds=1)
