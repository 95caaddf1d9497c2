"""Where does the spread over seeds come from? Components of variance of crossed seeds."""

import math

from benchmark.analysis.designs.spread import SOURCES, gather
from benchmark.analysis.tables import Tables
from benchmark.metrics import full_name
from benchmark.report.page import Chapter, Item, Table, each_place, place, records, tags_of
from benchmark.text import Record, number

NOTE = (
    "Every seed of initial weights ran with every seed of batches, latents and noise. Components "
    "of variance of the final value, on its logarithm where the metric has ratios, by the analysis "
    "of variance of two crossed random factors [95 % interval: Ting et al. 1990; of the rest, "
    "χ²], values being taken as normal. ±: the standard deviation that the source makes alone, a "
    "share on the logarithm. An estimate below 0 says that a source varies less than chance would "
    "have it; its share counts as 0. p: the F test that a source makes no difference, not "
    "corrected. The last source is what weights and batches do together, and the draw of the "
    "measured samples."
)
DEPENDENT = (
    "Crossed seeds share weights or batches, so that runs are no independent pairs: this report "
    "tests no difference between objectives there, and gives medians without intervals."
)
HEADS = ["objective", "source", "share of variance", "±", "variance", "p"]


def chapters(tables: Tables) -> list[Chapter]:
    """The chapter of a matrix with crossed seeds; none of a matrix without."""
    spread = gather(tables)
    if spread is None:
        return []
    result = Chapter("spread", "Where does the spread over seeds come from?", [DEPENDENT])
    result.notes = [NOTE]
    for at, rows in each_place(spread.components):
        column = rows["metric"].iloc[0]
        table = Table(f"{place(at)}: {full_name(column, at['dataset'])}", HEADS, tags=tags_of(at))
        lines = []
        for name, group in rows.groupby("objective", sort=False):
            first, *_ = sources = records(group)
            runs = f"{name}, {first['weights']} × {first['batches']} seeds"
            if first["why"]:
                lines.append(f"{runs}: not known, because {first['why']}.")
                continue
            lines.append(f"{runs}: {_said(sources)}.")
            for row in sources:
                cells = [str(name), SOURCES[row["source"]], f"{row['share']:.0%}", _sd(row)]
                table.add([*cells, _variance(row), number(row["p"])], {"objective": [str(name)]})
        result.items.append(Item(place(at), lines, tags_of(at)))
        if table.rows:
            result.tables.append(table)
    return [result]


def _said(sources: list[Record]) -> str:
    """The shares of an objective's variance."""
    parts = [f"{row['share']:.0%} {SOURCES[row['source']]}" for row in sources]
    return f"of the variance {'; '.join(parts)}"


def _sd(row: Record) -> str:
    return f"{row['sd']:.0%}" if row["scale"] == "log" else number(row["sd"])


def _variance(row: Record) -> str:
    ends = f"[{number(row['low'])}, {number(row['high'])}]"
    return f"{number(row['variance'])}\n{ends}" if math.isfinite(row["high"]) else "–"
