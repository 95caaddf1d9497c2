"""Signals and limits of the process that drives a run."""

import resource
import signal
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from types import FrameType

# Ctrl-C, a scheduler or a container that ends, a terminal that is closed
ENDING = (signal.SIGINT, signal.SIGTERM, signal.SIGHUP)


@contextmanager
def collected_signals(received: list[int]) -> Iterator[None]:
    """Collect the first of ENDING; a second one raises KeyboardInterrupt. A signal that is ignored,
    as SIGHUP under nohup and SIGINT in the background of a script, stays ignored."""

    def note(signum: int, frame: FrameType | None) -> None:
        if received:
            raise KeyboardInterrupt
        received.append(signum)

    heard = [signum for signum in ENDING if signal.getsignal(signum) != signal.SIG_IGN]
    before = {signum: signal.signal(signum, note) for signum in heard}
    try:
        yield
    finally:
        for signum, handler in before.items():
            signal.signal(signum, handler)


def allow_open_files() -> None:
    """Locks and pipes take a file each: allow as many as the system does."""
    soft, hard = resource.getrlimit(resource.RLIMIT_NOFILE)
    if soft != hard:
        # macOS does not allow the limit it names
        with suppress(ValueError, OSError):
            resource.setrlimit(resource.RLIMIT_NOFILE, (hard, hard))
