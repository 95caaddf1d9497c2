"""The rule of the gate: rows of a rerun against rows of a baseline -> verdicts. Pure functions.

A rerun makes about a hundred comparisons, so false alarms are controlled over all of them together:
one-sided tests, Holm's correction within each family (quality, divergence, cost), and the families
share 1/20. Where a value has two tests (worse.py), they share its level. Five seeds against five
others reach p = 0.004 at best, which no family of that size can use; five against 30 reach 3e-6. So
a baseline holds many seeds and a rerun few. The two need not have the same seeds, and smaller
changes show where they do.

The unit is the seed. The groups of one seed share its initial weights and batches: so each test is
within one group, and the test over the whole matrix counts by seed."""

from collections.abc import Sequence
from typing import TypedDict

import numpy as np

from benchmark.check.divergence import Pair, diverged, diverged_by_seed
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
)
from benchmark.check.verdict import ALPHA, Verdict, exit_code
from benchmark.check.worse import Loss, worse
from benchmark.stats.comparisons import holm
from benchmark.text import plural

# of the estimate of false alarms
RERUNS, RERUN_SEEDS, MANY_SEEDS = 400, 5, 25


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
    losses: list[Loss] = []
    pairs: list[Pair] = []
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
            pairs.append(Pair(before, after))
            verdicts.append(diverged(before, after))
        else:
            losses.append(worse(before, after))
            verdicts.append(losses[-1].verdict)
    if len(pairs) > 1:
        verdicts.append(diverged_by_seed(pairs))
    by_verdict = {id(loss.verdict): loss for loss in losses}
    for family, alpha in ALPHA.items():
        tested = [v for v in verdicts if family_of(v.metric) == family]
        tested = [v for v in tested if v.lowest is not None]
        _separate(tested, alpha, by_verdict)
    return verdicts


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
    seeds = plural(len(new.values), "seed")
    if new.unfinished:
        return f"{new.unfinished} of {seeds} unfinished"
    if new.unmeasured:
        return f"{new.unmeasured} of {seeds} finished without a value"
    if new.stale:
        return f"{new.stale} of {seeds} stale: run with --force"
    if old.training != new.training:
        return "other training options than the baseline's"
    if old.protocol != new.protocol:
        return f"protocol {new.protocol} against {old.protocol}"
    return ""


def _separate(family: Sequence[Verdict], alpha: float, losses: dict[int, Loss]) -> None:
    """Turn ~ into − or ! where Holm's correction over the whole family leaves p <= alpha.

    Notes what the stronger test of a loss sees: the mean of the paired differences, or the shift
    (Hodges and Lehmann's) with its one-sided interval. The interval's level is the one at which
    Holm's correction stopped: alpha ÷ the comparisons that are left. So an interval excludes 0
    where the correction rejects. losses: by the id of their verdicts."""
    adjusted = holm([1.0 if verdict.p is None else verdict.p for verdict in family])
    level = alpha / max(1, len(family) - int((adjusted <= alpha).sum()))
    for verdict, p in zip(family, adjusted, strict=True):
        if verdict.p is None or verdict.lowest is None:
            continue
        if p <= alpha:
            verdict.mark = "!" if verdict.metric == DIVERGED else "−"
        loss = losses.get(id(verdict))
        if loss is not None:
            verdict.note += f", {loss.evidence(level)}"
        reach = ""
        least = verdict.lowest * len(family)
        if least > alpha:
            reach = f", {least:.2g} at best with so few seeds"
        verdict.note += f" (p = {p:.2g} over {len(family)} comparisons{reach})"
