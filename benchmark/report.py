"""Tables and figures -> report/report.md and one self-contained report/index.html, by the two templates beside this.

What it claims is decided in `stats.separation`: where the seeds could not have told, it says "not separated".
"""

import base64
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
from jinja2 import Environment, FileSystemLoader, StrictUndefined

from benchmark import plots, stats
from benchmark.cell import write_bytes
from benchmark.metrics import metric
from benchmark.tables import COLLAPSED, GROUP, OF, Tables, crossed, load, lost, robustness, scores
from benchmark.tables import write as write_tables

BUDGETS = {"steps": "generator steps", "samples": "samples seen by the critic", "seconds": "training seconds"}


@dataclass
class Section:
    """A table of plain text with its heading and a note; the templates escape it."""

    title: str
    columns: list[str]
    rows: list[list[str]] = field(default_factory=list)
    note: str = ""


@dataclass
class Place:
    """An architecture on a dataset. values: the primary metric's final value, objective x seed, first objective first,
    ±inf where diverged, NaN for a hole. summary: its rows by (objective, metric, of)."""

    name: str
    dataset: str
    column: str
    cells: pd.DataFrame
    values: pd.DataFrame
    summary: dict[tuple[str, str, str], dict[Any, Any]]


def write(folder: Path, tables: Tables | None = None, figures: list[plots.Figure] | None = None) -> Path:
    """Write the report of results/runs/MATRIX and return the path of index.html.

    Loads and writes the tables and draws the figures unless they are handed over. Raises what `tables.load` raises."""
    if tables is None:
        write_tables(tables := load(folder), folder)
    figures = plots.draw_all(tables, folder) if figures is None else figures
    places = _places(tables)
    page = {
        "matrix": tables.matrix,
        "verdict": verdict(tables),
        "answers": [(place.name, answer(place, tables.matrix.get("reference"))) for place in places],
        "robustness": [robustness_table(tables, dataset) for dataset in crossed(tables.cells)],
        "kinds": comparison_kinds(tables),
        "leaderboards": [board(tables, place) for place in places for board in (leaderboard, other_metrics)],
        "details": [cost(tables), failures(tables)],
        "figures": figures,
        "protocols": [protocol(name, entry) for name, entry in tables.protocols.items()],
        "settings": [recipes(tables), environments(tables)],
    }
    templates = Environment(
        loader=FileSystemLoader(Path(__file__).parent),
        autoescape=lambda name: name is not None and ".html" in name,
        undefined=StrictUndefined,
        trim_blocks=True,
        lstrip_blocks=True,
    )
    templates.filters |= {"md": _markdown, "image": lambda stem: _image(folder / "figures" / stem)}
    for name, template in (("report.md", "report.md.j2"), ("index.html", "report.html.j2")):
        write_bytes(folder / "report" / name, templates.get_template(template).render(page).encode())
    return folder / "report/index.html"


def verdict(tables: Tables) -> str:
    """Completeness in one line: "70/70 cells, 2 diverged", then what collapsed, is unvaried, missing, failed, stale."""
    count = tables.cells["status"].value_counts().to_dict()
    finished, diverged = count.pop("done", 0) + count.get("diverged", 0), count.pop("diverged", 0)
    parts = [
        f"{finished}/{len(tables.cells)} cells",
        f"{diverged} diverged",
        *(f"{n} {name}" for name in ("collapsed", "unvaried") if (n := int(tables.cells[name].sum()))),
        *(f"{n} {name}" for name, n in count.items()),
    ]
    if stale := int(tables.cells["stale"].sum()):
        parts.append(f"{stale} stale (made by other code or evaluation options than the present)")
    return ", ".join(parts)


