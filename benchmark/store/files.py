"""Files of a result set: written whole or not at all. Reading never writes, and takes plain files
alone: a link may lead out of the result set, a pipe has no end."""

import errno
import hashlib
import json
import os
import re
import shutil
import stat
from collections.abc import Iterable, Iterator
from contextlib import contextmanager
from pathlib import Path
from tempfile import TemporaryFile
from typing import TYPE_CHECKING, Any, BinaryIO, TypeVar

from benchmark.errors import DamagedError, UserError
from benchmark.matrix.cell import digest
from benchmark.store.schema import SEAL_LENGTH, CommittedFile, RunStatus, Status
from benchmark.text import printable
from variants._files import whole_file

if TYPE_CHECKING:
    from pydantic import BaseModel

SCHEMA = 1
SEAL = "sha256"  # field of a JSON file: the hash of its other fields
LARGEST_JSON = 128 * 2**20  # bytes; a matrix.json of about 80,000 cells
LARGEST = 2**30  # bytes of any other file
DEEPEST = 50  # levels of tables and lists in a text of JSON; no record has ten
ESCAPES = re.compile(r"\\[bfru]")  # in a text of JSON, of what may control a terminal
TAIL = 4096  # bytes at the end of a file of rows that hold its last row
# A link as the last part of a path is refused, and opening a pipe does not wait for its writer
PLAIN = getattr(os, "O_NOFOLLOW", 0) | getattr(os, "O_NONBLOCK", 0)
Signature = tuple[int, int, int]
Kind = TypeVar("Kind", bound="BaseModel")


def write_json(path: Path, value: dict[str, Any], sealed: bool = False) -> None:
    """Write by temporary file, fsync and os.replace, with the schema number. sealed: with the hash
    by which `read_json` tells that a value was changed."""
    content = json.loads(json.dumps({"schema": SCHEMA, **value}, default=str))
    if sealed:
        content[SEAL] = digest(content, SEAL_LENGTH)
    text = json.dumps(content, indent=1)
    write_bytes(path, f"{text}\n".encode())


def write_record(path: Path, record: "BaseModel") -> None:
    """Write the fields of a record that were set, as `write_json` does, sealed."""
    write_json(path, record.model_dump(exclude_unset=True), sealed=True)


def write_bytes(path: Path, content: bytes) -> None:
    """Write a file atomically: a reader sees the old content or the new one, never a part."""
    with whole_file(path) as file:
        file.write(content)


def append_rows(path: Path, rows: list[dict[str, Any]]) -> None:
    """Append rows to a JSONL file. NaN and infinities stay what they are (Python's extension of
    JSON)."""
    with open(path, "a", encoding="utf-8", opener=open_plain) as file:
        file.writelines(json.dumps({"schema": SCHEMA, **row}) + "\n" for row in rows)


def open_plain(path: str, flags: int) -> int:
    """The descriptor of a plain file. Raises OSError for a link, a pipe or a device."""
    descriptor = os.open(path, flags | PLAIN, 0o666)
    mode = os.fstat(descriptor).st_mode
    if stat.S_ISREG(mode) or stat.S_ISDIR(mode):
        # Of a folder the caller says that it is one
        return descriptor
    os.close(descriptor)
    raise OSError(errno.EINVAL, "it is a pipe or a device, and not a file", path)


def open_file(path: Path) -> BinaryIO:
    """Open a plain file to read. Raises FileNotFoundError, and UserError for what cannot be read:
    not DamagedError, after which a cell would run again, because the file may be whole."""
    try:
        return open(path, "rb", opener=open_plain)
    except FileNotFoundError:
        raise
    except OSError as error:
        reason = error.strerror
        if error.errno == errno.ELOOP:
            reason = "it is a symbolic link, and a result set has none"
        raise UserError(f"{path} cannot be read: {reason}") from error


def read_bytes(path: Path, largest: int = LARGEST) -> bytes | None:
    """The content of a file; None without a file. Raises UserError as `open_file` does, and for a
    file that is larger than any that was written."""
    try:
        with open_file(path) as file:
            if os.fstat(file.fileno()).st_size > largest:
                raise UserError(f"{path} cannot be read: it is larger than {largest >> 20} MiB")
            return file.read()
    except FileNotFoundError:
        return None
    except OSError as error:
        raise UserError(f"{path} cannot be read: {error.strerror}") from error


def signature(path: Path) -> Signature | None:
    """What changes when a file is written again; None if there is no file."""
    try:
        found = os.stat(path)
    except FileNotFoundError:
        return None
    return found.st_ino, found.st_mtime_ns, found.st_size


def refuse_link(path: Path) -> None:
    """Raises UserError for a symbolic link: it may lead out of the result set."""
    if path.is_symlink():
        raise UserError(
            f"{path} is a symbolic link, and a result set has none: let --results name the folder "
            "that the link leads to"
        )


def empty(folder: Path, keep: Path) -> None:
    """Remove everything in a folder but the file `keep`. Links are removed, not followed."""
    for entry in folder.iterdir():
        if entry.is_dir() and not entry.is_symlink():
            shutil.rmtree(entry)
        elif entry != keep:
            entry.unlink()


