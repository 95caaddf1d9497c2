"""Variants within a result set, or one matrix run twice, side by side: paired by seed, with intervals.

Positive `p_improvement` over ½ favours the second side whatever the metric's direction; `difference` is second minus
first in the metric's own unit. A diverged seed counts in p_improvement, as the worst value, and has no difference.
"""

from collections.abc import Sequence
from typing import Any

import numpy as np
import pandas as pd

from benchmark import UserError, stats, unknown
from benchmark.metrics import metric
from benchmark.tables import GROUP, OF, Tables, scores

PLACE = [*GROUP, "metric", "of"]


def compare(tables: Tables, labels: Sequence[str]) -> pd.DataFrame:
    """Each further objective label against the first, the reference named beforehand.

    One row per label x dataset x architecture x metric x of (final, best, area); columns as in `_rows`. Raises
    UserError for an unknown label or fewer than two."""
    if tables.evals.empty:
        raise UserError("nothing is measured yet: run the matrix first (ganbench run)")
    known = list(tables.cells["objective"].unique())
    for label in labels:
        if label not in known:
            raise unknown("objective", label, known)
    if len(set(labels)) < 2:
        raise UserError(
            f"compare needs two objectives or more, got {', '.join(labels) or 'none'}; valid: {', '.join(known)}"
        )
    of = {label: tables.cells[tables.cells["objective"] == label] for label in labels}
    return pd.concat(
        [_rows(of[labels[0]], of[label], label, labels[0], len(labels) - 1) for label in labels[1:]], ignore_index=True
    )


def compare_sets(first: Tables, second: Tables) -> pd.DataFrame:
    """The same matrix run twice (two commits, two machines): each objective's second run against its first.

    Raises UserError where a dataset was measured under different protocols, or where no objective is in both."""
    ours, theirs = (
        dict(
            zip(
                tables.evals["cell"].map(tables.cells.set_index("key")["dataset"]),
                tables.evals["protocol"],
                strict=True,
            )
        )
        for tables in (first, second)
    )
    for dataset in ours.keys() & theirs.keys():
        if ours[dataset] != theirs[dataset]:
            raise UserError(
                f"{dataset} is measured under protocol {ours[dataset]} in the first set and {theirs[dataset]} in the "
                "second: rows of different protocols are never compared; measure one of them again"
            )
    labels = [label for label in first.cells["objective"].unique() if label in set(second.cells["objective"])]
    if not labels:
        raise UserError(f"{first.matrix['name']} and {second.matrix['name']} have no objective in common")
    pairs = [[t.cells[t.cells["objective"] == label] for t in (first, second)] for label in labels]
    rows = [_rows(a, b, label, "first set", len(labels)) for label, (a, b) in zip(labels, pairs, strict=True)]
    return pd.concat(rows, ignore_index=True)


def _rows(first: pd.DataFrame, second: pd.DataFrame, label: str, against: str, comparisons: int) -> pd.DataFrame:
    """objective, against, PLACE, n pairs with both values, n_expected, diverged on each side, difference (IQM over
    seeds) with its interval, p_improvement with its, separated or why not, ratio of ms per generator step, and the
    median seconds to target on each side."""
    columns = [*PLACE, "seed", "value", "status"]
    pairs = scores(first)[columns].merge(
        scores(second)[columns], on=[*PLACE, "seed"], how="outer", suffixes=("_first", "_second")
    )
    pairs["of"] = pd.Categorical(pairs["of"], OF)
    medians = _medians(first), _medians(second)
    rows = []
    for names, group in pairs.groupby(PLACE, observed=True):
        place = tuple(map(str, names))
        better = -1 if metric(place[2]).direction == "min" else 1
        known = group.dropna(subset=["value_first", "value_second"])
        x, y = known["value_second"].to_numpy(), known["value_first"].to_numpy()
        with np.errstate(invalid="ignore"):
            difference = (x - y)[np.isfinite(x - y)]
        low, high = stats.interval(difference, rng=np.random.default_rng(0))
        p, p_low, p_high = stats.probability_of_improvement(better * x, better * y, rng=np.random.default_rng(0))
        why = stats.separation(x, y, comparisons=comparisons, rng=np.random.default_rng(0))
        row: dict[str, Any] = {"objective": label, "against": against, **dict(zip(PLACE, place, strict=True))}
        row |= {"n": len(difference), "n_expected": len(group)}
        row |= {f"diverged{side}": (group[f"status{side}"] == "diverged").sum() for side in ("_first", "_second")}
        row |= {"difference": stats.iqm(difference), "ci_low": low, "ci_high": high}
        row |= {"p_improvement": p, "p_low": p_low, "p_high": p_high}
        row |= {"separated": f"not separated: {why}" if why else "separated"}
        a, b = (side.get(place[:2], {}) for side in medians)
        row |= {"ms_per_g_step_ratio": b.get("ms", np.nan) / a.get("ms", np.nan)}
        row |= {
            f"seconds_to_target{name}": side.get("seconds", np.nan) for name, side in (("_first", a), ("_second", b))
        }
        rows.append(row)
    return pd.DataFrame(rows)


def _medians(cells: pd.DataFrame) -> dict[tuple[str, ...], dict[str, float]]:
    """Median ms per generator step and seconds to target by (dataset, architecture)."""
    steps = cells["g_steps"].where(cells["g_steps"] > 0)
    timed = cells.assign(ms=1000 * cells["train_seconds"] / steps, seconds=cells["seconds_to_target"])
    found = timed.groupby(GROUP)[["ms", "seconds"]].median()
    return dict(zip(found.index, found.to_dict("records"), strict=True))


def to_markdown(frame: pd.DataFrame) -> str:
    """A frame as a Markdown table, numbers to three digits, NaN as –, inf as ∞; names are escaped."""
    lines = [list(frame.columns), ["---"] * len(frame.columns), *frame.astype(object).to_numpy().tolist()]
    return "".join(f"| {' | '.join(map(_text, line))} |\n" for line in lines)


def _text(value: object) -> str:
    if isinstance(value, float):
        return "–" if np.isnan(value) else f"{value:.3g}".replace("inf", "∞")
    return str(value).replace("|", "\\|").replace("<", "&lt;").replace("\n", " ")
