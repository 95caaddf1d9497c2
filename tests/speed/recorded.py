"""Where the races' results go: a tidy CSV that grows, the environment beside it, and a figure of
the ratios."""

import os
from pathlib import Path
from typing import Any

import pandas as pd

from benchmark.machine.environment import environment
from benchmark.store.code import ROOT
from benchmark.store.files import write_json
from tests.speed.turns import THREADS, Result, ratios

COLUMNS = [
    "part",
    "device",
    "threads",
    "case",
    "ours_ms",
    "theirs_ms",
    "ratio",
    "ratio_low",
    "ratio_high",
    "rounds",
]
KEY = ["part", "device", "threads", "case"]
FOLDER = ROOT / "results" / "speed"


def path() -> Path:
    """The CSV: GANBENCH_SPEED, else results/speed/speed.csv."""
    return Path(os.environ.get("GANBENCH_SPEED", FOLDER / "speed.csv"))


def row(
    part: str, device: str, case: str, ours: Result, theirs: Result, **more: Any
) -> dict[str, Any]:
    """A row of the CSV: medians per iteration, the median and quartiles of the rounds' ratios,
    peaks of memory."""
    middle, low, high = ratios(ours, theirs)
    return {
        **{"part": part, "device": device, "threads": THREADS, "case": case},
        **{"ours_ms": _median(ours.ms), "theirs_ms": _median(theirs.ms)},
        **{
            "ratio": middle,
            "ratio_low": low,
            "ratio_high": high,
            "rounds": min(len(ours.ms), len(theirs.ms)),
        },
        **{
            "ours_per_second": 1000 / _median(ours.ms),
            "theirs_per_second": 1000 / _median(theirs.ms),
        },
        **{
            "compile_seconds": ours.compile_seconds,
            "ours_mb": ours.memory_mb,
            "theirs_mb": theirs.memory_mb,
        },
        **{"failed": ours.failed or ours.facts.get("fallback") or theirs.failed, **more},
    }


def append(rows: list[dict[str, Any]], device: str) -> None:
    """Add rows to the CSV, in the place of those of the same case, and draw the figure anew."""
    csv = path()
    csv.parent.mkdir(parents=True, exist_ok=True)
    table = pd.DataFrame(rows)
    if csv.exists():
        table = pd.concat([pd.read_csv(csv), table], ignore_index=True)
    table = table.drop_duplicates(KEY, keep="last").sort_values(KEY[:-1], kind="stable")
    table.to_csv(csv, index=False)
    write_json(csv.with_name("environment.json"), environment(device) | {"threads": THREADS})
    draw(table, csv.with_suffix(""))


def show(rows: list[dict[str, Any]]) -> None:
    """Print rows as a table."""
    columns = [
        "case",
        "ours_ms",
        "theirs_ms",
        "ratio",
        "ratio_low",
        "ratio_high",
        "rounds",
        "compile_seconds",
    ]
    columns += ["ours_mb", "theirs_mb", "failed"]
    print("\n" + pd.DataFrame(rows)[columns].to_string(index=False, float_format="{:.2f}".format))


def draw(table: pd.DataFrame, stem: Path) -> None:
    """STEM.png and .svg: the ratio of every case with its quartiles, 1 marked; a panel for every
    part."""
    import matplotlib.pyplot as plt
    import seaborn as sns

    from benchmark.drawing.layout import log_axis
    from benchmark.drawing.style import LOOK

    table = table[table["ratio"].notna()]
    if table.empty:
        return
    names = table["case"].where(table["device"] == "cpu", table["case"] + ", " + table["device"])
    if table["threads"].nunique() > 1:
        names += ", " + table["threads"].astype(str) + " threads"
    parts = [found for _, found in table.assign(name=names).groupby("part", sort=False)]
    heights = [0.6 + 0.22 * len(found) for found in parts]
    with plt.rc_context(LOOK), sns.axes_style("whitegrid"):
        figure, axes = plt.subplots(
            len(parts),
            figsize=(8, sum(heights) + 0.4),
            height_ratios=heights,
            squeeze=False,
            layout="constrained",
        )
        for ax, found in zip(axes[:, 0], parts, strict=True):
            ys = range(len(found))
            ax.hlines(ys, found["ratio_low"], found["ratio_high"], color="#0072B2", linewidth=1.5)
            ax.plot(found["ratio"], ys, "o", color="#0072B2", markersize=5)
            for y, ratio in zip(ys, found["ratio"], strict=True):
                ax.annotate(
                    f"{ratio:.2f}",
                    (1.01, y),
                    xycoords=("axes fraction", "data"),
                    va="center",
                    size=8,
                )
            ax.axvline(1, color="0.3", linestyle="--", linewidth=1)
            ax.set(xscale="log", ylim=(len(found) - 0.5, -0.5), title=found["part"].iloc[0])
            ax.set_yticks(ys, found["name"])
            log_axis(ax.xaxis)
        ax.set_xlabel("times as fast (median and quartiles of the rounds)")
        for suffix, options in ((".png", {"dpi": 120}), (".svg", {"metadata": {"Date": None}})):
            figure.savefig(stem.with_suffix(suffix), **options)
        plt.close(figure)


def _median(ms: list[float]) -> float:
    return float(pd.Series(ms, dtype=float).median())