def read_json(path: Path, committed: CommittedFile | None = None) -> dict[str, Any]:
    """The content of a JSON file with its schema number; an empty dict without a file. Raises
    DamagedError for a file that is no JSON object, or not the one that was written or committed,
    and UserError for another schema."""
    content = read_bytes(path, LARGEST_JSON)
    check_committed(path, content or b"", committed)
    if content is None:
        return {}
    value = _parsed(content, str(path))
    if not isinstance(value, dict):
        raise DamagedError(f"{path} is damaged: not a table")
    if value.get("schema") != SCHEMA:
        raise UserError(f"{path} has schema {value.get('schema')!r}; this version reads {SCHEMA}")
    # Files of older versions have no seal
    seal = value.pop(SEAL, None)
    if seal is not None and seal != digest(value, SEAL_LENGTH):
        raise DamagedError(
            f"{path} is damaged: a value is not the one that was written (if it was changed on "
            f'purpose, remove the line "{SEAL}")'
        )
    # What can be printed as it stands has no text that cannot
    lines = content.decode(errors="replace").replace("\n", "")
    return value if lines.isprintable() and not ESCAPES.search(lines) else printable(value)


def _parsed(content: bytes, where: str) -> Any:
    """The value of a text of JSON. Raises DamagedError."""
    try:
        value = json.loads(content)
        if b"\\u" in content:
            # Half a character cannot be printed or written
            json.dumps(value, ensure_ascii=False).encode()
        if content.count(b"[") + content.count(b"{") > DEEPEST and _is_deep(value):
            raise ValueError(f"it nests more than {DEEPEST} levels deep")
    except (ValueError, RecursionError) as error:
        raise DamagedError(f"{where} is damaged: {error}") from error
    return value


def _is_deep(value: Any) -> bool:
    """Whether a value nests deeper than DEEPEST: too deep for functions that call themselves."""
    level = [value]
    for _ in range(DEEPEST):
        below: list[Any] = []
        for part in level:
            if isinstance(part, dict):
                below += part.values()
            elif isinstance(part, list):
                below += part
        if not below:
            return False
        level = below
    return True


def read_record(
    path: Path, kind: type[Kind], committed: CommittedFile | None = None
) -> Kind | None:
    """The record that a JSON file holds; None without a file. Raises DamagedError for a file that
    holds something else, or is not as it was committed."""
    content = read_json(path, committed)
    if not content:
        return None
    del content["schema"]
    with validating(path):
        return kind.model_validate(content)


@contextmanager
def validating(path: Path) -> Iterator[None]:
    """Turns the first error of pydantic into a DamagedError that names file and field."""
    from pydantic import ValidationError

    try:
        yield
    except ValidationError as error:
        first = error.errors(include_url=False)[0]
        field = ".".join(map(str, first["loc"]))
        reason = first["msg"].removeprefix("Value error, ")
        raise DamagedError(
            f"{path} is not a {path.stem} file of this version: {field}: {reason}"
        ) from error


def read_rows(path: Path) -> Iterator[dict[str, Any]]:
    """The rows of a JSONL file; a last line that a crash truncated is left out. Raises DamagedError
    for a damaged line, and UserError for one of another schema."""
    yield from rows_of(path, read_bytes(path) or b"")


def rows_of(path: Path, content: bytes) -> Iterator[dict[str, Any]]:
    """The rows of the content of a JSONL file, as `read_rows`."""
    for number, line in enumerate(content.split(b"\n")[:-1], 1):
        row = _parsed(line, f"{path}, line {number}")
        if not isinstance(row, dict):
            raise DamagedError(f"{path}, line {number} is damaged: a row is not a table")
        schema = row.get("schema", SCHEMA)
        if schema != SCHEMA:
            raise UserError(
                f"{path}, line {number} has schema {schema!r}; this version reads {SCHEMA}"
            )
        yield row


def check_writable(folder: Path, option: str) -> Path:
    """A folder that exists or can be made; returns it and leaves nothing there. Raises UserError,
    naming the option, for a folder that cannot be written to."""
    existing = next(path for path in (folder, *folder.absolute().parents) if path.exists())
    try:
        # Permissions do not tell: /proc has them, and a disk may be mounted read-only
        with TemporaryFile(dir=existing):
            return folder
    except OSError as error:
        raise UserError(
            f"{option}: {existing} is not a folder that can be written to ({error.strerror})"
        ) from error


def hashed(folder: Path, paths: Iterable[Path]) -> dict[str, CommittedFile]:
    """Size and hash of the files of a folder, by name (`/` between parts)."""
    files = {}
    for path in paths:
        content = read_bytes(path) or b""
        sha256 = hashlib.sha256(content).hexdigest()
        name = path.relative_to(folder).as_posix()
        files[name] = CommittedFile(size=len(content), sha256=sha256)
    return files


def check_committed(path: Path, content: bytes, committed: CommittedFile | None) -> None:
    """Raises DamagedError for a content that is not as it was committed."""
    if committed is None:
        return
    is_as_long = len(content) == committed.size
    if not is_as_long or hashlib.sha256(content).hexdigest() != committed.sha256:
        raise DamagedError(
            f"{path} is damaged: it is not as it was when the cell finished; `ganbench run` runs "
            "the cell again"
        )


def reaches_end(evals: Path, status: Status) -> bool:
    """Whether the evaluations of a finished cell reach its end: the samples that its status counts.
    A cell may diverge before its first evaluation. Reads the end of the file."""
    done = status.status in (RunStatus.DONE, RunStatus.STOPPED)
    try:
        with open_file(evals) as file:
            file.seek(max(0, file.seek(0, os.SEEK_END) - TAIL))
            *lines, rest = file.read().split(b"\n")
    except FileNotFoundError:
        return not done
    except OSError as error:
        raise UserError(f"{evals} cannot be read: {error.strerror}") from error
    if rest:
        return False
    if not lines:
        return not done
    try:
        samples_seen = json.loads(lines[-1])["samples_seen"]
        if done:
            return bool(samples_seen == status.samples_seen)
        return bool(samples_seen <= status.samples_seen)
    except (ValueError, KeyError, TypeError, RecursionError):
        return False
