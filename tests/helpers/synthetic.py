"""A result set as the run path writes it, with numbers a test can work out by hand. No training."""

import hashlib
import json
import zlib
from collections.abc import Callable, Container, Iterable, Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import numpy as np

from benchmark.matrix.cell import Choice, key_of
from benchmark.store.files import SEAL, append_rows, write_json
from benchmark.store.layout import ResultSet
from benchmark.store.schema import Race

OBJECTIVES = (
    *("minimax", "nonsaturating", "lsgan", "wgan", "wgan_gp", "wgan_fdgp"),
    "wgan_fdgp[pairs=independent]",
)
GROUPS = (("gaussians8", "mlp"), ("digits", "dcgan"))
TEXT = [("fortunes", "text_resnet")]
METRICS = {
    "gaussians8": {
        "swd_2k": 0.1,
        "modes_covered_2k": 8.0,
        "high_quality_2k": 0.9,
        "reverse_kl_2k": 0.2,
    },
    "digits": {
        "fid_classifier_750": 24.0,
        "kid_classifier_750": 0.01,
        "clipped_density_classifier_750": 0.8,
        "duplicates_classifier_750": 0.01,
    },
    "fortunes": {"js_1_2k": 0.001, "js_4_2k": 0.16, "unique_2k": 1.0},
}
MODALITIES = {"digits": "images", "fortunes": "text"}
MARKS = {
    "letter frequencies": {"js_1_2k": 0.001, "js_4_2k": 0.9},
    "uniform random text": {"js_1_2k": 0.298, "js_4_2k": 0.997},
}
MARKUP = """<b>&</b> it's "x" $a_b$ | *c* ``"""  # 32 characters
Curve = Callable[[str, str, int, int], float]  # objective, metric, seed, evaluation -> value
LAYERS = {
    "G": ("net.0.weight", "net.2.weight"),
    "D": ("net.0.weight", "net.2.weight", "net.4.weight"),
}
NEW_PROBES = (
    "slope_std",
    "d_real_std",
    "d_fake_std",
    "saturation",
    "clipped",
    "sparse",
    "d_loss_train",
    "d_loss_holdout",
)
NEW_STATUS = ("forwards_per_d_step", "forwards_per_g_step", "reference_ms", "reference_mb")


def learning(objective: str, metric: str, seed: int, i: int) -> float:
    """Falls from 40 x the floor towards 2-5 x it, a little differently for each objective and
    seed."""
    floor = next(values[metric] for values in METRICS.values() if metric in values)
    if metric.startswith(("modes", "high", "clipped_density", "unique")):
        return floor * min(1.0, 0.2 * (i + 1))
    rank = zlib.crc32(objective.encode()) % 7
    return floor * (2 + 0.5 * rank + 38 * 0.4**i) * (1 + 0.03 * ((seed * 7 + rank) % 5))


def gradients(objective: str, network: str, depth: int, seed: int, i: int) -> float:
    """Gradient norm of a layer: half as large per layer away from the output, the same at every
    evaluation."""
    return float(0.5 ** (len(LAYERS[network]) - 1 - depth) * (1 + 0.1 * seed))


def everywhere(architecture: str, metric: str) -> float:
    return 1.0


def no_probes(objective: str, seed: int, i: int) -> Mapping[str, Any]:
    return {}


def no_fields(objective: str, seed: int) -> Mapping[str, Any]:
    return {}


@dataclass(frozen=True)
class Plan:
    """What is planted: the options of `write`."""

    objectives: Iterable[str] = OBJECTIVES
    groups: Iterable[tuple[str, str]] = GROUPS
    """(dataset, architecture)."""
    seeds: Iterable[int] = range(5)
    evaluations: int = 6
    curve: Curve = learning
    status: Mapping[tuple[str, str, int], str] = field(default_factory=dict)
    """(objective, dataset or architecture, seed) -> done unless given."""
    collapsed: Container[tuple[str, str, int]] = ()
    """(objective, architecture, seed): 90 % duplicates in the end."""
    protocol: Mapping[tuple[str, int], str] = field(default_factory=dict)
    """(dataset, seed) -> protocol, "aaaaaaaa" unless given."""
    seconds: Mapping[str, float] = field(default_factory=dict)
    """objective -> training seconds per evaluation, 2 unless given."""
    reference_ms: float = 20.0
    """Of the reference workload."""
    every: Mapping[str, int] = field(default_factory=dict)
    """objective -> generator steps per evaluation, 100 unless given."""
    reference: str | None = "nonsaturating"
    targets: Mapping[str, float] = field(default_factory=dict)
    """dataset -> the matrix's own target."""
    steps: int = 30
    """Rows of steps.jsonl."""
    probes: Callable[[str, int, int], Mapping[str, Any]] = no_probes
    """objective, seed, i -> fields that replace those of steps row i."""
    layer: Callable[[str, str, int, int, int], float] = gradients
    """objective, network, depth, seed, evaluation -> gradient norm."""
    fields: Callable[[str, int], Mapping[str, Any]] = no_fields
    """objective, seed -> fields that replace those of status.json."""
    older: bool = False
    """As written before there were layers.jsonl, races, NEW_PROBES and NEW_STATUS."""
    samples: bool = True
    metrics: Mapping[str, Mapping[str, float]] = field(default_factory=lambda: METRICS)
    """dataset -> the floor of each column that is measured."""
    factor: Callable[[str, str], float] = everywhere
    """architecture, metric -> what the values of the curve are multiplied by."""
    crossed: bool = False
    """Whether the seeds are crossed."""
    untrained: bool = False
    """Whether the first evaluation is before the first step."""


