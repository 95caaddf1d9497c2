"""The ways a run can fail, each a rule on its evaluations and logged rows (thresholds.py).

A condition counts if it holds to the end of the run; its onset is the generator step from which it
does. A run can meet several: the first of RULES is its verdict. Gradients out of range come before
a loss of quality, and a loss of quality comes before the missing gradients that may explain it.
"ok" means that no rule was met, not that the samples are good."""

from collections.abc import Callable
from dataclasses import dataclass
from typing import NamedTuple

import pandas as pd

from benchmark.analysis.thresholds import value

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
GRADIENT_NORMS = ["d_grad_norm", "g_grad_norm"]
# columns of `steps` that rules and indices read
LOGGED = [
    "d_loss",
    *GRADIENT_NORMS,
    "saturation",
    "slope",
    "slope_std",
    "clipped",
    "sparse",
    "d_loss_train",
    "d_loss_holdout",
]
# metrics that rules read, besides the primary one
ROLES = ("duplicates", "unique", "modes_covered", "high_quality")


@dataclass
class Trace:
    """What rules and indices share, of all cells at once.

    Frames are sorted by cell (its position) and t (the generator step); Series are by cell."""

    rows: pd.DataFrame
    """cell, t, LOGGED, tail: in the last quarter of its run; NaN for a column that is missing."""
    evals: pd.DataFrame
    """cell, t, primary, ranking, ROLES: a row per evaluation; NaN where not measured.

    primary: the metric that ranks where it is a distance. ranking: the metric that ranks,
    negated where more is better."""
    ranked: pd.DataFrame
    """The rows of `evals` with a primary metric."""
    floor: pd.Series
    """The primary metric of held-out real data, 0 where not measured."""
    modes: pd.Series
    """The modes that held-out real data covers."""
    unique: pd.Series
    """The share of distinct texts among real ones."""
    start: pd.Series
    """The primary metric at step 0."""
    untrained: pd.Series
    """The same, or the worst of the run where no evaluation is at step 0."""
    best: pd.Series
    final: pd.Series
    """The last primary metric that was measured."""
    end: pd.DataFrame
    """The last row of `evals` of every cell; NaN where a value is a hole."""
    early: pd.DataFrame
    """GRADIENT_NORMS: median of the first rows."""
    late: pd.DataFrame
    """GRADIENT_NORMS: median over the last quarter."""
    mean: pd.DataFrame
    """LOGGED: mean over the last quarter."""

    @property
    def gain(self) -> pd.Series:
        """What there was to gain: untrained - floor; NaN unless positive."""
        gain = self.untrained - self.floor[self.untrained.index]
        return gain.where(gain > 0)


class Finding(NamedTuple):
    """The cells that meet a condition."""

    verdict: str
    onset: pd.Series
    """The generator step from which the condition holds, by cell."""
    reason: str
    """A text with the names of `numbers`."""
    numbers: dict[str, pd.Series]


def onset_of(
    rows: pd.DataFrame, holds: pd.Series, share: float = 1.0, tail: float = 0.0, least: float = 1
) -> pd.Series:
    """The first t, by cell, at which `holds` is true, and true of `share` of the rows from there.

    These rows go to the end of the run; they are at least `least` rows and at least the last `tail`
    of the run. A cell without such a t is left out."""
    if not holds.any():
        return rows[holds].set_index("cell")["t"]
    cell = rows["cell"]
    group = holds.astype(int).groupby(cell)
    num_true = group.transform("sum") - group.cumsum() + holds
    num_rows = group.transform("size") - group.cumcount()
    last = rows["t"].groupby(cell).transform("max")
    in_time = (rows["t"] <= (1 - tail) * last) | (tail == 0)
    is_onset = holds & (num_true >= share * num_rows) & (num_rows >= least) & in_time
    return rows[is_onset].drop_duplicates("cell").set_index("cell")["t"]


# The rules


