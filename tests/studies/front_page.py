"""The picture and the table of README.md, from results/reference/quick.

`python -m tests.studies.front_page` draws docs/quick.png and writes the table between its marks.
`python -m tests.studies.front_page RESULT_SET` first takes the samples in the picture from the
cells of a result set with the same runs.
"""

import hashlib
import json
import re
import sys
from pathlib import Path
from typing import Any, NamedTuple

import matplotlib.pyplot as plt
import numpy as np
import pandas as pd
from matplotlib.lines import Line2D
from PIL import Image

from benchmark.drawing.layout import log_axis
from benchmark.drawing.style import drawing, wrap
from benchmark.stats.comparisons import compare, judged
from benchmark.stats.intervals import median, median_interval
from benchmark.store.code import ROOT
from benchmark.store.layout import ResultSet

QUICK = ROOT / "results" / "reference" / "quick"
SAMPLES = QUICK / "samples.npz"
README = ROOT / "README.md"
PICTURE = ROOT / "docs" / "quick.png"
TABLE = re.compile(r"(<!-- generated: quick -->\n).*?(<!-- end -->)", re.S)
REFERENCE = "nonsaturating"
SEED = 0
NUM_IMAGES = 9
NUM_POINTS = 500
BUDGETS = ("final", "equal_compute")
TESTED = (*BUDGETS, "equal_time")  # the family of comparisons of the report
COLOURS = {
    "better": "#0072B2",
    "worse": "#D55E00",
    "not separated": "#888888",
    "reference": "#000000",
}
HEAD = (
    "| objective | digits: classifier-FID at equal steps | at equal compute "
    "| gaussians8: sliced Wasserstein at equal steps | at equal compute | raced seconds |"
)


class Place(NamedTuple):
    dataset: str
    metric: str
    title: str


PLACES = (
    Place(
        "digits",
        "fid_classifier_750",
        "classifier-FID (digits, n = 750;\ncomparable within this protocol only)",
    ),
    Place("gaussians8", "swd_2k", "sliced Wasserstein distance\n(gaussians8, n = 2,000)"),
)


class Value(NamedTuple):
    """A median over seeds with its exact interval, and what it is against the reference."""

    median: float
    low: float
    high: float
    verdict: str


def values() -> dict[tuple[str, str, str], Value]:
    """By dataset, budget and objective; the verdicts are those of the report's one family."""
    scores = pd.read_csv(QUICK / "tables" / "scores.csv")
    families = {}
    comparisons = []
    for place in PLACES:
        rows = scores[(scores["dataset"] == place.dataset) & (scores["metric"] == place.metric)]
        for budget in TESTED:
            seeds = _by_objective(rows, budget)
            found = compare(seeds, minimise=True, reference=REFERENCE)
            families[place.dataset, budget] = seeds, len(comparisons)
            comparisons += found
    verdicts = judged(comparisons)
    result = {}
    for (dataset, budget), (seeds, first) in families.items():
        here = verdicts[first : first + len(seeds) - 1]
        words = {comparison.first: comparison.verdict for comparison in here}
        for objective, by_seed in seeds.items():
            numbers = [*by_seed.values()]
            low, high = median_interval(numbers)
            verdict = words.get(objective, "reference")
            result[dataset, budget, objective] = Value(median(numbers), low, high, verdict)
    return result


def _by_objective(rows: pd.DataFrame, budget: str) -> dict[str, dict[Any, float]]:
    groups = rows.groupby("objective", sort=False)
    return {
        str(name): dict(zip(group["seed"], group[budget], strict=True)) for name, group in groups
    }


def order(found: dict[tuple[str, str, str], Value]) -> list[str]:
    """The objectives, the best on digits at equal steps first."""
    dataset = PLACES[0].dataset
    names = [name for place, budget, name in found if (place, budget) == (dataset, "final")]
    return sorted(names, key=lambda name: found[dataset, "final", name].median)


