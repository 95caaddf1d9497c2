"""Results against a committed baseline: a verdict per group and metric, and an exit code.

    +   not beyond its band of the baseline on the bad side
    −   worse: beyond the band on the bad side, and the seeds tell the two apart
    !   more seeds diverged than in the baseline, and more than chance explains
    ~   suspect: beyond the band on the bad side, or more diverged, but not separated
    ?   cannot see: the band reaches a generator that learned nothing, or one side has no reference workload
    x   cannot be compared: missing from one side, incomplete, stale, finished without a value, trained with other
        options, or measured under another protocol

Exit code 0 when every comparison is +, ~ or ?; 1 for any − or !; 2 for any x, which is never a
pass. How the marks are found: benchmark/gate.py."""

from dataclasses import asdict
from pathlib import Path
from typing import Any
from xml.etree import ElementTree

import numpy as np

from benchmark.analysis.tables import Tables
from benchmark.check.rule import (
    COST,
    GROUP,
    MANY_SEEDS,
    Row,
    Verdict,
    baseline,
    exit_code,
    false_alarms,
    family_of,
    judge,
    key_of,
    limits,
    title,
    useless,
    values_of,
)
from benchmark.errors import UserError
from benchmark.matrix.cell import digest
from benchmark.metrics import metric
from benchmark.store.code import ROOT
from benchmark.store.files import read_json, write_json
from benchmark.store.schema import FINISHED
from benchmark.text import escaped

__all__ = [
    "accept",
    "compare",
    "exit_code",
    "limits",
    "measured",
    "summary",
    "to_markdown",
    "write_junit",
]
BASELINES = ROOT / "results" / "baselines"
FIELDS: dict[str, Any] = dict.fromkeys(
    (*GROUP, "metric", "training"), str
)  # of a row of a baseline
FIELDS |= {"protocol": str | None, "values": dict} | dict.fromkeys(
    ("untrained", "band"), float | int | None
)


def measured(tables: Tables) -> list[Row]:
    """The rows of a rerun: per group every gated metric's final values, `diverged` (0 or 1), and
    COST: milliseconds of a generator step and peak memory, both ÷ those of the reference workload
    in the same process; of memory no value on a CPU."""
    cells, evals, found = tables.cells, tables.evals, []
    dataset = evals["cell"].map(cells.set_index("key")["dataset"])
    measured_columns = evals["metric"].groupby(dataset).unique().to_dict()
    start = evals[evals["g_steps"] == 0].pivot_table(index="cell", columns="metric", values="value")
    training = {entry.key: digest(entry.spec.training) for entry in tables.matrix.cells}
    for names, group in cells.groupby(list(GROUP), sort=False):
        seeds, key = group.set_index("seed"), group["key"]
        done = seeds["status"] == "done"
        columns = {
            column: seeds[f"{column}:final"].where(done)
            for column in sorted(measured_columns.get(group["dataset"].iloc[0], ()))
            if metric(column).gate
        }
        columns["diverged"] = (seeds["status"] == "diverged").astype(float)
        step_ms = 1000 * seeds["train_seconds"] / seeds["g_steps"]
        columns["relative speed"] = (step_ms / seeds["reference_ms"]).where(done)
        columns["relative memory"] = (seeds["peak_memory_mb"] / seeds["reference_mb"]).where(done)
        for column, values in columns.items():
            found.append(
                dict(zip(GROUP, names, strict=True))
                | {
                    "metric": column,
                    "protocol": next(iter(group["protocol"].dropna()), None),
                    "training": training[key.iloc[0]],
                    "values": {str(seed): _plain(value) for seed, value in values.items()},
                    "untrained": _plain(
                        start.reindex(index=key, columns=[column])[column].median()
                    ),
                    "unfinished": int((~group["status"].isin(FINISHED)).sum()),
                    "unmeasured": int((done & ~np.isfinite(values)).sum())
                    if column not in COST
                    else 0,
                    "stale": int(group["stale"].sum()),
                }
            )
    return found


def accept(tables: Tables, name: str) -> tuple[Path, list[str]]:
    """Write results/baselines/NAME.json from finished results. Returns its path, and what to know
    about it: what it replaces, groups without a value, metrics that are useless as a gate, and how
    often unchanged code would go red. Raises UserError for results that are unfinished, stale or
    without a value, OSError where it cannot be written."""
    rows, path = measured(tables), BASELINES / f"{name}.json"
    quality = [row for row in rows if family_of(row["metric"]) == "quality"]
    if path.exists() and not path.is_file():
        raise UserError(f"cannot accept {name}: {path} is not a file")
    if not rows or any(row["unfinished"] for row in rows):
        raise UserError(
            f"cannot accept {name}: the results are incomplete; run the matrix to its end first"
        )
    if any(row["stale"] for row in rows):
        raise UserError(
            f"cannot accept {name}: other code or evaluation options made the results; run with --force"
        )
    for row in rows:
        if row["unmeasured"]:
            seeds = f"{row['unmeasured']} of {len(row['values'])} seeds finished without a value"
            raise UserError(f"cannot accept {name}: {title(row)} {row['metric']}: {seeds}")
    unseen = {title(row) for row in rows} - {title(row) for row in quality}
    if unseen or not any(values_of(row) for row in quality):
        where = f" of {min(unseen)}" if unseen else ""
        raise UserError(
            f"cannot accept {name}: the results{where} have no value of a metric to gate"
        )
    groups, alarms = baseline(rows), false_alarms(rows)
    notes = [_replaced(path, name)] if path.exists() else []
    lost = dict.fromkeys(title(row) for row in quality if not values_of(row))
    notes += [f"no seed finished: {group}: its divergence alone is gated" for group in lost]
    notes += [
        f"useless as a gate: {title(row)} {row['metric']}: {reason}"
        for row in groups
        if (reason := useless(row))
    ]
    least = min(len(row["values"]) for row in rows)
    if alarms:
        notes.append(
            f"false alarms: {alarms['red']} of {alarms['reruns']} reruns of unchanged code go red"
        )
        if alarms["red"] > alarms["reruns"] / 20:
            notes[-1] += ", more than 1 in 20: the bands are too narrow"
    else:
        notes.append(
            f"{least} seeds: too few to estimate false alarms and to tell small changes; {MANY_SEEDS} can"
        )
    write_json(path, {"matrix": name, "false_alarms": alarms, "groups": groups})
    return path, notes


