"""How reliable? Verdicts, the spread over seeds, and what the critic's loss says about quality."""

import numpy as np
import pandas as pd

from benchmark.analysis.evidence import Evidence
from benchmark.analysis.scores import PLACE, statuses
from benchmark.analysis.stability import stopping
from benchmark.analysis.tables import Tables
from benchmark.analysis.thresholds import THRESHOLDS
from benchmark.analysis.verdicts import VERDICTS
from benchmark.metrics import metric
from benchmark.report.page import (
    Chapter,
    Item,
    Table,
    by_place,
    place,
    places,
    records,
    tags_of,
)
from benchmark.stats.intervals import robust_spread
from benchmark.store.schema import FINISHED
from benchmark.text import Record, interval, listed, number, plural, span

HEADS = [
    "where", "objective", "runs by verdict", "seed SD, % of median", "regret",
    "oscillation, decades", "loss against quality", "overfitting gap",
]  # fmt: skip
RELIABILITY = (
    "Verdicts with the steps from which they hold. Seed SD: robust, of the final values. Regret: "
    "final ÷ best; oscillation: noise of log₁₀ of the metric from one evaluation to the next, in "
    "the second half; medians over seeds. Loss against quality: rank correlation of the critic's "
    "loss with the metric over a run, −1: the loss rises whenever quality improves. Overfitting "
    "gap: the critic's loss on held-out − on training samples; a small offset that all objectives "
    "share is that of the batches, the same for all. Both: median over seeds [exact 95 % interval]."
)

NO_DISTANCE = (
    "the rules and the indices that compare a distance with its own best or first value (late "
    "collapse, stuck, regret, oscillation) see nothing there."
)


def chapter(evidence: Evidence) -> Chapter:
    """Verdicts, spread over seeds, regret, oscillation; is the loss a stopping criterion?"""
    tables = evidence.tables
    finished = tables.cells[tables.cells["verdict"].notna()]
    result = Chapter("stability", "How reliable?", _failures_seen(tables))
    quantities = records(stopping(tables.cells))
    for at in places(tables.cells):
        rows = [row for row in quantities if place(row) == place(at)]
        sentence = loss_sentence(tables.primary.get(at["dataset"]), rows)
        if sentence:
            result.items.append(Item(place(at), [sentence], tags_of(at)))
    result.tables += [_reliability(tables, finished, quantities), thresholds()]
    return result


def _failures_seen(tables: Tables) -> list[str]:
    """In how many runs no failure was seen, and which rules could not see one."""
    cells = tables.cells
    finished = cells[cells["status"].isin(FINISHED)]
    if finished.empty:
        return [f"No run has finished ({statuses(cells)})."]
    judged = finished["verdict"].notna()
    ok = int((finished["verdict"] == "ok").sum())
    runs = plural(int(judged.sum()), "finished run")
    sentences = [
        f"No failure was seen in {ok} of {runs}, which does not say that their samples are good."
    ]
    if not judged.all():
        count = plural(int((~judged).sum()), "finished run")
        sentences.append(
            f"{count} without a verdict: the metric that ranks has no value at the end."
        )
    for dataset, column in tables.primary.items():
        if not metric(column).primary:
            sentences.append(f"{dataset} is ranked by {metric(column).label}: {NO_DISTANCE}")
    return sentences


def _reliability(tables: Tables, finished: pd.DataFrame, quantities: list[Record]) -> Table:
    """A row per objective and place. quantities: the rows of `stopping`."""
    by_key = {}
    for quantity in quantities:
        by_key[place(quantity), quantity["objective"], quantity["quantity"]] = quantity
    table = Table("Reliability", HEADS, note=RELIABILITY)
    for _, group in by_place(finished).groupby([*PLACE, "objective"], sort=False):
        row = {axis: str(group[axis].iloc[0]) for axis in (*PLACE, "objective")}
        objective = row["objective"]
        spread = _spread(group, tables.primary.get(row["dataset"]))
        cells = [place(row), objective, _verdicts(group), number(spread)]
        cells += [number(group[name].median()) for name in ("regret", "oscillation")]
        for name in ("loss_correlation", "overfit_gap"):
            known = by_key.get((place(row), objective, name))
            cells.append(interval(known) if known else "–")
        table.add(cells, tags_of(row))
    return table


def _spread(group: pd.DataFrame, column: str | None) -> float:
    """Robust standard deviation over seeds of the final value, in percent of its median. NaN for
    fewer than two values, and for a metric or a median that has no ratios."""
    if column is None:
        return np.nan
    finals = group[group["status"] == "done"][f"{column}:final"]
    finals = finals[np.isfinite(finals)]
    middle = finals.median()
    if len(finals) < 2 or not (metric(column).primary and middle > 0):
        return np.nan
    return 100 * robust_spread(finals) / middle


def _verdicts(group: pd.DataFrame) -> str:
    """`4 ok`, `1 vanishing from step 400`: a line per verdict."""
    lines = []
    for name in VERDICTS:
        onsets = group[group["verdict"] == name]["verdict_onset"]
        if onsets.empty:
            continue
        has_onset = name != "ok" and onsets.notna().any()
        since = f" from step {span(onsets)}" if has_onset else ""
        lines.append(f"{len(onsets)} {name}{since}")
    return "\n".join(lines)


def loss_sentence(column: str | None, rows: list[Record]) -> str:
    """The objectives whose critic's loss moves with the metric, either way, where the interval
    excludes 0. rows: those of `stopping` for one place; "" where nothing can be said."""
    rows = [row for row in rows if row["quantity"] == "loss_correlation"]
    if not rows or column is None:
        return ""
    label = metric(column).label
    rising = [row["objective"] for row in rows if row["median"] < 0 and row["ci_high"] < 0]
    falling = [row["objective"] for row in rows if row["median"] > 0 and row["ci_low"] > 0]
    parts = []
    if rising:
        better = "falls" if metric(column).direction == "min" else "rises"
        parts.append(f"rises as {label} {better} for {listed(rising)}")
    if falling:
        relation = "with" if metric(column).direction == "min" else "against"
        parts.append(f"falls {relation} {label} for {listed(falling)}")
    if not parts:
        return ""
    sentence = f"over a run the critic's loss {'; it '.join(parts)}."
    left = len(rows) - len(rising) - len(falling)
    if left:
        sentence += f" For {left} of {len(rows)} objectives the seeds do not tell."
    return sentence


def thresholds() -> Table:
    """Every threshold of a verdict with its reason."""
    heads = ["name", "value", "compared with it", "reason"]
    table = Table("Thresholds of the verdicts", heads, folded=True)
    for row in THRESHOLDS.values():
        table.add([row.name, number(row.value), row.compared, row.reason], {})
    return table
