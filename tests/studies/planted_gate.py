"""The gate of `ganbench check` against regressions planted in a copy of the code, and against no
change at all.

    python -m tests.studies.planted_gate POOL OUT [PLANT …]

POOL holds the quick matrix with many seeds (`ganbench run --matrix quick --set seeds=25`). Each
plant is a few words of the source replaced in a copy; the cells that it concerns are trained anew
with seeds 0-4 (OUT/PLANT), stand in for POOL's own of those seeds, and the whole is judged against
POOL's other seeds. Writes planted.csv, false_alarms.csv, detectable.csv and README.md, whose
numbers are theirs, to OUT. All plants together take about half an hour on 2 CPU cores; what is
trained is kept."""

import os
import shutil
import subprocess
import sys
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import pandas as pd

from benchmark.analysis.tables import load
from benchmark.check import rule as gate
from benchmark.check.baseline import measured
from benchmark.check.rule import Row, Verdict
from benchmark.stats.bootstrap import robust_spread
from benchmark.stats.comparisons import p_larger
from benchmark.store.code import ROOT

SEEDS = {str(seed) for seed in range(5)}  # of the reruns
TRAIN, STEP = "benchmark/train/loop.py", "benchmark/train/step.py"
D_STEPS = "d_steps = objective.d_steps(g_step)"
RECIPE = "objective, recipe = make_objective(cell.objective), make_recipe(cell)"
WEIGHT = "penalty_weight: float = 10.0"
CLIPPED = "parameters: list[Tensor] = list(D.parameters())"
FAST = "minimax|nonsaturating|lsgan|wgan"


@dataclass(frozen=True)
class Plant:
    """A regression: what it is, a filter of cells, a file, and the words in it that are
    replaced."""

    what: str
    only: str
    file: str
    old: str
    new: str


PLANTS = {
    "penalty_1": Plant(
        "λ 10 → 1",
        "objective=wgan_gp",
        "variants/objectives/wgan_gp.py",
        WEIGHT,
        WEIGHT[:-4] + "1.0",
    ),
    "penalty_0.1": Plant(
        "λ 10 → 0.1",
        "objective=wgan_gp",
        "variants/objectives/wgan_gp.py",
        WEIGHT,
        WEIGHT[:-4] + "0.1",
    ),
    "no_clipping": Plant(
        "clips copies of the weights",
        *(
            "objective=wgan",
            "variants/objectives/wgan.py",
            CLIPPED,
            "parameters = [p.clone() for p in D.parameters()]",
        ),
    ),
    "one_critic_step": Plant(
        "critic steps 5 → 1", "objective=wgan|wgan_gp|wgan_fdgp", TRAIN, D_STEPS, "d_steps = 1"
    ),
    "frozen_norm": Plant(
        "generator's batch norm left in evaluation mode after sampling",
        *(f"dataset=digits objective={FAST}", TRAIN, "self.G.train()", "self.G.eval()"),
    ),
    "lr_half": Plant(
        "learning rate × 0.5",
        *(
            f"objective={FAST}",
            TRAIN,
            RECIPE,
            f"{RECIPE}\n    recipe = replace(recipe, lr=0.5 * recipe.lr)",
        ),
    ),
    "four_critic_steps": Plant(
        "critic steps 5 → 4", "objective=wgan|wgan_gp", TRAIN, D_STEPS, f"{D_STEPS} - 1"
    ),
    "lr_0.8": Plant(
        "learning rate × 0.8",
        *(
            f"objective={FAST}",
            TRAIN,
            RECIPE,
            f"{RECIPE}\n    recipe = replace(recipe, lr=0.8 * recipe.lr)",
        ),
    ),
}


def train(name: str, out: Path) -> None:
    """Train the cells that a plant concerns, in a copy of the code that has it."""
    plant, code = PLANTS[name], out / name / "code"
    if (out / name / "trained").exists():
        return
    shutil.rmtree(code, ignore_errors=True)
    for folder in ("benchmark", "variants"):
        shutil.copytree(ROOT / folder, code / folder, ignore=shutil.ignore_patterns("__pycache__"))
    source = (code / plant.file).read_text()
    assert source.count(plant.old) == 1, f"{name}: {plant.file} no longer says {plant.old!r}, once"
    (code / plant.file).write_text(source.replace(plant.old, plant.new))
    command = [
        sys.executable,
        "-m",
        "benchmark",
        "run",
        "--matrix",
        "quick",
        "--results",
        str(out / name),
    ]
    command += ["--set", "seeds=5", "--device", "cpu", "--only", plant.only]
    subprocess.run(command, cwd=code, env=os.environ | {"PYTHONPATH": str(code)}, check=True)
    (out / name / "trained").touch()


