"""Tuned against tuned: what tuning is worth, who leads once all are tuned, and the pools."""

import math

import pandas as pd

from benchmark.analysis.search.tuning import ALPHA, DEFAULT, IS_DEFAULT, TUNED, Tuning
from benchmark.analysis.tables import Tables
from benchmark.metrics import full_name, short_name
from benchmark.report.chapters.certainty import COMPARED, COMPARED_HEADS
from benchmark.report.early import STOPPED_CURVES, STOPPED_NOTE, rungs_table, stopping_lines
from benchmark.report.page import (
    Chapter,
    Item,
    Table,
    at_place,
    each_place,
    place,
    records,
    tags_of,
)
from benchmark.text import Record, interval, listed, number, percent, plural, spanned, wins

SAMPLERS = {
    "random": "drawn independently from its {}; all have the same values of what they share",
    "sobol": "spread evenly over its {} (Sobol); all have the same values of what they share",
    "tpe": "each chosen by the results of those before it (TPE) from its {}",
}
FAMILY = (
    "The tests of this chapter are two families of their own, each under Holm's correction: tuned "
    "against default runs, and tuned objectives against each other. In each, the "
    f"probability that any claim is false is {ALPHA:.0%} at most."
)
LIMITS = (
    "What is claimed holds for these ranges, this number of configurations and this training "
    "budget. A pool has few seeds, so that the pick is in part the luckiest: its value in the pool "
    "is no result, and no claim rests on it. Not separated does not say equal."
)
TUNED_NOTE = (
    "Medians over the final seeds, which no configuration of a pool ran on [exact 95 % interval]. "
    "Difference: tuned − default, the median over the seeds. Wins: seeds on which the tuned run is "
    "better [exact 95 % interval of their share]. p: the exact sign test's, corrected by Holm over "
    f"all rows of this table and its like in other places. Better or worse: p ≤ {ALPHA:g}."
)
POOLS_NOTE = (
    "A pool holds all configurations, the default among them. Diverged: a value that is infinite, "
    "the worst. Winner's curse: how much worse the pick is at the median over the final seeds than "
    "in the pool [exact 95 % interval]; that of the default, which nothing chose, is how far the "
    "seeds differ. Near the best: within twice its value. AlgoPerf's score: recorded training "
    "seconds to the target at the median over all deals of three studies of five drawn "
    "configurations, of which the fastest counts, computed exactly from the pool; missed: the "
    "probability that the target is not reached. Recorded seconds grow where a machine does other "
    "work, too: pools that ran at different times may differ by that alone."
)
BEST_NOTE = (
    "The best of k configurations drawn from the pool: its median [95 % band, which covers all k "
    "together], and its mean over all draws without replacement, the expected best of k. A "
    "configuration that diverged makes the mean infinite where the best of k may be it."
)
CURVES_NOTE = (
    "Tuning curves: the median of the best of k configurations says what a search of k would have "
    "found in the pool, half of the times better, half worse; the band covers the curve at every k "
    "together with a probability of 95 %, whatever the law of the values (`opda`). {}"
)


def chapters(tables: Tables) -> list[Chapter]:
    """The chapter of a matrix with a search; none of a matrix without one."""
    return [] if tables.tuning is None else [chapter(tables.tuning)]


def chapter(tuning: Tuning) -> Chapter:
    """The answers of a search, place by place, and its tables."""
    result = Chapter("tuned", "Tuned against tuned: who wins with the same search?")
    if tuning.configurations.empty:
        result.answers.append("Not known yet: no configuration of a search has finished.")
        return result
    result.answers += [_how(tuning), FAMILY]
    for at, rows in each_place(tuning.tuned):
        lines = [*_gains(rows), *_leaders(tuning, at, rows), *stopping_lines(tuning, at)]
        result.items.append(Item(place(at), lines, tags_of(at)))
        result.tables.append(_tuned(tuning, at, rows))
    for at, rows in each_place(tuning.pools):
        result.tables.append(_pools(tuning, at, rows))
    result.tables += [_best_of_k(at, rows) for at, rows in each_place(tuning.curves)]
    result.tables += [rungs_table(tuning, at, rows) for at, rows in each_place(tuning.rungs)]
    result.tables += [_rivals(at, rows) for at, rows in each_place(tuning.rivals)]
    result.notes = [LIMITS]
    is_stopped = tuning.pools["stopped"].any()
    if is_stopped:
        result.notes.append(STOPPED_CURVES)
    if len(tuning.curves) or not is_stopped:
        result.notes.append(CURVES_NOTE.format(_widest(tuning)))
    return result


