"""What is compared: folder = axis, file = value, file name = the name everywhere.

The shipped variants are in this package. A user's own variants are in other folders, with
subfolders named like the axes: the environment variable GANBENCH_VARIANTS lists these folders,
separated by os.pathsep, and `add_folder` adds one. A process inherits the variable from the one
that starts it, and so finds the same variants.
"""

import importlib
import os
import sys
from pathlib import Path
from types import ModuleType

from variants import _variables
from variants._checks import (
    VariantError,
    check_contract,
    check_folder,
    check_free,
    import_error,
)

AXES = ("objectives", "architectures", "datasets")
SHIPPED = Path(__file__).parent
VARIABLE = "GANBENCH_VARIANTS"


def names(axis: str) -> list[str]:
    """The variants on an axis, the shipped and the user's, by their files: none is imported. Raises
    VariantError for a folder that cannot be used and for a user's file whose name is taken."""
    return sorted(_find(axis))


def origin(axis: str, name: str) -> Path:
    """The file of a variant. Raises VariantError as `names` does, and for a name without a file."""
    files = _find(axis)
    if name not in files:
        raise VariantError(f"there is no file {name}.py in {', '.join(search_path(axis))}")
    return files[name]


def load(axis: str, name: str) -> ModuleType:
    """Import one variant: `load("objectives", "wgan_gp").Objective`. Raises VariantError as
    `origin` does, and for a user's file that does not import or lacks what its axis needs."""
    file = origin(axis, name)
    module_name = f"variants.{axis}.{name}"
    if file.parent == SHIPPED / axis:
        return importlib.import_module(module_name)
    package = importlib.import_module(f"variants.{axis}")
    package.__path__[:] = search_path(axis)
    check_free(package, name, file)
    try:
        importlib.invalidate_caches()
        module = importlib.import_module(module_name)
    except Exception as error:
        raise import_error(error, file, folders()) from error
    check_contract(package, module, file)
    return module


def folders() -> list[Path]:
    """The user's folders, as GANBENCH_VARIANTS lists them: absolute paths, each once."""
    return _variables.folders(VARIABLE)


def add_folder(path: str | Path) -> None:
    """Append a folder of a user's own variants to GANBENCH_VARIANTS, for this process and all that
    it starts. Raises VariantError, and adds nothing, for a folder that cannot be used and for a
    file there whose name is taken."""
    before = os.environ.get(VARIABLE, "")
    listed = dict.fromkeys([*folders(), Path(path).expanduser().resolve()])
    os.environ[VARIABLE] = os.pathsep.join(str(folder) for folder in listed)
    try:
        for axis in AXES:
            names(axis)
    except VariantError:
        os.environ[VARIABLE] = before
        raise
    for axis in AXES:
        package = sys.modules.get(f"variants.{axis}")
        if package is not None:
            package.__path__[:] = search_path(axis)


def search_path(axis: str) -> list[str]:
    """The folders that the files of an axis are imported from, the shipped one first: the
    `__path__` of the axis's package."""
    return [str(folder / axis) for folder in (SHIPPED, *folders())]


def _find(axis: str) -> dict[str, Path]:
    """The file of every variant on an axis, by name."""
    files = {file.stem: file for file in (SHIPPED / axis).glob("*.py")}
    for folder in folders():
        check_folder(folder)
        for file in sorted((folder / axis).glob("*.py")):
            if file.stem != "__init__":
                _add_own(files, file)
    return {name: file for name, file in files.items() if not name.startswith("_")}


def _add_own(files: dict[str, Path], file: Path) -> None:
    """Add a user's file. Raises VariantError for a name that Python cannot import or that another
    file has."""
    if not file.stem.isidentifier():
        raise VariantError(f"{file}: {file.stem!r} is no name that Python can import")
    other = files.get(file.stem)
    if other is not None:
        owner = "shipped " if other.is_relative_to(SHIPPED) else ""
        raise VariantError(f"{file}: the name is taken by the {owner}file {other}")
    files[file.stem] = file
