"""The gate of `ganbench check` against regressions planted in a copy of the code, and against no change at all.

    python -m tests.planted_gate POOL OUT [PLANT …]

POOL holds the quick matrix with many seeds (`ganbench run --matrix quick --set seeds=30`). Each plant is a few words of
the source replaced in a copy; the cells that it concerns are trained anew with seeds 0-4 (OUT/PLANT), stand in for
POOL's own of those seeds, and the whole is judged against POOL's other seeds. Writes planted.csv, false_alarms.csv and
detectable.csv to OUT. All plants together take about half an hour on 2 CPU cores; what is trained is kept.
"""

import os
import shutil
import subprocess
import sys
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import pandas as pd

from benchmark import gate
from benchmark.cell import ROOT
from benchmark.check import measured
from benchmark.gate import Row, Verdict
from benchmark.metrics import metric
from benchmark.stats import robust_spread
from benchmark.tables import load

SEEDS = {str(seed) for seed in range(5)}  # of the reruns
TRAIN, STEP = "benchmark/train.py", "benchmark/step.py"
D_STEPS = "d_steps = objective.d_steps(g_step)"
RECIPE = "objective, recipe = make_objective(cell.objective), make_recipe(cell)"
WEIGHT = "penalty_weight: float = 10.0"
CLIPPED = "parameters: list[Tensor] = list(D.parameters())"
FAST = "minimax|nonsaturating|lsgan|wgan"


@dataclass(frozen=True)
class Plant:
    """A regression: what it is, a filter of cells, a file, and the words in it that are replaced."""

    what: str
    only: str
    file: str
    old: str
    new: str


PLANTS = {
    "penalty_1": Plant("λ 10 → 1", "objective=wgan_gp", "variants/objectives/wgan_gp.py", WEIGHT, WEIGHT[:-4] + "1.0"),
    "penalty_0.1": Plant(
        "λ 10 → 0.1", "objective=wgan_gp", "variants/objectives/wgan_gp.py", WEIGHT, WEIGHT[:-4] + "0.1"
    ),
    "no_clipping": Plant(
        "clips copies of the weights",
        *("objective=wgan", "variants/objectives/wgan.py", CLIPPED, "parameters = [p.clone() for p in D.parameters()]"),
    ),
    "one_critic_step": Plant("critic steps 5 → 1", "objective=wgan|wgan_gp|wgan_fdgp", TRAIN, D_STEPS, "d_steps = 1"),
    "frozen_norm": Plant(
        "generator's batch norm left in evaluation mode after sampling",
        *(f"dataset=digits objective={FAST}", TRAIN, "self.G.train()", "self.G.eval()"),
    ),
    "lr_half": Plant(
        "learning rate × 0.5",
        *(f"objective={FAST}", TRAIN, RECIPE, f"{RECIPE}\n    recipe = replace(recipe, lr=0.5 * recipe.lr)"),
    ),
    "four_critic_steps": Plant("critic steps 5 → 4", "objective=wgan|wgan_gp", TRAIN, D_STEPS, f"{D_STEPS} - 1"),
    "lr_0.8": Plant(
        "learning rate × 0.8",
        *(f"objective={FAST}", TRAIN, RECIPE, f"{RECIPE}\n    recipe = replace(recipe, lr=0.8 * recipe.lr)"),
    ),
}


def train(name: str, out: Path) -> None:
    """Train the cells that a plant concerns, in a copy of the code that has it."""
    plant, code = PLANTS[name], out / name / "code"
    shutil.rmtree(code, ignore_errors=True)
    for folder in ("benchmark", "variants"):
        shutil.copytree(ROOT / folder, code / folder, ignore=shutil.ignore_patterns("__pycache__"))
    source = (code / plant.file).read_text()
    assert source.count(plant.old) == 1, f"{name}: {plant.file} no longer says {plant.old!r}, once"
    (code / plant.file).write_text(source.replace(plant.old, plant.new))
    command = [sys.executable, "-m", "benchmark", "run", "--matrix", "quick", "--results", str(out / name)]
    command += ["--set", "seeds=5", "--device", "cpu", "--only", plant.only]
    subprocess.run(command, cwd=code, env=os.environ | {"PYTHONPATH": str(code)}, check=True)


def rows_of(folder: Path) -> list[Row]:
    """What is compared of the finished groups of a results folder, whatever code made them."""
    return [row | {"stale": 0} for row in measured(load(folder)) if not row["unfinished"]]


def seeds_of(rows: list[Row]) -> list[str]:
    return sorted(set.intersection(*(set(row["values"]) for row in rows)), key=int)


def effect(v: Verdict, row: Row) -> float:
    """By how many robust standard deviations of the baseline's seeds the median is worse; 0 where they do not vary."""
    spread = robust_spread(gate.values_of(row)) if gate.values_of(row) else 0.0
    if not spread or v.current is None or v.baseline is None:
        return 0.0
    return gate.sign_of(v.metric) * (v.current - v.baseline) / spread


