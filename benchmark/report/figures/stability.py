"""Every cell's verdict, and what the critic's loss tells about quality and overfitting."""

from pathlib import Path
from typing import Any, NamedTuple

import matplotlib.pyplot as plt
import numpy as np
import pandas as pd
from matplotlib.axes import Axes

from benchmark.analysis.scores import PLACE
from benchmark.analysis.stability import agreement, stopping
from benchmark.analysis.tables import Tables
from benchmark.drawing.axes import spread
from benchmark.drawing.layout import dots, lists, log_axis, not_recorded, pages
from benchmark.drawing.save import Figure, save
from benchmark.drawing.style import VERDICT_LOOKS, Look, inches, wrap
from benchmark.store.schema import FINISHED

MOST_COLUMNS = 4
"""Places side by side; more places stand below one another."""

NO_VERDICT = "no verdict"
INTERVAL = ("median", "ci_low", "ci_high")
VERDICTS = (
    "A bar holds all seeds of an objective in a place, numbered where they differ. Ok: no failure "
    "was seen, not: the samples are good. No verdict: not finished, or nothing measured."
)
CRITIC_LOSS = "Median over seeds with its exact 95 % interval, from five seeds on."


class Quantity(NamedTuple):
    """A quantity of `analysis.stability.stopping`, or the agreement."""

    label: str
    note: str
    """A sentence of the caption."""


QUANTITIES = {
    "loss_agreement": Quantity(
        "rank agreement of loss and quality\nover seeds at equal steps",
        "Agreement, a single number: at 1 the seed with the higher critic loss is always the "
        "better one at equal steps, at 0 the loss does not say which is; the line is the central "
        "95 % of what chance gives.",
    ),
    "loss_regret": Quantity(
        "value ÷ best, stopped at the\nhighest critic loss (○ never stopped)",
        "A filled mark to the right of the empty one: stopping by the loss is worse than training "
        "to the end.",
    ),
    "overfit_gap": Quantity(
        "critic's loss on held-out −\non training samples",
        "Above 0 the critic knows its training samples; each objective in the unit of its own "
        "loss. All are probed on the same batches: a small offset that they share over few seeds "
        "is that of the batches.",
    ),
}


def verdicts(tables: Tables, folder: Path) -> list[Figure]:
    """How many seeds got which verdict: a stacked bar for each objective and place."""
    cells = tables.cells
    if not cells["status"].isin(FINISHED).any():
        return []
    verdict = cells["verdict"].where(cells["verdict"].notna(), NO_VERDICT)
    place = cells["architecture"].map(wrap) + "\non " + cells["dataset"].map(wrap)
    bars = _bars(cells[["objective", *PLACE]].assign(place=place, verdict=verdict))
    objectives = list(cells["objective"].unique())
    names = [wrap(name) for name in objectives]
    places = list(place.unique())
    is_turned = len(places) > MOST_COLUMNS
    rows, columns = (places, names) if is_turned else (names, places)
    has_parameters = names != objectives
    width = 1.15 if is_turned and not has_parameters else 1.5
    height = max(0.36, 0.05 + inches(rows))
    size = (2.2 + width * len(columns), 0.8 + inches(columns) + height * len(rows))
    figure, ax = plt.subplots(figsize=size)
    for bar in bars.to_dict("records"):
        objective = objectives.index(bar["objective"])
        where = places.index(bar["place"])
        if is_turned:
            _bar(ax, objective, where, bar)
        else:
            _bar(ax, where, objective, bar)
    ax.set(xlim=(0, len(columns)), ylim=(len(rows) - 0.4, -0.6))
    ax.set_yticks(range(len(rows)), rows)
    ax.set_xticks([i + 0.5 for i in range(len(columns))], columns)
    ax.xaxis.tick_top()
    ax.tick_params(length=0)
    ax.grid(False)
    plt.setp(ax.spines.values(), visible=False)
    _legend(figure, set(bars["verdict"]))
    data = bars[["objective", *PLACE, "verdict", "seeds"]]
    return [save(figure, data, folder, Figure("verdicts", "Verdicts", VERDICTS, "stability"))]


def _bars(cells: pd.DataFrame) -> pd.DataFrame:
    """The seeds of every verdict of an objective in a place, in the order of VERDICT_LOOKS, with
    their share and the share before them."""
    bars = cells.groupby(list(cells.columns), sort=False).size().rename("seeds").reset_index()
    key = ["place", "objective"]
    bars["order"] = bars["verdict"].map(list(VERDICT_LOOKS).index)
    bars["share"] = bars["seeds"] / bars.groupby(key)["seeds"].transform("sum")
    bars = bars.sort_values("order", kind="stable")
    bars["start"] = bars.groupby(key)["share"].cumsum() - bars["share"]
    return bars


