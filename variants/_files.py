"""Files written whole or not at all."""

import os
import secrets
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import BinaryIO


@contextmanager
def whole_file(path: Path) -> Iterator[BinaryIO]:
    """A file to write. It takes its name when it is closed: readers and other writers see the old
    content or the new one, never a part. An error leaves the old file as it is."""
    path.parent.mkdir(parents=True, exist_ok=True)
    # two machines that share a folder may have processes with the same id
    temporary = path.with_name(f".{os.getpid()}-{secrets.token_hex(8)}.tmp")
    try:
        with temporary.open("wb") as file:
            yield file
            file.flush()
            os.fsync(file.fileno())
        os.replace(temporary, path)
    finally:
        temporary.unlink(missing_ok=True)
