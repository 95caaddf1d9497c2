"""Questions about objectives, asked in every place of every result set that can answer them.

Two objectives are compared by seed, by the ratio of their values: metrics that rank are distances,
so that ratios compare between places. All rows of a question are one family under Holm's
correction, but those of so few seeds that no value of theirs could be told from chance. A place of
a new reference joins by itself, and counts once more where other references have it too."""

import math
from collections.abc import Iterator, Sequence
from typing import NamedTuple

import numpy as np
import pandas as pd
from matplotlib.colors import to_hex

from benchmark.analysis.evidence import ALPHA
from benchmark.analysis.scores import is_crossed
from benchmark.analysis.targets import LEVELS, has_way, share_of_way
from benchmark.drawing.style import style
from benchmark.metrics import metric
from benchmark.report.forest import Axis, Dot, axis_of
from benchmark.report.page import Table, TableRow, at_place
from benchmark.stats.comparisons import Comparison, compare, judged
from benchmark.stats.intervals import median
from benchmark.text import interval, listed, number, plural
from tests.studies.reference_page.equal_cost import at_equal_cost
from tests.studies.reference_page.questions import QUESTIONS, Finding, Question, trained
from tests.studies.reference_page.sentences import code
from tests.studies.reference_page.settings import Setting

HEADS = ["place", "budget", "ratio", "better on seeds", "p, Holm", "verdict", "way", "cost"]
LEARNT = LEVELS["1/4"]
"""The share of the way from the untrained generator to the noise floor of the first target."""
MARK = "†"
NOTE = (
    "Ratio: the median over shared seeds of {first} ÷ {second}, below 1 where {first} is better "
    "[exact 95 % interval, 93.75 % at five seeds]; the line is 1. p: the exact sign test's, "
    "corrected over the {tests} comparisons of this question with six seeds or more, for fewer can "
    "tell nothing: that any better or worse of this question is false has a probability of "
    f"{ALPHA:.0%} at most; other questions are families of their own. Way: how far the better of "
    "both came, at its median, from the untrained generator to the noise floor, on a logarithm; "
    f"{MARK}: less than {LEARNT:.0%}, so that neither has learnt much. "
    "Cost: of a generator step with its critic steps, by the races, as a multiple of {second}'s."
)


class Row(NamedTuple):
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
        return f" {MARK}" if self.way < LEARNT else ""


def of(settings: Sequence[Setting]) -> list[Finding]:
    """The answers to all questions that some place can answer."""
    found = [_answered(question, settings) for question in QUESTIONS]
    return [finding for finding in (*found, at_equal_cost(settings)) if finding.answers]


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
        finding.answers += [_said_of_claim(question, rows), _same_places(rows)]
    if rows and question.limit:
        budgets = dict.fromkeys(trained(row.setting.evidence, row.setting.at) for row in rows)
        finding.answers.append(question.limit.format(budgets=listed([*budgets])))
    return finding


def _rows(question: Question, settings: Sequence[Setting]) -> Iterator[Row]:
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
            way = _way(setting, column, pair) if measure.is_distance else math.nan
            yield Row(setting, name, when, compared, way, cost)


def _way(setting: Setting, column: str, pair: pd.DataFrame) -> float:
    """The share of the way that the better of two objectives came. pair: their values by seed."""
    tables, at = setting.evidence.tables, setting.at
    untrained = tables.untrained.get((at["dataset"], at["architecture"]), math.nan)
    floor = tables.floor(at["dataset"], column)
    if not has_way(column, untrained, floor):
        return math.nan
    best = min(float(median(row.dropna())) for _, row in pair.iterrows())
    return float(share_of_way(best, untrained, floor))


def _ratio(compared: Comparison) -> tuple[float, float, float]:
    """The median ratio and its interval."""
    middle, low, high = np.exp([compared.difference, compared.ci_low, compared.ci_high])
    return float(middle), float(low), float(high)


def _ends(rows: Sequence[Row]) -> list[float]:
    """What an axis has to show of ratios."""
    return [end for row in rows for end in _ratio(row.compared) if end > 0]


def _table(question: Question, rows: Sequence[Row], axis: Axis | None) -> Table:
    """The rows of one measure, with dots."""
    colour = to_hex(style(question.first)["color"])
    table = Table(rows[0].measure, HEADS, axis=axis)
    for row in rows:
        compared = row.compared
        middle, low, high = _ratio(compared)
        ratio = interval({"median": middle, "ci_low": low, "ci_high": high})
        look = "hollow" if compared.verdict == "not separated" else "filled"
        cells = [f"{row.setting.name}{row.setting.mark}", row.when, ratio]
        cells += [f"{compared.wins} of {compared.n}", number(compared.p_holm), compared.verdict]
        way = f"{row.way:.0%}{row.mark}" if math.isfinite(row.way) else "–"
        cells += [way, f"{number(row.cost)} ×" if math.isfinite(row.cost) else "–"]
        table.rows.append(TableRow(cells, dot=Dot(middle, low, high, colour, look)))
    return table


def _answer(question: Question, rows: Sequence[Row]) -> str:
    """Where the first objective is better, worse and not separated, by one measure."""
    where: dict[str, list[str]] = {}
    for row in rows:
        title = f"{row.setting.name}{row.mark}"
        where.setdefault(row.compared.verdict, []).append(title)
    parts = []
    for verdict in ("better", "worse"):
        if verdict in where:
            titles = listed(where[verdict])
            num = f"{len(where[verdict])} of {len(rows)} comparisons"
            parts.append(f"{verdict} in {num} ({titles})")
    others = len(where.get("not separated", []))
    if others:
        parts.append(f"not separated in {'the other ' if parts else 'any of '}{others}")
    measure = f"{rows[0].measure[0].upper()}{rows[0].measure[1:]}"
    pair = f"{code(question.first)} against {code(question.second)}"
    return f"{measure}, {pair}: {', '.join(parts)}."


def _said_of_claim(question: Question, rows: Sequence[Row]) -> str:
    """In how many comparisons the claim is borne out, contradicted or left open."""
    told = [row for row in rows if row.compared.verdict != "not separated"]
    agreeing = [row for row in told if row.compared.verdict == question.expected]
    against = [row for row in told if row.compared.verdict != question.expected]
    untold = len([row for row in rows if not row.is_testable])
    few = f", {untold} of them of too few seeds to tell" if untold else ""
    marked = f" {MARK}: neither has learnt much." if any(row.mark for row in told) else ""
    contradicted = f"contradicted in {_counted(against)} of {plural(len(rows), 'comparison')}"
    if not question.expected:
        return (
            f"The claim is {contradicted}; the other {len(rows) - len(told)} are not "
            f"separated{few}: the intervals say how far.{marked}"
        )
    opened = f"open in {len(rows) - len(told)}{few}"
    return f"The claim is confirmed in {_counted(agreeing)}, {contradicted}, {opened}.{marked}"


def _counted(rows: Sequence[Row]) -> str:
    """`4 (3 †)`: comparisons, and those of them in which neither objective has learnt."""
    marked = len([row for row in rows if row.mark])
    return f"{len(rows)} ({marked} {MARK})" if marked else f"{len(rows)}"


def _same_places(rows: Sequence[Row]) -> str:
    """How many places the comparisons are of."""
    titles = dict.fromkeys(row.setting.title.partition(": ")[2] for row in rows)
    places = plural(len(titles), "place")
    names = listed([*titles])
    return f"These comparisons are of {places}: {names}, with other seeds, settings and budgets."
