"""The page and the figure of the penalties' costs, made from their table.

`python -m tests.studies.penalty_page` makes both again from
results/reference/penalty-cost/penalty_cost.csv; another folder may be named as its argument.
`tests/speed/test_penalty.py` measures the table."""

import sys
from pathlib import Path
from typing import Any

import pandas as pd

from benchmark.store.code import ROOT
from benchmark.text import plural

EXACT = "exact, double backward"
GRADIENT = "difference, gradient"
MOST_TIMES = 4  # on the axis; what costs more has its number at the edge
PAGE = """# What a gradient penalty costs

Time, memory and compile time of one critic step under no penalty, weight clipping, the exact
gradient penalty of WGAN-GP, by double backward and by forward mode (jvp), and its finite
differences. These commands make the page, `penalty_cost.csv` and the figure:

```
export GANBENCH_CLOCK=cpu GANBENCH_THREADS=1 GANBENCH_LIMIT=1500
python -m pytest tests/speed/test_penalty.py -m speed -s
```

On a GPU: `GANBENCH_DEVICE=cuda`, without `GANBENCH_CLOCK`; rows of other devices stay.
The first two variables take the CPU time of one thread, which other work on the machine disturbs
little; the third gives the compiler 1,500 seconds a case instead of 300. {devices}

Every contender ran in a process of its own, in turn with the others: the same network, batch,
normalisation (layer norm where the paper's critic has batch norm, which a per-sample penalty
forbids) and optimiser (Adam), float32. The fakes were given, so the generator takes no part; images
are 32×32. `ms`, with its quartiles, is one critic step: the batch, loss, gradients, update.
`over_none` is the median over the rounds of the round's ratio to no penalty under the same
execution. `step_mb` is the memory that a step takes at its peak, above the memory in use between
steps, in MiB: of the process, or of what a GPU's allocator holds. `compile_seconds` is what
compiling and capturing took, with empty caches. `failed` says why a row has no numbers, or, where
it has, why it ran eager all the same.

{findings}

{tables}

![costs](penalty_cost.png)
"""


def write(table: pd.DataFrame, folder: Path) -> None:
    """penalty_cost.png, .svg and README.md in the folder."""
    measured = table[~_failed(table) & table["ms"].notna()]
    if measured.empty:
        return
    draw(measured, folder)
    machines = table.groupby(["device", "threads", "clock"])
    devices = "; ".join(_machine(*machine) for machine in machines)
    unmeasured = "" if (table["device"] != "cpu").any() else " GPU: unmeasured."
    text = PAGE.format(
        devices=f"Measured: {devices}.{unmeasured}",
        findings=findings(measured),
        tables=tables(table),
    )
    (folder / "README.md").write_text(text)


def _failed(table: pd.DataFrame) -> pd.Series:
    return table["failed"].fillna("").astype(bool)


def _machine(machine: Any, rows: pd.DataFrame) -> str:
    """`cpu, 1 thread, CPU time, batches of 16 (resnet), 64 (mlp, dcgan)`."""
    device, threads, clock = machine
    batches = [
        f"{size} ({', '.join(_distinct(found['architecture']))})"
        for size, found in rows.groupby("batch_size")
    ]
    clock = "CPU time" if clock == "cpu" else "wall time"
    return f"{device}, {plural(threads, 'thread')}, {clock}, batches of {', '.join(batches)}"


def findings(table: pd.DataFrame) -> str:
    """What the numbers say, in sentences."""
    lines = []
    for (device, execution), rows in table.groupby(["device", "execution"], sort=False):
        lines.append(f"- {device}, {execution}: times the step without a penalty: {_costs(rows)}.")
        over = _by_penalty(rows)
        if {EXACT, GRADIENT} <= set(over.columns):
            ratio = _range(over[EXACT] / over[GRADIENT])
            lines.append(
                f"  The exact penalty by double backward takes {ratio} times the difference along "
                "the gradient."
            )
    gained = (_times(table, "eager") / _times(table, "compiled")).dropna()
    if len(gained):
        by = [f"{name} {_range(values)}" for name, values in gained.groupby("penalty", sort=False)]
        lines.append("- An eager step takes this many compiled ones: " + "; ".join(by) + ".")
    return "\n".join(lines)


def _by_penalty(rows: pd.DataFrame) -> pd.DataFrame:
    """over_none by architecture (rows) and penalty (columns)."""
    return rows.pivot_table(index="architecture", columns="penalty", values="over_none", sort=False)