def answer(place: Place, reference: str | None) -> str:
    """Which objective ends first, and whether the seeds separate it from the runner-up, and who from the reference."""
    ranked, found = list(place.values.index), metric(place.column) if place.column else None
    if found is None or not ranked:
        return "no finished cell yet."
    described = [f"{name} ({_described(place.summary[name, place.column, 'final'])})" for name in ranked]
    if len(ranked) == 1:
        return f"only {described[0]} has finished."
    planned = place.cells["objective"].nunique()  # what has not finished yet is a comparison still to be made
    pairs = planned * (planned - 1) // 2
    why = _why_not(place.values, ranked[0], ranked[1], pairs)
    text = f"{'lowest' if found.direction == 'min' else 'highest'} final {found.label}: {described[0]}; "
    text += f"runner-up {described[1]}: " + (
        f"not separated ({why})." if why else f"separated, over all {pairs} pairs."
    )
    if reference is None or reference not in ranked:
        return text
    others = [name for name in ranked if name != reference]
    whys = {name: _why_not(place.values, name, reference, planned - 1) for name in others}
    apart = [name for name in others if not whys[name]]
    before = [name for name in apart if ranked.index(name) < ranked.index(reference)]
    sides = {"ahead of it": before, "behind it": [name for name in apart if name not in before]}
    listed = "; ".join(f"{side} {', '.join(names)}" for side, names in sides.items() if names)
    listed = listed or "none" + (f" ({whys[others[0]]})" if len(set(whys.values())) == 1 else "")
    return f"{text} Separated from the reference {reference} ({planned - 1} comparisons): {listed}."


def robustness_table(tables: Tables, dataset: str) -> Section:
    """Architecture x objective: the primary metric's final value, and how many seeds were lost and how."""
    rows, column = robustness(tables, dataset), tables.primary.get(dataset)
    title = f"{dataset}: which objective trains which architecture?"
    objectives = list(rows["objective"].unique())
    section = Section(title, ["architecture", *objectives])
    records = rows.to_dict("records")
    texts = {(row["architecture"], row["objective"]): "\n".join([_iqm(row), *lost(row)]) for row in records}
    for name in rows["architecture"].unique():
        section.rows.append([name, *(texts.get((name, objective), "not in the matrix") for objective in objectives)])
    whole = (rows["done"] == rows["seeds"]) & (rows["collapsed"] + rows["unvaried"] == 0)
    counts = whole.groupby(rows["objective"], sort=False).agg(["sum", "size"])
    section.rows.append(["no seed lost", *(f"{n} of {of}" for n, of in counts.to_numpy().tolist())])
    section.note = (
        f"{column or 'Nothing measured yet'}: IQM of the final value over the seeds that finished [95 % BCa interval, "
        f"from five seeds on]. Collapsed: finished with over {COLLAPSED:.0%} of the samples near duplicates, after an "
        "evaluation with fewer; unvaried: at every evaluation, as before anything is learned. Both count in the IQM, a "
        "diverged run does not. No seed lost: every seed finished, neither collapsed nor unvaried."
    )
    return section


def leaderboard(tables: Tables, place: Place) -> Section:
    """The primary metric's final, best and area side by side, with the noise floor and the way to the target."""
    collapsed = place.cells.groupby("objective")["collapsed"].sum(min_count=1).dropna()
    heads = ["objective", "n", "diverged", *(["collapsed"] if len(collapsed) else []), *OF, "final ÷ floor"]
    heads += ["samples seen", "training seconds", "samples to target", "seconds to target"]
    if not place.column:
        return Section(place.name, heads)
    floor, target = tables.floor(place.dataset, place.column), place.cells["target"].iloc[0]
    board = Section(f"{place.name}: {metric(place.column).label}", heads)
    counts = ["samples_seen", "train_seconds", "samples_to_target", "seconds_to_target"]
    times = place.cells.groupby("objective")[counts].median()
    for name in _names(place):
        final, best, area = (place.summary[name, place.column, of] for of in OF)
        row = [name, f"{final['n']}/{final['n_expected']}", str(final["diverged"])]
        row += [_text(collapsed.get(name))] if len(collapsed) else []
        row += map(_iqm, (final, best, area))
        board.rows.append([*row, *map(_number, [final["iqm"] / floor, *times.loc[name]])])
    board.note = (
        f"{place.column}: IQM over the n seeds that finished [95 % BCa interval, from five seeds on], in the order of "
        f"the final value with a diverged seed as the worst. Noise floor, real against held-out: {_number(floor)}. "
        f"Target: {_number(target)}, the median best of {tables.matrix.get('reference') or 'no reference'}; medians "
        "over seeds, ∞ never."
    )
    return board


