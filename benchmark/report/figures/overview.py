"""Every figure of a report, in reading order, and the first of them: where each objective ends, and
what it costs. The others: robustness_plots, sample_plots, trace_plots, speed_plots,
stability_plots, certainty_plots."""

from pathlib import Path
from typing import Any

import matplotlib.pyplot as plt
import numpy as np
import seaborn as sns

from benchmark.analysis.evidence import Evidence, gather
from benchmark.analysis.robustness import crossed
from benchmark.analysis.scores import PLACE, ms_per_g_step
from benchmark.analysis.tables import Tables
from benchmark.drawing.layout import lists, log_axis, not_recorded, pages
from benchmark.drawing.style import (
    LOOK,
    Figure,
    described,
    heat,
    inches,
    log_values,
    plain,
    save,
    short,
    style,
    wrap,
)
from benchmark.report.figures import certainty as certainty_plots
from benchmark.report.figures import speed as speed_plots
from benchmark.report.figures import stability as stability_plots
from benchmark.report.figures import traces as trace_plots
from benchmark.report.figures.robustness import robustness_figures
from benchmark.report.figures.samples import sample_grids


def draw_all(tables: Tables, folder: Path, evidence: Evidence | None = None) -> list[Figure]:
    """Every figure the results so far allow, written to `folder`/figures, in reading order.
    evidence: as gathered from `tables`; gathered here unless given."""
    (folder / "figures").mkdir(parents=True, exist_ok=True)
    evidence = gather(tables) if evidence is None else evidence
    with sns.axes_style("whitegrid"), plt.rc_context(LOOK):
        figures = [
            *robustness_figures(tables, folder),
            *heatmap(tables, folder),
            *sample_grids(tables, folder),
        ]
        figures += [
            *trace_plots.learning_curves(tables, folder),
            *speed_plots.time_to_target(tables, folder),
        ]
        figures += [
            *speed_plots.profiles(tables, folder),
            *stability_plots.verdicts(tables, folder),
        ]
        figures += [
            *trace_plots.gradient_norms(tables, folder),
            *trace_plots.layers(tables, folder),
        ]
        figures += [
            *trace_plots.scores(tables, folder),
            *stability_plots.critic_loss(tables, folder),
        ]
        figures += cost(tables, folder)
        figures += [
            *certainty_plots.differences(evidence, folder),
            *certainty_plots.rank_stability(evidence, folder),
        ]
        figures += certainty_plots.power(evidence, folder)
    return figures


def heatmap(tables: Tables, folder: Path) -> list[Figure]:
    """Objective x (architecture on dataset): IQM of the primary metric's final value. Without the
    datasets that have a robustness figure, which shows the same."""
    rows = tables.summary[
        (tables.summary["of"] == "final") & ~tables.summary["dataset"].isin(crossed(tables.cells))
    ]
    rows = rows[rows["metric"] == rows["dataset"].map(tables.primary)]
    if rows["iqm"].isna().all():
        return []
    text = [short(iqm) if n else "–" for iqm, n in zip(rows["iqm"], rows["n"], strict=True)]
    text = [
        f"{cell}\n{d}/{n} diverged" if d else cell
        for cell, d, n in zip(text, rows["diverged"], rows["n_expected"], strict=True)
    ]
    column = rows["metric"].map(lambda name: described(name).replace(" (", "\n("))
    place = rows["architecture"].map(wrap) + "\non " + rows["dataset"].map(plain) + "\n" + column
    long = rows.assign(place=place, text=text, log=log_values(rows["iqm"], rows["metric"]))
    order: dict[str, Any] = {
        "index": list(rows["objective"].unique()),
        "columns": list(place.unique()),
    }
    texts, logs = (
        long.pivot(index="objective", columns="place", values=of).reindex(**order)
        for of in ("text", "log")
    )
    worse, turned = logs - logs.min(), logs.shape[1] > 4  # many places grow downwards, not sideways
    if turned:
        worse, texts = worse.T, texts.T
    tall, heads = (
        (order["columns"], map(wrap, order["index"]))
        if turned
        else (map(wrap, order["index"]), list(place))
    )
    height = 0.4 + inches(heads) + len(worse) * max(0.45, 0.1 + inches(tall))
    figure, ax = plt.subplots(figsize=(2.2 + (1.6 if turned else 1.95) * worse.shape[1], height))
    heat(ax, worse, texts)
    if turned:
        ax.set_xticks(ax.get_xticks(), [wrap(name) for name in worse.columns], rotation=0)
        ax.xaxis.tick_top()
    caption = "IQM of the final value over the seeds that finished. Light is good; each place has its own scale, "
    caption += "the log of the ratio to its best. Grey: no finished seed."
    return [
        save(figure, rows, folder, Figure("heatmap", "Where each objective ends", caption, "where"))
    ]


def cost(tables: Tables, folder: Path) -> list[Figure]:
    """Training milliseconds per generator step, critic steps included, and the same in reference
    workloads."""
    rows = tables.cells[tables.cells["g_steps"] > 0]
    rows = rows.assign(ms_per_g_step=ms_per_g_step(rows))
    rows = rows.assign(references_per_g_step=rows["ms_per_g_step"] / rows["reference_ms"])
    labels = {
        "ms_per_g_step": "training ms per generator step",
        "references_per_g_step": "the same ÷ a reference workload",
    }
    labels = {name: label for name, label in labels.items() if rows[name].notna().any()}
    figures = []
    for of, of_page in pages(rows) if labels else ():
        figure, found = lists(of_page, labels, 3.0 + 3.0 * len(labels))
        for dataset, (axes, ys) in found.items():
            of_dataset = of_page[of_page["dataset"] == dataset]
            for ax, (column, label) in zip(axes, labels.items(), strict=True):
                for (architecture, name), values in of_dataset.groupby(
                    ["architecture", "objective"]
                )[column]:
                    y, look = (
                        ys[architecture, name],
                        style(str(name)) | {"linestyle": "", "markersize": 3.5},
                    )
                    ax.plot(values, np.full(len(values), y), **look, alpha=0.6)
                    ax.plot([values.median()] * 2, [y - 0.35, y + 0.35], color="k", linewidth=1.5)
                ax.set_xlabel(label)
                if of_dataset[column].isna().all():
                    not_recorded(ax)
                else:
                    ax.set_xscale("log")
                    log_axis(ax.xaxis)
        caption = "One mark per seed, a stroke at the median. The training clock only, without measuring; a "
        caption += "generator step includes its critic steps. Cells that shared a machine with other work are slower"
        caption += (
            "; a reference workload, timed before each cell, was slowed as well."
            if len(labels) > 1
            else "."
        )
        data = of_page[["key", "objective", *PLACE, "seed", *labels]]
        figures.append(
            save(
                figure,
                data,
                folder,
                Figure("cost", "Cost of a generator step", caption, "cost"),
                of,
            )
        )
    return figures
