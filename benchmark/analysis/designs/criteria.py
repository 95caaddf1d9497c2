"""When a run on a drawn architecture succeeds: beyond a threshold of a metric."""

import math
from typing import NamedTuple

import numpy as np
import pandas as pd

from benchmark.metrics import metric, sign
from benchmark.stats.intervals import median

INCEPTION = "is_mean"
INCEPTION_SCORES = tuple(np.arange(1, 9.5, 0.5).tolist())
"""Thresholds of the paper's table (Gulrajani et al. 2017, arXiv:1704.00028, table 2)."""
MULTIPLES = (1.0, 1.5, 2.0, 3.0, 5.0)
"""Of what the architectures that are not drawn reach: thresholds of the metric that ranks."""
SUCCESS = 2.0
"""The one of MULTIPLES that counts as success where a single one is asked for."""


class Criterion(NamedTuple):
    """A threshold of a metric, which a success is beyond, on the better side."""

    column: str
    threshold: float
    multiple: float = math.nan
    """Of what the architectures that are not drawn reach; NaN of a threshold of its own."""

    def holds(self, values: pd.DataFrame) -> pd.DataFrame:
        """Where values succeed. A run that diverged, ±inf, does not."""
        if sign(self.column) == 1:
            return values <= self.threshold
        return values > self.threshold


def criteria_of(column: str, finals: pd.DataFrame, others: pd.Series) -> list[Criterion]:
    """The criteria of a metric. finals: of the drawn architectures; others: of all other runs,
    whose median, or without any that of `finals`, is what MULTIPLES are of."""
    if metric(column).name == INCEPTION:
        return [Criterion(column, threshold) for threshold in INCEPTION_SCORES]
    known = finals.stack() if others.empty else others
    reached = float(median(known.dropna()))
    if not metric(column).primary or not math.isfinite(reached):
        return []
    return [Criterion(column, multiple * reached, multiple) for multiple in MULTIPLES]


def main_of(criteria: list[Criterion]) -> Criterion:
    """The one of SUCCESS; the first where no metric has multiples."""
    found = [criterion for criterion in criteria if criterion.multiple == SUCCESS]
    return found[0] if found else criteria[0]