def detection(name: str, pool: list[Row], out: Path) -> dict[str, object]:
    """How the gate marks one plant: a row of planted.csv. Effects are shifts of the median ÷ the robust spread of the
    baseline's seeds, of the quality metrics of the groups it concerns."""
    planted = {gate.key_of(row): row for row in rows_of(out / name / "quick")}
    old = gate.baseline(gate.of_seeds(pool, set(seeds_of(pool)) - SEEDS))
    new = [planted.get(gate.key_of(row), row) for row in gate.of_seeds(pool, SEEDS)]
    verdicts = gate.judge(old, new)
    hit = [(v, row) for v, row in zip(verdicts, old, strict=False) if gate.key_of(row) in planted]
    quality = [(v, row) for v, row in hit if gate.family_of(v.metric) == "quality"]
    effects = {f"{v.group} {v.metric}": effect(v, row) for v, row in quality}
    largest = max(effects, key=effects.__getitem__)
    counts = {mark: sum(v.mark == mark for v, _ in hit) for mark in "−!~?"}
    return {
        "plant": name,
        "what": PLANTS[name].what,
        "cells": PLANTS[name].only,
        "groups": len({v.group for v, _ in hit}),
        "groups_caught": len({v.group for v, _ in hit if v.mark in "−!"}),
        "groups_missed": "; ".join(sorted({v.group for v, _ in hit} - {v.group for v, _ in hit if v.mark in "−!"})),
        "comparisons": len(effects),
        "worse": counts["−"],
        "diverged": counts["!"],
        "suspect": counts["~"],
        "largest_effect_sd": round(effects[largest], 2),
        "of": largest,
        "verdict": "caught" if gate.exit_code(verdicts) == 1 else "missed",
    }


def false_alarms(pool: list[Row], seeds_of_baseline: int) -> list[dict[str, object]]:
    """How many of gate.RERUNS reruns of unchanged code go red under three rules: rows of false_alarms.csv."""
    rng, red = np.random.default_rng(0), dict.fromkeys(("bands alone", "bands, and p <= 0.01 each", "this gate"), 0)
    for _ in range(gate.RERUNS):
        drawn = list(rng.permutation(seeds_of(pool)))
        old, new = gate.of_seeds(pool, set(drawn[5 : 5 + seeds_of_baseline])), gate.of_seeds(pool, set(drawn[:5]))
        verdicts = gate.judge(gate.baseline(old), new)
        beyond = [v for v in verdicts if v.mark in "−~" and v.metric != "diverged"]
        red["bands alone"] += bool(beyond)
        red["bands, and p <= 0.01 each"] += any(v.p <= 0.01 for v in beyond)
        red["this gate"] += gate.exit_code(verdicts) == 1
    counts = {"rerun_seeds": 5, "baseline_seeds": seeds_of_baseline, "reruns": gate.RERUNS}
    return [counts | {"rule": rule, "red": n, "share": n / gate.RERUNS} for rule, n in red.items()]


def detectable(pool: list[Row], draws: int = 200) -> pd.DataFrame:
    """The smallest shift of all of a group's seeds that turns 80 % of reruns red: detectable.csv. Beyond the band, and
    p <= gate.ALPHA ÷ comparisons, which is what Holm asks of the first."""
    rng, found = np.random.default_rng(0), []
    quality = [row for row in pool if gate.family_of(row["metric"]) == "quality" and gate.values_of(row)]
    discordant = pairs_allowed(5, len(seeds_of(pool)) - 5, gate.ALPHA["quality"] / len(quality))
    for row in quality:
        sign, needed = gate.sign_of(row["metric"]), []
        values = np.array(gate.values_of(row)) * sign
        for _ in range(draws):
            now, was = np.split(rng.permutation(values), [5])
            limit = gate.baseline([row | {"values": dict(enumerate(was))}])[0]["band"] + np.median(was) - np.median(now)
            gaps = np.sort(np.subtract.outer(was, now).ravel())  # a shift beyond the k-th puts k pairs in order
            needed.append(max(limit, gaps[-1 - discordant]))
        shift, spread, middle = np.quantile(needed, 0.8), robust_spread(values), float(np.median(values))
        learned = sign * row["untrained"] - middle if row["untrained"] is not None else np.nan
        found.append(
            {name: row[name] for name in (*gate.GROUP, "metric")}
            | {"better": metric(row["metric"]).direction, "median": abs(middle), "robust_spread": spread}
            | {"band": gate.baseline([row])[0]["band"], "shift": shift}
            | {"shift_sd": shift / spread if spread else np.nan, "shift_relative": shift / abs(middle or np.nan)}
            | {"learned": learned, "seen": shift < learned}  # what training gained over the untrained generator
        )
    return pd.DataFrame(found)


def pairs_allowed(n: int, m: int, level: float) -> int:
    """How many of the n·m pairs may be in the wrong order where the one-sided p is still <= level."""
    for wrong in range(n * m):
        x = [*range(m + 1, m + n), m - wrong + 0.5]  # above y's 1 … m, but for one
        if wrong > m or gate.p_larger(x, range(1, m + 1)) > level:
            return wrong - 1
    raise AssertionError


if __name__ == "__main__":
    folder, out = Path(sys.argv[1]).resolve(), Path(sys.argv[2]).resolve()
    names = sys.argv[3:] or list(PLANTS)
    for name in names:
        train(name, out)
    pool = rows_of(folder)
    pd.DataFrame([detection(name, pool, out) for name in names]).to_csv(out / "planted.csv", index=False)
    alarms = [row for n in (len(seeds_of(pool)) - 5, 5) for row in false_alarms(pool, n)]
    pd.DataFrame(alarms).to_csv(out / "false_alarms.csv", index=False)
    detectable(pool).to_csv(out / "detectable.csv", index=False, float_format="%.4g")
