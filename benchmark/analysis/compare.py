"""Variants of one result set, or one matrix run several times, side by side: paired by seed, with
intervals.

A side is what is compared: an objective's label, or a result set. The first one named is the
reference that every other side is held against. A group is where: an architecture on a dataset, and
between result sets an objective there. The family under Holm's correction is every comparison with
the reference at one place, metric and `of`; within a result set those of the objectives that are
not named count too, so that naming the two of seven that look furthest apart does not make one
comparison of six."""

from collections.abc import Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd

from benchmark.analysis import convergence
from benchmark.analysis.convergence import GROUP
from benchmark.analysis.tables import Tables, joined, scores
from benchmark.analysis.verdicts import VERDICTS
from benchmark.errors import UserError, unknown
from benchmark.matrix.options import Training
from benchmark.metrics import sign
from benchmark.stats import comparisons as stats
from benchmark.store.merge import differing

ALPHA = 0.05


@dataclass
class Sides:
    """What is compared, the reference first. Frames as in `tables`, each with a column `side`;
    `evals` holds the primary metric only. `by`: the columns that name a group. `family`: `cells`,
    and those of sides that are not named but count among the comparisons."""

    names: list[str]
    by: list[str]
    cells: pd.DataFrame
    family: pd.DataFrame
    evals: pd.DataFrame
    convergence: pd.DataFrame
    primary: dict[str, str]  # dataset -> the column it is ranked by
    floors: dict[str, float]  # dataset -> that column's noise floor
    notes: list[str] = field(default_factory=list)


def of_labels(tables: Tables, labels: Sequence[str]) -> Sides:
    """Objectives of one result set. Raises UserError for an unknown label, one named twice, or
    fewer than two."""
    if tables.evals.empty:
        raise UserError("nothing is measured yet: run the matrix first (ganbench run)")
    known = list(tables.cells["objective"].unique())
    for label in labels:
        if label not in known:
            raise unknown("objective", label, known)
    _several(labels, "objectives", known)

    def side(frame: pd.DataFrame) -> pd.DataFrame:
        return frame.assign(side=frame["objective"].astype(str))

    def named(frame: pd.DataFrame) -> pd.DataFrame:
        return side(frame[frame["objective"].isin(labels)])

    cells = named(tables.cells)
    notes = _stale(labels, cells)
    for (dataset, architecture), place in cells.groupby(GROUP, sort=False):
        if len(devices := place["device"].dropna().unique()) > 1:
            there = f"{architecture} on {dataset} ran on several devices ({', '.join(devices)})"
            notes.append(f"{there}: its times do not compare, and there is no equal time.")
    return Sides(
        list(labels), GROUP, cells, side(tables.cells), named(_curves(tables)), named(tables.convergence),
        tables.primary, _floors(tables), notes,
    )  # fmt: skip


def of_sets(sets: dict[str, Tables]) -> Sides:
    """Result sets of one matrix, by name (two commits, two machines), all held to the first one's
    targets.

    Raises UserError for one set, for a dataset measured under different protocols, for an objective
    trained with other options in the same place, and for sets that have nothing in common."""
    _several(list(sets), "result sets")
    names, tables = list(sets), list(sets.values())
    first = tables[0]
    notes: list[str] = []
    for name, other in zip(names[1:], tables[1:], strict=True):
        _same_protocols(names[0], first, name, other)
        _same_training(names[0], first, name, other)
        options = list(differing(first.matrix.config, other.matrix.config))
        notes += [f"{name} is of another matrix than {names[0]}: {option}." for option in options]
        for dataset, column in first.primary.items():
            there = other.cells[other.cells["dataset"] == dataset]
            if len(there) and (
                f"{column}:final" not in there or there[f"{column}:final"].isna().all()
            ):
                notes.append(f"{column}, by which {dataset} is ranked, is not measured in {name}.")

    seeds = sorted(set.intersection(*(set(t.cells["seed"]) for t in tables)))
    if not seeds:
        raise UserError(f"{', '.join(names)} have no seed in common")
    for name, t in zip(names, tables, strict=True):
        if left_out := sorted(set(t.cells["seed"]) - set(seeds)):
            notes.append(
                f"Of {name}, {len(left_out)} seeds that are not in every set are left out."
            )

    def together(frames: Sequence[pd.DataFrame]) -> pd.DataFrame:
        frame = pd.concat(
            [f.assign(side=name) for name, f in zip(names, frames, strict=True)], ignore_index=True
        )
        return frame[frame["seed"].isin(seeds)]

    cells = together([first.cells, *(_to_targets_of(first, other) for other in tables[1:])])
    to_target = [
        convergence.kaplan_meier(cells[cells["side"] == name]).assign(side=name) for name in names
    ]
    return Sides(
        names, [*GROUP, "objective"], cells, cells, together([_curves(t) for t in tables]),
        pd.concat(to_target, ignore_index=True), first.primary, _floors(first), [*notes, *_stale(names, cells)],
    )  # fmt: skip


