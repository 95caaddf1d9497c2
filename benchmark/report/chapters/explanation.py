"""Why do they behave so? The findings and the figures of the experiments (`ganbench explain`)."""

import shutil
from pathlib import Path
from typing import NamedTuple

from benchmark.drawing.save import Figure
from benchmark.explain.entries import REFERENCE, SUFFIXES, ExperimentEntry, names, read
from benchmark.report.page import Chapter, Item

NOT_RUN = "No experiment has run: `ganbench explain` runs them, in minutes."
FOUND = (
    "Not from these results: {}. `ganbench explain` repeats them and writes a page that says of "
    "each what was argued, by whom, and what was done."
)


class Experiment(NamedTuple):
    """An experiment that has run."""

    folder: Path
    """The folder of its explain.json."""
    entry: ExperimentEntry


def chapter(folder: Path) -> Chapter:
    """What the experiments found."""
    result = Chapter("why", "Why do they behave so?")
    known = experiments(folder)
    if not known:
        result.answers.append(NOT_RUN)
        return result
    num_own = sum(experiment.folder != REFERENCE for experiment in known.values())
    num_shipped = len(known) - num_own
    source = "as they come with the suite"
    if num_own:
        source = f"{num_own} of them run with these results"
        source += f", {num_shipped} as they come with the suite" if num_shipped else ""
    result.answers.append(FOUND.format(f"{len(known)} small experiments, {source}"))
    for name, (_, entry) in known.items():
        lines = [entry.answer, entry.finding] if entry.answer else [entry.finding]
        result.items.append(Item(entry.title, lines, figure=f"why_{name}"))
    return result


def figures(folder: Path) -> list[Figure]:
    """The figures of the experiments, copied to folder/figures."""
    copied = []
    for name, (source, entry) in experiments(folder).items():
        (folder / "figures").mkdir(parents=True, exist_ok=True)
        for suffix in SUFFIXES:
            file = f"{name}{suffix}"
            shutil.copyfile(source / "figures" / file, folder / "figures" / f"why_{file}")
        copied.append(Figure(f"why_{name}", entry.title, entry.caption, "why"))
    return copied


def experiments(folder: Path) -> dict[str, Experiment]:
    """The experiments by name in reading order: those in results/explain, next to the result set
    results/runs/MATRIX; where an experiment is not there, that of the reference results."""
    own = folder.absolute().parent.parent / "explain"
    known = {}
    for source in (REFERENCE, own):
        for name, entry in read(source).items():
            known[name] = Experiment(source, entry)
    return {name: known[name] for name in names() if name in known}
