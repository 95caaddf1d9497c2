"""The gate's verdicts on runs that diverged: of a group, and of the whole matrix."""

from collections.abc import Sequence
from math import comb
from typing import NamedTuple

import numpy as np

from benchmark.check.rows import DIVERGED, BaselineRow, RerunRow, Row, common_seeds
from benchmark.check.verdict import Verdict
from benchmark.stats.mann_whitney import p_larger
from benchmark.text import plural


class Pair(NamedTuple):
    """The rows of one group and metric."""

    old: BaselineRow
    new: RerunRow


def diverged(old: BaselineRow, new: RerunRow) -> Verdict:
    """The share of a group's seeds that diverged, by Fisher's exact test, one-sided."""
    old_values, new_values = old.finite_values, new.finite_values
    n, m = len(new_values), len(old_values)
    num_new, num_old = int(sum(new_values)), int(sum(old_values))
    verdict = Verdict(old.title, DIVERGED, "+", num_old / m, num_new / n, seeds=(n, m))
    # all n
    verdict.lowest = comb(num_old + n, n) / comb(n + m, n)
    if num_new / n > num_old / m:
        verdict.mark = "~"
        verdict.note = (
            f"{num_new} of {plural(n, 'seed')} diverged, {num_old} of {m} in the baseline"
        )
        verdict.p = _fisher(num_new, n, num_old, m)
    return verdict


def _fisher(num_new: int, n: int, num_old: int, m: int) -> float:
    """Fisher's exact p, one-sided: that chance alone puts num_new or more of all that diverged
    among the n runs, and the others among the m."""
    total = num_new + num_old
    ways = [comb(n, k) * comb(m, total - k) for k in range(num_new, min(n, total) + 1)]
    return sum(ways) / comb(n + m, total)


def diverged_by_seed(pairs: Sequence[Pair]) -> Verdict:
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
