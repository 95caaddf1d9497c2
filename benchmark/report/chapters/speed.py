"""The report's chapters on how fast, how reliable and at what cost."""

from pathlib import Path

import numpy as np
import pandas as pd

from benchmark.analysis import convergence
from benchmark.analysis.evidence import Evidence
from benchmark.analysis.scores import PLACE, ms_per_g_step
from benchmark.analysis.stopping import stopping
from benchmark.analysis.tables import Tables
from benchmark.analysis.thresholds import THRESHOLDS
from benchmark.analysis.verdicts import VERDICTS
from benchmark.metrics import metric
from benchmark.report.page import (
    CLOCKS,
    Chapter,
    Item,
    Row,
    Table,
    at_place,
    by_place,
    place,
    records,
    tags,
)
from benchmark.stats.bootstrap import robust_spread
from benchmark.store import clocks
from benchmark.store.result_set import cell_status
from benchmark.text import Record, interval, listed, number, plural, span

COSTS = {
    "ms": "ms per generator step",
    "forwards": "critic forwards per generator step",
    "workloads": "reference workloads per generator step",
    "train_seconds": "training seconds",
    "share": "% of time measuring",
    "peak_memory_mb": "peak memory MiB",
}
TO_TARGET = (
    "Median over seeds of what a run had spent at its first evaluation at the target, with its 95 % interval (Kaplan–"
    "Meier: a run that ended before is censored there, one that diverged never reaches it). ∞: not reached by half of "
    "the runs. Critic forwards: all work, in passes of one sample through the critic."
)
RELIABILITY = (
    "Verdicts with the steps from which they hold. Seed SD: robust, of the final values. Regret: final ÷ best; "
    "oscillation: noise of log₁₀ of the metric from one evaluation to the next, in the second half; medians over "
    "seeds. Loss against quality: rank correlation of the critic's loss with the metric over a run, −1: the loss rises "
    "whenever quality improves. Overfitting gap: the critic's loss on held-out − on training samples; a small offset "
    "that all objectives share is that of the batches, the same for all. Both: IQM over seeds [95 % BCa interval]."
)
COST = (
    "Medians over seeds. A generator step includes its critic steps; a critic forward is the work of one sample "
    "through the critic. The reference workload runs in the same process as the cell: machines compare in its units. "
    "Memory: allocated on a GPU; on a CPU the whole process, which the libraries dominate."
)


def speed(found: Evidence) -> Chapter:
    """Time to target on four clocks, and the performance profile's score."""
    tables, chapter = found.tables, Chapter("speed", "How fast?")
    frame = tables.convergence[tables.convergence["target"].notna()]
    if frame.empty:
        chapter.answers.append(
            "No target: the matrix gives none, and names no reference that has finished."
        )
        return chapter
    clocks = [clock for clock in CLOCKS if frame[frame["clock"] == clock]["median"].notna().any()]
    heads = ["where", "objective", "reached", *(CLOCKS[clock] for clock in clocks)]
    table = Table("To the target", heads, note=TO_TARGET)
    given, primary = tables.matrix.get("targets", {}), tables.primary
    for at in records(frame[PLACE].drop_duplicates()):
        rows, dataset = at_place(frame, at), at["dataset"]
        label = metric(primary[dataset]).label if dataset in primary else ""
        source = (
            "given in the matrix"
            if dataset in given
            else f"the median best of {tables.matrix.get('reference')}"
        )
        said = f"target {label} {number(rows['target'].iloc[0])}, {source}. {_fastest(rows)}"
        chapter.items.append(Item(place(at), [said], tags(at)))
        for objective, of_objective in rows.groupby("objective", sort=False):
            by_clock = {row["clock"]: row for row in records(of_objective)}
            reached = f"{by_clock['samples']['reached']}/{by_clock['samples']['n']}"
            times = [interval(by_clock[clock], "median") for clock in clocks]
            table.rows.append(
                Row(
                    [place(at), str(objective), reached, *times],
                    tags({**at, "objective": objective}),
                )
            )
    chapter.tables.append(table)
    if len(chapter.items) > 1:
        chapter.tables.append(profile(tables))
    return chapter


def _fastest(rows: pd.DataFrame) -> str:
    said = []
    for clock in ("g_steps", "seconds"):
        times = rows[(rows["clock"] == clock) & np.isfinite(rows["median"])]
        if len(times):
            least = times[times["median"] == times["median"].min()]
            said.append(
                f"{listed(list(least['objective']))} by {CLOCKS[clock]} ({number(least['median'].iloc[0])})"
            )
    return (
        f"First there at the median: {'; '.join(said)}."
        if said
        else "No objective reaches it in half of its runs."
    )


def profile(tables: Tables) -> Table:
    """AlgoPerf's score per objective on every clock that is known."""
    frames = {
        clock: convergence.profile(tables.convergence, clock)[1].set_index("objective")
        for clock in CLOCKS
    }
    scores = pd.DataFrame({clock: frame["score"] for clock, frame in frames.items() if len(frame)})
    scores = scores.iloc[np.argsort(-scores.sum(axis=1), kind="stable")]
    table = Table(
        "Performance profile over places",
        ["objective", *(CLOCKS[clock] for clock in map(str, scores))],
    )
    for name, row in scores.iterrows():
        table.rows.append(Row([str(name), *map(number, row)], {"objective": [str(name)]}))
    counts = [
        f"{frames[clock]['workloads'].iloc[0]} by {CLOCKS[clock]}" for clock in map(str, scores)
    ]
    table.note = (
        "Share of places whose target is reached, at the median, within a ratio of the best objective's cost; mean "
        f"over ratios from 1 to {convergence.LIMIT:g}: 1 is always first. Places: {', '.join(counts)}."
    )
    return table


