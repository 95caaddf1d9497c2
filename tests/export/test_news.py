"""What an export adds: all that is new, and nothing twice."""

import html
import json
import math
import os
import shutil
import signal
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
from PIL import Image

from benchmark.errors import DamagedError, UserError
from benchmark.export import news as module
from benchmark.export.base import open_tracker
from tests.export.exports import LATER, Export, done, grow, running, same
from tests.export.readers import mlflow_runs, read_page
from tests.helpers import synthetic


def test_reads_back_what_the_files_hold(each: Export) -> None:
    wrote = each.run()
    assert wrote["cells"] == 4
    assert wrote["sheets"] == 2
    each.check(0, 1, 2)  # the fourth has no rows: tags alone
    series = each.read()
    assert math.isnan(series[each.keys[1], "d_loss"][-1][1])  # why it diverged
    # What the objective does not have is no series
    assert not {(each.keys[0], "saturation"), (each.keys[1], "penalty")} & series.keys()
    assert (each.keys[1], "penalty") not in each.read()  # null: nothing to write


def test_lines_of_text_are_text_there_too(each: Export) -> None:
    lines = [synthetic.MARKUP, "  two blanks, # no heading", "é", "***"]
    file = each.cell(0) / "samples/000100.txt"
    file.parent.mkdir()
    file.write_text("\n".join([*lines, ""]), "utf-8")
    only = "objective=wgan_gp dataset=gaussians8"
    assert each.run(only=only)["sheets"] == 1
    assert each.run(only=only) == {}
    page = read_page(each.name, each.place)
    if each.name != "mlflow":
        assert "<b>" not in page
        page = html.unescape(page)
    assert "\n".join(lines) in page


@pytest.mark.parametrize(
    ("name", "content"), [("000100.txt", b"caf\xe9\n"), ("000100.png", b"\x89PNG")]
)
def test_a_damaged_sheet_is_named(name: str, content: bytes, tensorboard: Export) -> None:
    file = tensorboard.cell(0) / "samples" / name
    file.parent.mkdir()
    file.write_bytes(content)
    with pytest.raises(DamagedError, match=rf"{file} is damaged: \w+: "):
        tensorboard.run()


def test_again_adds_nothing_twice_and_what_is_new(each: Export) -> None:
    each.run()
    assert each.run() == {}
    each.check(0, 1, 2)
    grow(each.cell(2), 2000)
    done(each.cell(2), 2000)
    Image.new("L", (16, 16), 9).save(each.cell(2) / "samples/002000.png")
    assert each.run() == {"cells": 1, "values": 5, "sheets": 1}
    each.check(0, 1, 2)