def other_metrics(tables: Tables, place: Place) -> Section:
    """The final values of the metrics that do not rank, each with its noise floor."""
    others = list(dict.fromkeys(column for _, column, _ in place.summary if column != place.column))
    section = Section(f"{place.name}: other metrics, final", ["objective", *others])
    section.rows = [[name, *(_iqm(place.summary[name, other, "final"]) for other in others)] for name in _names(place)]
    floors = ", ".join(f"{other} {_number(tables.floor(place.dataset, other))}" for other in others)
    section.note = f"IQM [95 % BCa interval]. Noise floors: {floors or 'none'}."
    return section


def cost(tables: Tables) -> Section:
    """Milliseconds per generator step, share of the time spent measuring, memory: medians over seeds."""
    cells = tables.cells[tables.cells["g_steps"] > 0]
    clocks = cells[["train_seconds", "eval_seconds", "other_seconds"]].sum(axis=1)
    ms = 1000 * cells["train_seconds"] / cells["g_steps"]
    cells = cells.assign(ms=ms, share=100 * cells["eval_seconds"] / clocks)
    columns = ["ms", "train_seconds", "share", "peak_memory_mb"]
    heads = ["ms per generator step", "training seconds", "% of time measuring", "peak memory MiB"]
    medians = cells.groupby([*GROUP, "objective"], sort=False)[columns].median().reset_index()
    rows = [[*row[:3], *map(_number, row[3:])] for row in medians.to_numpy().tolist()]
    note = "Medians over seeds. Memory: allocated on a GPU; on a CPU the whole process, which the libraries dominate."
    return Section("Cost", [*GROUP, "objective", *heads], rows, note)


def failures(tables: Tables) -> Section:
    """Every cell that started and is not done, with its reason and onset, and every collapsed one."""
    collapsed = tables.cells["collapsed"].fillna(False).astype(bool)
    cells = tables.cells[collapsed | ~tables.cells["status"].isin(["done", "missing"])]
    cells = cells.assign(status=cells["status"].mask(collapsed, "collapsed"))
    columns = ["key", "status", "onset", "samples_seen", "reason"]
    rows = [list(map(_text, row)) for row in cells[columns].to_numpy().tolist()]
    return Section("Failures", ["cell", "status", "onset (generator step)", "samples seen", "reason"], rows)


def comparison_kinds(tables: Tables) -> list[tuple[str, str]]:
    """What was held equal in each place: each paper's own optimiser or one for all, and the budget."""
    own = "each objective with its own paper's optimiser, unless its label names another: recipes are compared, not "
    own += "losses alone."
    shared = "one shared optimiser for all objectives ({}): losses are compared, at no paper's settings."
    found: dict[tuple[str, str], list[str]] = {}  # (dataset, text) -> architectures
    for cell in tables.matrix["cells"]:
        training = cell["spec"]["training"]
        recipe = training.get("recipe", "paper")
        budget = _text({label: training[name] for name, label in BUDGETS.items() if training.get(name)})
        kind = own if recipe == "paper" else shared.format(_text(recipe))
        text = f"{kind} Equal budgets ({budget}); final is at their end, whatever samples and seconds that took."
        found.setdefault((cell["dataset"], text), []).append(cell["architecture"])
    return [(f"{', '.join(dict.fromkeys(names))} on {dataset}", text) for (dataset, text), names in found.items()]


def recipes(tables: Tables) -> Section:
    """The optimiser and the critic's normalisation each objective ran with."""
    columns = ["objective", *GROUP, "recipe", "norm", "precision", "layout"]
    used = tables.cells[columns].dropna(subset="recipe").drop_duplicates()
    return Section("Recipes", columns, [list(map(_text, row)) for row in used.to_numpy().tolist()])


