"""A rerun's rows against a baseline's -> verdicts; how wide the bands are, how often unchanged code
goes red. Pure.

A rerun makes a hundred comparisons or so, so false alarms are controlled over all of them together:
one-sided tests, Holm's correction within each family (quality, divergence, cost), and the families
share 1/20. Five seeds against five reach p = 0.004 at best, which no family of that size can use;
five against 30 reach 3e-6. So a baseline holds many seeds, a rerun few, and neither has to have the
other's. The unit is the seed: what all groups of one seed share (its initial weights, its batches)
makes no test but that of its own group, and that of the whole matrix counts by seed.

A row is one group and metric: {objective, architecture, dataset, metric, protocol, training,
values: {seed: value or None}, untrained: the median before the first step}; of a rerun with the
number of `unfinished`, `unmeasured` (finished without a value) and `stale` seeds too, of a baseline
with its `band`."""

from collections.abc import Container
from dataclasses import dataclass
from math import comb
from typing import Any

import numpy as np
from scipy.stats import fisher_exact

from benchmark.metrics import metric, sign
from benchmark.stats.bootstrap import Array, robust_spread
from benchmark.stats.comparisons import holm, p_larger, shift_bound

GROUP = ("objective", "architecture", "dataset")
# How often each family may go red in a rerun that changed nothing, 1/20 together. Divergence has
# the largest share, for
# its p is coarse: three of five seeds, where none of 30 did, is 0.0015.
ALPHA = {"quality": 0.02, "diverged": 0.025, "cost": 0.005}
# Bands ÷ median: loose, for a busy machine is no regression. Memory is a GPU's alone: what a
# process takes on a CPU is
# its libraries' and the earlier cells', so no reference is measured there.
COST = {"relative speed": 1.0, "relative memory": 0.25}
RERUNS, RERUN_SEEDS, MANY_SEEDS = 400, 5, 25  # of the estimate of false alarms

Row = dict[str, Any]
Samples = dict[
    tuple[str, str], tuple[Array, Array]
]  # (group, metric) -> the values of both sides, more being worse


@dataclass
class Verdict:
    """One group and metric, compared."""

    group: str
    metric: str
    mark: str
    baseline: float | None = None  # medians over seeds; of `diverged` the share of seeds
    current: float | None = None
    band: float | None = None
    note: str = ""
    p: float | None = (
        # that it is not worse: one-sided, of this comparison alone; None where it was not tested
        None
    )
    seeds: tuple[int, int] = (0, 0)  # with a value: of the results, of the baseline
    lowest: float | None = (
        None  # the lowest p that so many seeds can reach; None where there is nothing to test
    )


def baseline(rows: list[Row]) -> list[Row]:
    """Rows as a baseline holds them: with their bands, without what only a rerun needs."""
    kept = [
        {name: row[name] for name in row if name not in ("unfinished", "unmeasured", "stale")}
        for row in rows
    ]
    return [row | {"band": band(row["metric"], values_of(row))} for row in kept]


def band(column: str, values: list[float]) -> float | None:
    """How much worse a group's median may be: max(absolute, relative x median, 2 x robust spread of
    the seeds); of COST relative x median; None of `diverged`, which has a test alone."""
    if column == "diverged" or (column in COST and not values):
        return None
    if column in COST:
        return COST[column] * float(np.median(values))
    m = metric(column)
    if not values:
        return m.absolute
    return max(m.absolute, m.relative * abs(float(np.median(values))), 2 * robust_spread(values))


def false_alarms(rows: list[Row], rng: np.random.Generator | None = None) -> dict[str, int] | None:
    """How many of RERUNS reruns go red though nothing changed: RERUN_SEEDS of the rows' own seeds,
    the same in every group, against the rest. None below MANY_SEEDS seeds."""
    seeds = sorted(set.intersection(*(set(row["values"]) for row in rows)), key=int)
    if len(seeds) < MANY_SEEDS:
        return None
    rng, red = rng or np.random.default_rng(0), 0
    for _ in range(RERUNS):
        drawn = set(rng.choice(seeds, RERUN_SEEDS, replace=False))
        rest = set(seeds) - drawn
        red += exit_code(judge(baseline(of_seeds(rows, rest)), of_seeds(rows, drawn))) == 1
    return {"reruns": RERUNS, "seeds": RERUN_SEEDS, "red": red}


def of_seeds(rows: list[Row], seeds: Container[str]) -> list[Row]:
    """The rows with the values of these seeds alone."""
    return [
        row | {"values": {seed: v for seed, v in row["values"].items() if seed in seeds}}
        for row in rows
    ]


