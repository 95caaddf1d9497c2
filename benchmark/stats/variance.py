"""Components of variance of a table of two crossed random factors, one value in each cell.

y_ij = μ + a_i + b_j + e_ij: e is the interaction of the factors and all that is drawn for each cell
alone. Values are taken to be normal, each factor's levels to be drawn from many.

Sources: Searle, Casella and McCulloch 1992, §4.3, for the estimators; Ting, Burdick, Graybill,
Jeyaratnam and Lu 1990 for the interval of a difference of mean squares."""

import math
from typing import NamedTuple

import numpy as np
from numpy.typing import ArrayLike
from scipy import stats

LEVEL = 0.95


class Component(NamedTuple):
    """A variance with its interval."""

    variance: float
    """The estimate of the analysis of variance, which is below 0 where the factor's levels differ
    less than chance would have it."""
    low: float
    """Of the interval; 0 at least, as a variance is."""
    high: float
    p: float
    """Of the F test that the variance is 0; NaN of the rest."""


class Components(NamedTuple):
    """Where the variance of a table comes from."""

    rows: Component
    columns: Component
    rest: Component

    @property
    def shares(self) -> tuple[float, float, float]:
        """Of the variance of one value; an estimate below 0 counts as 0."""
        parts = [max(0.0, component.variance) for component in self]
        total = sum(parts)
        first, second, rest = (part / total if total else math.nan for part in parts)
        return first, second, rest


def components(values: ArrayLike, level: float = LEVEL) -> Components:
    """The components of a table (I, J) of finite values, I and J at least 2. Raises ValueError for
    another one."""
    table = np.asarray(values, dtype=float)
    if table.ndim != 2 or min(table.shape) < 2 or not np.isfinite(table).all():
        raise ValueError(
            "components: needs a table of finite values with two rows and two columns or more"
        )
    num_rows, num_columns = table.shape
    row_means, column_means = table.mean(axis=1), table.mean(axis=0)
    residuals = table - row_means[:, None] - column_means + table.mean()
    df = (num_rows - 1) * (num_columns - 1)
    ms_rest = float((residuals**2).sum() / df)
    of_rows = num_columns * float(row_means.var(ddof=1)), num_rows - 1
    of_columns = num_rows * float(column_means.var(ddof=1)), num_columns - 1
    tail = (1 - level) / 2
    low, high = (df * ms_rest / stats.chi2.ppf(end, df) for end in (1 - tail, tail))
    return Components(
        _component(*of_rows, ms_rest, df, num_columns, tail),
        _component(*of_columns, ms_rest, df, num_rows, tail),
        Component(ms_rest, float(low), float(high), math.nan),
    )


def _component(
    ms: float, df: int, ms_rest: float, df_rest: int, size: int, tail: float
) -> Component:
    """(ms − ms_rest) / size with the modified large-sample interval. The lower end is above 0
    exactly where the F test finds the factor at `tail`."""
    difference = ms - ms_rest
    below = _squared_distance(ms, df, ms_rest, df_rest, 1 - tail)
    above = _squared_distance(ms, df, ms_rest, df_rest, tail)
    low, high = difference - math.sqrt(below), difference + math.sqrt(above)
    ratio = ms / ms_rest if ms_rest else math.inf
    p = float(stats.f.sf(ratio, df, df_rest))
    return Component(difference / size, max(0.0, low / size), max(0.0, high / size), p)


def _squared_distance(ms: float, df: int, ms_rest: float, df_rest: int, quantile: float) -> float:
    """The square of the distance from ms − ms_rest to the end of its interval: the lower end for a
    quantile near 1, the upper end for one near 0. It is exact where one of the two is 0, and where
    the end is 0."""
    f = stats.f.ppf(quantile, df, df_rest)
    own = 1 - df / stats.chi2.ppf(quantile, df)
    other = df_rest / stats.chi2.ppf(1 - quantile, df_rest) - 1
    mixed = ((f - 1) ** 2 - (own * f) ** 2 - other**2) / f
    found = (own * ms) ** 2 + (other * ms_rest) ** 2 + mixed * ms * ms_rest
    return max(0.0, float(found))
