"""Who wins where, and is it separated? A sentence per place and budget; tables in leaderboards."""

import math

import pandas as pd

from benchmark.analysis.evidence import ALPHA, COMPARED_AT, Evidence
from benchmark.analysis.robustness import crossed
from benchmark.analysis.scores import clock_fault, statuses, why_unranked
from benchmark.metrics import metric, short_name
from benchmark.report.chapters.leaderboards import (
    UNCLEAR,
    Summary,
    comparisons,
    leaderboard,
    other_metrics,
    over_places,
    robustness_table,
    summary_by_key,
    summary_key,
)
from benchmark.report.page import (
    TRAINING_BUDGETS,
    Chapter,
    Item,
    at_place,
    place,
    places,
    records,
    tags_of,
)
from benchmark.text import Record, interval, number, plural, wins

NO_EQUAL_TIME = "Not compared at equal raced seconds: "
EQUAL_COST_NAMES = {
    "equal_compute": "compute ({} critic forward-equivalents)",
    "equal_time": "raced seconds ({} s)",
}


def chapter(evidence: Evidence) -> Chapter:
    """Who leads at equal generator steps and at equal cost, and is it separated?"""
    tables = evidence.tables
    cells = tables.cells
    summary = summary_by_key(tables)
    result = Chapter("where", "Who wins where, and is it separated?", [_how_tested(evidence)])
    for row in places(cells):
        lines = _leaders(evidence, row, summary)
        result.items.append(Item(place(row), lines, tags_of(row)))
    result.tables += [robustness_table(tables, dataset) for dataset in crossed(cells)]
    result.tables += [leaderboard(evidence, row, summary) for row in places(cells)]
    if len(evidence.overall):
        result.tables.append(over_places(evidence))
    result.tables += [comparisons(evidence), *other_metrics(tables)]
    return result


def _how_tested(evidence: Evidence) -> str:
    reference = evidence.tables.matrix.reference
    tested = "all pairs of objectives are tested"
    if reference:
        tested = (
            f"every objective is tested against {reference}, the reference that the matrix names"
        )
    return (
        f"At each budget {tested}, seed by seed, by the exact sign test. {_error_rate(evidence)} "
        "Brackets hold exact 95 % intervals over seeds (93.75 % at five seeds)."
    )


def _error_rate(evidence: Evidence) -> str:
    """How often a report like this one makes a false claim."""
    comparisons = len(evidence.compared)
    if comparisons < 2:
        return f"A false claim has a probability of {ALPHA:.0%} at most."
    return (
        f"Holm's correction is over all {comparisons} comparisons of this report: the probability "
        f'that any "better" or "worse" in it is false is {ALPHA:.0%} at most.'
    )


def _leaders(evidence: Evidence, at: Record, summary: Summary) -> list[str]:
    """A sentence for each budget at which the objectives of a place are compared."""
    leaders = {row["of"]: row for row in records(at_place(evidence.leaders, at))}
    cells = at_place(evidence.tables.cells, at)
    if not leaders:
        return [f"{why_unranked(cells, evidence.tables.primary.get(at['dataset']))}."]
    lines = []
    for budget in COMPARED_AT:
        if budget in leaders:
            lines.append(leader_sentence(evidence, leaders[budget], summary))
    if "equal_time" not in leaders:
        lines.append(f"{NO_EQUAL_TIME}{_no_equal_time(cells)}.")
    return lines


def _no_equal_time(cells: pd.DataFrame) -> str:
    """Why the objectives of a place are not compared at equal raced seconds."""
    if (cells["status"] != "done").all():
        return f"no run is done ({statuses(cells)})"
    return clock_fault(cells) or "a race has not timed every objective"


