"""Runs with real worker processes: two at once, killed, hung, and ended by signals."""

import os
import shutil
import signal
import subprocess
import sys
import time
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import pytest

from benchmark.run.engines import local
from benchmark.run.events import Task
from benchmark.run.stacking import STEADY_STEP
from benchmark.store.code import ROOT
from benchmark.store.files import read_json
from tests.conftest import matrix_text
from tests.helpers.cells import small_cell
from tests.helpers.pool import words

PLANTED = '''"""A planted objective: it says what is trained, and may be held up in step 29."""

import os
import time
from pathlib import Path

from variants.objectives import nonsaturating


class Objective(nonsaturating.Objective):
    g_step = 0

    def d_steps(self, g_step):
        if g_step >= self.g_step:
            self.g_step = g_step + 1
            with open(os.environ["TRAINED"], "a") as file:
                print(Path(__file__).stem, os.getpid(), g_step, file=file)
        return 1

    def g_loss(self, D, real, fake, noise=None):
        name = Path(__file__).stem
        is_held = self.g_step == 30 and name in os.environ.get("HELD", "")
        while is_held and not Path(f"go_{name}").exists():
            time.sleep(0.02)
        return super().g_loss(D, real, fake, noise)
'''


@dataclass
class Planted:
    """A copy of the project with objectives that can be held up, and a matrix over some of them."""

    root: Path

    def start(
        self, *objectives: str, options: str = "--jobs 2", held: str = "", seeds: int = 1
    ) -> subprocess.Popen[str]:
        """`ganbench run` of a matrix over these objectives, 60 steps each; some are `held` in step
        29."""
        text = matrix_text(
            objectives=f"objectives = {list(objectives)}",
            training="[training]\nsteps = 60\nbatch_size = 8",
            seeds=f"seeds = {seeds}",
        )
        (self.root / "planted.toml").write_text(text)
        command = (
            "-m benchmark run --matrix planted.toml --results . --device cpu --checkpoint-every 0"
        )
        variables = {
            "PYTHONPATH": str(self.root),
            "TRAINED": str(self.root / "trained"),
            "HELD": held,
        }
        return subprocess.Popen(
            [sys.executable, *command.split(), *options.split()],
            cwd=self.root,
            env=os.environ | variables,
            stdout=subprocess.PIPE,
            stderr=subprocess.PIPE,
            text=True,
            start_new_session=True,
            # A background job of a shell ignores the signal
            preexec_fn=lambda: signal.signal(signal.SIGINT, signal.SIG_DFL),
        )

    def trained(self) -> dict[str, dict[int, list[int]]]:
        """Objective → process -> generator steps of cells. Those of a race are far later ones."""
        found: dict[str, dict[int, list[int]]] = {}
        file = self.root / "trained"
        lines = file.read_text().splitlines() if file.exists() else []
        for line in lines:
            name, process, g_step = line.split()
            if int(g_step) >= STEADY_STEP:
                continue
            found.setdefault(name, {}).setdefault(int(process), []).append(int(g_step))
        return found

    def wait_for(self, *objectives: str) -> set[int]:
        """Waits until these are in step 29. Returns their processes."""

        def is_there(name: str) -> bool:
            return any(29 in steps for steps in self.trained().get(name, {}).values())

        until(lambda: all(map(is_there, objectives)))
        return {process for name in objectives for process in self.trained()[name]}

    def release(self, *objectives: str) -> None:
        for name in objectives:
            (self.root / f"go_{name}").touch()

    def status(self, objective: str) -> dict[str, Any]:
        (path,) = self.root.glob(f"planted/cells/{objective}-*")
        return read_json(path / "status.json") | {"checkpoint": (path / "checkpoint.pt").exists()}


def until(true: Callable[[], bool], seconds: float = 60) -> None:
    deadline = time.monotonic() + seconds
    while not true():
        assert time.monotonic() < deadline
        time.sleep(0.02)


