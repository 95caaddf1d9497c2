"""What a result set says of itself: what was run, what it cost, what it found, what it cannot say.

All of it is computed from its rows. A name between back-ticks is code on the page."""

import math
from collections.abc import Iterator, Sequence
from functools import cached_property
from typing import NamedTuple

import pandas as pd

from benchmark.analysis.designs.drawn import Drawn, gather
from benchmark.analysis.evidence import ALPHA, Evidence
from benchmark.analysis.scores import is_crossed
from benchmark.analysis.search.finals import ENDING
from benchmark.analysis.tables import Tables
from benchmark.metrics import short_name
from benchmark.report.chapters import completeness, tuning
from benchmark.report.chapters.leaderboards import summary_by_key, summary_key
from benchmark.report.designs import drawn, spread
from benchmark.report.page import TRAINING_BUDGETS, each_place, place, places, records
from benchmark.stats.success import Discordance, discordance
from benchmark.store.frames import HOLES
from benchmark.text import Record, duration, interval, listed, plural, spanned

BUDGETS = {
    "final": "at the end of training",
    "equal_compute": "at equal compute",
    "equal_time": "at equal raced seconds",
}
"""The budgets of COMPARED_AT in words."""
SAID_AT = ("final", "equal_compute")
"""The budgets that sentences speak of; the leaderboards have all."""
MOST_PLACES = 3
"""Places of which each has a sentence; more are counted."""
MOST_NAMED = 4
"""Objectives that a sentence names where nothing is claimed of them."""
CROSSED = "Crossed seeds are no independent pairs: no difference between objectives is tested."
PROTOCOL = "{}: comparable within one protocol only, so not with published values."


class Sentences(NamedTuple):
    """What a reference says of itself."""

    run: list[str]
    cost: list[str]
    found: list[str]
    limits: list[str]


class Values:
    """Numbers of a result set for the sentences of about.toml."""

    def __init__(self, evidence: Evidence) -> None:
        self.tables = evidence.tables
        self.cells = evidence.tables.cells
        self.summary = summary_by_key(evidence.tables)

    @cached_property
    def drawn(self) -> Drawn | None:
        """What drawn architectures say; None in a set without any."""
        return gather(self.tables)

    def median(self, objective: str, metric: str = "", of: str = "final") -> str:
        """`0.735 [0.699, 0.774]`, in the only place of the set. metric: a column; by default that
        which ranks."""
        (at,) = places(self.cells)
        measured = {"metric": metric or self.column, "of": of}
        return interval(self.summary[summary_key(at | measured, objective)])

    @property
    def column(self) -> str:
        """What ranks in the only place of the set."""
        (column,) = self.tables.primary.values()
        return column

    @property
    def floor(self) -> float:
        """What real samples have of it."""
        (dataset,) = self.tables.primary
        return self.tables.floor(dataset, self.column)

    def ranked(self, of: str = "final") -> list[str]:
        """The objectives by their medians, the lowest first."""
        found = self.table("summary").query("metric == @self.column and of == @of")
        return list(found.sort_values("median")["objective"])

    def curve(self, objective: str) -> pd.Series:
        """The medians over seeds, by generator step."""
        found = self.table("evals").query("metric == @self.column and objective == @objective")
        return found.groupby("g_steps")["value"].median()

    def table(self, name: str) -> pd.DataFrame:
        """A table as it is stored."""
        return pd.read_csv(self.tables.folder / "tables" / f"{name}.csv", **HOLES)

    def verdict(self, name: str, *objectives: str) -> str:
        """`9 of 10`: the runs of these objectives that have a verdict."""
        here = self.cells[self.cells["objective"].isin(objectives)]
        return f"{(here['verdict'] == name).sum()} of {len(here)}"

    def alone(self, first: str, second: str) -> Discordance:
        """On how many drawn architectures either of two objectives succeeds alone, by the main
        criterion, and the exact two-sided test of it, which is not corrected."""
        found = self.drawn
        assert found is not None
        (dataset,) = found.architectures
        criterion = found.main(dataset)
        values = found.values[dataset, criterion.column].loc[[first, second]].dropna(axis=1)
        return discordance(*criterion.holds(values).to_numpy())


def of(evidence: Evidence) -> Sentences:
    """The sentences of a result set."""
    tables = evidence.tables
    designs = list(_designs(tables))
    # A design has tests of its own
    is_mute = bool(designs) and bool(evidence.power["told_share"].isna().all())
    compared, limits = [], [CROSSED] if is_crossed(tables.runs).any() else []
    if len(evidence.compared) and not is_mute:
        compared = [sentence for budget in SAID_AT for sentence in _compared(evidence, budget)]
        limits += list(_seeds_tell(evidence))
    columns = dict.fromkeys(tables.primary.values())
    limits.append(PROTOCOL.format(listed([short_name(column) for column in columns])))
    failed = completeness.losses((tables.with_pools or tables).cells)
    searched = [chapter.answers[0] for chapter in tuning.chapters(tables)]
    found = [*designs, *compared, failed]
    return Sentences([_run(tables), *searched], [_cost(tables)], found, limits)


