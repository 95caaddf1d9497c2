"""Standard streams that never end a verb: a stream may be closed, its reader may be gone, its disk
may be full, and its encoding may lack characters."""

import codecs
import io
import os
import sys
import unicodedata
from typing import Any, TextIO

# What stands for a character that the encoding lacks; for others their letters without accents
PLAIN = {
    "−": "-",
    "–": "-",
    "—": "-",
    "×": "x",
    "÷": "/",
    "·": "*",
    "•": "*",
    "±": "+-",
    "≤": "<=",
    "≥": ">=",
    "≈": "~",
    "∞": "inf",
    "→": "->",
    "…": "...",
    "“": '"',
    "”": '"',
    "‘": "'",
    "’": "'",
}
HANDLER = "ganbench"
UNDECODABLE = 0xDC00  # Python adds it to bytes of file names that are no text


class Sink(io.RawIOBase):
    """A file descriptor that is written to as long as that works. `error` says why it no longer
    does; without an error the reader may be gone, which had enough."""

    def __init__(self, descriptor: int) -> None:
        self.descriptor = descriptor
        self.works = True
        self.error: OSError | None = None

    def write(self, content: Any) -> int | None:
        size = memoryview(content).nbytes
        if self.works:
            try:
                return os.write(self.descriptor, content)
            except BlockingIOError:
                return None
            except BrokenPipeError:
                self.works = False
            except OSError as error:
                self.works, self.error = False, error
        return size

    def writable(self) -> bool:
        return True

    def fileno(self) -> int:
        return self.descriptor

    def isatty(self) -> bool:
        return os.isatty(self.descriptor)


def open_standard_streams() -> Sink | None:
    """Replace standard output and standard error of this process by streams that never raise.
    Returns the sink of standard output; None if somebody has replaced the streams already."""
    for descriptor in range(3):
        _occupy(descriptor)
    codecs.register_error(HANDLER, _plainer)
    if sys.stderr is sys.__stderr__:
        sys.stderr = _stream(Sink(2), sys.stderr)
    if sys.stdout is not sys.__stdout__:
        return None
    sink = Sink(1)
    sys.stdout = _stream(sink, sys.stdout)
    return sink


def _occupy(descriptor: int) -> None:
    """Open /dev/null at a standard descriptor that is closed: a file of the results that is opened
    there would get the output of libraries."""
    try:
        os.fstat(descriptor)
    except OSError:
        opened = os.open(os.devnull, os.O_RDWR)
        if opened != descriptor:
            os.dup2(opened, descriptor)
            os.close(opened)
        os.set_inheritable(descriptor, True)


def _stream(sink: Sink, before: TextIO | None) -> TextIO:
    """A text stream into a sink, with the encoding of the stream before it."""
    encoding = before.encoding if before else "utf-8"
    is_live = sink.descriptor == 2 or sink.isatty()
    return io.TextIOWrapper(
        io.BufferedWriter(sink), encoding=encoding, errors=HANDLER, line_buffering=is_live
    )


def _plainer(error: UnicodeError) -> tuple[str | bytes, int]:
    """The error handler of the streams: plain characters for those that the encoding lacks, and the
    bytes of a file name that is no text."""
    if not isinstance(error, UnicodeEncodeError):
        raise error
    character = error.object[error.start]
    if 0x80 <= ord(character) - UNDECODABLE <= 0xFF:
        return bytes([ord(character) - UNDECODABLE]), error.start + 1
    decomposed = unicodedata.normalize("NFKD", character)
    letters = decomposed.encode("ascii", "ignore").decode("ascii")
    return PLAIN.get(character) or letters or "?", error.start + 1