def test_follows_rows_that_grow_are_cut_back_and_come_again(
    each: Export, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(module, "EVERY", 0.0)
    path = each.cell(0)
    running(path)
    grow(path, 20, 1.0)
    looks = each.looks(follow=True)
    assert next(looks)["cells"] == 4
    assert next(looks) == {}
    grow(path, 40, 2.0)
    kept = {name: (path / f"{name}.jsonl").read_text() for name in ("steps", "evals")}
    grow(path, 60, 3.0)
    assert next(looks) == {"cells": 1, "values": 10}
    for name, text in kept.items():  # resumed from the checkpoint at 40
        (path / f"{name}.jsonl").write_text(text)
    synthetic.edit(path / "status.json", resumes=1)
    assert next(looks) == {"cells": 1}
    grow(path, 60, 3.0)
    assert next(looks) == {}
    grow(path, 80, 4.0)
    done(path, 80)
    assert next(looks) == {"cells": 1, "values": 5}
    assert next(looks, None) is None  # nothing is left to run
    each.check(0, 1, 2)


def test_a_cell_started_anew_is_another_run(each: Export) -> None:
    each.run()
    before = each.read()
    path = each.cell(0)
    running(path, started=LATER)
    grow(path, 20, 7.0)
    done(path, 20)
    assert each.run() == {"cells": 1, "values": 5}
    assert each.run() == {}
    found = each.read()
    if each.name == "mlflow":  # runs of one name
        assert [value for _, value in found[each.keys[0], "d_loss"]] in (
            [7.0],
            [v for _, v in before[each.keys[0], "d_loss"]],
        )
        assert len(mlflow_runs(each.place)[1]) == 5
        return
    assert found[f"{each.keys[0]}-2", "d_loss"] == [(20, 7.0)]
    same({name: v for name, v in found.items() if not name[0].endswith("-2")}, before)


def test_a_line_half_written_comes_when_it_is_whole(tensorboard: Export) -> None:
    path = tensorboard.cell(0)
    running(path)
    grow(path, 20)
    whole = (path / "evals.jsonl").read_text()
    (path / "evals.jsonl").write_text("")
    tensorboard.run()
    (path / "evals.jsonl").write_text(whole[:-30])  # the second of two metrics of one evaluation
    assert tensorboard.run() == {"cells": 1, "values": 2}
    assert (tensorboard.keys[0], "modes_covered_2k") not in tensorboard.read()
    (path / "evals.jsonl").write_text(whole)
    assert tensorboard.run() == {"cells": 1, "values": 1}
    tensorboard.check(0, 1, 2)


def test_a_damaged_line_is_named(tensorboard: Export) -> None:
    path = tensorboard.cell(1) / "steps.jsonl"
    path.write_text('{"schema": 1, "samples_seen": 3}\n')
    with pytest.raises(UserError, match=rf"{path} is damaged: a row has no g_step"):
        tensorboard.run()


def test_a_cell_that_is_not_yet_built_waits(tensorboard: Export) -> None:
    running(tensorboard.cell(0), recipe={})
    status = json.loads((tensorboard.cell(0) / "status.json").read_text())
    del status["recipe"]
    (tensorboard.cell(0) / "status.json").write_text(json.dumps(status))
    assert tensorboard.run()["cells"] == 3
    shutil.rmtree(tensorboard.cell(0))
    assert tensorboard.run() == {}


def test_what_a_killed_export_left_is_written_over(tensorboard: Export) -> None:
    tensorboard.run()
    (file,) = (Path(tensorboard.place) / tensorboard.keys[0]).iterdir()
    whole = file.read_bytes()
    file.write_bytes(whole + whole[-300:])  # written, not remembered
    grow(tensorboard.cell(0), 2000)
    done(tensorboard.cell(0), 2000)
    tensorboard.run()
    tensorboard.check(0, 1, 2)
    file.write_bytes(whole)
    grow(tensorboard.cell(0), 2020)
    done(tensorboard.cell(0), 2020)
    with pytest.raises(UserError, match="shorter than what was exported"):
        tensorboard.run()


def test_ctrl_c_ends_between_two_cells(
    tensorboard: Export, monkeypatch: pytest.MonkeyPatch
) -> None:
    tracker = open_tracker("tensorboard", tensorboard.place, "tiny")
    write = tracker.write

    def interrupted(news: Any) -> None:
        os.kill(os.getpid(), signal.SIGINT)
        write(news)

    monkeypatch.setattr(tracker, "write", interrupted)
    with pytest.raises(KeyboardInterrupt):
        list(module.export(tensorboard.folder, tracker))
    tensorboard.check(0)
    assert signal.getsignal(signal.SIGINT) is signal.default_int_handler
    assert tensorboard.run()["cells"] == 3
    tensorboard.check(0, 1, 2)


def test_ctrl_c_is_how_following_ends(
    tensorboard: Export, ganbench: Callable[..., Any], monkeypatch: Any
) -> None:
    running(tensorboard.cell(0))
    chosen = module._chosen

    def interrupted(*arguments: Any) -> Any:
        os.kill(os.getpid(), signal.SIGINT)
        return chosen(*arguments)

    monkeypatch.setattr(module, "_chosen", interrupted)
    at = ("--results", tensorboard.folder.parent, "--matrix", "tiny")
    assert ganbench("export", "tensorboard", "--follow", *at).code == 0
    assert ganbench("export", "tensorboard", *at).code == 130


def test_only_takes_the_cells_of_run(tensorboard: Export) -> None:
    assert tensorboard.run(only="objective=wgan_gp dataset=digits")["cells"] == 1
    tensorboard.check(2)
    assert tensorboard.run(only="architecture=mlp[] seed=0")["cells"] == 2
    tensorboard.check(0, 1, 2)


def test_needs_no_torch() -> None:
    code = "import sys, benchmark.export.news; sys.exit('torch' in sys.modules)"
    assert subprocess.run([sys.executable, "-c", code]).returncode == 0