def gone(process: int) -> bool:
    """Whether a process has ended (or is about to: a zombie)."""
    try:
        os.kill(process, 0)
    except ProcessLookupError:
        return True
    state = Path(f"/proc/{process}/stat")
    return state.exists() and state.read_text().rpartition(")")[2].split()[0] == "Z"


@pytest.fixture
def planted(tmp_path: Path) -> Planted:
    for package in ("benchmark", "variants"):
        shutil.copytree(
            ROOT / package, tmp_path / package, ignore=shutil.ignore_patterns("__pycache__")
        )
    for name in ("one", "two", "three"):
        (tmp_path / "variants" / "objectives" / f"{name}.py").write_text(PLANTED)
    return Planted(tmp_path)


@pytest.mark.slow
def test_two_runs_on_one_folder_run_every_cell_once(planted: Planted) -> None:
    cells = ("one", "two", "three")
    both = [planted.start(*cells, options="--jobs 1", held="one two") for _ in range(2)]
    workers = planted.wait_for("one", "two")
    planted.release("one", "two")
    for run in both:
        out, err = run.communicate(timeout=120)
        assert (run.returncode, out.splitlines()[-1]) == (0, "planted: 3 done"), err
    trained = planted.trained()
    steps = {name: [*by_process.values()] for name, by_process in trained.items()}
    assert steps == {name: [[*range(60)]] for name in cells}
    assert {process for by_process in trained.values() for process in by_process} == workers
    assert len(workers) == 2


@pytest.mark.slow
def test_workers_of_a_killed_driver_save_what_they_have_and_end(planted: Planted) -> None:
    driver = planted.start("one", "two", held="one two")
    workers = planted.wait_for("one", "two")
    driver.kill()
    planted.release("one", "two")
    driver.communicate()
    until(lambda: all(map(gone, workers)))
    for name in ("one", "two"):
        status = planted.status(name)
        assert (status["status"], status["checkpoint"]) == ("interrupted", True)
    again = planted.start("one", "two")
    _, err = again.communicate(timeout=120)
    assert again.returncode == 0, err
    for name, steps in planted.trained().items():
        before, after = steps.values()
        # No step again, none left out
        assert before + after == [*range(60)]
        assert planted.status(name)["resumes"] == 1


@pytest.mark.slow
def test_a_worker_killed_while_it_waits_is_replaced(tmp_path: Path) -> None:
    options = local.WorkerOptions(tmp_path, threads=1, checkpoint_every=60.0)
    pool = local.Pool(["cpu"], options)

    def run(seed: int) -> int | None:
        """Runs a cell; the process of the worker that ended it."""
        pool.start(Task(small_cell(seed=seed)))
        until(lambda: "done" in words(pool.wait(1.0)))
        return pool.idle[0].process.pid

    try:
        first = run(0)
        assert run(1) == first
        assert first
        os.kill(first, signal.SIGKILL)
        assert run(2) != first
        assert pool.capacity() == len(pool.idle) == 1
    finally:
        pool.close()


@pytest.mark.slow
def test_killed_workers_and_a_killed_driver_lose_no_more_than_the_step_they_were_in(
    planted: Planted,
) -> None:
    driver = planted.start("one", "two", held="one two")
    workers = planted.wait_for("one", "two")
    for process in (driver.pid, *workers):
        os.kill(process, signal.SIGKILL)
    driver.communicate()
    assert {planted.status(name)["status"] for name in ("one", "two")} == {"running"}
    again = planted.start("one", "two")
    _, err = again.communicate(timeout=120)
    assert again.returncode == 0, err
    for name, steps in planted.trained().items():
        assert [*steps.values()] == [[*range(30)], [*range(29, 60)]]
        assert planted.status(name)["status"] == "done"


