"""The report's first chapters: what ran, and who wins where."""

import pandas as pd

from benchmark.analysis.evidence import ALPHA, COMPARED_AT, Evidence
from benchmark.analysis.robustness import crossed, lost, robustness
from benchmark.analysis.scores import PLACE
from benchmark.analysis.tables import Tables
from benchmark.analysis.verdicts import VERDICTS
from benchmark.metrics import metric
from benchmark.report.page import Chapter, Item, Row, Table, at_place, place, records, tags
from benchmark.store.result_set import FINISHED
from benchmark.text import Record, interval, listed, number, plural, span, text

TRAINING = {
    "steps": "generator steps",
    "samples": "samples seen by the critic",
    "seconds": "training seconds",
}
HEADS = {"final": "final", "equal_time": "at equal time", "best": "best, at step", "area": "area"}
UNCLEAR = "not separated"
PACE = 1.25  # objectives whose reference workloads differ by more cannot be compared by time
COMPARED = (
    "A family is all comparisons of a place and a budget. Difference: IQM over the paired seeds that finished [95 % "
    "BCa interval]; P: over all seeds, a diverged one being the worst; p: Mann–Whitney, exact, corrected by Holm over "
    f"the family. Better or worse: p ≤ {ALPHA:g} and an interval on one side of 0."
)


def completeness(tables: Tables) -> str:
    """In one line: "70/70 cells finished, 2 diverged", then other verdicts, what is missing,
    failed, stale."""
    counts = tables.cells["status"].value_counts().to_dict()
    finished = counts.pop("done", 0) + counts.get("diverged", 0)
    parts = [
        f"{finished}/{len(tables.cells)} cells finished",
        f"{counts.pop('diverged', 0)} diverged",
    ]
    seen = tables.cells["verdict"].value_counts()
    parts += [
        f"{seen[name]} {name}"
        for name in VERDICTS
        if name in seen and name not in ("ok", "diverged")
    ]
    parts += [f"{n} {name}" for name, n in counts.items()]
    if stale := int(tables.cells["stale"].sum()):
        parts.append(f"{stale} stale")
    return ", ".join(parts)


def ran(found: Evidence) -> Chapter:
    """Did everything run? Counts by place and status."""
    tables, cells = found.tables, found.tables.cells
    table = Table(
        "Cells by status", ["where", "cells", *cells["status"].value_counts().index, "stale"]
    )
    places = records(cells[PLACE].drop_duplicates())
    for at in places:
        here = at_place(cells, at)
        counts = [
            len(here),
            *((here["status"] == status).sum() for status in table.columns[2:-1]),
            here["stale"].sum(),
        ]
        table.rows.append(Row([place(at), *map(str, counts)], tags(at)))
    seeds = span(cells.groupby([*PLACE, "objective"])["seed"].nunique())
    compared = f"Compared: {plural(cells['objective'].nunique(), 'objective')} in {plural(len(places), 'place')} (an "
    compared += f"architecture on a dataset), {seeds} seeds each."
    answer = "No: what has not finished is a hole, and shows as n below the number of seeds."
    if cells["status"].isin(FINISHED).all():
        answer = "Yes: every cell ran to its end, or to its divergence."
    if n := int(cells["stale"].sum()):
        answer += f" Stale, made by other code or evaluation options than the present ones: {plural(n, 'cell')}."
    return Chapter("ran", "Did everything run?", [answer, compared], held_equal(tables), [table])