def judge(old: list[Row], new: list[Row]) -> list[Verdict]:
    """Every row of either side, compared: those of a baseline and those of `measured`. A cost that
    neither side has is left out. One more for the divergence of the whole matrix."""
    was, now = ({key_of(row): row for row in rows} for rows in (old, new))
    verdicts: list[Verdict] = []
    samples: Samples = {}
    diverged: list[tuple[Row, Row]] = []
    for key in was | now:
        before, after = was.get(key), now.get(key)
        if key[-1] in COST and not any(values_of(row) for row in (before, after) if row):
            continue
        if before is None or after is None:
            note = f"not in the {'baseline' if before is None else 'results'}"
            verdicts.append(Verdict(title((was | now)[key]), key[-1], "x", note=note))
        elif note := _incomparable(before, after):
            verdicts.append(Verdict(title(before), key[-1], "x", note=note))
        elif key[-1] == "diverged":
            diverged.append((before, after))
            verdicts.append(_diverged(before, after))
        else:
            verdicts.append(_worse(before, after))
            x, y = (sign_of(key[-1]) * np.array(values_of(row)) for row in (after, before))
            samples[title(before), key[-1]] = x, y
    if len(diverged) > 1:
        verdicts.append(_diverged_by_seed(diverged))
    for family in ALPHA:
        _separate(
            [v for v in verdicts if family_of(v.metric) == family and v.lowest],
            ALPHA[family],
            samples,
        )
    return verdicts


def _incomparable(old: Row, new: Row) -> str:
    """Why two rows cannot be compared; the empty string where they can."""
    if new["unfinished"]:
        return f"{new['unfinished']} of {len(new['values'])} seeds unfinished"
    if new["unmeasured"]:
        return f"{new['unmeasured']} of {len(new['values'])} seeds finished without a value"
    if new["stale"]:
        return f"{new['stale']} of {len(new['values'])} seeds stale: run with --force"
    if old["training"] != new["training"]:
        return "other training options than the baseline's"
    if old["protocol"] != new["protocol"]:
        return f"protocol {new['protocol']} against {old['protocol']}"
    return ""


def _diverged(old: Row, new: Row) -> Verdict:
    """The share of a group's seeds that diverged, by Fisher's exact test, one-sided."""
    was, now = values_of(old), values_of(new)
    a, b, n, m = int(sum(now)), int(sum(was)), len(now), len(was)
    lowest = comb(b + n, n) / comb(n + m, n)  # all n
    found = Verdict(title(old), "diverged", "+", b / m, a / n, seeds=(n, m), lowest=lowest)
    if a / n > b / m:
        found.mark, found.note = "~", f"{a} of {n} seeds diverged, {b} of {m} in the baseline"
        found.p = float(fisher_exact(np.array([[a, n - a], [b, m - b]]), "greater").pvalue)
    return found


def _diverged_by_seed(pairs: list[tuple[Row, Row]]) -> Verdict:
    """The runs that diverged, over all groups. The groups of a seed are not independent, for they
    begin with the same weights where they share an architecture: what is compared is the count of
    each seed, by `p_larger`."""
    was, now = (_counts([pair[side] for pair in pairs]) for side in (0, 1))
    if not (was and now):
        return Verdict("whole matrix", "diverged", "?", note="no seed is in every group")
    old, new = (float(np.mean(side)) / len(pairs) for side in (was, now))
    lowest = p_larger([len(pairs)] * len(now), was)
    found = Verdict(
        "whole matrix", "diverged", "+", old, new, seeds=(len(now), len(was)), lowest=lowest
    )
    if new > old:
        runs = [f"{sum(side)} of {len(side) * len(pairs)}" for side in (now, was)]
        found.mark, found.p = "~", p_larger(now, was)
        found.note = f"{runs[0]} runs diverged, {runs[1]} in the baseline, counted by seed"
    return found


def _counts(rows: list[Row]) -> list[int]:
    """How many of the groups diverged, for every seed that all of them have."""
    seeds = set.intersection(*(set(row["values"]) for row in rows))
    return [int(sum(row["values"][seed] for row in rows)) for seed in seeds]


