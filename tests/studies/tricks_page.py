"""Which advice for training held: every trick of the trick matrices against its paper's settings.

    python -m tests.studies.tricks_page [RUNS]

RUNS holds the result sets of SETS; their runs are written to results/reference/tricks/runs.csv.
Without RUNS, that table is read. Writes README.md, tricks.csv and the figure into its folder."""

import sys
from pathlib import Path

import numpy as np
import pandas as pd
from matplotlib import pyplot

from benchmark.analysis.published import with_display_names
from benchmark.analysis.scores import PLACE
from benchmark.analysis.tables import load
from benchmark.drawing import style
from benchmark.drawing.layout import log_axis
from benchmark.drawing.save import write_pictures
from benchmark.stats.comparisons import Comparison, compare, judged
from benchmark.store.code import ROOT

FOLDER = ROOT / "results" / "reference" / "tricks"
METRIC = "fid_classifier_750"
OBJECTIVES = {"nonsaturating": "Non-saturating loss", "wgan_gp": "WGAN-GP"}
BASE = "paper"
SETS = {
    "tricks": "tricks",
    "tricks_wgan_gp": "tricks",
    "growth_digits": "equal samples",
    "seconds/growth_digits": "equal seconds",
    "whole/growth_digits": "not grown",
    "seconds_whole/growth_digits": "not grown, equal seconds",
}
"""Result set -> what its runs are called."""
GROWTH = [
    ("growing network against dcgan, equal samples *", "equal samples", "equal samples"),
    ("growing network against dcgan, equal seconds *", "equal seconds", "equal seconds"),
    ("growing network against itself at full size", "equal samples", "not grown"),
    (
        "growing network against itself at full size, equal seconds",
        "equal seconds",
        "not grown, equal seconds",
    ),
]
"""Name of a comparison, the set of the growing network, the set of its rival."""
OTHER_NETWORK = "against dcgan"
"""In the name of a comparison with another network, which is no trick."""
TOGETHER = (
    "ReLU, max against leaky ReLU, mean *",
    "dcgan[critic_activation=relu,down=max] *",
    "dcgan[down=mean] *",
)
"""Name of a comparison of two tricks, the first, the second."""
COLUMNS = [
    "objective",
    "trick",
    "set",
    "seed",
    "status",
    "final",
    "g_step_ms",
    "sparse",
    "executed",
    "commit",
]
ANSWERS = {"better": "held", "worse": "hurt", "not separated": "not told apart"}
OF_NETWORKS = {"better": "better", "worse": "worse", "not separated": "not told apart"}
PAGE = """# Which advice for training held

Tricks, each alone, against the paper's settings of its objective: DCGAN on digits 8×8, 600
generator steps, {seeds} seeds. [docs/tricks.md](../../../docs/tricks.md) has definitions and
sources. `python -m tests.studies.tricks_page results/runs` makes this page from the matrices
`tricks`, `tricks_wgan_gp` and `growth_digits`, the last one also with `--set training.seconds=4
--execution eager --stack 1 --results results/runs/seconds`, and with a network that does not grow
(see its head) in `results/runs/whole` and, for equal seconds, `results/runs/seconds_whole`; without
an argument, from `runs.csv`.

`× FID` is the classifier-FID (750 samples) after the last step over that of the paper's settings:
the median over the seeds, with the exact interval of the median at 95 %. A run that diverged counts
as worse than any other. The answer is the sign test's over pairs of seeds, under Holm's correction
over the tricks of one objective: *held* is better, *hurt* is worse, at 5 % together. Growing
networks are a family of their own. Tricks of the loss, the optimiser and the training share initial
weights and batches with the paper's run of their seed; those of networks and data (marked \\*) have
initial weights of their own. With {seeds} seeds only a trick that wins or loses all of them can be
told apart. A growing network against `dcgan` is a comparison of two networks, not of a trick: it is
*better* or *worse*. So that its seconds count, `dcgan` trained eagerly there.

An average of decay 0.999 spans 1,000 steps, more than the 600 of the budget: a longer training may
need it. A range of [0, 1] doubles every slope of the critic: with the paper's λ and K WGAN-GP has
another penalty there, that of 4λ and K/2 on [−1, 1]. The row *penalty of signed range* has λ/4 and
2K, which is the paper's penalty: that row tells what the range alone does.

{findings}

{tables}

Equal seconds are seconds of a wall clock, on a machine that did some other work.

`× cost` is what a generator step with its critic steps takes by the races, where both are executed
alike.

Do ReLU and max pooling starve the generator of gradients? The share of exactly zero entries of
∂D/∂x̃ (`sparse` in `runs.csv`, the mean over the last quarter of a run) is {sparse} at most in any
run: every pixel reaches the score over many channels.

![forest](tricks.png)
"""


