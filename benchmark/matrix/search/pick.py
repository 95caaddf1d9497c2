"""Which configuration of a search is the best."""

import math
from collections.abc import Mapping, Sequence


def pick(values: Mapping[int, Sequence[float]]) -> int:
    """The configuration with the least mean over its seeds; of equal ones the smallest. values: by
    configuration, one at the end of each run; inf for a run that diverged, NaN counts as inf."""
    return min(values, key=lambda configuration: (mean_value(values[configuration]), configuration))


def mean_value(values: Sequence[float]) -> float:
    """The mean over seeds; inf where one of them is inf or NaN."""
    mean = sum(values) / len(values)
    return math.inf if math.isnan(mean) else mean
