"""Drawn architectures: on how many of them does an objective succeed, and which choices kill it?

The architecture is the unit, its first seed counts. A run that diverged is beyond no threshold."""

from collections.abc import Iterator
from dataclasses import dataclass, replace
from typing import Any

import numpy as np
import pandas as pd

from benchmark.analysis.designs.choices import CHOICES, RETEST, choices, retest
from benchmark.analysis.designs.criteria import INCEPTION, Criterion, criteria_of, main_of
from benchmark.analysis.scores import PLACE, run_values
from benchmark.analysis.tables import Tables
from benchmark.metrics import metric
from benchmark.stats.comparisons import holm
from benchmark.stats.success import discordance, wilson
from benchmark.store.frames import rows_of_cells

MANY = 10
"""Architectures of one name on a dataset from which on they are taken as drawn."""
ALPHA = 0.05
SHARES = ["dataset", "metric", "multiple", "threshold", "objective", "n", "successes"]
SHARES += ["share", "low", "high"]
PAIRS = ["dataset", "metric", "multiple", "threshold", "first", "second", "n", "only_first"]
PAIRS += ["only_second", "both", "neither", "log10_p", "p_holm", "verdict"]


@dataclass
class Drawn:
    """What a matrix with drawn architectures says."""

    tables: Tables
    """Of all cells."""
    architectures: dict[str, list[str]]
    """By dataset."""
    criteria: dict[str, list[Criterion]]
    """By dataset; the one of SUCCESS is `main`."""
    values: dict[tuple[str, str], pd.DataFrame]
    """(dataset, column) -> final values: objective x architecture, ±inf diverged, NaN a hole."""
    shares: pd.DataFrame
    """SHARES."""
    pairs: pd.DataFrame
    """PAIRS: one family under Holm's correction."""
    choices: pd.DataFrame
    """CHOICES: the shares of the main criterion by each parameter's value."""
    retest: pd.DataFrame
    """RETEST: first against second seed, on the same architectures."""

    def main(self, dataset: str) -> Criterion:
        """What counts as success where a single criterion is asked for."""
        return main_of(self.criteria[dataset])

    @property
    def frames(self) -> dict[str, pd.DataFrame]:
        """The frames that are written, by name."""
        return {"success": self.shares, "success_pairs": self.pairs, "choices": self.choices}


def drawn_architectures(tables: Tables) -> dict[str, list[str]]:
    """Dataset -> its architectures, of those that share their name with MANY or more."""
    labels: dict[tuple[str, str], dict[str, None]] = {}
    for entry in tables.matrix.cells:
        group = entry.dataset, entry.spec.architecture.name
        labels.setdefault(group, {})[entry.architecture] = None
    found: dict[str, list[str]] = {}
    for (dataset, _), names in labels.items():
        if len(names) >= MANY:
            found[dataset] = [*found.get(dataset, []), *names]
    return found


def without_drawn(tables: Tables) -> Tables:
    """The tables of the architectures that are not drawn, for pages that show every place; of a
    dataset without others, of the first. `with_pools` has all. The tables themselves where none is
    drawn."""
    left_out = set()
    all_names = tables.runs.groupby("dataset", sort=False)["architecture"].unique()
    for dataset, names in drawn_architectures(tables).items():
        has_others = set(names) < set(all_names[dataset])
        left_out |= {(dataset, name) for name in (names if has_others else names[1:])}
    if not left_out:
        return tables
    runs = _not_at(tables.runs, left_out)
    keys = set(runs["key"])
    changes: dict[str, Any] = {}
    for name in ("evals", "steps", "layers"):
        changes[name] = rows_of_cells(getattr(tables, name), keys)
    entries = [entry for entry in tables.matrix.cells if entry.key in keys]
    changes["matrix"] = tables.matrix.model_copy(update={"cells": entries})
    return replace(tables, runs=runs, **changes, with_pools=tables.with_pools or tables)


def _not_at(frame: pd.DataFrame, places: set[tuple[str, str]]) -> pd.DataFrame:
    """The rows of a frame at other places than these, (dataset, architecture)."""
    is_kept = [place not in places for place in frame[PLACE].itertuples(False, None)]
    return frame[np.array(is_kept, dtype=bool)].reset_index(drop=True)


