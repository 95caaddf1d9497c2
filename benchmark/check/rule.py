"""The rule of the gate: rows of a rerun against rows of a baseline -> verdicts. Pure functions.

A rerun makes about a hundred comparisons, so false alarms are controlled over all of them together:
one-sided tests, Holm's correction within each family (quality, divergence, cost), and the families
share 1/20. Five seeds against five reach p = 0.004 at best, which no family of that size can use;
five against 30 reach 3e-6. So a baseline holds many seeds and a rerun few, and the two need not
have the same seeds.

The unit is the seed. The groups of one seed share its initial weights and batches: so each test is
within one group, and the test over the whole matrix counts by seed."""

from collections.abc import Sequence
from dataclasses import dataclass
from math import comb
from typing import NamedTuple, TypedDict

import numpy as np
from scipy.stats import fisher_exact

from benchmark.check.rows import (
    COST,
    DIVERGED,
    BaselineRow,
    RerunRow,
    Row,
    baseline_rows,
    common_seeds,
    family_of,
    of_seeds,
    sign_of,
    useless,
)
from benchmark.stats.comparisons import holm
from benchmark.stats.intervals import Array
from benchmark.stats.mann_whitney import p_larger, shift_bound

# How often each family may go red in a rerun that changed nothing: 1/20 together. Divergence has
# the largest share, because its p is coarse: three of five seeds, where none of 30 did, is 0.0015.
ALPHA = {"quality": 0.02, "diverged": 0.025, "cost": 0.005}
# of the estimate of false alarms
RERUNS, RERUN_SEEDS, MANY_SEEDS = 400, 5, 25


@dataclass
class Verdict:
    """One group and metric, compared."""

    group: str
    metric: str
    mark: str
    """One of +−!~?x."""
    baseline: float | None = None
    """The median over seeds; of `diverged` the share of seeds."""
    current: float | None = None
    band: float | None = None
    note: str = ""
    p: float | None = None
    """One-sided, that it is not worse, of this comparison alone; None where it was not tested."""
    seeds: tuple[int, int] = (0, 0)
    """Seeds with a value: of the results, of the baseline."""
    lowest: float | None = None
    """The lowest p that so many seeds can reach; None where there is nothing to test."""


class BothSides(NamedTuple):
    """The values of both sides of a verdict, more being worse."""

    new: Array
    old: Array


class Pair(NamedTuple):
    """The rows of one group and metric."""

    old: BaselineRow
    new: RerunRow


class FalseAlarms(TypedDict):
    """How many of so many reruns of unchanged code, of so many seeds each, go red."""

    reruns: int
    seeds: int
    red: int


def judge(old: Sequence[BaselineRow], new: Sequence[RerunRow]) -> list[Verdict]:
    """A verdict for every row of either side, and one for the divergence of the whole matrix.

    A cost that neither side has is left out."""
    old_rows = {row.key: row for row in old}
    new_rows = {row.key: row for row in new}
    verdicts: list[Verdict] = []
    sides: dict[tuple[str, str], BothSides] = {}
    diverged: list[Pair] = []
    for key in old_rows | new_rows:
        before, after = old_rows.get(key), new_rows.get(key)
        if key.metric in COST and not _has_values(before) and not _has_values(after):
            continue
        if before is None or after is None:
            verdicts.append(_one_sided(before, after))
            continue
        reason = _incomparable(before, after)
        if reason:
            verdicts.append(Verdict(before.title, key.metric, "x", note=reason))
        elif key.metric == DIVERGED:
            diverged.append(Pair(before, after))
            verdicts.append(_diverged(before, after))
        else:
            verdicts.append(_worse(before, after))
            new_values = before.sign * np.array(after.finite_values)
            old_values = before.sign * np.array(before.finite_values)
            sides[before.title, key.metric] = BothSides(new_values, old_values)
    if len(diverged) > 1:
        verdicts.append(_diverged_by_seed(diverged))
    for family, alpha in ALPHA.items():
        tested = [v for v in verdicts if family_of(v.metric) == family and v.lowest]
        _separate(tested, alpha, sides)
    return verdicts


