"""Early stopping of a search: whether the value at a rung tells the end, and which runs end there.

The first configurations of a pool train to their end. What follows for the others depends on these
alone, so it is the same in whatever order cells run, and for a larger search."""

import math
from collections.abc import Iterable, Mapping, Sequence
from typing import Any, NamedTuple

from benchmark.errors import UserError
from benchmark.matrix.options import Stop, Training
from benchmark.metrics import metric, ranking

SPENT = {"steps": "g_steps", "samples": "samples_seen", "seconds": "train_seconds"}
"""Training budget → the field of an evaluation that counts what is spent of it."""
LEAST_CORRELATION = 0.8
"""Of the lower limit of the interval from which on runs may end early."""
ROUNDING = 1e-6
Row = Mapping[str, Any]


class Reached(NamedTuple):
    """What a run reached, of which less is better."""

    end: float
    """At the end; inf where it diverged, took too long or ended early."""

    early: float = math.nan
    """At the rung of the search; inf where it diverged before, NaN where it is not known."""


class Decision(NamedTuple):
    """Whether the later configurations of a pool end early, and why."""

    n: int
    """Number of first configurations with a value at the rung."""

    correlation: float
    """Their rank correlation between the rung and the end."""

    low: float
    high: float
    """Its 95 % interval; NaN where there is none."""

    limit: float
    """The largest value at the rung with which a run goes on; inf: no run ends early."""

    @property
    def is_allowed(self) -> bool:
        """Whether the value at the rung tells the end well enough."""
        return self.low >= LEAST_CORRELATION


def decide(early: Iterable[float], ends: Iterable[float], keep: float) -> Decision:
    """What follows from the values of the first configurations at the rung and at the end. A NaN at
    the end counts as inf, as in `pick`; one at the rung leaves the configuration out. keep: share
    of the values at the rung that are good enough."""
    from benchmark.stats.tuning import rank_correlation

    pairs = [pair for pair in zip(early, ends, strict=True) if not math.isnan(pair[0])]
    values = [value for value, _ in pairs]
    later = [math.inf if math.isnan(end) else end for _, end in pairs]
    decision = Decision(len(pairs), *rank_correlation(values, later), limit=math.inf)
    if not decision.is_allowed:
        return decision
    # The least value that has the share at or below it
    number = math.ceil(keep * len(values) - ROUNDING)
    return decision._replace(limit=sorted(values)[number - 1])


def column_of(measured: Iterable[str], wanted: str | None) -> str | None:
    """The column that a search compares runs by; None where it is not measured. wanted: name of the
    metric; None: the one that ranks."""
    if wanted is None:
        return ranking(measured)
    return next((name for name in measured if metric(name).name == wanted), None)


def value_at(rows: Sequence[Row], training: Training, at: float, column: str) -> float | None:
    """The value at the first evaluation from a share of the budget on; None where there is none.
    rows: of evals.jsonl."""
    for row in rows:
        if row["metric"] == column and share_spent(row, training) > at - ROUNDING:
            return float(row["value"])
    return None


def share_spent(row: Row, training: Training) -> float:
    """The share of the training budget that was spent at an evaluation."""
    budget = next(name for name in SPENT if getattr(training, name))
    return float(row[SPENT[budget]] / getattr(training, budget))


def check_rung(stop: Stop | None, schedule: Sequence[float]) -> None:
    """Raise UserError for a rung that is no evaluation between start and end."""
    between = [share for share in schedule if 0 < share < 1]
    if stop and stop.at not in between:
        nearest = min(between, key=lambda share: abs(share - stop.at), default=None)
        hint = "" if nearest is None else f" (did you mean {nearest:g}?)"
        valid = ", ".join(f"{share:g}" for share in between) or "none"
        raise UserError(
            f"search.stop.at = {stop.at:g} is no share of evaluation.schedule{hint}; valid: {valid}"
        )
