"""Small exact experiments that show why an objective behaves as it does: one file each, found by its name.

An experiment defines `measure() -> DataFrame`, `draw(frame) -> Figure` and `finding(frame) -> str`, two sentences
computed from the numbers."""

from importlib import import_module
from pathlib import Path


def names() -> list[str]:
    """The experiments: the files of this folder, without importing them."""
    return sorted(file.stem for file in Path(__file__).parent.glob("[!_]*.py"))


def run(name: str, folder: Path) -> str:
    """Run one experiment, write folder/NAME.csv and folder/NAME.png, and return its finding."""
    experiment = import_module(f"benchmark.explain.{name}")
    frame = experiment.measure()
    folder.mkdir(parents=True, exist_ok=True)
    frame.to_csv(folder / f"{name}.csv", index=False)
    experiment.draw(frame).savefig(folder / f"{name}.png", dpi=150)
    return experiment.finding(frame)
