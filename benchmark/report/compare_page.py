"""A comparison in words: a short table per question, as Markdown and as one self-contained
compare.html."""

import base64
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import pandas as pd

from benchmark.analysis.compare import cost, ordered, reliability
from benchmark.analysis.sides import Sides
from benchmark.metrics import metric
from benchmark.report.page import CLOCKS, templates
from benchmark.store.files import write_bytes
from benchmark.store.result_set import FINISHED
from benchmark.text import escaped, interval, number

Row = dict[Any, Any]
Columns = dict[str, list[str]]
OFS = {
    "final": "at the last evaluation",
    "best": "at the best evaluation",
    "area": "mean over samples seen (geometric for a metric that ranks)",
    "equal_time": "at the training time of the quickest objective, between evaluations",
}
COSTS = {
    "ms_per_g_step": "ms per generator step",
    "workloads_per_g_step": "in reference workloads",
    "peak_memory_mb": "peak memory MiB",
    "workloads_memory": "in the workload's memory",
}


@dataclass
class Section:
    """A question: columns of plain text under their heads, and a note. The renderers escape
    them."""

    title: str
    columns: Columns
    note: str = ""

    @property
    def rows(self) -> list[tuple[str, ...]]:
        return list(zip(*self.columns.values(), strict=True))


@dataclass
class Page:
    """A comparison, in reading order."""

    title: str
    answers: list[str]
    sections: list[Section]


def page(sides: Sides, frame: pd.DataFrame) -> Page:
    """How good, how fast, at what cost, how reliable, and of what. frame: `differences`, with a row
    or more."""
    primary = frame["metric"] == frame["dataset"].map(sides.primary)
    sections = [
        _quality("How good: the metric that ranks", sides, frame[primary]),
        _quality("How good: the other metrics", sides, frame[~primary]),
        _speed(sides),
        _cost(sides),
        _reliability(sides),
        _compared(sides),
    ]
    title = f"{', '.join(sides.names[1:])} against {sides.names[0]}"
    answers = [_answer(sides, row) for row in _rows(frame[primary])]
    return Page(title, answers or sides.notes, [section for section in sections if section.rows])


def to_markdown(found: Page, figure: str = "") -> str:
    """The page as Markdown; names are escaped. figure: the path of the curves, where they are
    drawn."""
    parts = [f"# {escaped(found.title)}", "\n".join(f"- {escaped(text)}" for text in found.answers)]
    for section in found.sections:
        lines = [tuple(section.columns), ("---",) * len(section.columns), *section.rows]
        parts += [
            f"## {escaped(section.title)}",
            "\n".join(f"| {' | '.join(map(escaped, line))} |" for line in lines),
        ]
        parts += [escaped(section.note)] if section.note else []
    parts += ["## Learning curves", f"![Learning curves]({figure})"] if figure else []
    return "\n\n".join(parts) + "\n"


def write(folder: Path, sides: Sides, frame: pd.DataFrame) -> Path:
    """Write compare.md, compare.csv (`frame`), figures/curves and a self-contained compare.html;
    returns its path."""
    from benchmark.report.figures.comparison import draw

    found, figure = page(sides, frame), draw(sides, folder)
    stem = folder / "figures" / figure.stem
    image = base64.b64encode(stem.with_suffix(".svg").read_bytes()).decode()
    html = (
        templates().get_template("compare.html.j2").render(page=found, figure=figure, image=image)
    )
    markdown = to_markdown(found, f"figures/{stem.name}.png")
    for name, text in (
        ("compare.md", markdown),
        ("compare.csv", frame.to_csv(index=False)),
        ("compare.html", html),
    ):
        write_bytes(folder / name, text.encode())
    return folder / "compare.html"


def _answer(sides: Sides, row: Row) -> str:
    numbers = f"{number(row['value'])} against {number(row['against'])} ({row['metric']}, {row['of'].replace('_', ' ')})"
    verdict = f"{row['verdict']}, {row['why']}" if row["why"] else row["verdict"]
    difference = f"difference {interval(row, 'difference')} over {row['n']} pairs"
    return f"{_place(sides, row)}: {row['side']} {numbers}, {difference}: {verdict}."