def compare(tables: Tables, name: str) -> list[Verdict]:
    """Results against the baseline of their matrix. Raises UserError where there is none, or none
    of this version."""
    path = BASELINES / f"{name}.json"
    if not path.exists():
        known = sorted(file.stem for file in BASELINES.glob("*.json"))
        raise UserError(
            f"no baseline for matrix {name!r}; there are: {', '.join(known) or 'none'} (ganbench accept)"
        )
    return judge(_groups(path, name), measured(tables))


def _groups(path: Path, name: str) -> list[Row]:
    """The rows of a baseline. Raises UserError for a file that is not one of this version."""
    try:
        saved = read_json(path)
        fault = _fault(saved, name)
    except UserError as error:
        fault = str(error).removeprefix(f"{path} ")
    if fault:
        raise UserError(
            f"{path} is not a baseline of this version ({fault}): make one with ganbench accept"
        )
    return list(saved["groups"])


def _fault(saved: Row, name: str) -> str:
    """What keeps a file from being the baseline of a matrix; the empty string for a sound one."""
    groups = saved.get("groups")
    if saved.get("matrix") != name:
        return f"matrix {saved.get('matrix')!r}"
    if not isinstance(groups, list) or not all(isinstance(row, dict) for row in groups):
        return "no list of groups"
    for i, row in enumerate(groups):
        if bad := [
            field for field, kind in FIELDS.items() if not isinstance(row.get(field, ...), kind)
        ]:
            return f"{bad[0]} of group {i}"
        family, numbers = (
            family_of(row["metric"]),
            [*row["values"].values(), row["untrained"], row["band"]],
        )
        if family == "quality":
            metric(row["metric"])  # UserError for an unknown one
        if not all(x is None or (isinstance(x, int | float) and np.isfinite(x)) for x in numbers):
            return f"a value of group {i} is not a number"
        if not row["values"] or (
            family == "diverged" and not set(row["values"].values()) <= {0, 1}
        ):
            return f"values of group {i}"
        if row["band"] is None and family != "diverged" and values_of(row):
            return f"band of group {i}"
    keys = [key_of(row) for row in groups]
    if len(set(keys)) < len(keys):
        return "a group occurs twice"
    quality, diverged = (
        {key[:-1] for key in keys if family_of(key[-1]) == name} for name in ("quality", "diverged")
    )
    return (
        ""
        if groups and quality == diverged
        else "a group without a metric, or without its divergence"
    )


def _replaced(path: Path, name: str) -> str:
    try:
        return (
            f"replaces a baseline of {max(len(row['values']) for row in _groups(path, name))} seeds"
        )
    except UserError:
        return "replaces a file that is not a baseline of this version"


def summary(verdicts: list[Verdict]) -> str:
    """`compared 113/113: 110 +, 1 ~, 2 ?`."""
    marks = [verdict.mark for verdict in verdicts]
    counted = ", ".join(f"{marks.count(mark)} {mark}" for mark in "+−!~?x" if mark in marks)
    return f"compared {sum(mark != 'x' for mark in marks)}/{len(marks)}: {counted}"


def to_markdown(verdicts: list[Verdict]) -> str:
    """The check table for a CI summary, what is not + first."""
    ordered = sorted(verdicts, key=lambda verdict: "x!−~?+".index(verdict.mark))
    rows = [
        (v.mark, v.group, v.metric, *map(_text, (v.baseline, v.current, v.band)), v.note)
        for v in ordered
    ]
    cells = [f"| {' | '.join(map(escaped, row))} |" for row in rows]
    head = "| | group | metric | baseline | now | band | note |\n|---|---|---|---:|---:|---:|---|"
    said = [f"{text}\n" for text in (summary(verdicts), *limits(verdicts))]
    return "\n".join(["### ganbench check\n", *said, head, *cells, ""])


def write_junit(verdicts: list[Verdict], path: Path) -> None:
    """JUnit XML: a test case per comparison; − and ! are failures, x an error, ? is skipped."""
    failures, errors, skipped = (
        sum(v.mark in marks for v in verdicts) for marks in ("−!", "x", "?")
    )
    counts: Any = {
        "tests": len(verdicts),
        "failures": failures,
        "errors": errors,
        "skipped": skipped,
    }
    suite = ElementTree.Element(
        "testsuite", {name: str(n) for name, n in counts.items()}, name="ganbench check"
    )
    outcomes = {"−": "failure", "!": "failure", "x": "error", "?": "skipped"}
    for v in verdicts:
        case = ElementTree.SubElement(suite, "testcase", classname=v.group, name=v.metric)
        if v.mark in outcomes:
            ElementTree.SubElement(case, outcomes[v.mark], message=v.note).text = str(asdict(v))
    path.parent.mkdir(parents=True, exist_ok=True)
    ElementTree.ElementTree(suite).write(path, encoding="utf-8", xml_declaration=True)


def _plain(value: float) -> float | None:
    return float(value) if np.isfinite(value) else None


def _text(value: float | None) -> str:
    return "" if value is None else f"{value:.4g}"
