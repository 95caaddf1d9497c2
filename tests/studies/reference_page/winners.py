"""Which objective beats the reference objective of its result set: at the end of training, at equal
cost, and on drawn architectures."""

import math
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from itertools import groupby

from benchmark.analysis.evidence import ALPHA
from benchmark.analysis.scores import is_crossed
from benchmark.metrics import short_name
from benchmark.report.chapters.leaderboards import reference_of, summary_by_key, summary_key
from benchmark.report.page import Table, TableRow, at_place
from benchmark.text import Record, capitalised, interval, listed, number, plural
from tests.studies.reference_page.board import contest
from tests.studies.reference_page.questions import LEARNT, MARK, Finding, mark, spent, way_text
from tests.studies.reference_page.references import Reference
from tests.studies.reference_page.sentences import BUDGETS, Values, code, difference
from tests.studies.reference_page.settings import Setting, way

VERDICTS = ("better", "worse", "not separated")
HEADS = ["place", "budget", "lowest median", *VERDICTS, "way to real"]
NOTE = (
    "At equal compute and at equal raced seconds an objective with five critic steps takes fewer "
    "generator steps. Lowest median: over seeds, a seed that diverged being "
    "the worst [exact 95 % interval, 93.75 % at five seeds], of the objectives that did not "
    "collapse on every seed; it need not be separated from the "
    "reference objective. Better, worse: the verdicts of the report of each result set, under "
    "Holm's correction over that report (of what a search picked, over the picks, which are "
    "compared at the end alone); over all rows together no error rate is promised. Numbers are "
    "median differences with intervals that are not corrected and decide nothing: the corrected "
    "test decides, and asks for more seeds than an interval. –: no objective; three of them: "
    "nothing was tested. "
    "Way to real: how far the lowest median came from the untrained generator (0 %) to real "
    f"samples (100 %), on a logarithmic scale; {MARK}: less than {LEARNT:.0%}: not even the best "
    "objective has learnt much at this budget."
)


@dataclass
class Standing:
    """A setting at a budget."""

    setting: Setting
    when: str
    lowest: str
    """The loss with the lowest median; `none` where all collapsed on every seed."""
    medians: dict[str, str]
    """Loss → the median with its interval."""
    way: float
    """That of the lowest median from the untrained generator to the noise floor."""
    reference: str
    verdicts: dict[str, dict[str, str]]
    """Verdict against the reference objective → loss → the median difference. Empty where seeds are
    too few to tell."""

    @property
    def name(self) -> str:
        return f"{self.setting.name}{mark(self.way)}"

    @property
    def leader(self) -> str:
        """`wgan_gp: 0.082 [0.064, 0.105]`."""
        if self.lowest not in self.medians:
            return self.lowest
        return f"{self.lowest}:\n{self.medians[self.lowest]}"

    def has(self, loss: str) -> bool:
        return any(loss in losses for losses in self.verdicts.values())


def wins_over_reference(
    settings: Sequence[Setting], references: Sequence[Reference] = ()
) -> Finding:
    """Who is better or worse than the reference objective, by budget, and on how many drawn
    architectures. references: those in which these are looked for."""
    finding = Finding("Which objective beats the reference objective?", "", note=NOTE)
    tested = []
    for budget, words in BUDGETS.items():
        rows = [row for setting in settings for row in _standings(setting, budget)]
        tested += [row.setting for row in rows if row.verdicts]
        finding.answers += [*_answers(words, rows), *_untested(words, rows)]
        if rows:
            finding.tables.append(_table(words, rows))
    if tested:
        finding.answers.append(same_places(tested))
    finding.answers += _of_drawn(references)
    return finding


def same_places(settings: Sequence[Setting]) -> str:
    """How many places comparisons are of."""
    titles = dict.fromkeys(setting.title.partition(": ")[2] for setting in settings)
    names = listed([*titles])
    if len(titles) == 1:
        return f"These comparisons are of one place, {names}."
    places = plural(len(titles), "place")
    return f"These comparisons are of {places}: {names}; seeds, settings and budgets may differ."


def drawn_sets(references: Sequence[Reference]) -> Iterator[tuple[str, Values]]:
    """The result sets that draw architectures on one dataset, by name."""
    for reference in references:
        if reference.evidence is not None:
            values = Values(reference.evidence)
            if values.drawn is not None and len(values.drawn.architectures) == 1:
                yield reference.name, values