def rows_of(folder: Path) -> list[Row]:
    """What is compared of the finished groups of a results folder, whatever code made them. A cost
    only where every seed has it: a pool may be older than the reference workload, in part."""
    rows = [row | {"stale": 0} for row in measured(load(folder)) if not row["unfinished"]]
    return [
        row
        for row in rows
        if row["metric"] not in gate.COST or len(gate.values_of(row)) == len(row["values"])
    ]


def seeds_of(rows: list[Row]) -> list[str]:
    return sorted(set.intersection(*(set(row["values"]) for row in rows)), key=int)


def effect(v: Verdict, row: Row) -> float:
    """By how many robust standard deviations of the baseline's seeds the median is worse; 0 where
    they do not vary."""
    spread = robust_spread(gate.values_of(row)) if gate.values_of(row) else 0.0
    if not spread or v.current is None or v.baseline is None:
        return 0.0
    return gate.sign_of(v.metric) * (v.current - v.baseline) / spread


def detection(name: str, pool: list[Row], out: Path) -> dict[str, object]:
    """How the gate marks one plant, or no change at all (""): a row of planted.csv. Effects are
    shifts of the median ÷ the robust spread of the baseline's seeds, of the quality metrics of the
    groups it concerns."""
    planted = {gate.key_of(row): row for row in rows_of(out / name / "quick")} if name else {}
    old = gate.baseline(gate.of_seeds(pool, set(seeds_of(pool)) - SEEDS))
    new = [planted.get(gate.key_of(row), row) for row in gate.of_seeds(pool, SEEDS)]
    verdicts = gate.judge(old, new)
    rows = {
        (gate.title(row), row["metric"]): row
        for row in old
        if gate.key_of(row) in planted or not name
    }
    hit = [v for v in verdicts if (v.group, v.metric) in rows]
    quality = [v for v in hit if gate.family_of(v.metric) == "quality"]
    effects = {f"{v.group} {v.metric}": effect(v, rows[v.group, v.metric]) for v in quality}
    largest = max(effects, key=effects.__getitem__)
    counts = {mark: sum(v.mark == mark for v in hit) for mark in "−!~?"}
    groups, caught = ({v.group for v in hit if v.mark in marks} for marks in ("+−!~?", "−!"))
    return {
        "plant": name or "none",
        "what": PLANTS[name].what if name else "nothing",
        "cells": PLANTS[name].only if name else "",
        "groups": len(groups),
        "groups_caught": len(caught),
        "groups_missed": "; ".join(sorted(groups - caught)) if name else "",
        "comparisons": len(effects),
        "worse": counts["−"],
        "diverged": counts["!"],
        "suspect": counts["~"],
        "largest_effect_sd": round(effects[largest], 2),
        "of": largest,
        "verdict": "red" if gate.exit_code(verdicts) == 1 else "not red",
    }


def false_alarms(pool: list[Row], seeds_of_baseline: int) -> list[dict[str, object]]:
    """How many of gate.RERUNS reruns of unchanged code go red under three rules: rows of
    false_alarms.csv."""
    rng, red = (
        np.random.default_rng(0),
        dict.fromkeys(("bands alone", "bands, and p <= 0.01 each", "this gate"), 0),
    )
    for _ in range(gate.RERUNS):
        drawn = list(rng.permutation(seeds_of(pool)))
        old, new = (
            gate.of_seeds(pool, set(drawn[5 : 5 + seeds_of_baseline])),
            gate.of_seeds(pool, set(drawn[:5])),
        )
        verdicts = gate.judge(gate.baseline(old), new)
        beyond = [v for v in verdicts if v.mark in "−~" and v.metric != "diverged"]
        red["bands alone"] += bool(beyond)
        red["bands, and p <= 0.01 each"] += any(v.p is not None and v.p <= 0.01 for v in beyond)
        red["this gate"] += gate.exit_code(verdicts) == 1
    counts = {"rerun_seeds": 5, "baseline_seeds": seeds_of_baseline, "reruns": gate.RERUNS}
    return [counts | {"rule": rule, "red": n, "share": n / gate.RERUNS} for rule, n in red.items()]


