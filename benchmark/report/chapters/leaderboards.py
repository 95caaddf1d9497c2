"""The tables of the chapter `winners`: robustness, leaderboards, all comparisons, other metrics."""

import math
from typing import Any

import pandas as pd

from benchmark.analysis.evidence import ALPHA, COMPARED_AT, Evidence
from benchmark.analysis.robustness import lost, robustness
from benchmark.analysis.scores import why_unranked
from benchmark.analysis.tables import Tables
from benchmark.analysis.targets import has_way, share_of_way
from benchmark.analysis.verdicts import VERDICTS
from benchmark.metrics import full_name, short_name
from benchmark.report.page import (
    Table,
    Tags,
    at_place,
    floor_text,
    marks_text,
    place,
    records,
    tags_of,
)
from benchmark.text import Record, interval, number, wins

Summary = dict[tuple[str, ...], Record]
"""Rows of the table `summary` by `summary_key`."""

HEADS = {
    "final": "final",
    "equal_compute": "at equal compute",
    "equal_time": "at equal raced seconds",
    "best": "best, at step",
    "area": "area",
}
"""What the leaderboard shows of a run, and the heads of its columns."""

UNCLEAR = "not separated"
ROBUSTNESS = (
    "{}: median of the final value over the seeds that finished [exact 95 % interval, 93.75 % at "
    "five seeds, none below]. A seed that diverged is the worst value; other lost seeds count with "
    "their value."
)
LEADERBOARD = (
    "{}: median over the seeds that finished [exact 95 % interval, 93.75 % at five seeds, none "
    "below], in the order of the final value, a diverged seed being the worst. Noise floor, real "
    "against held-out: {}."
)
OVERALL = (
    "Over the places that every objective has finished runs in. Rank: by the median, averaged over "
    "places. Way: from the untrained generator (0) to the noise floor (1) on the logarithm of the "
    "metric, the median over seeds, averaged over places. Neither depends on a metric's unit; "
    "none of the three has an interval: places are no sample, and may share batches. Wins: over "
    "the seeds of all places."
)
COMPARED = (
    "Difference: median over the shared seeds, on which a run that diverged is the worst [exact 95 "
    "% interval]. Wins: shared seeds on which the first is better [exact 95 % interval of their "
    "share]. p: the exact sign test's, which asks whether the first is better on more seeds than "
    "it is worse on, or on fewer; corrected by Holm over this table. Better or worse: p ≤ "
    f"{ALPHA:g}."
)
COMPARED_HEADS = [
    "where", "budget", "first", "second", "first − second", "wins", "p, Holm", "verdict",
    "why not separated",
]  # fmt: skip


def summary_by_key(tables: Tables) -> Summary:
    """The table `summary` for look-ups."""
    return {summary_key(row, row["objective"]): row for row in records(tables.summary)}


def summary_key(row: Record, objective: str) -> tuple[str, ...]:
    """The key of an objective at the place, metric and `of` of a row."""
    return (row["dataset"], row["architecture"], objective, row["metric"], row["of"])


def robustness_table(tables: Tables, dataset: str) -> Table:
    """Architecture x objective: the primary metric's final value, and how many seeds were lost and
    how."""
    rows = robustness(tables, dataset)
    objectives = list(rows["objective"].unique())
    column = tables.primary.get(dataset)
    if column is None:
        reason = why_unranked(tables.cells[tables.cells["dataset"] == dataset], None)
        note = f"Without values: {reason}."
    else:
        note = ROBUSTNESS.format(full_name(column, dataset))
    table = Table(
        f"{dataset}: which objective trains which architecture?",
        ["architecture", *objectives],
        note=note,
        tags={"dataset": [dataset]},
        column_tags=[{}, *({"objective": [name]} for name in objectives)],
    )
    texts = {}
    for row in records(rows):
        texts[row["architecture"], row["objective"]] = "\n".join([interval(row), *lost(row)])
    for name in rows["architecture"].unique():
        values = [texts.get((name, objective), "not in the matrix") for objective in objectives]
        table.add([name, *values], {"architecture": [name]})
    failures = [name for name in VERDICTS if name != "ok"]
    none_lost = rows[[*failures, "unfinished"]].sum(axis=1) == 0
    counts = none_lost.groupby(rows["objective"], sort=False).agg(["sum", "size"])
    shares = [f"{n} of {total}" for n, total in counts.to_numpy().tolist()]
    table.add(["no seed lost", *shares], {})
    return table


def leaderboard(evidence: Evidence, at: Record, summary: Summary) -> Table:
    """The primary metric's final, equal-time, best and area side by side, the noise floor, and what
    is separated."""
    tables = evidence.tables
    leaders = at_place(evidence.leaders, at)
    if leaders.empty:
        return Table(place(at), ["objective"], tags=tags_of(at))
    column = tables.primary[at["dataset"]]
    reference = leaders["reference"].iloc[0]
    floor = tables.floor(at["dataset"], column)
    rows = _runs(evidence, at, column, summary)
    has_diverged = any(row["final"]["diverged"] for row in rows.values())
    against = f"against {reference}" if reference else "better than"
    known = floor_text(tables, at["dataset"], column) + marks_text(tables, at["dataset"], column)
    table = Table(
        f"{place(at)}: {full_name(column, at['dataset'])}",
        ["objective", "n"],
        note=LEADERBOARD.format(short_name(column), known),
        tags=tags_of(at),
    )
    if has_diverged:
        table.columns.append("diverged")
    table.columns += HEADS.values()
    untrained = tables.untrained.get((at["dataset"], at["architecture"]), math.nan)
    is_on_scale = has_way(column, untrained, floor)
    if is_on_scale:
        table.columns.append("way to the floor")
    table.columns += [f"{against}, {HEADS[budget]}" for budget in COMPARED_AT]
    steps = _best_steps(at_place(tables.cells, at), column)
    compared = at_place(evidence.compared, at)
    for name, values in rows.items():
        final = values["final"]
        cells = [name, f"{final['n']}/{final['n_expected']}"]
        if has_diverged:
            cells.append(str(final["diverged"]))
        cells += [_value(of, row, steps.get(name)) for of, row in values.items()]
        if is_on_scale:
            way = share_of_way(final["median"], untrained, floor)
            cells.append("–" if math.isnan(way) else f"{way:z.0%}")
        for budget in COMPARED_AT:
            cells.append(_against(compared[compared["of"] == budget], name, reference))
        table.add(cells, {"objective": [name]})
    return table