def reliable(found: Evidence) -> Chapter:
    """Verdicts, spread over seeds, regret, oscillation; is the loss a stopping criterion?"""
    tables, chapter = found.tables, Chapter("stability", "How reliable?")
    primary = tables.primary
    cells = tables.cells[tables.cells["verdict"].notna()]
    ok = int((cells["verdict"] == "ok").sum())
    said = f"No failure was seen in {ok} of {plural(len(cells), 'finished run')}, which does not say that their samples "
    chapter.answers.append(f"{said}are good.")
    stopped = {
        tuple(row[n] for n in (*PLACE, "objective", "quantity")): row
        for row in records(stopping(tables.cells))
    }
    for at in records(tables.cells[PLACE].drop_duplicates()):
        if said := _tracks(
            primary.get(at["dataset"]), [row for row in stopped.values() if place(row) == place(at)]
        ):
            chapter.items.append(Item(place(at), [said], tags(at)))
    heads = [
        "where",
        "objective",
        "runs by verdict",
        "seed SD, % of median",
        "regret",
        "oscillation, decades",
    ]
    table = Table(
        "Reliability", [*heads, "loss against quality", "overfitting gap"], note=RELIABILITY
    )
    for key, group in by_place(cells).groupby([*PLACE, "objective"], sort=False):
        dataset, architecture, objective = map(str, key)
        row: Record = {"dataset": dataset, "architecture": architecture, "objective": objective}
        values = [*(group[name].median() for name in ("regret", "oscillation"))]
        last = [
            stopped.get((dataset, architecture, objective, name))
            for name in ("loss_correlation", "overfit_gap")
        ]
        texts = [_verdicts(group), *map(number, [_spread(group, primary.get(dataset)), *values])]
        texts += [interval(of) if of else "–" for of in last]
        table.rows.append(Row([place(row), objective, *texts], tags(row)))
    chapter.tables += [table, thresholds()]
    return chapter


def _spread(group: pd.DataFrame, column: str | None) -> float:
    """Robust standard deviation over seeds of the final value, in percent of its median."""
    final = (
        group[group["status"] == "done"][f"{column}:final"].dropna()
        if column
        else pd.Series(dtype=float)
    )
    return 100 * robust_spread(final) / final.median() if len(final) > 1 else np.nan


def _verdicts(group: pd.DataFrame) -> str:
    said = []
    for name in VERDICTS:
        onset = group[group["verdict"] == name]["verdict_onset"]
        if len(onset):
            since = f" from step {span(onset)}" if name != "ok" and onset.notna().any() else ""
            said.append(f"{len(onset)} {name}{since}")
    return "\n".join(said)


def _tracks(column: str | None, rows: list[Record]) -> str:
    """The objectives whose critic's loss goes with the metric, either way, where the interval
    excludes 0."""
    rows = [row for row in rows if row["quantity"] == "loss_correlation"]
    if not rows or column is None:
        return ""
    label = metric(column).label
    rises = [row["objective"] for row in rows if row["iqm"] < 0 and row["ci_high"] < 0]
    falls = [row["objective"] for row in rows if row["iqm"] > 0 and row["ci_low"] > 0]
    sides = {f"rises as {label} falls": rises, f"falls with {label}": falls}
    said = [f"{side} for {listed(names)}" for side, names in sides.items() if names]
    left = len(rows) - len(rises) - len(falls)
    rest = f" For {left} of {len(rows)} objectives the seeds do not tell." if left else ""
    return f"over a run the critic's loss {'; it '.join(said)}.{rest}" if said else ""


def thresholds() -> Table:
    """Every threshold of a verdict with its reason."""
    rows = [Row([t.name, number(t.value), t.compared, t.reason]) for t in THRESHOLDS.values()]
    return Table(
        "Thresholds of the verdicts",
        ["name", "value", "compared with it", "reason"],
        rows,
        folded=True,
    )


def cost(found: Evidence, folder: Path) -> Chapter:
    """Time, work and memory of a generator step, parameters, and the share of the time spent
    measuring."""
    cells = found.tables.cells[found.tables.cells["g_steps"] > 0]
    ms = ms_per_g_step(cells)
    seconds = cells[[*clocks.CLOCKS]].sum(axis=1)
    cells = cells.assign(
        ms=ms, workloads=ms / cells["reference_ms"], forwards=cells["forwards"] / cells["g_steps"]
    )
    cells = cells.assign(share=100 * cells["eval_seconds"] / seconds)
    shown = [name for name in COSTS if cells[name].notna().any()]
    heads = [
        "where",
        "objective",
        *(COSTS[name] for name in shown),
        "parameters, generator",
        "critic",
    ]
    table = Table("Cost", heads, note=COST)
    groups = by_place(cells).groupby([*PLACE, "objective"], sort=False)
    first, medians = groups["key"].first(), groups[shown].median().reset_index()
    for row, key in zip(records(medians), first, strict=True):
        parameters = cell_status(folder, key).get("parameters", {})
        counts = [number(parameters.get(name, np.nan)) for name in ("generator", "discriminator")]
        table.rows.append(
            Row(
                [place(row), row["objective"], *(number(row[name]) for name in shown), *counts],
                tags(row),
            )
        )
    chapter = Chapter("cost", "At what cost?", tables=[table])
    for at in records(medians[PLACE].drop_duplicates()):
        rows = records(at_place(medians, at).sort_values("ms", kind="stable"))
        ends = [f"{number(row['ms'])} ms ({row['objective']})" for row in (rows[0], rows[-1])]
        said = (
            f"a generator step takes from {ends[0]} to {ends[1]}."
            if len(rows) > 1
            else f"a generator step takes {ends[0]}."
        )
        chapter.items.append(Item(place(at), [said], tags(at)))
    return chapter
