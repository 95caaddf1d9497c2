"""The ways a run can fail, each a rule on its evaluations and logged rows, and every threshold with
its reason.

A condition counts if it holds to the end of the run; its onset is the generator step from which it
does. A run can meet several: the first of RULES is its verdict, gradients out of range before a
loss of quality, a loss of quality before the missing gradients that may explain it. "ok" means that
no rule was met, not that the samples are good."""

from collections.abc import Callable
from dataclasses import dataclass

import pandas as pd

VERDICTS = (
    "ok",
    "diverged",
    "exploding",
    "vanishing",
    "saturated",
    "collapsed",
    "late collapse",
    "stuck",
)


@dataclass(frozen=True)
class Threshold:
    """One row of THRESHOLDS."""

    name: str
    value: float
    compared: str  # what is compared with it, and how
    reason: str


THRESHOLDS = {
    threshold.name: threshold
    for threshold in (
        Threshold("exploding ratio", 1e3, "a network's gradient norm ÷ its early median, above",
                  "the largest growth in the reference results is 140, of a clipped critic in its first 200 steps"),
        Threshold("exploding floor", 1e3, "the same gradient norm itself, above",
                  "a clipped critic starts at 1e-5: growth to a usual norm (to 600 on CIFAR-10) is no explosion"),
        Threshold("exploding norm", 1e6, "a network's gradient norm, above, whatever it was early",
                  "a run that has exploded by its first rows has no early median to compare with"),
        Threshold("vanishing ratio", 1e-3, "the generator's gradient norm ÷ its early median, below",
                  "the largest fall in the reference results is 36-fold; the learning rate is not part of it"),
        Threshold("vanishing norm", 1e-5, "the generator's gradient norm, below, whatever it was early",
                  "over a million weights that is 1e-8 a weight, the ε of Adam and RMSProp: the steps shrink with it"),
        Threshold("saturated share", 0.9, "share of σ(s) within 1e-3 of 0 or 1, above",
                  "nine samples in ten then have a gradient factor σ(s)(1 − σ(s)) below 1e-3"),
        Threshold("distance left", 0.1, "(final − floor) ÷ (untrained − floor) of the primary metric; vanishing and "
                  "saturated only above", "a run that arrived has little gradient left and needs none"),
        Threshold("duplicates", 0.5, "share of near duplicates, above, after an evaluation at or below (collapsed) or "
                  "at every one (stuck)", "most samples are near copies of another; of real images one in a hundred"),
        Threshold("modes kept", 0.5, "modes covered ÷ the run's most, at or below",
                  "half of what the run had is gone; single modes come and go at the threshold of being covered"),
        Threshold("modes at best", 2, "the run's most modes covered, at least", "one mode cannot be lost by halves"),
        Threshold("modes of real data", 0.5, "modes covered ÷ those of real data, at or below, at high quality",
                  "samples lie on modes, but on half of them or fewer"),
        Threshold("high quality", 0.5, "share of samples within 3 σ of a mode, above",
                  "below it the samples have not found the modes yet: no loss of variety"),
        Threshold("late collapse: best", 0.5, "best ÷ untrained primary metric (÷ the worst where no evaluation is at "
                  "step 0), at or below", "what was never learned cannot be lost"),
        Threshold("late collapse: ratio", 2, "primary metric ÷ its best, at or above",
                  "published logs end at 2.8 (NS-GAN) and 5 (LSGAN) × their best FID, a healthy WGAN-GP at 1.14"),
        Threshold("late collapse: rise", 0.1, "(value − best) ÷ (untrained − floor), at or above",
                  "near the floor a factor of two is sampling noise: a tenth of all there was to gain must be lost"),
        Threshold("stuck", 0.9, "primary metric ÷ its value at step 0, at or above",
                  "untrained weights alone differ by more than a tenth from seed to seed"),
        Threshold("rows that hold", 0.9, "share of logged rows from the onset on in which a condition on gradients or "
                  "scores holds, at least", "one row of a noisy probe decides nothing; evaluations must all hold"),
        Threshold("exploding rows", 3, "logged rows from the onset of exploding to the end, at least",
                  "one large norm in the last row may be a burst that ends, as such bursts do in mid-run"),
        Threshold("tail", 0.25, "share of the run, at its end, for which vanishing and saturated must have held",
                  "shorter spells end by themselves; indices that are means of rows are over the same tail"),
        Threshold("early", 0.1, "share of the logged rows, at least 3, whose median is a run's early value",
                  "what a run starts from, deaf to a single row"),
    )
}  # fmt: skip

