"""Early values in the chapter on tuning: whether they tell the end, and which runs they ended."""

import pandas as pd

from benchmark.analysis.search.early import ALLOWED, OPEN, REFUSED
from benchmark.analysis.search.tuning import Tuning
from benchmark.matrix.search.rungs import LEAST_CORRELATION
from benchmark.report.page import Table, Tags, at_place, place, records, tags_of
from benchmark.text import Record, interval, listed, span

RUNGS_NOTE = (
    "Spearman's rank correlation over the configurations of a pool between the metric after a "
    "share of the training budget and at the end [95 % interval, Bonett and Wright's]; diverged "
    "ones share the last rank. Where it is low, a search that stops early loses its best."
)
FIRST_ALONE = (
    " Here over the first configurations of each pool, which all trained to their end: the others "
    "that did are a selection."
)
STOPPED_NOTE = (
    " Stopped: configurations that ended early; their values at the end are not known. Seconds "
    "saved: the recorded training seconds that they would have taken to their end, at their pace."
)
STOPPED_CURVES = (
    "A pool with stopped configurations has neither a curve nor AlgoPerf's score: not all of its "
    "configurations are seen to their end."
)
LEADS = {
    ALLOWED: (
        "Early stopping at {share} of the budget was allowed for {names}: the interval of the rank "
        "correlation with the end over the first {after} configurations lies above {least:g}."
    ),
    REFUSED: (
        "Early stopping at {share} of the budget was not allowed for {names}: the interval of the "
        "rank correlation with the end over the first {after} configurations does not lie above "
        "{least:g}."
    ),
    OPEN: "Early stopping is not decided yet for {names}: no configuration follows the first.",
}


def stopping_lines(tuning: Tuning, at: Record) -> list[str]:
    """Whether early stopping was allowed to each objective of a place, why, and what it did."""
    if tuning.stop is None:
        return []
    objectives: dict[str, list[str]] = {verdict: [] for verdict in LEADS}
    for row in records(at_place(tuning.stopping, at)):
        name = row["objective"]
        if row["verdict"] != OPEN:
            name += f" ({interval(row, 'correlation', 'low', 'high')}"
            if row["verdict"] == ALLOWED:
                name += f"; {row['stopped']} of {row['later']} later ones stopped"
            name += ")"
        objectives[row["verdict"]].append(name)
    facts = {"share": f"{tuning.stop.at:.0%}", "after": tuning.stop.after}
    lines = []
    for verdict, names in objectives.items():
        if names:
            line = LEADS[verdict].format(names=listed(names), least=LEAST_CORRELATION, **facts)
            lines.append(line)
    return lines


def rungs_table(tuning: Tuning, at: Record, rows: pd.DataFrame) -> Table:
    """How an early value ranks configurations, against the end."""
    shares = list(rows["share"].unique())
    heads = ["objective", "configurations", *(f"at {share:.0%}" for share in shares)]
    fold = "Does an early value tell the end?"
    note = RUNGS_NOTE + FIRST_ALONE if tuning.stop else RUNGS_NOTE
    table = Table(place(at), heads, note=note, tags=tags_of(at), fold=fold)
    for name, of_objective in rows.groupby("objective", sort=False):
        texts = [interval(row, "correlation", "low", "high") for row in records(of_objective)]
        tags: Tags = {**tags_of(at), "objective": [str(name)]}
        table.add([str(name), span(of_objective["n"]), *texts], tags)
    return table