def _costs(rows: pd.DataFrame) -> str:
    """The range over the architectures of what each penalty costs."""
    over = _by_penalty(rows)
    known = [name for name in over.columns if name != "none" and over[name].notna().any()]
    return "; ".join(f"{name} {_range(over[name])}" for name in known)


def _times(table: pd.DataFrame, execution: str) -> pd.Series:
    key = ["device", "threads", "architecture", "penalty"]
    return table[table["execution"] == execution].set_index(key)["ms"]


def tables(table: pd.DataFrame) -> str:
    """One Markdown table per device and execution: ms, and the ratio to no penalty."""
    parts = []
    for (device, execution), rows in table.groupby(["device", "execution"], sort=False):
        names = _distinct(rows["architecture"])
        parts += [f"**{device}, {execution}**: ms per critic step (times no penalty); MiB\n"]
        parts += [f"| penalty | {' | '.join(names)} |", "| --- |" + " --- |" * len(names)]
        for penalty, found in rows.groupby("penalty", sort=False):
            cells = {row["architecture"]: _cell(row) for row in found.to_dict("records")}
            line = " | ".join(cells.get(name, "") for name in names)
            parts.append(f"| {penalty} | {line} |")
        parts.append("")
        for row in rows[_failed(rows)].itertuples():
            parts.append(f"- {row.architecture}, {row.penalty}: {row.failed}")
        parts.append("")
    return "\n".join(parts).strip()


def draw(table: pd.DataFrame, folder: Path) -> None:
    """A panel per architecture: time over no penalty by penalty, with quartiles, a colour per
    execution."""
    from benchmark.drawing.layout import grid
    from benchmark.drawing.save import write_pictures
    from benchmark.drawing.style import drawing

    with_device = table["execution"] + ", " + table["device"]
    ways = table["execution"].where(table["device"] == "cpu", with_device)
    names = _distinct(table["architecture"])
    penalties = _distinct(table["penalty"])
    with drawing():
        figure, axes = grid(len(names), 4, 2.6, 3.2)
        for ax, name in zip(axes, names, strict=True):
            _panel(ax, table.assign(way=ways), name, penalties)
            labels = penalties if ax is axes[0] else [""] * len(penalties)
            ax.set_yticks(range(len(penalties)), labels)
        handles = axes[0].get_legend_handles_labels()
        figure.legend(*handles, loc="outside lower center", ncols=4, frameon=False)
        write_pictures(figure, folder / "penalty_cost")


def _panel(ax: Any, table: pd.DataFrame, architecture: str, penalties: list[str]) -> None:
    """The costs of one architecture; `way` is a colour, at its own height within a penalty."""
    import seaborn as sns

    ways = _distinct(table["way"])
    colours = sns.color_palette("colorblind", len(ways))
    for i, way in enumerate(ways):
        rows = table[(table["architecture"] == architecture) & (table["way"] == way)]
        offset = 0.16 * (i - (len(ways) - 1) / 2)
        ys = [penalties.index(penalty) + offset for penalty in rows["penalty"]]
        quartiles = (rows["over_none_low"], rows["over_none_high"])
        ax.hlines(ys, *quartiles, color=colours[i], linewidth=1.5)
        ax.plot(rows["over_none"], ys, "o", color=colours[i], markersize=4, label=way)
        for value, y in zip(rows["over_none"], ys, strict=True):
            if value > MOST_TIMES:
                look = {"color": colours[i], "ha": "right", "va": "center", "size": 8}
                ax.text(0.98 * MOST_TIMES, y, f"{value:.0f} × →", **look)
    ax.axvline(1, color="0.3", linestyle="--", linewidth=1)
    ax.set(title=architecture, ylim=(len(penalties) - 0.5, -0.5))
    ax.set(xlabel="times no penalty", xlim=(0.6, MOST_TIMES), xticks=range(1, MOST_TIMES + 1))


def _distinct(values: pd.Series) -> list[str]:
    """The distinct values, in their first order."""
    return list(dict.fromkeys(values))


def _cell(row: dict[str, Any]) -> str:
    if isinstance(row["failed"], str) and row["failed"]:
        return "failed"
    return f"{row['ms']:.2f} ({row['over_none']:.2f} ×); {row['step_mb']:.0f}"


def _range(values: pd.Series) -> str:
    low = f"{values.min():.2f}"
    high = f"{values.max():.2f}"
    return low if low == high else f"{low} to {high}"


if __name__ == "__main__":
    reference = ROOT / "results" / "reference" / "penalty-cost"
    folder = Path(sys.argv[1]) if len(sys.argv) > 1 else reference
    write(pd.read_csv(folder / "penalty_cost.csv"), folder)
