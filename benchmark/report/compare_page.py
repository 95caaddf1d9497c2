"""A comparison as claims and tables; its files: Markdown, CSV and one self-contained
compare.html."""

import math
from functools import partial
from pathlib import Path

import pandas as pd

from benchmark.analysis.compare import cost, ordered, reliability
from benchmark.analysis.sides import Sides
from benchmark.metrics import full_name, metric, short_name
from benchmark.report.compare_text import ComparisonPage, to_markdown
from benchmark.report.forest import Dot, axis_of
from benchmark.report.page import TARGET_CLOCKS, Claim, Table, place, records, with_values
from benchmark.store.files import write_bytes
from benchmark.store.frames import write_csv
from benchmark.store.schema import FINISHED
from benchmark.text import Record, interval, listed, number, wins
from benchmark.text import cost as target_cost

RUN_VALUES = {
    "final": "at the last evaluation",
    "best": "at the best evaluation",
    "area": "mean over samples seen, geometric for a metric that ranks",
    "equal_compute": "at the critic forward-equivalents of the cheapest objective's run, between "
    "evaluations",
    "equal_time": "at the raced seconds of the cheapest objective's run, between evaluations",
}
COSTS = {
    "ms_per_g_step": "raced ms per generator step",
    "workloads_per_g_step": "in reference workloads",
    "forwards_per_step": "in critic forwards",
    "peak_memory_mb": "peak memory MiB",
    "workloads_memory": "in the workload's memory",
}
ORIGINS = {"device": "device", "torch": "torch", "git_commit": "commit"}
LONGEST_ORIGIN = 40  # characters
QUALITY = (
    "Compared: {values}. Medians over the seeds that both have, their pairs; a run that diverged "
    "is the worst. Difference: median over the pairs. Wins: pairs on which the side is better. "
    "Intervals are exact at 95 % and not corrected for their number. {tested}"
)
TESTED = (
    "p is the exact sign test's, corrected by Holm over all comparisons with {first} here, "
    "{family}. It is not corrected for a choice of {first} after seeing results."
)
NOT_TESTED = "These metrics are not tested."
SPEED = (
    "Median over seeds to the first evaluation that reaches the target [exact 95 % interval]. > "
    "600: half of the runs or more did not reach it within the 600 that they were trained for; ∞: "
    "all of these diverged."
)
COST = (
    "Medians over seeds; in brackets ÷ {}'s. A generator step includes its critic steps, its "
    "milliseconds are those of the race. Memory: allocated on a GPU; on a CPU the whole "
    "process, which the libraries dominate."
)
IN_WORKLOADS = (
    " The reference workload took its turn in the race, and ran in the process of each cell: "
    "machines compare in its units."
)

HOLLOW = "var(--page)"  # the colour of a dot that is not separated

Line = dict[str, str]
"""A row of a table: a text by the head of its column."""


def page(sides: Sides, frame: pd.DataFrame) -> ComparisonPage:
    """How good, how fast, at what cost, how reliable, and what was compared. frame: `differences`,
    with a row or more."""
    is_primary = _is_primary(sides, frame)
    sections = [
        *_primary(sides, frame[is_primary]),
        _quality("How good: the other metrics", sides, frame[~is_primary]),
        _speed(sides),
        _cost(sides),
        _reliability(sides),
        _compared(sides),
    ]
    title = f"{listed(sides.names[1:])} against {sides.names[0]}"
    claims = [_claim(sides, row) for row in records(frame[is_primary])]
    remarks = [] if claims else sides.notes
    return ComparisonPage(title, claims, [table for table in sections if table.rows], remarks)


def _is_primary(sides: Sides, frame: pd.DataFrame) -> pd.Series:
    return frame["metric"] == frame["dataset"].map(sides.primary)


