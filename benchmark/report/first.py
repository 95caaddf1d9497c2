"""The first screen: a card per place, and which objective is better or worse, where and when."""

import math
from collections import Counter
from itertools import product

import pandas as pd

from benchmark.analysis.evidence import ALPHA, COMPARED_AT, Evidence
from benchmark.analysis.robustness import why_no_ranking
from benchmark.analysis.scores import PLACE, clock_fault, statuses
from benchmark.analysis.search.finals import is_pick
from benchmark.metrics import full_name, metric
from benchmark.report.chapters.completeness import headline, losses
from benchmark.report.chapters.leaderboards import (
    Summary,
    reference_of,
    summary_by_key,
    summary_key,
    verdict_of,
)
from benchmark.report.designs import drawn
from benchmark.report.page import (
    TRAINING_BUDGETS,
    Card,
    Claim,
    FirstScreen,
    Group,
    Table,
    Tags,
    at_place,
    each_place,
    place,
    records,
    tags_of,
)
from benchmark.text import Record, capitalised, counted, interval, listed, number, plural

NO_EQUAL_TIME = "Not compared at equal raced seconds: "
EQUAL_COST = {
    "equal_compute": "At equal compute ({} critic forwards)",
    "equal_time": "At equal raced seconds ({} s)",
}
BUDGETS = {"final": "end", "equal_compute": "compute", "equal_time": "seconds"}
"""The budgets of COMPARED_AT, as heads of narrow columns."""

BRACKETS = "Brackets: exact 95 % intervals over seeds, 93.75 % at five seeds, none below."
OUTSIDE = "on this page, outside the chapter on tuning,"
LEGEND = (
    "+ better, − worse, · not separated, of all seeds that there could be, by whatever little. "
    "– not known. End: equal generator steps; compute, seconds: equal cost."
)
LEGEND_OF_PAIRS = (
    "+3 −1: better than three objectives of the place, worse than one; the others are not "
    "separated. End: equal generator steps; compute, seconds: equal cost."
)


def first_screen(evidence: Evidence) -> FirstScreen:
    """The answers in short, as the evidence carries them."""
    tables = evidence.tables
    reference = tables.matrix.reference
    summary = summary_by_key(tables)
    cards = [_card(evidence, at, cells, summary) for at, cells in each_place(tables.cells)]
    return FirstScreen(
        headline(tables),
        [*drawn.cards(tables), *cards],
        error_rate(evidence),
        _verdicts(evidence),
        LEGEND if reference else LEGEND_OF_PAIRS,
    )


def error_rate(evidence: Evidence) -> str:
    """How often a report like this one makes a false claim, or that it can make none."""
    sizes = records(evidence.power)
    if not len(evidence.compared):
        return ""
    if all(math.isnan(size["told_share"]) for size in sizes):
        needed = max((size["seeds_asked"] for size in sizes), default=0)
        count = plural(len(evidence.compared), "comparison")
        told = f"No difference can be told from chance here: {count} need {needed} seeds."
        return f"{BRACKETS} {told}"
    where = "on this page" if evidence.tables.tuning is None else OUTSIDE
    return (
        f"{BRACKETS} The probability that any “better” or “worse” {where} is false is "
        f"{ALPHA:.0%} at most."
    )


def _card(evidence: Evidence, at: Record, cells: pd.DataFrame, summary: Summary) -> Card:
    """What is known of a place. cells: those of the place."""
    leaders = {row["of"]: row for row in records(at_place(evidence.leaders, at))}
    if not leaders:
        reason = why_no_ranking(evidence.tables, at["dataset"], at["architecture"])
        sentence = f"{capitalised(reason)}."
        return Card(place(at), _scale(evidence, at), [], [sentence], tags_of(at), False)
    has_rivals = cells["objective"].nunique() > 1
    budgets = COMPARED_AT if has_rivals else ["final"]
    claims = []
    for budget in budgets:
        if budget in leaders:
            claims.append(claim(evidence, leaders[budget], summary, cells))
    reference = str(leaders["final"]["reference"]) if "final" in leaders else ""
    failed = most_failed(cells, reference)
    is_ranked = not _all_diverged(cells)
    if is_ranked and failed and reference not in [claim.leader for claim in claims]:
        claims.append(Claim("The reference", text=f"{reference}, but {failed}"))
    remarks = [losses(cells)]
    if has_rivals and "equal_time" not in leaders:
        remarks.append(f"{NO_EQUAL_TIME}{_no_equal_time(cells)}.")
    return Card(place(at), _scale(evidence, at), claims, remarks, tags_of(at), is_ranked)


