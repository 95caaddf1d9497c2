"""Which objective trains any architecture? Successes over drawn architectures, tested on the same
ones, and the choices that kill an objective."""

import math

import pandas as pd

from benchmark.analysis.designs.criteria import Criterion
from benchmark.analysis.designs.drawn import ALPHA, Drawn, gather
from benchmark.analysis.tables import Tables
from benchmark.metrics import full_name, metric, short_name
from benchmark.report.chapters.completeness import losses
from benchmark.report.page import Card, Chapter, Claim, Item, Table, records
from benchmark.text import Record, listed, number, plural

AFTER = {"better": " than {}", "worse": " than {}", "not separated": " from {}"}
FALSE = (
    "Brackets: Wilson's 95 % intervals over architectures. The probability that any better or "
    f"worse among the drawn architectures is false is {ALPHA:.0%} at most."
)
TESTED = (
    "McNemar's exact test of every objective {} on the same architectures, at every threshold of "
    "this chapter: {} tests under Holm's correction, so that the probability that any better or "
    f"worse in it is false is {ALPHA:.0%} at most, over all architectures that could be drawn."
)
SHARES = (
    "Architectures on which an objective succeeds, of those with a finished run [Wilson's 95 % "
    "interval of the share]. A run that diverged succeeds nowhere. The multiples are of {}. The "
    "chips are verdicts of the test below."
)
SCORES = (
    "Architectures above an Inception score. The WGAN-GP paper (200 architectures, ImageNet at "
    "32×32): above 5 the standard GAN on 42, WGAN-GP on 189; above 3 on 111 and 198; its DCGAN "
    "reached 7.24. Scores of another extractor have another scale. Of the thresholds above which "
    "there is none the lowest is shown."
)
CHOICES = (
    "Architectures with a value of one parameter, all others as drawn, on which an objective "
    "succeeds [Wilson's 95 % interval]. Shares are marginal: the draw is independent of them, so "
    "that they say what a choice does on average over the others. norm is the critic's; auto is "
    "batch norm, or layer norm under a per-sample penalty."
)
RETEST = (
    "The same architectures with another seed: Spearman's rank correlation of the final values "
    "[95 % interval, Bonett and Wright's], and the share with the same outcome. It says how much "
    "of an outcome is the architecture's and not the seed's."
)
PAIR_HEADS = [
    "first", "second", "threshold", "only first", "only second", "both", "neither", "p", "p, Holm",
    "verdict",
]  # fmt: skip


def chapters(tables: Tables) -> list[Chapter]:
    """The chapter of a matrix with drawn architectures; none of a matrix without."""
    drawn = gather(tables)
    return [] if drawn is None else [_chapter(drawn.tables, drawn)]


def cards(tables: Tables) -> list[Card]:
    """What the first screen says of drawn architectures, a card per dataset."""
    drawn = gather(tables)
    if drawn is None:
        return []
    reference = drawn.tables.matrix.reference
    found = []
    for dataset, names in drawn.architectures.items():
        title = f"{len(names)} drawn architectures on {dataset}"
        tags = {"dataset": [dataset]}
        if not drawn.criteria[dataset]:
            found.append(Card(title, "", [], ["Nothing has a final value."], tags, False))
            continue
        criterion = drawn.main(dataset)
        claims = []
        for row in records(_best_first(_at(drawn.shares, dataset, criterion))):
            verdict = _verdict(drawn, row)
            than = AFTER.get(verdict, "").format(reference)
            claims.append(Claim(_count(row), row["objective"], _bracket(row), verdict, than))
        scale = f"Success: {_threshold(drawn, criterion, dataset)}"
        found.append(Card(title, scale, claims, [FALSE], tags))
    return found