def write(folder: Path, sides: Sides, frame: pd.DataFrame) -> Path:
    """Write compare.md, compare.csv (`frame`), figures/curves where a metric ranks, and a
    self-contained compare.html; return the path of compare.html."""
    from benchmark.report.figures.comparison import draw
    from benchmark.report.render import data_link, image, templates

    figure, comparison = draw(sides, folder), page(sides, frame)
    _draw_dots(sides, frame[_is_primary(sides, frame)], comparison.sections)
    environment = templates()
    environment.filters["image"] = partial(image, folder / "figures")
    environment.filters["data_link"] = partial(data_link, folder / "figures")
    html = environment.get_template("compare.html.j2").render(page=comparison, figure=figure)
    write_bytes(folder / "compare.md", to_markdown(comparison, figure).encode())
    write_csv(frame, folder / "compare.csv")
    write_bytes(folder / "compare.html", html.encode())
    return folder / "compare.html"


def _claim(sides: Sides, row: Record) -> Claim:
    """A row of `differences` as a sentence."""
    what = f"{short_name(row['metric'])}, {row['of'].replace('_', ' ')}"
    numbers = f"{number(row['value'])} against {number(row['against'])} ({what})"
    pairs = wins(row).partition(" [")[0]
    text = f"{numbers}, difference {interval(row, 'difference')}, better on {pairs} pairs:"
    why = f" ({row['why']})" if row["why"] else ""
    return Claim(_match(sides, row), row["side"], text, row["verdict"], why)


def _primary(sides: Sides, frame: pd.DataFrame) -> list[Table]:
    """The differences in the metrics that rank, a table for each dataset, with an axis."""
    tables = []
    for dataset, rows in frame.groupby("dataset", sort=False):
        title = f"How good: {full_name(rows['metric'].iloc[0], str(dataset))}"
        table = _quality(title, sides, rows)
        values = rows[["difference", "ci_low", "ci_high"]].to_numpy(dtype=float)
        table.axis = axis_of(values.ravel(), 0.0, is_log=False)
        tables.append(table)
    return tables


def _draw_dots(sides: Sides, frame: pd.DataFrame, tables: list[Table]) -> None:
    """Draw the differences of `_primary` on the axes of its tables, the first ones."""
    # Seconds to import, and text has no dots
    from benchmark.drawing.style import distinct

    with distinct(sides.labels):
        for (_, rows), table in zip(frame.groupby("dataset", sort=False), tables, strict=False):
            for row, line in zip(records(rows), table.rows, strict=True):
                line.dot = _dot(sides, row)


def _dot(sides: Sides, row: Record) -> Dot:
    """A difference on the axis: filled where it is separated."""
    from matplotlib.colors import to_hex

    from benchmark.drawing.style import style

    colour = HOLLOW
    if row["verdict"] in ("better", "worse"):
        objective = row["objective"] if "objective" in sides.by else row["side"]
        colour = to_hex(style(objective)["color"])
    # Only the upper end of the axis shows what lies beyond it
    value = math.nan if row["difference"] == -math.inf else row["difference"]
    return Dot(value, row["ci_low"], row["ci_high"], colour)


def _quality(title: str, sides: Sides, frame: pd.DataFrame) -> Table:
    """The differences of some metrics, a line per match, metric, `of` and side."""
    values = list(frame["of"].unique())
    metrics = list(frame["metric"].unique())
    reference = sides.names[0]
    has_more_sides = len(sides.names) > 2
    head = "median" if has_more_sides else f"median of {sides.names[1]}"
    lines = []
    for row in records(frame):
        line = {"where": _match(sides, row)}
        if len(metrics) > 1:
            line["metric"] = short_name(row["metric"])
        if len(values) > 1:
            line["of"] = row["of"].replace("_", " ")
        if has_more_sides:
            line["side"] = row["side"]
        line[head] = _median(row["value"], row["diverged"])
        line[f"median of {reference}"] = _median(row["against"], row["against_diverged"])
        line["difference"] = interval(row, "difference")
        line["wins"] = wins(row)
        if row["verdict"]:
            line["p"] = number(row["p_holm"])
            line["verdict"] = row["verdict"]
        lines.append(line)
    return _table(title, lines, _quality_note(sides, values, metrics))