def _all_diverged(cells: pd.DataFrame) -> bool:
    return bool((cells["verdict"].dropna() == "diverged").all())


def _scale(evidence: Evidence, at: Record) -> str:
    """`Sliced Wasserstein distance (gaussians8, n = 2,000). Lower is better: real samples 0.11, an
    untrained generator 55`. Empty where no metric ranks."""
    tables = evidence.tables
    column = tables.primary.get(at["dataset"])
    if column is None:
        return ""
    better = "lower" if metric(column).direction == "min" else "higher"
    known = {
        "real samples": tables.floor(at["dataset"], column),
        "an untrained generator": tables.untrained.get(
            (at["dataset"], at["architecture"]), math.nan
        ),
    }
    marks = [f"{name} {number(value)}" for name, value in known.items() if not math.isnan(value)]
    ending = f": {', '.join(marks)}" if marks else ""
    return f"{full_name(column, at['dataset'])}. {better.capitalize()} is better{ending}"


def most_failed(cells: pd.DataFrame, name: str) -> str:
    """`all of its runs failed (5 collapsed)`, `3 of its 5 runs failed (3 stuck)`; empty where at
    most half of the runs of an objective at a place show a failure."""
    verdicts = cells[cells["objective"] == name]["verdict"].dropna()
    failures = Counter(verdicts[verdicts != "ok"])
    num_failed = sum(failures.values())
    if 2 * num_failed <= len(verdicts):
        return ""
    shares = "all of its" if num_failed == len(verdicts) else f"{num_failed} of its {len(verdicts)}"
    return f"{shares} runs failed ({counted(failures)})"


def _no_equal_time(cells: pd.DataFrame) -> str:
    """Why the objectives of a place are not compared at equal raced seconds."""
    if (cells["status"] != "done").all():
        return f"no run is done ({statuses(cells)})"
    return clock_fault(cells) or "a race has not timed every objective"


def claim(evidence: Evidence, leader: Record, summary: Summary, cells: pd.DataFrame) -> Claim:
    """Who leads at a budget, by what values, and whether that is separated. leader: a row of
    `evidence.leaders`. cells: those of its place."""
    budget = _budget(evidence, leader)
    name = leader["first"]
    first = summary[summary_key(leader, name)]
    if not first["n"]:
        return Claim(budget, text="Every finished run diverged")
    if math.isinf(first["median"]):
        return Claim(budget, text="Half of the finished runs of every objective or more diverged")
    finished = first["n"] + first["diverged"]
    if 2 * finished <= first["n_expected"]:
        seeds = plural(first["n_expected"], "seed")
        text = f"No leader yet; ahead is {name} with {interval(first)}, on {finished} of {seeds}"
        return Claim(budget, text=text)
    if cells["objective"].nunique() == 1:
        text = f"has reached {_values(first)}; no other objective was run"
        return Claim("At the end of training", name, text)
    if not leader["second"]:
        text = f"is the only objective with a finished run, {_values(first)}"
        return Claim(budget, name, text)
    second = summary[summary_key(leader, leader["second"])]
    if (first["median"], first["diverged"]) == (second["median"], second["diverged"]):
        return Claim(budget, f"{name} and {leader['second']}", f"lead with equal {_values(first)}")
    failed = most_failed(cells, name)
    verb = "is ahead" if failed else "leads"
    result = _led(evidence, leader, Claim(budget, name, f"{verb} with {_values(first)},"))
    result.after += f", but {failed}" if failed else ""
    return result


def _values(values: Record) -> str:
    """`0.96 [0.94, 1.11] over 12 seeds, 1 diverged`."""
    seeds = plural(values["n"], "seed")
    if values["n"] < values["n_expected"]:
        seeds = f"{values['n']} of {values['n_expected']} seeds"
    diverged = f", {values['diverged']} diverged" if values["diverged"] else ""
    return f"{interval(values)} over {seeds}{diverged}".replace("∞", "diverged")