def runs(folder: Path) -> pd.DataFrame:
    """COLUMNS of every run of the result sets in a folder."""
    frames = []
    for name, called in SETS.items():
        if not (folder / name).exists():
            print(f"{folder / name}: not run yet, left out")
            continue
        tables = load(folder / name)
        cells = tables.cells
        shown = with_display_names(cells, tables.matrix)[["objective", *PLACE]]
        frame = pd.DataFrame(
            {
                "objective": [label.partition("[")[0] for label in cells["objective"]],
                "trick": [_trick(*labels) for labels in shown.itertuples(False, None)],
                "set": called,
                "seed": cells["seed"],
                "status": cells["status"],
                "final": cells[f"{METRIC}:final"],
                "g_step_ms": cells["raced_ms"],
                "sparse": cells["sparse"],
                "executed": cells["executed"],
                "commit": cells["git_commit"].str[:7],
            }
        )
        frames.append(frame)
    return pd.concat(frames, ignore_index=True)[COLUMNS]


def _trick(objective: str, dataset: str, architecture: str) -> str:
    """What a run has that the paper's settings have not."""
    changed = [architecture] if architecture != "dcgan" else []
    if dataset != "digits":
        changed.append(dataset)
    ending = " *" if changed else ""
    if objective not in {BASE, *OBJECTIVES}:
        changed.append(objective)
    return ", ".join(changed) + ending or BASE


def compared(table: pd.DataFrame) -> dict[str, list[Comparison]]:
    """Every trick against the paper's settings by objective, judged as one family, and growing
    networks as one of their own; of the logarithm of FID, whose differences are ratios."""
    found = {}
    for objective, here in table.groupby("objective", sort=False):
        by_set = dict(iter(here.groupby("set", sort=False)))
        comparisons = []
        tricks = by_set["tricks"]
        for trick in tricks["trick"].unique():
            if trick != BASE:
                comparisons += _pair(trick, _runs(tricks, trick), _runs(tricks, BASE))
        name, first, second = TOGETHER
        if {first, second} <= {*tricks["trick"]}:
            comparisons += _pair(name, _runs(tricks, first), _runs(tricks, second))
        growth = []
        for name, grown, rival in GROWTH:
            if not {grown, rival} <= by_set.keys():
                continue
            growing = by_set[grown]
            growing = growing[growing["trick"] != BASE]
            rivals = by_set[rival]
            if not rival.startswith("not grown"):
                rivals = _runs(rivals, BASE)
            growth += _pair(name, growing, rivals)
        found[str(objective)] = judged(comparisons)
        if growth:
            found[str(objective)] += judged(growth)
    return found


def _runs(table: pd.DataFrame, trick: str) -> pd.DataFrame:
    return table[table["trick"] == trick]


def _pair(name: str, first: pd.DataFrame, second: pd.DataFrame) -> list[Comparison]:
    """The comparison of a trick's runs with others, by seed."""
    values = {}
    for label, rows in ((name, first), (BASE, second)):
        final = np.log(rows["final"]).where(rows["status"] != "diverged", np.inf)
        values[label] = dict(zip(rows["seed"], final, strict=True))
    return compare(values, minimise=True, reference=BASE)


def answers(family: dict[str, list[Comparison]]) -> pd.DataFrame:
    """A row per trick: its ratio with its interval, wins, p and the answer."""
    rows = []
    for objective, comparisons in family.items():
        for found in comparisons:
            ratio, low, high = np.exp([found.difference, found.ci_low, found.ci_high])
            words = OF_NETWORKS if OTHER_NETWORK in found.first else ANSWERS
            rows.append(
                {
                    "objective": objective,
                    "trick": found.first,
                    "times_fid": ratio,
                    "ci_low": low,
                    "ci_high": high,
                    "wins": found.wins,
                    "n": found.n,
                    "p_holm": found.p_holm,
                    "answer": words[found.verdict],
                }
            )
    return pd.DataFrame(rows)


