"""The leaderboard of a place: what every objective reached, with a dot and its interval per row."""

import math
from collections import Counter
from typing import Any

import pandas as pd
from matplotlib.colors import to_hex

from benchmark.analysis.evidence import COMPARED_AT, OPPOSITE, Evidence
from benchmark.analysis.robustness import nothing_learnt, why_no_ranking
from benchmark.analysis.scores import EQUAL_COST
from benchmark.analysis.search.finals import is_pick
from benchmark.analysis.tables import Tables
from benchmark.analysis.targets import has_way, share_of_way
from benchmark.analysis.verdicts import VERDICTS
from benchmark.drawing.style import style
from benchmark.metrics import full_name, metric
from benchmark.report.forest import Dot, axis_of
from benchmark.report.page import Table, TableRow, at_place, floor_text, place, records, tags_of
from benchmark.text import Record, capitalised, interval, number

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

LEADERBOARD = (
    "Median over the seeds that finished [exact 95 % interval, 93.75 % at five seeds], in the "
    "order of {}. Real samples: held-out against held-out ones, the noise floor ± its standard "
    "deviation. Hollow: not separated at the end. The chips are verdicts {}."
)
WAY = (
    " Way to real: from the untrained generator (0 %) to real samples (100 %) on the logarithm of "
    "the metric."
)
PICKS = " Tuned objectives are compared with one another in the chapter on tuning."
ALL_PAIRS = "among all pairs: +3 −1 is better than three objectives and worse than one"


def summary_by_key(tables: Tables) -> Summary:
    """The table `summary` for look-ups."""
    return {summary_key(row, row["objective"]): row for row in records(tables.summary)}


def summary_key(row: Record, objective: str) -> tuple[str, ...]:
    """The key of an objective at the place, metric and `of` of a row."""
    return (row["dataset"], row["architecture"], objective, row["metric"], row["of"])


def leaderboard(evidence: Evidence, at: Record, summary: Summary) -> Table:
    """The primary metric at the end and at equal cost, with what is separated, and best and area
    where they say more. Real samples and an untrained generator are rows of it."""
    tables = evidence.tables
    column = tables.primary.get(at["dataset"])
    runs = _runs(evidence, at, column, summary) if column else {}
    if column is None or not any(row["final"]["n"] for row in runs.values()):
        reason = why_no_ranking(tables, at["dataset"], at["architecture"])
        return Table(place(at), ["objective"], note=f"{reason}.", tags=tags_of(at))
    compared = at_place(evidence.compared, at)
    heads = _heads(runs, len(compared) > 0)
    idle = nothing_learnt(tables, at["dataset"], at["architecture"])
    reference = reference_of(evidence, at)
    order = "the matrix" if idle else "the final value, a diverged seed being the worst"
    against = f"against {reference}" if reference else ALL_PAIRS
    note = LEADERBOARD.format(order, against)
    if compared.empty:
        note = note.partition(" Hollow")[0]
    if any(map(is_pick, runs)):
        note += PICKS
    if idle:
        note = f"{capitalised(idle)}. {note}"
    table = Table(
        f"{place(at)}: {full_name(column, at['dataset'])}",
        ["objective", *heads.values()],
        note=note,
        tags=tags_of(at),
    )
    floor = tables.floor(at["dataset"], column)
    untrained = tables.untrained.get((at["dataset"], at["architecture"]), math.nan)
    is_on_scale = has_way(column, untrained, floor) and not idle
    if is_on_scale:
        table.columns.append("way to real")
        table.note += WAY
    table.columns.append("seeds")
    steps = _best_steps(at_place(tables.cells, at), column)
    losses = _losses(evidence, at)
    tested = {*compared["first"], *compared["second"]}
    for name, values in runs.items():
        cells = [name]
        for of in heads:
            cells.append(_value(of, values[of], steps.get(name)))
            if of in COMPARED_AT and name in tested:
                contest = compared[compared["of"] == of]
                cells[-1] += f"\n{verdict_of(contest, name, reference)}"
        if is_on_scale:
            way = share_of_way(values["final"]["median"], untrained, floor)
            cells.append(f"{way:z.0%}".replace("-", "−") if math.isfinite(way) else "–")
        cells.append(_seeds(values["final"], losses.get(name, [])))
        dot = _dot(name, values["final"], "not separated" in cells[1])
        table.rows.append(TableRow(cells, {"objective": [name]}, dot))
    _add_marks(table, evidence, at, column)
    return table


def _heads(runs: dict[str, dict[str, Record]], is_compared: bool) -> dict[str, str]:
    """HEADS of what some objective has; equal cost only between several objectives, best only where
    it is not the final value of all."""
    heads = {}
    for of, head in HEADS.items():
        if len(runs) == 1 and of in EQUAL_COST:
            continue
        medians = [row[of]["median"] for row in runs.values()]
        is_known = not all(map(math.isnan, medians))
        is_final = of == "best" and medians == [row["final"]["median"] for row in runs.values()]
        if is_known and not is_final:
            heads[of] = head
    return heads


