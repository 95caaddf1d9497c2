"""Who meets whom: the objectives of a place that share the settings of their optimisers."""

import math
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from functools import cached_property
from typing import Any

from benchmark.analysis.evidence import Evidence
from benchmark.analysis.scores import PLACE
from benchmark.analysis.search.finals import is_pick
from benchmark.analysis.targets import has_way, share_of_way
from benchmark.matrix.cell import Choice
from benchmark.report.page import at_place, place, places
from benchmark.store.schema import Entry
from benchmark.text import Record, as_toml
from tests.studies.reference_page.references import Reference

OPTIMISER = ("lr", "betas", "optimizer", "critic_steps")
"""Parameters of an objective that are no part of its loss."""
TUNED = "tuned"
"""What a setting is called whose objectives a search picked."""
SHARED = ("lr", "betas")
"""Those of them that make a setting. The others are given only to objectives whose own differ."""


@dataclass(frozen=True)
class Setting:
    """A place of a result set, or the part of its objectives with other settings than their
    papers'."""

    reference: Reference
    evidence: Evidence
    at: Record
    """Dataset and architecture."""
    given: str
    """What the settings are called that the matrix gives the objectives; empty for none."""
    labels: dict[str, str]
    """Loss → what the tables call the objective here."""

    @cached_property
    def title(self) -> str:
        """`quick: dcgan on digits`; parameters are named where names alone leave places alike."""
        bare = {}
        for axis in PLACE:
            names = [label.partition("[")[0] for label in self.evidence.tables.cells[axis].unique()]
            name = self.at[axis].partition("[")[0]
            bare[axis] = name if names.count(name) == 1 else self.at[axis]
        return f"{self.reference.name}: {place(bare)}"

    @property
    def name(self) -> str:
        """The title with the settings."""
        return f"{self.title} ({self.given})" if self.given else self.title

    def spec(self, loss: str) -> str:
        """What is trained under a loss and by which protocol it is measured, as text, whatever the
        seed."""
        cells = at_place(self.evidence.tables.cells, self.at)
        protocols = sorted(cells["protocol"].dropna().unique())
        for entry in self.evidence.tables.matrix.cells:
            here = {"dataset": entry.dataset, "architecture": entry.architecture}
            if entry.objective == self.labels[loss] and here.items() <= self.at.items():
                spec = entry.spec.model_copy(update={"seed": 0}).model_dump_json()
                return f"{protocols} {spec}"
        raise KeyError(loss)

    @property
    def mark(self) -> str:
        """` (earlier code)` and the like; empty where the present version made the rows."""
        mark = self.reference.origin.mark
        return f" ({mark})" if mark else ""


def way(setting: Setting, value: float) -> float:
    """The share of the way from the untrained generator to the noise floor, on a logarithmic scale,
    that a value of the metric that ranks has come; NaN where it is not known, −∞ of a run that
    diverged."""
    tables, at = setting.evidence.tables, setting.at
    column = tables.primary[at["dataset"]]
    untrained = tables.untrained.get((at["dataset"], at["architecture"]), math.nan)
    floor = tables.floor(at["dataset"], column)
    if not has_way(column, untrained, floor):
        return math.nan
    return float(share_of_way(value, untrained, floor))


def of(references: Sequence[Reference]) -> list[Setting]:
    """The settings of all result sets, in their order. A place with a single seed is none."""
    found = []
    for reference in references:
        if reference.evidence is not None:
            found += list(_of_set(reference, reference.evidence))
    return found


def _of_set(reference: Reference, evidence: Evidence) -> Iterator[Setting]:
    entries = {}
    for entry in evidence.tables.matrix.cells:
        entries[entry.dataset, entry.architecture, entry.objective] = entry
    for at in places(evidence.tables.cells):
        if at_place(evidence.tables.cells, at)["seed"].nunique() == 1:
            continue
        labels: dict[str, dict[str, str]] = {}
        for objective in at_place(evidence.tables.cells, at)["objective"].unique():
            entry = entries[at["dataset"], at["architecture"], objective]
            labels.setdefault(_given(entry), {})[_loss(entry)] = objective
        for given, of_setting in labels.items():
            called = _called(of_setting) if given else ""
            yield Setting(reference, evidence, at, called or given, of_setting)


def _given(entry: Entry) -> str:
    """The values of SHARED that the matrix gives an objective; TUNED for what a search picked."""
    if is_pick(entry.objective):
        return TUNED
    params = entry.spec.objective.params
    return ", ".join(f"{name} = {as_toml(params[name])}" for name in SHARED if name in params)


def _called(labels: dict[str, str]) -> str:
    """`shared` of objectives that are called `wgan_gp, shared` and the like; empty for none."""
    ends = {name.rpartition(" ")[2].strip("()") for name in labels.values()}
    return ends.pop() if len(ends) == 1 else ""


def _loss(entry: Entry) -> str:
    """The label of an objective without what is no part of its loss; of a pick of a search its
    name, with the kind of pairs alone."""
    choice = entry.spec.objective
    is_tuned = is_pick(entry.objective)
    params: dict[str, Any] = {}
    for name, value in choice.params.items():
        if name not in OPTIMISER and (name == "pairs" or not is_tuned):
            params[name] = value
    return Choice(choice.name, params).label
