"""Who wins where, and by how much? A leaderboard per place; robustness and all places together."""

from benchmark.analysis.evidence import Evidence
from benchmark.analysis.robustness import crossed, lost, robustness
from benchmark.analysis.scores import LEAST_PLACES, why_unranked
from benchmark.analysis.tables import Tables
from benchmark.analysis.verdicts import VERDICTS
from benchmark.metrics import full_name
from benchmark.report.chapters.leaderboards import leaderboard, summary_by_key
from benchmark.report.chapters.measures import other_metrics
from benchmark.report.page import Chapter, Table, places, records
from benchmark.text import interval, number

ROBUSTNESS = (
    "{}: median of the final value over the seeds that finished [exact 95 % interval, 93.75 % at "
    "five seeds]. A seed that diverged is the worst value; other lost seeds count with their value."
)
OVERALL = (
    "Over the places that every objective has finished runs in. Rank: by the median, averaged over "
    "places. Way: from the untrained generator (0) to real samples (1) on the logarithm of the "
    "metric, the median over seeds, averaged over places. Neither depends on a metric's unit, and "
    "neither has an interval: places are no sample, and may share batches."
)


def chapter(evidence: Evidence) -> Chapter:
    """The leaderboards, and what all places say together."""
    tables = evidence.tables
    summary = summary_by_key(tables)
    result = Chapter("where", "Who wins where, and by how much?")
    result.tables += [robustness_table(tables, name) for name in crossed(tables.cells)]
    result.tables += [leaderboard(evidence, at, summary) for at in places(tables.cells)]
    if (evidence.overall["places"] >= LEAST_PLACES).any():
        result.tables.append(over_places(evidence))
    result.tables += other_metrics(tables)
    return result


def robustness_table(tables: Tables, dataset: str) -> Table:
    """Architecture x objective: the primary metric's final value, and how many seeds were lost and
    how."""
    rows = robustness(tables, dataset)
    objectives = list(rows["objective"].unique())
    column = tables.primary.get(dataset)
    if column is None:
        reason = why_unranked(tables.cells[tables.cells["dataset"] == dataset], None)
        note = f"Without values: {reason}."
    else:
        note = ROBUSTNESS.format(full_name(column, dataset))
    table = Table(
        f"{dataset}: which objective trains which architecture?",
        ["architecture", *objectives],
        note=note,
        tags={"dataset": [dataset]},
        column_tags=[{}, *({"objective": [name]} for name in objectives)],
    )
    texts = {}
    for row in records(rows):
        texts[row["architecture"], row["objective"]] = "\n".join([interval(row), *lost(row)])
    for name in rows["architecture"].unique():
        values = [texts.get((name, objective), "not in the matrix") for objective in objectives]
        table.add([name, *values], {"architecture": [name]})
    failures = [name for name in VERDICTS if name != "ok"]
    none_lost = rows[[*failures, "unfinished"]].sum(axis=1) == 0
    counts = none_lost.groupby(rows["objective"], sort=False).agg(["sum", "size"])
    shares = [f"{n} of {total}" for n, total in counts.to_numpy().tolist()]
    table.add(["no seed lost", *shares], {})
    return table


def over_places(evidence: Evidence) -> Table:
    """Every objective over all places together."""
    table = Table("Over all places", ["objective", "runs", "mean rank", "way"], note=OVERALL)
    for row in records(evidence.overall):
        cells = [row["objective"], str(row["n"]), number(row["rank"]), f"{row['way']:.0%}"]
        table.add(cells, {"objective": [row["objective"]]})
    return table