def table() -> str:
    """The rows of the table in README.md."""
    found = values()
    cells = pd.read_csv(QUICK / "tables" / "cells.csv")
    seconds = cells.groupby(["dataset", "objective"])["raced_seconds"].median()
    lines = [HEAD, "|---|---|---|---|---|---|"]
    for objective in order(found):
        columns = [f"`{objective}`"]
        for place in PLACES:
            for budget in BUDGETS:
                value = found[place.dataset, budget, objective]
                word = value.verdict if value.verdict in ("better", "worse") else ""
                columns.append(f"{value.median:.3g} {word}".strip())
        costs = [f"{seconds[place.dataset, objective]:.0f}" for place in PLACES]
        columns.append(", ".join(costs))
        lines.append(f"| {' | '.join(columns)} |")
    return "\n".join(lines) + "\n"


def filled(page: str) -> str:
    """README.md with the present table."""
    return TABLE.sub(lambda block: f"{block[1]}{table()}{block[2]}", page)


def take_samples(folder: Path) -> None:
    """Keep the final samples of one seed, and real ones, from a result set that has the runs of the
    reference. Raises ValueError where a run is another one."""
    results = ResultSet(folder)
    scores = pd.read_csv(QUICK / "tables" / "scores.csv")
    kept: dict[str, np.ndarray] = {}
    for place in PLACES:
        here = (scores["dataset"] == place.dataset) & (scores["metric"] == place.metric)
        for row in scores[here & (scores["seed"] == SEED)].itertuples():
            cell = results.cell(str(row.cell))
            lines = cell.evals.read_text(encoding="utf-8").splitlines()
            rows = [json.loads(line) for line in lines]
            final = [entry["value"] for entry in rows if entry["metric"] == place.metric][-1]
            if final != row.final:
                raise ValueError(f"{row.cell}: {final} is not the {row.final} of the reference")
            last = max((cell.path / "samples").glob("*.npz"))
            kept[f"{place.dataset}/{row.objective}"] = _shown(np.load(last)["samples"])
        kept[f"{place.dataset}/real"] = _shown(_real(place.dataset))
    np.savez_compressed(SAMPLES, **kept)  # type: ignore[arg-type]


def _shown(samples: np.ndarray) -> np.ndarray:
    """As many images, or points in half precision, as the picture shows."""
    if samples.ndim == 4:
        return samples[:NUM_IMAGES]
    return samples[:NUM_POINTS].astype(np.float16)


def _real(dataset: str) -> np.ndarray:
    import variants

    return variants.load("datasets", dataset).Dataset().holdout().numpy()


def draw() -> Any:
    """The figure: a row of samples and two forest plots, an objective in each line."""
    found = values()
    names = order(found)
    samples = np.load(SAMPLES)
    with drawing(names):
        figure = plt.figure(figsize=(9.6, 5.4), layout="none")
        grid = figure.add_gridspec(
            len(names) + 1,
            4,
            width_ratios=[4.6, 3, 0.75, 3],
            left=0.17,
            right=0.985,
            top=0.89,
            bottom=0.11,
            wspace=0.06,
            hspace=0.1,
        )
        for row, name in enumerate(["real", *names]):
            _strip(figure.add_subplot(grid[row, 0]), samples[f"digits/{name}"], name)
            real = samples["gaussians8/real"]
            _cloud(figure.add_subplot(grid[row, 2]), samples[f"gaussians8/{name}"], real)
        for column, place in zip((1, 3), PLACES, strict=True):
            _forest(figure.add_subplot(grid[:, column]), place, names, found)
        figure.text(0.325, 0.905, f"final samples of seed {SEED}", ha="center", fontsize=8)
        _legend(figure)
    return figure


