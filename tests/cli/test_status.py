"""`ganbench status`: as JSON, as a list, and as a screen that is drawn again and again."""

import io
import json
import re
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
from rich.console import Console

from benchmark.cli import main as cli
from benchmark.cli import status as page
from benchmark.store import reader as store
from benchmark.store.code import ROOT
from benchmark.store.layout import CellFolder
from benchmark.store.overview import Overview
from benchmark.store.reader import Reader
from tests.conftest import Ended
from tests.helpers import synthetic
from tests.helpers.result_sets import WHOLE, seeds_that_are, status_file, write

# Ends with the exit code of the verb, or with the modules that it should not have imported
STATUS = """
import sys
from benchmark.cli import main as cli
code = 0
try:
    cli.main()
except SystemExit as end:
    code = end.code
sys.exit(code or sorted({"torch", "pandas"} & set(sys.modules)) or 0)
"""


@pytest.fixture(autouse=True)
def present_code(monkeypatch: pytest.MonkeyPatch) -> None:
    """The code that synthetic cells were trained with is the present one."""
    monkeypatch.setattr("benchmark.store.code.training_code", lambda cell: "c0de")
    monkeypatch.setattr("benchmark.store.code.measuring_code", lambda modality: None)


@pytest.fixture
def status(ganbench: Callable[..., Ended], tmp_path: Path) -> Callable[..., Ended]:
    """`ganbench status ARGUMENTS` of the result set `tiny`."""

    def call(*arguments: str) -> Ended:
        return ganbench("status", "--matrix", "tiny", "--results", tmp_path, *arguments)

    return call


def strict_json(text: str) -> Any:
    def refuse(name: str) -> None:
        raise AssertionError(f"{name} in JSON")

    return json.loads(text, parse_constant=refuse)


def screen(now: Overview, width: int = 80, height: int = 24) -> list[str]:
    console = Console(
        width=width, height=height, force_terminal=True, color_system=None, file=io.StringIO()
    )
    with console.capture() as seen:
        console.print(page.frame(now, height))
    return seen.get().splitlines()


# The report


def test_the_report_is_named(status: Callable[..., Ended], tmp_path: Path) -> None:
    folder = write(tmp_path / "tiny")
    command = f"`ganbench report --matrix tiny --results {tmp_path}`"
    assert status().out.endswith(f"no report yet: {command} writes it\n")
    assert json.loads(status("--json").out)["report"] is None
    report = folder / "report/index.html"
    report.parent.mkdir()
    report.write_text("")
    assert status().out.endswith(f"report: {report}\n")
    path = status_file(folder, 1)
    path.write_text(json.dumps(json.loads(path.read_text()) | {"updated": "2100-01-01T00:00:00Z"}))
    assert status().out.endswith(
        f"report: {report}, older than the results: {command} writes it again\n"
    )
    now = json.loads(status("--json").out)
    assert (now["report"], now["report_is_old"]) == (str(report), True)


# Damaged and foreign files

ODD: dict[str, tuple[str | bytes, str]] = {
    "cut short": ("{", "missing"),
    "empty": ("", "missing"),
    "no table": ("[1]", "missing"),
    "bytes": (b"\xff\x00\xfe", "missing"),
    "of another version": ('{"schema": 99}', "missing"),
    "a status as a number": ('{"schema": 1, "status": 3}', "missing"),
    "of another cell": ('{"schema": 1, "status": "done", "key": "other"}', "missing"),
    "warnings as text": ('{"schema": 1, "status": "error", "warnings": "oh"}', "missing"),
    "done without evaluations": ('{"schema": 1, "status": "done", "samples_seen": 1}', "missing"),
    "an unknown status": ('{"schema": 1, "status": "half\\u001b[2J\\nway"}', "missing"),
    "times that are none": (
        '{"schema": 1, "status": "interrupted", "progress": NaN, "train_seconds": Infinity,'
        ' "g_steps": -3, "eval_seconds": 1e300, "warmup_seconds": NaN,'
        ' "reason": "a\\nb\\u001b[31mc", "device": "x\\u001b[2Jy"}',
        "interrupted",
    ),
    "a device as a table": (
        '{"schema": 1, "status": "interrupted", "device": {"x": NaN}}',
        "missing",
    ),
    "nothing but a state": ('{"schema": 1, "status": "error"}', "error"),
    "progress beyond its end": (
        '{"schema": 1, "status": "interrupted", "progress": 7}',
        "interrupted",
    ),
}