def _quality_note(sides: Sides, values: list[str], metrics: list[str]) -> str:
    family = "between all objectives there"
    if "objective" not in sides.by:
        family = "those of objectives not named here too"
    meanings = [f"{value.replace('_', ' ')} ({RUN_VALUES[value]})" for value in values]
    explained = "; ".join(meanings)
    tested = NOT_TESTED
    if set(metrics) <= set(sides.primary.values()):
        tested = TESTED.format(first=sides.names[0], family=family)
    note = QUALITY.format(values=explained, tested=tested)
    minimised = [short_name(name) for name in metrics if metric(name).direction == "min"]
    if minimised:
        note += f" Lower is better: {', '.join(minimised)}."
    return note


def _speed(sides: Sides) -> Table:
    """What the target cost on every clock that is known, a line per match and side."""
    keys = [*sides.by, "level", "side"]
    known = sides.convergence
    groups = known.groupby(keys, sort=False)
    rows = records(ordered(sides, groups.first().reset_index()))
    measured = known[known["n"] > 0]["clock"].unique()
    lines = []
    for row in rows:
        if not row["n"]:
            continue
        clocks = groups.get_group(tuple(row[name] for name in keys))
        by_clock = {of_clock["clock"]: of_clock for of_clock in records(clocks)}
        line = {"where": _match(sides, row), "side": row["side"]}
        line["target"] = number(row["target"])
        line["reached"] = f"{row['reached']}/{row['n']}"
        for clock, head in TARGET_CLOCKS.items():
            if clock in measured:
                line[head] = target_cost(by_clock[clock])
        lines.append(line)
    return _table("How fast: to the targets", lines, SPEED)


def _cost(sides: Sides) -> Table:
    """Medians of COSTS, and their ratios to those of the first side."""
    frame = cost(sides)
    shown = with_values(COSTS, frame)
    lines = []
    for row in records(frame):
        line = {"where": _match(sides, row), "side": row["side"]}
        for name, head in shown.items():
            line[head] = f"{number(row[name])} (× {number(row[f'{name}_ratio'])})"
        lines.append(line)
    note = COST.format(sides.names[0])
    if "workloads_per_g_step" in shown:
        note += IN_WORKLOADS
    return _table("At what cost", lines, note)


def _reliability(sides: Sides) -> Table:
    """The number of runs with each verdict."""
    frame = reliability(sides)
    verdicts = [name for name in frame.columns if name not in (*sides.by, "side")]
    lines = []
    for row in records(frame):
        line = {"where": _match(sides, row), "side": row["side"]}
        for verdict in verdicts:
            line[verdict] = str(row[verdict])
        lines.append(line)
    return _table("How reliable: runs by verdict", lines)


def _compared(sides: Sides) -> Table:
    """Cells, seeds, devices and code of every side."""
    lines = []
    for name in sides.names:
        cells = sides.cells[sides.cells["side"] == name]
        finished = cells["status"].isin(FINISHED).sum()
        line = {
            "side": name,
            "cells finished": f"{finished}/{len(cells)}",
            "seeds": str(cells["seed"].nunique()),
            "stale cells": str(cells["stale"].sum()),
        }
        for column, head in ORIGINS.items():
            known = [str(value)[:LONGEST_ORIGIN] for value in cells[column].dropna().unique()]
            line[head] = ", ".join(known) or "–"
        lines.append(line)
    return _table("What was compared", lines, " ".join(sides.notes))


def _table(title: str, lines: list[Line], note: str = "") -> Table:
    """A table of lines, which all have the same heads."""
    table = Table(title, list(lines[0]) if lines else [], note=note)
    for line in lines:
        table.add(list(line.values()), {})
    return table


def _match(sides: Sides, row: Record) -> str:
    """The name of a row's match: its place; between result sets, its objective too."""
    if "objective" in sides.by:
        return f"{row['objective']}, {place(row)}"
    return place(row)


def _median(value: float, diverged: int) -> str:
    return f"{number(value)}, {diverged} diverged" if diverged else number(value)