def _exploding(trace: Trace) -> list[Finding]:
    ratio, floor = value("exploding ratio"), value("exploding floor")
    bound = value("exploding norm")
    last = trace.rows.groupby("cell")[GRADIENT_NORMS].last()
    findings = []
    for name, network in (("d_grad_norm", "critic"), ("g_grad_norm", "generator")):
        norm = trace.rows[name]
        early = trace.rows["cell"].map(trace.early[name])
        has_grown = (norm > ratio * early) & (norm > floor)
        onset = onset_of(
            trace.rows,
            (norm > bound) | has_grown,
            value("rows that hold"),
            least=value("exploding rows"),
        )
        text = (
            f"{network}'s gradient norm {{last:.3g}}, {{early:.3g}} early: "
            f"above {ratio:g} × it, or {bound:g}"
        )
        numbers = {"last": last[name], "early": trace.early[name]}
        findings.append(Finding("exploding", onset, text, numbers))
    return findings


def _collapsed(trace: Trace) -> list[Finding]:
    return [_copies(trace), _one_text(trace), _modes_lost(trace), _few_modes(trace)]


def _copies(trace: Trace) -> Finding:
    """Samples became near duplicates of each other."""
    limit = value("duplicates")
    evals = trace.evals.dropna(subset="duplicates")
    share = evals.groupby("cell")["duplicates"]
    onset = onset_of(evals, evals["duplicates"] > limit)
    onset = onset[share.min().reindex(onset.index) <= limit]
    text = (
        "{final:.0%} of the samples are near duplicates at the end, {best:.0%} at best: "
        f"above {limit:.0%}"
    )
    return Finding("collapsed", onset, text, {"final": share.last(), "best": share.min()})


def _one_text(trace: Trace) -> Finding:
    """Texts became copies of a few."""
    few = value("distinct texts")
    evals, onset = _few_texts(trace)
    share = evals.groupby("cell")["unique"]
    text = (
        "{final:.2%} of the texts are distinct at the end, {best:.0%} at best: "
        f"below {few:g} × the share of real text"
    )
    numbers = {"final": share.last(), "best": share.max()}
    return Finding("collapsed", onset[onset > 0], text, numbers)


def _few_texts(trace: Trace) -> tuple[pd.DataFrame, pd.Series]:
    """The evaluations that count distinct texts, and the onset of few distinct ones. An onset at
    step 0 is that of a generator whose texts were copies before it was trained."""
    evals = trace.evals.dropna(subset="unique")
    least = value("distinct texts") * evals["cell"].map(trace.unique)
    return evals, onset_of(evals, evals["unique"] < least)


def _modes_lost(trace: Trace) -> Finding:
    """Modes that were covered are not covered any more."""
    kept = value("modes kept")
    evals = trace.evals.dropna(subset="modes_covered")
    modes = evals.groupby("cell")["modes_covered"]
    most = evals["cell"].map(modes.max())
    is_after_most = modes.cummax() == most
    is_few = evals["modes_covered"] <= kept * most
    lost = is_few & is_after_most & (most >= value("modes at best"))
    text = f"{{final:.0f}} modes at the end, {{most:.0f}} at most: at or below {kept:g} × it"
    numbers = {"final": modes.last(), "most": modes.max()}
    return Finding("collapsed", onset_of(evals, lost), text, numbers)


def _few_modes(trace: Trace) -> Finding:
    """Samples lie on modes, but on few of them."""
    few = value("modes of real data")
    evals = trace.evals.dropna(subset=["modes_covered", "high_quality"])
    is_few = evals["modes_covered"] <= few * evals["cell"].map(trace.modes)
    onset = onset_of(evals, is_few & (evals["high_quality"] > value("high quality")))
    text = (
        "{final:.0f} of {real:.0f} modes with {high:.0%} of the samples on them: "
        f"at or below {few:g} of them"
    )
    last = evals.groupby("cell")[["modes_covered", "high_quality"]].last()
    numbers = {"final": last["modes_covered"], "real": trace.modes, "high": last["high_quality"]}
    return Finding("collapsed", onset, text, numbers)