def detectable(pool: list[Row], draws: int = 200) -> pd.DataFrame:
    """The smallest shift of all of a group's seeds that turns 80 % of reruns red: detectable.csv.
    Beyond the band, and p <= gate.ALPHA ÷ comparisons, which is what Holm asks of the first."""
    rng, found = np.random.default_rng(0), []
    rows = [row for row in pool if row["metric"] != "diverged" and len(gate.values_of(row)) > 5]
    families = [gate.family_of(row["metric"]) for row in rows]
    for row, family in zip(rows, families, strict=True):
        discordant = pairs_allowed(
            5, len(gate.values_of(row)) - 5, gate.ALPHA[family] / families.count(family)
        )
        sign, needed = gate.sign_of(row["metric"]), []
        values = np.array(gate.values_of(row)) * sign
        for _ in range(draws):
            now, was = np.split(rng.permutation(values), [5])
            limit = (
                gate.baseline([row | {"values": dict(enumerate(was))}])[0]["band"]
                + np.median(was)
                - np.median(now)
            )
            gaps = np.sort(
                np.subtract.outer(was, now).ravel()
            )  # a shift beyond the k-th puts k pairs in order
            needed.append(max(limit, gaps[-1 - discordant]))
        shift, spread, middle = (
            np.quantile(needed, 0.8),
            robust_spread(values),
            float(np.median(values)),
        )
        learned = sign * row["untrained"] - middle if row["untrained"] is not None else np.nan
        found.append(
            {name: row[name] for name in (*gate.GROUP, "metric")}
            | {
                "better": "max" if sign < 0 else "min",
                "median": abs(middle),
                "robust_spread": spread,
            }
            | {"band": gate.baseline([row])[0]["band"], "shift": shift}
            | {
                "shift_sd": shift / spread if spread else np.nan,
                "shift_relative": shift / abs(middle or np.nan),
            }
            | {
                "learned": learned,
                "seen": family == "cost" or shift < learned,
            }  # over the untrained generator
        )
    return pd.DataFrame(found)


def pairs_allowed(n: int, m: int, level: float) -> int:
    """How many of the n·m pairs may be in the wrong order where the one-sided p is still <=
    level."""
    for wrong in range(n * m):
        x = [*range(m + 1, m + n), m - wrong + 0.5]  # above y's 1 … m, but for one
        if wrong > m or p_larger(x, range(1, m + 1)) > level:
            return wrong - 1
    raise AssertionError


README = """# The gate of `ganbench check`, tried

What the gate calls red when nothing changed, and what it catches when something did. Made, this page and its numbers,
by

```
ganbench run --matrix quick --set seeds=25 --results POOL
python -m tests.studies.planted_gate POOL/quick OUT
```

on {where}. `tests/studies/planted_gate.py` holds every planted change as the words of the source that it
replaces. The pool has {seeds} seeds of {groups} groups: {quality} comparisons of quality, {speed} of speed and {memory}
of memory: those of the groups that have a reference workload in every seed. None of the planted changes is one of cost.

**False alarms** (`false_alarms.csv`): {reruns} reruns of 5 seeds drawn from the pool against {rest} others or 5 others,
the same seeds in every group, all comparisons of a rerun together. Red at most 1 rerun in 20 is what is asked.

{alarms}

Against 5 seeds: {limits}.

**Planted changes** (`planted.csv`): the cells concerned trained anew with seeds 0-4, judged together with the pool's
own seeds 0-4 of all other groups against the pool's other {rest} seeds. The first line is those seeds without a change.
Effects are shifts of the median in robust standard deviations of the baseline's seeds.

{planted}

{red} of {plants} changes turn the rerun red. The learning-rate and batch-norm changes are trained for four objectives
only ({fast}). Groups that show nothing by themselves:

{missed}

**What it can see** (`detectable.csv`): the shift of all seeds of a group that turns 80 % of reruns red, as the range
over groups, in robust standard deviations of the seeds (where they vary) and relative to the median. A group is seen
where that shift is less than what training gained over the untrained generator; the ranges are of the groups seen.

{detectable}

Not seen:

{unseen}

Nor does it see smaller changes; changes of the spread of the seeds, of the way to the end, of `best`; anything on the
good side; nor changes that leave several metrics of one group at `~`: each is judged by itself.
"""