def leader_sentence(evidence: Evidence, leader: Record, summary: Summary) -> str:
    """Who leads at a budget and by how much, and who is separated from whom. leader: a row of
    `evidence.leaders`."""
    budget = _budget(evidence, leader)
    first = summary[summary_key(leader, leader["first"])]
    if not first["n"]:
        return f"{budget}: every finished run diverged."
    if math.isinf(first["median"]):
        return f"{budget}: of every objective half of the finished runs or more diverged."
    ranking = metric(leader["metric"])
    shown = short_name(leader["metric"])
    best = "lowest" if ranking.direction == "min" else "highest"
    name = _described(leader["first"], first)
    finished = first["n"] + first["diverged"]
    if 2 * finished <= first["n_expected"]:
        return (
            f"{budget}: no leader yet: {name} has the {best} {shown}, of {finished} of "
            f"{plural(first['n_expected'], 'seed')}."
        )
    if not leader["second"]:
        return f"{budget}: {name} has the {best} {shown}, the only objective with a finished run."
    second = summary[summary_key(leader, leader["second"])]
    next_name = _described(leader["second"], second)
    sentence = f"{budget}: {name} has the {best} {shown}; next {next_name}"
    if (first["median"], first["diverged"]) == (second["median"], second["diverged"]):
        sentence = f"{budget}: {name} and {next_name} share the {best} {shown}"
    if leader["n"]:
        sentence += f"; the first is better on {wins(leader)} shared seeds"
    compared = at_place(evidence.compared, leader)
    compared = compared[compared["of"] == leader["of"]]
    if leader["reference"]:
        return sentence + _against_reference(leader, compared)
    return sentence + _among_all_pairs(leader, compared)


def _described(name: str, values: Record) -> str:
    """`wgan (24.1 [23, 25.2], n = 4/5, 1 diverged)`."""
    notes = [interval(values)]
    if values["n"] < values["n_expected"]:
        notes.append(f"n = {values['n']}/{values['n_expected']}")
    if values["diverged"]:
        notes.append(f"{values['diverged']} diverged")
    return f"{name} ({', '.join(notes)})"


def _against_reference(leader: Record, compared: pd.DataFrame) -> str:
    """The end of the sentence where objectives are tested against the reference."""
    parts = []
    for verdict in ("better", "worse", UNCLEAR):
        rows = compared[compared["verdict"] == verdict]
        if rows.empty:
            continue
        names = "all" if len(rows) == len(compared) else ", ".join(rows["first"])
        reasons = rows["why"].unique()
        reason = _in_brackets(reasons[0]) if len(reasons) == 1 else ""
        parts.append(f"{verdict}: {names}{reason}")
    untested = "" if leader["verdict"] else ", not tested against one another"
    return f"{untested}. Against {leader['reference']}: {'; '.join(parts)}."


def _among_all_pairs(leader: Record, compared: pd.DataFrame) -> str:
    """The end of the sentence where all pairs of objectives are tested."""
    reason = _in_brackets(leader["why"])
    pairs = plural(len(compared), "pair")
    separated = (compared["verdict"] != UNCLEAR).sum()
    return f": {leader['verdict']}{reason}. Of all {pairs}, {separated} are separated."


def _in_brackets(reason: str) -> str:
    return f" ({reason})" if reason else ""


def _budget(evidence: Evidence, leader: Record) -> str:
    """`At equal generator steps (600)`: the budget at which a leader leads."""
    tables = evidence.tables
    if leader["of"] in EQUAL_COST_NAMES:
        cost = tables.equal_cost[leader["of"]][leader["dataset"], leader["architecture"]]
        return f"At equal {EQUAL_COST_NAMES[leader['of']].format(number(cost))}"
    budgets = set()
    for entry in tables.matrix.cells:
        if place(vars(entry)) == place(leader):
            training = entry.spec.training
            budgets |= {(name, training[name]) for name in TRAINING_BUDGETS if training.get(name)}
    if len(budgets) != 1:
        return "At the end of training (budgets differ)"
    name, amount = budgets.pop()
    return f"At equal {TRAINING_BUDGETS[name]} ({amount:,g})"