@pytest.mark.slow
@pytest.mark.parametrize("killed", [True, False])
def test_a_stack_that_was_cut_off_resumes_as_one(killed: bool, planted: Planted) -> None:
    """Killed with its driver, or asked to end: its seeds lose the step they were in, or nothing."""
    driver = planted.start("one", held="one", seeds=3, options="--jobs 1 --stack 3")
    (worker,) = planted.wait_for("one")
    if killed:
        for process in (driver.pid, worker):
            os.kill(process, signal.SIGKILL)
    else:
        os.killpg(driver.pid, signal.SIGTERM)
        planted.release("one")
    _, err = driver.communicate(timeout=60)
    paths = sorted(planted.root.glob("planted/cells/one-*"))
    assert [path.name.split("-")[3] for path in paths] == ["seed0", "seed1", "seed2"]
    for path in paths:
        status = read_json(path / "status.json")["status"]
        assert status == ("running" if killed else "interrupted"), err
        assert (path / "checkpoint.pt").exists()
    again = planted.start("one", seeds=3, options="--jobs 1 --stack 3")
    _, err = again.communicate(timeout=120)
    assert again.returncode == 0, err
    before, after = planted.trained()["one"].values()
    assert before + after == ([*range(30), *range(29, 60)] if killed else [*range(60)])
    for path in paths:
        status = read_json(path / "status.json")
        assert (status["status"], status["resumes"], status["execution"]["stack"]) == ("done", 1, 3)


@pytest.mark.slow
def test_a_hung_worker_ends_its_cell_which_can_be_continued(planted: Planted) -> None:
    run = planted.start("one", "two", "three", options="--jobs 2 --timeout 15", held="one")
    out, err = run.communicate(timeout=120)
    assert (run.returncode, out.splitlines()[-1]) == (1, "planted: 2 done, 1 timeout"), err
    (process,) = planted.trained()["one"]
    assert gone(process)
    status = planted.status("one")
    assert (status["status"], status["checkpoint"]) == ("timeout", True)
    assert status["reason"] == "took longer than 15 s (--timeout)"
    left = planted.start("one", "two", "three")
    assert "3 cells, 0 to run" in left.communicate(timeout=120)[0]
    assert left.returncode == 1
    retried = planted.start("one", "two", "three", options="--jobs 2 --retry-errors")
    assert "3 cells, 1 to run" in retried.communicate(timeout=120)[0]
    assert (retried.returncode, planted.status("one")["resumes"]) == (0, 1)


@pytest.mark.slow
@pytest.mark.parametrize("signum", [signal.SIGTERM, signal.SIGINT])
def test_a_signal_to_the_whole_group_ends_even_a_hung_cell(signum: int, planted: Planted) -> None:
    run = planted.start("one", "two", "three", held="one two")
    workers = planted.wait_for("one", "two")
    # As a terminal or a scheduler does: to the driver and its workers
    os.killpg(run.pid, signum)
    planted.release("two")
    _, err = run.communicate(timeout=60)
    assert run.returncode == 130
    committed = "0 of 3 cells are finished, the others resume from their checkpoints"
    assert err.splitlines()[-1] == f"ganbench: interrupted; run again to continue: {committed}"
    assert "Traceback" not in err
    assert all(map(gone, workers))
    for name in ("one", "two"):
        status = planted.status(name)
        assert (status["status"], status["checkpoint"]) == ("interrupted", True)
    again = planted.start("one", "two", "three")
    again.communicate(timeout=120)
    assert (again.returncode, planted.status("one")["resumes"]) == (0, 1)
    assert [*planted.trained()["one"].values()] == [[*range(30)], [*range(29, 60)]]
    before, after = planted.trained()["two"].values()
    # No step again, none left out
    assert before + after == [*range(60)]


@pytest.mark.slow
def test_a_second_ctrl_c_ends_at_once(planted: Planted) -> None:
    run = planted.start("one", held="one")
    workers = planted.wait_for("one")
    os.killpg(run.pid, signal.SIGINT)
    # The worker gives the step 5 s
    time.sleep(1)
    assert run.poll() is None
    os.killpg(run.pid, signal.SIGINT)
    _, err = run.communicate(timeout=60)
    assert (run.returncode, "Traceback" in err) == (130, False)
    assert all(map(gone, workers))
    status = planted.status("one")
    # It had no time to say how it ended
    assert (status["status"], status["checkpoint"]) == ("running", True)
