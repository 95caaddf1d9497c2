"""The leaderboard over all places: objectives by place, at the end and at equal cost."""

from collections.abc import Sequence

from benchmark.analysis.evidence import COMPARED_AT
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
    "the worst. The chips are the verdicts of each reference's own report, against its reference "
    "objective, all its comparisons under Holm's correction. The order is none of rank: metrics "
    "differ between places, and only a chip is a claim."
)
TALLY = "places: better, worse"


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
        mark = setting.reference.origin.mark
        cells = [f"{setting.name}: {short_name(column)}{f' ({mark})' if mark else ''}"]
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
    compared = at_place(setting.evidence.compared, setting.at)
    contest = compared[compared["of"] == of]
    if contest.empty:
        return text, ""
    return text, verdict_of(contest, label, reference_of(setting.evidence, setting.at))
