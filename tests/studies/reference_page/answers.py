"""The comparisons that answer a question: the values of its two objectives, by seed.

Result sets that train and measure the same up to the same budget, on seeds of their own, are one
comparison."""

import math
from collections.abc import Iterator, Sequence
from typing import NamedTuple

import numpy as np
import pandas as pd

from benchmark.analysis.evidence import ALPHA
from benchmark.analysis.scores import is_crossed
from benchmark.metrics import metric
from benchmark.report.page import at_place
from benchmark.stats.comparisons import Comparison, compare
from benchmark.stats.intervals import median
from benchmark.text import interval, listed
from tests.studies.reference_page.questions import Measure, Question, mark
from tests.studies.reference_page.settings import Setting, way

NEAR = 1.1
"""A ratio of two objectives that are as good as equal."""


class Answer(NamedTuple):
    """The objectives of a question in one setting, or in several that differ in their seeds."""

    settings: tuple[Setting, ...]
    measure: str
    when: str
    """The budget."""
    values: pd.DataFrame
    """Of both objectives, by seed."""
    compared: Comparison
    """Of the logarithms, whose differences are those of ratios."""
    way: float
    """That of the better objective from the untrained generator to the noise floor; NaN where not
    known."""
    cost: float
    """Of a generator step of the first, as a multiple of the second's; NaN where not known."""

    @property
    def name(self) -> str:
        """`quick and search: dcgan on digits`."""
        (first, *_) = self.settings
        sets = listed([setting.reference.name for setting in self.settings])
        return f"{sets}:{first.name.partition(':')[2]}"

    @property
    def is_testable(self) -> bool:
        """Whether there are seeds enough to tell anything."""
        return self.compared.lowest <= ALPHA

    @property
    def mark(self) -> str:
        """MARK where neither objective has learnt."""
        return mark(self.way)

    @property
    def numbers(self) -> tuple[float, float, float]:
        """The median ratio and its interval."""
        compared = self.compared
        middle, low, high = np.exp([compared.difference, compared.ci_low, compared.ci_high])
        return float(middle), float(low), float(high)

    @property
    def ratio(self) -> str:
        """The same as text."""
        middle, low, high = self.numbers
        return interval({"median": middle, "ci_low": low, "ci_high": high})

    @property
    def is_near(self) -> bool:
        """Whether the whole interval is that of objectives that are as good as equal."""
        _, low, high = self.numbers
        return low >= 1 / NEAR and high <= NEAR


def answers(question: Question, settings: Sequence[Setting]) -> Iterator[Answer]:
    """Every comparison of a question, not judged yet."""
    names = question.first, question.second
    able = [setting for setting in settings if set(names) <= setting.labels.keys()]
    for name, measure in question.measures.items():
        for alike in _alike(question, measure, able):
            together = tuple(setting for setting, _ in alike)
            pair = pd.concat([values for _, values in alike], axis=1)
            logs = pair.apply(np.log)
            by_seed = {str(name): row.dropna().to_dict() for name, row in logs.iterrows()}
            (compared,) = compare(by_seed, minimise=True, reference=question.second)
            share = math.nan
            if measure.is_distance:
                best = min(float(median(row.dropna())) for _, row in pair.iterrows())
                share = way(together[0], best)
            when = measure.when(together[0].evidence, together[0].at)
            cost = _cost(question, together)
            yield Answer(together, name, when, pair, compared, share, cost)


def _alike(
    question: Question, measure: Measure, settings: Sequence[Setting]
) -> Iterator[list[tuple[Setting, pd.DataFrame]]]:
    """The settings with values of a measure, and these; together those that train and measure the
    same up to the same budget, on seeds of their own."""
    found: dict[tuple[str, ...], list[tuple[Setting, pd.DataFrame]]] = {}
    seeds: dict[tuple[str, ...], set[int]] = {}
    for setting in settings:
        pair = _pair(question, measure, setting)
        if pair.empty:
            continue
        specs = setting.spec(question.first), setting.spec(question.second)
        when = measure.when(setting.evidence, setting.at)
        # What other code trained may be something else
        key = setting.given, *specs, when, setting.mark
        known = set(pair.dropna(axis=1, how="all").columns)
        if seeds.setdefault(key, set()) & known:
            key = (*key, setting.reference.name)
        found.setdefault(key, []).append((setting, pair))
        seeds.setdefault(key, set()).update(known)
    yield from found.values()


def _pair(question: Question, measure: Measure, setting: Setting) -> pd.DataFrame:
    """The values of both objectives of a question, by seed; empty where nothing can be said."""
    tables = setting.evidence.tables
    column = tables.primary.get(setting.at["dataset"])
    # crossed seeds are no independent pairs
    is_void = is_crossed(at_place(tables.cells, setting.at)).any()
    if column is None or not metric(column).primary or is_void:
        return pd.DataFrame()
    wide = measure.find(setting.evidence, setting.at)
    labels = {setting.labels[name]: name for name in (question.first, question.second)}
    if not set(labels) <= set(wide.index):
        return pd.DataFrame()
    return wide.loc[list(labels)].rename(index=labels).astype(float)


def _cost(question: Question, settings: Sequence[Setting]) -> float:
    """`Answer.cost`, by the first of the races."""
    costs = []
    for setting in settings:
        here = at_place(setting.evidence.tables.cells, setting.at)
        raced = here[here["race_fault"] == ""].groupby("objective")["raced_ms"].first()
        first, second = (setting.labels[name] for name in (question.first, question.second))
        costs.append(raced.get(first, np.nan) / raced.get(second, np.nan))
    return next((cost for cost in costs if math.isfinite(cost)), math.nan)
