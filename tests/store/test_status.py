"""The state of a result set, the time left, what is shown of them; and the environment written
beside every cell."""

import getpass
import io
import json
import os
import re
import socket
import subprocess
import sys
from collections.abc import Callable, Iterator
from datetime import datetime
from pathlib import Path
from typing import Any

import pytest
from rich.console import Console

from benchmark.analysis import tables
from benchmark.cli import main as cli
from benchmark.cli import status as status_page
from benchmark.machine import environment
from benchmark.store import overview as status
from benchmark.store.code import ROOT
from benchmark.store.merge import merge
from benchmark.store.overview import GONE, Reader
from tests.conftest import Ended
from tests.helpers import synthetic

MLP = [("gaussians8", "mlp")]
WHOLE = 6 * 2.0 + 1.0 + 0.5  # seconds that a finished synthetic cell took
HOLD = "import sys, time; from pathlib import Path; from benchmark.store.locks import take; lock = take(Path(sys.argv[1]), "
HOLD += "sys.argv[2]); print('held', flush=True); time.sleep(60)"


@pytest.fixture(autouse=True)
def present_code(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(
        "benchmark.store.code.code_hash", lambda cell: "c0de"
    )  # what synthetic cells were made with


@pytest.fixture
def hold() -> Iterator[Callable[[Path], subprocess.Popen[str]]]:
    """Another process takes the lock of a cell, by the path of its status.json."""
    holders = []

    def take(path: Path) -> subprocess.Popen[str]:
        command = [sys.executable, "-c", HOLD, str(path.parents[2]), path.parent.name]
        holders.append(subprocess.Popen(command, cwd=ROOT, stdout=subprocess.PIPE, text=True))
        assert holders[-1].stdout.readline() == "held\n"
        return holders[-1]

    yield take
    for holder in holders:
        holder.kill()
        holder.wait()
        holder.stdout.close()


def write(folder: Path, seeds: int = 3, **how: Any) -> Path:
    """A result set of wgan on the MLP, one cell per seed, with samples left out."""
    return synthetic.write(
        folder,
        **{"objectives": ["wgan"], "groups": MLP, "seeds": range(seeds), "samples": False, **how},
    )


def seeds_that_are(**names: list[int]) -> dict[tuple[str, str, int], str]:
    return {("wgan", "mlp", seed): name for name, seeds in names.items() for seed in seeds}


def status_file(folder: Path, seed: int, objective: str = "wgan") -> Path:
    (path,) = folder.glob(f"cells/{objective}-*seed{seed}-*/status.json")
    return path


def cells(folder: Path) -> list[dict[str, Any]]:
    return list(Reader(folder).overview()["cells"])


def strict_json(text: str) -> Any:
    def refuse(name: str) -> None:
        raise AssertionError(f"{name} in JSON")

    return json.loads(text, parse_constant=refuse)


def screen(now: dict[str, Any], width: int = 80, height: int = 24) -> list[str]:
    console = Console(
        width=width, height=height, force_terminal=True, color_system=None, file=io.StringIO()
    )
    with console.capture() as seen:
        console.print(status_page.frame(now, height))
    return seen.get().splitlines()


# Who runs what


def test_a_cell_runs_while_its_lock_is_held(
    tmp_path: Path, hold: Callable[[Path], subprocess.Popen[str]]
) -> None:
    folder = write(tmp_path / "tiny", 4, status=seeds_that_are(running=[0, 1], missing=[3]))
    holder = hold(status_file(folder, 0))
    now = Reader(folder).overview()
    assert [cell["status"] for cell in now["cells"]] == [
        "running",
        "interrupted",
        "done",
        "missing",
    ]
    assert [cell["reason"] for cell in now["cells"]] == [None, GONE, None, None]
    assert now["counts"] == {"running": 1, "interrupted": 1, "done": 1, "missing": 1}
    assert now["running"] == 1
    holder.kill()
    holder.wait()
    assert cells(folder)[0]["reason"] == GONE  # the kernel freed the lock of the dead


@pytest.mark.parametrize("state", ["missing", "interrupted", "error", "timeout"])
def test_a_cell_whose_lock_is_held_runs_whatever_is_on_disk_yet(
    state: str, tmp_path: Path, hold: Callable[[Path], subprocess.Popen[str]]
) -> None:
    folder = write(tmp_path / "tiny", 1, status=seeds_that_are(interrupted=[0]))
    path = status_file(folder, 0)
    if state == "missing":
        path.unlink()
    else:
        synthetic.edit(path, status=state, reason="an old one")
    hold(path)
    assert [(cell["status"], cell["reason"]) for cell in cells(folder)] == [("running", None)]


def test_a_cell_that_ends_while_it_is_looked_at_is_no_dead_one(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    folder = write(tmp_path / "tiny", 1)
    path = status_file(folder, 0)
    synthetic.edit(path, status="running")

    def ended_since(*_: Any) -> bool:
        synthetic.edit(path, status="done")
        return False

    monkeypatch.setattr(status, "taken", ended_since)
    assert cells(folder)[0]["status"] == "done"


# Speed and time left


def test_time_left_by_hand(tmp_path: Path, hold: Callable[[Path], subprocess.Popen[str]]) -> None:
    how = seeds_that_are(running=[1, 2], interrupted=[3, 4, 5], missing=[6], error=[7], timeout=[8])
    folder = write(tmp_path / "tiny", 9, status=how)
    at = {seed: status_file(folder, seed) for seed in range(9) if seed != 6}
    synthetic.edit(at[1], progress=0.05)  # too early for a pace of its own
    synthetic.edit(
        at[2], progress=0.5, train_seconds=20.0, warmup_seconds=3.0, g_steps=300
    )  # slower than the others
    for seed, progress, code in ((3, 0.4, "c0de"), (4, 0.4, "c0de"), (5, 0.4, "other")):
        synthetic.edit(at[seed], progress=progress, code=code)
    for seed in (3, 5, 7):
        (at[seed].parent / "checkpoint.pt").touch()
    hold(at[1]), hold(at[2])
    before = datetime.now().astimezone()
    now = Reader(folder).overview()
    left = [cell["seconds_left"] for cell in now["cells"]]
    kept = 0.6 * WHOLE  # of seed 3: seed 4 has no checkpoint, that of seed 5 is of other code
    own = 20.0 + 1.0 + 0.5  # seed 2, half done: as much again, without its warm-up
    assert left == [
        None,
        *map(pytest.approx, (0.95 * WHOLE, own, kept, WHOLE, WHOLE, WHOLE)),
        None,
        None,
    ]
    assert now["seconds_left"] == pytest.approx(0.95 * WHOLE + own + kept + 3 * WHOLE)
    assert now["cells"][2]["steps_per_second"] == pytest.approx(300 / 20)
    assert [cell["checkpoint"] for cell in now["cells"]] == [
        False,
        False,
        False,
        True,
        *[False] * 5,
    ]
    assert [cell["progress"] for cell in now["cells"]][:5] == [1.0, 0.05, 0.5, 0.4, 0.4]
    assert now["stale"] == 1
    ahead = (datetime.fromisoformat(now["finish"]) - before).total_seconds()
    assert ahead == pytest.approx(now["seconds_left"] / 2, abs=5)


def test_the_finish_is_not_before_that_of_the_longest_cell(
    tmp_path: Path, hold: Callable[[Path], subprocess.Popen[str]]
) -> None:
    folder = write(tmp_path / "tiny", 3, status=seeds_that_are(running=[1, 2]))
    synthetic.edit(status_file(folder, 1), progress=0.9)
    synthetic.edit(status_file(folder, 2), progress=0.2, train_seconds=1000.0)
    before = datetime.now().astimezone()
    hold(status_file(folder, 1)), hold(status_file(folder, 2))
    now = Reader(folder).overview()
    ahead = (datetime.fromisoformat(now["finish"]) - before).total_seconds()
    assert ahead == pytest.approx(4 * 1001.5, abs=5)


def test_a_stack_is_one_worker(
    tmp_path: Path, hold: Callable[[Path], subprocess.Popen[str]]
) -> None:
    """Its cells count their shares: two of a stack, half done at 20 s each, need 40 s more of the
    one worker."""
    folder = write(tmp_path / "tiny", 3, status=seeds_that_are(running=[0, 1], interrupted=[2]))
    for seed in (0, 1):
        clocks = {
            "train_seconds": 19.0,
            "eval_seconds": 1.0,
            "other_seconds": 0.0,
            "compile_seconds": 7.0,
        }
        execution = {"mode": "compiled", "stack": 2, "fallback": None}
        synthetic.edit(status_file(folder, seed), progress=0.5, execution=execution, **clocks)
        hold(status_file(folder, seed))
    before = datetime.now().astimezone()
    now = Reader(folder).overview()
    assert [cell["stack"] for cell in now["cells"]] == [2, 2, 1]
    assert [cell["execution"] for cell in now["cells"]] == ["compiled", "compiled", None]
    assert [cell["seconds_left"] for cell in now["cells"][:2]] == [
        20.0,
        20.0,
    ]  # it compiles no more
    ahead = (datetime.fromisoformat(now["finish"]) - before).total_seconds()
    assert ahead == pytest.approx(now["seconds_left"], abs=5)


def test_no_calendar_is_too_short(
    tmp_path: Path, hold: Callable[[Path], subprocess.Popen[str]]
) -> None:
    path = status_file(write(tmp_path / "tiny", 1, status=seeds_that_are(running=[0])), 0)
    synthetic.edit(path, progress=0.2, train_seconds=1e17)
    hold(path)
    assert Reader(tmp_path / "tiny").overview()["finish"] > "2300"


def test_a_group_that_has_never_run_is_a_guess(
    tmp_path: Path, hold: Callable[[Path], subprocess.Popen[str]]
) -> None:
    how = {("lsgan", "mlp", seed): "missing" for seed in range(2)}
    folder = write(tmp_path / "tiny", 2, objectives=["wgan", "lsgan"], status=how)
    now = Reader(folder).overview()
    assert (now["seconds_left"], now["guessed"], now["finish"]) == (2 * WHOLE, 2, None)
    for cell in now["cells"]:
        if cell["status"] == "done":
            (folder / "cells" / cell["key"] / "status.json").unlink()
    now = Reader(folder).overview()
    assert (now["seconds_left"], now["guessed"]) == (None, 4)
    assert any("not known yet" in line for line in status_page.lines(now))
    running = (
        folder / "cells" / now["cells"][0]["key"] / "status.json"
    )  # what runs tells of its group
    running.write_text(
        json.dumps({"schema": 1, "status": "running", "progress": 0.25, "train_seconds": 10.0})
    )
    hold(running)
    now = Reader(folder).overview()
    assert (now["seconds_left"], now["guessed"]) == (30.0 + 3 * 40.0, 2)


# What is stale, damaged or foreign


def test_other_code_or_evaluation_is_stale(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    folder = write(
        tmp_path / "tiny", 3, objectives=["wgan", "lsgan"], status=seeds_that_are(missing=[2])
    )
    monkeypatch.setattr(
        "benchmark.store.code.code_hash",
        lambda cell: {"wgan": "c0de", "lsgan": "x"}[cell.objective.name],
    )
    synthetic.edit(status_file(folder, 1), evaluation_hash="e1")
    assert [cell["stale"] for cell in cells(folder)] == [False, True, False, True, True, True]

    def gone(cell: Any) -> str:
        raise FileNotFoundError(cell.objective.name)

    monkeypatch.setattr("benchmark.store.code.code_hash", gone)
    assert Reader(folder).overview()["stale"] == 5


ODD = {
    "cut short": ("{", "missing"),
    "empty": ("", "missing"),
    "no table": ("[1]", "missing"),
    "bytes": (b"\xff\x00\xfe", "missing"),
    "of another version": ('{"schema": 99}', "missing"),
    "a status as a number": ('{"schema": 1, "status": 3}', "missing"),
    "of another cell": ('{"schema": 1, "status": "done", "key": "other"}', "missing"),
    "warnings as text": ('{"schema": 1, "status": "error", "warnings": "oh"}', "missing"),
    "done without evaluations": ('{"schema": 1, "status": "done", "samples_seen": 1}', "missing"),
    "an unknown status": ('{"schema": 1, "status": "half\\u001b[2J\\nway"}', "half [2J way"),
    "times that are none": (
        '{"schema": 1, "status": "interrupted", "progress": NaN, "train_seconds": Infinity, "g_steps": -3,'
        ' "eval_seconds": 1e300, "warmup_seconds": NaN, "reason": "a\\nb\\u001b[31mc", "device": {"x": NaN}}',
        "interrupted",
    ),
    "nothing but a state": ('{"schema": 1, "status": "error"}', "error"),
    "progress beyond its end": (
        '{"schema": 1, "status": "interrupted", "progress": 7}',
        "interrupted",
    ),
}


@pytest.mark.parametrize("oddity", ODD)
def test_a_damaged_or_foreign_status_breaks_nothing(
    oddity: str, ganbench: Callable[..., Ended], tmp_path: Path
) -> None:
    folder, (content, state) = write(tmp_path / "tiny"), ODD[oddity]
    path = status_file(folder, 1)
    path.write_bytes(content if isinstance(content, bytes) else content.encode())
    ended = ganbench("status", "--matrix", "tiny", "--results", tmp_path, "--json")
    assert (ended.code, ended.err) == (0, "")
    now = strict_json(ended.out)
    assert [cell["status"] for cell in now["cells"]] == ["done", state, "done"]
    assert 0 <= now["cells"][1]["progress"] <= 1
    assert now["seconds_left"] is None or now["seconds_left"] <= WHOLE
    assert (now["cells"][1]["reason"] is None) == (
        state != "missing" and "reason" not in str(content)
    )
    plain = ganbench("status", "--matrix", "tiny", "--results", tmp_path)
    assert (plain.code, plain.err) == (0, "")
    for text in (plain.out, *screen(now)):
        assert "\x1b" not in text
    assert len([line for line in plain.out.splitlines() if path.parent.name in line]) == 1


def test_a_status_that_cannot_be_read_is_told(
    ganbench: Callable[..., Ended], tmp_path: Path
) -> None:
    path = status_file(write(tmp_path / "tiny"), 1)
    path.unlink()
    path.mkdir()
    ended = ganbench("status", "--matrix", "tiny", "--results", tmp_path)
    assert ended.code == 0
    assert f"{path} cannot be read: Is a directory" in ended.out


# What is shown


def test_json_has_every_field_of_every_cell(ganbench: Callable[..., Ended], tmp_path: Path) -> None:
    folder = write(tmp_path / "tiny", status=seeds_that_are(diverged=[1], missing=[2]))
    fields = {
        "resumes": 2,
        "warnings": ["checkpoint.pt is damaged: went on from the one before"],
        "started": "2026-01-01",
    }
    synthetic.edit(status_file(folder, 0), **fields)
    now = strict_json(ganbench("status", "--matrix", "tiny", "--results", tmp_path, "--json").out)
    assert list(now) == [
        "matrix",
        "counts",
        "running",
        "stale",
        "seconds_left",
        "guessed",
        "finish",
        "cells",
    ]
    assert now["counts"] == {"done": 1, "diverged": 1, "missing": 1}
    assert [list(cell) for cell in now["cells"]] == [list(now["cells"][0])] * 3
    assert (
        now["cells"][0].items()
        >= {**fields, "objective": "wgan", "seed": 0, "g_steps": 600, "seconds": WHOLE}.items()
    )
    assert [cell["reason"] for cell in now["cells"]] == [None, "d_loss is NaN", None]


def test_the_plain_list_is_of_what_is_not_done(
    ganbench: Callable[..., Ended], tmp_path: Path
) -> None:
    folder = write(
        tmp_path / "tiny", 4, status=seeds_that_are(diverged=[1], missing=[2], interrupted=[3])
    )
    synthetic.edit(status_file(folder, 0), resumes=2, warnings=["checkpoint.pt is damaged"])
    synthetic.edit(status_file(folder, 3), progress=0.4, reason="interrupted", code="older")
    found = cells(folder)
    assert ganbench("status", "--matrix", "tiny", "--results", tmp_path).out.splitlines() == [
        "tiny: 4 cells: 1 done, 1 diverged, 1 missing, 1 interrupted",
        # of a done and a diverged cell
        f"nothing is running; about {2 * (WHOLE + 7.5) / 2:.0f} s of work left",
        "cells resumed: 1 (2 times in all)",
        "1 stale: other code or evaluation options made them; `run --force` makes them anew",
        f"  diverged     {found[1]['key']}: d_loss is NaN",
        f"  interrupted  {found[3]['key']}",
        f"  missing      {found[2]['key']}",
        f"  warning      {found[0]['key']}: checkpoint.pt is damaged",
    ]


def test_long_lists_are_summed_up_but_no_reason_is_lost(tmp_path: Path) -> None:
    how = seeds_that_are(missing=list(range(100, 400)), error=list(range(50)))
    folder = write(tmp_path / "tiny", 400, status=how, steps=1, evaluations=2)
    for seed in range(50):
        synthetic.edit(status_file(folder, seed), reason="out of memory" if seed else "a rare one")
    shown = list(status_page.lines(Reader(folder).overview()))
    assert len(shown) < 60
    assert len([line for line in shown if "a rare one" in line]) == 1
    assert "  error        and 29 more: out of memory" in shown
    assert "  missing      and 280 more" in shown


def test_the_screen_fits_the_terminal(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    how = {("wgan_fdgp[pairs=independent]", "mlp", seed): "running" for seed in range(40)}
    how |= {("lsgan", "mlp", seed): "error" for seed in range(40)}
    objectives = ["wgan_fdgp[pairs=independent]", "lsgan", "wgan"]
    folder = write(tmp_path / "tiny", 40, objectives=objectives, status=how, steps=1, evaluations=2)
    monkeypatch.setattr(status, "taken", lambda folder, key: "fdgp" in key)
    now = Reader(folder).overview()
    assert now["running"] == 40
    for width, height in ((80, 24), (120, 50), (80, 16), (60, 12)):
        shown = screen(now, width, height)
        assert len(shown) < height
        assert max(map(len, shown)) <= width
        assert any(re.search(r"steps/s +left$", line) for line in shown)
        assert any(line.startswith("error ") for line in shown) or height == 12
        assert any("80 of 120 cells" in line for line in shown)
        assert any(
            re.search(r"40 running; about \d+ min of work left, done at about", line)
            for line in shown
        )


def test_watching_ends_with_the_last_cell(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    folder = write(tmp_path / "tiny", 3, status=seeds_that_are(running=[1, 2]))
    read, inner = [], status.cell_status
    monkeypatch.setattr(
        status, "cell_status", lambda folder, key: read.append(key) or inner(folder, key)
    )
    monkeypatch.setattr(
        status,
        "taken",
        lambda folder, key: (
            json.loads((folder / "cells" / key / "status.json").read_text())["status"] == "running"
        ),
    )
    ends = iter([(1, "error", "out of memory"), (2, "timeout", "took too long")])

    def meanwhile(seconds: float) -> None:
        seed, state, reason = next(ends)
        synthetic.edit(status_file(folder, seed), status=state, reason=reason)

    monkeypatch.setattr(status_page.time, "sleep", meanwhile)
    seen = io.StringIO()
    status_page.watch(folder, Console(force_terminal=True, width=100, height=30, file=seen))
    assert [
        text in seen.getvalue() for text in ("out of memory", "took too long", "3 of 3 cells")
    ] == [True] * 3
    assert len(read) == 3 + 1 + 1  # what has not changed is not read again


def test_a_ctrl_c_ends_watching_and_is_no_failure(
    ganbench: Callable[..., Ended], tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    write(tmp_path / "tiny", status=seeds_that_are(missing=[1]))
    seen = io.StringIO()
    monkeypatch.setattr(cli, "out", Console(force_terminal=True, width=100, height=30, file=seen))

    def interrupt(seconds: float) -> None:
        raise KeyboardInterrupt

    monkeypatch.setattr(status_page.time, "sleep", interrupt)
    assert ganbench("status", "--watch", "--matrix", "tiny", "--results", tmp_path) == (0, "", "")
    assert "2 of 3 cells" in seen.getvalue()


@pytest.mark.parametrize("more", [[], ["--json"]])
def test_watching_asks_for_a_terminal(
    more: list[str], ganbench: Callable[..., Ended], tmp_path: Path
) -> None:
    write(tmp_path / "tiny")
    ended = ganbench("status", "--watch", "--matrix", "tiny", "--results", tmp_path, *more)
    assert (ended.code, ended.out, ended.err.count("\n")) == (2, "", 1)
    assert "--watch" in ended.err


def test_status_imports_neither_torch_nor_pandas_and_writes_nothing(tmp_path: Path) -> None:
    folder = write(tmp_path / "tiny", status=seeds_that_are(running=[1], missing=[2]))
    before = {path: path.stat().st_mtime_ns for path in [folder, *folder.rglob("*")]}
    code = "import sys; from benchmark.cli import main as cli; code = 0\n"
    code += "try: cli.main()\nexcept SystemExit as end: code = end.code\n"
    code += "sys.exit(code or sorted({'torch', 'pandas'} & set(sys.modules)) or 0)"
    command = [
        sys.executable,
        "-c",
        code,
        "status",
        "--matrix",
        "tiny",
        "--results",
        str(tmp_path),
        "--json",
    ]
    ended = subprocess.run(command, cwd=ROOT, capture_output=True, text=True)
    assert (ended.returncode, ended.stderr.strip()) == (0, "")
    assert strict_json(ended.stdout)["stale"] == 2  # by the code that there is
    assert {path: path.stat().st_mtime_ns for path in [folder, *folder.rglob("*")]} == before


# Elsewhere


def test_tables_tell_resumes_and_a_change_of_device(tmp_path: Path) -> None:
    folder = write(tmp_path / "tiny", 4)
    clocks = {"probe_seconds": 0.25, "warmup_seconds": 1.5}
    synthetic.edit(status_file(folder, 1), resumes=2, **clocks)
    here = {"device": "Synthetic CPU", "versions": {"torch": "2.14.1"}}
    for seed, resumes in (
        (1, [here, here]),
        (2, [here, {"device": "B", "versions": {"torch": "2.15.0"}}]),
    ):
        path = status_file(folder, seed).with_name("environment.json")
        synthetic.edit(path, resumes=[{"g_steps": 100, **snapshot} for snapshot in resumes])
    found = tables.load(folder).cells.set_index("seed")
    assert found["device"].to_list() == [
        "Synthetic CPU",
        "Synthetic CPU",
        "Synthetic CPU + B",
        "Synthetic CPU",
    ]
    assert found.loc[2, "torch"] == "2.14.1 + 2.15.0"
    assert found.loc[1, ["resumes", *clocks]].to_list() == [2, 0.25, 1.5]
    assert found.loc[0, ["resumes", *clocks]].isna().all()  # an older one
    assert found["swd_2k:equal_time"].isna().all()  # seconds of two devices do not compare


def test_a_timeout_counts_as_an_error_does(tmp_path: Path) -> None:
    def shard(name: str, state: str) -> Path:
        return write(tmp_path / name, 2, status=seeds_that_are(**{state: [0]}))

    gave_up = shard("a", "timeout")
    assert merge([gave_up, shard("b", "missing")], tmp_path / "ab")[0] == ["timeout", "done"]
    assert merge([gave_up, write(tmp_path / "c", 2)], tmp_path / "ac")[0] == ["done", "done"]
    assert merge(
        [write(tmp_path / "d", 2, status=seeds_that_are(error=[1])), gave_up], tmp_path / "da"
    )[0] == [
        "done",
        "done",
    ]


# The environment


def test_a_snapshot_of_the_environment_names_versions_flags_and_nothing_private(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    import torch

    monkeypatch.delenv("GANBENCH_GIT", raising=False)
    found = environment.environment("cpu")
    text = json.dumps(found).lower()
    private = {
        socket.gethostname(),
        os.environ.get("HOSTNAME", ""),
        str(Path.home()),
        str(ROOT),
        os.getcwd(),
    }
    if getpass.getuser() != "root":  # too short and common a word to look for
        private.add(getpass.getuser())
    assert [name for name in private if len(name) > 3 and name.lower() in text] == []
    assert not any("/" in str(value) for value in [*found.values(), *found["versions"].values()])
    assert set(found["versions"]) == {
        "ganbench",
        "torch",
        "torchvision",
        "torch-fidelity",
        "numpy",
        "scipy",
    }
    assert None not in found["versions"].values()
    assert (found["threads"], found["deterministic"], found["num_gpus"], found["driver"]) == (
        1,
        False,
        0,
        None,
    )
    before = torch.backends.cudnn.benchmark
    try:
        torch.use_deterministic_algorithms(True, warn_only=True)
        torch.backends.cudnn.benchmark = not before
        changed = environment.environment("cpu")
    finally:
        torch.use_deterministic_algorithms(False)
        torch.backends.cudnn.benchmark = before
    assert {name for name in found if found[name] != changed[name]} == {
        "deterministic",
        "deterministic_warn_only",
        "cudnn_benchmark",
    }


DRIVERS = {
    "NVRM version: NVIDIA UNIX x86_64 Kernel Module  535.104.05  Sat Aug 19 01:15:15 UTC 2023\n"
    "GCC version:  gcc version 12.2.0 (Debian 12.2.0-14)\n": "535.104.05",
    "NVRM version: NVIDIA UNIX Open Kernel Module for x86_64  570.86  Release Build  (someone@builder)\n": "570.86",
    "nothing of it\n": None,
}


@pytest.mark.parametrize("text", DRIVERS)
def test_the_drivers_version(text: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(environment, "DRIVER", tmp_path / "version")
    assert environment._driver.__wrapped__() is None
    (tmp_path / "version").write_text(text)
    assert environment._driver.__wrapped__() == DRIVERS[text]


def test_what_is_not_committed_changes_the_hash(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.delenv("GANBENCH_GIT", raising=False)
    monkeypatch.setattr(environment, "ROOT", tmp_path)
    monkeypatch.setenv("GIT_CEILING_DIRECTORIES", str(tmp_path.parent))
    facts = environment.git_facts.__wrapped__

    def git(*arguments: str) -> None:
        who = ["-c", "user.name=a", "-c", "user.email=a@example.org", "-c", "commit.gpgsign=false"]
        subprocess.run(["git", *who, *arguments], cwd=tmp_path, check=True, capture_output=True)

    def put(name: str, text: str) -> None:
        (tmp_path / name).parent.mkdir(parents=True, exist_ok=True)
        (tmp_path / name).write_text(text)

    put("notes/a.txt", "x")
    assert facts() is None
    git("init")
    git("add", ".")
    git("commit", "-m", "of something else")
    put("benchmark/cell.py", "a = 1\n")
    assert facts() is None  # installed within the checkout of something else
    put(".gitignore", "ignored.py\n")
    git("add", ".")
    git("commit", "-m", "first")
    clean = facts()
    assert clean is not None
    assert (len(clean["commit"]), clean["dirty"]) == (40, None)
    put("benchmark/ignored.py", "")
    put("notes/b.txt", "")
    assert facts() == clean
    seen = {None}
    for name, text in (
        ("benchmark/cell.py", "a = 2\n"),
        ("variants/objectives/new.py", ""),
        ("variants/objectives/new.py", "b = 1\n"),
        ("variants/objectives/other.py", "b = 1\n"),
    ):
        put(name, text)
        now = facts()
        assert now is not None
        assert now["commit"] == clean["commit"]
        assert now["dirty"] not in seen
        seen.add(now["dirty"])


def test_a_worker_without_a_checkout_is_told_its_commit(monkeypatch: pytest.MonkeyPatch) -> None:
    told = {"commit": "c" * 40, "dirty": None}
    monkeypatch.setattr(environment, "git_facts", environment.git_facts.__wrapped__)
    monkeypatch.setenv("GANBENCH_GIT", json.dumps(told))
    assert environment.environment("cpu")["git"] == told
    monkeypatch.setenv("GANBENCH_GIT", json.dumps(None))
    assert environment.environment("cpu")["git"] is None
