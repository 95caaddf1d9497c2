"""Results against a committed baseline: a verdict per group and metric, and an exit code.

    +   within its band of the baseline, or better
    −   worse beyond the band, and the seeds tell the two apart
    !   more seeds diverged than in the baseline, and more than chance explains
    ~   suspect: worse beyond the band, or more diverged, but not separated
    ?   cannot see: the band reaches a generator that learned nothing, or there is no reference workload to divide by
    x   cannot be compared: missing from one side, incomplete, stale, finished without a value, trained with other
        options, or measured under another protocol

Exit code 0 when every comparison is +, ~ or ?; 1 for any − or !; 2 for any x, which is never a pass. How the marks are
found: benchmark/gate.py.
"""

from dataclasses import asdict
from pathlib import Path
from typing import Any
from xml.etree import ElementTree

import numpy as np

from benchmark import UserError
from benchmark.cell import FINISHED, ROOT, digest, read_json, write_json
from benchmark.gate import (
    COST,
    GROUP,
    MANY_SEEDS,
    Row,
    Verdict,
    baseline,
    exit_code,
    false_alarms,
    judge,
    title,
    useless,
)
from benchmark.metrics import metric
from benchmark.tables import Tables

__all__ = ["accept", "compare", "exit_code", "measured", "summary", "to_markdown", "write_junit"]
BASELINES = ROOT / "results" / "baselines"


def measured(tables: Tables) -> list[Row]:
    """The rows of a rerun: per group every gated metric's final values, `diverged` (0 or 1), and COST: milliseconds of
    a generator step and peak memory, both ÷ those of the reference workload in the same process."""
    cells, evals, found = tables.cells, tables.evals, []
    dataset = evals["cell"].map(cells.set_index("key")["dataset"])
    measured_columns = evals["metric"].groupby(dataset).unique().to_dict()
    start = evals[evals["g_steps"] == 0].pivot_table(index="cell", columns="metric", values="value")
    training = {cell["key"]: digest(cell["spec"]["training"]) for cell in tables.matrix["cells"]}
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
                    "untrained": _plain(start.reindex(index=key, columns=[column])[column].median()),
                    "unfinished": int((~group["status"].isin(FINISHED)).sum()),
                    "unmeasured": int((done & values.isna()).sum()) if column not in COST else 0,
                    "stale": int(group["stale"].sum()),
                }
            )
    return found


def accept(tables: Tables, name: str) -> tuple[Path, list[str]]:
    """Write results/baselines/NAME.json from finished results. Returns its path, and what to know about it: metrics
    that are useless as a gate, and how often unchanged code would go red. Raises UserError for unfinished results."""
    rows = measured(tables)
    if not rows or any(row["unfinished"] for row in rows):
        raise UserError(f"cannot accept {name}: the results are incomplete; run the matrix to its end first")
    if any(row["stale"] for row in rows):
        raise UserError(f"cannot accept {name}: other code or evaluation options made the results; run with --force")
    groups, alarms = baseline(rows), false_alarms(rows)
    notes = [f"useless as a gate: {title(row)} {row['metric']}: {reason}" for row in groups if (reason := useless(row))]
    least = min(len(row["values"]) for row in rows)
    if alarms:
        notes.append(f"false alarms: {alarms['red']} of {alarms['reruns']} reruns of unchanged code go red")
        if alarms["red"] > alarms["reruns"] / 20:
            notes[-1] += ", more than 1 in 20: the bands are too narrow"
    else:
        notes.append(f"{least} seeds: too few to estimate false alarms and to tell small changes; {MANY_SEEDS} can")
    path = BASELINES / f"{name}.json"
    write_json(path, {"matrix": name, "false_alarms": alarms, "groups": groups})
    return path, notes


def compare(tables: Tables, name: str) -> list[Verdict]:
    """Results against the baseline of their matrix. Raises UserError where there is none."""
    path = BASELINES / f"{name}.json"
    if not path.exists():
        known = sorted(file.stem for file in BASELINES.glob("*.json"))
        raise UserError(f"no baseline for matrix {name!r}; there are: {', '.join(known) or 'none'} (ganbench accept)")
    return judge(read_json(path)["groups"], measured(tables))


def summary(verdicts: list[Verdict]) -> str:
    """`compared 113/113: 110 +, 1 ~, 2 ?`."""
    marks = [verdict.mark for verdict in verdicts]
    counted = ", ".join(f"{marks.count(mark)} {mark}" for mark in "+−!~?x" if mark in marks)
    return f"compared {sum(mark != 'x' for mark in marks)}/{len(marks)}: {counted}"


def to_markdown(verdicts: list[Verdict]) -> str:
    """The check table for a CI summary, what is not + first."""
    ordered = sorted(verdicts, key=lambda verdict: "x!−~?+".index(verdict.mark))
    cells = [
        f"| {' | '.join((v.mark, v.group, v.metric, *map(_text, (v.baseline, v.current, v.band)), v.note))} |"
        for v in ordered
    ]
    head = "| | group | metric | baseline | now | band | note |\n|---|---|---|---:|---:|---:|---|"
    return "\n".join([f"### ganbench check\n\n{summary(verdicts)}\n", head, *cells, ""])


def write_junit(verdicts: list[Verdict], path: Path) -> None:
    """JUnit XML: a test case per comparison; − and ! are failures, x an error, ? is skipped."""
    failures, errors, skipped = (sum(v.mark in marks for v in verdicts) for marks in ("−!", "x", "?"))
    counts: Any = {"tests": len(verdicts), "failures": failures, "errors": errors, "skipped": skipped}
    suite = ElementTree.Element("testsuite", {name: str(n) for name, n in counts.items()}, name="ganbench check")
    outcomes = {"−": "failure", "!": "failure", "x": "error", "?": "skipped"}
    for v in verdicts:
        case = ElementTree.SubElement(suite, "testcase", classname=v.group, name=v.metric)
        if v.mark in outcomes:
            ElementTree.SubElement(case, outcomes[v.mark], message=v.note).text = str(asdict(v))
    path.parent.mkdir(parents=True, exist_ok=True)
    ElementTree.ElementTree(suite).write(path, encoding="utf-8", xml_declaration=True)


def _plain(value: float) -> float | None:
    return None if np.isnan(value) else float(value)


def _text(value: float | None) -> str:
    return "" if value is None else f"{value:.4g}"
