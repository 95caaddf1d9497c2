"""Reads UTF-8 text from a file, a folder or a zip, piece by piece; what is no text is refused with
the file's name and the byte."""

import io
import re
import zipfile
import zlib
from collections import Counter
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from functools import partial
from pathlib import Path
from typing import IO

from variants.datasets._listing import TEXTS, open_entry, open_zip, printable, zip_entries
from variants.datasets._parts import Part, whole
from variants.datasets._split_names import is_zip

PIECE = 2**20  # bytes that are read at a time
BOM = "\ufeff"  # at the start of a file: a mark of its encoding and no character

# all but tab, line feed, form feed and carriage return; C2 80 to C2 9F are U+0080 to U+009F
CONTROL = re.compile(rb"[\x00-\x08\x0b\x0e-\x1f\x7f]|\xc2[\x80-\x9f]")
CONVERT = "convert the file, as `iconv -f ENCODING -t UTF-8` does"


@dataclass(frozen=True)
class TextFile:
    """A file of text, which may be read several times."""

    name: str  # for messages
    open: Callable[[], IO[bytes]]
    may_control: bool = False  # whether control characters may be in it

    def pieces(self) -> Iterator[str]:
        """The text piece by piece, cut behind line ends where there are any, else behind spaces.
        Raises ValueError for a file that is empty or no text."""
        is_empty = True
        offset = 0
        rest = b""
        for block in self._blocks():
            rest += block
            end = (rest.rfind(b"\n") + 1) or (rest.rfind(b" ") + 1)
            piece = self._decoded(rest[:end], offset)
            offset += end
            rest = rest[end:]
            is_empty = is_empty and not piece.strip()
            yield piece
        piece = self._decoded(rest, offset)
        if is_empty and not piece.strip():
            raise ValueError(f"{self.name} is empty: it holds no text")
        yield piece

    def _blocks(self) -> Iterator[bytes]:
        try:
            with self.open() as file:
                while block := file.read(PIECE):
                    yield block
        # a file in a zip; `open_zip` does not name the file
        except (zipfile.BadZipFile, zlib.error, EOFError) as error:
            raise ValueError(f"{self.name} is truncated or corrupt: {error}") from error

    def _decoded(self, data: bytes, offset: int) -> str:
        """Bytes as text. offset: of the first byte in the file."""
        control = None if self.may_control else CONTROL.search(data)
        end = control.start() if control else len(data)
        try:
            text = data[:end].decode()
        except UnicodeDecodeError as error:
            end = error.start
            reason = f"({data[end]:#04x}) is not valid UTF-8: {CONVERT}"
        else:
            if not control:
                return text.removeprefix(BOM) if offset == 0 else text
            character = control[0].decode()
            reason = f"is the control character U+{ord(character):04X}: take it out of the text"
            if character == "\0":
                reason = "is NUL: the file holds no text in UTF-8"
        raise ValueError(f"{self.name}: byte {offset + end} {reason}")


@dataclass(frozen=True)
class Texts:
    """The files of a source, in their order."""

    where: str  # for messages
    files: list[TextFile]
    left_out: dict[str, str] = field(default_factory=dict)  # name of a file -> why


def on_disk(path: Path, may_control: bool = False) -> TextFile:
    """A file on this machine."""
    return TextFile(printable(str(path)), lambda: path.open("rb"), may_control)


def in_memory(name: str, text: str) -> Texts:
    """A text as a source of one file."""
    return Texts(name, [TextFile(name, partial(io.BytesIO, text.encode()))])


@contextmanager
def open_texts(path: Path) -> Iterator[Texts]:
    """The .txt files of a folder or a zip, sorted by their names, or one file of any name. Raises
    ValueError for a path without text and for a zip that is damaged, OSError for what cannot be
    read."""
    if path.is_dir():
        part = _not_empty(whole(path, TEXTS))
        files = [on_disk(path / name) for name in part.files]
        yield Texts(printable(str(path)), files, part.left_out)
    elif not is_zip(path.name):
        if not path.is_file():
            raise ValueError(f"{path} is neither a file nor a folder")
        yield Texts(printable(str(path)), [on_disk(path)])
    else:
        part = _not_empty(whole(path, TEXTS))
        with open_zip(path) as archive:
            _, entries = zip_entries(path, archive, TEXTS)
            files = [_zipped(archive, entries[name], path) for name in part.files]
            yield Texts(printable(str(path)), files, part.left_out)


def _not_empty(part: Part) -> Part:
    if part.files:
        return part
    message = f"{part.path} holds no text ({', '.join(TEXTS.endings)})"
    if part.left_out:
        reasons = Counter(part.left_out.values()).most_common(3)
        counts = ", ".join(f"{n:,} {reason}" for reason, n in reasons)
        message += f"; left out are {counts}, such as {printable(min(part.left_out))}"
    raise ValueError(message)


def _zipped(archive: zipfile.ZipFile, entry: zipfile.ZipInfo, path: Path) -> TextFile:
    name = printable(f"{path}: {entry.filename}")
    return TextFile(name, partial(open_entry, archive, entry))
