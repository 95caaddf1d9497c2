"""The races of tests/speed, which are not part of the default tests, still fit the code that they
time."""

import json
from pathlib import Path

import pandas as pd
import pytest
import torch

from tests.speed import ours, recorded, scripts, textbook, turns
from tests.speed.test_penalty import critic_steps


def test_a_contender_is_set_up_as_a_worker_is() -> None:
    case = {"architecture": "mlp", "objective": "nonsaturating", "batch_size": 8}
    contender = turns.Contender("ours", ours.iteration, case)
    turns._made(contender, "cpu", torch.get_num_threads())()


@pytest.mark.parametrize("architecture", scripts.OBJECTIVES)
def test_scripts_and_the_textbook_loop_iterate(architecture: str) -> None:
    case = (architecture, scripts.OBJECTIVES[architecture], 4, "cpu")
    for make in (scripts.iteration, textbook.iteration):
        iterate = make(*case)
        iterate()
        iterate()


def test_critic_steps_by_term_say_so() -> None:
    steps = critic_steps("none", "mlp", "eager", 8, "cpu", by_term=True)
    assert steps.facts["backward"] == "by term"  # type: ignore[attr-defined]
    steps()


def test_rows_are_added_and_replaced(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """A row of a version without a clock is one of wall time."""
    csv = tmp_path / "speed.csv"
    monkeypatch.setenv("GANBENCH_SPEED", str(csv))
    result = turns.Result("ours", ms=[1.0, 2.0, 1.0])
    half = turns.Result("theirs", ms=[2.0, 4.0, 2.0])
    first = recorded.row("iteration", "cpu", "case", result, half)
    pd.DataFrame([first]).drop(columns="clock").to_csv(csv, index=False)
    recorded.append([first, recorded.row("iteration", "cpu", "other", half, result)], "cpu")
    table = pd.read_csv(csv)
    assert list(table["ratio"]) == [2.0, 0.5]
    assert set(table["clock"]) == {"wall"}
    assert json.loads((tmp_path / "environment.json").read_text())["threads"] == turns.THREADS
    assert (tmp_path / "speed.png").exists()