@pytest.mark.parametrize("oddity", ODD)
def test_a_damaged_or_foreign_status_breaks_nothing(
    oddity: str, status: Callable[..., Ended], tmp_path: Path
) -> None:
    folder = write(tmp_path / "tiny")
    content, expected = ODD[oddity]
    path = status_file(folder, 1)
    path.write_bytes(content if isinstance(content, bytes) else content.encode())
    ended = status("--json")
    assert (ended.code, ended.err) == (0, "")
    now = strict_json(ended.out)
    assert [cell["status"] for cell in now["cells"]] == ["done", expected, "done"]
    assert 0 <= now["cells"][1]["progress"] <= 1
    assert now["seconds_left"] is None or now["seconds_left"] <= WHOLE
    has_reason = expected == "missing" or "reason" in str(content)
    assert (now["cells"][1]["reason"] is not None) == has_reason
    plain = status()
    assert (plain.code, plain.err) == (0, "")
    for text in (plain.out, *screen(Reader(folder).overview())):
        assert "\x1b" not in text
    assert len([line for line in plain.out.splitlines() if path.parent.name in line]) == 1


def test_a_status_that_cannot_be_read_is_told(status: Callable[..., Ended], tmp_path: Path) -> None:
    path = status_file(write(tmp_path / "tiny"), 1)
    path.unlink()
    path.mkdir()
    ended = status()
    assert ended.code == 0
    assert f"{path} cannot be read: Is a directory" in ended.out


# What is shown


def test_json_has_every_field_of_every_cell(status: Callable[..., Ended], tmp_path: Path) -> None:
    folder = write(tmp_path / "tiny", status=seeds_that_are(diverged=[1], missing=[2]))
    fields = {
        "resumes": 2,
        "warnings": ["checkpoint.pt is damaged: went on from the one before"],
        "started": "2026-01-01",
    }
    synthetic.edit(status_file(folder, 0), **fields)
    now = strict_json(status("--json").out)
    assert list(now) == [
        *("matrix", "counts", "running", "stale", "measurements_stale"),
        *("seconds_left", "guessed", "finish", "cells", "report", "report_is_old"),
    ]
    assert now["counts"] == {"done": 1, "diverged": 1, "missing": 1}
    assert [list(cell) for cell in now["cells"]] == [list(now["cells"][0])] * 3
    facts = {"objective": "wgan", "seed": 0, "g_steps": 600, "seconds": WHOLE}
    assert now["cells"][0].items() >= {**fields, **facts}.items()
    assert [cell["reason"] for cell in now["cells"]] == [None, "d_loss is NaN", None]


def test_the_plain_list_is_of_what_is_not_done(
    status: Callable[..., Ended], tmp_path: Path
) -> None:
    statuses = seeds_that_are(diverged=[1], missing=[2], interrupted=[3])
    folder = write(tmp_path / "tiny", 4, status=statuses)
    synthetic.edit(status_file(folder, 0), resumes=2, warnings=["checkpoint.pt is damaged"])
    synthetic.edit(status_file(folder, 3), progress=0.4, reason="interrupted", code="older")
    keys = [cell.key for cell in Reader(folder).overview().cells]
    # The time left is that of two cells, from one done and one diverged cell
    assert status().out.splitlines() == [
        "tiny: 4 cells: 1 done, 1 diverged, 1 missing, 1 interrupted",
        f"nothing is running; about {2 * (WHOLE + 7.5) / 2:.0f} s of work left",
        "cells resumed: 1 (2 times in all)",
        "1 stale: different code or evaluation options made them, or a variant is not found "
        "(--variants); `run --force` runs them again",
        f"  diverged     {keys[1]}: d_loss is NaN",
        f"  interrupted  {keys[3]}",
        f"  missing      {keys[2]}",
        f"  warning      {keys[0]}: checkpoint.pt is damaged",
        f"no report yet: `ganbench report --matrix tiny --results {tmp_path}` writes it",
    ]