def _chapter(tables: Tables, drawn: Drawn) -> Chapter:
    result = Chapter("drawn", "Which objective trains any architecture?")
    reference = tables.matrix.reference
    against = f"with {reference}" if reference else "with every other one"
    result.notes = [TESTED.format(against, len(drawn.pairs))]
    for dataset, names in drawn.architectures.items():
        lines = [f"{plural(len(names), 'architecture')} were drawn."]
        if drawn.criteria[dataset]:
            criterion = drawn.main(dataset)
            lines.append(f"Success: {_threshold(drawn, criterion, dataset)}.")
            lines += _claims(drawn, dataset, criterion)
        cells = tables.cells
        is_drawn = (cells["dataset"] == dataset) & cells["architecture"].isin(names)
        lines.append(losses(cells[is_drawn]))
        result.items.append(Item(dataset, lines, {"dataset": [dataset]}))
        result.tables += _tables(tables, drawn, dataset)
    return result


def _claims(drawn: Drawn, dataset: str, criterion: Criterion) -> list[str]:
    """Which objectives succeed on more architectures, and which on fewer."""
    pairs = _at(drawn.pairs, dataset, criterion)
    lines = []
    for verdict, words in (("better", "more"), ("worse", "fewer"), ("not separated", "")):
        rows = records(pairs[pairs["verdict"] == verdict])
        names = [f"{row['first']} than {row['second']} ({_alone(row)})" for row in rows]
        if words and names:
            lines.append(f"On {words} architectures: {listed(names)}.")
        elif names:
            names = [f"{row['first']} and {row['second']} ({_alone(row)})" for row in rows]
            lines.append(f"Not separated: {listed(names)}.")
    return lines


def _alone(row: Record) -> str:
    return f"alone on {row['only_first']} and {row['only_second']}"


def _tables(tables: Tables, drawn: Drawn, dataset: str) -> list[Table]:
    """The tables of a dataset."""
    found = []
    for column in dict.fromkeys(item.column for item in drawn.criteria[dataset]):
        rows = drawn.shares[
            (drawn.shares["dataset"] == dataset) & (drawn.shares["metric"] == column)
        ]
        found.append(_successes(tables, drawn, dataset, column, rows))
    if drawn.criteria[dataset]:
        found += [_choices(drawn, dataset), *_retest(drawn, dataset), _pairs(drawn, dataset)]
    return found


def _successes(
    tables: Tables, drawn: Drawn, dataset: str, column: str, rows: pd.DataFrame
) -> Table:
    """Objective x threshold, or of many thresholds turned: successes."""
    is_score = rows["multiple"].isna().all()
    by = {(row["objective"], row["threshold"]): row for row in records(rows)}
    thresholds = list(dict.fromkeys(rows["threshold"]))
    objectives = list(dict.fromkeys(rows["objective"]))
    tags = {"dataset": [dataset]}
    title = f"{dataset}: {full_name(column, dataset)}"
    if is_score:
        table = Table(title, ["above", *objectives], note=SCORES, tags=tags)
        table.column_tags = [{}, *({"objective": [name]} for name in objectives)]
        for threshold in thresholds:
            counts = [by[name, threshold]["successes"] for name in objectives]
            table.add([number(threshold), *map(str, counts)], {})
            if not any(counts):
                break
        return table
    note = SHARES.format(_unit(tables, drawn, dataset))
    multiples = dict(zip(rows["threshold"], rows["multiple"], strict=True))
    heads = [f"≤ {number(at)} ({multiples[at]:g} ×)" for at in thresholds]
    table = Table(title, ["objective", *heads], note=note, tags=tags)
    for name in objectives:
        cells = []
        for threshold in thresholds:
            row = by[name, threshold]
            verdict = _verdict(drawn, row)
            cells.append("\n".join(filter(None, (_count(row), _bracket(row), verdict))))
        table.add([name, *cells], {"objective": [name]})
    return table


def _choices(drawn: Drawn, dataset: str) -> Table:
    """Value of a parameter x objective: successes."""
    rows = drawn.choices[drawn.choices["dataset"] == dataset]
    objectives = list(dict.fromkeys(rows["objective"]))
    table = Table(f"{dataset}: which choice kills which objective?", ["choice", *objectives])
    table.note, table.tags = CHOICES, {"dataset": [dataset]}
    table.column_tags = [{}, *({"objective": [name]} for name in objectives)]
    for (choice, value), group in rows.groupby(["choice", "value"], sort=False):
        by = {row["objective"]: row for row in records(group)}
        cells = [f"{_count(by[name])}\n{_bracket(by[name])}" for name in objectives]
        table.add([f"{choice} = {value}", *cells], {})
    return table


