"""What `ganbench compare` compares: variants of one result set, or result sets.

A side is an objective's label, or a result set; the first one named is the reference that every
other side is compared with. Sides meet in matches: a match is a place, and between result sets an
objective at a place."""

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, field, replace
from typing import Any

import pandas as pd

from benchmark.analysis import convergence
from benchmark.analysis.published import joined, labelled, with_display_names
from benchmark.analysis.scores import PLACE, clock_fault, is_crossed, statuses
from benchmark.analysis.search.finals import compared, shown
from benchmark.analysis.tables import Tables
from benchmark.errors import UserError, unknown
from benchmark.matrix.options import Training
from benchmark.metrics import short_name
from benchmark.store.origin import differing
from benchmark.text import place_name, plural


@dataclass
class Sides:
    """What is compared, the reference first. Frames as in `tables`, each with a column `side`."""

    names: list[str]
    by: list[str]
    """The columns that name a match."""
    cells: pd.DataFrame
    family: pd.DataFrame
    """`cells`, and those of sides that are not named but count among the comparisons."""
    evals: pd.DataFrame
    """The primary metric only."""
    convergence: pd.DataFrame
    primary: dict[str, str]
    """dataset -> the column that ranks it."""
    floors: dict[str, float]
    """dataset -> the noise floor of that column."""
    marks: dict[str, dict[str, float]]
    """dataset -> what else that column was measured on, by name."""
    notes: list[str] = field(default_factory=list)
    labels: dict[str, str] = field(default_factory=dict)
    """Objective as it is shown -> its label."""

    @property
    def reference(self) -> str:
        return self.names[0]


def of_labels(tables: Tables, labels: Sequence[str]) -> Sides:
    """Objectives of one result set, by their display names or labels.

    Raises UserError for an unknown label, one named twice, or fewer than two, and where all seeds
    are crossed."""
    if tables.evals.empty:
        raise UserError(
            f"nothing is measured ({statuses(tables.cells)}): run the matrix first (ganbench run)"
        )
    tables, left_out = _independent(shown(tables))
    labels = [tables.matrix.shown("objective", label) for label in labels]
    known = list(tables.cells["objective"].unique())
    for label in labels:
        if label not in known:
            raise unknown("objective", label, known)
    _require_several(labels, "objectives", known)

    def with_side(frame: pd.DataFrame) -> pd.DataFrame:
        return frame.assign(side=frame["objective"].astype(str))

    def named(frame: pd.DataFrame) -> pd.DataFrame:
        return with_side(frame[frame["objective"].isin(labels)])

    cells = named(tables.cells)
    return Sides(
        names=list(labels),
        by=PLACE,
        cells=cells,
        family=with_side(tables.cells),
        evals=named(_primary_evals(tables, tables)),
        convergence=named(tables.convergence),
        primary=tables.primary,
        floors=_floors(tables),
        marks=_marks(tables),
        notes=[*left_out, *_stale_notes(labels, cells), *_clock_notes(cells)],
        labels=tables.matrix.objective_labels,
    )


def of_sets(sets: Mapping[str, Tables]) -> Sides:
    """Result sets of one matrix, by name (two commits, two machines), with the first one's targets.

    Raises UserError for one set, for a dataset measured under different protocols, for an objective
    trained with other options in the same place, and for sets that have nothing in common."""
    independent = {name: _independent(compared(tables)) for name, tables in sets.items()}
    sets = {name: tables for name, (tables, _) in independent.items()}
    names = list(sets)
    _require_several(names, "result sets")
    first = sets[names[0]]
    notes = list(dict.fromkeys(note for _, found in independent.values() for note in found))
    for name in names[1:]:
        _require_same_protocols(names[0], first, name, sets[name])
        _require_same_training(names[0], first, name, sets[name])
        notes += _matrix_notes(names[0], first, name, sets[name])
    seeds = _common_seeds(sets)
    for name, tables in sets.items():
        left_out = set(tables.cells["seed"]) - seeds
        if left_out:
            notes.append(
                f"Left out of {name}: {plural(len(left_out), 'seed')}, which not every set has."
            )

    def together(frames: Iterable[pd.DataFrame]) -> pd.DataFrame:
        pairs = zip(names, frames, strict=True)
        frame = pd.concat([rows.assign(side=name) for name, rows in pairs], ignore_index=True)
        return frame[frame["seed"].isin(seeds)]

    cells = together([tables.cells for tables in sets.values()])
    targets = {place: found.values for place, found in first.targets.items()}
    to_target = []
    for name, tables in sets.items():
        known = tables.cells[tables.cells["seed"].isin(seeds)]
        costs = convergence.to_targets(known, tables.evals, first.primary, targets)
        to_target.append(convergence.over_seeds(known, costs).assign(side=name))

    def named(frame: pd.DataFrame) -> pd.DataFrame:
        return with_display_names(frame, first.matrix)

    shown = labelled(first)
    return Sides(
        names=names,
        by=[*PLACE, "objective"],
        cells=named(cells),
        family=named(cells),
        evals=named(together([_primary_evals(tables, first) for tables in sets.values()])),
        convergence=named(pd.concat(to_target, ignore_index=True)),
        primary=shown.primary,
        floors=_floors(shown),
        marks=_marks(shown),
        notes=[*notes, *_stale_notes(names, cells)],
        labels=shown.matrix.objective_labels,
    )