def _strip(ax: Any, images: np.ndarray, name: str) -> None:
    side = images.shape[-1]
    row = np.full((side, len(images) * (side + 1) - 1), 255, dtype=np.uint8)
    for column, image in enumerate(images):
        left = column * (side + 1)
        row[:, left : left + side] = image[0]
    ax.imshow(row, cmap="gray", vmin=0, vmax=255, interpolation="nearest")
    ax.axis("off")
    text = "real" if name == "real" else wrap(name)
    ax.text(-2, side / 2 - 0.5, text, ha="right", va="center", fontsize=8.5)


def _cloud(ax: Any, points: np.ndarray, real: np.ndarray) -> None:
    ax.scatter(*real.T.astype(float), s=4, c="#bbbbbb", linewidths=0)
    if points is not real:
        ax.scatter(*points.T.astype(float), s=1, c="#222222", linewidths=0)
    ax.set(xlim=(-3, 3), ylim=(-3, 3), xticks=[], yticks=[], aspect="equal")


def _forest(
    ax: Any, place: Place, names: list[str], found: dict[tuple[str, str, str], Value]
) -> None:
    """A dot with its interval for each objective and budget, on an axis common to all."""
    protocols = json.loads((QUICK / "protocols.json").read_text(encoding="utf-8"))
    floor = protocols[place.dataset]["floor"][place.metric]
    ax.axvline(floor, color="#888888", linestyle=":", linewidth=1)
    ax.plot(floor, 0, "o", color="#888888", markersize=4)
    ax.text(floor * 1.15, 0, "noise floor", va="center", fontsize=7, color="#555555")
    for row, name in enumerate(names, start=1):
        for budget, shift in zip(BUDGETS, (-0.17, 0.17), strict=True):
            value = found[place.dataset, budget, name]
            colour = COLOURS[value.verdict]
            ax.plot([value.low, value.high], [row + shift] * 2, color=colour, linewidth=1.4)
            inside = colour if budget == "final" else "white"
            marker = "o" if budget == "final" else "D"
            look = {"markersize": 4.5, "markeredgecolor": colour, "markerfacecolor": inside}
            ax.plot(value.median, row + shift, marker, **look)
    ax.set(xscale="log", ylim=(len(names) + 0.5, -0.5), yticks=[])
    log_axis(ax.xaxis)
    ax.tick_params(labelsize=7)
    ax.set_title(place.title, fontsize=8)


def _legend(figure: Any) -> None:
    handles = [
        Line2D([], [], marker="o", color="#444444", label="at equal generator steps"),
        Line2D([], [], marker="D", color="#444444", mfc="white", label="at equal critic compute"),
    ]
    for verdict, colour in COLOURS.items():
        text = f"{verdict}: {REFERENCE}" if verdict == "reference" else verdict
        handles.append(Line2D([], [], color=colour, linewidth=3, label=text))
    figure.legend(
        handles=handles, loc="lower center", ncols=6, fontsize=7.5, frameon=False, markerscale=0.8
    )


def inputs() -> str:
    """A hash of the files that the picture is made of."""
    files = (SAMPLES, QUICK / "tables" / "scores.csv", QUICK / "protocols.json")
    content = [hashlib.sha256(file.read_bytes()).hexdigest() for file in files]
    return hashlib.sha256(" ".join(content).encode()).hexdigest()


def pixels() -> np.ndarray:
    """The picture as drawn now: (height, width, 3), uint8."""
    figure = draw()
    figure.set_dpi(180)
    figure.canvas.draw()
    rgb = np.asarray(figure.canvas.buffer_rgba())[..., :3].copy()
    plt.close(figure)
    return rgb


def main() -> None:
    from PIL.PngImagePlugin import PngInfo

    if len(sys.argv) > 1:
        take_samples(Path(sys.argv[1]))
    facts = PngInfo()
    facts.add_text("inputs", inputs())
    Image.fromarray(pixels()).save(PICTURE, pnginfo=facts, optimize=True)
    README.write_text(filled(README.read_text(encoding="utf-8")), encoding="utf-8")


if __name__ == "__main__":
    main()