def _quality(title: str, sides: Sides, frame: pd.DataFrame) -> Section:
    rows, of = _rows(frame), list(dict.fromkeys(frame["of"]))
    two = len(sides.names) == 2
    columns = {
        "where": [_place(sides, row) for row in rows],
        "metric": [row["metric"] for row in rows],
    }
    if len(of) > 1:
        columns["of"] = [row["of"].replace("_", " ") for row in rows]
    if not two:
        columns["side"] = [row["side"] for row in rows]
    columns |= {
        "pairs": [str(row["n"]) for row in rows],
        f"IQM of {sides.names[1]}" if two else "IQM": [
            number(r["value"]) + _lost(r["diverged"]) for r in rows
        ],
        f"IQM of {sides.names[0]}": [
            number(r["against"]) + _lost(r["against_diverged"]) for r in rows
        ],
        "difference": [interval(row, "difference") for row in rows],
        "P(better)": [interval(row, "p_improvement", "p_low", "p_high") for row in rows],
        "p": [number(row["p_holm"]) for row in rows],
        "verdict": [row["verdict"] for row in rows],
    }
    low = [name for name in dict.fromkeys(frame["metric"]) if metric(name).direction == "min"]
    note = f"{'; '.join(f'{name}: {OFS[name]}' for name in of)}. ".replace("_", " ")
    note += "IQM: over a side's seeds that finished. Difference: IQM over pairs of seeds. P(better): over all seeds, "
    note += "one that diverged being the worst. Intervals are 95 % BCa. p is corrected by Holm over the comparisons with "
    note += f"{sides.names[0]} of one place and metric, "
    note += (
        "between all objectives there. "
        if "objective" in sides.by
        else "those of objectives not named here too. "
    )
    note += f"It is not corrected over places and metrics, nor for a choice of {sides.names[0]} after seeing results."
    return Section(title, columns, note + (f" Lower is better: {', '.join(low)}." if low else ""))


def _speed(sides: Sides) -> Section:
    groups = sides.convergence[sides.convergence["target"].notna()].groupby(
        [*sides.by, "side"], sort=False
    )
    firsts = [row for row in _rows(ordered(sides, groups.first().reset_index())) if row["n"]]
    keys = [tuple(row[name] for name in (*sides.by, "side")) for row in firsts]
    times = [groups.get_group(key).set_index("clock").to_dict("index") for key in keys]
    columns = {
        "where": [_place(sides, row) for row in firsts],
        "side": [row["side"] for row in firsts],
        "target": [number(row["target"]) for row in firsts],
        "reached": [f"{row['reached']}/{row['n']}" for row in firsts],
    }
    for clock, head in CLOCKS.items():
        if any(of_row[clock]["n"] for of_row in times):
            columns[head] = [interval(of_row[clock], "median") for of_row in times]
    note = "Median over seeds to the first evaluation that reaches the target, with its 95 % interval (Kaplan–Meier: a "
    note += "run that ended before is censored there, one that diverged never reaches it). ∞: fewer than half reach it."
    return Section("How fast: to the target", columns, note)


def _cost(sides: Sides) -> Section:
    frame = cost(sides)
    rows, shown = _rows(frame), [name for name in COSTS if frame[name].notna().any()]
    columns = {"where": [_place(sides, row) for row in rows], "side": [row["side"] for row in rows]}
    for name in shown:
        columns[COSTS[name]] = [number(row[name]) for row in rows]
        columns[f"{COSTS[name]}, ratio"] = [number(row[f"{name}_ratio"]) for row in rows]
    note = f"Medians over seeds, and ÷ {sides.names[0]}'s. A generator step includes its critic steps. Memory: "
    note += "allocated on a GPU; on a CPU the whole process, which the libraries dominate."
    if "workloads_per_g_step" in shown:
        note += " The reference workload ran in the same process before each cell: machines compare in its units."
    return Section("At what cost", columns, note)


def _reliability(sides: Sides) -> Section:
    frame = reliability(sides)
    rows, verdicts = (
        _rows(frame),
        [name for name in frame.columns if name not in (*sides.by, "side")],
    )
    columns = {"where": [_place(sides, row) for row in rows], "side": [row["side"] for row in rows]}
    columns |= {name: [str(row[name]) for row in rows] for name in verdicts}
    return Section("How reliable: runs by verdict", columns)


def _compared(sides: Sides) -> Section:
    of = [sides.cells[sides.cells["side"] == name] for name in sides.names]
    columns = {
        "side": sides.names,
        "cells finished": [f"{cells['status'].isin(FINISHED).sum()}/{len(cells)}" for cells in of],
        "seeds": [str(cells["seed"].nunique()) for cells in of],
        "stale cells": [str(cells["stale"].sum()) for cells in of],
    }
    for column, head in (("device", "device"), ("torch", "torch"), ("git_commit", "commit")):
        columns[head] = [
            ", ".join(map(str, cells[column].dropna().unique())) or "–" for cells in of
        ]
    return Section("What was compared", columns, " ".join(sides.notes))


def _rows(frame: pd.DataFrame) -> list[Row]:
    return frame.to_dict("records")


def _place(sides: Sides, row: Row) -> str:
    place = f"{row['architecture']} on {row['dataset']}"
    return f"{row['objective']}, {place}" if "objective" in sides.by else place


def _lost(diverged: int) -> str:
    return f", {diverged} diverged" if diverged else ""