def _bar(ax: Axes, column: int, row: int, bar: dict[Any, Any]) -> None:
    """One verdict's part of a stacked bar, numbered unless it is the whole bar."""
    left = column + 0.05 + 0.9 * bar["start"]
    ax.barh(row, 0.9 * bar["share"], left=left, height=0.7, **_bar_look(bar["verdict"]))
    if bar["share"] < 1:
        box = {"facecolor": "white", "edgecolor": "none", "pad": 0.6, "alpha": 0.85}
        middle = column + 0.05 + 0.9 * (bar["start"] + bar["share"] / 2)
        ax.text(middle, row, bar["seeds"], size=7, ha="center", va="center", bbox=box)


def _bar_look(verdict: str) -> Look:
    colour, hatch = VERDICT_LOOKS[verdict]
    return {"facecolor": colour, "hatch": hatch, "edgecolor": "0.25", "linewidth": 0.5}


def _legend(figure: Any, present: set[str]) -> None:
    """The verdicts that a figure shows."""
    patches = []
    for verdict in VERDICT_LOOKS:
        if verdict in present:
            patches.append(plt.Rectangle((0, 0), 1, 1, label=verdict, **_bar_look(verdict)))
    columns = min(4, len(patches))
    figure.legend(handles=patches, loc="outside lower center", ncols=columns, frameon=False)


def critic_loss(tables: Tables, folder: Path) -> list[Figure]:
    """Does the critic's loss say which seed is better, what does stopping by it cost, and does the
    critic overfit?"""
    rows = _critic_rows(tables)
    known = rows["quantity"].unique()
    quantities = {name: quantity for name, quantity in QUANTITIES.items() if name in known}
    if not quantities:
        return []
    caption = " ".join([CRITIC_LOSS, *(quantity.note for quantity in quantities.values())])
    saved = Figure("critic_loss", "What the critic's loss tells", caption, "stability")
    figures = []
    for part, page in pages(rows):
        figure, datasets = lists(page, quantities, 2.2 + 3.2 * len(quantities))
        for dataset, lines in datasets.items():
            per_dataset = page[page["dataset"] == dataset]
            for ax, (name, quantity) in zip(lines.axes, quantities.items(), strict=True):
                ax.set_xlabel(quantity.label)
                _panel(ax, lines.heights, per_dataset, name)
        figures.append(save(figure, page, folder, saved, part))
    return figures


def _critic_rows(tables: Tables) -> pd.DataFrame:
    """The rows of `stopping`, and those of `agreement` in its columns."""
    agreements = agreement(tables.cells, tables.evals, tables.steps, tables.primary)
    names = {"agreement": "median", "low": "ci_low", "high": "ci_high"}
    agreements = agreements.rename(columns=names)
    agreements["quantity"] = "loss_agreement"
    return pd.concat([agreements, stopping(tables.cells)], ignore_index=True)


def _panel(ax: Axes, heights: dict[Any, int], rows: pd.DataFrame, name: str) -> None:
    """One quantity of one dataset."""
    shown = rows[rows["quantity"] == name]
    if shown.empty:
        not_recorded(ax)
        return
    dots(ax, heights, shown, INTERVAL)
    if name == "loss_agreement":
        ax.axvline(0, color="0.35", linewidth=1, zorder=0)
        ax.set(xlim=(-1.08, 1.08), xticks=(-1, -0.5, 0, 0.5, 1))
    elif name == "loss_regret":
        never = rows[rows["quantity"] == "regret"]
        never = never.assign(ci_low=never["median"], ci_high=never["median"], hollow=True)
        dots(ax, heights, never, INTERVAL)
        ax.set_xscale("log")
        log_axis(ax.xaxis)
    else:
        ax.axvline(0, color="0.35", linewidth=1, zorder=0)
        _widen(ax, shown)


def _widen(ax: Axes, rows: pd.DataFrame) -> None:
    """A symmetric axis, linear near 0 where the losses' units differ by orders of magnitude."""
    sizes = rows[[*INTERVAL]].abs().to_numpy(dtype=float)
    sizes = sizes[np.isfinite(sizes) & (sizes > 0)]
    if not len(sizes):
        return
    reach = 1.3 * sizes.max()
    if reach > 50 * np.median(sizes):
        spread(ax, sizes, reach)
    ax.set_xlim(-reach, reach)
