"""Write a comparison as Markdown and as one self-contained compare.html: a table per question."""

import base64
from dataclasses import dataclass
from pathlib import Path

import pandas as pd

from benchmark.analysis.compare import cost, ordered, reliability
from benchmark.analysis.sides import Sides
from benchmark.metrics import metric, short_name
from benchmark.report.page import TARGET_CLOCKS, place, records, with_values
from benchmark.report.render import templates
from benchmark.store.files import write_bytes
from benchmark.store.frames import write_csv
from benchmark.store.schema import FINISHED
from benchmark.text import Record, escaped, interval, number, wins
from benchmark.text import cost as target_cost

RUN_VALUES = {
    "final": "at the last evaluation",
    "best": "at the best evaluation",
    "area": "mean over samples seen (geometric for a metric that ranks)",
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
QUALITY = (
    "{values}. Medians over a side's seeds; a run that diverged is the worst. Difference: median "
    "over pairs of seeds. Wins: pairs on which the side is better. Intervals are exact at 95 % and "
    "not corrected for their number. {tested}"
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


@dataclass
class Section:
    """A question and a table of plain text; the renderers escape the text."""

    title: str
    columns: dict[str, list[str]]
    """The texts of every column by its head."""
    note: str = ""

    @property
    def rows(self) -> list[tuple[str, ...]]:
        return list(zip(*self.columns.values(), strict=True))


@dataclass
class ComparisonPage:
    """A comparison, in reading order."""

    title: str
    answers: list[str]
    sections: list[Section]


def page(sides: Sides, frame: pd.DataFrame) -> ComparisonPage:
    """How good, how fast, at what cost, how reliable, and what was compared. frame: `differences`,
    with a row or more."""
    is_primary = frame["metric"] == frame["dataset"].map(sides.primary)
    sections = [
        _quality("How good: the metric that ranks", sides, frame[is_primary]),
        _quality("How good: the other metrics", sides, frame[~is_primary]),
        _speed(sides),
        _cost(sides),
        _reliability(sides),
        _compared(sides),
    ]
    title = f"{', '.join(sides.names[1:])} against {sides.names[0]}"
    answers = [_answer(sides, row) for row in records(frame[is_primary])]
    return ComparisonPage(
        title, answers or sides.notes, [section for section in sections if section.rows]
    )


def to_markdown(comparison: ComparisonPage, figure: str = "") -> str:
    """The page as Markdown; names are escaped. figure: the path of the learning curves, where they
    are drawn."""
    answers = [f"- {escaped(text)}" for text in comparison.answers]
    parts = [f"# {escaped(comparison.title)}", "\n".join(answers)]
    for section in comparison.sections:
        heads = list(section.columns)
        lines = [_line(heads), _line(["---"] * len(heads)), *map(_line, section.rows)]
        parts += [f"## {escaped(section.title)}", "\n".join(lines)]
        if section.note:
            parts.append(escaped(section.note))
    if figure:
        parts += ["## Learning curves", f"![Learning curves]({figure})"]
    return "\n\n".join(parts) + "\n"


def _line(cells: list[str] | tuple[str, ...]) -> str:
    return f"| {' | '.join(map(escaped, cells))} |"


def write(folder: Path, sides: Sides, frame: pd.DataFrame) -> Path:
    """Write compare.md, compare.csv (`frame`), figures/curves where a metric ranks, and a
    self-contained compare.html; return the path of compare.html."""
    from benchmark.report.figures.comparison import draw

    figure = draw(sides, folder)
    comparison = page(sides, frame)
    image, picture = "", ""
    if figure:
        svg = (folder / f"figures/{figure.stem}.svg").read_bytes()
        image = base64.b64encode(svg).decode()
        picture = f"figures/{figure.stem}.png"
    template = templates().get_template("compare.html.j2")
    html = template.render(page=comparison, figure=figure, image=image)
    markdown = to_markdown(comparison, picture)
    write_bytes(folder / "compare.md", markdown.encode())
    write_csv(frame, folder / "compare.csv")
    write_bytes(folder / "compare.html", html.encode())
    return folder / "compare.html"


def _answer(sides: Sides, row: Record) -> str:
    """A row of `differences` as a sentence."""
    of = row["of"].replace("_", " ")
    what = f"{short_name(row['metric'])}, {of}"
    numbers = f"{number(row['value'])} against {number(row['against'])} ({what})"
    difference = f"difference {interval(row, 'difference')}, better on {wins(row)} pairs"
    verdict = f"{row['verdict']}, {row['why']}" if row["why"] else row["verdict"]
    return f"{_match(sides, row)}: {row['side']} {numbers}, {difference}: {verdict}."


def _quality(title: str, sides: Sides, frame: pd.DataFrame) -> Section:
    """The differences of some metrics, a line per match, metric, `of` and side."""
    values = list(frame["of"].unique())
    reference = sides.names[0]
    has_more_sides = len(sides.names) > 2
    head = "median" if has_more_sides else f"median of {sides.names[1]}"
    lines = []
    for row in records(frame):
        line = {"where": _match(sides, row), "metric": short_name(row["metric"])}
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
    note = _quality_note(sides, values, list(frame["metric"].unique()))
    return Section(title, _columns(lines), note)


def _quality_note(sides: Sides, values: list[str], metrics: list[str]) -> str:
    family = "between all objectives there"
    if "objective" not in sides.by:
        family = "those of objectives not named here too"
    explained = "; ".join(f"{value}: {RUN_VALUES[value]}" for value in values).replace("_", " ")
    tested = NOT_TESTED
    if set(metrics) <= set(sides.primary.values()):
        tested = TESTED.format(first=sides.names[0], family=family)
    note = QUALITY.format(values=explained, tested=tested)
    minimised = [short_name(name) for name in metrics if metric(name).direction == "min"]
    if minimised:
        note += f" Lower is better: {', '.join(minimised)}."
    return note


def _speed(sides: Sides) -> Section:
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
    return Section("How fast: to the targets", _columns(lines), SPEED)


def _cost(sides: Sides) -> Section:
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
    return Section("At what cost", _columns(lines), note)


def _reliability(sides: Sides) -> Section:
    """The number of runs with each verdict."""
    frame = reliability(sides)
    verdicts = [name for name in frame.columns if name not in (*sides.by, "side")]
    lines = []
    for row in records(frame):
        line = {"where": _match(sides, row), "side": row["side"]}
        for verdict in verdicts:
            line[verdict] = str(row[verdict])
        lines.append(line)
    return Section("How reliable: runs by verdict", _columns(lines))


def _compared(sides: Sides) -> Section:
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
            line[head] = ", ".join(map(str, cells[column].dropna().unique())) or "–"
        lines.append(line)
    return Section("What was compared", _columns(lines), " ".join(sides.notes))


def _columns(lines: list[dict[str, str]]) -> dict[str, list[str]]:
    """Lines, each a text by head, as columns; all lines have the same heads."""
    columns: dict[str, list[str]] = {}
    for line in lines:
        for head, text in line.items():
            columns.setdefault(head, []).append(text)
    return columns


def _match(sides: Sides, row: Record) -> str:
    """The name of a row's match: its place; between result sets, its objective too."""
    if "objective" in sides.by:
        return f"{row['objective']}, {place(row)}"
    return place(row)


def _median(value: float, diverged: int) -> str:
    return f"{number(value)}, {diverged} diverged" if diverged else number(value)
