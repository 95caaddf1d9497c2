"""Questions about objectives, asked in every place of every result set that can answer them.

Two objectives are compared by seed, by the ratio of their values: metrics that rank are distances,
so that ratios compare between places. All rows of a question are one family under Holm's
correction, but those of so few seeds that no value of theirs could be told from chance. A place of
a new reference joins by itself."""

import math
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from typing import NamedTuple

import numpy as np
import pandas as pd
from matplotlib.colors import to_hex

from benchmark.analysis.evidence import ALPHA, Contest, Evidence, values
from benchmark.analysis.scores import EQUAL_COST, is_crossed
from benchmark.drawing.style import style
from benchmark.metrics import metric
from benchmark.report.chapters.leaderboards import summary_by_key
from benchmark.report.first import claim
from benchmark.report.forest import Axis, Dot, axis_of
from benchmark.report.page import Table, TableRow, at_place, records
from benchmark.stats.comparisons import Comparison, compare, judged
from benchmark.text import Record, interval, listed, number
from tests.studies.reference_page.sentences import BUDGETS, code
from tests.studies.reference_page.settings import Setting

EARLY_SHARE = 0.1
HEADS = ["place", "ratio", "better on seeds", "p, Holm", "verdict", "cost"]
NOTE = (
    "Ratio: the median over shared seeds of {first} ÷ {second}, below 1 where {first} is better "
    "[exact 95 % interval, 93.75 % at five seeds]; the line is 1. p: the exact sign test's, "
    "corrected over the {tests} comparisons of this question with six seeds or more, for fewer can "
    f"tell nothing: any better or worse is false with a probability of {ALPHA:.0%} at most. "
    "Cost: of a generator step with its critic steps, by the races, as a multiple of {second}'s."
)
Values = Callable[[Evidence, Record], pd.DataFrame]
"""Objective × seed of a place, low is good: +inf diverged, NaN a hole. Empty where not known."""


@dataclass(frozen=True)
class Question:
    """Two objectives, and what others, or this suite at first, said of them."""

    title: str
    claim: str
    """Whose claim, and what it is."""
    first: str
    second: str
    measures: Mapping[str, Values]
    """When, or by what, they are compared → the values."""
    expected: str
    """The verdict on the first that the claim leads to; empty where it says that they are equal."""


@dataclass
class Finding:
    """The answers to a question, and the tables that they rest on."""

    title: str
    claim: str
    answers: list[str] = field(default_factory=list)
    details: list[str] = field(default_factory=list)
    """Sentences that are shown on demand."""
    tables: list[Table] = field(default_factory=list)
    note: str = ""


class Row(NamedTuple):
    """The objectives of a question in one setting."""

    setting: Setting
    measure: str
    compared: Comparison
    """Of the logarithms, whose differences are those of ratios."""
    cost: float
    """Of a generator step of the first, as a multiple of the second's; NaN where not known."""


def at_budget(of: str) -> Values:
    """The primary metric at one of COMPARED_AT."""

    def find(evidence: Evidence, at: Record) -> pd.DataFrame:
        contest = Contest(at["dataset"], at["architecture"], of)
        return values(evidence.tables).get(contest, pd.DataFrame())

    return find


def early(evidence: Evidence, at: Record) -> pd.DataFrame:
    """The primary metric at a run's first evaluation after EARLY_SHARE of its generator steps."""
    cells, evals = at_place(evidence.tables.cells, at), evidence.tables.evals
    is_primary = evals["metric"] == evidence.tables.primary[at["dataset"]]
    rows = evals[is_primary & evals["cell"].isin(cells["key"])].astype({"cell": str})
    share = rows["g_steps"] / rows.groupby("cell")["g_steps"].transform("max")
    first = rows[share >= EARLY_SHARE].sort_values("g_steps").groupby("cell")["value"].first()
    return _by_seed(cells, cells["key"].map(first))


def regret(evidence: Evidence, at: Record) -> pd.DataFrame:
    """Final ÷ best value of the primary metric."""
    cells = at_place(evidence.tables.cells, at)
    return _by_seed(cells, cells["regret"])


def _by_seed(cells: pd.DataFrame, value: pd.Series) -> pd.DataFrame:
    value = value.where(cells["status"] != "diverged", np.inf)
    return cells.assign(value=value).pivot(index="objective", columns="seed", values="value")


AT_THE_END = {BUDGETS["final"]: at_budget("final")}
QUESTIONS = (
    Question(
        "Do finite differences along the gradient replace the exact gradient penalty?",
        "This suite's first guess: they do, for both measure the same slope at the same points.",
        "wgan_fdgp",
        "wgan_gp",
        {text: at_budget(of) for of, text in BUDGETS.items()},
        "",
    ),
    Question(
        "Does the non-saturating loss learn faster than minimax at the beginning?",
        "Goodfellow et al. 2014: yes, for minimax saturates where the critic rejects all samples.",
        "nonsaturating",
        "minimax",
        {"after a tenth of the steps": early} | AT_THE_END,
        "better",
    ),
    Question(
        "Does least squares lose late what it had reached?",
        "StudioGAN's tables have an LSGAN whose FID is 66.7 at its best and 330.9 at the end.",
        "lsgan",
        "nonsaturating",
        {"by final ÷ best value": regret} | AT_THE_END,
        "worse",
    ),
    Question(
        "Is weight clipping slower than the gradient penalty?",
        "Gulrajani et al. 2017, figure 3: WGAN-GP is ahead of WGAN at equal steps and equal time.",
        "wgan",
        "wgan_gp",
        {text: at_budget(of) for of, text in BUDGETS.items()},
        "worse",
    ),
)