def _standings(setting: Setting, budget: str) -> Iterator[Standing]:
    """The standing in a setting; none where nothing was measured at the budget."""
    tables, at = setting.evidence.tables, setting.at
    place = at["dataset"], at["architecture"]
    column = tables.primary.get(at["dataset"])
    has_budget = budget == "final" or place in tables.equal_cost[budget]
    if column is None or not has_budget or is_crossed(at_place(tables.cells, at)).any():
        return
    summary = summary_by_key(tables)
    measured: dict[str, Record] = {}
    for loss, label in setting.labels.items():
        row = summary.get(summary_key(at | {"metric": column, "of": budget}, label))
        if row is not None and row["n"] + row["diverged"]:
            measured[loss] = row
    if not measured:
        return
    medians = {loss: float(row["median"]) for loss, row in measured.items()}
    able = [loss for loss in measured if not _collapsed(setting, loss)]
    best = min(able, key=medians.__getitem__, default="none: all collapsed")
    reference = reference_of(setting.evidence, at)
    yield Standing(
        setting,
        spent(budget, setting.evidence, at),
        best,
        {loss: interval(row).replace("∞", "diverged") for loss, row in measured.items()},
        way(setting, medians.get(best, math.nan)),
        reference,
        _verdicts(setting, budget, reference),
    )


def _collapsed(setting: Setting, loss: str) -> bool:
    """Whether all runs of an objective collapsed."""
    cells = at_place(setting.evidence.tables.cells, setting.at)
    return bool(
        (cells.loc[cells["objective"] == setting.labels[loss], "verdict"] == "collapsed").all()
    )


def _verdicts(setting: Setting, budget: str, reference: str) -> dict[str, dict[str, str]]:
    """`Standing.verdicts`."""
    verdicts: dict[str, dict[str, str]] = {}
    for loss, label in setting.labels.items():
        compared, name = contest(setting, label, budget)
        against = compared[(compared["first"] == name) & (compared["second"] == reference)]
        if against.empty or against["lowest"].iloc[0] > ALPHA:
            continue
        row = against.iloc[0].to_dict()
        verdicts.setdefault(row["verdict"], {})[loss] = difference(row)
    return verdicts


def _answers(budget: str, rows: Sequence[Standing]) -> Iterator[str]:
    """`At equal compute, better than the reference objective: wgan in 1 of 3 rows (…).`"""
    tested = sorted((row for row in rows if row.verdicts), key=lambda row: row.reference)
    for reference, group in groupby(tested, key=lambda row: row.reference):
        here = list(group)
        for verdict in ("better", "worse"):
            parts = list(_where(here, verdict))
            lead = f"{capitalised(budget)}, {verdict} than {code(reference)}"
            yield f"{lead}: {', '.join(parts) or 'none'}."


def _untested(budget: str, rows: Sequence[Standing]) -> Iterator[str]:
    """The medians where something was learnt and nothing is tested."""
    parts = []
    for row in rows:
        if row.verdicts or not row.way >= LEARNT:
            continue
        known = f"{row.name}: lowest median {row.medians[row.lowest]} of {code(row.lowest)}"
        if row.reference in row.medians and row.reference != row.lowest:
            known += f" against {row.medians[row.reference]} of {code(row.reference)}"
        parts.append(known)
    if parts:
        yield f"{capitalised(budget)}, not tested: {'; '.join(parts)}."


def _where(rows: Sequence[Standing], verdict: str) -> Iterator[str]:
    """`wgan in 1 of 3 rows (…)`, of every loss that has a verdict somewhere."""
    losses = dict.fromkeys(loss for row in rows for loss in row.verdicts.get(verdict, {}))
    for loss in losses:
        told = [row.name for row in rows if loss in row.verdicts.get(verdict, {})]
        num_met = len([row for row in rows if row.has(loss)])
        if len(told) == num_met > 1:
            yield f"{code(loss)} in {'both' if num_met == 2 else f'all {num_met}'} rows"
        else:
            yield f"{code(loss)} in {len(told)} of {plural(num_met, 'row')} ({'; '.join(told)})"


def _of_drawn(references: Sequence[Reference]) -> Iterator[str]:
    """Who succeeds on more drawn architectures, or on fewer, than the reference objective."""
    for name, values in drawn_sets(references):
        assert values.drawn is not None
        ((dataset, names),) = values.drawn.architectures.items()
        criterion, pairs = values.drawn.main(dataset), values.drawn.pairs
        is_main = (pairs["metric"] == criterion.column) & (
            pairs["threshold"] == criterion.threshold
        )
        for (verdict, reference), rows in pairs[is_main].groupby(["verdict", "second"], sort=False):
            if verdict == "not separated":
                continue
            parts = [
                f"{code(row['first'])} (alone on {row['only_first']}, {code(str(reference))} alone "
                f"on {row['only_second']})"
                for row in rows.to_dict("records")
            ]
            yield (
                f"Of {len(names)} drawn architectures ({name}, one seed each), {verdict} than "
                f"{code(str(reference))}: {', '.join(parts)}. Success at the end is "
                f"a {short_name(criterion.column)} of at most {number(criterion.threshold)}."
            )


def _table(budget: str, rows: Sequence[Standing]) -> Table:
    table = Table(budget, HEADS)
    for row in rows:
        cells = [f"{row.name}{row.setting.mark}", row.when, row.leader]
        for verdict in VERDICTS:
            losses = row.verdicts.get(verdict, {})
            cells.append(",\n".join(f"{loss}:\n{text}" for loss, text in losses.items()) or "–")
        table.rows.append(TableRow([*cells, way_text(row.way)]))
    return table