def _seeds(final: Record, losses: list[str]) -> str:
    """`12/12`, and a line for each way in which seeds were lost."""
    return "\n".join([f"{final['n']}/{final['n_expected']}", *losses])


def _losses(evidence: Evidence, at: Record) -> dict[str, list[str]]:
    """`2 stuck`: how the seeds of each objective of a place were lost."""
    cells = at_place(evidence.tables.cells, at)
    losses: dict[str, list[str]] = {}
    for name, verdicts in cells.groupby("objective", sort=False)["verdict"]:
        counts = Counter(verdicts.dropna())
        losses[str(name)] = [f"{counts[way]} {way}" for way in VERDICTS[1:] if counts[way]]
    return losses


def _dot(name: str, row: Record, is_hollow: bool) -> Dot:
    look = "hollow" if is_hollow else "filled"
    return Dot(row["median"], row["ci_low"], row["ci_high"], to_hex(style(name)["color"]), look)


def _add_marks(table: Table, evidence: Evidence, at: Record, column: str) -> None:
    """The rows of what no objective made, each before the first row that is worse, and the axis of
    all dots."""
    tables = evidence.tables
    floor = tables.floor(at["dataset"], column)
    texts = {"real samples": floor_text(tables, at["dataset"], column)}
    values = {"real samples": floor}
    others = {"untrained": tables.untrained.get((at["dataset"], at["architecture"]), math.nan)}
    others |= tables.marks(at["dataset"], column)
    for name, value in others.items():
        texts[name], values[name] = number(value), value
    ends = [end for row in table.rows if row.dot for end in row.dot[:3]]
    table.axis = axis_of([*ends, *values.values()], floor, metric(column).primary)
    sign = 1 if metric(column).direction == "min" else -1
    for name, value in values.items():
        if not math.isnan(value):
            cells = [name, texts[name], *[""] * (len(table.columns) - 2)]
            dot = Dot(value, math.nan, math.nan, "none", "mark")
            after = [
                row.dot is not None and sign * row.dot.value > sign * value for row in table.rows
            ]
            place_of = after.index(True) if True in after else len(after)
            table.rows.insert(place_of, TableRow(cells, {}, dot, is_mark=True))


def _runs(
    evidence: Evidence, at: Record, column: str, summary: Summary
) -> dict[str, dict[str, Record]]:
    """Of every objective of a place, the best first, the rows of `summary` by HEADS."""
    ranked = at_place(evidence.ranks, at)["objective"]
    known = at_place(evidence.tables.cells, at)["objective"]
    rows = {}
    for name in dict.fromkeys([*ranked, *known]):
        keys = {of: (at["dataset"], at["architecture"], name, column, of) for of in HEADS}
        if keys["final"] in summary:
            rows[name] = {of: summary[key] for of, key in keys.items()}
    return rows


def _best_steps(cells: pd.DataFrame, column: str) -> dict[Any, float]:
    """The median generator step of the best evaluation, by objective, of the runs that are done."""
    done = cells[cells["status"] == "done"]
    return done.groupby("objective")[f"{column}:best_g_step"].median().to_dict()


def _value(of: str, row: Record, best_step: float | None) -> str:
    """A value with its interval on a line of its own; of the best value also its step."""
    text = interval(row).removesuffix(" [∞, ∞]").replace("∞", "diverged")
    value, *ends = text.split(" [")
    if of == "best" and best_step is not None:
        value += f" at {number(best_step)}"
    return "\n[".join([value, *ends])


def reference_of(evidence: Evidence, at: Record) -> str:
    """The objective that the others of a place are compared with; "" for all pairs."""
    leaders = at_place(evidence.leaders, at)
    return "" if leaders.empty else str(leaders["reference"].iloc[0])


def verdict_of(contest: pd.DataFrame, name: str, reference: str) -> str:
    """What the comparisons of one place and budget say of an objective: its verdict against the
    reference, or, of all pairs (reference ""), `+3 −1`: better than three, worse than one. `–` for
    an objective without a run."""
    rows = contest[(contest["first"] == name) | (contest["second"] == name)]
    if not rows["n"].any():
        return "–"
    if name == reference:
        return "reference"
    if reference:
        return str(rows["verdict"].iloc[0])
    verdicts = rows["verdict"].where(rows["first"] == name, rows["verdict"].map(OPPOSITE))
    ahead, behind = ((verdicts == verdict).sum() for verdict in ("better", "worse"))
    return f"+{ahead} −{behind}" if ahead or behind else "not separated"