def test_cells_that_other_code_measured_are_counted(
    status: Callable[..., Ended], tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Of finished cells; a new metric makes no training stale."""
    monkeypatch.setattr("benchmark.store.code.measuring_code", lambda modality: "0ther")
    folder = write(tmp_path / "tiny", 4, status=seeds_that_are(diverged=[1], missing=[2]))
    synthetic.edit(status_file(folder, 3), measuring_code="0ther")
    now = strict_json(status("--json").out)
    assert (now["stale"], now["measurements_stale"]) == (0, 2)
    assert [cell["measurements_stale"] for cell in now["cells"]] == [True, True, False, False]
    assert "2 measured by different code; `ganbench measure`" in status().out


def test_a_time_that_nothing_tells_is_said_to_be_unknown(
    status: Callable[..., Ended], tmp_path: Path
) -> None:
    write(tmp_path / "tiny", 2, status=seeds_that_are(missing=[0, 1]))
    assert "not known yet" in status().out


def test_long_lists_are_summed_up_but_no_reason_is_lost(tmp_path: Path) -> None:
    statuses = seeds_that_are(missing=list(range(100, 400)), error=list(range(50)))
    folder = write(tmp_path / "tiny", 400, status=statuses, steps=1, evaluations=2)
    for seed in range(50):
        synthetic.edit(status_file(folder, seed), reason="out of memory" if seed else "a rare one")
    shown = list(page.lines(Reader(folder).overview()))
    assert len(shown) < 60
    assert len([line for line in shown if "a rare one" in line]) == 1
    assert "  error        and 29 more: out of memory" in shown
    assert "  missing      and 280 more" in shown


def test_the_screen_fits_the_terminal(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    objectives = ["wgan_fdgp[pairs=independent]", "lsgan", "wgan"]
    statuses = {(objectives[0], "mlp", seed): "running" for seed in range(40)}
    statuses |= {("lsgan", "mlp", seed): "error" for seed in range(40)}
    sizes = {"steps": 1, "evaluations": 2}
    folder = write(tmp_path / "tiny", 40, objectives=objectives, status=statuses, **sizes)
    monkeypatch.setattr(store, "is_locked", lambda files: "fdgp" in files.key)
    now = Reader(folder).overview()
    assert now.running == 40
    outlook = re.compile(r"40 running; about \d+ min of work left, done at about")
    for width, height in ((80, 24), (120, 50), (80, 16), (60, 12)):
        shown = screen(now, width, height)
        assert len(shown) < height
        assert max(map(len, shown)) <= width
        assert any(re.search(r"steps/s +left$", line) for line in shown)
        assert any(line.startswith("error ") for line in shown) or height == 12
        assert any("80 of 120 cells" in line for line in shown)
        assert any(outlook.search(line) for line in shown)


# Live


def test_watching_ends_with_the_last_cell(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    folder = write(tmp_path / "tiny", 3, status=seeds_that_are(running=[1, 2]))
    read: list[str] = []
    inner = CellFolder.status.fget
    assert inner is not None

    def recording(files: CellFolder) -> Any:
        read.append(files.key)
        return inner(files)

    def runs(files: CellFolder) -> bool:
        return bool(json.loads(files.status_file.read_text())["status"] == "running")

    ends = iter([(1, "error", "out of memory"), (2, "timeout", "took too long")])

    def meanwhile(seconds: float) -> None:
        seed, state, reason = next(ends)
        synthetic.edit(status_file(folder, seed), status=state, reason=reason)

    monkeypatch.setattr(CellFolder, "status", property(recording))
    monkeypatch.setattr(store, "is_locked", runs)
    monkeypatch.setattr(page.time, "sleep", meanwhile)
    seen = io.StringIO()
    page.watch(folder, Console(force_terminal=True, width=100, height=30, file=seen))
    for text in ("out of memory", "took too long", "3 of 3 cells"):
        assert text in seen.getvalue()
    # A file that has not changed is not read again
    assert len(read) == 3 + 1 + 1


def test_a_ctrl_c_ends_watching_and_is_no_failure(
    status: Callable[..., Ended], tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    write(tmp_path / "tiny", status=seeds_that_are(missing=[1]))
    seen = io.StringIO()
    monkeypatch.setattr(cli, "out", Console(force_terminal=True, width=100, height=30, file=seen))

    def interrupt(seconds: float) -> None:
        raise KeyboardInterrupt

    monkeypatch.setattr(page.time, "sleep", interrupt)
    assert status("--watch") == (0, "", "")
    shown = " ".join(seen.getvalue().split())
    assert "2 of 3 cells" in shown
    assert shown.endswith("writes it")
    assert "no report yet: `ganbench report --matrix tiny" in shown


@pytest.mark.parametrize("more", [[], ["--json"]])
def test_watching_asks_for_a_terminal(
    more: list[str], status: Callable[..., Ended], tmp_path: Path
) -> None:
    write(tmp_path / "tiny")
    ended = status("--watch", *more)
    assert (ended.code, ended.out, ended.err.count("\n")) == (2, "", 1)
    assert "--watch" in ended.err


def test_status_imports_neither_torch_nor_pandas_and_writes_nothing(tmp_path: Path) -> None:
    folder = write(tmp_path / "tiny", status=seeds_that_are(running=[1], missing=[2]))

    def times() -> dict[Path, int]:
        return {path: path.stat().st_mtime_ns for path in [folder, *folder.rglob("*")]}

    before = times()
    arguments = ["status", "--matrix", "tiny", "--results", str(tmp_path), "--json"]
    ended = subprocess.run(
        [sys.executable, "-c", STATUS, *arguments], cwd=ROOT, capture_output=True, text=True
    )
    assert (ended.returncode, ended.stderr.strip()) == (0, "")
    # By the code that there is
    assert strict_json(ended.stdout)["stale"] == 2
    assert times() == before


@pytest.mark.parametrize("more", [[], ["--json"]])
def test_a_file_in_the_place_of_the_cells_is_one_line(
    more: list[str], status: Callable[..., Ended], tmp_path: Path
) -> None:
    folder = write(tmp_path / "tiny")
    (folder / "cells").rename(tmp_path / "moved")
    (folder / "cells").touch()
    ended = status(*more)
    assert (ended.code, ended.out, ended.err.count("\n")) == (2, "", 1)
    assert "Not a directory" in ended.err
