"""The leaderboard of the accepted submissions, next to the baseline, and what is said of each."""

from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import pandas as pd
from numpy.typing import NDArray

from benchmark.analysis.scores import raced_costs
from benchmark.check.baseline import find
from benchmark.check.rows import DIVERGED
from benchmark.check.stored import read_baseline
from benchmark.check.submission.rules import PlaceRules, Rules
from benchmark.check.submission.verify import Verified
from benchmark.metrics import short_name, sign
from benchmark.stats.intervals import Array, best_first, median, median_interval
from benchmark.text import escaped, interval, number, place_name

REFERENCE = "baseline"
COST = "forwards/step"  # critic forward-equivalents of a generator step, critic steps included
HEAD = ("objective", "from", "seeds", "diverged", COST, "final", "best", "area", "reached")
VALUES = ("final", "best", "area")


@dataclass(frozen=True)
class BoardRow:
    """An objective in a place."""

    objective: str
    source: str
    """Name of the submission, or REFERENCE."""
    final: Array
    """By seed, low is good; inf for a run that diverged."""
    texts: tuple[str, ...]
    """The cells of the row, as HEAD."""


def headline(found: Verified) -> str:
    """The verdict in words."""
    if found.refusals:
        reasons = len(found.refusals)
        return f"REFUSED: {found.folder}: {reasons} reason{'s' if reasons > 1 else ''}"
    return f"ACCEPTED: {found.folder}"


def boards(
    accepted: Sequence[Verified], rules: Rules, baselines: Path | None = None
) -> Iterator[tuple[str, list[BoardRow]]]:
    """A title and the rows, the best first, for every place of every matrix that a submission is
    of."""
    for name in dict.fromkeys(found.matrix for found in accepted):
        submissions = [found for found in accepted if found.matrix == name]
        asked = rules.matrices[name]
        for place in asked.places:
            rows = _of_baseline(name, place, asked.seeds, baselines)
            for found in submissions:
                rows += _of_submission(found, place)
            order = best_first(np.array([row.final for row in rows]))
            title = f"{name}: {place_name(*place.name)}, by {short_name(place.metric)}"
            yield title, [rows[i] for i in order]


def to_markdown(found: Sequence[Verified], tables: Sequence[tuple[str, list[BoardRow]]]) -> str:
    """The verdicts and the leaderboards, for a summary of CI."""
    lines = ["### ganbench verify", ""]
    for verified in found:
        lines += [escaped(headline(verified)), ""]
        lines += [f"- {refusal.rule}: {escaped(refusal.reason)}" for refusal in verified.refusals]
        lines += [f"- note: {escaped(text)}" for text in verified.notes]
        lines += [""]
    for title, rows in tables:
        lines += [f"#### {escaped(title)}", "", f"| {' | '.join(HEAD)} |"]
        lines += ["|---" * len(HEAD) + "|"]
        lines += [f"| {' | '.join(map(escaped, row.texts))} |" for row in rows]
        lines += [""]
    return "\n".join(lines)


def _of_submission(found: Verified, place: PlaceRules) -> list[BoardRow]:
    assert found.tables is not None
    cells = found.tables.cells
    here = cells[
        (cells["architecture"] == place.architecture) & (cells["dataset"] == place.dataset)
    ]
    rows = []
    for objective, group in here.groupby("objective", sort=False):
        diverged = (group["status"] == "diverged").to_numpy()
        values = {of: _values(group[f"{place.metric}:{of}"], diverged, place) for of in VALUES}
        shown = [_shown(values[of], place) for of in VALUES]
        counts = (str(len(group)), str(int(diverged.sum())))
        cost = number(raced_costs(group)["forwards"].median())
        texts = (str(objective), found.folder.name, *counts, cost, *shown)
        rows.append(_row(texts, values["final"], place))
    return rows


def _of_baseline(
    name: str, place: PlaceRules, seeds: Sequence[int], baselines: Path | None
) -> list[BoardRow]:
    """The final values of the baseline on the seeds of the rules; it keeps no others, and no
    cost in critic forwards."""
    groups: dict[str, dict[str, dict[str, float | None]]] = {}
    for row in read_baseline(find(name, baselines), name).rows:
        if (row.architecture, row.dataset) == place.name and row.metric in (place.metric, DIVERGED):
            groups.setdefault(row.objective, {})[row.metric] = row.values
    rows = []
    for objective, values in groups.items():
        finals = values.get(place.metric, {})
        num_known = sum(str(seed) in finals for seed in seeds)
        # A seed that the baseline lacks is a hole
        diverged = np.array([bool(values[DIVERGED].get(str(seed))) for seed in seeds])
        final = pd.Series([finals.get(str(seed)) for seed in seeds], dtype=float)
        shown = _values(final, diverged, place)
        counts = (str(num_known), str(int(diverged.sum())))
        texts = (objective, REFERENCE, *counts, "–", _shown(shown, place), "–", "–")
        rows.append(_row(texts, shown, place))
    return rows


def _row(texts: tuple[str, ...], final: Array, place: PlaceRules) -> BoardRow:
    """A row with the share of its seeds that end at each target."""
    direction = sign(place.metric)
    reached = [
        f"{level}: {int((final <= direction * target).sum())}"
        for level, target in place.targets.items()
    ]
    return BoardRow(texts[0], texts[1], final, (*texts, ", ".join(reached) or "–"))


def _values(values: pd.Series, diverged: NDArray[np.bool_], place: PlaceRules) -> Array:
    """Values by seed, low is good; inf for a run that diverged."""
    found = sign(place.metric) * values.to_numpy(float)
    return np.where(diverged, np.inf, found)


def _shown(values: Array, place: PlaceRules) -> str:
    """`1.2 [1, 1.4]`: the median over seeds, and its interval."""
    known = values[~np.isnan(values)]
    if not len(known):
        return "–"
    direction = sign(place.metric)
    middle = direction * float(median(known))
    ends = sorted(direction * float(end) for end in median_interval(known))
    if not np.isfinite(middle):
        return number(middle)
    return interval({"median": middle, "ci_low": ends[0], "ci_high": ends[1]})
