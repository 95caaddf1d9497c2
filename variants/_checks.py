"""What a user's folder of variants, and a file there, must be; every error is one line."""

import sys
import traceback
from pathlib import Path
from types import ModuleType

# the classes that a file of each axis defines, and what a class must say because it has no default
REQUIRED: dict[str, dict[str, tuple[str, ...]]] = {
    "objectives": {"Objective": ("recipe", "d_loss", "g_loss")},
    "architectures": {"Generator": (), "Discriminator": ("paper_norm",)},
    "datasets": {"Dataset": ("modality", "licence")},
}


class VariantError(ValueError):
    """A folder or a file of a user's variants that cannot be used; the message is one line."""


def check_folder(folder: Path) -> None:
    """Raise VariantError for a path that is no folder of variants."""
    if not folder.is_dir():
        raise VariantError(f"variants: there is no folder {folder}")
    if not any((folder / axis).is_dir() for axis in REQUIRED):
        raise VariantError(f"variants: {folder} has none of the folders {', '.join(REQUIRED)}")


def check_free(package: ModuleType, name: str, file: Path) -> None:
    """Raise VariantError where a module of this name would replace a name that the package itself
    uses, such as a function or an import of its `__init__.py`."""
    taken = getattr(package, name, None)
    if taken is not None and taken is not sys.modules.get(f"{package.__name__}.{name}"):
        raise VariantError(f"{file}: the name is taken by {package.__name__}.{name}")


def check_contract(package: ModuleType, module: ModuleType, file: Path) -> None:
    """Raise VariantError for a file that lacks a class, and for a class that lacks its base or an
    attribute."""
    axis = package.__name__.rpartition(".")[2]
    base = getattr(package, "Base", object)
    for class_name, attributes in REQUIRED[axis].items():
        defined = getattr(module, class_name, None)
        if not isinstance(defined, type):
            raise VariantError(f"{file} defines no class {class_name}")
        if not issubclass(defined, base):
            raise VariantError(f"{file}: class {class_name} must extend {package.__name__}.Base")
        for attribute in attributes:
            if not hasattr(defined, attribute):
                raise VariantError(f"{file}: class {class_name} has no {attribute}")


def import_error(error: Exception, file: Path, folders: list[Path]) -> VariantError:
    """The error for a file that does not import: names the line of the user's code that the error
    comes from, which may be in another file of the user's `folders`."""
    place = str(file)
    for frame in traceback.extract_tb(error.__traceback__):
        if any(Path(frame.filename).is_relative_to(folder) for folder in folders):
            place = f"{frame.filename}, line {frame.lineno}"
    message = " ".join(str(error).split())
    if isinstance(error, SyntaxError) and error.filename:
        place = f"{error.filename}, line {error.lineno}"
        message = error.msg
    return VariantError(f"{place}: the file does not import: {type(error).__name__}: {message}")