def _require_several(names: Sequence[str], kind: str, known: Sequence[str] = ()) -> None:
    for name in names:
        if list(names).count(name) > 1:
            raise UserError(f"{name} is named twice: compare takes different {kind}")
    if len(names) < 2:
        valid = f"; valid: {', '.join(known)}" if known else ""
        raise UserError(
            f"compare needs two {kind} or more, got {', '.join(names) or 'none'}{valid}"
        )


def _common_seeds(sets: Mapping[str, Tables]) -> set[Any]:
    """The seeds that every set has. Raises UserError for none."""
    seeds = set.intersection(*(set(tables.cells["seed"]) for tables in sets.values()))
    if not seeds:
        raise UserError(f"{', '.join(sets)} have no seed in common")
    return seeds


def _independent(tables: Tables) -> tuple[Tables, list[str]]:
    """The tables without crossed seeds, which no test takes for independent, and a note on them.
    Raises UserError where there are no others."""
    crossed = is_crossed(tables.runs)
    if not crossed.any():
        return tables, []
    left_out = f"{plural(int(crossed.sum()), 'run')} of crossed seeds, which are not independent"
    if crossed.all():
        raise UserError(
            f"nothing to compare but {left_out}: the report has the parts of the spread"
        )
    return replace(tables, runs=tables.runs[~crossed]), [f"Left out: {left_out}."]


def _stale_notes(names: Sequence[str], cells: pd.DataFrame) -> list[str]:
    notes = []
    for name in names:
        num_stale = int(cells.loc[cells["side"] == name, "stale"].sum())
        if num_stale:
            notes.append(
                f"{name} has {plural(num_stale, 'stale cell')}: trained by other code, or "
                "measured in another way, than at present."
            )
    return notes


def _clock_notes(cells: pd.DataFrame) -> list[str]:
    """The places whose seconds do not compare."""
    notes = []
    for (dataset, architecture), place in cells.groupby(PLACE, sort=False):
        fault = clock_fault(place)
        if fault:
            notes.append(
                f"{place_name(str(architecture), str(dataset))}: seconds do not compare, and there "
                f"is no equal time: {fault}."
            )
    return notes


def _matrix_notes(name: str, first: Tables, other_name: str, other: Tables) -> list[str]:
    """How the matrix of a set differs from the first one's, and what is not measured there."""
    notes = [
        f"{other_name} is of another matrix than {name}: {option}."
        for option in differing(first.matrix.config, other.matrix.config)
    ]
    for dataset, column in first.primary.items():
        rows = other.cells[other.cells["dataset"] == dataset]
        final = f"{column}:final"
        is_measured = final in rows and rows[final].notna().any()
        if len(rows) and not is_measured:
            notes.append(
                f"{short_name(column)}, by which {dataset} is ranked, is not measured in "
                f"{other_name}."
            )
    return notes


def _primary_evals(tables: Tables, first: Tables) -> pd.DataFrame:
    """Rows of what ranks in the first set."""
    rows = joined(tables.evals, tables.cells)
    return rows[rows["metric"].astype(str) == rows["dataset"].astype(str).map(first.primary)]


def _floors(tables: Tables) -> dict[str, float]:
    return {dataset: tables.floor(dataset, column) for dataset, column in tables.primary.items()}


def _marks(tables: Tables) -> dict[str, dict[str, float]]:
    return {dataset: tables.marks(dataset, column) for dataset, column in tables.primary.items()}


def _require_same_protocols(name: str, first: Tables, other_name: str, other: Tables) -> None:
    protocols, other_protocols = _protocols(first), _protocols(other)
    for dataset in protocols.keys() & other_protocols.keys():
        if protocols[dataset] != other_protocols[dataset]:
            raise UserError(
                f"{dataset} is measured under protocol {protocols[dataset]} in {name} and "
                f"{other_protocols[dataset]} in {other_name}: "
                "values of different protocols are never compared; measure one of them again"
            )


def _protocols(tables: Tables) -> dict[str, str]:
    """The protocol of each dataset that is measured."""
    dataset = tables.evals["cell"].map(tables.cells.set_index("key")["dataset"])
    return dict(zip(dataset, tables.evals["protocol"], strict=True))


def _require_same_training(name: str, first: Tables, other_name: str, other: Tables) -> None:
    """An option that only one side knows (a later version's) is let through at its default."""
    options, other_options = _training_options(first), _training_options(other)
    common = [match for match in options if match in other_options]
    if not common:
        raise UserError(
            f"{name} and {other_name} have no objective, architecture and dataset in common"
        )
    for match in common:
        one = _with_defaults(options[match], other_options[match])
        another = _with_defaults(other_options[match], options[match])
        different = list(differing(one, another))
        if different:
            raise UserError(
                f"{' / '.join(match)} is trained with other options in {other_name} than in "
                f"{name}: {'; '.join(different)}; "
                "such runs are variants, not repetitions: put both into one matrix"
            )


def _training_options(tables: Tables) -> dict[tuple[str, str, str], dict[str, Any]]:
    """The training options by objective, architecture and dataset."""
    options = {}
    for entry in tables.matrix.cells:
        match = (entry.objective, entry.architecture, entry.dataset)
        options[match] = entry.spec.training
    return options


def _with_defaults(options: Mapping[str, Any], other: Mapping[str, Any]) -> dict[str, Any]:
    """`options`, and the defaults of what only `other` has."""
    known = {name: field.default for name, field in Training.model_fields.items()}
    return {name: known[name] for name in other if name in known} | dict(options)