def _how(tuning: Tuning) -> str:
    """What every objective was given, and what claims rest on."""
    pools = tuning.pools
    final = tuning.runs[tuning.runs["phase"] == "final"]
    configurations = spanned(pools["configurations"], "configuration")
    seeds = spanned(tuning.configurations["num_seeds"], "seed")
    text = (
        f"Every objective has {configurations} on {seeds}: its published default, and others "
        f"{SAMPLERS[tuning.sampler].format(tuning.ranges)}. "
    )
    if final.empty:
        return text + "The final runs, on which claims rest, are not finished yet."
    finals = spanned(final.groupby(["dataset", "architecture"])["seed"].nunique(), "seed")
    return text + (
        f"The best of each pool and the default ran again on {finals} that no pool had: every "
        "claim here is of these final runs."
    )


def _gains(rows: pd.DataFrame) -> list[str]:
    """Whom tuning helped, whom not, and where that is not known."""
    verdicts: dict[str, list[str]] = {}
    for row in records(rows):
        gain = row["objective"]
        if row["verdict"] in ("better", "worse"):
            gain += f" ({_change(row)})"
        is_told = row["verdict"] and row["n"] > 0
        verdicts.setdefault(row["verdict"] if is_told else row["why"], []).append(gain)
    leads = {
        "better": "Tuning helps {}.",
        "worse": "Tuning harms {}: the pick was lucky in the pool.",
        "not separated": "Tuned and default are not separated: {}.",
    }
    lines = []
    for verdict, lead in leads.items():
        if verdict in verdicts:
            lines.append(lead.format(listed(verdicts.pop(verdict))))
    lines += [f"{listed(names)}: {why}." for why, names in verdicts.items()]
    return lines


def _change(row: Record) -> str:
    """`24 → 19.3`: the default's median and the tuned one's."""
    return f"{number(row[DEFAULT])} → {number(row[TUNED])}"


def _final(row: Record) -> str:
    """The column of an objective's tuned value: that of its default where nothing beat it."""
    return DEFAULT if row["why"] == IS_DEFAULT else TUNED


def _leaders(tuning: Tuning, at: Record, rows: pd.DataFrame) -> list[str]:
    """Who leads by default, who leads tuned, and what the tests say of it."""
    known = [row for row in records(rows) if math.isfinite(row[_final(row)])]
    if len(known) < 2:
        return []
    first = min(known, key=lambda row: row[_final(row)])
    metric = short_name(tuning.columns[at["dataset"]])
    name, value = first["objective"], interval(first, *_columns(_final(first)))
    text = f"Tuned, {name} has the lowest {metric} at the median, {value}"
    if not any(math.isnan(row[DEFAULT]) for row in known):
        before = min(known, key=lambda row: row[DEFAULT])["objective"]
        text += "; by default it has, too" if before == name else f"; by default {before} has"
    return [f"{text}.", _standing(at_place(tuning.rivals, at), name)]


def _columns(name: str) -> tuple[str, str, str]:
    return name, f"{name}_low", f"{name}_high"


def _standing(rivals: pd.DataFrame, name: str) -> str:
    """What the tests say of the leader among tuned objectives, and how many pairs they separate."""
    separated = rivals[rivals["verdict"].isin(["better", "worse"])]
    pairs = plural(len(rivals), "pair")
    if separated.empty:
        return (
            f"None of {pairs} of tuned objectives is separated: with this search no difference "
            "between them is seen, which does not say that there is none."
        )
    beaten = separated[(separated["first"] == name) & (separated["verdict"] == "better")]
    lost = separated[(separated["second"] == name) & (separated["verdict"] == "worse")]
    losers = [*beaten["second"], *lost["first"]]
    text = f"{len(separated)} of {pairs} of tuned objectives are separated"
    return f"{text}; {name} is better than {listed(losers)}." if losers else f"{text}."


def _tuned(tuning: Tuning, at: Record, rows: pd.DataFrame) -> Table:
    """Default against tuned, on the final seeds."""
    metric = full_name(tuning.columns[at["dataset"]], at["dataset"])
    heads = ["objective", "default", "tuned", "difference", "wins", "p, Holm", "verdict", "pick"]
    title = f"{place(at)}: default against tuned, {metric}"
    table = Table(title, heads, note=TUNED_NOTE, tags=tags_of(at))
    for row in records(rows):
        cells = [row["objective"], interval(row, *_columns(DEFAULT))]
        if row["verdict"] and row["n"] > 0:
            cells += [interval(row, *_columns(TUNED)), interval(row, "difference"), wins(row)]
            cells += [number(row["p_holm"]), row["verdict"]]
        else:
            cells += ["–", "–", "–", "–", row["why"]]
        table.add([*cells, _values(tuning, row)], {**tags_of(at), "objective": [row["objective"]]})
    return table


