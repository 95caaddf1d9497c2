"""The report's last chapters: what failed and why, how sure we are, how to reproduce it."""

import math
from pathlib import Path
from typing import Any

import pandas as pd

from benchmark.analysis.evidence import Evidence
from benchmark.analysis.scores import PLACE
from benchmark.analysis.tables import Tables
from benchmark.metrics import metric
from benchmark.report.page import Chapter, Row, Table, Trace, at_place, place, records, tags
from benchmark.text import Record, number, plural, span, text

FAILED = ("error", "timeout", "interrupted")
LOGGED = ["g_step", "d_loss", "g_loss", "d_grad_norm", "g_grad_norm"]
UNJUDGED = {
    "": "status",
    "_onset": "onset",
    "_reason": "reason",
}  # what stands for a verdict that there is none of
SHOWN = 20  # failed cells; more are folded
LAST = 5  # logged rows of a trace
LINES = 15  # of a traceback
COVERAGE = (
    "Intervals are 95 % BCa bootstrap intervals of the IQM over seeds. At 5 seeds they cover the truth 89 % of the "
    "time, at 6 90 %, at 7 91 %, from 8 on 94 %: with five seeds read them as nine in ten."
)
POWER = (
    "Lowest p: the least that a Mann–Whitney test can give at these seeds; where it is above what Holm's first step "
    "asks, nothing can be separated whatever the values, and as many seeds are needed as shown. Told: the smallest "
    "difference told with power 0.8, in standard deviations of a seed, and in the metric's unit at the median one over "
    "objectives. First again: share of resamples of the seeds in which the leader leads. The first two: seeds that "
    "would separate them with power 0.8 if they differ as they do here, in a family of this size."
)


def failures(found: Evidence, folder: Path) -> Chapter:
    """Every cell that failed, with its onset, reason and trace."""
    cells = found.tables.cells
    bad = cells[cells["status"].isin(FAILED) | ~cells["verdict"].fillna("ok").isin(["ok"])]
    chapter = Chapter("failures", "What failed, and why?")
    if bad.empty:
        chapter.answers.append("Nothing: no finished run shows a failure, and none ended early.")
        return chapter
    steps, evals = (
        _by_cell(found.tables.steps, bad["key"]),
        _by_cell(found.tables.evals, bad["key"]),
    )
    primary = found.tables.primary
    table = Table("Cells that are not ok", ["cell", "verdict", "from generator step", "reason"])
    table.folded = len(bad) > SHOWN
    for row in records(bad):
        judged = isinstance(row["verdict"], str)
        verdict, onset, reason = (
            row[f"verdict{part}" if judged else name] for part, name in UNJUDGED.items()
        )
        table.rows.append(Row([row["key"], verdict, number(onset), text(reason)], tags(row)))
        traced = _traced(
            folder, row, steps.get(row["key"]), evals.get(row["key"]), primary.get(row["dataset"])
        )
        if traced:
            chapter.traces.append(Trace(f"{row['key']}: {verdict}", traced, tags(row)))
    counts = bad["verdict"].where(bad["verdict"].notna(), bad["status"]).value_counts(sort=False)
    chapter.answers.append(
        f"{plural(len(bad), 'cell')}: {', '.join(f'{n} {name}' for name, n in counts.items())}."
    )
    chapter.tables.append(table)
    return chapter


def _by_cell(rows: pd.DataFrame, keys: pd.Series) -> dict[str, pd.DataFrame]:
    kept = rows[rows["cell"].isin(keys)]
    return {str(key): of_cell for key, of_cell in kept.groupby("cell", observed=True)}


def _traced(
    folder: Path,
    row: Record,
    steps: pd.DataFrame | None,
    evals: pd.DataFrame | None,
    column: str | None,
) -> str:
    """The end of a traceback; the evaluations and the last logged rows of a run."""
    parts, traceback = [], folder / "cells" / row["key"] / "traceback.txt"
    if row["status"] == "error" and traceback.exists():
        parts.append("\n".join(traceback.read_text(errors="replace").splitlines()[-LINES:]))
    if evals is not None and column:
        of_metric = evals[evals["metric"] == column]
        values = [
            f"{number(v)} at {step:g}"
            for step, v in zip(of_metric["g_steps"], of_metric["value"], strict=True)
        ]
        parts += (
            [f"{metric(column).label} at generator step: {', '.join(values)}"] if values else []
        )
    if steps is not None:
        parts.append(steps[LOGGED].tail(LAST).to_string(index=False, float_format="{:.4g}".format))
    return "\n\n".join(parts)


