"""The gate's verdicts on values that got worse: of quality and of cost, over the seeds that
finished.

Two tests see different changes. The unpaired one compares the rerun's seeds with other seeds of
the baseline, and asks nothing of the two runs of one seed. The paired one compares each seed with
itself, where both sides executed it in the same way: it sees smaller changes as far as the runs of
a seed correlate. The seeds of the paired test are left out of the other side of the unpaired one,
so that its two sides are independent."""

from dataclasses import dataclass, field
from math import comb

import numpy as np

from benchmark.check.paired import p_paired
from benchmark.check.rows import (
    COST,
    UNKNOWN,
    BaselineRow,
    RerunRow,
    are_equal,
    least_loss,
    useless,
)
from benchmark.check.verdict import Verdict
from benchmark.stats.intervals import Array
from benchmark.stats.mann_whitney import p_larger, shift_bound

# The shares of a value's level that its two tests have. The t test has the smaller one: its level
# holds for differences that are about normal, or smaller than those of seeds
UNPAIRED, PAIRED = 0.75, 0.25


@dataclass
class Loss:
    """A verdict on one metric of a group, with the values it is of. More is worse."""

    verdict: Verdict
    sign: int
    """1 where more of the metric is worse, else −1."""
    new: Array = field(default_factory=lambda: np.empty(0))
    """Of the rerun's seeds."""
    old: Array = field(default_factory=lambda: np.empty(0))
    """Of the baseline's seeds that they are compared with."""
    differences: Array = field(default_factory=lambda: np.empty(0))
    """Of the seeds that both sides have, new − old; empty without pairs."""
    p_unpaired: float = 1.0
    p_paired: float = 1.0

    @property
    def share(self) -> float:
        """The share of the level that the unpaired test has."""
        return UNPAIRED if len(self.differences) else 1.0

    @property
    def p(self) -> float:
        """Of both tests together (weighted Bonferroni)."""
        return min(1.0, self.p_unpaired / self.share, self.p_paired / PAIRED)

    def evidence(self, level: float) -> str:
        """The shift that the stronger of the tests sees. level: of the one-sided interval."""
        if self.p_paired / PAIRED < self.p_unpaired / self.share:
            mean = self.sign * float(self.differences.mean())
            return f"{mean:+.3g} in the mean of {len(self.differences)} seeds paired"
        shift = float(np.median(np.subtract.outer(self.new, self.old)))
        bound = shift_bound(self.new, self.old, level * self.share)
        # 0.0 - bound: no negative zero
        low, high = (bound, np.inf) if self.sign > 0 else (-np.inf, 0.0 - bound)
        return f"shift {self.sign * shift:.3g} [{low:.3g}, {high:.3g}]".replace("inf", "∞")


def worse(old: BaselineRow, new: RerunRow) -> Loss:
    """One metric of a group, over the seeds that finished."""
    verdict = Verdict(old.title, old.metric, "+")
    loss = Loss(verdict, old.sign)
    if not old.finite_values or not new.finite_values:
        _note_no_value(verdict, old, new)
        return loss
    if old.metric in COST and old.executed != new.executed:
        verdict.mark = "?"
        verdict.note = f"not gated: executed as {new.executed}, in the baseline as {old.executed}"
        return loss
    assert old.band is not None
    pairs = _pairs(old, new)
    rest = [value for seed, value in old.known.items() if seed not in pairs]
    # A baseline of no other seeds: against its own
    compared = rest if len(rest) >= len(pairs) else old.finite_values
    loss.new, loss.old = old.sign * np.array(new.finite_values), old.sign * np.array(compared)
    loss.differences = np.array([old.sign * _difference(*pair) for pair in pairs.values()])
    n, m = len(loss.new), len(loss.old)
    verdict.seeds = n, m
    # The t test has no lowest p
    verdict.lowest = 0.0 if pairs else 1 / comb(n + m, n)
    verdict.baseline = float(np.median(compared))
    verdict.current = float(np.median(new.finite_values))
    verdict.band = float(old.band)
    _test(loss, old)
    return loss


def _test(loss: Loss, old: BaselineRow) -> None:
    """Mark and note the loss, and find its p where it is worth reporting."""
    verdict = loss.verdict
    assert verdict.baseline is not None
    assert verdict.current is not None
    assert verdict.band is not None
    excess = loss.sign * (verdict.current - verdict.baseline)
    is_beyond = excess > verdict.band
    is_worse_by_seed = False
    if len(loss.differences):
        is_worse_by_seed = float(np.median(loss.differences)) > least_loss(old)
    if len(loss.differences) == len(loss.new) and not loss.differences.any():
        verdict.note = "the values of the baseline's seeds"
    elif is_beyond or is_worse_by_seed:
        verdict.mark = "~"
        if is_beyond:
            loss.p_unpaired = p_larger(loss.new, loss.old)
        if is_worse_by_seed:
            loss.p_paired = p_paired(loss.differences, float(np.std(old.finite_values, ddof=1)))
        verdict.p = loss.p
        verdict.note = f"{'higher' if loss.sign > 0 else 'lower'} by {excess:.3g}"
    elif excess < -verdict.band:
        verdict.note = "beyond the band on the good side, not tested"
    else:
        reason = useless(old)
        if reason:
            verdict.mark = "?"
            verdict.note = f"cannot see: {reason}"


def _pairs(old: BaselineRow, new: RerunRow) -> dict[str, tuple[float, float]]:
    """The values of every seed that both sides have, of quality that was executed in the same way:
    the baseline's and the rerun's."""
    is_same_way = old.executed == new.executed and old.executed not in ("", UNKNOWN)
    if old.family != "quality" or not is_same_way or len(old.known) < 2:
        return {}
    before, after = old.known, new.known
    shared = sorted(before.keys() & after.keys())
    return {seed: (before[seed], after[seed]) for seed in shared}


def _difference(before: float, after: float) -> float:
    """after − before; 0 for numbers that count as equal."""
    return 0.0 if are_equal(after, before) else after - before


def _note_no_value(verdict: Verdict, old: BaselineRow, new: RerunRow) -> None:
    """Mark and note where one side or both have no value."""
    if verdict.metric in COST:
        side = "results" if old.finite_values else "baseline"
        verdict.mark = "?"
        verdict.note = f"not gated: not measured against a reference workload in the {side}"
    elif old.finite_values:
        verdict.mark, verdict.baseline = "~", float(np.median(old.finite_values))
        verdict.note = "every seed diverged: nothing to test"
    elif new.finite_values:
        verdict.note = "every seed of the baseline diverged: nothing to test"
    else:
        verdict.note = "every seed diverged, as in the baseline"