def differences(sides: Sides, of: Sequence[str] = ("final",)) -> pd.DataFrame:
    """Every side against the reference, one row per group, metric, of and side.

    n: pairs of seeds; value, against: each side's IQM; difference: side − reference, the IQM over
    pairs, with ci_low, ci_high; p_improvement: P(side is better), with p_low, p_high; p_holm;
    verdict; why it is not separated. A diverged seed counts in p_improvement, as the worst value,
    and has no difference. Between result sets there is no equal_time: each has its own. Raises
    UserError where nothing compares."""
    within = "objective" not in sides.by
    if (
        not within
        and "equal_time" in of
        and not (of := [name for name in of if name != "equal_time"])
    ):
        raise UserError(
            "equal_time is read within one result set: between sets see the cost, or --of final"
        )
    long = pd.concat(
        [
            scores(cells).assign(side=name)
            for name, cells in sides.family.groupby("side", sort=False)
        ]
    )
    planned = sides.family.groupby(GROUP)["side"].unique()
    rows = []
    families: Any = long[long["of"].isin(of)].groupby([*GROUP, "metric", "of"], sort=False)
    for (*place, column, _), of_family in families:
        family = []
        for _, group in of_family.groupby(sides.by, sort=False):
            values = {
                str(name): dict(zip(found["seed"], found["value"], strict=True))
                for name, found in group.groupby("side", sort=False)
                if found["value"].notna().any()
            }
            if sides.names[0] in values and any(name in values for name in sides.names[1:]):
                where = group.iloc[0][[*sides.by, "metric", "of"]].to_dict()
                unfinished: dict[str, Any] = (
                    {name: {} for name in planned[tuple(place)]} if within else {}
                )
                compared = stats.family(
                    unfinished | values, minimise=sign(column) == 1, reference=sides.names[0], alpha=ALPHA,
                    rng=np.random.default_rng(0),
                )  # fmt: skip
                family += [(where, values, comparison) for comparison in compared]
        found = stats.judged(
            [comparison for *_, comparison in family], minimise=sign(column) == 1, alpha=ALPHA
        )
        rows += [
            where | _row(values, one, sides.names[0])
            for (where, values, _), one in zip(family, found, strict=True)
            if one.first in sides.names and one.first in values
        ]
    if not rows:
        why = "; ".join(["", *(note.rstrip(".") for note in sides.notes)])
        raise UserError(
            f"no finished runs of {sides.names[0]} and of another side to compare ({', '.join(of)}){why}"
        )
    return pd.DataFrame(rows)