def _run(tables: Tables) -> str:
    """Objectives, networks, data, seeds and budgets."""
    everything = tables.with_pools or tables
    cells = tables.cells
    names = [code(place(at)) for at in places(everything.cells)]
    where = listed(names) if len(names) <= MOST_PLACES else plural(len(names), "place")
    budgets: dict[str, dict[str, None]] = {}
    for entry in everything.matrix.cells:
        for name, noun in TRAINING_BUDGETS.items():
            if entry.spec.training.get(name):
                budgets.setdefault(noun, {})[f"{entry.spec.training[name]:,g}"] = None
    lengths = [f"{listed([*amounts])} {noun}" for noun, amounts in budgets.items()]
    by_group = cells.groupby(["dataset", "architecture", "objective"])["seed"]
    seeds = spanned(by_group.nunique(), "seed")
    # what a search picked is the same objective
    losses = {name.removesuffix(ENDING) for name in cells["objective"].unique()}
    objectives = plural(len(losses), "objective")
    runs = plural(len(everything.cells), "run")
    return f"{objectives} on {where}, {seeds} each: {runs} of {listed(lengths)}."


def _cost(tables: Tables) -> str:
    """What training and measuring took, and where."""
    cells = (tables.with_pools or tables).cells
    raced, measured = cells["raced_seconds"].sum(), cells["eval_seconds"].sum()
    clock = duration(cells["train_seconds"].sum(), 2)
    training = f"{duration(raced, 2)} of training by the races, {clock} by the clock,"
    if not raced:
        training = f"{clock} of training on a wall clock"
    devices = cells["device"].dropna().str.partition(" (")[0].unique()
    torch = listed([*cells["torch"].dropna().unique()])
    return (
        f"{training} and {duration(measured, 2)} of measuring by the clock, run by run, on "
        f"{listed([*devices])} with PyTorch {torch}."
    )


def _designs(tables: Tables) -> Iterator[str]:
    """What drawn architectures, crossed seeds and searches say."""
    for chapter in (*drawn.chapters(tables), *spread.chapters(tables), *tuning.chapters(tables)):
        for item in chapter.items:
            yield f"{item.lead}: {' '.join(item.lines)}"


def _compared(evidence: Evidence, budget: str) -> Iterator[str]:
    """Who is better and who is worse at a budget: in few places one by one."""
    rows = evidence.compared[evidence.compared["of"] == budget]
    here = list(each_place(rows))
    if len(here) > MOST_PLACES:
        yield _counted(rows, len(here), budget)
        return
    for at, of_place in here:
        column = of_place["metric"].iloc[0]
        said = "; ".join(_parts(of_place))
        yield f"{code(place(at))}, {short_name(column)} {BUDGETS[budget]}: {said}."


def _parts(rows: pd.DataFrame) -> Iterator[str]:
    """`better than nonsaturating: wgan_gp (−0.9 [−1.4, −0.7])`, and so on."""
    told = rows[rows["verdict"] != "not separated"]
    is_by_pairs = rows["second"].nunique() > 1
    if told.empty:
        yield (
            "nothing is separated" if is_by_pairs else f"nothing is separated from {_second(rows)}"
        )
        return
    for verdict, of_verdict in told.groupby("verdict", sort=True):
        if is_by_pairs:
            pairs = [
                f"{code(row['first'])} than {code(row['second'])}" for row in records(of_verdict)
            ]
            yield f"{verdict}: {listed(pairs)}"
        else:
            names = [f"{code(row['first'])} ({difference(row)})" for row in records(of_verdict)]
            yield f"{verdict} than {_second(rows)}: {listed(names)}"
    others = rows[rows["verdict"] == "not separated"]
    if 0 < len(others) <= MOST_NAMED and not is_by_pairs:
        yield f"not separated: {listed([*map(code, others['first'])])}"


def _second(rows: pd.DataFrame) -> str:
    return code(rows["second"].iloc[0])


def difference(row: Record) -> str:
    """The median difference of two objectives with its interval."""
    return interval(row, "difference").replace("∞", "diverged")


def _counted(rows: pd.DataFrame, num_places: int, budget: str) -> str:
    """In how many places each objective is better, and in how many it is worse."""
    parts = []
    for name, of_objective in rows.groupby("first", sort=False):
        counts = of_objective["verdict"].value_counts()
        told = [f"{word} in {counts[word]}" for word in ("better", "worse") if word in counts]
        if told:
            parts.append(f"{code(name)} {' and '.join(told)}")
    than = listed([*map(code, rows["second"].unique())])
    said = listed(parts) or "nothing is separated"
    return f"Against {than} {BUDGETS[budget]}, of {num_places} places: {said}."


def _seeds_tell(evidence: Evidence) -> Iterator[str]:
    """What the seeds can tell, and what they cannot."""
    sizes = records(evidence.power.drop_duplicates("n"))
    comparisons = plural(len(evidence.compared), "comparison")
    if sizes and all(math.isnan(size["told_share"]) for size in sizes):
        needed = max(size["seeds_asked"] for size in sizes)
        told = f"{comparisons} need {needed} seeds"
        yield f"{_seeds(sizes)} can tell no difference from chance: {told}."
    elif sizes:
        least = max(size["told_share"] for size in sizes)
        yield (
            f"That any better or worse of its {comparisons} is false has a probability of "
            f"{ALPHA:.0%} at most. {_seeds(sizes)} find an objective that is better on "
            f"{least:.0%} of all seeds four times in five, and may miss one that is better on "
            "fewer."
        )


def _seeds(sizes: Sequence[Record]) -> str:
    return spanned([size["n"] for size in sizes], "seed")


def code(name: object) -> str:
    """A name as code."""
    return f"`{name}`"
