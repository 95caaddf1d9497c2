"""Questions about objectives, asked in every place of every result set that can answer them.

Two objectives are compared by seed, by the ratio of their values: metrics that rank are distances,
so that ratios compare between places. All rows of a question are one family under Holm's
correction, but those of so few seeds that no value of theirs could be told from chance. A place of
a new reference joins by itself, and counts once more where other references have it too."""

import math
from collections.abc import Iterator, Sequence
from typing import NamedTuple

import numpy as np
from matplotlib.colors import to_hex

from benchmark.analysis.evidence import ALPHA
from benchmark.analysis.scores import is_crossed
from benchmark.drawing.style import style
from benchmark.metrics import metric
from benchmark.report.forest import Axis, Dot, axis_of
from benchmark.report.page import Table, TableRow, at_place
from benchmark.stats.comparisons import Comparison, compare, judged
from benchmark.stats.intervals import median, median_interval
from benchmark.text import capitalised, interval, listed, number, plural, span
from tests.studies.reference_page.questions import (
    LEARNT,
    MARK,
    QUESTIONS,
    Finding,
    Question,
    mark,
    trained,
    way_text,
)
from tests.studies.reference_page.references import Reference
from tests.studies.reference_page.sentences import code
from tests.studies.reference_page.settings import Setting, way
from tests.studies.reference_page.winners import drawn_sets, same_places, wins_over_reference

HEADS = ["place", "budget", "ratio", "better on seeds", "p, Holm", "verdict", "way", "cost"]
NEAR = 1.1
"""A ratio of two objectives that are as good as equal."""
NOTE = (
    "Ratio: the median over shared seeds of {first} ÷ {second}, below 1 where {first} is better "
    "[exact 95 % interval, 93.75 % at five seeds]. p: the exact sign test's, corrected over the "
    "{tests} comparisons of this question with six seeds or more, for fewer can tell nothing. The "
    "probability that any better or worse of this question is false is at most "
    f"{ALPHA:.0%}; other questions are families of their own. Way: how far the better of both "
    "came, at its median, from the untrained generator to the noise floor, on a logarithmic scale; "
    f"{MARK}: less than {LEARNT:.0%}, so that neither has learnt much. "
    "Cost: of a generator step with its critic steps, by the races, as a multiple of {second}'s."
)


class Answer(NamedTuple):
    """The objectives of a question in one setting."""

    setting: Setting
    measure: str
    when: str
    """The budget."""
    compared: Comparison
    """Of the logarithms, whose differences are those of ratios."""
    way: float
    """That of the better objective from the untrained generator to the noise floor; NaN where not
    known."""
    cost: float
    """Of a generator step of the first, as a multiple of the second's; NaN where not known."""

    @property
    def is_testable(self) -> bool:
        """Whether there are seeds enough to tell anything."""
        return self.compared.lowest <= ALPHA

    @property
    def mark(self) -> str:
        """MARK where neither objective has learnt."""
        return mark(self.way)

    @property
    def ratio(self) -> str:
        """The median ratio with its interval."""
        middle, low, high = _ratio(self.compared)
        return interval({"median": middle, "ci_low": low, "ci_high": high})

    @property
    def is_near(self) -> bool:
        """Whether the whole interval is that of objectives that are as good as equal."""
        _, low, high = _ratio(self.compared)
        return low >= 1 / NEAR and high <= NEAR


def of(settings: Sequence[Setting], references: Sequence[Reference] = ()) -> list[Finding]:
    """The answers to all questions that some place can answer. references: those in which drawn
    architectures are looked for."""
    found = [wins_over_reference(settings, references)]
    for question in QUESTIONS:
        finding = _answered(question, settings)
        if finding.answers and question.of_drawn:
            finding.answers += _of_drawn(question, references)
        found.append(finding)
    return [finding for finding in found if finding.answers]


