"""Write a comparison as Markdown and as one self-contained compare.html: a table per question."""

import base64
from dataclasses import dataclass
from pathlib import Path

import pandas as pd

from benchmark.analysis.compare import Sides, cost, ordered, reliability
from benchmark.metrics import metric
from benchmark.report.page import TARGET_CLOCKS, place, records, templates, with_values
from benchmark.store.files import write_bytes
from benchmark.store.schema import FINISHED
from benchmark.text import Record, escaped, interval, number

RUN_VALUES = {
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
ORIGINS = {"device": "device", "torch": "torch", "git_commit": "commit"}
QUALITY = (
    "{values}. IQM: over a side's seeds that finished. Difference: IQM over pairs of seeds. "
    "P(better): over all seeds, one that diverged being the worst. Intervals are 95 % BCa. p is "
    "corrected by Holm over the comparisons with {first} of one place and metric, {family}. It is "
    "not corrected over places and metrics, nor for a choice of {first} after seeing results."
)
SPEED = (
    "Median over seeds to the first evaluation that reaches the target, with its 95 % interval "
    "(Kaplan–Meier: a run that ended before is censored there, one that diverged never reaches "
    "it). ∞: fewer than half reach it."
)
COST = (
    "Medians over seeds, and ÷ {}'s. A generator step includes its critic steps. Memory: allocated "
    "on a GPU; on a CPU the whole process, which the libraries dominate."
)
IN_WORKLOADS = (
    " The reference workload ran in the same process before each cell: machines compare in its "
    "units."
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
class Page:
    """A comparison, in reading order."""

    title: str
    answers: list[str]
    sections: list[Section]


def page(sides: Sides, frame: pd.DataFrame) -> Page:
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
    return Page(title, answers or sides.notes, [section for section in sections if section.rows])


def to_markdown(comparison: Page, figure: str = "") -> str:
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
    """Write compare.md, compare.csv (`frame`), figures/curves and a self-contained compare.html;
    return the path of compare.html."""
    from benchmark.report.figures.comparison import draw

    figure = draw(sides, folder)
    comparison = page(sides, frame)
    svg = (folder / f"figures/{figure.stem}.svg").read_bytes()
    template = templates().get_template("compare.html.j2")
    html = template.render(page=comparison, figure=figure, image=base64.b64encode(svg).decode())
    markdown = to_markdown(comparison, f"figures/{figure.stem}.png")
    write_bytes(folder / "compare.md", markdown.encode())
    write_bytes(folder / "compare.csv", frame.to_csv(index=False).encode())
    write_bytes(folder / "compare.html", html.encode())
    return folder / "compare.html"


def _answer(sides: Sides, row: Record) -> str:
    """A row of `differences` as a sentence."""
    of = row["of"].replace("_", " ")
    numbers = f"{number(row['value'])} against {number(row['against'])} ({row['metric']}, {of})"
    difference = f"difference {interval(row, 'difference')} over {row['n']} pairs"
    verdict = f"{row['verdict']}, {row['why']}" if row["why"] else row["verdict"]
    return f"{_group(sides, row)}: {row['side']} {numbers}, {difference}: {verdict}."


def _quality(title: str, sides: Sides, frame: pd.DataFrame) -> Section:
    """The differences of some metrics, a row per group, metric, `of` and side."""
    rows = records(frame)
    values = list(frame["of"].unique())
    columns = {"where": [_group(sides, row) for row in rows], "metric": _texts(rows, "metric")}
    if len(values) > 1:
        columns["of"] = [row["of"].replace("_", " ") for row in rows]
    head = f"IQM of {sides.names[1]}"
    if len(sides.names) > 2:
        columns["side"] = _texts(rows, "side")
        head = "IQM"
    columns["pairs"] = _texts(rows, "n")
    columns[head] = [_iqm(row["value"], row["diverged"]) for row in rows]
    columns[f"IQM of {sides.names[0]}"] = [
        _iqm(row["against"], row["against_diverged"]) for row in rows
    ]
    columns["difference"] = [interval(row, "difference") for row in rows]
    columns["P(better)"] = [interval(row, "p_improvement", "p_low", "p_high") for row in rows]
    columns["p"] = [number(row["p_holm"]) for row in rows]
    columns["verdict"] = _texts(rows, "verdict")
    return Section(title, columns, _quality_note(sides, values, list(frame["metric"].unique())))


def _quality_note(sides: Sides, values: list[str], metrics: list[str]) -> str:
    family = "between all objectives there"
    if "objective" not in sides.by:
        family = "those of objectives not named here too"
    explained = "; ".join(f"{value}: {RUN_VALUES[value]}" for value in values).replace("_", " ")
    note = QUALITY.format(values=explained, first=sides.names[0], family=family)
    minimised = [name for name in metrics if metric(name).direction == "min"]
    if minimised:
        note += f" Lower is better: {', '.join(minimised)}."
    return note


def _speed(sides: Sides) -> Section:
    """What the target cost on every clock that is known, a row per group and side."""
    keys = [*sides.by, "side"]
    known = sides.convergence[sides.convergence["target"].notna()]
    groups = known.groupby(keys, sort=False)
    firsts = [row for row in records(ordered(sides, groups.first().reset_index())) if row["n"]]
    columns = {
        "where": [_group(sides, row) for row in firsts],
        "side": _texts(firsts, "side"),
        "target": [number(row["target"]) for row in firsts],
        "reached": [f"{row['reached']}/{row['n']}" for row in firsts],
    }
    costs = []  # of every row, its clocks
    for row in firsts:
        group = groups.get_group(tuple(row[name] for name in keys))
        costs.append({of_clock["clock"]: of_clock for of_clock in records(group)})
    for clock, head in TARGET_CLOCKS.items():
        if any(by_clock[clock]["n"] for by_clock in costs):
            columns[head] = [interval(by_clock[clock], "median") for by_clock in costs]
    return Section("How fast: to the target", columns, SPEED)


def _cost(sides: Sides) -> Section:
    """Medians of COSTS, and their ratios to those of the first side."""
    frame = cost(sides)
    rows = records(frame)
    columns = {"where": [_group(sides, row) for row in rows], "side": _texts(rows, "side")}
    for name, head in with_values(COSTS, frame).items():
        columns[head] = [number(row[name]) for row in rows]
        columns[f"{head}, ratio"] = [number(row[f"{name}_ratio"]) for row in rows]
    note = COST.format(sides.names[0])
    if COSTS["workloads_per_g_step"] in columns:
        note += IN_WORKLOADS
    return Section("At what cost", columns, note)


def _reliability(sides: Sides) -> Section:
    """The number of runs with each verdict."""
    frame = reliability(sides)
    rows = records(frame)
    columns = {"where": [_group(sides, row) for row in rows], "side": _texts(rows, "side")}
    for verdict in frame.columns:
        if verdict not in (*sides.by, "side"):
            columns[verdict] = _texts(rows, verdict)
    return Section("How reliable: runs by verdict", columns)


def _compared(sides: Sides) -> Section:
    """Cells, seeds, devices and code of every side."""
    heads = ["side", "cells finished", "seeds", "stale cells", *ORIGINS.values()]
    columns: dict[str, list[str]] = {head: [] for head in heads}
    for name in sides.names:
        cells = sides.cells[sides.cells["side"] == name]
        finished = cells["status"].isin(FINISHED).sum()
        columns["side"].append(name)
        columns["cells finished"].append(f"{finished}/{len(cells)}")
        columns["seeds"].append(str(cells["seed"].nunique()))
        columns["stale cells"].append(str(cells["stale"].sum()))
        for column, head in ORIGINS.items():
            columns[head].append(", ".join(map(str, cells[column].dropna().unique())) or "–")
    return Section("What was compared", columns, " ".join(sides.notes))


def _texts(rows: list[Record], column: str) -> list[str]:
    return [str(row[column]) for row in rows]


def _group(sides: Sides, row: Record) -> str:
    """The name of a row's group: its place; between result sets, its objective too."""
    if "objective" in sides.by:
        return f"{row['objective']}, {place(row)}"
    return place(row)


def _iqm(value: float, diverged: int) -> str:
    return f"{number(value)}, {diverged} diverged" if diverged else number(value)