ROWS = ["d_loss", "d_grad_norm", "g_grad_norm", "saturation", "slope", "slope_std", "clipped"]
ROWS += ["d_loss_train", "d_loss_holdout"]
ROLES = ("duplicates", "modes_covered", "high_quality")
NORMS = ["d_grad_norm", "g_grad_norm"]

SHARE, TAIL = THRESHOLDS["rows that hold"].value, THRESHOLDS["tail"].value
Found = tuple[
    str, pd.Series, str, dict[str, pd.Series]
]  # verdict, onset by cell, its reason, what the reason names


@dataclass
class Trace:
    """What rules and indices share: frames sorted by cell and t (the generator step), and Series by
    cell."""

    rows: (
        pd.DataFrame
    )  # cell, t, ROWS, tail: in the last quarter of its run; NaN for a column that is missing
    evals: pd.DataFrame  # cell, t, primary, ROLES: a row per evaluation; NaN where not measured
    ranked: pd.DataFrame  # those of evals with a primary metric
    floor: pd.Series  # the primary metric of held-out real data, 0 where not measured
    modes: pd.Series  # the modes that held-out real data covers
    start: pd.Series  # the primary metric at step 0
    untrained: pd.Series  # the same, or the worst of the run where no evaluation is at step 0
    best: pd.Series
    final: pd.Series  # the last that was measured
    end: pd.Series  # the primary metric at the last evaluation; NaN where it is a hole
    early: pd.DataFrame  # gradient norms: median of the first rows
    late: pd.DataFrame  # gradient norms: median over the last quarter
    mean: pd.DataFrame  # ROWS: mean over the last quarter

    @property
    def gain(self) -> pd.Series:
        """What there was to gain: untrained - floor; NaN unless positive."""
        gain = self.untrained - self.floor[self.untrained.index]
        return gain.where(gain > 0)


def _onset(
    rows: pd.DataFrame, holds: pd.Series, share: float = 1.0, tail: float = 0.0, least: float = 1
) -> pd.Series:
    """The first t, by cell, at which `holds` is true, and true of `share` of the rows from there to
    the end, which are `least` rows and the last `tail` of the run at least. A cell without one is
    left out."""
    cell = rows["cell"]
    group = holds.astype(int).groupby(cell)
    ahead = group.transform("sum") - group.cumsum() + holds
    left = group.transform("size") - group.cumcount()
    last = rows["t"].groupby(cell).transform("max")
    long = (left >= least) & ((rows["t"] <= (1 - tail) * last) | (tail == 0))
    first = rows[holds & (ahead >= share * left) & long]
    return first.drop_duplicates("cell").set_index("cell")["t"]


# The rules


def _exploding(trace: Trace) -> list[Found]:
    ratio, floor, bound, least = (
        THRESHOLDS[f"exploding {name}"].value for name in ("ratio", "floor", "norm", "rows")
    )
    found: list[Found] = []
    last = trace.rows.groupby("cell")[NORMS].last()
    for name, network in (("d_grad_norm", "critic"), ("g_grad_norm", "generator")):
        norm, early = trace.rows[name], trace.rows["cell"].map(trace.early[name])
        above = (norm > bound) | ((norm > ratio * early) & (norm > floor))
        onset = _onset(trace.rows, above, SHARE, least=least)
        text = f"{network}'s gradient norm {{last:.3g}}, {{early:.3g}} early: above {ratio:g} × it, or {bound:g}"
        found.append(("exploding", onset, text, {"last": last[name], "early": trace.early[name]}))
    return found


