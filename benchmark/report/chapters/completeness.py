"""Did everything run? The report's first line, counts by status, and what was held equal."""

from collections import Counter

import pandas as pd

from benchmark.analysis.evidence import Evidence
from benchmark.analysis.scores import PLACE, statuses
from benchmark.analysis.search.finals import pool_cells
from benchmark.analysis.tables import Tables
from benchmark.analysis.verdicts import VERDICTS
from benchmark.report.page import (
    TRAINING_BUDGETS,
    Chapter,
    Item,
    Table,
    at_place,
    place,
    places,
    tags_of,
)
from benchmark.store import data_lines
from benchmark.store.schema import FINISHED
from benchmark.text import listed, place_name, plural, spanned, text

COMPLETE = "Yes: every cell ran to its end, or to its divergence."
INCOMPLETE = "No: what has not finished is a hole, and shows as n below the number of seeds."
OWN_RECIPES = (
    "each objective with its own paper's optimiser, unless its label names another: recipes are "
    "compared, not losses alone"
)
ONE_RECIPE = "one optimiser for all objectives ({}): losses are compared, at no paper's settings"
MOST_PLACES = 12
"""Places of a table that is shown at once."""
MOST_NAMED = 3
"""Objectives that a card names of those with failed runs; one more rather than counting one."""


def headline(tables: Tables) -> str:
    """`70/70 cells finished, 2 diverged`, then other verdicts, what is missing, failed or stale."""
    cells = tables.cells
    by_status = cells["status"].value_counts().to_dict()
    diverged = by_status.pop("diverged", 0)
    finished = by_status.pop("done", 0) + diverged
    parts = [f"{finished}/{len(cells)} cells finished", f"{diverged} diverged"]
    verdicts = cells["verdict"].value_counts()
    for name in VERDICTS:
        if name in verdicts and name not in ("ok", "diverged"):
            parts.append(f"{verdicts[name]} {name}")
    parts += [f"{count} {status}" for status, count in by_status.items()]
    stale = int(cells["stale"].sum())
    if stale:
        parts.append(f"{stale} stale (made by other code or options than the present ones)")
    others = pool_cells(tables)
    if len(others):
        what = "drawn architectures" if tables.tuning is None else "pools"
        parts.append(f"and {plural(len(others), 'cell')} of {what} ({statuses(others)})")
    return ", ".join(parts)


def chapter(evidence: Evidence) -> Chapter:
    """Cells by place and status, and what was held equal in each place."""
    tables = evidence.tables
    return Chapter(
        "ran",
        "Did everything run?",
        [_answer(tables), _size(tables)],
        [*held_equal(tables), *data(tables)],
        [_statuses(tables)],
    )


def _answer(tables: Tables) -> str:
    cells = (tables.with_pools or tables).cells
    answer = COMPLETE if cells["status"].isin(FINISHED).all() else INCOMPLETE
    stale = int(cells["stale"].sum())
    if stale:
        count = plural(stale, "cell")
        answer += (
            f" Stale, made by other code or evaluation options than the present ones: {count}."
        )
    return answer


def _size(tables: Tables) -> str:
    cells = tables.cells
    objectives = plural(cells["objective"].nunique(), "objective")
    count = plural(len(places(cells)), "place")
    seeds = spanned(cells.groupby([*PLACE, "objective"])["seed"].nunique(), "seed")
    return f"Compared: {objectives} in {count} (an architecture on a dataset), {seeds} each."


def _statuses(tables: Tables) -> Table:
    cells = (tables.with_pools or tables).cells
    by_status = list(cells["status"].value_counts().index)
    title = "Cells by status"
    table = Table(title, ["where", "cells", *by_status, "stale"])
    here = places(cells)
    table.fold = title if len(here) > MOST_PLACES else ""
    for row in here:
        rows = at_place(cells, row)
        counts = [(rows["status"] == status).sum() for status in by_status]
        numbers = [len(rows), *counts, rows["stale"].sum()]
        table.add([place(row), *map(str, numbers)], tags_of(row))
    return table


def losses(cells: pd.DataFrame) -> str:
    """How many runs of a place show a failure, or have not finished."""
    runs = plural(len(cells), "run")
    failed = cells[cells["verdict"].notna() & (cells["verdict"] != "ok")]
    parts = []
    if len(failed):
        ways = "; ".join(
            f"{n} {way}: {_shares(cells, failed[failed['verdict'] == way])}"
            for way, n in Counter(failed["verdict"]).most_common()
        )
        parts.append(f"Failed: {len(failed)} of {runs} ({ways})")
    unfinished = cells[~cells["status"].isin(FINISHED)]
    if len(unfinished):
        parts.append(f"Not finished: {len(unfinished)} of {runs} ({statuses(unfinished)})")
    return f"{'. '.join(parts)}." if parts else f"No failure was seen in {runs}."


def _shares(cells: pd.DataFrame, failed: pd.DataFrame) -> str:
    """`wgan 5 of 5, lsgan 2 of 5`: how many runs of each objective are among the failed ones."""
    totals = cells["objective"].value_counts().to_dict()
    counts = failed["objective"].value_counts()
    num_named = MOST_NAMED if len(counts) > MOST_NAMED + 1 else len(counts)
    parts = [f"{name} {n} of {totals[name]}" for name, n in counts[:num_named].items()]
    more = counts[num_named:]
    if len(more):
        parts.append(f"{more.sum()} more in {len(more)} other objectives")
    return ", ".join(parts)


def held_equal(tables: Tables) -> list[Item]:
    """What was held equal in each place: each paper's own optimiser or one for all, and the
    training budget. Architectures that share it share a line."""
    architectures: dict[tuple[str, str], list[str]] = {}  # by (dataset, sentence)
    for entry in tables.matrix.cells:
        training = entry.spec.training
        budgets = {}
        for name, label in TRAINING_BUDGETS.items():
            if training.get(name):
                budgets[label] = f"{training[name]:,g}"
        recipe = training.get("recipe", "paper")
        optimiser = OWN_RECIPES if recipe == "paper" else ONE_RECIPE.format(text(recipe))
        sentence = f"{optimiser}. Equal budgets: {text(budgets)}."
        names = architectures.setdefault((entry.dataset, sentence), [])
        if entry.architecture not in names:
            names.append(entry.architecture)
    items = []
    for (dataset, sentence), names in architectures.items():
        items.append(Item(place_name(listed(names), dataset), [sentence], {"dataset": [dataset]}))
    return items


def data(tables: Tables) -> list[Item]:
    """The samples of every dataset. Records of former versions do not have these facts."""
    items = []
    for dataset, protocol in tables.protocols.items():
        facts = protocol.dataset
        if facts.leaks is not None:
            remarks = [*data_lines.corrupt(facts), *data_lines.remarks(facts)]
            sentences = [f"{line}." for line in (data_lines.headline(facts), *remarks)]
            items.append(Item(f"data of {dataset}", sentences, {"dataset": [dataset]}))
    return items
