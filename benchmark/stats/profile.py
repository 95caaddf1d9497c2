"""The performance profile of AlgoPerf (Dahl et al. 2023), of costs by variant and workload."""

import numpy as np
from numpy.typing import ArrayLike

from benchmark.stats.intervals import Array


def performance_profile(
    costs: ArrayLike, ratios: ArrayLike = (), limit: float = 4.0
) -> tuple[Array, Array]:
    """AlgoPerf's profile: costs (variants, workloads), inf = never -> profile, score.

    profile (variants, len(ratios)): the share of workloads that a variant finishes within each
    ratio of the least cost of any variant. score (variants,): the integral of that share over
    ratios from 1 to `limit`, divided by the width: 1 is always first, 0 is never within the limit.
    A cost of NaN (not run) raises ValueError: a missing run is not a cost."""
    costs = np.asarray(costs, dtype=float)
    if np.isnan(costs).any():
        raise ValueError(
            "performance_profile: a cost is NaN (not run); leave that workload out or finish it"
        )
    best = costs.min(axis=0)
    with np.errstate(invalid="ignore", divide="ignore"):
        # a best cost of 0 is a ratio of 1
        finite_ratio = np.where(costs == best, 1.0, costs / best)
        ratio = np.where(np.isfinite(costs), finite_ratio, np.inf)
    profile = (ratio[:, :, None] <= np.asarray(ratios, dtype=float)).mean(axis=1)
    score = np.clip((limit - ratio) / (limit - 1), 0, None).mean(axis=1)
    return profile, score