def gather(tables: Tables) -> Drawn | None:
    """What the drawn architectures of a matrix say; None for a matrix without any. tables: of all
    cells, or `without_drawn`."""
    tables = tables.with_pools or tables
    architectures = drawn_architectures(tables)
    if not architectures:
        return None
    finals, again = {}, {}
    criteria: dict[str, list[Criterion]] = {}
    for dataset, names in architectures.items():
        criteria[dataset] = []
        for column in _columns(tables, dataset):
            first, second, others = _finals(tables, dataset, column, names)
            finals[dataset, column], again[dataset, column] = first, second
            criteria[dataset] += criteria_of(column, first, others)
    chosen, tested = [], []
    for dataset in filter(criteria.get, architectures):
        main = main_of(criteria[dataset])
        place = dataset, main.column
        chosen += choices(tables.matrix, dataset, finals[place], main)
        tested += retest(dataset, finals[place], again[place], main)
    parts = [(dataset, item) for dataset, items in criteria.items() for item in items]
    return Drawn(
        tables,
        architectures,
        criteria,
        finals,
        _shares(parts, finals),
        _pairs(parts, finals, tables.matrix.reference),
        pd.DataFrame(chosen, columns=CHOICES),
        pd.DataFrame(tested, columns=RETEST),
    )


def _columns(tables: Tables, dataset: str) -> list[str]:
    """The metric that ranks, and the Inception score where it is measured."""
    here = tables.runs[tables.runs["dataset"] == dataset]
    columns = [tables.primary[dataset]] if dataset in tables.primary else []
    for name in here.columns:
        column, _, of = name.rpartition(":")
        if of == "final" and here[name].notna().any() and column not in columns:
            columns += [column] if metric(column).name == INCEPTION else []
    return columns


def _finals(
    tables: Tables, dataset: str, column: str, names: list[str]
) -> tuple[pd.DataFrame, pd.DataFrame, pd.Series]:
    """Final values of the drawn architectures, objective x architecture, with their first and with
    their second seed; and those of all other runs."""
    cells = tables.runs[tables.runs["dataset"] == dataset]
    known = ["key", "objective", "architecture", "dataset", "seed", "status"]
    rows = run_values(cells[[*known, f"{column}:final"]])
    is_drawn = rows["architecture"].isin(names)
    drawn = rows[is_drawn]
    number = drawn.groupby(["objective", "architecture"]).cumcount()
    objectives = cells["objective"].unique()
    wide = []
    for seed in (0, 1):
        of_seed = drawn[number == seed]
        found = of_seed.pivot(index="objective", columns="architecture", values="value")
        wide.append(found.reindex(index=objectives, columns=names))
    return wide[0], wide[1], rows.loc[~is_drawn, "value"].dropna()


Parts = list[tuple[str, Criterion]]
Finals = dict[tuple[str, str], pd.DataFrame]


def _shares(parts: Parts, finals: Finals) -> pd.DataFrame:
    rows = []
    for dataset, criterion in parts:
        for name, values in finals[dataset, criterion.column].iterrows():
            known = values.dropna().to_frame().T
            successes, n = int(criterion.holds(known).to_numpy().sum()), known.shape[1]
            rows.append((*_named(dataset, criterion), name, n, successes, *wilson(successes, n)))
    return pd.DataFrame(rows, columns=SHARES)


def _pairs(parts: Parts, finals: Finals, reference: str | None) -> pd.DataFrame:
    """Every objective with the reference, or all pairs without one, at every criterion."""
    rows = []
    for dataset, criterion in parts:
        values = finals[dataset, criterion.column]
        for first, second in _paired([*values.index], reference):
            both = values.loc[[first, second]].dropna(axis=1)
            holds = criterion.holds(both).to_numpy()
            found = discordance(*holds)
            names = (*_named(dataset, criterion), first, second, both.shape[1])
            rows.append((*names, *found, found.p))
    frame = pd.DataFrame(rows, columns=PAIRS[:-1])
    frame["p_holm"] = holm(frame["p_holm"])
    more = np.where(frame["only_first"] > frame["only_second"], "better", "worse")
    return frame.assign(verdict=np.where(frame["p_holm"] <= ALPHA, more, "not separated"))


def _paired(names: list[str], reference: str | None) -> Iterator[tuple[str, str]]:
    if reference in names:
        yield from ((name, reference) for name in names if name != reference)
        return
    for index, first in enumerate(names):
        yield from ((first, second) for second in names[index + 1 :])


def _named(dataset: str, criterion: Criterion) -> tuple[str, str, float, float]:
    return dataset, criterion.column, criterion.multiple, criterion.threshold
