"""Which objective wins: at the end of training and at equal cost, against the reference objective
of each result set."""

from collections.abc import Iterator, Sequence
from dataclasses import dataclass, field

from benchmark.analysis.evidence import ALPHA
from benchmark.analysis.scores import is_crossed
from benchmark.report.chapters.leaderboards import reference_of, summary_by_key, summary_key
from benchmark.report.page import Table, TableRow, at_place
from benchmark.text import Record, interval, listed, plural
from tests.studies.reference_page.board import contest
from tests.studies.reference_page.questions import LEARNT, MARK, Finding, mark, spent, way_text
from tests.studies.reference_page.sentences import BUDGETS, code
from tests.studies.reference_page.settings import Setting, way

VERDICTS = ("better", "worse", "not separated")
HEADS = ["place", "budget", "lowest median", *VERDICTS, "way"]
NOTE = (
    "At equal cost an objective with five critic steps takes about a fifth of the generator steps. "
    "Lowest median: over seeds, a seed that diverged being the worst [exact 95 % interval, 93.75 % "
    "at five seeds]; an objective with the lowest median need not be separated from the reference "
    "objective. Better, worse: the verdicts of the report of each result set, all its comparisons "
    "under Holm's correction, with the median difference; five seeds and fewer can tell nothing. "
    "Way: how far the lowest median came from the untrained generator to the noise floor, on a "
    f"logarithmic scale; {MARK}: less than {LEARNT:.0%}: at this budget nobody has learnt much."
)


@dataclass
class Row:
    """A setting at a budget."""

    setting: Setting
    when: str
    reference: str
    lowest: str
    """The loss with the lowest median, and the median."""
    way: float
    """That of the lowest median from the untrained generator to the noise floor."""
    told: dict[str, dict[str, str]] = field(default_factory=dict)
    """Verdict → loss → the median difference. Empty where seeds are too few to tell."""

    @property
    def name(self) -> str:
        return f"{self.setting.name}{mark(self.way)}"


def who_wins(settings: Sequence[Setting]) -> Finding:
    """Who is better or worse than the reference objective, by budget."""
    finding = Finding("Which objective wins?", "", note=NOTE)
    for of, budget in BUDGETS.items():
        rows = list(_rows(settings, of))
        if any(row.told for row in rows):
            finding.answers += _answers(budget, rows)
        if rows:
            finding.tables.append(_table(budget, rows))
    return finding


def _rows(settings: Sequence[Setting], of: str) -> Iterator[Row]:
    for setting in settings:
        tables, at = setting.evidence.tables, setting.at
        column = tables.primary.get(at["dataset"])
        if column is None or is_crossed(at_place(tables.cells, at)).any():
            continue
        summary = summary_by_key(tables)
        found: dict[str, Record] = {}
        for loss, label in setting.labels.items():
            row = summary.get(summary_key(at | {"metric": column, "of": of}, label))
            if row is not None and row["n"] + row["diverged"]:
                found[loss] = row
        if not found:
            continue
        best = min(found, key=lambda loss: found[loss]["median"])
        lowest = f"{best}:\n{interval(found[best])}"
        share = way(setting, column, found[best]["median"])
        row = Row(setting, spent(of, setting.evidence, at), "", lowest, share)
        _compare(row, found, of)
        yield row


def _compare(row: Row, losses: Sequence[str] | Record, of: str) -> None:
    """Fill in who is better or worse than the reference objective, where anything can be told."""
    setting = row.setting
    reference = reference_of(setting.evidence, setting.at)
    for loss in losses:
        compared, name = contest(setting, setting.labels[loss], of)
        against = compared[(compared["first"] == name) & (compared["second"] == reference)]
        if against.empty or against["lowest"].iloc[0] > ALPHA:
            continue
        row.reference = reference
        one = against.iloc[0]
        difference = interval(one.to_dict(), "difference")
        row.told.setdefault(str(one["verdict"]), {})[loss] = difference


def _answers(budget: str, rows: Sequence[Row]) -> Iterator[str]:
    """`At equal compute, better than the reference objective: wgan in 1 of 3 rows (…).`"""
    tested = [row for row in rows if row.told]
    reference = listed([code(name) for name in dict.fromkeys(row.reference for row in tested)])
    for verdict in ("better", "worse"):
        where: dict[str, list[str]] = {}
        for row in tested:
            for loss in row.told.get(verdict, {}):
                where.setdefault(loss, []).append(row.name)
        parts = []
        for loss, names in where.items():
            num_met = len([row for row in tested if _has(row, loss)])
            where_told = f"{len(names)} of {num_met} rows ({listed(names)})"
            if len(names) == num_met > 1:
                where_told = f"all {plural(num_met, 'row')}"
            parts.append(f"{code(loss)} in {where_told}")
        lead = f"{budget[0].upper()}{budget[1:]}, {verdict} than {reference}"
        yield f"{lead}: {'; '.join(parts) or 'none'}."


def _has(row: Row, loss: str) -> bool:
    return any(loss in losses for losses in row.told.values())


def _table(budget: str, rows: Sequence[Row]) -> Table:
    table = Table(budget, HEADS)
    for row in rows:
        cells = [f"{row.name}{row.setting.mark}", row.when, row.lowest]
        for verdict in VERDICTS:
            told = row.told.get(verdict, {})
            texts = [f"{loss}:\n{difference}" for loss, difference in told.items()]
            cells.append(",\n".join(texts) or "–")
        table.rows.append(TableRow([*cells, way_text(row.way)]))
    return table
