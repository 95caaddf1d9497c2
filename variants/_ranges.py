"""Ranges that a search draws the values of a parameter from. Imports no torch."""

from dataclasses import dataclass
from typing import Any, NamedTuple


@dataclass(frozen=True)
class Log:
    """Uniform in the logarithm, between two positive numbers."""

    low: float
    high: float

    def at(self, u: float) -> float:
        """The value at u in [0, 1)."""
        return self.low * (self.high / self.low) ** u


@dataclass(frozen=True)
class Uniform:
    """Uniform between two numbers."""

    low: float
    high: float

    def at(self, u: float) -> float:
        """The value at u in [0, 1)."""
        return self.low + u * (self.high - self.low)


@dataclass(frozen=True)
class OneOf:
    """One of some values, all with the same probability."""

    values: tuple[Any, ...]

    def at(self, u: float) -> Any:
        """The value at u in [0, 1)."""
        return self.values[int(u * len(self.values))]


Range = Log | Uniform | OneOf


class Searched(NamedTuple):
    """What a search draws a parameter from."""

    wide: Range
    """Where nothing is known of the parameter."""

    narrow: Range | None
    """Around what papers use; None: the parameter keeps its default."""
