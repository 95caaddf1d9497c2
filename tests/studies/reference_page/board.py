"""The leaderboard over all places: objectives by place, at the end and at equal cost."""

from collections.abc import Sequence

import pandas as pd

from benchmark.analysis.evidence import COMPARED_AT
from benchmark.analysis.search.finals import ENDING, is_pick
from benchmark.metrics import short_name
from benchmark.report.chapters.leaderboards import (
    Summary,
    leaderboard,
    reference_of,
    summary_by_key,
    summary_key,
    verdict_of,
)
from benchmark.report.page import Table, TableRow, at_place
from benchmark.text import interval
from tests.studies.reference_page.sentences import BUDGETS
from tests.studies.reference_page.settings import Setting

NOTE = (
    "Medians over seeds [exact 95 % interval, 93.75 % at five seeds], a seed that diverged being "
    "the worst. The word under a value is the verdict of the report of that result set, against "
    "its reference objective, all its comparisons under Holm's correction. The order of the "
    "columns is no ranking: metrics differ between places, and only a verdict is a claim. One "
    "place may have several rows, of other seeds, settings or searches. Places with one seed per "
    "objective have no row: random architectures are compared as one sample, below."
)
TALLY = "rows: better, worse"


def tables(settings: Sequence[Setting]) -> list[Table]:
    """A table for each budget of COMPARED_AT."""
    losses = list(dict.fromkeys(loss for setting in settings for loss in setting.labels))
    return [_at_budget(settings, losses, of) for of in COMPARED_AT]


def by_place(settings: Sequence[Setting]) -> list[Table]:
    """The leaderboard of every place as its report has it."""
    found = {}
    for setting in settings:
        summary = summary_by_key(setting.evidence.tables)
        table = leaderboard(setting.evidence, setting.at, summary)
        table.title = f"{setting.reference.name}: {table.title}"
        found[table.title] = table
    return list(found.values())


def _at_budget(settings: Sequence[Setting], losses: Sequence[str], of: str) -> Table:
    title = f"Leaderboard {BUDGETS[of]}"
    table = Table(title, ["place, and the metric that ranks", *losses], note=NOTE)
    counts = {loss: {"better": 0, "worse": 0} for loss in losses}
    for setting in settings:
        column = setting.evidence.tables.primary.get(setting.at["dataset"])
        if column is None:
            continue
        cells = [f"{setting.name}: {short_name(column)}{setting.mark}"]
        summary = summary_by_key(setting.evidence.tables)
        for loss in losses:
            text, verdict = _cell(setting, loss, of, column, summary)
            cells.append("\n".join(filter(None, (text, verdict))))
            if verdict in counts[loss]:
                counts[loss][verdict] += 1
        if any(cells[1:]):
            table.rows.append(TableRow(cells))
    tally = [f"{count['better']}, {count['worse']}" for count in counts.values()]
    table.rows.append(TableRow([TALLY, *tally], is_mark=True))
    return table


def _cell(setting: Setting, loss: str, of: str, column: str, summary: Summary) -> tuple[str, str]:
    """A value with its interval, and its verdict; empty for an objective that the place lacks."""
    label = setting.labels.get(loss)
    if label is None:
        return "", ""
    row = summary.get(summary_key(setting.at | {"metric": column, "of": of}, label))
    if row is None or not row["n"] + row["diverged"]:
        return "", ""
    text = interval(row).removesuffix(" [∞, ∞]").replace("∞", "diverged").replace(" [", "\n[")
    compared, name = contest(setting, label, of)
    if compared.empty:
        return text, ""
    return text, verdict_of(compared, name, reference_of(setting.evidence, setting.at))


def contest(setting: Setting, label: str, of: str) -> tuple[pd.DataFrame, str]:
    """The comparisons of a place at a budget, and what an objective is called in them. What a
    search picked is compared with its other picks, at the end alone."""
    compared, tuning = setting.evidence.compared, setting.evidence.tables.tuning
    if is_pick(label) and tuning is not None:
        compared = tuning.rivals.assign(of="final")
    here = at_place(compared, setting.at)
    return here[here["of"] == of], label.removesuffix(ENDING)
