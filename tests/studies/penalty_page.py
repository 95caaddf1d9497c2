"""The figure and the page of the penalties' costs, from their table; `python -m
tests.studies.penalty_page` makes both anew from results/reference/penalty-cost/penalty_cost.csv."""

import sys
from pathlib import Path
from typing import Any

import pandas as pd

from benchmark.store.code import ROOT

EXACT, GRADIENT = "exact, double backward", "difference, gradient"
PAGE = """# What a gradient penalty costs

Time, memory and compile time of one critic step under no penalty, weight clipping, the exact gradient penalty of
WGAN-GP, by double backward and by forward mode (jvp), and its finite differences. Made, this page, `penalty_cost.csv`
and the figure, by

```
python -m pytest tests/speed/test_penalty.py --ignore= -s
```

On a GPU the same with `GANBENCH_DEVICE=cuda` before it; rows of other devices stay. {devices}

Every contender ran in a process of its own, in turn with the others: the same network, batch, normalisation (layer norm
where the paper's critic has batch norm, which a per-sample penalty forbids) and optimiser (Adam), float32. The fakes
were given, so the generator takes no part; images are 32×32. `ms`, with its quartiles, is one critic step: the batch,
loss, gradients, update. `over_none` is the median over the rounds of the round's ratio to no penalty under the same
execution. `step_mb` is the memory that a step takes at its peak beyond what lies there between steps, in MiB: of the
process, or of what a GPU's allocator holds. `compile_seconds` is what compiling and capturing took, with empty caches.
`failed` says why a row has no numbers, or, where it has, why it ran eager all the same.

{findings}

{tables}

![costs](penalty_cost.png)
"""


def write(table: pd.DataFrame, folder: Path) -> None:
    """penalty_cost.png, .svg and README.md in the folder."""
    own = table[~table["failed"].fillna("").astype(bool) & table["ms"].notna()]
    if own.empty:
        return
    draw(own, folder)
    ran = "; ".join(
        f"{device}, {threads} threads, batches of " + ", ".join(
            f"{size} ({', '.join(dict.fromkeys(found['architecture']))})" for size, found in rows.groupby("batch_size")
        )
        for (device, threads), rows in table.groupby(["device", "threads"])
    )  # fmt: skip
    unmeasured = "" if (table["device"] != "cpu").any() else " GPU: unmeasured."
    text = PAGE.format(
        devices=f"Measured: {ran}.{unmeasured}", findings=findings(own), tables=tables(table)
    )
    (folder / "README.md").write_text(text)


def findings(table: pd.DataFrame) -> str:
    """What the numbers say, in sentences."""
    lines = []
    for (device, execution), rows in table.groupby(["device", "execution"], sort=False):
        over = rows.pivot_table(
            index="architecture", columns="penalty", values="over_none", sort=False
        )
        said = [
            f"{penalty} {_range(over[penalty])}"
            for penalty in over.columns
            if penalty != "none" and over[penalty].notna().any()
        ]
        lines.append(
            f"- {device}, {execution}: times the step without a penalty: " + "; ".join(said) + "."
        )
        if {EXACT, GRADIENT} <= set(over.columns):
            saved = over[EXACT] / over[GRADIENT]
            lines.append(
                f"  The exact penalty by double backward takes {_range(saved)} times the difference along the gradient."
            )
    eager, compiled = (
        table[table["execution"] == name].set_index(
            ["device", "threads", "architecture", "penalty"]
        )["ms"]
        for name in ("eager", "compiled")
    )
    gained = (eager / compiled).dropna()
    if len(gained):
        by = [f"{name} {_range(values)}" for name, values in gained.groupby("penalty", sort=False)]
        lines.append("- Eager over compiled, times: " + "; ".join(by) + ".")
    return "\n".join(lines)


def tables(table: pd.DataFrame) -> str:
    """One Markdown table per device and execution: ms, and the ratio to no penalty."""
    parts = []
    for (device, execution), rows in table.groupby(["device", "execution"], sort=False):
        names = list(dict.fromkeys(rows["architecture"]))
        parts += [f"**{device}, {execution}**: ms per critic step (times no penalty); MiB\n"]
        parts += ["| penalty | " + " | ".join(names) + " |", "| --- |" + " --- |" * len(names)]
        for penalty, found in rows.groupby("penalty", sort=False):
            cells = {row["architecture"]: _cell(row) for row in found.to_dict("records")}
            parts.append(
                f"| {penalty} | " + " | ".join(cells.get(name, "") for name in names) + " |"
            )
        failed = rows[rows["failed"].fillna("").astype(bool)]
        parts += [
            "",
            *(f"- {r.architecture}, {r.penalty}: {r.failed}" for r in failed.itertuples()),
            "",
        ]
    return "\n".join(parts).strip()


def draw(table: pd.DataFrame, folder: Path) -> None:
    """A panel per architecture: time over no penalty by penalty, with quartiles, a colour per
    execution."""
    import matplotlib.pyplot as plt
    import seaborn as sns

    from benchmark.drawing.layout import grid, log_axis
    from benchmark.drawing.style import LOOK

    table = table.assign(
        how=table["execution"].where(
            table["device"] == "cpu", table["execution"] + ", " + table["device"]
        )
    )
    names, penalties = (
        list(dict.fromkeys(table["architecture"])),
        list(dict.fromkeys(table["penalty"])),
    )
    hows = list(dict.fromkeys(table["how"]))
    with plt.rc_context(LOOK), sns.axes_style("whitegrid"):
        figure, axes = grid(len(names), 4, 2.6, 3.2)
        colours = sns.color_palette("colorblind", len(hows))
        for ax, name in zip(axes, names, strict=True):
            for i, (how, colour) in enumerate(zip(hows, colours, strict=True)):
                rows = table[(table["architecture"] == name) & (table["how"] == how)]
                ys = [
                    penalties.index(p) + 0.16 * (i - (len(hows) - 1) / 2) for p in rows["penalty"]
                ]
                ax.hlines(
                    ys, rows["over_none_low"], rows["over_none_high"], color=colour, linewidth=1.5
                )
                ax.plot(rows["over_none"], ys, "o", color=colour, markersize=4, label=how)
            ax.axvline(1, color="0.3", linestyle="--", linewidth=1)
            ax.set(
                title=name,
                ylim=(len(penalties) - 0.5, -0.5),
                xlabel="times no penalty",
                xscale="log",
            )
            log_axis(ax.xaxis)
            ax.set_yticks(
                range(len(penalties)), penalties if ax is axes[0] else [""] * len(penalties)
            )
        axes[0].legend()
        for suffix, options in ((".png", {"dpi": 120}), (".svg", {"metadata": {"Date": None}})):
            figure.savefig((folder / "penalty_cost").with_suffix(suffix), **options)
        plt.close(figure)


def _cell(row: dict[str, Any]) -> str:
    if isinstance(row["failed"], str) and row["failed"]:
        return "failed"
    return f"{row['ms']:.2f} ({row['over_none']:.2f} ×); {row['step_mb']:.0f}"


def _range(values: pd.Series) -> str:
    low, high = f"{values.min():.2f}", f"{values.max():.2f}"
    return low if low == high else f"{low} to {high}"


if __name__ == "__main__":
    place = (
        Path(sys.argv[1]) if len(sys.argv) > 1 else ROOT / "results" / "reference" / "penalty-cost"
    )
    write(pd.read_csv(place / "penalty_cost.csv"), place)
