"""The questions, and by which values two objectives are compared."""

import math
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from functools import partial

import numpy as np
import pandas as pd

from benchmark.analysis.evidence import Contest, Evidence, values
from benchmark.analysis.targets import LEVELS
from benchmark.report.page import TRAINING_BUDGETS, Table, at_place
from benchmark.text import Record, listed, number
from tests.studies.reference_page.sentences import BUDGETS

EARLY_SHARE = 0.1
LEARNT = LEVELS["1/4"]
"""The share of the way from the untrained generator to the noise floor of the first target."""
MARK = "†"
"""Of a comparison in which nobody came as far as LEARNT."""
Find = Callable[[Evidence, Record], pd.DataFrame]
"""Objective × seed of a place, low is good: +inf diverged, NaN a hole. Empty where not known."""
UNITS = {"equal_compute": "critic forwards", "equal_time": "s"}


@dataclass(frozen=True)
class Measure:
    """By which values objectives are compared, and at which budget."""

    find: Find
    when: Callable[[Evidence, Record], str]
    """The budget in a place, such as `600 generator steps`."""
    is_distance: bool = True
    """Whether the values are those of the metric that ranks, which has a way to its floor."""


@dataclass(frozen=True)
class Question:
    """Two objectives, and what others, or this suite at first, said of them."""

    title: str
    claim: str
    """Whose claim, and what it is."""
    first: str
    second: str
    measures: Mapping[str, Measure]
    """When, or by what, they are compared → the values."""
    expected: str
    """The verdict on the first that the claim leads to; empty where it says that they are equal."""
    limit: str = ""
    """What the answers cannot say; {budgets}: those of training."""
    tested_by: tuple[str, ...] = ()
    """Those of `measures` that test the claim; empty for all."""
    of_first: str = ""
    """The one of `measures` that says something of the first objective by itself, too."""
    of_drawn: bool = False
    """Whether success on drawn architectures is a part of the question."""


@dataclass
class Finding:
    """The answers to a question, and the tables that they rest on."""

    title: str
    claim: str
    answers: list[str] = field(default_factory=list)
    tables: list[Table] = field(default_factory=list)
    note: str = ""


def at_budget(of: str) -> Measure:
    """The primary metric at one of COMPARED_AT."""

    def find(evidence: Evidence, at: Record) -> pd.DataFrame:
        contest = Contest(at["dataset"], at["architecture"], of)
        return values(evidence.tables).get(contest, pd.DataFrame())

    return Measure(find, partial(spent, of))


def spent(of: str, evidence: Evidence, at: Record) -> str:
    """`948,000 critic forwards`: a budget of COMPARED_AT in a place."""
    if of == "final":
        return trained(evidence, at)
    cost = evidence.tables.equal_cost[of][at["dataset"], at["architecture"]]
    return f"{number(float(f'{cost:.3g}'))} {UNITS[of]}"


def trained(evidence: Evidence, at: Record) -> str:
    """`600 generator steps`: the budgets of training in a place."""
    amounts: dict[str, None] = {}
    for entry in evidence.tables.matrix.cells:
        if (entry.dataset, entry.architecture) != (at["dataset"], at["architecture"]):
            continue
        for name, noun in TRAINING_BUDGETS.items():
            if entry.spec.training.get(name):
                amounts[f"{entry.spec.training[name]:,g} {noun}"] = None
    return listed([*amounts])


def early(evidence: Evidence, at: Record) -> pd.DataFrame:
    """The primary metric at a run's first evaluation after EARLY_SHARE of its generator steps."""
    cells = at_place(evidence.tables.cells, at)
    return _by_seed(cells, cells["key"].map(_early_rows(evidence, at)["value"]))


def early_steps(evidence: Evidence, at: Record) -> str:
    """`60 generator steps`: when `early` is."""
    steps = sorted(_early_rows(evidence, at)["g_steps"].unique())
    return f"{listed([f'{step:,.0f}' for step in steps])} generator steps"


def _early_rows(evidence: Evidence, at: Record) -> pd.DataFrame:
    """g_steps and value by run, of the evaluation of `early`."""
    cells, evals = at_place(evidence.tables.cells, at), evidence.tables.evals
    is_primary = evals["metric"] == evidence.tables.primary[at["dataset"]]
    rows = evals[is_primary & evals["cell"].isin(cells["key"])].astype({"cell": str})
    share = rows["g_steps"] / rows.groupby("cell")["g_steps"].transform("max")
    late = rows[share >= EARLY_SHARE].sort_values("g_steps")
    return late.groupby("cell")[["g_steps", "value"]].first()


def regret(evidence: Evidence, at: Record) -> pd.DataFrame:
    """Final ÷ best value of the primary metric."""
    cells = at_place(evidence.tables.cells, at)
    return _by_seed(cells, cells["regret"])


def _by_seed(cells: pd.DataFrame, value: pd.Series) -> pd.DataFrame:
    value = value.where(cells["status"] != "diverged", np.inf)
    return cells.assign(value=value).pivot(index="objective", columns="seed", values="value")


def mark(way: float) -> str:
    """MARK of a way that is shorter than LEARNT."""
    return f" {MARK}" if way < LEARNT else ""


def way_text(way: float) -> str:
    """`74%`, `12% †`; `0% †` where all diverged, `–` where a way is not known."""
    return "–" if math.isnan(way) else f"{max(way, 0.0):.0%}{mark(way)}"


AT_THE_END = {BUDGETS["final"]: at_budget("final")}
QUESTIONS = (
    Question(
        "Do finite differences along the gradient replace the exact gradient penalty?",
        "This suite first assumed that they do: both measure the same slope at the same points.",
        "wgan_fdgp",
        "wgan_gp",
        {text: at_budget(of) for of, text in BUDGETS.items()},
        "",
        of_drawn=True,
    ),
    Question(
        "Does the non-saturating loss learn faster than minimax at the beginning?",
        "Goodfellow et al. 2014: yes, for minimax saturates where the critic rejects all samples.",
        "nonsaturating",
        "minimax",
        {"after a tenth of the steps": Measure(early, early_steps)} | AT_THE_END,
        "better",
        tested_by=("after a tenth of the steps",),
    ),
    Question(
        "Does least squares lose late what it had reached?",
        "StudioGAN's log of LSGAN on CIFAR-10 (one seed; Kang et al. 2022, arXiv:2206.09479) goes "
        "from a FID of 66.7 at its best to 330.9 at the end.",
        "lsgan",
        "nonsaturating",
        {"by final ÷ best value": Measure(regret, trained, is_distance=False)} | AT_THE_END,
        "worse",
        "These runs are short ({budgets}): the loss in that log came after far more steps, which "
        "nothing here tests.",
        ("by final ÷ best value",),
        "by final ÷ best value",
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