def _retest(drawn: Drawn, dataset: str) -> list[Table]:
    rows = drawn.retest[drawn.retest["dataset"] == dataset]
    if rows.empty:
        return []
    heads = ["objective", "architectures", "correlation", "same outcome"]
    table = Table(f"{dataset}: another seed", heads, note=RETEST, tags={"dataset": [dataset]})
    for row in records(rows):
        ends = (
            f" [{number(row['low'])}, {number(row['high'])}]" if math.isfinite(row["low"]) else ""
        )
        cells = [str(row["n"]), f"{number(row['correlation'])}{ends}", f"{row['same_outcome']:.0%}"]
        table.add([row["objective"], *cells], {"objective": [row["objective"]]})
    return [table]


def _pairs(drawn: Drawn, dataset: str) -> Table:
    title = "Architectures on which one of two objectives succeeds alone"
    table = Table(f"{dataset}: {title}", PAIR_HEADS, tags={"dataset": [dataset]}, fold=title)
    for row in records(drawn.pairs[drawn.pairs["dataset"] == dataset]):
        sign = "≤" if metric(row["metric"]).direction == "min" else ">"
        cells = [
            row["first"],
            row["second"],
            f"{short_name(row['metric'])} {sign} {number(row['threshold'])}",
        ]
        cells += [str(row[name]) for name in ("only_first", "only_second", "both", "neither")]
        cells += [p_text(row["log10_p"]), number(row["p_holm"]), row["verdict"]]
        table.add(cells, {"objective": [row["first"], row["second"]]})
    return table


def p_text(log10_p: float) -> str:
    """`0.031`, `1e-44`, `1e-1505`: a p, however small."""
    if log10_p > -300:
        return number(10**log10_p)
    return f"1e{log10_p:.0f}"


def _at(frame: pd.DataFrame, dataset: str, criterion: Criterion) -> pd.DataFrame:
    is_metric = (frame["dataset"] == dataset) & (frame["metric"] == criterion.column)
    return frame[is_metric & (frame["threshold"] == criterion.threshold)]


def _best_first(shares: pd.DataFrame) -> pd.DataFrame:
    return shares.sort_values("share", ascending=False, kind="stable")


def _verdict(drawn: Drawn, row: Record) -> str:
    """The verdict on an objective against the reference; empty where there is none."""
    reference = drawn.tables.matrix.reference
    pairs = drawn.pairs
    here = (pairs["dataset"] == row["dataset"]) & (pairs["metric"] == row["metric"])
    pairs = pairs[here & (pairs["threshold"] == row["threshold"])]
    if reference not in set(pairs["second"]):
        return ""
    if row["objective"] == reference:
        return "reference"
    return str(pairs.loc[pairs["first"] == row["objective"], "verdict"].iloc[0])


def _count(row: Record) -> str:
    return f"{row['successes']} of {row['n']}"


def _bracket(row: Record) -> str:
    if math.isnan(row["low"]):
        return ""
    return f"[{row['low']:.0%}, {row['high']:.0%}]"


def _unit(tables: Tables, drawn: Drawn, dataset: str) -> str:
    """What the multiples are of."""
    drawn_names = set(drawn.architectures[dataset])
    cells = tables.cells
    here = cells.loc[cells["dataset"] == dataset, "architecture"].unique()
    others = [name for name in here if name not in drawn_names]
    whose = listed(others) if others else "the drawn architectures"
    return f"the median final value of {whose}"


def _threshold(drawn: Drawn, criterion: Criterion, dataset: str) -> str:
    """`classifier-FID (750) of 8.4 or less at the end`."""
    name = short_name(criterion.column)
    if metric(criterion.column).direction == "min":
        return f"{name} of {number(criterion.threshold)} or less at the end"
    return f"{name} above {number(criterion.threshold)} at the end"
