"""What the gate says of one metric of a group, and of all together."""

from collections.abc import Sequence
from dataclasses import dataclass

from benchmark.check.rows import NUMBERS

# How often each family may go red in a rerun that changed nothing: 1/20 together. Divergence has
# the largest share, because its p is coarse: three of five seeds, where none of 30 did, is 0.0015.
ALPHA = {"quality": 0.02, "diverged": 0.025, "cost": 0.005}


@dataclass
class Verdict:
    """One group and metric, compared."""

    group: str
    metric: str
    mark: str
    """One of +−!≠~?x."""
    baseline: float | None = None
    """The median over seeds; of `diverged` the share of seeds."""
    current: float | None = None
    band: float | None = None
    note: str = ""
    p: float | None = None
    """One-sided, that it is not worse, of this comparison alone; None where it was not tested."""
    seeds: tuple[int, int] = (0, 0)
    """Seeds with a value: of the results, of the baseline."""
    lowest: float | None = None
    """The lowest p that so many seeds can reach; None where there is nothing to test."""


def exit_code(verdicts: Sequence[Verdict], strict: bool = False) -> int:
    """0, 1 or 2; no verdict at all is 2. strict: ≠ is red, and numbers that could be compared in no
    group are 2."""
    marks = {verdict.mark for verdict in verdicts}
    has_numbers = any(v.metric == NUMBERS and v.mark in "+≠" for v in verdicts)
    if not marks or "x" in marks or (strict and not has_numbers):
        return 2
    red = {"−", "!", "≠"} if strict else {"−", "!"}
    return 1 if marks & red else 0