def _values(tuning: Tuning, row: Record) -> str:
    """`lr 0.00062, beta1 0.44`: the searched values of a pick."""
    pool = at_place(tuning.configurations, row)
    pool = pool[(pool["objective"] == row["objective"]) & pool["is_pick"]]
    texts = []
    for configuration in records(pool):
        for name in tuning.parameters:
            value = configuration[name]
            if isinstance(value, str):
                texts.append(f"{name} {value}")
            elif value is not None and not math.isnan(value):
                texts.append(f"{name} {value:g}")
    return ", ".join(texts) or "–"


def _pools(tuning: Tuning, at: Record, rows: pd.DataFrame) -> Table:
    """What the pool of each objective says."""
    heads = ["objective", "diverged", "default in the pool", "best in the pool", "winner's curse"]
    heads += ["the same of the default", "near the best", "AlgoPerf's score", "missed", "seconds"]
    title = f"{place(at)}: the pools"
    note = POOLS_NOTE
    if tuning.stop:
        heads, note = [*heads, "stopped", "seconds saved"], note + STOPPED_NOTE
    stopped = {row["objective"]: row for row in records(at_place(tuning.stopping, at))}
    table = Table(title, heads, note=note, tags=tags_of(at), fold="What the pools say")
    for row in records(rows):
        cells = [
            row["objective"],
            f"{row['diverged']} of {row['configurations']}",
            number(row["default"]),
            number(row["best"]),
            interval(row, "curse", "curse_low", "curse_high"),
            interval(row, "shift", "shift_low", "shift_high"),
            percent(row["near"]),
            number(row["score"]).replace("∞", "missed"),
            percent(row["missed"]),
            number(row["mean_seconds"]),
        ]
        if tuning.stop:
            followed = stopped[row["objective"]]
            cells += [str(followed["stopped"]), number(followed["seconds_saved"])]
        table.add(cells, {**tags_of(at), "objective": [row["objective"]]})
    return table


def _best_of_k(at: Record, rows: pd.DataFrame) -> Table:
    """The median and the expected best of k by objective, at the powers of four and the last k."""
    last = rows["k"].max()
    shown = [k for k in (1, 4, 16) if k < last] + [last]
    heads = ["objective", *(f"best of {k}" for k in shown)]
    title = f"{place(at)}: the best of k configurations"
    table = Table(title, heads, note=BEST_NOTE, tags=tags_of(at), fold="The best of k")
    for name, curve in rows.groupby("objective", sort=False):
        known = {row["k"]: row for row in records(curve)}
        cells = [str(name)]
        for k in shown:
            row = known.get(k)
            cells.append(_best(row) if row else "–")
        table.add(cells, {**tags_of(at), "objective": [str(name)]})
    return table


def _best(row: Record) -> str:
    """`0.44 [0.31, 0.68], mean 0.47`."""
    return f"{interval(row, 'median', 'low', 'high')}, mean {number(row['mean_without'])}"


def _rivals(at: Record, rows: pd.DataFrame) -> Table:
    """Every comparison of tuned objectives."""
    note = COMPARED.replace("over all comparisons of the report", "over all tables like this one")
    heads = [head for head in COMPARED_HEADS if head != "budget"]
    fold = "Tuned objectives against each other"
    table = Table(place(at), heads, note=note, tags=tags_of(at), fold=fold)
    for row in records(rows):
        cells = [row["first"], row["second"], row["verdict"], interval(row, "difference")]
        cells += [wins(row), number(row["p_holm"]), row["why"]]
        table.add(cells, {**tags_of(at), "objective": [row["first"], row["second"]]})
    return table


def _widest(tuning: Tuning) -> str:
    """How wide the bands are where the curves end."""
    rows = tuning.curves
    if rows["low"].isna().all():
        return "Configurations that are not independent have no band."
    row = records(rows[rows["k"] == rows["k"].max()])[0]
    return (
        f"Few configurations make wide bands: of the best of {row['k']} that of {row['objective']} "
        f"is {number(row['median'])} [{number(row['low'])}, {number(row['high'])}]."
    )