def exit_code(verdicts: Sequence[Verdict]) -> int:
    """0, 1 or 2; no verdict at all is 2."""
    marks = {verdict.mark for verdict in verdicts}
    if not marks or "x" in marks:
        return 2
    return 1 if marks & {"−", "!"} else 0


def false_alarms(
    rows: Sequence[RerunRow], rng: np.random.Generator | None = None
) -> FalseAlarms | None:
    """How many of RERUNS reruns go red though nothing changed. None below MANY_SEEDS seeds.

    A rerun is RERUN_SEEDS of the rows' own seeds, the same in every group, against the rest."""
    seeds = sorted(common_seeds(rows), key=int)
    if len(seeds) < MANY_SEEDS:
        return None
    rng = rng or np.random.default_rng(0)
    red = 0
    for _ in range(RERUNS):
        drawn = set(rng.choice(seeds, RERUN_SEEDS, replace=False))
        rest = baseline_rows(of_seeds(rows, set(seeds) - drawn))
        red += exit_code(judge(rest, of_seeds(rows, drawn))) == 1
    return {"reruns": RERUNS, "seeds": RERUN_SEEDS, "red": red}


def _has_values(row: Row | None) -> bool:
    return row is not None and bool(row.finite_values)


def _one_sided(old: BaselineRow | None, new: RerunRow | None) -> Verdict:
    """The verdict of a row that one side does not have."""
    row = old or new
    assert row is not None
    side = "baseline" if old is None else "results"
    return Verdict(row.title, row.metric, "x", note=f"not in the {side}")


def _incomparable(old: BaselineRow, new: RerunRow) -> str:
    """Why two rows cannot be compared; the empty string where they can."""
    num_seeds = len(new.values)
    if new.unfinished:
        return f"{new.unfinished} of {num_seeds} seeds unfinished"
    if new.unmeasured:
        return f"{new.unmeasured} of {num_seeds} seeds finished without a value"
    if new.stale:
        return f"{new.stale} of {num_seeds} seeds stale: run with --force"
    if old.training != new.training:
        return "other training options than the baseline's"
    if old.protocol != new.protocol:
        return f"protocol {new.protocol} against {old.protocol}"
    return ""


def _diverged(old: BaselineRow, new: RerunRow) -> Verdict:
    """The share of a group's seeds that diverged, by Fisher's exact test, one-sided."""
    old_values, new_values = old.finite_values, new.finite_values
    n, m = len(new_values), len(old_values)
    num_new, num_old = int(sum(new_values)), int(sum(old_values))
    verdict = Verdict(old.title, DIVERGED, "+", num_old / m, num_new / n, seeds=(n, m))
    # all n
    verdict.lowest = comb(num_old + n, n) / comb(n + m, n)
    if num_new / n > num_old / m:
        verdict.mark = "~"
        verdict.note = f"{num_new} of {n} seeds diverged, {num_old} of {m} in the baseline"
        table = np.array([[num_new, n - num_new], [num_old, m - num_old]])
        verdict.p = float(fisher_exact(table, "greater").pvalue)
    return verdict


def _diverged_by_seed(pairs: Sequence[Pair]) -> Verdict:
    """The runs that diverged, over all groups.

    The groups of a seed are not independent, because they begin with the same weights where they
    share an architecture. So the count of each seed is compared, by `p_larger`."""
    old_counts = _counts_by_seed([pair.old for pair in pairs])
    new_counts = _counts_by_seed([pair.new for pair in pairs])
    if not (old_counts and new_counts):
        return Verdict("whole matrix", DIVERGED, "?", note="no seed is in every group")
    n, m = len(new_counts), len(old_counts)
    old_share = float(np.mean(old_counts)) / len(pairs)
    new_share = float(np.mean(new_counts)) / len(pairs)
    verdict = Verdict("whole matrix", DIVERGED, "+", old_share, new_share, seeds=(n, m))
    verdict.lowest = p_larger([len(pairs)] * n, old_counts)
    if new_share > old_share:
        verdict.mark = "~"
        verdict.p = p_larger(new_counts, old_counts)
        verdict.note = (
            f"{sum(new_counts)} of {n * len(pairs)} runs diverged, "
            f"{sum(old_counts)} of {m * len(pairs)} in the baseline, counted by seed"
        )
    return verdict