def _late_collapse(trace: Trace) -> list[Finding]:
    ratio, rise = value("late collapse: ratio"), value("late collapse: rise")
    ranked = trace.ranked
    has_learned = trace.best <= value("late collapse: best") * trace.untrained
    best = ranked["cell"].map(trace.best)
    gain = ranked["cell"].map(trace.gain)
    is_after_best = ranked.groupby("cell")["primary"].cummin() == best
    is_lost = (ranked["primary"] >= ratio * best) & (ranked["primary"] - best >= rise * gain)
    bad = is_lost & is_after_best & ranked["cell"].map(has_learned)
    text = f"{{final:.3g}} at the end, {{best:.3g}} at best: at or above {ratio:g} × it"
    onset = onset_of(ranked, bad.astype(bool))
    return [Finding("late collapse", onset, text, {"final": trace.final, "best": trace.best})]


def _saturated(trace: Trace) -> list[Finding]:
    limit = value("saturated share")
    holds = trace.rows["saturation"] > limit
    onset = onset_of(trace.rows, holds, value("rows that hold"), value("tail"))
    text = f"{{mean:.0%}} of the scores saturate σ in the last quarter: above {limit:.0%}"
    numbers = {"mean": trace.mean["saturation"]}
    return [Finding("saturated", _without_arrived(trace, onset), text, numbers)]


def _vanishing(trace: Trace) -> list[Finding]:
    ratio, bound = value("vanishing ratio"), value("vanishing norm")
    norm = trace.rows["g_grad_norm"]
    early = trace.rows["cell"].map(trace.early["g_grad_norm"])
    holds = (norm < bound) | (norm < ratio * early)
    onset = onset_of(trace.rows, holds, value("rows that hold"), value("tail"))
    text = (
        "generator's gradient norm {late:.3g}, {early:.3g} early: "
        f"below {ratio:g} × it, or {bound:g}"
    )
    numbers = {"late": trace.late["g_grad_norm"], "early": trace.early["g_grad_norm"]}
    return [Finding("vanishing", _without_arrived(trace, onset), text, numbers)]


def _without_arrived(trace: Trace, onset: pd.Series) -> pd.Series:
    """Without the runs that arrived: at a good fit there is little gradient, and none is needed."""
    left = (trace.final - trace.floor[trace.final.index]) / trace.gain
    return onset[~(left.reindex(onset.index) <= value("distance left"))]


def _stuck(trace: Trace) -> list[Finding]:
    share, limit = value("stuck"), value("duplicates")
    ranked = trace.ranked
    onset = onset_of(ranked, ranked["primary"] >= share * ranked["cell"].map(trace.start))
    text = f"{{final:.3g}} at the end, {{start:.3g}} untrained: at or above {share:g} × it"
    numbers = {"final": trace.final, "start": trace.start}
    not_learned = Finding("stuck", onset, text, numbers)
    evals = trace.evals.dropna(subset="duplicates")
    least = evals.groupby("cell")["duplicates"].min()
    text = (
        "{least:.0%} of the samples or more were near duplicates at every evaluation: "
        f"above {limit:.0%}"
    )
    always = pd.Series(0.0, least.index[least > limit])
    return [not_learned, Finding("stuck", always, text, {"least": least}), _never_varied(trace)]


def _never_varied(trace: Trace) -> Finding:
    """Texts were copies of a few from before the first step on."""
    few = value("distinct texts")
    evals, onset = _few_texts(trace)
    text = (
        "{most:.2%} of the texts or fewer were distinct at every evaluation: "
        f"below {few:g} × the share of real text"
    )
    most = evals.groupby("cell")["unique"].max()
    return Finding("stuck", onset[onset == 0], text, {"most": most})


RULES: tuple[Callable[[Trace], list[Finding]], ...] = (
    _exploding,
    _collapsed,
    _late_collapse,
    _saturated,
    _vanishing,
    _stuck,
)
