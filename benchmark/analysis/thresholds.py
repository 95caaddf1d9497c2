"""The thresholds of the verdicts in verdicts.py, each with its reason."""

from dataclasses import dataclass


@dataclass(frozen=True)
class Threshold:
    """One row of THRESHOLDS."""

    name: str
    value: float
    compared: str
    """What is compared with the value, and how."""
    reason: str


_ROWS = (
    Threshold(
        "exploding ratio",
        1e3,
        compared="a network's gradient norm ÷ its early median, above",
        reason=(
            "the largest growth in the reference results is 140, of a clipped critic in its first "
            "200 steps"
        ),
    ),
    Threshold(
        "exploding floor",
        1e3,
        compared="the same gradient norm itself, above",
        reason=(
            "a clipped critic starts at 1e-5: growth to a usual norm (to 600 on CIFAR-10) is no "
            "explosion"
        ),
    ),
    Threshold(
        "exploding norm",
        1e6,
        compared="a network's gradient norm, above, whatever it was early",
        reason="a run that has exploded by its first rows has no early median to compare with",
    ),
    Threshold(
        "vanishing ratio",
        1e-3,
        compared="the generator's gradient norm ÷ its early median, below",
        reason=(
            "the largest fall in the reference results is 36-fold; the learning rate is not part of"
            " it"
        ),
    ),
    Threshold(
        "vanishing norm",
        1e-5,
        compared="the generator's gradient norm, below, whatever it was early",
        reason=(
            "over a million weights that is 1e-8 a weight, the ε of Adam and RMSProp: the steps "
            "shrink with it"
        ),
    ),
    Threshold(
        "saturated share",
        0.9,
        compared="share of σ(s) within 1e-3 of 0 or 1, above",
        reason="nine samples in ten then have a gradient factor σ(s)(1 − σ(s)) below 1e-3",
    ),
    Threshold(
        "distance left",
        0.1,
        compared=(
            "(final − floor) ÷ (untrained − floor) of the primary metric; vanishing and saturated "
            "only above"
        ),
        reason="a run that arrived has little gradient left and needs none",
    ),
    Threshold(
        "duplicates",
        0.5,
        compared=(
            "share of near duplicates, above, after an evaluation at or below (collapsed) or at "
            "every one (stuck)"
        ),
        reason="most samples are near copies of another; of real images one in a hundred",
    ),
    Threshold(
        "distinct texts",
        0.05,
        compared=(
            "share of distinct texts ÷ that of real text, below, from an evaluation after step 0 "
            "on (collapsed) or at every one (stuck)"
        ),
        reason=(
            "each text then occurs twenty times on average; of real windows, and of those of an "
            "untrained generator, nearly every one is distinct"
        ),
    ),
    Threshold(
        "modes kept",
        0.5,
        compared="modes covered ÷ the run's most, at or below",
        reason=(
            "half of what the run had is gone; single modes come and go at the threshold of being "
            "covered"
        ),
    ),
    Threshold(
        "modes at best",
        2,
        compared="the run's most modes covered, at least",
        reason="one mode cannot be lost by halves",
    ),
    Threshold(
        "modes of real data",
        0.5,
        compared="modes covered ÷ those of real data, at or below, at high quality",
        reason="samples lie on modes, but on half of them or fewer",
    ),
    Threshold(
        "high quality",
        0.5,
        compared="share of samples within 3 σ of a mode, above",
        reason="below it the samples have not found the modes yet: no loss of variety",
    ),
    Threshold(
        "late collapse: best",
        0.5,
        compared=(
            "best ÷ untrained primary metric (÷ the worst where no evaluation is at step 0), at or "
            "below"
        ),
        reason="what was never learned cannot be lost",
    ),
    Threshold(
        "late collapse: ratio",
        2,
        compared="primary metric ÷ its best, at or above",
        reason=(
            "published logs end at 2.8 (NS-GAN) and 5 (LSGAN) × their best Inception-FID, a "
            "healthy WGAN-GP at 1.14"
        ),
    ),
    Threshold(
        "late collapse: rise",
        0.1,
        compared="(value − best) ÷ (untrained − floor), at or above",
        reason=(
            "near the floor a factor of two is sampling noise: a tenth of all there was to gain "
            "must be lost"
        ),
    ),
    Threshold(
        "stuck",
        0.9,
        compared="primary metric ÷ its value at step 0, at or above",
        reason="untrained weights alone differ by more than a tenth from seed to seed",
    ),
    Threshold(
        "rows that hold",
        0.9,
        compared=(
            "share of logged rows from the onset on in which a condition on gradients or scores "
            "holds, at least"
        ),
        reason="one row of a noisy probe decides nothing; evaluations must all hold",
    ),
    Threshold(
        "exploding rows",
        3,
        compared="logged rows from the onset of exploding to the end, at least",
        reason=(
            "one large norm in the last row may be a burst that ends, as such bursts do in mid-run"
        ),
    ),
    Threshold(
        "tail",
        0.25,
        compared="share of the run, at its end, for which vanishing and saturated must have held",
        reason=(
            "shorter spells end by themselves; indices that are means of rows are over the same "
            "tail"
        ),
    ),
    Threshold(
        "early",
        0.1,
        compared="share of the logged rows, at least 3, whose median is a run's early value",
        reason="what a run starts from, deaf to a single row",
    ),
)
THRESHOLDS = {threshold.name: threshold for threshold in _ROWS}


def value(name: str) -> float:
    """The value of a threshold."""
    return THRESHOLDS[name].value