def protocol(name: str, entry: dict[str, Any]) -> Section:
    """A dataset's source, licence, split, hash and note; its extractor and accuracy; what its eval rows depend on."""
    rows = {"protocol": entry.get("protocol"), **entry.get("dataset", {})}
    rows |= {f"extractor {key}": value for key, value in (entry.get("extractor") or {}).items()}
    rows |= {"measured with": entry.get("parts"), "noise floor": entry.get("floor")}
    return Section(name, ["", ""], [[key.replace("_", " "), _text(value)] for key, value in rows.items() if value])


def environments(tables: Tables) -> Section:
    """Where the cells ran: device, torch and commit, with the number of cells of each."""
    columns = ["device", "torch", "git_commit"]
    counts = tables.cells.dropna(subset="device").groupby(columns, sort=False, dropna=False).size().reset_index()
    return Section("Environments", [*columns, "cells"], [list(map(_text, row)) for row in counts.to_numpy().tolist()])


def _places(tables: Tables) -> list[Place]:
    places = []
    summaries = dict(list(tables.summary.groupby(GROUP)))
    for place, cells in tables.cells.groupby(GROUP, sort=False):
        dataset, architecture = map(str, place)
        rows = summaries[place].to_dict("records") if place in summaries else []
        look = {(row["objective"], row["metric"], row["of"]): row for row in rows}
        column, long = tables.primary.get(dataset, ""), scores(cells)
        long = long[(long["metric"] == column) & (long["of"] == "final")]
        values = long.pivot(index="objective", columns="seed", values="value").dropna(how="all")
        sign = 1 if column and metric(column).direction == "min" else -1
        order = sorted(values.index, key=lambda name: sign * stats.iqm(values.loc[name].dropna()))
        places.append(Place(f"{architecture} on {dataset}", dataset, column, cells, values.loc[order], look))
    return places


def _names(place: Place) -> list[str]:
    """Ranked first, then those without a finished cell."""
    return list(dict.fromkeys([*place.values.index, *(name for name, _, _ in place.summary)]))


def _why_not(values: pd.DataFrame, first: str, second: str, comparisons: int) -> str:
    both = values.loc[[first, second]].dropna(axis="columns").to_numpy()
    return stats.separation(*both, comparisons=comparisons, rng=np.random.default_rng(0))


def _described(row: dict[Any, Any]) -> str:
    diverged = f", {row['diverged']} diverged" if row["diverged"] else ""
    return f"{_iqm(row)}, n = {row['n']}/{row['n_expected']}{diverged}"


def _iqm(row: dict[Any, Any]) -> str:
    ends = f" [{_number(row['ci_low'])}, {_number(row['ci_high'])}]" if np.isfinite(row["ci_low"]) else ""
    return _number(row["iqm"]) + ends


def _number(value: float) -> str:
    if not np.isfinite(value):
        return "–" if np.isnan(value) else "∞" if value > 0 else "-∞"
    return f"{value:,.0f}" if abs(value) >= 1000 else f"{value:.3g}"


def _text(value: Any) -> str:
    if isinstance(value, dict):
        return ", ".join(f"{key} {_text(inner)}" for key, inner in value.items())
    return _number(value) if isinstance(value, float) else "–" if value is None else str(value)


def _markdown(text: object) -> str:
    """Names as they are, never as markup."""
    special: Any = {"&": "&amp;", "<": "&lt;", ">": "&gt;", "|": "\\|", "*": "\\*", "`": "\\`", "\n": " "}
    return str(text).translate(str.maketrans(special))


def _image(stem: Path) -> str:
    """The smaller of STEM.svg and STEM.png as a data URI."""
    svg, png = stem.with_suffix(".svg").read_bytes(), stem.with_suffix(".png").read_bytes()
    kind, content = ("svg+xml", svg) if len(svg) < len(png) else ("png", png)
    return f"data:image/{kind};base64,{base64.b64encode(content).decode()}"
