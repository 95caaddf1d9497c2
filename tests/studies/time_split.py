"""Where the time of a matrix goes: before and after a change, and what its arithmetic would take at
the processor's peak.

    python -m tests.studies.time_split BEFORE AFTER OUT

BEFORE and AFTER are result sets of one matrix. Writes OUT/time_split.csv (worker-seconds by result
set, place and part) and its figure. Training is what it costs by the races; other seconds are those
of the cells' wall clocks, to which other work on the machine adds. Compiling before a race is not
recorded."""

import argparse
import time
from pathlib import Path

import pandas as pd
from matplotlib import pyplot

from benchmark.analysis.tables import load
from benchmark.drawing import style
from benchmark.drawing.save import write_pictures
from benchmark.matrix.cell import Cell
from benchmark.matrix.expand import expand
from benchmark.matrix.options import Matrix, validated
from benchmark.store.layout import ResultSet
from benchmark.text import place_name

PARTS = {
    "raced_seconds": "training",
    "compile_seconds": "compiling",
    "warmup_seconds": "warming up",
    "probe_seconds": "probes",
    "eval_seconds": "measuring",
    "other_seconds": "files, checkpoints",
}
SIZE = 2048  # of the matrices whose product shows the peak
ROUNDS = 7


def seconds(folder: Path, name: str) -> pd.DataFrame:
    """The worker-seconds of a result set by place and part."""
    cells = load(folder).cells
    rows = []
    for (architecture, dataset), group in cells.groupby(["architecture", "dataset"], sort=False):
        place = place_name(architecture, dataset)
        for column, part in PARTS.items():
            rows.append({"result set": name, "place": place, "part": part, "cells": len(group)})
            rows[-1]["seconds"] = group[column].sum()
    return pd.DataFrame(rows)


def peak() -> float:
    """Floating-point operations per second of one thread in a large product."""
    import torch

    torch.set_num_threads(1)
    a, b = torch.randn(2, SIZE, SIZE)
    rates = []
    for _ in range(ROUNDS):
        started = time.process_time()
        a @ b
        rates.append(2 * SIZE**3 / (time.process_time() - started))
    return max(rates)


def operations(folder: Path) -> dict[str, float]:
    """Floating-point operations of the training of a result set, by place."""
    matrix = ResultSet(folder).matrix
    cells = {cell.key: cell for cell in expand(validated(Matrix, matrix.config, matrix.name))}
    total: dict[str, float] = {}
    for row in load(folder).cells.itertuples():
        place = place_name(str(row.architecture), str(row.dataset))
        total[place] = total.get(place, 0) + row.forwards * of_critic(cells[str(row.key)])
    return total


def of_critic(cell: Cell) -> float:
    """Floating-point operations of the critic's forward pass on one sample."""
    # seconds to import, for which a figure that is drawn again need not wait
    import torch
    from torch.utils.flop_counter import FlopCounterMode

    from benchmark.train.build import make_dataset, make_networks

    shape = make_dataset(cell.dataset).shape
    critic = make_networks(cell, shape)[1]
    with FlopCounterMode(display=False) as counter, torch.no_grad():
        critic(torch.zeros(2, *shape))
    return counter.get_total_flops() / 2


@style.drawing()
def draw(table: pd.DataFrame, out: Path) -> None:
    """Stacked bars: one panel per place, one bar per result set."""
    places = list(dict.fromkeys(table["place"]))
    figure, axes = pyplot.subplots(1, len(places), figsize=(9, 3), squeeze=False)
    colors = dict(zip([*PARTS.values(), "arithmetic"], style.OTHERS, strict=False))
    for ax, place in zip(axes[0], places, strict=True):
        here = table[table["place"] == place]
        for height, name in enumerate(dict.fromkeys(here["result set"])):
            left = 0.0
            for row in here[here["result set"] == name].itertuples():
                ax.barh(-height, row.seconds, left=left, color=colors[row.part])
                left += row.seconds
            ax.text(left, -height, f" {left:,.0f} s", va="center")
        names = dict.fromkeys(here["result set"])
        ax.set_yticks([-height for height in range(len(names))], names)
        ax.set_title(place)
        ax.set_xlabel("worker-seconds")
        ax.margins(x=0.25)
    handles = [pyplot.Rectangle((0, 0), 1, 1, color=color) for color in colors.values()]
    figure.legend(handles, colors, loc="lower center", ncols=4, frameon=False)
    figure.tight_layout(rect=(0, 0.16, 1, 1))
    write_pictures(figure, out / "time_split")


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.split("\n\n")[0])
    for name in ("before", "after", "out"):
        parser.add_argument(name, type=Path)
    arguments = parser.parse_args()
    tables = [seconds(arguments.before, "before"), seconds(arguments.after, "after")]
    rate = peak()
    limit = []
    for place, count in operations(arguments.after).items():
        limit.append({"result set": "limit", "place": place, "part": "arithmetic"})
        limit[-1]["seconds"] = count / rate
        print(f"{place}: {count / 1e12:.2f} TFLOP, {rate / 1e9:.0f} GFLOP/s at the peak")
    table = pd.concat([*tables, pd.DataFrame(limit)])
    arguments.out.mkdir(parents=True, exist_ok=True)
    table.round(2).to_csv(arguments.out / "time_split.csv", index=False)
    draw(table, arguments.out)


if __name__ == "__main__":
    main()