def of(settings: Sequence[Setting]) -> list[Finding]:
    """The answers to all questions that some place can answer."""
    found = [_answered(question, settings) for question in QUESTIONS]
    return [finding for finding in (*found, at_equal_cost(settings)) if finding.answers]


def _answered(question: Question, settings: Sequence[Setting]) -> Finding:
    """A question with its answers and tables."""
    finding = Finding(question.title, question.claim)
    unjudged = list(_rows(question, settings))
    # Known before the values are: what cannot be told costs the others nothing
    family = [row.compared for row in unjudged if row.compared.lowest <= ALPHA]
    verdicts = iter(judged(family, alpha=ALPHA) if family else ())
    rows = []
    for row in unjudged:
        is_tested = row.compared.lowest <= ALPHA
        rows.append(row._replace(compared=next(verdicts)) if is_tested else row)
    names = {"first": question.first, "second": question.second}
    finding.note = NOTE.format(**names, tests=len(family))
    axis = axis_of(_ends(rows), 1.0, True)
    for measure in question.measures:
        here = [row for row in rows if row.measure == measure]
        if here:
            finding.answers.append(_answer(question, here))
            finding.tables.append(_table(question, here, axis))
    if rows:
        finding.answers.append(_said_of_claim(question, rows))
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
        for measure, find in question.measures.items():
            wide = find(setting.evidence, setting.at)
            if {first, second} <= set(wide.index):
                logs = np.log(wide.loc[[first, second]].astype(float))
                by_seed = {str(name): row.dropna().to_dict() for name, row in logs.iterrows()}
                (compared,) = compare(by_seed, minimise=True, reference=second)
                yield Row(setting, measure, compared, cost)


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
        cells = [row.setting.name, ratio, f"{compared.wins} of {compared.n}"]
        cost = f"{number(row.cost)} ×" if math.isfinite(row.cost) else "–"
        cells += [number(compared.p_holm), compared.verdict, cost]
        table.rows.append(TableRow(cells, dot=Dot(middle, low, high, colour, look)))
    return table


def _answer(question: Question, rows: Sequence[Row]) -> str:
    """Where the first objective is better, worse and not separated, by one measure."""
    where: dict[str, list[str]] = {}
    for row in rows:
        where.setdefault(row.compared.verdict, []).append(row.setting.name)
    parts = []
    for verdict in ("better", "worse"):
        if verdict in where:
            titles = listed(where[verdict])
            parts.append(f"{verdict} in {len(where[verdict])} of {len(rows)} places ({titles})")
    others = len(where.get("not separated", []))
    if others:
        parts.append(f"not separated in {'the other ' if parts else 'any of '}{others}")
    measure = f"{rows[0].measure[0].upper()}{rows[0].measure[1:]}"
    pair = f"{code(question.first)} against {code(question.second)}"
    return f"{measure}, {pair}: {', '.join(parts)}."


def _said_of_claim(question: Question, rows: Sequence[Row]) -> str:
    """In how many comparisons the claim is borne out, contradicted or left open."""
    verdicts = [row.compared.verdict for row in rows]
    told = [verdict for verdict in verdicts if verdict != "not separated"]
    agreeing = told.count(question.expected)
    against = f"contradicted in {len(told) - agreeing} of {len(rows)} comparisons"
    if not question.expected:
        return f"The claim is {against}; where nothing is separated the intervals say how far."
    return f"The claim is confirmed in {agreeing}, {against}, open in {len(rows) - len(told)}."


def at_equal_cost(settings: Sequence[Setting]) -> Finding:
    """In how many places an objective is better or worse than the reference at equal cost, and who
    leads there."""
    finding = Finding("Who wins at equal cost?", "")
    for of in EQUAL_COST if settings else ():
        for verdict in ("better", "worse"):
            told = list(_told(settings, of, verdict))
            names = listed(told) if told else "none"
            lead = f"{verdict.capitalize()} than the reference objective {BUDGETS[of]}"
            finding.answers.append(f"{lead}: {names}.")
    by_title = {setting.title: setting for setting in settings}
    for title, setting in by_title.items():
        evidence = setting.evidence
        summary = summary_by_key(evidence.tables)
        cells = at_place(evidence.tables.cells, setting.at)
        for row in records(at_place(evidence.leaders, setting.at)):
            if row["of"] in EQUAL_COST:
                leading = claim(evidence, row, summary, cells)
                finding.details.append(f"{title}. {leading.budget}: {leading.sentence}")
    return finding


def _told(settings: Sequence[Setting], of: str, verdict: str) -> Iterator[str]:
    """`wgan_gp in 2 of 3 places`: the losses that have a verdict somewhere."""
    counts: dict[str, list[bool]] = {}
    for setting in settings:
        compared = at_place(setting.evidence.compared, setting.at)
        if compared["second"].nunique() != 1:
            continue
        of_label = compared[compared["of"] == of].set_index("first")["verdict"]
        for loss, label in setting.labels.items():
            if label in of_label:
                counts.setdefault(loss, []).append(of_label[label] == verdict)
    for loss, told in counts.items():
        if any(told):
            yield f"{code(loss)} in {sum(told)} of {len(told)} places"
