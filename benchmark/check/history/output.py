"""A history as text, and as the CSV that Apache Otava reads."""

import re
from collections.abc import Sequence
from pathlib import Path

import numpy as np
import pandas as pd

from benchmark.check.history.read import Commit
from benchmark.check.history.series import PER_COMMIT, Found, Series
from benchmark.stats.cusum import Limits
from benchmark.store.frames import write_csv
from benchmark.text import number, plural

CHANGES = ("", "group", "metric", "kind", "from", "to", "mean before", "mean now")
COLUMNS = ("group", "metric", "commits", "seeds", "first mean", "last mean", "spread")
PER_PLACE = ("commit", "group", "metric", "mean", "spread", "seeds", "protocol", "machine", "code")
PLAIN = re.compile(r"[^\w=.-]+")


def headline(
    commits: Sequence[Commit],
    series: Sequence[Series],
    found: Sequence[Found],
    limit: Limits | None,
) -> str:
    """What was looked at, and what was found, in words."""
    if limit is None:
        return f"{plural(len(commits), 'commit')}: nothing to compare"
    judged = sum(one.is_judged for one in series)
    looked = f"{plural(len(commits), 'commit')}, {judged} series"
    rate = f"aim: at most {PER_COMMIT:.0%} false alarms at each commit, over all series"
    if not found:
        return f"NO CHANGE: {looked}; {rate}."
    num_worse = sum(change.is_worse for change in found)
    return f"CHANGED: {plural(len(found), 'change')}, {num_worse} for the worse; {looked}; {rate}."


def change_rows(commits: Sequence[Commit], found: Sequence[Found]) -> list[tuple[str, ...]]:
    """A row for each change, as CHANGES."""
    return [
        (
            "−" if change.is_worse else "+",
            change.series.title,
            change.series.key.metric,
            change.change.kind,
            commits[change.start.number].name,
            commits[change.end.number].name,
            number(change.before),
            number(change.end.mean),
        )
        for change in found
    ]


def series_rows(series: Sequence[Series]) -> list[tuple[str, ...]]:
    """A row for each series, as COLUMNS."""
    return [
        (
            one.title,
            one.key.metric,
            str(len(one.places)),
            str(len(one.places[-1].row.known)),
            number(one.places[0].mean),
            number(one.places[-1].mean),
            number(one.places[-1].spread),
        )
        for one in series
    ]


def place_rows(commits: Sequence[Commit], series: Sequence[Series]) -> list[tuple[str, ...]]:
    """A row for each group, metric and commit, as PER_PLACE, in the order of time."""
    rows = []
    for one in series:
        for place in one.places:
            commit, row = commits[place.number], place.row
            values = (number(place.mean), number(place.spread), str(len(row.known)))
            facts = (str(row.protocol or "–"), commit.machine, commit.code or commit.name)
            rows.append((place.number, (commit.name, one.title, row.metric, *values, *facts)))
    return [row for _, row in sorted(rows, key=lambda numbered: numbered[0])]


def write_otava(commits: Sequence[Commit], series: Sequence[Series], file: Path) -> None:
    """One row per commit: `time`, the attributes `commit`, `machine` and `code`, and a column of
    means for every series. A commit without a value repeats the one before it, or the first one, as
    Otava fills gaps: its CSV importer reads no empty cell."""
    frame = pd.DataFrame(
        {
            "time": [commit.time.isoformat(sep=" ", timespec="seconds") for commit in commits],
            "commit": [commit.name for commit in commits],
            "machine": [commit.machine for commit in commits],
            "code": [commit.code for commit in commits],
        }
    )
    columns: dict[str, np.ndarray] = {}
    for one in series:
        name = column_name(one)
        if name in columns:
            # Another protocol or other options: Otava would take the difference for a change
            name += f".since_{PLAIN.sub('_', commits[one.places[0].number].name)}"
        values = columns.setdefault(name, np.full(len(commits), np.nan))
        for place in one.places:
            values[place.number] = place.mean
    filled = pd.DataFrame(columns).ffill().bfill()
    write_csv(pd.concat([frame, filled], axis=1), file)


def column_name(series: Series) -> str:
    """`wgan-dcgan-digits.fid_classifier_750`: no comma, quote or space."""
    *group, metric = series.key
    return f"{'-'.join(PLAIN.sub('_', label) for label in group)}.{PLAIN.sub('_', metric)}"
