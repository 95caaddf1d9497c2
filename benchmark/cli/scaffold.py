"""`ganbench new`: the first file of a variant, and a test for it."""

import importlib
import keyword
import re
from pathlib import Path

import variants
from benchmark.errors import UserError, unknown
from benchmark.store.files import check_writable, write_bytes
from variants._checks import check_free

AXES = {"objective": "objectives", "architecture": "architectures", "dataset": "datasets"}
TEMPLATES = Path(__file__).parent / "templates"


def scaffold(axis: str, name: str, folder: Path) -> list[Path]:
    """Write FOLDER/objectives/NAME.py (or architectures, datasets) and FOLDER/tests/test_NAME.py.

    Returns both paths. Raises UserError for a name that is taken or that Python cannot import,
    VariantError for a name that the axis itself uses, and replaces no file."""
    if axis not in AXES:
        raise unknown("axis", axis, AXES)
    if not name.isidentifier() or keyword.iskeyword(name) or name.startswith("_"):
        raise UserError(
            f"{name!r} cannot be the name of a variant: use letters, digits and _, such as my_loss"
        )
    check_writable(folder, "--variants")
    if (folder / AXES[axis]).is_dir():
        variants.add_folder(folder)
    if name in variants.names(AXES[axis]):
        origin = variants.origin(AXES[axis], name)
        raise UserError(f"there is a variant {name!r} already: {origin}")
    variant = folder / AXES[axis] / f"{name}.py"
    check_free(importlib.import_module(f"variants.{AXES[axis]}"), name, variant)
    test = folder / "tests" / f"test_{name}.py"
    words = {"NAME": name, "FOLDER": str(folder)}
    for path, template in ((variant, f"{axis}.py.txt"), (test, f"{axis}_test.py.txt")):
        if path.exists():
            raise UserError(f"{path} exists already")
        text = (TEMPLATES / template).read_text(encoding="utf-8")
        filled = re.sub("|".join(words), lambda word: words[word[0]], text)
        write_bytes(path, filled.encode())
    return [variant, test]
