"""The gate of `ganbench check` against regressions planted in a copy of the code, and against no
change at all.

    python -m tests.studies.planted_gate POOL OUT [PLANT …]

POOL holds the quick matrix with many seeds (`ganbench run --matrix quick --set seeds=25`). Each
plant is a few words of the source replaced in a copy. The cells that it concerns are trained in
that copy with seeds 0-4 (OUT/PLANT); they replace POOL's own cells of those seeds, and the whole is
judged against POOL's other seeds. Writes planted.csv, false_alarms.csv, detectable.csv and
README.md, whose numbers come from the three, to OUT. All plants together take about half an hour on
2 CPU cores; what is trained is kept."""

import os
import shutil
import subprocess
import sys
from collections.abc import Sequence
from dataclasses import dataclass, replace
from pathlib import Path

import numpy as np
import pandas as pd

from benchmark.analysis.tables import load
from benchmark.check import rule as gate
from benchmark.check.baseline import GROUP, measured
from benchmark.check.output import limits
from benchmark.check.rows import (
    COST,
    BaselineRow,
    RerunRow,
    Row,
    band,
    baseline_rows,
    common_seeds,
    of_seeds,
)
from benchmark.check.rule import Verdict
from benchmark.stats.intervals import robust_spread
from benchmark.stats.mann_whitney import p_larger
from benchmark.store.code import ROOT

# of the reruns
SEEDS = {str(seed) for seed in range(5)}
TRAIN = "benchmark/train"
OBJECTIVES = "variants/objectives"
D_STEPS = "d_steps = objective.d_steps(g_step)"
RECIPE = "return Workbench(dataset, make_objective(cell.objective), make_recipe(cell))"
WEIGHT = "penalty_weight: float = 10.0"
CLIPPED = "parameters: list[Tensor] = list(D.parameters())"
FAST = "minimax|nonsaturating|lsgan|wgan"


@dataclass(frozen=True)
class Plant:
    """A regression: a few words of one file that are replaced."""

    what: str
    only: str
    """The filter of the cells that it concerns."""
    file: str
    old: str
    new: str

    def planted(self, root: Path) -> str:
        """The file in a checkout, with the plant. Raises ValueError where the words are not there,
        or more than once."""
        source = (root / self.file).read_text()
        if source.count(self.old) != 1:
            raise ValueError(f"{self.file} no longer says {self.old!r}, once")
        return source.replace(self.old, self.new)


def with_rate(factor: str) -> str:
    """The words RECIPE, with a learning rate that many times as large."""
    recipe = f"replace(make_recipe(cell), lr={factor} * make_recipe(cell).lr)"
    return RECIPE.replace("make_recipe(cell)", recipe)


