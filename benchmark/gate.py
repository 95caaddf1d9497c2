"""A rerun's rows against a baseline's -> verdicts; how wide the bands are, how often unchanged code goes red. Pure.

A rerun makes a hundred comparisons or so, so false alarms are controlled over all of them together: one-sided tests,
Holm's correction within each family (quality, divergence, cost), and the families share 1/20. Five seeds against five
reach p = 0.004 at best, which no family of that size can use; five against 30 reach 3e-6. So a baseline holds many
seeds, a rerun few, and neither has to have the other's.

A row is one group and metric: {objective, architecture, dataset, metric, protocol, training, values: {seed: value or
None}, untrained: the median before the first step}; of a rerun with the number of `unfinished`, `unmeasured` (finished
without a value) and `stale` seeds too, of a baseline with its `band`.
"""

from collections.abc import Container
from dataclasses import dataclass
from math import comb
from typing import Any

import numpy as np
from numpy.typing import ArrayLike
from scipy.stats import fisher_exact, rankdata

from benchmark.metrics import metric
from benchmark.stats import holm, robust_spread

GROUP = ("objective", "architecture", "dataset")
# How often each family may go red in a rerun that changed nothing, 1/20 together. Divergence has the largest share, for
# its p is coarse: three of five seeds, where none of 30 did, is 0.0015.
ALPHA = {"quality": 0.02, "diverged": 0.025, "cost": 0.005}
COST = {"relative speed": 1.0, "relative memory": 0.25}  # bands ÷ median: loose, a busy machine is no regression
RERUNS, RERUN_SEEDS, MANY_SEEDS = 400, 5, 25  # of the estimate of false alarms

Row = dict[str, Any]


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
    p: float = 1.0  # that it is not worse: one-sided, of this comparison alone; 1 within the band
    lowest: float = 0.0  # the lowest p that so many seeds can reach


def baseline(rows: list[Row]) -> list[Row]:
    """Rows as a baseline holds them: with their bands, without what only a rerun needs."""
    kept = [{name: row[name] for name in row if name not in ("unfinished", "unmeasured", "stale")} for row in rows]
    return [row | {"band": band(row["metric"], values_of(row))} for row in kept]


def band(column: str, values: list[float]) -> float | None:
    """How much worse a group's median may be: max(absolute, relative x median, 2 x robust spread of the seeds); of
    COST relative x median; None of `diverged`, which has a test alone."""
    if column == "diverged" or (column in COST and not values):
        return None
    if column in COST:
        return COST[column] * float(np.median(values))
    m = metric(column)
    if not values:
        return m.absolute
    return max(m.absolute, m.relative * abs(float(np.median(values))), 2 * robust_spread(values))


def false_alarms(rows: list[Row], rng: np.random.Generator | None = None) -> dict[str, int] | None:
    """How many of RERUNS reruns go red though nothing changed: RERUN_SEEDS of the rows' own seeds, the same in every
    group, against the rest. None below MANY_SEEDS seeds."""
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
    return [row | {"values": {seed: v for seed, v in row["values"].items() if seed in seeds}} for row in rows]


def judge(old: list[Row], new: list[Row]) -> list[Verdict]:
    """Every row of either side, compared: those of a baseline and those of `measured`. One more for the divergence of
    the whole matrix."""
    was, now = ({key_of(row): row for row in rows} for rows in (old, new))
    verdicts: list[Verdict] = []
    pooled: list[tuple[list[float], list[float]]] = []
    for key in was | now:
        before, after = was.get(key), now.get(key)
        if before is None or after is None:
            note = f"not in the {'baseline' if before is None else 'results'}"
            verdicts.append(Verdict(title((was | now)[key]), key[-1], "x", note=note))
        elif note := _incomparable(before, after):
            verdicts.append(Verdict(title(before), key[-1], "x", note=note))
        elif key[-1] == "diverged":
            pooled.append((values_of(before), values_of(after)))
            verdicts.append(_diverged(title(before), *pooled[-1]))
        else:
            verdicts.append(_worse(before, after))
    if len(pooled) > 1:
        verdicts.append(
            _diverged("whole matrix", *([v for part in side for v in part] for side in zip(*pooled, strict=True)))
        )
    for family in ALPHA:
        _separate([v for v in verdicts if v.mark != "x" and family_of(v.metric) == family], ALPHA[family])
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