def _row(
    values: dict[str, dict[Any, float]], found: stats.Comparison, reference: str
) -> dict[str, Any]:
    first, second = values[found.first], values[reference]
    pairs = [(first[seed], second[seed]) for seed in first.keys() & second.keys()]
    equal = len(pairs) > 0 and all(a == b for a, b in pairs)
    same = (
        "every seed of both diverged" if equal and np.isinf(pairs).all() else "equal seed by seed"
    )

    def middle(seeds: dict[Any, float]) -> float:
        return float(stats.iqm([value for value in seeds.values() if np.isfinite(value)]))

    return {
        "side": found.first, "n": found.n, "value": middle(first), "against": middle(second),
        "diverged": int(np.isinf([*first.values()]).sum()), "against_diverged": int(np.isinf([*second.values()]).sum()),
        "difference": found.difference, "ci_low": found.ci_low, "ci_high": found.ci_high,
        "p_improvement": found.p_improvement, "p_low": found.p_low, "p_high": found.p_high, "p_holm": found.p_holm,
        "verdict": found.verdict, "why": same if equal else found.why,
    }  # fmt: skip


def cost(sides: Sides) -> pd.DataFrame:
    """Medians over seeds by group and side: ms per generator step, peak memory, both in units of
    the reference workload that the same process ran before the cell (which compares machines), and
    each ÷ the reference side's."""
    cells = sides.cells[sides.cells["g_steps"] > 0]
    frame = cells[[*sides.by, "side"]].assign(
        ms_per_g_step=1000 * cells["train_seconds"] / cells["g_steps"],
        peak_memory_mb=cells["peak_memory_mb"],
    )
    frame["workloads_per_g_step"] = frame["ms_per_g_step"] / cells["reference_ms"]
    frame["workloads_memory"] = frame["peak_memory_mb"] / cells["reference_mb"]
    columns = list(frame.columns[-4:])
    medians = frame.groupby([*sides.by, "side"], sort=False)[columns].median().reset_index()
    reference = medians[medians["side"] == sides.names[0]].drop(columns="side")
    ratios = medians[[*sides.by, "side"]].merge(reference, on=sides.by, how="left")[columns]
    return ordered(sides, medians.join(medians[columns] / ratios, rsuffix="_ratio"))


def reliability(sides: Sides) -> pd.DataFrame:
    """Cells per verdict by group and side, a column per verdict that occurs, and `unfinished`
    ones."""
    verdict = sides.cells["verdict"].astype(object)
    counted = sides.cells[[*sides.by, "side"]].assign(
        verdict=verdict.where(verdict.notna(), "unfinished"), n=1
    )
    index = [*sides.by, "side"]
    table = counted.pivot_table(
        index=index, columns="verdict", values="n", aggfunc="sum", fill_value=0, sort=False
    )
    names = [name for name in (*VERDICTS, "unfinished") if name in table.columns]
    return ordered(sides, table[names].reset_index().rename_axis(columns=None))


def curves(sides: Sides) -> pd.DataFrame:
    """The primary metric over samples seen by group and side: median, low and high over the n
    finite seeds."""
    finite = sides.evals.assign(value=sides.evals["value"].where(np.isfinite(sides.evals["value"])))
    group = finite.groupby([*sides.by, "side", "samples_seen"], sort=False, observed=True)["value"]
    return ordered(
        sides, group.agg(median="median", low="min", high="max", n="count").reset_index()
    )


def ordered(sides: Sides, frame: pd.DataFrame) -> pd.DataFrame:
    """Rows by place and group, in the order of the matrix, and within it by side, the reference
    first."""
    groups = list(sides.cells[sides.by].drop_duplicates().itertuples(index=False, name=None))
    places = list(dict.fromkeys(group[: len(GROUP)] for group in groups))
    rows = frame[[*sides.by, "side"]].to_numpy().tolist()
    at = [
        (
            places.index(tuple(group[: len(GROUP)])),
            groups.index(tuple(group)),
            sides.names.index(side),
        )
        for *group, side in rows
    ]
    return frame.iloc[sorted(range(len(at)), key=at.__getitem__)]


