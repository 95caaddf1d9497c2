"""Debian's fortunes: quotations, jokes and aphorisms in English."""

import re
from contextlib import AbstractContextManager, nullcontext
from dataclasses import dataclass, field
from pathlib import Path

from variants.datasets import data_folder
from variants.datasets._text import Text
from variants.datasets._text_files import TextFile, Texts, on_disk

FOLDER = Path("/usr/share/games/fortunes")
INDICES = (".dat", ".u8")  # beside every file: where its fortunes begin, and a link to it

SEPARATOR = re.compile(r"^%[ \t\r]*$", re.MULTILINE)
BACKSPACES = re.compile("(\b+)")


@dataclass(frozen=True)
class Dataset(Text):
    """The fortunes of Debian's package `fortunes`: 2.5 million characters in 43 files, read in the
    order of their names.

    The files are looked for in `root`, else in /usr/share/games/fortunes. The lines of `%` between
    two fortunes are no text. A character that is overstruck, as in `_\\b_\\bis`, is left out."""

    root: str | None = field(default=None, compare=False)
    """Folder of the files."""

    source = "the files of Debian's package fortunes"
    licence = "mixed: of its compilers BSD; the quotations are their authors' (see its copyright)"
    note = "another release of the package may have another text"

    def cleaned(self, text: str) -> str:
        cleaned, *parts = BACKSPACES.split(SEPARATOR.sub("", text))
        for backspaces, part in zip(parts[::2], parts[1::2], strict=True):
            cleaned = cleaned[: -len(backspaces)] + part
        return cleaned

    def texts(self) -> AbstractContextManager[Texts]:
        folder = data_folder(self.root, "fortunes") if self.root else FOLDER
        files = _files(folder) if folder.is_dir() else []
        if not files:
            raise OSError(
                f"no fortunes in {folder}: `apt install fortunes` puts them into {FOLDER}; or give "
                "their folder as the dataset's root"
            )
        return nullcontext(Texts("fortunes", files))


def _files(folder: Path) -> list[TextFile]:
    """The files of fortunes, in the order of their names."""
    files = []
    for path in sorted(folder.iterdir()):
        if path.is_file() and path.suffix not in INDICES and not path.name.startswith("."):
            # a bell, or a backspace that overstrikes
            files.append(on_disk(path, may_control=True))
    return files
