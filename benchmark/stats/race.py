"""The cost of contestants that took turns on a machine whose pace changed."""

from typing import Any

import numpy as np
from numpy.typing import NDArray

Array = NDArray[Any]
QUIET = 0.25  # quantile of the pace over rounds that counts as the pace of a quiet machine


def raced(times: Array) -> tuple[Array, Array]:
    """Cost and spread of every contestant, both (contestants,), from times (rounds, contestants).

    A time is the cost of a contestant x the pace of the machine in that round x noise (one step of
    Tukey's median polish, in logarithms). The pace of a round is the median of its times, each ÷
    the contestant's median; cost: the median over rounds of time ÷ pace, x the pace of a quiet
    round, the QUIET quantile. So a busy machine changes a cost only where it slows one contestant
    more than the others, in half of the rounds. spread: half the interquartile range of time ÷
    pace, ÷ its median: 0.05 says that half of the rounds lie within about ±5 %."""
    logs = np.log(np.asarray(times, dtype=float))
    pace = np.median(logs - np.median(logs, axis=0), axis=1)
    ratios = logs - pace[:, np.newaxis]
    low, middle, high = np.quantile(ratios, [0.25, 0.5, 0.75], axis=0)
    return np.exp(middle + np.quantile(pace, QUIET)), np.expm1((high - low) / 2)
