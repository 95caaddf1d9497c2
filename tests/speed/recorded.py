"""Where the results of the races go: a tidy CSV that grows, the environment, and a figure of the
ratios."""

from pathlib import Path
from typing import Any

import pandas as pd

from benchmark.machine.environment import environment
from benchmark.store.code import ROOT
from benchmark.store.files import write_json
from tests.speed.turns import CLOCK, THREADS, Result, ratios
from variants import _variables

KEY = ["part", "device", "threads", "clock", "case"]
SHOWN = [
    "case",
    "ours_ms",
    "theirs_ms",
    "ratio",
    "ratio_low",
    "ratio_high",
    "rounds",
    "compile_seconds",
    "ours_mb",
    "theirs_mb",
    "failed",
]
COLOUR = "#0072B2"
FOLDER = ROOT / "results" / "speed"


def path() -> Path:
    """The CSV: GANBENCH_SPEED, else results/speed/speed.csv."""
    return Path(_variables.value("GANBENCH_SPEED") or FOLDER / "speed.csv").expanduser()


def row(
    part: str, device: str, case: str, ours: Result, theirs: Result, **more: Any
) -> dict[str, Any]:
    """A row of the CSV: medians per iteration, the median and quartiles of the ratios within a
    round, peaks of memory."""
    middle, low, high = ratios(ours, theirs)
    return {
        "part": part,
        "device": device,
        "threads": THREADS,
        "clock": CLOCK,
        "case": case,
        "ours_ms": _median(ours.ms),
        "theirs_ms": _median(theirs.ms),
        "ratio": middle,
        "ratio_low": low,
        "ratio_high": high,
        "rounds": min(len(ours.ms), len(theirs.ms)),
        "ours_per_second": 1000 / _median(ours.ms),
        "theirs_per_second": 1000 / _median(theirs.ms),
        "compile_seconds": ours.compile_seconds,
        "ours_mb": ours.memory_mb,
        "theirs_mb": theirs.memory_mb,
        "failed": ours.failed or ours.facts.get("fallback") or theirs.failed,
        **more,
    }


def append(rows: list[dict[str, Any]], device: str) -> None:
    """Add rows to the CSV, which replace rows of the same case, and draw the figure again."""
    csv = path()
    csv.parent.mkdir(parents=True, exist_ok=True)
    table = pd.DataFrame(rows)
    if csv.exists():
        former = pd.read_csv(csv)
        # Rows of older versions have no clock
        former["clock"] = former.get("clock", pd.Series(index=former.index)).fillna("wall")
        table = pd.concat([former, table], ignore_index=True)
    table = table.drop_duplicates(KEY, keep="last").sort_values(KEY[:-1], kind="stable")
    table.to_csv(csv, index=False)
    write_json(
        csv.with_name("environment.json"), environment(device).plain() | {"threads": THREADS}
    )
    draw(table, csv.with_suffix(""))


def show(rows: list[dict[str, Any]]) -> None:
    """Print rows as a table."""
    table = pd.DataFrame(rows)[SHOWN]
    print("\n" + table.to_string(index=False, float_format="{:.2f}".format))


def draw(table: pd.DataFrame, stem: Path) -> None:
    """STEM.png and .svg: the ratio of every case with its quartiles, 1 marked; a panel for every
    part."""
    import matplotlib.pyplot as plt

    from benchmark.drawing.save import write_pictures
    from benchmark.drawing.style import drawing

    table = table[table["ratio"].notna()]
    if table.empty:
        return
    names = table["case"].where(table["device"] == "cpu", table["case"] + ", " + table["device"])
    if table["threads"].nunique() > 1:
        names += ", threads: " + table["threads"].astype(str)
    names = names.where(table["clock"] == "wall", names + ", CPU time")
    parts = [rows for _, rows in table.assign(name=names).groupby("part", sort=False)]
    heights = [0.6 + 0.22 * len(rows) for rows in parts]
    with drawing():
        figure, axes = plt.subplots(
            len(parts),
            figsize=(8, sum(heights) + 0.4),
            height_ratios=heights,
            squeeze=False,
            layout="constrained",
        )
        for ax, rows in zip(axes[:, 0], parts, strict=True):
            _panel(ax, rows)
        axes[-1, 0].set_xlabel("times as fast: median, quartiles")
        write_pictures(figure, stem)


def _panel(ax: Any, rows: pd.DataFrame) -> None:
    from benchmark.drawing.layout import log_axis

    ys = range(len(rows))
    ax.hlines(ys, rows["ratio_low"], rows["ratio_high"], color=COLOUR, linewidth=1.5)
    ax.plot(rows["ratio"], ys, "o", color=COLOUR, markersize=5)
    beside = {"xycoords": ("axes fraction", "data"), "va": "center", "size": 8}
    for y, ratio in zip(ys, rows["ratio"], strict=True):
        ax.annotate(f"{ratio:.2f}", (1.01, y), **beside)
    ax.axvline(1, color="0.3", linestyle="--", linewidth=1)
    ax.set(xscale="log", ylim=(len(rows) - 0.5, -0.5), title=rows["part"].iloc[0])
    ax.set_yticks(ys, rows["name"])
    log_axis(ax.xaxis)


def _median(ms: list[float]) -> float:
    return float(pd.Series(ms, dtype=float).median())
