"""The page of the gate's study: README.md, from the rows of its four files."""

from collections.abc import Mapping
from pathlib import Path

import matplotlib.pyplot as plt
import pandas as pd

from benchmark.check import rule as gate
from benchmark.check.output import limits
from benchmark.check.rows import DIVERGED, RerunRow, baseline_rows, of_seeds
from benchmark.check.traces import GROUP
from benchmark.drawing import style
from benchmark.drawing.layout import log_axis
from benchmark.drawing.save import write_pictures
from tests.studies.gate_power import seeds_of

SHOWN = (0.5, 500.0)
"""The effects between which mistakes are drawn; others stand at the ends."""
MARKS = {
    "red": ("#D55E00", "o", "red"),
    "≠": ("#0072B2", "s", "numbers differ (≠), not red"),
    "as before": ("0.4", "^", "as before"),
}
"""Colour, mark and name of a result. What does not compare, x, has no effect."""
README = """# The gate of `ganbench check`, tried

What the gate says when nothing changed, and of planted mistakes. This page and its numbers are made by

```
ganbench run --matrix quick --set seeds=25 --results POOL
python -m tests.studies.planted_gate POOL/quick OUT
```

on {where}. `tests/studies/plants.py` holds every mistake as the words of the source that it
replaces. The pool has {seeds} seeds of {groups} groups: {quality} comparisons of quality, {speed} of speed and {memory}
of memory: those of the groups that have a reference workload in every seed. None of the mistakes is one of cost.

**Mistakes** (`planted.csv`): the cells concerned trained with seeds 0-4, judged together with the pool's own seeds 0-4
of all other groups against the pool. *≠* is the first step from which numbers of the same seed differ; effects are
shifts of the median in robust standard deviations of the baseline's seeds. {counts}

{planted}

![planted mistakes](planted.png)

**Unchanged code** (`unchanged.csv`): all groups trained with seeds 0-4 under other settings, judged against the pool.
Where processor, instruction set, execution or threads are not the pool's, numbers are compared up to rounding, as far as
`benchmark/check/numbers.py` says.

{unchanged}

**False alarms** (`false_alarms.csv`): {reruns} reruns of 5 seeds. On other seeds: drawn from the pool against {rest}
others or 5 others, the same seeds in every group. On the baseline's own seeds: the pool's values moved, by group and
seed, by a difference that a run of unchanged code above made, of either sign. Red at most 1 rerun in 20 is what is
asked, all comparisons of a rerun together.

{alarms}

Against 5 other seeds: {limits}.

**What it can see** (`detectable.csv`): the shift of all seeds of a group that turns 80 % of reruns red, as the range
over groups, in robust standard deviations of the seeds (where they vary) and relative to the median; *paired*: the
shift of the baseline's own seeds that does so where it is the same for each. A group is seen where the shift is less
than what training gained over the untrained generator; the ranges are of the groups seen.

{detectable}

Not seen on other seeds:

{unseen}

Nor does it turn red for smaller losses, for changes of the spread of the seeds, of the way to the end, of `best`, for
anything on the good side, nor for several metrics of one group at `~`: each is judged by itself. On the baseline's
seeds all of these are `≠`.
"""  # noqa: E501


def page(pool: list[RerunRow], frames: Mapping[str, pd.DataFrame], where: str) -> str:
    """README.md. frames: planted, unchanged, false_alarms, detectable. where: the device and the
    version of PyTorch."""
    seeds = seeds_of(pool)
    columns = [row.metric for row in pool]
    families = [row.family for row in pool]
    planted, seen = frames["planted"], frames["detectable"]
    unseen = [
        f"- {' / '.join(names)}: {', '.join(rows['metric'])}"
        for names, rows in seen[~seen["seen"]].groupby(GROUP, sort=False)
    ]
    by_metric = seen.groupby(["dataset", "metric"], sort=False)
    return README.format(
        where=where,
        seeds=len(seeds),
        rest=len(seeds) - 5,
        groups=columns.count(DIVERGED),
        quality=families.count("quality"),
        speed=columns.count("relative speed"),
        memory=columns.count("relative memory"),
        reruns=gate.RERUNS,
        counts=counts(planted),
        planted=table(planted_table(planted)),
        unchanged=table(unchanged_table(frames["unchanged"])),
        alarms=table(alarm_table(frames["false_alarms"])),
        limits=limits_of(pool),
        detectable=table(pd.DataFrame([ranges(*metric) for metric in by_metric])),
        unseen="\n".join(unseen) or "- none",
    )


def counts(planted: pd.DataFrame) -> str:
    """How many mistakes have which result."""
    results = list(planted.get("result", []))
    named = {"red": "red", "≠": "≠ alone", "x": "x", "as before": "not seen"}
    parts = [f"{results.count(result)} {name}" for result, name in named.items()]
    return f"Of {len(results)} mistakes: {', '.join(parts)}."


