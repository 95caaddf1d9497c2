"""The cost of contestants that took turns on a machine whose pace changed."""

from typing import Any

import numpy as np
from numpy.typing import NDArray

Array = NDArray[Any]
SWEEPS = 3  # of the polish: more change nothing that is seen
QUIET = 0.25  # quantile of the pace over rounds that counts as the pace of a quiet machine


def raced(times: Array) -> tuple[Array, Array]:
    """Cost and spread of every contestant, both (contestants,), from times (rounds, contestants).

    A time is the cost of a contestant x the pace of the machine in that round x noise (Tukey's
    median polish, 1977, in logarithms). The pace of a round is the median of its times, each ÷ the
    contestant's cost; cost: the median over rounds of time ÷ pace, x the pace of a quiet round, the
    QUIET quantile. So a busy machine changes a ratio of costs only where it slows one
    contestant more than the others, in half of the rounds; it raises all costs together where it is
    busy in more than 1 − QUIET of them. spread: half the interquartile range of time ÷
    pace, ÷ its median: 0.05 says that half of the rounds lie within about ±5 %."""
    logs = np.log(np.asarray(times, dtype=float))
    cost = np.median(logs, axis=0)
    for _ in range(SWEEPS):
        pace = np.median(logs - cost, axis=1)
        cost = np.median(logs - pace[:, np.newaxis], axis=0)
    ratios = logs - pace[:, np.newaxis]
    low, middle, high = np.quantile(ratios, [0.25, 0.5, 0.75], axis=0)
    return np.exp(middle + np.quantile(pace, QUIET)), np.expm1((high - low) / 2)