PLANTS = {
    "penalty_1": Plant(
        what="λ 10 → 1",
        only="objective=wgan_gp",
        file=f"{OBJECTIVES}/wgan_gp.py",
        old=WEIGHT,
        new="penalty_weight: float = 1.0",
    ),
    "penalty_0.1": Plant(
        what="λ 10 → 0.1",
        only="objective=wgan_gp",
        file=f"{OBJECTIVES}/wgan_gp.py",
        old=WEIGHT,
        new="penalty_weight: float = 0.1",
    ),
    "no_clipping": Plant(
        what="clips copies of the weights",
        only="objective=wgan",
        file=f"{OBJECTIVES}/wgan.py",
        old=CLIPPED,
        new="parameters = [p.clone() for p in D.parameters()]",
    ),
    "one_critic_step": Plant(
        what="critic steps 5 → 1",
        only="objective=wgan|wgan_gp|wgan_fdgp",
        file=f"{TRAIN}/inputs.py",
        old=D_STEPS,
        new="d_steps = 1",
    ),
    "frozen_norm": Plant(
        what="generator's batch norm left in evaluation mode after sampling",
        only=f"dataset=digits objective={FAST}",
        file=f"{TRAIN}/snapshot.py",
        old="self.G.train()",
        new="self.G.eval()",
    ),
    "lr_half": Plant(
        what="learning rate × 0.5",
        only=f"objective={FAST}",
        file=f"{TRAIN}/build.py",
        old=RECIPE,
        new=with_rate("0.5"),
    ),
    "four_critic_steps": Plant(
        what="critic steps 5 → 4",
        only="objective=wgan|wgan_gp",
        file=f"{TRAIN}/inputs.py",
        old=D_STEPS,
        new="d_steps = objective.d_steps(g_step) - 1",
    ),
    "lr_0.8": Plant(
        what="learning rate × 0.8",
        only=f"objective={FAST}",
        file=f"{TRAIN}/build.py",
        old=RECIPE,
        new=with_rate("0.8"),
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
    (code / plant.file).write_text(plant.planted(code))
    command = [sys.executable, "-m", "benchmark", "run", "--matrix", "quick"]
    command += ["--results", str(out / name), "--set", "seeds=5", "--device", "cpu"]
    command += ["--only", plant.only]
    subprocess.run(command, cwd=code, env=os.environ | {"PYTHONPATH": str(code)}, check=True)
    (out / name / "trained").touch()


def rows_of(folder: Path) -> list[RerunRow]:
    """The rows of the finished groups of a results folder, whatever code made them.

    A cost only where every seed has it: some cells of a pool may be older than the reference
    workload."""
    rows = []
    for row in measured(load(folder)):
        is_whole = len(row.finite_values) == len(row.values)
        if not row.unfinished and (row.metric not in COST or is_whole):
            rows.append(replace(row, stale=0))
    return rows


def seeds_of(rows: Sequence[Row]) -> list[str]:
    return sorted(common_seeds(rows), key=int)


def effect(verdict: Verdict, row: BaselineRow) -> float:
    """By how many robust standard deviations of the baseline's seeds the median is worse.

    0 where the seeds do not vary."""
    values = row.finite_values
    spread = robust_spread(values) if values else 0.0
    if not spread or verdict.current is None or verdict.baseline is None:
        return 0.0
    return row.sign * (verdict.current - verdict.baseline) / spread


def detection(name: str, pool: list[RerunRow], out: Path) -> dict[str, object]:
    """How the gate marks one plant, or no change at all (""): a row of planted.csv.

    Effects are shifts of the median ÷ the robust spread of the baseline's seeds, of the quality
    metrics of the groups that the plant concerns."""
    planted = {row.key: row for row in rows_of(out / name / "quick")} if name else {}
    old = baseline_rows(of_seeds(pool, set(seeds_of(pool)) - SEEDS))
    new = [planted.get(row.key, row) for row in of_seeds(pool, SEEDS)]
    verdicts = gate.judge(old, new)
    concerned = {(row.title, row.metric): row for row in old if row.key in planted or not name}
    hit = [v for v in verdicts if (v.group, v.metric) in concerned]
    effects = {}
    for verdict in hit:
        row = concerned[verdict.group, verdict.metric]
        if row.family == "quality":
            effects[f"{verdict.group} {verdict.metric}"] = effect(verdict, row)
    largest = max(effects, key=effects.__getitem__)
    marks = [v.mark for v in hit]
    groups = {v.group for v in hit if v.mark != "x"}
    caught = {v.group for v in hit if v.mark in "−!"}
    return {
        "plant": name or "none",
        "what": PLANTS[name].what if name else "nothing",
        "cells": PLANTS[name].only if name else "",
        "groups": len(groups),
        "groups_caught": len(caught),
        "groups_missed": "; ".join(sorted(groups - caught)) if name else "",
        "comparisons": len(effects),
        "worse": marks.count("−"),
        "diverged": marks.count("!"),
        "suspect": marks.count("~"),
        "largest_effect_sd": round(effects[largest], 2),
        "of": largest,
        "verdict": "red" if gate.exit_code(verdicts) == 1 else "not red",
    }


def false_alarms(pool: list[RerunRow], seeds_of_baseline: int) -> list[dict[str, object]]:
    """How many of gate.RERUNS reruns of unchanged code go red under three rules.

    Rows of false_alarms.csv."""
    rng = np.random.default_rng(0)
    red = dict.fromkeys(("bands alone", "bands, and p <= 0.01 each", "this gate"), 0)
    for _ in range(gate.RERUNS):
        drawn = list(rng.permutation(seeds_of(pool)))
        old = of_seeds(pool, set(drawn[5 : 5 + seeds_of_baseline]))
        new = of_seeds(pool, set(drawn[:5]))
        verdicts = gate.judge(baseline_rows(old), new)
        beyond = [v for v in verdicts if v.mark in "−~" and v.metric != "diverged"]
        red["bands alone"] += bool(beyond)
        red["bands, and p <= 0.01 each"] += any(v.p is not None and v.p <= 0.01 for v in beyond)
        red["this gate"] += gate.exit_code(verdicts) == 1
    counts = {"rerun_seeds": 5, "baseline_seeds": seeds_of_baseline, "reruns": gate.RERUNS}
    return [counts | {"rule": rule, "red": n, "share": n / gate.RERUNS} for rule, n in red.items()]


def detectable(pool: list[RerunRow], draws: int = 200) -> pd.DataFrame:
    """The smallest shift of all of a group's seeds that turns 80 % of reruns red: detectable.csv.

    The shift is beyond the band, and p <= gate.ALPHA ÷ comparisons, which is what Holm asks of the
    first."""
    rng = np.random.default_rng(0)
    rows = [row for row in pool if row.metric != "diverged" and len(row.finite_values) > 5]
    families = [row.family for row in rows]
    table = []
    for row in rows:
        level = gate.ALPHA[row.family] / families.count(row.family)
        shift = shift_that_shows(row, level, draws, rng)
        table.append(detectable_row(row, shift))
    return pd.DataFrame(table)


def shift_that_shows(row: RerunRow, level: float, draws: int, rng: np.random.Generator) -> float:
    """The shift of five of a row's seeds that is seen in 80 % of the draws."""
    discordant = pairs_allowed(5, len(row.finite_values) - 5, level)
    values = np.array(row.finite_values) * row.sign
    needed = []
    for _ in range(draws):
        new, old = np.split(rng.permutation(values), [5])
        limit = (band(row.metric, list(old)) or 0.0) + np.median(old) - np.median(new)
        # a shift beyond the k-th puts k pairs in order
        gaps = np.sort(np.subtract.outer(old, new).ravel())
        needed.append(max(limit, gaps[-1 - discordant]))
    return float(np.quantile(needed, 0.8))


def detectable_row(row: RerunRow, shift: float) -> dict[str, object]:
    """A row of detectable.csv."""
    values = np.array(row.finite_values) * row.sign
    spread, middle = robust_spread(values), float(np.median(values))
    # over the untrained generator
    learned = np.nan if row.untrained is None else row.sign * row.untrained - middle
    return {
        **row.key._asdict(),
        "better": "max" if row.sign < 0 else "min",
        "median": abs(middle),
        "robust_spread": spread,
        "band": band(row.metric, row.finite_values),
        "shift": shift,
        "shift_sd": shift / spread if spread else np.nan,
        "shift_relative": shift / abs(middle or np.nan),
        "learned": learned,
        "seen": row.family == "cost" or shift < learned,
    }


def pairs_allowed(n: int, m: int, level: float) -> int:
    """How many of the n·m pairs may be in the wrong order where the one-sided p is <= level."""
    for wrong in range(n * m):
        # above y's 1 … m, but for one
        x = [*range(m + 1, m + n), m - wrong + 0.5]
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
"""  # noqa: E501


def readme(
    pool: list[RerunRow],
    planted: pd.DataFrame,
    alarms: pd.DataFrame,
    seen: pd.DataFrame,
    where: str,
) -> str:
    """README.md, from the rows of the three files. where: the device and the version of PyTorch."""
    seeds = seeds_of(pool)
    columns = [row.metric for row in pool]
    families = [row.family for row in pool]
    five, other_five = of_seeds(pool, set(seeds[:5])), of_seeds(pool, set(seeds[5:10]))
    unable = limits(gate.judge(baseline_rows(other_five), five))
    changes = planted[planted["plant"] != "none"]
    missed = changes[changes["groups_missed"] != ""]
    unseen = [
        f"- {' / '.join(names)}: {', '.join(rows['metric'])}"
        for names, rows in seen[~seen["seen"]].groupby(GROUP, sort=False)
    ]
    by_metric = seen.groupby(["dataset", "metric"], sort=False)
    return README.format(
        where=where,
        seeds=len(seeds),
        rest=len(seeds) - 5,
        groups=columns.count("diverged"),
        quality=families.count("quality"),
        speed=columns.count("relative speed"),
        memory=columns.count("relative memory"),
        reruns=gate.RERUNS,
        alarms=table(alarm_table(alarms)),
        limits="; ".join(unable) or "every family can go red",
        planted=table(planted_table(planted)),
        red=(changes["verdict"] == "red").sum(),
        plants=len(changes),
        fast=FAST.replace("|", ", "),
        missed="\n".join("- " + missed["what"] + ": " + missed["groups_missed"]) or "- none",
        detectable=table(pd.DataFrame([ranges(*metric) for metric in by_metric])),
        unseen="\n".join(unseen) or "- none",
    )


def alarm_table(alarms: pd.DataFrame) -> pd.DataFrame:
    shares = alarms.pivot_table(
        index="rule", columns="baseline_seeds", values="share", sort=False
    ).map("{:.2%}".format)
    return shares.rename(columns="red, baseline of {} seeds".format).reset_index()


def planted_table(planted: pd.DataFrame) -> pd.DataFrame:
    return pd.DataFrame(
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


def shares(frame: pd.DataFrame, part: str, whole: str) -> pd.Series:
    return frame[part].astype(str) + " of " + frame[whole].astype(str)


def ranges(names: tuple[str, str], rows: pd.DataFrame) -> dict[str, object]:
    """A dataset's metric: how many groups are seen, and the shifts that those need."""
    kept = rows[rows["seen"]]
    sd, relative = kept["shift_sd"].dropna(), 100 * kept["shift_relative"].dropna()
    in_sd = in_percent = "–"
    if len(sd):
        in_sd = f"{sd.min():.1f} to {sd.max():.1f}, median {sd.median():.1f}"
    if len(relative):
        in_percent = f"{relative.min():.3g} to {relative.max():.3g}"
    return {
        "dataset": names[0],
        "metric": names[1],
        "worse is": "lower" if rows["better"].iloc[0] == "max" else "higher",
        "groups seen": f"{len(kept)} of {len(rows)}",
        "shift in SD": in_sd,
        "shift in %": in_percent,
    }


def table(frame: pd.DataFrame) -> str:
    """A frame as a Markdown table."""
    lines = [frame.columns, ["---"] * len(frame.columns), *frame.astype(str).to_numpy()]
    return "\n".join(f"| {' | '.join(line)} |" for line in lines)


def main(folder: Path, out: Path, names: list[str]) -> None:
    for name in names:
        train(name, out)
    pool, cells = rows_of(folder), load(folder).cells
    planted = pd.DataFrame([detection(name, pool, out) for name in ("", *names)])
    many = len(seeds_of(pool)) - 5
    alarms = pd.DataFrame([*false_alarms(pool, many), *false_alarms(pool, 5)])
    seen = detectable(pool)
    for name, frame in {"planted": planted, "false_alarms": alarms, "detectable": seen}.items():
        frame.to_csv(out / f"{name}.csv", index=False, float_format="%.4g")
    device, torch = (" and ".join(cells[name].dropna().unique()) for name in ("device", "torch"))
    where = f"{device}, PyTorch {torch}"
    (out / "README.md").write_text(readme(pool, planted, alarms, seen, where))


if __name__ == "__main__":
    main(Path(sys.argv[1]).resolve(), Path(sys.argv[2]).resolve(), sys.argv[3:] or list(PLANTS))