def _answered(question: Question, settings: Sequence[Setting]) -> Finding:
    """A question with its answers and tables."""
    finding = Finding(question.title, question.claim)
    unjudged = list(_rows(question, settings))
    # Known before the values are: what cannot be told costs the others nothing
    family = [row.compared for row in unjudged if row.is_testable]
    verdicts = iter(judged(family, alpha=ALPHA) if family else ())
    rows = []
    for row in unjudged:
        rows.append(row._replace(compared=next(verdicts)) if row.is_testable else row)
    names = {"first": question.first, "second": question.second}
    finding.note = NOTE.format(**names, tests=len(family))
    axis = axis_of(_ends(rows), 1.0, True)
    for measure in question.measures:
        here = [row for row in rows if row.measure == measure]
        if here:
            finding.answers.append(_answer(question, here))
            finding.tables.append(_table(question, here, axis))
    if rows:
        finding.answers += [
            _said_of_claim(question, rows),
            same_places([row.setting for row in rows]),
        ]
    if rows and question.of_first:
        finding.answers.append(_of_first(question, rows))
    if rows and question.limit:
        budgets = dict.fromkeys(trained(row.setting.evidence, row.setting.at) for row in rows)
        finding.answers.append(question.limit.format(budgets=listed([*budgets])))
    return finding


def _rows(question: Question, settings: Sequence[Setting]) -> Iterator[Answer]:
    """Every comparison of a question, not judged yet."""
    for setting in settings:
        if not {question.first, question.second} <= setting.labels.keys():
            continue
        tables = setting.evidence.tables
        column = tables.primary.get(setting.at["dataset"])
        here = at_place(tables.cells, setting.at)
        # crossed seeds are no independent pairs
        if column is None or not metric(column).primary or is_crossed(here).any():
            continue
        first, second = (setting.labels[name] for name in (question.first, question.second))
        raced = here[here["race_fault"] == ""].groupby("objective")["raced_ms"].first()
        cost = raced.get(first, np.nan) / raced.get(second, np.nan)
        for name, measure in question.measures.items():
            wide = measure.find(setting.evidence, setting.at)
            if not {first, second} <= set(wide.index):
                continue
            pair = wide.loc[[first, second]].astype(float)
            logs = pair.apply(np.log)
            by_seed = {str(name): row.dropna().to_dict() for name, row in logs.iterrows()}
            (compared,) = compare(by_seed, minimise=True, reference=second)
            when = measure.when(setting.evidence, setting.at)
            share = math.nan
            if measure.is_distance:
                best = min(float(median(row.dropna())) for _, row in pair.iterrows())
                share = way(setting, column, best)
            yield Answer(setting, name, when, compared, share, cost)


def _ratio(compared: Comparison) -> tuple[float, float, float]:
    """The median ratio and its interval."""
    middle, low, high = np.exp([compared.difference, compared.ci_low, compared.ci_high])
    return float(middle), float(low), float(high)


def _ends(rows: Sequence[Answer]) -> list[float]:
    """What an axis has to show of ratios."""
    return [end for row in rows for end in _ratio(row.compared) if end > 0]


def _table(question: Question, rows: Sequence[Answer], axis: Axis | None) -> Table:
    """The rows of one measure, with dots."""
    colour = to_hex(style(question.first)["color"])
    table = Table(rows[0].measure, HEADS, axis=axis)
    for row in rows:
        compared = row.compared
        middle, low, high = _ratio(compared)
        look = "hollow" if compared.verdict == "not separated" else "filled"
        cells = [f"{row.setting.name}{row.setting.mark}", row.when, row.ratio]
        cells += [f"{compared.wins} of {compared.n}", number(compared.p_holm), compared.verdict]
        cells += [way_text(row.way), f"{number(row.cost)} ×" if math.isfinite(row.cost) else "–"]
        table.rows.append(TableRow(cells, dot=Dot(middle, low, high, colour, look)))
    return table


