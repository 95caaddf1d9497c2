"""How reliable? Verdicts, the spread over seeds, and what the critic's loss says about quality."""

import numpy as np
import pandas as pd

from benchmark.analysis.evidence import Evidence
from benchmark.analysis.robustness import nothing_learnt
from benchmark.analysis.scores import statuses
from benchmark.analysis.stability import agreement, stopping
from benchmark.analysis.tables import Tables
from benchmark.analysis.thresholds import THRESHOLDS
from benchmark.analysis.verdicts import VERDICTS
from benchmark.metrics import metric, short_name
from benchmark.report.page import (
    Chapter,
    Item,
    Table,
    each_place,
    place,
    places,
    records,
    tags_of,
)
from benchmark.stats.intervals import robust_spread
from benchmark.store.schema import FINISHED
from benchmark.text import Record, interval, listed, number, plural, span

HEADS = [
    "objective", "runs by verdict", "seed SD, % of median", "regret",
    "regret, stopped by the loss", "loss ranks seeds", "oscillation, decades", "overfitting gap",
]  # fmt: skip
RELIABILITY = (
    "Verdicts with the steps from which they hold. Seed SD: robust, of the final values. Regret: "
    "final ÷ best, of never stopping; stopped by the loss: the value where the critic's loss is "
    "highest ÷ best. Loss ranks seeds: rank agreement of the critic's loss with quality over the "
    "seeds at equal steps, mean over the evaluations, 1: the seed with the higher loss is always "
    "the better one (the central 95 % of what chance gives, from permuted seeds). Oscillation: "
    "noise of log₁₀ of the metric from one evaluation to the next, in the second half. Overfitting "
    "gap: the critic's loss on held-out − on training samples; a small offset that all objectives "
    "share is that of the batches, the same for all. Medians over seeds [exact 95 % interval]."
)
LEVEL = 0.05
"""Of a claim that the loss ranks seeds, after Holm's correction over the report."""

MOST_LISTED = 7
"""Objectives that a sentence names; of more it gives the number, and the table has the values."""

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
    agreements = records(agreement(tables.cells, tables.evals, tables.steps, tables.primary))
    for at in places(tables.cells):
        if nothing_learnt(tables, at["dataset"], at["architecture"]):
            continue
        sentences = [
            regret_sentence([row for row in quantities if place(row) == place(at)]),
            agreement_sentence([row for row in agreements if place(row) == place(at)]),
        ]
        sentences = [sentence for sentence in sentences if sentence]
        if sentences:
            result.items.append(Item(place(at), sentences, tags_of(at)))
    result.tables += [*_reliability(tables, finished, quantities, agreements), thresholds()]
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
        f"No failure was seen in {ok:,} of {runs}, which does not say that their samples are good."
    ]
    if not judged.all():
        count = plural(int((~judged).sum()), "finished run")
        sentences.append(
            f"{count} without a verdict: the metric that ranks has no value at the end."
        )
    for dataset, column in tables.primary.items():
        if not metric(column).primary:
            sentences.append(f"{dataset} is ranked by {short_name(column)}: {NO_DISTANCE}")
    return sentences


def _reliability(
    tables: Tables, finished: pd.DataFrame, quantities: list[Record], agreements: list[Record]
) -> list[Table]:
    """A table per place. quantities, agreements: the rows of `stopping` and `agreement`."""
    texts = {}
    for row in quantities:
        texts[place(row), row["objective"], row["quantity"]] = interval(row).replace(" [", "\n[")
    for row in agreements:
        chance = f"({number(row['low'])} to {number(row['high'])})"
        texts[place(row), row["objective"], "agreement"] = f"{number(row['agreement'])}\n{chance}"
    made = []
    for at, here in each_place(finished):
        table = Table(place(at), HEADS, note=RELIABILITY, tags=tags_of(at), fold="Reliability")
        for name, group in here.groupby("objective", sort=False):
            objective = str(name)
            spread = _spread(group, tables.primary.get(at["dataset"]))
            cells = [objective, _verdicts(group), number(spread)]
            for quantity in ("regret", "loss_regret", "agreement"):
                cells.append(texts.get((place(at), objective, quantity), "–"))
            cells.append(number(group["oscillation"].median()))
            cells.append(texts.get((place(at), objective, "overfit_gap"), "–"))
            table.add(cells, {**tags_of(at), "objective": [objective]})
        made.append(table)
    return made


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


def regret_sentence(rows: list[Record]) -> str:
    """For which objectives the value at the highest critic loss is further from the best than the
    final one, or nearer, in the digits shown, at the median over seeds. rows: those of `stopping`
    for one place; "" where none is known."""
    medians = {(row["quantity"], row["objective"]): row["median"] for row in rows}
    kinds: dict[str, list[str]] = {"worse": [], "better": [], "the same": []}
    for (quantity, objective), stopped in medians.items():
        final = medians.get(("regret", objective))
        if quantity != "loss_regret" or final is None:
            continue
        if number(stopped) == number(final):
            kinds["the same"].append(objective)
        else:
            name = f"{objective} ({number(stopped)}, not {number(final)})"
            kinds["worse" if stopped > final else "better"].append(name)
    parts = [f"{kind} for {_counted_or_listed(names)}" for kind, names in kinds.items() if names]
    if not parts:
        return ""
    return (
        "Stopping where the critic's loss is highest, instead of never, ends "
        f"{'; '.join(parts)} (value ÷ best value of the run, median over seeds)."
    )


def _counted_or_listed(names: list[str]) -> str:
    """`a, b and c`, or `11 objectives` where a list would be long."""
    return listed(names) if len(names) <= MOST_LISTED else f"{len(names)} objectives"


def agreement_sentence(rows: list[Record]) -> str:
    """For which objectives the critic's loss ranks the seeds at equal steps, beyond chance. rows:
    those of `agreement` for one place; "" for none."""
    if not rows:
        return ""
    better: list[str] = []
    worse: list[str] = []
    for row in rows:
        if row["p_holm"] <= LEVEL:
            names = better if row["agreement"] > 0 else worse
            names.append(f"{row['objective']} (p = {row['p_holm']:.2g})")
    parts = []
    if better:
        parts.append(f"the better seed has the higher loss for {listed(better)}")
    if worse:
        parts.append(f"the better seed has the lower loss for {listed(worse)}")
    left = len(rows) - len(better) - len(worse)
    if left:
        others = plural(left, "objective") if left < len(rows) else "every objective"
        if len(rows) == 1:
            others = rows[0]["objective"]
        parts.append(f"for {others} the agreement of loss and quality is within chance")
    return f"At equal steps {'; '.join(parts)}."


def thresholds() -> Table:
    """Every threshold of a verdict with its reason."""
    heads = ["name", "value", "compared with it", "reason"]
    title = "Thresholds of the verdicts"
    table = Table(title, heads, fold=title)
    for row in THRESHOLDS.values():
        table.add([row.name, number(row.value), row.compared, row.reason], {})
    return table
