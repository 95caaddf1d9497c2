"""Shared by tests of the run path: a matrix that trains in a moment, and the command line called in
this process."""

import signal
import sys
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import NamedTuple

import pytest

PARTS = {
    "objectives": 'objectives = ["nonsaturating"]',
    "architectures": 'architectures = [{ name = "mlp", width = 8 }]',
    "datasets": 'datasets = ["gaussians8"]',
    "seeds": "seeds = 1",
    "training": "[training]\nsteps = 20\nbatch_size = 8",
    "evaluation": "[evaluation]\nschedule = [0, 1]\nn = { points = 200 }\nlog_every = 5",
    "rules": "",
}


def matrix_text(**parts: str) -> str:
    """The text of a tiny matrix file, some of its parts replaced."""
    assert set(parts) <= set(PARTS)
    return "\n".join((PARTS | parts).values()) + "\n"


class Ended(NamedTuple):
    """How a command ended."""

    code: int
    out: str
    err: str


@pytest.fixture(autouse=True, scope="session")
def one_thread() -> None:
    """The tests' networks are too small to share among threads, whose waiting costs more than they
    do."""
    import torch

    torch.set_num_threads(1)


@pytest.fixture(autouse=True, scope="session")
def fake_device_is_known() -> None:
    """Before any backward pass: torch counts the devices once."""
    from tests.cuda.fake_device import register

    register()


@pytest.fixture(autouse=True, scope="session")
def signals_as_in_a_terminal() -> Iterator[None]:
    """Tests send signals that the process that started pytest may ignore, as nohup and the
    background of a script do."""
    usual = {
        signal.SIGINT: signal.default_int_handler,
        signal.SIGTERM: signal.SIG_DFL,
        signal.SIGHUP: signal.SIG_DFL,
        signal.SIGPIPE: signal.SIG_IGN,
    }
    before = {signum: signal.signal(signum, handler) for signum, handler in usual.items()}
    mask = signal.pthread_sigmask(signal.SIG_UNBLOCK, usual)
    yield
    signal.pthread_sigmask(signal.SIG_SETMASK, mask)
    for signum, handler in before.items():
        signal.signal(signum, handler)


@pytest.fixture(autouse=True, scope="session")
def own_cache(tmp_path_factory: pytest.TempPathFactory) -> Iterator[None]:
    """Tests neither use nor fill the user's cache."""
    with pytest.MonkeyPatch.context() as patch:
        patch.setenv("GANBENCH_CACHE", str(tmp_path_factory.mktemp("cache")))
        yield


@pytest.fixture
def ganbench(
    monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> Callable[..., Ended]:
    """`ganbench ARGUMENTS` in this process. What is no SystemExit passes through, as a traceback
    would."""
    from benchmark.cli import main as cli

    def call(*arguments: object) -> Ended:
        monkeypatch.setattr(sys, "argv", ["ganbench", *map(str, arguments)])
        code = 0
        try:
            cli.main()
        except SystemExit as end:
            code = int(end.code or 0)
        return Ended(code, *capsys.readouterr())

    return call


@pytest.fixture
def matrix_file(tmp_path: Path) -> Callable[..., Path]:
    """Writes a tiny matrix file, some of its parts replaced."""

    def write(**parts: str) -> Path:
        path = tmp_path / "tiny.toml"
        path.write_text(matrix_text(**parts))
        return path

    return write