@dataclass(frozen=True)
class Run:
    """One cell of a plan."""

    plan: Plan
    objective: str
    architecture: str
    dataset: str
    seed: int

    @property
    def status(self) -> str:
        by_dataset = self.plan.status.get((self.objective, self.dataset, self.seed), "done")
        return self.plan.status.get((self.objective, self.architecture, self.seed), by_dataset)

    @property
    def done(self) -> int:
        """Evaluations that are done: half of them for what is not done."""
        evaluations = self.plan.evaluations
        return evaluations if self.status == "done" else evaluations // 2

    @property
    def pace(self) -> float:
        return self.plan.seconds.get(self.objective, 2.0)

    @property
    def step(self) -> int:
        return self.plan.every.get(self.objective, 100)

    def trained(self, i: int) -> int:
        """The intervals that are trained at an evaluation."""
        return i if self.plan.untrained else i + 1

    def step_at(self, i: int) -> int:
        """The generator step of an evaluation."""
        return self.step * self.trained(i)

    @property
    def protocol(self) -> str:
        return self.plan.protocol.get((self.dataset, self.seed), "aaaaaaaa")

    def value(self, metric: str, i: int) -> float:
        """The value of an evaluation."""
        is_collapsed = (self.objective, self.architecture, self.seed) in self.plan.collapsed
        if is_collapsed and metric == "duplicates_classifier_750" and i == self.done - 1:
            return 0.9
        value = self.plan.curve(self.objective, metric, self.seed, i)
        return value * self.plan.factor(self.architecture, metric)

    def evals(self) -> list[dict[str, Any]]:
        return [
            {
                "samples_seen": 6400 * self.trained(i),
                "g_steps": self.step_at(i),
                "train_seconds": self.pace * self.trained(i),
                "n": 750,
                "metric": name,
                "value": self.value(name, i),
                "stderr": None,
                "protocol": self.protocol,
            }
            for i in range(self.done)
            for name in self.plan.metrics[self.dataset]
        ]

    def steps(self) -> list[dict[str, Any]]:
        rows = []
        for i in range(self.plan.steps):
            is_last = i + 1 == self.plan.steps
            row = _step(self.objective, self.seed, 20 * i, self.status, is_last)
            row |= self.plan.probes(self.objective, self.seed, i)
            rows.append(_without(row, NEW_PROBES if self.plan.older else ()))
        return rows

    def layers(self) -> list[dict[str, Any]]:
        return [
            {
                "g_step": self.step_at(i),
                "network": network,
                "layer": name,
                "depth": depth,
                "grad_norm": self.plan.layer(self.objective, network, depth, self.seed, i),
            }
            for i in range(self.done)
            for network, names in LAYERS.items()
            for depth, name in enumerate(names)
        ]

    def write(self, path: Path, entry: dict[str, Any]) -> None:
        """Write the cell's folder."""
        path.mkdir(parents=True, exist_ok=True)
        append_rows(path / "evals.jsonl", self.evals())
        append_rows(path / "steps.jsonl", self.steps())
        if not self.plan.older:
            append_rows(path / "layers.jsonl", self.layers())
        if self.plan.samples:
            for i in range(self.done):
                file = path / f"samples/{self.step_at(i):06d}.npz"
                _samples(file, self.dataset, self.seed, i)
        _finish(path, entry, self)