def where(found: Evidence) -> Chapter:
    """Who wins where, at equal generator steps and at equal training time, and is it separated?"""
    tables, summary = found.tables, _summary(found.tables)
    reference = tables.matrix.get("reference")
    tested = (
        f"every objective is tested against {reference}, the reference that the matrix names"
        if reference
        else ""
    )
    said = f"At each budget {tested or 'all pairs of objectives are tested'}, with Holm's correction. Brackets hold 95 % "
    said += "intervals over seeds."
    chapter = Chapter("where", "Who wins where, and is it separated?", [said])
    leaders = {
        (row["dataset"], row["architecture"], row["of"]): row for row in records(found.leaders)
    }
    for at in records(tables.cells[PLACE].drop_duplicates()):
        group = tuple(at[name] for name in PLACE)
        lines = [
            _who(found, leaders[(*group, of)], summary)
            for of in COMPARED_AT
            if (*group, of) in leaders
        ]
        if not lines:
            lines = ["no finished cell yet."]
        elif (*group, "equal_time") not in leaders:
            lines.append(
                "Not compared at equal training time: no run was done, or on more than one device."
            )
        lines += _pace(at_place(tables.cells, at))
        chapter.items.append(Item(place(at), lines, tags(at)))
    chapter.tables += [robustness_table(tables, dataset) for dataset in crossed(tables.cells)]
    chapter.tables += [
        leaderboard(found, group, summary)
        for group in records(tables.cells[PLACE].drop_duplicates())
    ]
    chapter.tables += [over_places(found)] if len(found.overall) else []
    chapter.tables += [comparisons(found), *other_metrics(tables)]
    return chapter


def held_equal(tables: Tables) -> list[Item]:
    """What was held equal in each place: each paper's own optimiser or one for all, and the
    budget."""
    own = "each objective with its own paper's optimiser, unless its label names another: recipes are compared, not "
    own += "losses alone"
    shared = "one optimiser for all objectives ({}): losses are compared, at no paper's settings"
    found: dict[tuple[str, str], list[str]] = {}  # (dataset, text) -> architectures
    for cell in tables.matrix["cells"]:
        training = cell["spec"]["training"]
        recipe = training.get("recipe", "paper")
        budget = text(
            {label: training[name] for name, label in TRAINING.items() if training.get(name)}
        )
        kind = own if recipe == "paper" else shared.format(text(recipe))
        found.setdefault((cell["dataset"], f"{kind}. Equal budgets: {budget}."), []).append(
            cell["architecture"]
        )
    return [
        Item(f"{listed(list(dict.fromkeys(names)))} on {dataset}", [line], {"dataset": [dataset]})
        for (dataset, line), names in found.items()
    ]


def _pace(cells: pd.DataFrame) -> list[str]:
    """A warning where the machine was not equally fast for all objectives, by the reference
    workload's time."""
    ms = cells.groupby("objective")["reference_ms"].median()
    if not ms.max() > PACE * ms.min():
        return []
    said = f"The reference workload took from {number(ms.min())} to {number(ms.max())} ms, medians by objective: the "
    return [f"{said}machine was not equally fast for all, and equal times are not equal work."]


def _summary(tables: Tables) -> dict[tuple[str, ...], Record]:
    """Rows of `summary` by dataset, architecture, objective, metric and of."""
    return {
        tuple(row[n] for n in (*PLACE, "objective", "metric", "of")): row
        for row in records(tables.summary)
    }


def _budget(found: Evidence, row: Record) -> str:
    if row["of"] == "equal_time":
        seconds = found.tables.equal_seconds[row["dataset"], row["architecture"]]
        return f"At equal training time ({number(seconds)} s)"
    cells = [
        cell
        for cell in found.tables.matrix["cells"]
        if all(cell[name] == row[name] for name in PLACE)
    ]
    budgets = {
        (name, n)
        for cell in cells
        for name in TRAINING
        if (n := cell["spec"]["training"].get(name))
    }
    if len(budgets) != 1:
        return "At the end of training (budgets differ)"
    ((name, n),) = budgets
    return f"At equal {TRAINING[name]} ({n:,g})"