def _collapsed(trace: Trace) -> list[Found]:
    limit, e = THRESHOLDS["duplicates"].value, trace.evals.dropna(subset="duplicates")
    copies = e.groupby("cell")["duplicates"]
    onset = _onset(e, e["duplicates"] > limit)
    onset = onset[copies.min().reindex(onset.index) <= limit]
    text = f"{{final:.0%}} of the samples are near duplicates at the end, {{best:.0%}} at best: above {limit:.0%}"
    found: list[Found] = [
        ("collapsed", onset, text, {"final": copies.last(), "best": copies.min()})
    ]

    kept, e = THRESHOLDS["modes kept"].value, trace.evals.dropna(subset="modes_covered")
    modes = e.groupby("cell")["modes_covered"]
    most = e["cell"].map(modes.max())
    lost = (
        (e["modes_covered"] <= kept * most)
        & (modes.cummax() == most)
        & (most >= THRESHOLDS["modes at best"].value)
    )
    text = f"{{final:.0f}} modes at the end, {{most:.0f}} at most: at or below {kept:g} × it"
    found.append(("collapsed", _onset(e, lost), text, {"final": modes.last(), "most": modes.max()}))

    few, high = THRESHOLDS["modes of real data"].value, THRESHOLDS["high quality"].value
    e = trace.evals.dropna(subset=["modes_covered", "high_quality"])
    onset = _onset(
        e, (e["modes_covered"] <= few * e["cell"].map(trace.modes)) & (e["high_quality"] > high)
    )
    text = f"{{final:.0f}} of {{real:.0f}} modes with {{high:.0%}} of the samples on them: at or below {few:g} of them"
    last = e.groupby("cell")[["modes_covered", "high_quality"]].last()
    numbers = {"final": last["modes_covered"], "real": trace.modes, "high": last["high_quality"]}
    return [*found, ("collapsed", onset, text, numbers)]


def _late_collapse(trace: Trace) -> list[Found]:
    ratio, rise = THRESHOLDS["late collapse: ratio"].value, THRESHOLDS["late collapse: rise"].value
    good = trace.best <= THRESHOLDS["late collapse: best"].value * trace.untrained
    best, gain = trace.ranked["cell"].map(trace.best), trace.ranked["cell"].map(trace.gain)
    value, after = trace.ranked["primary"], trace.ranked.groupby("cell")["primary"].cummin() == best
    bad = (
        (value >= ratio * best)
        & (value - best >= rise * gain)
        & after
        & trace.ranked["cell"].map(good)
    )
    text = f"{{final:.3g}} at the end, {{best:.3g}} at best: at or above {ratio:g} × it"
    return [
        (
            "late collapse",
            _onset(trace.ranked, bad.astype(bool)),
            text,
            {"final": trace.final, "best": trace.best},
        )
    ]


def _saturated(trace: Trace) -> list[Found]:
    limit = THRESHOLDS["saturated share"].value
    onset = _onset(trace.rows, trace.rows["saturation"] > limit, SHARE, TAIL)
    text = f"{{mean:.0%}} of the scores saturate σ in the last quarter: above {limit:.0%}"
    return [("saturated", _far(trace, onset), text, {"mean": trace.mean["saturation"]})]


def _vanishing(trace: Trace) -> list[Found]:
    ratio, bound = THRESHOLDS["vanishing ratio"].value, THRESHOLDS["vanishing norm"].value
    norm, early = trace.rows["g_grad_norm"], trace.rows["cell"].map(trace.early["g_grad_norm"])
    onset = _onset(trace.rows, (norm < bound) | (norm < ratio * early), SHARE, TAIL)
    text = f"generator's gradient norm {{late:.3g}}, {{early:.3g}} early: below {ratio:g} × it, or {bound:g}"
    numbers = {"late": trace.late["g_grad_norm"], "early": trace.early["g_grad_norm"]}
    return [("vanishing", _far(trace, onset), text, numbers)]


def _far(trace: Trace, onset: pd.Series) -> pd.Series:
    """Without the runs that arrived: at a good fit there is little gradient left, and none is
    needed."""
    left = (trace.final - trace.floor[trace.final.index]) / trace.gain
    return onset[~(left.reindex(onset.index) <= THRESHOLDS["distance left"].value)]


def _stuck(trace: Trace) -> list[Found]:
    share, limit = THRESHOLDS["stuck"].value, THRESHOLDS["duplicates"].value
    onset = _onset(
        trace.ranked, trace.ranked["primary"] >= share * trace.ranked["cell"].map(trace.start)
    )
    text = f"{{final:.3g}} at the end, {{start:.3g}} untrained: at or above {share:g} × it"
    found: list[Found] = [("stuck", onset, text, {"final": trace.final, "start": trace.start})]
    e = trace.evals.dropna(subset="duplicates")
    least = e.groupby("cell")["duplicates"].min()
    onset = pd.Series(0.0, least.index[least > limit])
    text = f"{{least:.0%}} of the samples or more were near duplicates at every evaluation: above {limit:.0%}"
    return [*found, ("stuck", onset, text, {"least": least})]


RULES: tuple[Callable[[Trace], list[Found]], ...]
RULES = (_exploding, _collapsed, _late_collapse, _saturated, _vanishing, _stuck)