def write(folder: Path, **options: Any) -> Path:
    """Write results/runs/MATRIX into `folder`. options: the fields of `Plan`.

    An evaluation every 6400 samples, a row of steps every 20 generator steps. What is not done has
    half of the evaluations."""
    plan = Plan(**options)
    cells = []
    groups = list(plan.groups)
    for dataset, architecture in groups:
        for objective in plan.objectives:
            for seed in plan.seeds:
                run = Run(plan, objective, architecture, dataset, seed)
                entry = _entry(objective, architecture, dataset, seed, plan.crossed)
                cells.append(entry)
                if run.status != "missing":
                    run.write(folder / "cells" / entry["key"], entry)
        if not plan.older:
            changed = {"reference": [plan.reference_ms] * 10}
            write_race(folder, dataset, architecture, paces(plan), changed)
    matrix = {
        "name": folder.name,
        "description": "A synthetic matrix.",
        "hash": "0123abcd",
        "config": {"training": {"batch_size": 64}, "evaluation": {"n": 750}},
        "reference": plan.reference,
        "targets": dict(plan.targets),
        "cells": cells,
    }
    write_json(folder / "matrix.json", matrix)
    protocols = {dataset: _protocol(dataset, plan.metrics[dataset]) for dataset, _ in groups}
    write_json(folder / "protocols.json", protocols)
    return folder


def paces(plan: Plan) -> dict[str, float]:
    """Milliseconds of a generator step by objective: what a race of the plan's cells finds."""
    return {
        name: 1000 * plan.seconds.get(name, 2.0) / plan.every.get(name, 100)
        for name in plan.objectives
    }


def write_race(
    folder: Path,
    dataset: str,
    architecture: str,
    milliseconds: Mapping[str, float],
    changed: Mapping[str, Any] | None = None,
) -> None:
    """Write a race of ten equal rounds into a result set. changed: other fields."""
    objectives = {}
    for name, value in milliseconds.items():
        objectives[name] = {
            "code": "c0de",
            "execution": {"mode": "eager"},
            "iterations": 4,
            "milliseconds": [float(value)] * 10,
        }
    race = {
        "dataset": dataset,
        "architecture": architecture,
        "asked": "0123abcd",
        "made": "2026-01-01T00:00:00+00:00",
        "clock": "processor",
        "surroundings": {"device": "Synthetic CPU", "threads": 1},
        "reference": [20.0] * 10,
        "objectives": objectives,
    }
    ResultSet(folder).write_race(Race.model_validate(race | dict(changed or {})))


def _without(row: Mapping[str, Any], names: Container[str]) -> dict[str, Any]:
    return {name: value for name, value in row.items() if name not in names}


def _choice(label: str) -> Choice:
    name, _, inside = label.partition("[")
    return Choice(name, dict(item.split("=", 1) for item in inside.rstrip("]").split(",") if item))


def _entry(
    objective: str, architecture: str, dataset: str, seed: int, crossed: bool = False
) -> dict[str, Any]:
    training = {
        "batch_size": 64,
        "steps": 600,
        "recipe": "paper" if dataset == "digits" else {"optimizer": "rmsprop", "lr": 1e-3},
    }
    chosen = {"objective": objective, "architecture": architecture, "dataset": dataset}
    spec: dict[str, Any] = {
        axis: {"name": choice.name, "params": choice.params}
        for axis, choice in ((axis, _choice(label)) for axis, label in chosen.items())
    }
    spec |= {"seed": seed, "training": training}
    if crossed:
        spec["crossed"] = True
    return {
        "key": key_of(spec),
        "objective": objective,
        "architecture": architecture,
        "dataset": dataset,
        "modality": MODALITIES.get(dataset, "points"),
        "seed": seed,
        "evaluation_hash": "e0",
        "spec": spec,
    }


def _finish(path: Path, entry: dict[str, Any], run: Run) -> None:
    """Write spec.json, environment.json and status.json."""
    is_diverged = run.status == "diverged"
    trained = max(0, run.trained(run.done - 1))
    g_steps = run.step * trained
    spec = {
        **entry["spec"],
        "key": entry["key"],
        "evaluation": {"n": {"images": 750, "points": 2000}},
        "norm": "batch",
        "code": "c0de",
    }
    write_json(path / "spec.json", spec)
    write_json(
        path / "environment.json",
        {
            "python": "3.11.9",
            "platform": "Linux x86_64",
            "versions": {"torch": "2.14.1"},
            "device": "Synthetic CPU",
            "threads": 1,
            "git": {"commit": "0123456789abcdef", "dirty": None},
        },
    )
    status = {
        "status": run.status,
        "reason": "d_loss is NaN" if is_diverged else None,
        "onset": g_steps + 50 if is_diverged else None,
        "samples_seen": 6400 * trained,
        "g_steps": g_steps,
        "train_seconds": run.pace * trained,
        "eval_seconds": 1.0,
        "other_seconds": 0.5,
        "peak_memory_mb": 300.0,
        "parameters": {"generator": 1000, "discriminator": 900},
        "device": "cpu",
        "precision": "float32",
        "layout": "contiguous",
        "recipe": {"optimizer": "adam", "lr": 2e-4},
        "norm": "batch",
        "protocol": run.protocol,
        "code": "c0de",
        "evaluation_hash": "e0",
        "forwards_per_d_step": 400.0,
        "forwards_per_g_step": 300.0,
        "reference_ms": run.plan.reference_ms,
        "reference_mb": 64.0,
    }
    status = _without(status, NEW_STATUS if run.plan.older else ())
    write_json(path / "status.json", status | dict(run.plan.fields(run.objective, run.seed)))


