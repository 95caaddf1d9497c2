"""What is compared: folder = axis, file = value, file name = the name everywhere."""

from importlib import import_module
from pathlib import Path
from types import ModuleType

AXES = ("objectives", "architectures", "datasets")


def names(axis: str) -> list[str]:
    """The variants on an axis: its files, without importing them."""
    return sorted(file.stem for file in (Path(__file__).parent / axis).glob("[!_]*.py"))


def load(axis: str, name: str) -> ModuleType:
    """Import one variant: `load("objectives", "wgan_gp").Objective`."""
    return import_module(f"variants.{axis}.{name}")