def limits_of(pool: list[RerunRow]) -> str:
    """The families that cannot go red with five seeds against five others."""
    seeds = seeds_of(pool)
    five, other_five = of_seeds(pool, set(seeds[:5])), of_seeds(pool, set(seeds[5:10]))
    unable = limits(gate.judge(baseline_rows(other_five), five))
    return "; ".join(unable) or "every family can go red"


def planted_table(planted: pd.DataFrame) -> pd.DataFrame:
    if planted.empty:
        return planted
    named = {"kind": planted["kind"], "mistake": planted["what"], "cells": planted["cells"]}
    return pd.DataFrame(named | verdicts(planted))


def unchanged_table(unchanged: pd.DataFrame) -> pd.DataFrame:
    if unchanged.empty:
        return unchanged
    return pd.DataFrame({"setting": unchanged["what"]} | verdicts(unchanged))


def verdicts(rows: pd.DataFrame) -> dict[str, pd.Series]:
    """What the gate says of a row of planted.csv or unchanged.csv."""
    return {
        "result": rows["result"],
        "groups ≠": shares(rows, "groups_differ", "groups"),
        "numbers part": rows["first_difference"],
        "groups red": shares(rows, "groups_red", "groups"),
        "comparisons −": shares(rows, "worse", "comparisons"),
        "!": rows["diverged"],
        "~": rows["suspect"],
        "x": rows["incomparable"],
        "largest effect": rows["largest_effect_sd"],
        "of": rows["of"],
    }


def shares(frame: pd.DataFrame, part: str, whole: str) -> pd.Series:
    return frame[part].astype(str) + " of " + frame[whole].astype(str)


def alarm_table(alarms: pd.DataFrame) -> pd.DataFrame:
    return pd.DataFrame(
        {
            "seeds of the rerun": alarms["seeds"],
            "baseline": alarms["baseline_seeds"].astype(str) + " seeds",
            "rule": alarms["rule"],
            "red": alarms["share"].map("{:.2%}".format),
        }
    )


def ranges(names: tuple[str, str], rows: pd.DataFrame) -> dict[str, object]:
    """A dataset's metric: how many groups are seen, and the shifts that those need."""
    kept = rows[rows["seen"]]
    relative = 100 * kept["shift_relative"].dropna()
    in_percent = "–"
    if len(relative):
        in_percent = f"{relative.min():.3g} to {relative.max():.3g}"
    return {
        "dataset": names[0],
        "metric": names[1],
        "worse is": "lower" if rows["better"].iloc[0] == "max" else "higher",
        "groups seen": f"{len(kept)} of {len(rows)}",
        "shift in SD": span(kept["shift_sd"]),
        "paired in SD": span(kept["shift_paired_sd"]),
        "shift in %": in_percent,
    }


def span(values: pd.Series) -> str:
    known = values.dropna()
    if known.empty:
        return "–"
    return f"{known.min():.1f} to {known.max():.1f}, median {known.median():.1f}"


def table(frame: pd.DataFrame) -> str:
    """A frame as a Markdown table."""
    if frame.empty:
        return "not tried"
    texts = frame.astype(str).map(lambda cell: cell.replace("|", r"\|"))
    lines = [frame.columns, ["---"] * len(frame.columns), *texts.to_numpy()]
    return "\n".join(f"| {' | '.join(line)} |" for line in lines)


@style.drawing()
def draw(planted: pd.DataFrame, stem: Path) -> None:
    """Write STEM.png and STEM.svg: every planted mistake that compares by its largest effect,
    filled where the gate goes red. planted: the rows of planted.csv."""
    rows = planted[planted["result"].isin(MARKS)]
    rows = rows.sort_values("largest_effect_sd", ascending=False, kind="stable").reset_index()
    least, most = SHOWN
    rows["shown"] = rows["largest_effect_sd"].clip(least, most)
    figure, ax = plt.subplots(figsize=(9, 0.21 * len(rows) + 1))
    ax.hlines(rows.index, least, rows["shown"], color="0.85", linewidth=1, zorder=1)
    for result, here in rows.groupby("result", sort=False):
        color, look, name = MARKS[str(result)]
        face = color if result == "red" else "white"
        ax.plot(here["shown"], here.index, look, color=color, markerfacecolor=face, label=name)
    has_digit = rows["what"].str[0].str.isdigit()
    names = rows["what"].where(~has_digit, rows["kind"] + " " + rows["what"])
    ax.set_yticks(rows.index, list(names), fontsize=7)
    ax.set_ylim(len(rows) - 0.5, -0.5)
    ax.set_xscale("log")
    ax.set_xlim(least * 0.8, most * 1.3)
    log_axis(ax.xaxis)
    ax.set_xlabel(
        "largest shift of a median, in robust standard deviations of the seeds "
        f"({least:g} or less to {most:g} or more)"
    )
    if len(rows):
        ax.legend(loc="lower right", fontsize=8)
    figure.tight_layout()
    write_pictures(figure, stem)