def _step(objective: str, seed: int, g_step: int, how: str, last: bool) -> dict[str, Any]:
    wave = 1 + 0.1 * np.sin(g_step / 50 + seed)
    return {
        "g_step": g_step,
        "samples_seen": 64 * g_step,
        "d_loss": float("nan") if last and how == "diverged" else -wave,
        "g_loss": wave,
        "d_real": wave,
        "d_fake": -wave,
        "d_grad_norm": 0.5 * wave,
        "g_grad_norm": 0.1 * wave * np.exp(-g_step / 300),
        "penalty": 0.1 if "gp" in objective else None,
        "slope": wave if "gp" in objective else 5 * wave,
        "slope_std": 0.2 * wave,
        "d_real_std": 0.4 * wave,
        "d_fake_std": 0.3 * wave,
        "saturation": 0.05 if objective in ("minimax", "nonsaturating") else float("nan"),
        "clipped": 0.6 if objective == "wgan" else float("nan"),
        "sparse": 0.0,
        "d_loss_train": -wave,
        "d_loss_holdout": 0.05 - wave,
    }


def write_real(folder: Path, dataset: str) -> None:
    """Write real samples of a dataset into a result set, and their hash into protocols.json."""
    file = folder / f"real/{dataset}.npz"
    _samples(file, dataset, 99, 9)
    if dataset == "fortunes":
        file.unlink()
        file = file.with_suffix(".txt")
    content = json.loads((folder / "protocols.json").read_text())
    sha256 = hashlib.sha256(file.read_bytes()).hexdigest()
    content[dataset]["real"] = {file.name: {"size": file.stat().st_size, "sha256": sha256}}
    del content["schema"]
    write_json(folder / "protocols.json", content)


def _samples(path: Path, dataset: str, seed: int, i: int) -> None:
    rng = np.random.default_rng([seed, i])
    path.parent.mkdir(exist_ok=True)
    if dataset == "digits":
        images = np.clip(rng.normal(60 + 25 * i, 60, (64, 1, 8, 8)), 0, 255).astype(np.uint8)
        np.savez(path, samples=images)
    elif dataset == "fortunes":
        codes = rng.integers(0, len(MARKUP), (64, 32)).astype(np.uint8)
        np.savez(path, samples=codes)
        lines = [MARKUP[:32], *("".join(MARKUP[code] for code in line) for line in codes[1:])]
        path.with_suffix(".txt").write_text("\n".join([*lines, ""]))
    else:
        angle = rng.integers(0, 8, 500) * np.pi / 4
        points = 2 * np.stack([np.cos(angle), np.sin(angle)], 1) + rng.normal(
            0, 0.5 / (i + 1), (500, 2)
        )
        np.savez(path, samples=points.astype(np.float32))


def _protocol(dataset: str, floor: Mapping[str, float]) -> dict[str, Any]:
    images = dataset == "digits"
    return {
        "protocol": "aaaaaaaa",
        "parts": {"n_real": 750, "n_fake": 750, "split": "holdout"},
        "dataset": {
            "source": "scikit-learn" if images else "generated",
            "licence": "CC BY 4.0",
            "split": "60/40 by seed 0",
            "note": "https://example.org/digits" if images else "",
            "content_hash": "feedbeef",
            "n_train": 1000,
            "n_holdout": 750,
            "shape": [1, 8, 8] if images else [2],
        },
        "extractor": {"name": "classifier", "weights_sha256": "abcd1234", "accuracy": 0.985}
        if images
        else None,
        "floor": dict(floor),
        **({"marks": MARKS} if dataset == "fortunes" else {}),
    }


def edit(path: Path, **changes: Any) -> None:
    """Change fields of a JSON file, which is no longer sealed."""
    content = json.loads(path.read_text()) | changes
    content.pop(SEAL, None)
    path.write_text(json.dumps(content))