def _runs(
    evidence: Evidence, at: Record, column: str, summary: Summary
) -> dict[str, dict[str, Record]]:
    """Of every objective of a place, the best first, the rows of `summary` by HEADS."""
    ranked = at_place(evidence.ranks, at)["objective"]
    known = at_place(evidence.tables.cells, at)["objective"]
    rows = {}
    for name in dict.fromkeys([*ranked, *known]):
        keys = {of: (at["dataset"], at["architecture"], name, column, of) for of in HEADS}
        rows[name] = {of: summary[key] for of, key in keys.items()}
    return rows


def _best_steps(cells: pd.DataFrame, column: str) -> dict[Any, float]:
    """The median generator step of the best evaluation, by objective, of the runs that are done."""
    done = cells[cells["status"] == "done"]
    return done.groupby("objective")[f"{column}:best_g_step"].median().to_dict()


def _value(of: str, row: Record, best_step: float | None) -> str:
    """A value with its interval on a line of its own; of the best value also its step."""
    value, *ends = interval(row).split(" [")
    if of == "best" and best_step is not None:
        value += f" at {number(best_step)}"
    return "\n[".join([value, *ends])


def _against(compared: pd.DataFrame, name: str, reference: str) -> str:
    """What the comparisons of one place and budget say of an objective: its verdict against the
    reference, or the objectives that it is better than."""
    if reference:
        if name == reference:
            return "reference"
        for row in records(compared[compared["first"] == name]):
            return f"{row['verdict']}\n{interval(row, 'difference')}"
        return "–"
    is_better = (compared["first"] == name) & (compared["verdict"] == "better")
    is_worse = (compared["second"] == name) & (compared["verdict"] == "worse")
    behind = [*compared[is_better]["second"], *compared[is_worse]["first"]]
    return ", ".join(behind) or "–"


def over_places(evidence: Evidence) -> Table:
    """Every objective over all places together."""
    reference = evidence.tables.matrix.reference
    table = Table("Over all places", ["objective", "runs", "mean rank", "way"], note=OVERALL)
    if reference:
        table.columns.append(f"wins over {reference}")
    for row in records(evidence.overall):
        cells = [row["objective"], str(row["n"]), number(row["rank"]), f"{row['way']:.0%}"]
        if reference:
            is_reference = row["objective"] == reference
            won = f"{row['wins']:.0f} of {row['pairs']:.0f}"
            cells.append("reference" if is_reference else won)
        table.add(cells, {"objective": [row["objective"]]})
    return table


def comparisons(evidence: Evidence) -> Table:
    """Every comparison of the matrix."""
    table = Table("All comparisons", COMPARED_HEADS, note=COMPARED, folded=True)
    for row in records(evidence.compared):
        cells = [place(row), HEADS[row["of"]], row["first"], row["second"]]
        cells += [interval(row, "difference"), wins(row)]
        cells += [number(row["p_holm"]), row["verdict"], row["why"]]
        tags: Tags = {**tags_of(row), "objective": [row["first"], row["second"]]}
        table.add(cells, tags)
    return table


def other_metrics(tables: Tables) -> list[Table]:
    """A table per dataset: the final values of the metrics that do not rank, and the noise floor of
    each metric."""
    rows = tables.summary[tables.summary["of"] == "final"]
    rows = rows[rows["metric"] != rows["dataset"].map(tables.primary)]
    return [
        _other_metrics(tables, str(dataset), per_dataset)
        for dataset, per_dataset in rows.groupby("dataset", sort=False)
    ]


def _marks(tables: Tables, dataset: str, columns: list[str]) -> list[str]:
    """`uniform random text: Share of distinct samples 1`: each mark of a dataset, on some
    columns."""
    marks: dict[str, list[str]] = {}
    for column in columns:
        for name, value in tables.marks(dataset, column).items():
            marks.setdefault(name, []).append(f"{short_name(column)} {number(value)}")
    return [f"{name}: {', '.join(values)}" for name, values in marks.items()]


def _other_metrics(tables: Tables, dataset: str, rows: pd.DataFrame) -> Table:
    columns = list(rows["metric"].unique())
    floors = {name: floor_text(tables, dataset, name) for name in columns}
    known = ", ".join(f"{short_name(name)} {floor}" for name, floor in floors.items())
    marks = "".join(f" {text}." for text in _marks(tables, dataset, columns))
    table = Table(
        f"{dataset}: other metrics, final",
        ["architecture", "objective", *map(short_name, columns)],
        note=f"Median [exact 95 % interval]. Noise floors: {known}.{marks}",
        folded=True,
        tags={"dataset": [dataset]},
    )
    for _, group in rows.groupby(["architecture", "objective"], sort=False):
        first = records(group)[0]
        values = {row["metric"]: interval(row) for row in records(group)}
        texts = [values.get(name, "–") for name in columns]
        table.add([first["architecture"], first["objective"], *texts], tags_of(first))
    return table
