"""Where each objective ends, and what a generator step costs."""

from pathlib import Path

import matplotlib.pyplot as plt
import numpy as np
import pandas as pd

from benchmark.analysis.robustness import crossed, nothing_learnt
from benchmark.analysis.scores import PLACE
from benchmark.analysis.tables import Tables
from benchmark.drawing.layout import heat
from benchmark.drawing.save import Figure, save
from benchmark.drawing.style import described, excess, inches, short, wrap
from benchmark.text import Record

MOST_COLUMNS = 4
"""Places side by side; more places stand below one another."""

NOTHING_LEARNT = "nothing learnt"

HEATMAP = (
    "Median of the final value over the seeds that finished, a diverged one being the worst. Light "
    "is good; each place has its own scale, the log of the ratio to its best, or the difference "
    "from it for a metric that has no ratios. Differences that are small in both are light. Grey: "
    "no finished seed with a value, or a place where nothing was learnt."
)


def heatmap(tables: Tables, folder: Path) -> list[Figure]:
    """Objective x place: median of the primary metric's final value. None of a single place.
    Without the datasets that have a robustness figure, which shows the same."""
    rows = tables.summary[tables.summary["of"] == "final"]
    rows = rows[~rows["dataset"].isin(crossed(tables.cells))]
    rows = rows[rows["metric"] == rows["dataset"].map(tables.primary)]
    if rows["median"].isna().all() or len(rows[PLACE].drop_duplicates()) < 2:
        return []
    label = rows["metric"].map(lambda name: described(name).replace(" (", "\n("))
    place = rows["architecture"].map(wrap) + "\non " + rows["dataset"].map(wrap) + "\n" + label
    text = [_final(row) for row in rows.to_dict("records")]
    long = rows.assign(place=place, text=text)
    for (dataset, architecture), per_place in long.groupby(PLACE, sort=False):
        if nothing_learnt(tables, str(dataset), str(architecture)):
            long.loc[per_place.index, "worse"] = np.nan
            long.loc[per_place.index, "text"] += f"\n{NOTHING_LEARNT}"
        else:
            metric = per_place["metric"].iloc[0]
            long.loc[per_place.index, "worse"] = excess(per_place["median"], metric)
    objectives = list(rows["objective"].unique())
    places = list(place.unique())
    names = [wrap(name) for name in objectives]
    is_turned = len(places) > MOST_COLUMNS
    texts = _objectives_by_places(long, "text", objectives, places)
    worse = _objectives_by_places(long, "worse", objectives, places)
    if is_turned:
        height = 0.4 + inches(names) + len(places) * max(0.45, 0.1 + inches(places))
        figure, ax = plt.subplots(figsize=(2.2 + 1.6 * len(objectives), height))
        heat(ax, worse.T, texts.T)
        ax.set_xticks(ax.get_xticks(), names, rotation=0)
        ax.xaxis.tick_top()
    else:
        height = 0.4 + inches(places) + len(objectives) * max(0.45, 0.1 + inches(names))
        figure, ax = plt.subplots(figsize=(2.2 + 1.95 * len(places), height))
        heat(ax, worse, texts)
    saved = Figure("heatmap", "Where each objective ends", HEATMAP, "where")
    return [save(figure, rows, folder, saved)]


def _final(row: Record) -> str:
    """The text of a cell: `24.1`, and `1/5 diverged` below it."""
    value = short(row["median"]) if np.isfinite(row["median"]) else "–"
    if not row["diverged"]:
        return value
    return f"{value}\n{row['diverged']}/{row['n_expected']} diverged"


def _objectives_by_places(
    long: pd.DataFrame, values: str, objectives: list[str], places: list[str]
) -> pd.DataFrame:
    wide = long.pivot(index="objective", columns="place", values=values)
    return wide.reindex(index=objectives, columns=places)