def _led(evidence: Evidence, leader: Record, result: Claim) -> Claim:
    """The claim with what the tests say of the leader."""
    compared = at_place(evidence.compared, leader)
    compared = compared[compared["of"] == leader["of"]]
    name, reference = leader["first"], leader["reference"]
    is_search_alone = compared.empty and evidence.tables.tuning is not None
    if is_pick(name) or is_search_alone:
        rivals = "the others that were tuned" if is_pick(name) else "what was tuned"
        result.text = result.text.removesuffix(",")
        result.after = f"; the chapter on tuning compares it with {rivals}"
        return result
    if compared.empty:
        result.text += " untested: crossed seeds are no independent pairs"
        return result
    if not reference:
        result.verdict, result.after = leader["verdict"], _than(leader["verdict"], leader["second"])
        result.after += ", the next"
        return result
    others = {}
    for verdict in ("better", "worse"):
        rows = compared[(compared["verdict"] == verdict) & (compared["first"] != name)]
        others[verdict] = list(rows["first"])
    if name == reference:
        result.text += " the"
        result.verdict = "reference"
        for verdict, names in others.items():
            if names:
                result.after += f"; {verdict}: {listed(names)}"
        return result
    result.verdict = verdict_of(compared, name, reference)
    result.after = _than(result.verdict, reference)
    if others["better"]:
        also = "so" if result.verdict == "better" else "better"
        verb = "is" if len(others["better"]) == 1 else "are"
        result.after += f"; {also} {verb} {listed(others['better'])}"
    return result


def _than(verdict: str, name: str) -> str:
    word = "from" if verdict == "not separated" else "than"
    return f" {word} {name}"


def _budget(evidence: Evidence, leader: Record) -> str:
    """`At equal generator steps (600)`: the budget at which a leader leads."""
    tables = evidence.tables
    if leader["of"] in EQUAL_COST:
        cost = tables.equal_cost[leader["of"]][leader["dataset"], leader["architecture"]]
        return EQUAL_COST[leader["of"]].format(number(float(f"{cost:.3g}")))
    budgets = set()
    for entry in tables.matrix.cells:
        if (entry.dataset, entry.architecture) == (leader["dataset"], leader["architecture"]):
            training = entry.spec.training
            budgets |= {(name, training[name]) for name in TRAINING_BUDGETS if training.get(name)}
    if len(budgets) != 1:
        return "At the end of training (budgets differ)"
    name, amount = budgets.pop()
    return f"At equal {TRAINING_BUDGETS[name]} ({amount:,g})"


def _verdicts(evidence: Evidence) -> Table | None:
    """Objective x (place, budget): the verdicts; of more places than objectives, turned."""
    compared, reference = evidence.compared, evidence.tables.matrix.reference
    if compared.empty:
        return None
    title = "Which objectives are better or worse than others?"
    if reference:
        title = f"Which objectives are better or worse than {reference}?"
    names = list(evidence.tables.cells["objective"].unique())
    names = [name for name in names if not is_pick(name)]
    here = list(each_place(compared))
    budgets = [budget for budget in COMPARED_AT if (compared["of"] == budget).any()]
    has_died = {place(at): _all_diverged(cells) for at, cells in each_place(evidence.tables.cells)}
    texts = {}
    for (at, rows), name, budget in product(here, names, budgets):
        contest = rows[(rows["of"] == budget) & (not has_died[place(at)])]
        texts[name, place(at), budget] = verdict_of(contest, name, reference_of(evidence, at))
    objectives: dict[str, Tags] = {name: {"objective": [name]} for name in names}
    where: dict[str, Tags] = {place(at): {axis: [at[axis]] for axis in PLACE} for at, _ in here}
    is_turned = len(where) > len(objectives)  # the fewer ones stand side by side
    lines, groups = (where, objectives) if is_turned else (objectives, where)
    table = Table(title, ["place" if is_turned else "objective"], column_tags=[{}])
    for group, tags in groups.items():
        table.groups.append(Group(group, len(budgets), tags))
        table.columns += [BUDGETS[budget] for budget in budgets]
        table.column_tags += [tags] * len(budgets)
    for line, tags in lines.items():
        cells = [line]
        for group, budget in product(groups, budgets):
            name, at_line = (group, line) if is_turned else (line, group)
            cells.append(texts[name, at_line, budget])
        table.add(cells, tags)
    return table