@style.drawing()
def draw(table: pd.DataFrame, folder: Path) -> None:
    """A forest plot: a panel per objective, a line per trick, filled where it is told apart."""
    sizes = [len(rows) for _, rows in table.groupby("objective", sort=False)]
    inches = (6 * len(sizes), 0.28 * max(sizes) + 1.2)
    figure, axes = pyplot.subplots(1, len(sizes), figsize=inches, squeeze=False)
    for ax, (objective, rows) in zip(axes[0], table.groupby("objective", sort=False), strict=True):
        rows = rows.sort_values("times_fid", ascending=False).reset_index(drop=True)
        color = style.style(str(objective))["color"]
        for height, row in enumerate(rows.itertuples()):
            is_open = row.answer == "not told apart"
            ax.plot([row.ci_low, row.ci_high], [height, height], color=color, linewidth=2)
            face = "white" if is_open else color
            ax.plot(row.times_fid, height, "o", color=color, markerfacecolor=face, markersize=6)
        ax.axvline(1, color="0.4", linewidth=1)
        ax.set_yticks(range(len(rows)), [str(name) for name in rows["trick"]])
        ax.set_xscale("log")
        log_axis(ax.xaxis)
        ax.set_title(f"{OBJECTIVES[str(objective)]}, digits")
        ax.set_xlabel("× FID of the paper's settings (left is better)")
    figure.tight_layout()
    write_pictures(figure, folder / "tricks")


def findings(table: pd.DataFrame) -> str:
    """Which tricks held, hurt and could not be told apart, by objective."""
    lines = []
    for objective in OBJECTIVES:
        rows = table[table["objective"] == objective]
        if rows.empty:
            lines.append(f"- {OBJECTIVES[objective]}: not run yet.")
            continue
        parts = []
        for answer in dict.fromkeys([*ANSWERS.values(), *OF_NETWORKS.values()]):
            names = rows.loc[rows["answer"] == answer, "trick"]
            parts.append(f"{answer}: {', '.join(names) or 'none'}")
        lines.append(f"- {OBJECTIVES[objective]}. {'; '.join(parts)}.")
    return "\n".join(lines)


def markdown(table: pd.DataFrame, raw: pd.DataFrame) -> str:
    """A Markdown table per objective."""
    parts = []
    for objective, rows in table.groupby("objective", sort=False):
        here = raw[(raw["objective"] == objective) & (raw["set"] == "tricks")]
        base = here[here["trick"] == BASE]
        cost, way = base["g_step_ms"].median(), base["executed"].iloc[0]
        alike = here[here["executed"] == way].groupby("trick")["g_step_ms"].median() / cost
        parts.append(
            f"**{OBJECTIVES[str(objective)]}**: the paper's settings reach a FID of "
            f"{base['final'].median():.2f} at {cost:.1f} ms a generator step ({way}).\n"
        )
        parts.append("| trick | × FID | better on seeds | p (Holm) | × cost | answer |")
        parts.append("| --- | ---: | ---: | ---: | ---: | --- |")
        for row in rows.sort_values("times_fid").to_dict("records"):
            trick = str(row["trick"])
            interval = f"{row['times_fid']:.2f} [{row['ci_low']:.2f}, {row['ci_high']:.2f}]"
            wins, p = f"{row['wins']} of {row['n']}", f"{row['p_holm']:.3f}"
            times = f"{alike[trick]:.2f}" if trick in alike else ""
            cells = [trick.replace("*", "\\*"), interval, wins, p, times, str(row["answer"])]
            parts.append(f"| {' | '.join(cells)} |")
        parts.append("")
    return "\n".join(parts).strip()


def main() -> None:
    if len(sys.argv) > 1:
        FOLDER.mkdir(parents=True, exist_ok=True)
        runs(Path(sys.argv[1])).to_csv(FOLDER / "runs.csv", index=False, float_format="%.6g")
    write(FOLDER)


def write(folder: Path) -> None:
    """README.md, tricks.csv and the figure of a folder, from its runs.csv."""
    raw = pd.read_csv(folder / "runs.csv")
    table = answers(compared(raw))
    table.round(4).to_csv(folder / "tricks.csv", index=False)
    draw(table, folder)
    page = PAGE.format(
        seeds=raw["seed"].nunique(),
        findings=findings(table),
        tables=markdown(table, raw),
        sparse=f"{raw['sparse'].max():.2%}",
    )
    (folder / "README.md").write_text(page, encoding="utf-8")


if __name__ == "__main__":
    main()