def readme(
    pool: list[Row], planted: pd.DataFrame, alarms: pd.DataFrame, seen: pd.DataFrame, where: str
) -> str:
    """README.md, from the rows of the three files. where: the device and the version of PyTorch."""
    columns = [row["metric"] for row in pool]
    five, other = (gate.of_seeds(pool, set(seeds_of(pool)[i : i + 5])) for i in (0, 5))
    changes = planted[planted["plant"] != "none"]
    lost = changes[changes["groups_missed"] != ""]
    return README.format(
        where=where,
        seeds=len(seeds_of(pool)),
        rest=len(seeds_of(pool)) - 5,
        groups=columns.count("diverged"),
        quality=[gate.family_of(column) for column in columns].count("quality"),
        speed=columns.count("relative speed"),
        memory=columns.count("relative memory"),
        reruns=gate.RERUNS,
        alarms=table(
            alarms.pivot_table(index="rule", columns="baseline_seeds", values="share", sort=False)
            .map("{:.2%}".format)
            .rename(columns="red, baseline of {} seeds".format)
            .reset_index()
        ),
        limits="; ".join(gate.limits(gate.judge(gate.baseline(other), five)))
        or "every family can go red",
        planted=table(
            pd.DataFrame(
                {
                    "change": planted["what"],
                    "rerun": planted["verdict"],
                    "groups caught": shares(planted, "groups_caught", "groups"),
                    "comparisons −": shares(planted, "worse", "comparisons"),
                    "!": planted["diverged"],
                    "~": planted["suspect"],
                    "largest effect": planted["largest_effect_sd"],
                    "of": planted["of"],
                }
            )
        ),
        red=(changes["verdict"] == "red").sum(),
        plants=len(changes),
        fast=FAST.replace("|", ", "),
        missed="\n".join("- " + lost["what"] + ": " + lost["groups_missed"]) or "- none",
        detectable=table(
            pd.DataFrame([ranges(*of) for of in seen.groupby(["dataset", "metric"], sort=False)])
        ),
        unseen="\n".join(
            f"- {' / '.join(names)}: {', '.join(rows['metric'])}"
            for names, rows in seen[~seen["seen"]].groupby(list(gate.GROUP), sort=False)
        )
        or "- none",
    )


def shares(frame: pd.DataFrame, part: str, whole: str) -> pd.Series:
    return frame[part].astype(str) + " of " + frame[whole].astype(str)


def ranges(names: tuple[str, str], rows: pd.DataFrame) -> dict[str, object]:
    """A dataset's metric: how many groups are seen, and the shifts that those need."""
    kept = rows[rows["seen"]]
    sd, relative = kept["shift_sd"].dropna(), 100 * kept["shift_relative"].dropna()
    return {
        "dataset": names[0],
        "metric": names[1],
        "worse is": "lower" if rows["better"].iloc[0] == "max" else "higher",
        "groups seen": f"{len(kept)} of {len(rows)}",
        "shift in SD": f"{sd.min():.1f} to {sd.max():.1f}, median {sd.median():.1f}"
        if len(sd)
        else "–",
        "shift in %": f"{relative.min():.3g} to {relative.max():.3g}" if len(relative) else "–",
    }


def table(frame: pd.DataFrame) -> str:
    """A frame as a Markdown table."""
    lines = [frame.columns, ["---"] * len(frame.columns), *frame.astype(str).to_numpy()]
    return "\n".join(f"| {' | '.join(line)} |" for line in lines)


if __name__ == "__main__":
    folder, out = Path(sys.argv[1]).resolve(), Path(sys.argv[2]).resolve()
    names = sys.argv[3:] or list(PLANTS)
    for name in names:
        train(name, out)
    pool, cells = rows_of(folder), load(folder).cells
    planted = pd.DataFrame([detection(name, pool, out) for name in ("", *names)])
    alarms = pd.DataFrame(
        [row for n in (len(seeds_of(pool)) - 5, 5) for row in false_alarms(pool, n)]
    )
    seen = detectable(pool)
    for name, frame in {"planted": planted, "false_alarms": alarms, "detectable": seen}.items():
        frame.to_csv(out / f"{name}.csv", index=False, float_format="%.4g")
    device, torch = (" and ".join(cells[name].dropna().unique()) for name in ("device", "torch"))
    (out / "README.md").write_text(
        readme(pool, planted, alarms, seen, f"{device}, PyTorch {torch}")
    )