def _diverged(name: str, was: list[float], now: list[float]) -> Verdict:
    """The share of diverged seeds, by Fisher's exact test, one-sided."""
    a, b = int(sum(now)), int(sum(was))
    shares = b / len(was), a / len(now)
    if shares[1] <= shares[0]:
        return Verdict(name, "diverged", "+", *shares)
    p = float(fisher_exact(np.array([[a, len(now) - a], [b, len(was) - b]]), "greater").pvalue)
    note = f"{a} of {len(now)} seeds diverged, {b} of {len(was)} in the baseline"
    return Verdict(name, "diverged", "~", *shares, None, note, p)


def _worse(old: Row, new: Row) -> Verdict:
    """One metric of a group, over the seeds that finished."""
    name, column, sign = title(old), old["metric"], sign_of(old["metric"])
    was, now = np.array(values_of(old)), np.array(values_of(new))
    if column in COST and not (len(was) and len(now)):
        side = "results" if len(was) else "baseline"
        return Verdict(name, column, "?", note=f"not gated: not measured against a reference workload in the {side}")
    if not len(was):
        return Verdict(name, column, "+", note="" if len(now) else "no seed finished, as in the baseline")
    if not len(now):
        return Verdict(name, column, "~", float(np.median(was)), note="no seed finished")
    middles, limit = (float(np.median(was)), float(np.median(now))), float(old["band"])
    worse = sign * (middles[1] - middles[0])
    if worse > limit:
        shift = sign * float(np.median(np.subtract.outer(now, was)))  # Hodges and Lehmann's
        p, lowest = p_larger(sign * now, sign * was), 1 / comb(len(now) + len(was), len(now))
        return Verdict(name, column, "~", *middles, limit, f"worse by {worse:.3g}, shift {shift:.3g}", p, lowest)
    reason, better = useless(old), "better beyond the band" if worse < -limit else ""
    if reason and not better:
        return Verdict(name, column, "?", *middles, limit, f"cannot see: {reason}")
    return Verdict(name, column, "+", *middles, limit, better)


def p_larger(x: ArrayLike, y: ArrayLike) -> float:
    """The exact one-sided Mann–Whitney p that x (n,) is not larger than y (m,), ties included: the share of all ways
    to draw n of the pooled mid-ranks with a sum as large as x's. SciPy's exact p knows no ties."""
    x, y = np.asarray(x, dtype=float), np.asarray(y, dtype=float)
    ranks = np.rint(2 * rankdata([*x, *y])).astype(int)  # twice a mid-rank is a whole number
    ways = np.zeros((len(x) + 1, ranks.sum() + 1))  # (how many drawn, their sum)
    ways[0, 0] = 1
    for rank in ranks:
        ways[1:, rank:] += ways[:-1, :-rank]
    return float(ways[-1, ranks[: len(x)].sum() :].sum() / ways[-1].sum())


def _separate(family: list[Verdict], alpha: float) -> None:
    """Turn what is suspect (~) into − or ! where Holm's correction over the whole family leaves p <= alpha."""
    for verdict, p in zip(family, holm([verdict.p for verdict in family]), strict=True):
        if verdict.mark != "~":
            continue
        if p <= alpha:
            verdict.mark = "!" if verdict.metric == "diverged" else "−"
        least = verdict.lowest * len(family)
        reach = f", {least:.2g} at best with so few seeds" if least > alpha else ""
        verdict.note += f" (p = {p:.2g} over {len(family)} comparisons{reach})"


def useless(row: Row) -> str:
    """Why the band of a baseline's row hides the loss of everything learned; the empty string where it does not. No
    skill is what the untrained generator had; where that was not measured, 0 if more is better."""
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
    return 1 if column in COST or metric(column).direction == "min" else -1


def values_of(row: Row) -> list[float]:
    """The finite values, without their seeds."""
    return [value for value in row["values"].values() if value is not None and np.isfinite(value)]


def key_of(row: Row) -> tuple[str, ...]:
    """What a row is compared by: objective, architecture, dataset, metric."""
    return (*(row[name] for name in GROUP), row["metric"])


def title(row: Row) -> str:
    return f"{row['objective']} / {row['architecture']} / {row['dataset']}"
