"""What the status of a committed cell says of its other files: by it a reader tells a file that was
changed since."""

import hashlib
import json
import os
from collections.abc import Iterable
from pathlib import Path

from benchmark.errors import DamagedError, UserError
from benchmark.store.files import open_file, read_bytes
from benchmark.store.schema import CommittedFile, RunStatus, Status

TAIL = 4096  # bytes at the end of a file of rows that hold its last row


def hashed(folder: Path, paths: Iterable[Path]) -> dict[str, CommittedFile]:
    """Size and hash of the files of a folder, by name (`/` between parts)."""
    files = {}
    for path in paths:
        content = read_bytes(path) or b""
        sha256 = hashlib.sha256(content).hexdigest()
        name = path.relative_to(folder).as_posix()
        files[name] = CommittedFile(size=len(content), sha256=sha256)
    return files


def check(path: Path, content: bytes, committed: CommittedFile | None) -> None:
    """Raises DamagedError for a content that is not as it was committed."""
    if committed is None:
        return
    is_as_long = len(content) == committed.size
    if not is_as_long or hashlib.sha256(content).hexdigest() != committed.sha256:
        raise DamagedError(
            f"{path} is damaged: it is not as it was committed; `ganbench run` runs the cell again"
        )


def reaches_end(evals: Path, status: Status) -> bool:
    """Whether the evaluations of a finished cell reach its end: the samples that the status of a
    done cell counts. A cell may diverge before its first evaluation. Reads the end of the file."""
    done = status.status == RunStatus.DONE
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
