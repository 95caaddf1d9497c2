"""Questions about objectives, asked in every place of every result set that can answer them.

Two objectives are compared by seed, by the ratio of their values: metrics that rank are distances,
so that ratios compare between places. All comparisons of a question are one family under Holm's
correction, but those of so few seeds that no value of theirs could be told from chance. A place of
a new reference joins by itself."""

import math
from collections.abc import Iterator, Sequence

from matplotlib.colors import to_hex

from benchmark.analysis.evidence import ALPHA
from benchmark.drawing.style import style
from benchmark.report.forest import Axis, Dot, axis_of
from benchmark.report.page import Table, TableRow
from benchmark.stats.comparisons import judged
from benchmark.stats.intervals import median, median_interval
from benchmark.text import capitalised, interval, listed, number, plural, span
from tests.studies.reference_page.answers import NEAR, Answer, answers
from tests.studies.reference_page.questions import (
    LEARNT,
    MARK,
    QUESTIONS,
    Finding,
    Question,
    trained,
    way_text,
)
from tests.studies.reference_page.references import Reference
from tests.studies.reference_page.sentences import BUDGETS, code
from tests.studies.reference_page.settings import Setting
from tests.studies.reference_page.winners import drawn_sets, same_places, wins_over_reference

HEADS = ["place", "budget", "ratio", "better on seeds", "p, Holm", "verdict", "way to real", "cost"]
NOTE = (
    "Ratio: the median over shared seeds of {first} ÷ {second}, below 1 where {first} is better "
    "[exact 95 % interval, 93.75 % at five seeds]. p: the exact sign test's, corrected over the "
    "{tests} comparisons of this question with at least six seeds. The verdict is that of this "
    "test: the probability that any better or worse of this question is false is at most "
    f"{ALPHA:.0%}. The page has several such families, so that the probability of some false "
    "verdict on it is larger. Intervals are not corrected and decide nothing. Way to real: how "
    "far the better of both came, at its median, from the untrained generator (0 %) to real "
    f"samples (100 %), on a logarithmic scale; {MARK}: less than {LEARNT:.0%}, so that neither has "
    "learnt much. "
    "Cost: of a generator step with its critic steps, by the races, as a multiple of {second}'s."
)


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
    unjudged = list(answers(question, settings))
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
            *_said_of_cost(question, rows),
            same_places([setting for row in rows for setting in row.settings]),
        ]
    if rows and question.of_first:
        finding.answers.append(_of_first(question, rows))
    if rows and question.limit:
        budgets = dict.fromkeys(
            trained(row.settings[0].evidence, row.settings[0].at) for row in rows
        )
        finding.answers.append(question.limit.format(budgets=listed([*budgets])))
    return finding


def _ends(rows: Sequence[Answer]) -> list[float]:
    """What an axis has to show of ratios."""
    return [end for row in rows for end in row.numbers if end > 0]


def _table(question: Question, rows: Sequence[Answer], axis: Axis | None) -> Table:
    """The rows of one measure, with dots."""
    colour = to_hex(style(question.first)["color"])
    table = Table(rows[0].measure, HEADS, axis=axis)
    for row in rows:
        compared = row.compared
        middle, low, high = row.numbers
        look = "hollow" if compared.verdict == "not separated" else "filled"
        cells = [f"{row.name}{row.settings[0].mark}", row.when, row.ratio]
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
            titles = "; ".join(f"{row.name}{row.mark}: {row.ratio}" for row in told)
            parts.append(f"{verdict} in {len(told)} of {len(rows)} comparisons ({titles})")
    others = [row for row in rows if row.compared.verdict == "not separated"]
    if others:
        ratios = [row.numbers[0] for row in others]
        noun = "median ratio" if len(ratios) == 1 else "median ratios"
        lead = "the other " if parts else "any of "
        parts.append(f"not separated in {lead}{len(others)} ({noun} {span(ratios)})")
    measure = capitalised(rows[0].measure)
    pair = f"{code(question.first)} against {code(question.second)}"
    return f"{measure}, {pair}: {', '.join(parts)}."


def _said_of_claim(question: Question, answers: Sequence[Answer]) -> str:
    """In how many of the comparisons that test it the claim is borne out, contradicted or left
    open."""
    rows = [row for row in answers if row.measure in (question.tested_by or question.measures)]
    told = [row for row in rows if row.compared.verdict != "not separated"]
    agreeing = [row for row in told if row.compared.verdict == question.expected]
    against = [row for row in told if row.compared.verdict != question.expected]
    near = [row for row in rows if not question.expected and row.is_near and row not in against]
    opened = [row for row in rows if row not in told and row not in near]
    untold = len([row for row in opened if not row.is_testable])
    few = f", {untold} of them with too few seeds to tell" if untold else ""
    marked = f" {MARK}: neither has learnt much." if any(row.mark for row in told) else ""
    contradicted = f"contradicted in {_counted(against)} of {plural(len(rows), 'comparison')}"
    if not question.expected:
        learnt = [row for row in near if not row.mark]
        unlearnt = len(near) - len(learnt)
        return (
            f"The claim is {contradicted}. Comparisons in which the ratio lies within "
            f"{NEAR - 1:.0%} of 1 with its whole interval, which is not corrected: {len(learnt)} "
            f"in which an objective has learnt, {unlearnt} in which neither has learnt much. "
            f"Open: {len(opened)}{few}.{marked}"
        )
    opening = f"open in {len(opened)}{few}"
    return f"The claim is confirmed in {_counted(agreeing)}, {contradicted}, {opening}.{marked}"


def _said_of_cost(question: Question, rows: Sequence[Answer]) -> Iterator[str]:
    """What a step of the first costs, where the question is one of cost, too."""
    costs = [row.cost for row in rows if math.isfinite(row.cost)]
    if costs and BUDGETS["equal_time"] in question.measures:
        pair = f"{code(question.first)} costs {span(costs)} times one of {code(question.second)}"
        yield f"A generator step of {pair}, with its critic steps, by the races."


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
        values = row.values.loc[question.first].dropna()
        low, high = median_interval(values)
        known = {"median": float(median(values)), "ci_low": float(low), "ci_high": float(high)}
        parts.append(f"{row.name}: {interval(known)}")
    lead = question.of_first.removeprefix("by ")
    return f"{capitalised(lead)} of {code(question.first)} itself: {'; '.join(parts)}."
