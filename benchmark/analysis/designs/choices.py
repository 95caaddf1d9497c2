"""Which choice of an architecture kills which objective, and whether a second seed agrees."""

from typing import Any

import pandas as pd

from benchmark.analysis.designs.criteria import Criterion
from benchmark.stats.success import wilson
from benchmark.stats.tuning import rank_correlation
from benchmark.store.schema import MatrixFile

CHOICES = ["dataset", "choice", "value", "objective", "n", "successes", "share", "low", "high"]
RETEST = ["dataset", "metric", "objective", "n", "correlation", "low", "high", "same_outcome"]
DEFAULT = "default"
Row = tuple[Any, ...]


def choices(
    matrix: MatrixFile, dataset: str, values: pd.DataFrame, criterion: Criterion
) -> list[Row]:
    """Rows of CHOICES: of the drawn architectures that have a value of a parameter, those on which
    an objective succeeds. values: objective x architecture."""
    rows = []
    for choice, of_architecture in parameters(matrix, dataset, [*values.columns]).items():
        for value in sorted(set(of_architecture.values()), key=_in_order):
            chosen = [name for name, drawn in of_architecture.items() if drawn == value]
            for objective, row in values[chosen].iterrows():
                known = row.dropna().to_frame().T
                n, successes = known.shape[1], int(criterion.holds(known).to_numpy().sum())
                share = wilson(successes, n)
                rows.append((dataset, choice, str(value), objective, n, successes, *share))
    return rows


def parameters(
    matrix: MatrixFile, dataset: str, architectures: list[str]
) -> dict[str, dict[str, Any]]:
    """Parameter -> architecture -> value, of the parameters that differ among architectures."""
    params: dict[str, dict[str, Any]] = {}
    for entry in matrix.cells:
        if entry.dataset == dataset and entry.architecture in architectures:
            params[entry.architecture] = entry.spec.architecture.params
    found: dict[str, dict[str, Any]] = {}
    for key in sorted({key for of_one in params.values() for key in of_one}):
        drawn = {of_one[key] for of_one in params.values() if key in of_one}
        default = _default(matrix, key, drawn)
        found[key] = {name: params[name].get(key, default) for name in architectures}
    return {key: values for key, values in found.items() if len(set(values.values())) > 1}


def _default(matrix: MatrixFile, key: str, drawn: set[Any]) -> Any:
    """The value of a parameter that a label leaves out: the one of the matrix file's list that no
    label has; "default" where that is not plain."""
    left: list[Any] = []
    for value in matrix.config.get("architectures", []):
        listed = value.get(key) if isinstance(value, dict) else None
        if isinstance(listed, list):
            left += [entry for entry in listed if entry not in drawn]
    return left[0] if len(left) == 1 else DEFAULT


def _in_order(value: Any) -> tuple[bool, float, str]:
    """Numbers by size, before words."""
    is_number = isinstance(value, int | float)
    return not is_number, float(value) if is_number else 0.0, str(value)


def retest(dataset: str, first: pd.DataFrame, second: pd.DataFrame, by: Criterion) -> list[Row]:
    """Rows of RETEST: the first seed against the second on the same architectures. first, second:
    objective x architecture. None where less than two architectures have both."""
    rows = []
    for name in first.index:
        both = pd.DataFrame([first.loc[name], second.loc[name]]).dropna(axis=1)
        if both.shape[1] > 1:
            outcomes = by.holds(both).to_numpy()
            same = float((outcomes[0] == outcomes[1]).mean())
            found = rank_correlation(*both.to_numpy())
            rows.append((dataset, by.column, name, both.shape[1], *found, same))
    return rows
