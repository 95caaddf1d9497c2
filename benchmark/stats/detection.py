"""What a metric sees of a planted fault: values with the fault against values without.

A value is worse than all of m values without a fault with probability 1 / (m + 1) if the fault does
nothing, whatever the distribution, and better than all as often."""

from collections.abc import Sequence
from typing import Literal

import numpy as np
from numpy.typing import ArrayLike

POWER = 0.8
Course = Literal["monotone", "not monotone", "flat"]


def rates(planted: ArrayLike, unplanted: ArrayLike) -> tuple[float, float]:
    """The shares of planted values (n,) above all unplanted ones (m,), and below all of them. NaN
    is neither."""
    values, without = np.asarray(planted, dtype=float), np.asarray(unplanted, dtype=float)
    return float((values > without.max()).mean()), float((values < without.min()).mean())


def seen_from(shares: Sequence[float], power: Sequence[float]) -> float | None:
    """The smallest share of a fault from which on every share is seen with POWER; None where the
    largest share is not. shares: increasing."""
    smallest = None
    for share, rate in reversed(list(zip(shares, power, strict=True))):
        if rate < POWER:
            break
        smallest = share
    return smallest


def first_seen(shares: Sequence[float], power: Sequence[float]) -> float | None:
    """The smallest share that is seen with POWER, whatever becomes of larger ones."""
    for share, rate in zip(shares, power, strict=True):
        if rate >= POWER:
            return share
    return None


def course(means: ArrayLike, spread: float) -> Course:
    """How a metric goes with the share of a fault, from its means by share, the first without the
    fault, larger being worse: flat if it never leaves the first by more than the spread of a value
    without the fault, monotone if no step goes back by more."""
    values = np.asarray(means, dtype=float)
    if (np.abs(values - values[0]) <= spread).all():
        return "flat"
    return "monotone" if (np.diff(values) >= -spread).all() else "not monotone"