def _worse(old: Row, new: Row) -> Verdict:
    """One metric of a group, over the seeds that finished."""
    name, column, sign = title(old), old["metric"], sign_of(old["metric"])
    was, now = np.array(values_of(old)), np.array(values_of(new))
    if column in COST and not (len(was) and len(now)):
        side = "results" if len(was) else "baseline"
        return Verdict(
            name,
            column,
            "?",
            note=f"not gated: not measured against a reference workload in the {side}",
        )
    if not len(was):
        return Verdict(
            name, column, "+", note="" if len(now) else "no seed finished, as in the baseline"
        )
    if not len(now):
        return Verdict(
            name, column, "~", float(np.median(was)), note="no seed finished: nothing to test"
        )
    before, after, limit = float(np.median(was)), float(np.median(now)), float(old["band"])
    found = Verdict(name, column, "+", before, after, limit, seeds=(len(now), len(was)))
    found.lowest = 1 / comb(sum(found.seeds), len(now))
    worse = sign * (after - before)
    if worse > limit:
        found.mark, found.p = "~", p_larger(sign * now, sign * was)
        found.note = f"{'higher' if sign > 0 else 'lower'} by {worse:.3g}"
    elif worse < -limit:
        found.note = "beyond the band on the good side, not tested"
    elif reason := useless(old):
        found.mark, found.note = "?", f"cannot see: {reason}"
    return found


def _separate(family: list[Verdict], alpha: float, samples: Samples) -> None:
    """Turn what is suspect (~) into − or ! where Holm's correction over the whole family leaves p
    <= alpha. Notes the shift (Hodges and Lehmann's) with its one-sided interval at the level at
    which Holm's correction stopped, alpha ÷ the comparisons that are left: an interval excludes 0
    where the correction rejects."""
    adjusted = holm([1.0 if v.p is None else v.p for v in family])
    level = alpha / max(1, len(family) - int((adjusted <= alpha).sum()))
    for v, p in zip(family, adjusted, strict=True):
        if v.p is None or v.lowest is None:
            continue
        if p <= alpha:
            v.mark = "!" if v.metric == "diverged" else "−"
        if (v.group, v.metric) in samples:
            x, y = samples[v.group, v.metric]
            shift, bound = float(np.median(np.subtract.outer(x, y))), shift_bound(x, y, level)
            low, high = (bound, np.inf) if sign_of(v.metric) > 0 else (-np.inf, 0.0 - bound)
            v.note += f", shift {sign_of(v.metric) * shift:.3g} [{low:.3g}, {high:.3g}]".replace(
                "inf", "∞"
            )
        least = v.lowest * len(family)
        reach = f", {least:.2g} at best with so few seeds" if least > alpha else ""
        v.note += f" (p = {p:.2g} over {len(family)} comparisons{reach})"


def limits(verdicts: list[Verdict]) -> list[str]:
    """The families that cannot go red with so few seeds, whatever their values."""
    found = []
    for family, alpha in ALPHA.items():
        members = [
            (v.lowest, v.seeds) for v in verdicts if v.lowest and family_of(v.metric) == family
        ]
        p, (new, old) = min(members, default=(0.0, (0, 0)))
        if (p := min(1.0, p * len(members))) > alpha:
            seeds, name = f"{new} seeds against {old}", family.replace("diverged", "divergence")
            found.append(
                f"{name} cannot go red with {seeds}: lowest p {p:.2g} over {len(members)} comparisons"
            )
    return found


def useless(row: Row) -> str:
    """Why the band of a baseline's row hides the loss of everything learned; the empty string where
    it does not. No skill is what the untrained generator had; where that was not measured, 0 if
    more is better."""
    column, values = row["metric"], values_of(row)
    if column == "diverged" or column in COST or not values:
        return ""
    none = row.get("untrained")
    if none is None and metric(column).direction == "max":
        none = 0.0
    middle = float(np.median(values))
    if none is None or sign_of(column) * (none - middle) > row["band"]:
        return ""
    return f"the band {row['band']:.3g} around {middle:.3g} reaches the untrained generator's {none:.3g}"


def exit_code(verdicts: list[Verdict]) -> int:
    """0, 1 or 2; no verdict at all is 2."""
    marks = {verdict.mark for verdict in verdicts}
    if not marks or "x" in marks:
        return 2
    return 1 if marks & {"−", "!"} else 0


def family_of(column: str) -> str:
    return "diverged" if column == "diverged" else "cost" if column in COST else "quality"


def sign_of(column: str) -> int:
    """1 where more is worse, else −1."""
    return 1 if column in COST else sign(column)


def values_of(row: Row) -> list[float]:
    """The finite values, without their seeds."""
    return [value for value in row["values"].values() if value is not None and np.isfinite(value)]


def key_of(row: Row) -> tuple[str, ...]:
    """What a row is compared by: objective, architecture, dataset, metric."""
    return (*(row[name] for name in GROUP), row["metric"])


def title(row: Row) -> str:
    return f"{row['objective']} / {row['architecture']} / {row['dataset']}"
