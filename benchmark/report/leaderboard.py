"""The short leaderboard that ends `ganbench report`: what fits into a terminal."""

import pandas as pd

from benchmark.analysis.evidence import Evidence
from benchmark.analysis.robustness import why_no_ranking
from benchmark.analysis.tables import Tables
from benchmark.metrics import metric, short_name
from benchmark.report.page import at_place, place, places, records
from benchmark.text import Record, interval

MOST = 7  # lines
MOST_PLACES = 2  # side by side


def lines(evidence: Evidence) -> list[str]:
    """The final value of every objective where there are one or two places; of more places the
    best objective of each. At most MOST lines below a head."""
    here = places(evidence.tables.cells)
    rows = _by_objective(evidence, here) if len(here) <= MOST_PLACES else _by_place(evidence, here)
    what = "objective" if len(here) <= MOST_PLACES else "place"
    num_more = len(rows) - 1 - MOST
    shown = _aligned(rows[: MOST + 1])
    if num_more > 0:
        shown.append(f"and {num_more} more: {what}s are in the report")
    reference = evidence.tables.matrix.reference
    if reference:
        shown.append(
            f"final value: median [95 % interval] over seeds; better, worse: than {reference}"
        )
    return shown


def _by_objective(evidence: Evidence, here: list[Record]) -> list[list[str]]:
    """A row per objective, the best first; a column per place."""
    head = ["objective"]
    for at in here:
        head.append(f"{place(at)}: {_ranked_by(evidence, at)}")
    standings: dict[str, list[int]] = {}
    for at in here:
        for rank, name in enumerate(_best_first(evidence.tables, at)):
            standings.setdefault(name, []).append(rank)
    names = evidence.tables.cells["objective"].unique()
    # without a value in one of the places: last
    ordered = sorted(
        names, key=lambda name: (-len(standings.get(name, [])), sum(standings.get(name, [])))
    )
    return [head, *([name, *(_value(evidence, at, name) for at in here)] for name in ordered)]


def _best_first(tables: Tables, at: Record) -> list[str]:
    """The objectives with a final value in a place, by its median."""
    rows = _finals(tables, at)
    rows = rows[rows["n"] > 0]
    smaller_first = metric(tables.primary[at["dataset"]]).direction == "min" if len(rows) else True
    return list(rows.sort_values("median", ascending=smaller_first, kind="stable")["objective"])


def _finals(tables: Tables, at: Record) -> pd.DataFrame:
    """The rows of `summary` with the final values that rank in a place."""
    rows = at_place(tables.summary, at)
    return rows[(rows["of"] == "final") & (rows["metric"] == tables.primary.get(at["dataset"]))]


def _by_place(evidence: Evidence, here: list[Record]) -> list[list[str]]:
    """A row per place: the best objective and the next."""
    rows = [["place", "best", "value", "next", "value"]]
    for at in here:
        leaders = records(at_place(evidence.leaders, at))
        row = [f"{place(at)}: {_ranked_by(evidence, at)}"]
        for leader in leaders:
            if leader["of"] == "final":
                for name in filter(None, (leader["first"], leader["second"])):
                    row += [name, _value(evidence, at, name)]
        rows.append(row)
    return rows


def _ranked_by(evidence: Evidence, at: Record) -> str:
    """The name of the metric that ranks in a place, or why nothing does."""
    column = evidence.tables.primary.get(at["dataset"])
    if column is None or at_place(evidence.leaders, at).empty:
        return why_no_ranking(evidence.tables, at["dataset"], at["architecture"])
    return short_name(column)


def _value(evidence: Evidence, at: Record, name: str) -> str:
    """`1.2 [1, 1.4] better`: the final value of an objective in a place, and its verdict."""
    tables = evidence.tables
    finals = _finals(tables, at)
    for row in records(finals[finals["objective"] == name]):
        if not row["n"]:
            return f"{row['diverged']} diverged" if row["diverged"] else "–"
        words = [interval(row)]
        compared = at_place(evidence.compared, at)
        compared = compared[(compared["of"] == "final") & (compared["first"] == name)]
        reference = tables.matrix.reference
        for comparison in records(compared[compared["second"] == reference]):
            words += [comparison["verdict"]] if comparison["verdict"] != "not separated" else []
        return " ".join(words)
    return "–"


def _aligned(rows: list[list[str]]) -> list[str]:
    """Rows of texts as lines of columns."""
    num_columns = max(map(len, rows))
    filled = [row + [""] * (num_columns - len(row)) for row in rows]
    widths = [max(map(len, column)) for column in zip(*filled, strict=True)]
    lines = []
    for row in filled:
        padded = [text.ljust(width) for text, width in zip(row, widths, strict=True)]
        lines.append("  ".join(padded).rstrip())
    return lines