def _counts_by_seed(rows: Sequence[Row]) -> list[int]:
    """How many of the groups diverged, for every seed that all of them have."""
    return [int(sum(row.values[seed] or 0 for row in rows)) for seed in common_seeds(rows)]


def _worse(old: BaselineRow, new: RerunRow) -> Verdict:
    """One metric of a group, over the seeds that finished."""
    old_values, new_values = np.array(old.finite_values), np.array(new.finite_values)
    verdict = Verdict(old.title, old.metric, "+")
    if not len(old_values) or not len(new_values):
        _note_no_value(verdict, old_values, new_values)
        return verdict
    if old.executed != new.executed:
        verdict.mark = "?"
        verdict.note = f"not gated: executed as {new.executed}, in the baseline as {old.executed}"
        return verdict
    assert old.band is not None
    before, after = float(np.median(old_values)), float(np.median(new_values))
    n, m = len(new_values), len(old_values)
    verdict.baseline, verdict.current = before, after
    verdict.band = float(old.band)
    verdict.seeds = (n, m)
    verdict.lowest = 1 / comb(n + m, n)
    excess = old.sign * (after - before)
    if excess > verdict.band:
        verdict.mark = "~"
        verdict.p = p_larger(old.sign * new_values, old.sign * old_values)
        verdict.note = f"{'higher' if old.sign > 0 else 'lower'} by {excess:.3g}"
    elif excess < -verdict.band:
        verdict.note = "beyond the band on the good side, not tested"
    else:
        reason = useless(old)
        if reason:
            verdict.mark = "?"
            verdict.note = f"cannot see: {reason}"
    return verdict


def _note_no_value(verdict: Verdict, old_values: Array, new_values: Array) -> None:
    """Mark and note where one side or both have no value."""
    if verdict.metric in COST:
        side = "results" if len(old_values) else "baseline"
        verdict.mark = "?"
        verdict.note = f"not gated: not measured against a reference workload in the {side}"
    elif len(old_values):
        verdict.mark, verdict.baseline = "~", float(np.median(old_values))
        verdict.note = "every seed diverged: nothing to test"
    elif len(new_values):
        verdict.note = "every seed of the baseline diverged: nothing to test"
    else:
        verdict.note = "every seed diverged, as in the baseline"


def _separate(
    family: Sequence[Verdict], alpha: float, sides: dict[tuple[str, str], BothSides]
) -> None:
    """Turn ~ into − or ! where Holm's correction over the whole family leaves p <= alpha.

    Notes the shift (Hodges and Lehmann's) with its one-sided interval. Its level is the one at
    which Holm's correction stopped: alpha ÷ the comparisons that are left. So an interval excludes
    0 where the correction rejects."""
    adjusted = holm([1.0 if verdict.p is None else verdict.p for verdict in family])
    level = alpha / max(1, len(family) - int((adjusted <= alpha).sum()))
    for verdict, p in zip(family, adjusted, strict=True):
        if verdict.p is None or verdict.lowest is None:
            continue
        if p <= alpha:
            verdict.mark = "!" if verdict.metric == DIVERGED else "−"
        values = sides.get((verdict.group, verdict.metric))
        if values is not None:
            verdict.note += f", shift {_shift(values, sign_of(verdict.metric), level)}"
        reach = ""
        least = verdict.lowest * len(family)
        if least > alpha:
            reach = f", {least:.2g} at best with so few seeds"
        verdict.note += f" (p = {p:.2g} over {len(family)} comparisons{reach})"


def _shift(sides: BothSides, sign: int, level: float) -> str:
    """The median shift of the results over the baseline, and its one-sided interval."""
    shift = float(np.median(np.subtract.outer(sides.new, sides.old)))
    bound = shift_bound(sides.new, sides.old, level)
    # 0.0 - bound: no negative zero
    low, high = (bound, np.inf) if sign > 0 else (-np.inf, 0.0 - bound)
    return f"{sign * shift:.3g} [{low:.3g}, {high:.3g}]".replace("inf", "∞")