def set_names(folders: Sequence[str]) -> list[str]:
    """What tells result folders apart: their paths without the parts they begin and end with alike.
    Raises UserError for a folder named twice, however it is written."""
    resolved = [Path(folder).resolve() for folder in folders]
    for folder, path in zip(folders, resolved, strict=True):
        if resolved.count(path) > 1:
            raise UserError(f"{folder} is named twice: compare takes different result sets")
    parts = [Path(folder).parts for folder in folders]
    shortest = min(map(len, parts))
    head = next((i for i in range(shortest) if len({part[i] for part in parts}) > 1), shortest)
    tail = next((i for i in range(shortest - head) if len({part[-1 - i] for part in parts}) > 1), 0)
    names = [str(Path(*part[head : len(part) - tail])) for part in parts]
    return names if len(set(names)) == len(names) and "." not in names else list(map(str, folders))


def _several(names: Sequence[str], kind: str, known: Sequence[str] = ()) -> None:
    twice = next((name for name in names if list(names).count(name) > 1), None)
    if twice:
        raise UserError(f"{twice} is named twice: compare takes different {kind}")
    if len(names) < 2:
        valid = f"; valid: {', '.join(known)}" if known else ""
        raise UserError(
            f"compare needs two {kind} or more, got {', '.join(names) or 'none'}{valid}"
        )


def _stale(names: Sequence[str], cells: pd.DataFrame) -> list[str]:
    counts = {name: int(cells.loc[cells["side"] == name, "stale"].sum()) for name in names}
    return [
        f"Of {name}, {n} of the cells are stale: trained by other code, or measured in another way, than at present."
        for name, n in counts.items()
        if n
    ]


def _curves(tables: Tables) -> pd.DataFrame:
    rows = joined(tables.evals, tables.cells)
    return rows[rows["metric"].astype(str) == rows["dataset"].map(tables.primary)]


def _to_targets_of(first: Tables, other: Tables) -> pd.DataFrame:
    """The other set's cells with what they took to the first set's targets."""
    known = first.cells.groupby(GROUP)["target"].first()
    places = pd.MultiIndex.from_frame(other.cells[GROUP])
    targets = dict(zip(places, known.reindex(places), strict=True))
    return other.cells.assign(
        **convergence.to_target(other.cells, other.evals, other.primary, targets)
    )


def _floors(tables: Tables) -> dict[str, float]:
    return {dataset: tables.floor(dataset, column) for dataset, column in tables.primary.items()}


def _same_protocols(name: str, first: Tables, other_name: str, other: Tables) -> None:
    ours, theirs = (
        dict(
            zip(
                t.evals["cell"].map(t.cells.set_index("key")["dataset"]),
                t.evals["protocol"],
                strict=True,
            )
        )
        for t in (first, other)
    )
    for dataset in ours.keys() & theirs.keys():
        if ours[dataset] != theirs[dataset]:
            raise UserError(
                f"{dataset} is measured under protocol {ours[dataset]} in {name} and {theirs[dataset]} in "
                f"{other_name}: values of different protocols are never compared; measure one of them again"
            )


def _same_training(name: str, first: Tables, other_name: str, other: Tables) -> None:
    """An option that only one side knows (a later version's) is let through at its default."""
    axes = ("objective", "architecture", "dataset")
    ours, theirs = (
        {
            tuple(getattr(entry, axis) for axis in axes): entry.spec.training
            for entry in t.matrix.cells
        }
        for t in (first, other)
    )
    common = [group for group in ours if group in theirs]
    if not common:
        raise UserError(
            f"{name} and {other_name} have no objective, architecture and dataset in common"
        )
    for group in common:
        known = {name: option.default for name, option in Training.model_fields.items()}
        a, b = ({**{name: known[name] for name in other if name in known}, **own}
                for own, other in ((ours[group], theirs[group]), (theirs[group], ours[group])))  # fmt: skip
        if options := list(differing(a, b)):
            raise UserError(
                f"{' / '.join(group)} is trained with other options in {other_name} than in {name}: "
                f"{'; '.join(options)}; such runs are variants, not repetitions: put both into one matrix"
            )
