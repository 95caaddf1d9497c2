"""The report's chapter on why objectives behave as they do: the findings and figures of `ganbench
explain`."""

import shutil
from pathlib import Path
from typing import Any

from benchmark.drawing.style import Figure
from benchmark.explain.entries import SUFFIXES, names, read
from benchmark.report.page import Chapter, Item
from benchmark.store.code import ROOT

REFERENCE = ROOT / "results" / "reference" / "explain"


def why(folder: Path) -> Chapter:
    """What the experiments found."""
    chapter, found = Chapter("why", "Why do they behave so?"), explained(folder)
    if not found:
        chapter.answers.append("No experiment has run: `ganbench explain` runs them, in minutes.")
        return chapter
    own = sum(source != REFERENCE for source, _ in found.values())
    chapter.answers.append(
        f"Not from these results: {len(found)} small exact experiments, {own} of them run beside these results, "
        "the others as they come with the suite. `ganbench explain` repeats them and writes a page that says of each "
        "what was argued, by whom, and what was done."
    )
    chapter.items += [Item(one["title"], [one["finding"]]) for _, one in found.values()]
    return chapter


def why_figures(folder: Path) -> list[Figure]:
    """The figures of the experiments, copied to folder/figures."""
    figures = []
    for name, (source, one) in explained(folder).items():
        (folder / "figures").mkdir(parents=True, exist_ok=True)
        for suffix in SUFFIXES:
            shutil.copyfile(
                source / f"figures/{name}{suffix}", folder / f"figures/why_{name}{suffix}"
            )
        figures.append(Figure(f"why_{name}", one["title"], one["caption"], "why"))
    return figures


def explained(folder: Path) -> dict[str, tuple[Path, dict[str, Any]]]:
    """By experiment the folder it lies in and its entry: run beside a result set (results/explain
    beside results/runs/MATRIX), else of the reference."""
    own = folder.absolute().parent.parent / "explain"
    found = {
        name: (source, one) for source in (REFERENCE, own) for name, one in read(source).items()
    }
    return {name: found[name] for name in names() if name in found}
