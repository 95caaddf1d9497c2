"""A submission's values against the baseline: do its seeds begin as those of the baseline do, and
are the objectives that both have neither worse nor better?"""

from dataclasses import asdict, replace
from pathlib import Path

import numpy as np

from benchmark.analysis.tables import Tables
from benchmark.check.baseline import find, measured
from benchmark.check.numbers import ROUNDING, compare_numbers
from benchmark.check.rows import COST, BaselineRow, RerunRow, baseline_rows
from benchmark.check.rule import judge
from benchmark.check.stored import Baseline, read_baseline
from benchmark.check.submission.rules import MatrixRules
from benchmark.check.traces import Point, Trace, traces
from benchmark.check.verdict import Verdict

REFUSED = "−!≠x"  # marks


def other_starts(tables: Tables, rules: MatrixRules, baselines: Path | None) -> list[str]:
    """Runs that do not begin as the baseline's of the same place and seed: with other weights, of
    another seed, or measured in another way. Initial weights do not depend on the objective, and so
    an objective that the baseline does not have is compared as well."""
    baseline = _baseline(tables, baselines)
    reasons = []
    for place in rules.places:
        start = Point(0, place.metric)
        before: dict[str, float] = {}
        for trace in baseline.traces:
            if trace.group[1:] == place.name:
                before |= _values(trace, start)
        if not before:
            reasons.append(f"the baseline has no {place.metric} of the start of a run")
        for trace in traces(tables):
            if trace.group[1:] != place.name:
                continue
            limit = ROUNDING.get(trace.rounding, {}).get(0, 0.0)
            for seed, value in _values(trace, start).items():
                if seed in before and not np.isclose(value, before[seed], rtol=limit, atol=0):
                    reasons.append(
                        f"{trace.title}: seed {seed} does not begin as in the baseline: "
                        f"{place.metric} {value:.6g} against {before[seed]:.6g}"
                    )
    return reasons


def _values(trace: Trace, point: Point) -> dict[str, float]:
    """The number of a trace at a point by seed; empty where it has none."""
    if point not in trace.points:
        return {}
    column = trace.points.index(point)
    return {seed: float(values[column]) for seed, values in trace.seeds.items()}


def disagreements(tables: Tables, control: str, baselines: Path | None) -> list[str]:
    """Where the objectives that the baseline has, the control among them, have other results."""
    baseline, rows = _baseline(tables, baselines), measured(tables)
    known = {row.key for row in baseline.rows if row.metric not in COST}
    shared = known & {row.key for row in rows}
    if not any(key.objective == control for key in shared):
        return [f"the baseline has no results of the control {control} to compare with"]
    old = [row for row in baseline.rows if row.key in shared]
    # Cells of another patch release are stale
    new = [replace(row, stale=0) for row in rows if row.key in shared]
    of_groups = {key[:3] for key in shared}
    old_traces = [trace for trace in baseline.traces if trace.group in of_groups]
    numbers = compare_numbers(old_traces, traces(tables), old, new)
    others = [verdict for verdict in numbers if verdict.mark in REFUSED]
    worse, better = both_ways(old, new)
    reasons = [f"{verdict.group} {verdict.metric}: {verdict.note}" for verdict in worse + others]
    for verdict in better:
        reasons.append(
            f"{verdict.group} {verdict.metric}: better than the same objective in the baseline: "
            f"{verdict.note}"
        )
    return reasons


def both_ways(old: list[BaselineRow], new: list[RerunRow]) -> tuple[list[Verdict], list[Verdict]]:
    """Where new rows are worse than those of a baseline, and where they are better: there the
    baseline is worse than the new rows."""
    worse = [verdict for verdict in judge(old, new) if verdict.mark in REFUSED]
    mirrored = judge(baseline_rows(new), [as_rerun(row) for row in old])
    return worse, [verdict for verdict in mirrored if verdict.mark in "−!"]


def _baseline(tables: Tables, baselines: Path | None) -> Baseline:
    name = tables.matrix.name
    return read_baseline(find(name, baselines), name)


def as_rerun(row: BaselineRow) -> RerunRow:
    """A row of a baseline as a whole and fresh rerun."""
    fields = asdict(row)
    del fields["band"]
    return RerunRow(**fields, unfinished=0, unmeasured=0, stale=0)
