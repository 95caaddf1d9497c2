"""The file of a baseline: writing and reading it. Any file may be damaged or of another version;
none is trusted."""

from collections.abc import Mapping
from dataclasses import asdict
from pathlib import Path
from typing import Any, NamedTuple

import numpy as np

from benchmark.check.rows import DIVERGED, UNKNOWN, BaselineRow
from benchmark.check.rule import FalseAlarms
from benchmark.check.traces import Trace, parsed, plain
from benchmark.errors import UserError
from benchmark.metrics import metric
from benchmark.store.files import read_json

# field of a row in the file -> its type
FIELDS: dict[str, Any] = {
    "objective": str,
    "architecture": str,
    "dataset": str,
    "metric": str,
    "training": str,
    "protocol": str | None,
    "values": dict,
    "untrained": float | int | None,
    "executed": str,
    "band": float | int | None,
}


class Baseline(NamedTuple):
    """What a baseline holds."""

    rows: list[BaselineRow]
    traces: list[Trace]
    """Empty in a baseline of an older version."""


def baseline_file(name: str, alarms: FalseAlarms | None, baseline: Baseline) -> dict[str, Any]:
    """The content of the file of a baseline, without its schema number."""
    groups = [asdict(row) for row in baseline.rows]
    content = {"matrix": name, "false_alarms": alarms, "groups": groups}
    if baseline.traces:
        content["traces"] = [plain(trace) for trace in baseline.traces]
    return content


def read_baseline(path: Path, name: str) -> Baseline:
    """The rows and traces of a baseline. Raises UserError for a file that is not one of this
    version."""
    try:
        return _parsed(read_json(path), name)
    except UserError as error:
        fault = str(error).removeprefix(f"{path} ")
        raise UserError(
            f"{path} is not a baseline of this version ({fault}): make one with ganbench accept"
        ) from error


def _parsed(saved: Mapping[str, Any], name: str) -> Baseline:
    """The baseline of a matrix. Raises UserError for content that is none."""
    groups = saved.get("groups")
    if saved.get("matrix") != name:
        raise UserError(f"matrix {saved.get('matrix')!r}")
    if not isinstance(groups, list) or not all(isinstance(group, dict) for group in groups):
        raise UserError("no list of groups")
    rows = [_parsed_row(group, i) for i, group in enumerate(groups)]
    if len({row.key for row in rows}) < len(rows):
        raise UserError("a group occurs twice")
    with_quality = {row.key[:-1] for row in rows if row.family == "quality"}
    with_divergence = {row.key[:-1] for row in rows if row.metric == DIVERGED}
    if not rows or with_quality != with_divergence:
        raise UserError("a group without a metric, or without its divergence")
    kept = saved.get("traces", [])
    if not isinstance(kept, list) or not all(isinstance(trace, dict) for trace in kept):
        raise UserError("no list of traces")
    return Baseline(rows, [parsed(trace, i) for i, trace in enumerate(kept)])


def _parsed_row(group: Mapping[str, Any], i: int) -> BaselineRow:
    """The i-th row of a baseline. Raises UserError for content that is none."""
    # Older baselines do not say how their cells were executed
    group = {"executed": UNKNOWN, **group}
    for field, kind in FIELDS.items():
        if not isinstance(group.get(field, ...), kind):
            raise UserError(f"{field} of group {i}")
    row = BaselineRow(**{field: group[field] for field in FIELDS})
    if row.family == "quality":
        # UserError for an unknown one
        metric(row.metric)
    if not all(_is_number_or_none(x) for x in (*row.values.values(), row.untrained, row.band)):
        raise UserError(f"a value of group {i} is not a number")
    is_flag = set(row.values.values()) <= {0, 1}
    if not row.values or (row.metric == DIVERGED and not is_flag):
        raise UserError(f"values of group {i}")
    if row.band is None and row.metric != DIVERGED and row.finite_values:
        raise UserError(f"band of group {i}")
    return row


def _is_number_or_none(value: object) -> bool:
    return value is None or (isinstance(value, int | float) and bool(np.isfinite(value)))
