"""The report's chapter on why objectives behave as they do: the findings and figures of `ganbench explain`."""

import shutil
from pathlib import Path

from benchmark.cell import ROOT
from benchmark.explain import read
from benchmark.figure import Figure
from benchmark.report_parts import Chapter, Item

REFERENCE = ROOT / "results" / "reference" / "explain"


def why(folder: Path) -> Chapter:
    """What the experiments found."""
    chapter, source = Chapter("why", "Why do they behave so?"), explained(folder)
    experiments = read(source)
    if not experiments:
        chapter.answers.append("No experiment has run: `ganbench explain` runs them, in minutes.")
        return chapter
    where = "as they come with the suite" if source == REFERENCE else "run beside these results"
    chapter.answers.append(
        f"Not from these results: {len(experiments)} small exact experiments, {where}. `ganbench explain` repeats them "
        "and writes a page that says of each what was argued, by whom, and what was done."
    )
    chapter.items += [Item(one["title"], [one["finding"]]) for one in experiments.values()]
    return chapter


def why_figures(folder: Path) -> list[Figure]:
    """The figures of the experiments, copied to folder/figures."""
    source, figures = explained(folder), []
    for name, one in read(source).items():
        (folder / "figures").mkdir(parents=True, exist_ok=True)
        for suffix in (".png", ".svg", ".csv"):
            shutil.copyfile(source / f"figures/{name}{suffix}", folder / f"figures/why_{name}{suffix}")
        figures.append(Figure(f"why_{name}", one["title"], one["caption"], "why"))
    return figures


def explained(folder: Path) -> Path:
    """The experiments beside a result set (results/explain beside results/runs/MATRIX), else the reference's."""
    own = folder.absolute().parent.parent / "explain"
    return own if read(own) else REFERENCE