def _answer(question: Question, rows: Sequence[Answer]) -> str:
    """Where the first objective is better, worse and not separated, by one measure."""
    parts = []
    for verdict in ("better", "worse"):
        told = [row for row in rows if row.compared.verdict == verdict]
        if told:
            titles = "; ".join(f"{row.setting.name}{row.mark}: {row.ratio}" for row in told)
            parts.append(f"{verdict} in {len(told)} of {len(rows)} comparisons ({titles})")
    others = [row for row in rows if row.compared.verdict == "not separated"]
    if others:
        ratios = [_ratio(row.compared)[0] for row in others]
        noun = "median ratio" if len(ratios) == 1 else "median ratios"
        lead = "the other " if parts else "any of "
        parts.append(f"not separated in {lead}{len(others)} ({noun} {span(ratios)})")
    measure = capitalised(rows[0].measure)
    pair = f"{code(question.first)} against {code(question.second)}"
    return f"{measure}, {pair}: {', '.join(parts)}."


def _said_of_claim(question: Question, rows: Sequence[Answer]) -> str:
    """In how many comparisons the claim is borne out, contradicted or left open."""
    told = [row for row in rows if row.compared.verdict != "not separated"]
    agreeing = [row for row in told if row.compared.verdict == question.expected]
    against = [row for row in told if row.compared.verdict != question.expected]
    near = [row for row in rows if not question.expected and row.is_near and row not in against]
    opened = [row for row in rows if row not in told and row not in near]
    untold = len([row for row in opened if not row.is_testable])
    few = f", {untold} of them of too few seeds to tell" if untold else ""
    marked = f" {MARK}: neither has learnt much." if any(row.mark for row in (*told, *near)) else ""
    contradicted = f"contradicted in {_counted(against)} of {plural(len(rows), 'comparison')}"
    if not question.expected:
        return (
            f"The claim is {contradicted}. In {_counted(near)} the whole interval of the ratio "
            f"lies between {number(1 / NEAR)} and {number(NEAR)} (each interval by itself, not "
            f"corrected); {len(opened)} leave a larger difference open{few}.{marked}"
        )
    opening = f"open in {len(opened)}{few}"
    return f"The claim is confirmed in {_counted(agreeing)}, {contradicted}, {opening}.{marked}"


def _counted(rows: Sequence[Answer]) -> str:
    """`4 (3 †)`: comparisons, and those of them in which neither objective has learnt."""
    marked = len([row for row in rows if row.mark])
    return f"{len(rows)} ({marked} {MARK})" if marked else f"{len(rows)}"


def _of_drawn(question: Question, references: Sequence[Reference]) -> Iterator[str]:
    """On how many drawn architectures either objective succeeds alone."""
    for name, values in drawn_sets(references):
        pair = question.first, question.second
        if not set(pair) <= {*values.cells["objective"]}:
            continue
        found = values.alone(*pair)
        num = found.only_first + found.only_second + found.both + found.neither
        yield (
            f"Of {num} drawn architectures ({name}, one seed each) {code(pair[0])} alone succeeds "
            f"on {found.only_first}, {code(pair[1])} alone on {found.only_second}, both on "
            f"{found.both}: p {number(found.p)} by McNemar's exact test, uncorrected."
        )


def _of_first(question: Question, rows: Sequence[Answer]) -> str:
    """What a measure says of the first objective by itself."""
    parts = []
    for row in rows:
        if row.measure != question.of_first:
            continue
        setting = row.setting
        wide = question.measures[question.of_first].find(setting.evidence, setting.at)
        values = wide.loc[setting.labels[question.first]].dropna().astype(float)
        low, high = median_interval(values)
        known = {"median": float(median(values)), "ci_low": float(low), "ci_high": float(high)}
        parts.append(f"{setting.name}: {interval(known)}")
    lead = question.of_first.removeprefix("by ")
    return f"{capitalised(lead)} of {code(question.first)} itself: {'; '.join(parts)}."