def _who(found: Evidence, row: Record, summary: dict[tuple[str, ...], Record]) -> str:
    """Who leads at a budget and by how much, and who is separated from whom."""
    label, low = metric(row["metric"]).label, metric(row["metric"]).direction == "min"

    def described(name: str) -> str:
        values = summary[row["dataset"], row["architecture"], name, row["metric"], row["of"]]
        holes = (
            f", n = {values['n']}/{values['n_expected']}"
            if values["n"] < values["n_expected"]
            else ""
        )
        return f"{name} ({interval(values)}{holes}{f', {n} diverged' if (n := values['diverged']) else ''})"

    said = f"{_budget(found, row)}: {described(row['first'])} has the {'lowest' if low else 'highest'} {label}"
    if not summary[row["dataset"], row["architecture"], row["first"], row["metric"], row["of"]][
        "n"
    ]:
        return f"{_budget(found, row)}: every run diverged."
    if not row["second"]:
        return f"{said}, the only one that has finished."
    said += f"; next {described(row['second'])}; paired difference {interval(row, 'difference')}"
    rows = at_place(found.compared, row)
    rows = rows[rows["of"] == row["of"]]
    if not row["reference"]:
        said += f": {row['verdict']}{f' ({why})' if (why := row['why']) else ''}. "
        return f"{said}Of all {plural(len(rows), 'pair')}, {(rows['verdict'] != UNCLEAR).sum()} are separated."
    parts = []
    for name, of_verdict in sorted(
        rows.groupby("verdict"), key=lambda group: ("better", "worse", UNCLEAR).index(group[0])
    ):
        whys = of_verdict["why"].unique()
        why = f" ({whys[0]})" if len(whys) == 1 and whys[0] else ""
        if len(of_verdict):
            parts.append(
                f"{name}: {'all' if len(of_verdict) == len(rows) else ', '.join(of_verdict['first'])}{why}"
            )
    said += "" if row["verdict"] else ", not tested against one another"
    return f"{said}. Against {row['reference']}: {'; '.join(parts)}."


def robustness_table(tables: Tables, dataset: str) -> Table:
    """Architecture x objective: the primary metric's final value, and how many seeds were lost and
    how."""
    rows, column = robustness(tables, dataset), tables.primary.get(dataset)
    objectives = list(rows["objective"].unique())
    title = f"{dataset}: which objective trains which architecture?"
    table = Table(title, ["architecture", *objectives], of={"dataset": [dataset]})
    table.column_of = [{}, *({"objective": [name]} for name in objectives)]
    texts = {
        (row["architecture"], row["objective"]): "\n".join([interval(row), *lost(row)])
        for row in records(rows)
    }
    for name in rows["architecture"].unique():
        values = [texts.get((name, objective), "not in the matrix") for objective in objectives]
        table.rows.append(Row([name, *values], {"architecture": [name]}))
    lost_any = rows[[name for name in VERDICTS if name != "ok"]].sum(axis=1) + rows["unfinished"]
    counts = (lost_any == 0).groupby(rows["objective"], sort=False).agg(["sum", "size"])
    table.rows.append(
        Row(["no seed lost", *(f"{n} of {of}" for n, of in counts.to_numpy().tolist())])
    )
    table.note = f"{column or 'Nothing measured yet'}: IQM of the final value over the seeds that finished [95 % BCa "
    table.note += "interval, from five seeds on]. Lost seeds count in it unless they diverged."
    return table


def leaderboard(found: Evidence, at: Record, summary: dict[tuple[str, ...], Record]) -> Table:
    """The primary metric's final, equal-time, best and area side by side, the noise floor, and what
    is separated."""
    tables, group = found.tables, tuple(at[name] for name in PLACE)
    cells, rows, leaders = (
        at_place(frame, at) for frame in (tables.cells, found.compared, found.leaders)
    )
    if leaders.empty:
        return Table(place(at), ["objective"], of=tags(at))
    column, reference = tables.primary[at["dataset"]], leaders["reference"].iloc[0]
    floor = tables.floor(at["dataset"], column)
    names = list(dict.fromkeys([*at_place(found.ranks, at)["objective"], *cells["objective"]]))
    of_name = {name: {of: summary[(*group, name, column, of)] for of in HEADS} for name in names}
    diverged = any(values["final"]["diverged"] for values in of_name.values())
    table = Table(f"{place(at)}: {metric(column).label}", ["objective", "n"], of=tags(at))
    table.columns += [*(["diverged"] if diverged else []), *HEADS.values(), "final ÷ floor"]
    against = f"against {reference}" if reference else "better than"
    table.columns += [f"{against}, {HEADS[of]}" for of in COMPARED_AT]
    steps = cells[cells["status"] == "done"].groupby("objective")[f"{column}:best_g_step"].median()
    for name, values in of_name.items():
        final, texts = (
            values["final"],
            {of: interval(value).replace(" [", "\n[") for of, value in values.items()},
        )
        if name in steps:
            texts["best"] = texts["best"].replace("\n", f" at {number(steps[name])}\n", 1)
        row = [
            name,
            f"{final['n']}/{final['n_expected']}",
            *([str(final["diverged"])] if diverged else []),
        ]
        row += [*texts.values(), number(final["iqm"] / floor)]
        row += [_against(rows[rows["of"] == of], name, reference) for of in COMPARED_AT]
        table.rows.append(Row(row, {"objective": [name]}))
    table.note = (
        f"{column}: IQM over the n seeds that finished [95 % BCa interval, from five seeds on], in the order of the "
        f"final value, a diverged seed being the worst. Noise floor, real against held-out: {number(floor)}."
    )
    return table