def sure(found: Evidence) -> Chapter:
    """What the seeds can tell, the ranking's stability, and how many more seeds it would take."""
    chapter = Chapter("certainty", "How sure are we?")
    if found.power.empty:
        chapter.answers.append("Nothing is measured yet.")
        return chapter
    told, said = found.power["smallest_sd"], f"With {span(found.power['n'])} seeds this matrix "
    if told.map(math.isfinite).any():
        said += f"tells differences of {span(told)} standard deviations of a seed or more; smaller ones show as not "
        said += "separated, which does not say that they are not there."
    else:
        said += "cannot tell any difference from chance."
    chapter.answers += [said, COVERAGE]
    heads = [
        "where",
        "seeds",
        "comparisons",
        "lowest p",
        "asked",
        "seeds needed",
        "told, seed SDs",
        "told",
    ]
    table = Table(
        "What the seeds can tell",
        [*heads, "noise floor", "leader", "first again", "the first two: seeds"],
    )
    ranks = found.ranks[found.ranks["rank"] == 1]
    for row in records(found.power):
        of_place = at_place(ranks, row)
        again = of_place[of_place["objective"] == row["first"]]["probability"].iloc[0]
        floor = found.tables.floor(row["dataset"], row["metric"])
        cells = [
            place(row),
            str(row["n"]),
            str(row["comparisons"]),
            number(row["lowest_p"]),
            number(row["asked_p"]),
        ]
        cells += [str(row["seeds_asked"]), number(row["smallest_sd"])]
        cells += [
            f"{number(row['smallest'])} {metric(row['metric']).label}",
            number(floor),
            row["first"],
        ]
        cells += ["–" if math.isnan(again) else f"{again:.0%}", _seeds_top_two(row)]
        table.rows.append(Row(cells, tags(row)))
    table.note = POWER
    chapter.tables.append(table)
    return chapter


def _seeds_top_two(row: Record) -> str:
    if not isinstance(row["second"], str):
        return "–"
    needed = row["seeds_top_two"]
    return "over 100" if needed is None or math.isnan(needed) else number(needed)


def reproduce(tables: Tables) -> Chapter:
    """Commands, commits, environments, recipes, data, licences and protocols."""
    name, commits = (
        tables.matrix["name"],
        [str(commit) for commit in tables.cells["git_commit"].dropna().unique()],
    )
    commands = [
        *([f"git checkout {commits[0]}"] if len(commits) == 1 else []),
        f"make bench MATRIX={name}",
    ]
    commands += [f"ganbench run --matrix {name}", f"ganbench report --matrix {name}"]
    chapter = Chapter(
        "reproduce",
        "How to reproduce it?",
        [f"Matrix {name}, hash {tables.matrix.get('hash', '–')}."],
    )
    chapter.traces.append(Trace("Commands", "\n".join(commands), open=True))
    if description := tables.matrix.get("description"):
        chapter.traces.append(Trace("The matrix in its own words", description))
    data = Table("Data", ["dataset", "source", "licence", "split", "protocol", "extractor"])
    for dataset, entry in tables.protocols.items():
        source, extractor = entry.get("dataset", {}), entry.get("extractor") or {}
        cells = [dataset, *(text(source.get(key)) for key in ("source", "licence", "split"))]
        cells += [text(entry.get("protocol")), text(extractor.get("name"))]
        data.rows.append(Row(cells, {"dataset": [dataset]}))
    chapter.tables += [data, environments(tables), recipes(tables)]
    chapter.tables += [protocol(dataset, entry) for dataset, entry in tables.protocols.items()]
    return chapter


def environments(tables: Tables) -> Table:
    """Where the cells ran: device, torch and commit, with the number of cells of each."""
    columns = ["device", "torch", "git_commit"]
    counts = (
        tables.cells.dropna(subset="device")
        .groupby(columns, sort=False, dropna=False)
        .size()
        .reset_index()
    )
    return Table("Environments", ["device", "torch", "commit", "cells"], _rows(counts))


def recipes(tables: Tables) -> Table:
    """The optimiser and the critic's normalisation each objective ran with."""
    columns = ["objective", *PLACE, "recipe", "norm", "precision", "layout"]
    used = tables.cells[columns].dropna(subset="recipe").drop_duplicates()
    return Table("Recipes", columns, _rows(used), folded=True)


def protocol(dataset: str, entry: dict[str, Any]) -> Table:
    """A dataset's source, licence, split, hash and note; its extractor and accuracy; what its eval
    rows depend on."""
    rows = {"protocol": entry.get("protocol"), **entry.get("dataset", {})}
    rows |= {f"extractor {key}": value for key, value in (entry.get("extractor") or {}).items()}
    rows |= {"measured with": entry.get("parts"), "noise floor": entry.get("floor")}
    cells = [Row([key.replace("_", " "), text(value)]) for key, value in rows.items() if value]
    return Table(
        f"Protocol of {dataset}", ["field", "value"], cells, folded=True, of={"dataset": [dataset]}
    )


def _rows(frame: pd.DataFrame) -> list[Row]:
    return [Row([text(value) for value in row.values()], tags(row)) for row in records(frame)]