def _against(rows: pd.DataFrame, name: str, reference: str) -> str:
    if reference:
        if name == reference:
            return "reference"
        of_name = records(rows[rows["first"] == name])
        return f"{of_name[0]['verdict']}\n{interval(of_name[0], 'difference')}" if of_name else "–"
    ahead = list(rows[(rows["first"] == name) & (rows["verdict"] == "better")]["second"])
    ahead += list(rows[(rows["second"] == name) & (rows["verdict"] == "worse")]["first"])
    return ", ".join(ahead) or "–"


def over_places(found: Evidence) -> Table:
    """Every objective over all places together."""
    reference = found.tables.matrix.get("reference")
    table = Table(
        "Over all places",
        ["objective", "runs", "final ÷ noise floor", f"P(better than {reference})"],
    )
    if not reference:
        table.columns.pop()
    for row in records(found.overall):
        cells = [
            row["objective"],
            str(row["n"]),
            interval(row),
            interval(row, "p_improvement", "p_low", "p_high"),
        ]
        table.rows.append(Row(cells[: len(table.columns)], {"objective": [row["objective"]]}))
    table.note = "IQM over the runs of all places that every objective has finished runs in, each value divided by its "
    table.note += "place's noise floor; P: the chance that a run is better than one of the reference in the same place, "
    table.note += "averaged over places [95 % intervals, stratified bootstrap: seeds resampled within each place]."
    return table


def comparisons(found: Evidence) -> Table:
    """Every comparison of every family."""
    heads = [
        "where",
        "budget",
        "first",
        "second",
        "pairs",
        "first − second",
        "P(first better)",
        "p, Holm",
        "verdict",
    ]
    table = Table("All comparisons", [*heads, "why not separated"], note=COMPARED, folded=True)
    for row in records(found.compared):
        cells = [
            place(row),
            HEADS[row["of"]],
            row["first"],
            row["second"],
            str(row["n"]),
            interval(row, "difference"),
        ]
        cells += [
            interval(row, "p_improvement", "p_low", "p_high"),
            number(row["p_holm"]),
            row["verdict"],
            row["why"],
        ]
        of = tags(row) | {"objective": [row["first"], row["second"]]}
        table.rows.append(Row(cells, of))
    return table


def other_metrics(tables: Tables) -> list[Table]:
    """Per dataset, the final values of the metrics that do not rank, each with its noise floor."""
    found = []
    rows = tables.summary[tables.summary["of"] == "final"]
    rows = rows[rows["metric"] != rows["dataset"].map(tables.primary)]
    for dataset, of_dataset in rows.groupby("dataset", sort=False):
        names = list(of_dataset["metric"].unique())
        table = Table(
            f"{dataset}: other metrics, final", ["architecture", "objective", *names], folded=True
        )
        for _, group in of_dataset.groupby(["architecture", "objective"], sort=False):
            first = records(group)[0]
            values = {row["metric"]: interval(row) for row in records(group)}
            cells = [
                first["architecture"],
                first["objective"],
                *(values.get(name, "–") for name in names),
            ]
            table.rows.append(Row(cells, tags(first)))
        floors = ", ".join(f"{name} {number(tables.floor(str(dataset), name))}" for name in names)
        table.note, table.of = (
            f"IQM [95 % BCa interval]. Noise floors: {floors}.",
            {"dataset": [str(dataset)]},
        )
        found.append(table)
    return found
