"""Small exact experiments that show why an objective behaves as it does: one file each, found by
its name.

An experiment's docstring is its page: a question, then paragraphs on the argument it tests, whose
it is, and what is done. It defines `cases(full) -> list of keyword arguments`, in JSON's types;
`measure(**case) -> DataFrame`; `draw(frame) -> Figure`, of all cases' rows; `finding(frame) ->
str`, computed from them; and CAPTION, how to read the figure. Every case is seeded, runs on one
thread, and is kept once it is measured."""

import ast
import inspect
import multiprocessing
import os
import signal
import threading
import time
import warnings
from collections.abc import Iterator
from concurrent.futures import FIRST_COMPLETED, ProcessPoolExecutor, wait
from concurrent.futures.process import BrokenProcessPool
from contextlib import contextmanager
from importlib import import_module
from importlib.metadata import version
from pathlib import Path
from typing import Any

import pandas as pd

from benchmark.errors import UserError
from benchmark.explain.entries import read
from benchmark.matrix.cell import digest
from benchmark.store.code import ROOT
from benchmark.store.files import whole_file, write_json
from benchmark.store.layout import ResultSet
from benchmark.store.locks import alone


def run(
    chosen: list[str], folder: Path, full: bool = False, jobs: int = 0
) -> Iterator[tuple[str, dict[str, Any]]]:
    """Run experiments, `jobs` cases at a time (0: one per CPU core), and yield each one's name and
    entry as it ends.

    Writes folder/figures/NAME.png, .svg and .csv (the tidy table), and the entry into
    folder/explain.json: title, text, caption, finding, full, cases, seconds, environment. Measured
    cases are kept in folder/cases, by what they depend on; an interrupted run goes on from them.
    Datasets are loaded first: raises UserError or OSError for what cannot be had before anything is
    measured, UserError where a worker dies and for a folder that holds something else."""
    read(folder)
    there = {path.name for path in folder.iterdir()} if folder.exists() else set()
    if there and not there & {"explain.json", "cases"}:
        raise UserError(
            f"{folder} holds other files, which a page would replace; name a new folder, or a former run's"
        )
    modules = {name: import_module(f"benchmark.explain.experiments.{name}") for name in chosen}
    tasks: dict[Path, tuple[str, dict[str, Any]]] = {}
    for name, module in modules.items():
        code = [code_of(name), version("torch")]
        for case in module.cases(full):
            tasks[folder / f"cases/{name}-{digest([case, code], 16)}.parquet"] = name, case
    measured = {file: _kept(file) for file in tasks}
    missing = {file: task for file, task in tasks.items() if measured[file] is None}
    _load(
        [case["dataset"] for _, case in missing.values() if isinstance(case.get("dataset"), dict)]
    )
    waiting, others = list(chosen), {*multiprocessing.active_children()}
    jobs = min(jobs or os.cpu_count() or 1, max(len(missing), 1))
    pool = ProcessPoolExecutor(jobs, multiprocessing.get_context("spawn"), _enter)
    try:
        with _no_interrupts():  # inherited by the workers, which the parent ends
            pending = {pool.submit(_measure, *task, file): file for file, task in missing.items()}
        while waiting:
            frames = [frame for file, frame in measured.items() if tasks[file][0] == waiting[0]]
            if all(frame is not None for frame in frames):
                name = waiting.pop(0)
                yield name, _finish(name, modules[name], frames, folder, full)
                continue
            done, _ = wait(pending, return_when=FIRST_COMPLETED)
            for future in done:
                measured[pending.pop(future)] = future.result()
    except BrokenProcessPool as error:
        raise UserError(
            "a worker died, for want of memory perhaps; run again to go on, with fewer --jobs than "
            f"{jobs} if there are several"
        ) from error
    except BaseException:
        for process in {*multiprocessing.active_children()} - others:
            process.terminate()
        raise
    finally:
        pool.shutdown(cancel_futures=True)


@contextmanager
def _no_interrupts() -> Iterator[None]:
    before = signal.pthread_sigmask(signal.SIG_BLOCK, {signal.SIGINT})
    try:
        yield
    finally:
        signal.pthread_sigmask(signal.SIG_SETMASK, before)


def _kept(file: Path) -> pd.DataFrame | None:
    """A measured case; None where there is none, or a damaged one, which is measured again."""
    try:
        frame = pd.read_parquet(file)
    except (OSError, ValueError):
        return None
    return frame if frame.attrs.keys() >= {"seconds", "environment"} else None


def _load(values: list[dict[str, Any]]) -> None:
    """Load datasets, named as in a matrix file; a process loads each once."""
    for value in values:
        from benchmark.matrix.values import choices
        from benchmark.train.data import make_dataset

        try:
            make_dataset(choices("dataset", value)[0][0]).train()
        except ValueError as error:
            raise UserError(str(error)) from error


def code_of(name: str) -> str:
    """The hash of the code that an experiment's numbers come from. What draws and words them is not
    in it: another wording costs no hour."""
    folder = Path(__file__).parent
    source = (folder / f"experiments/{name}.py").read_text()
    files = [
        path for path in sorted(folder.glob("[!_]*.py")) if f"explain.{path.stem} import" in source
    ]
    files += [
        path
        for part in ("train", "train/execution", "measure")
        for path in sorted((ROOT / "benchmark" / part).glob("*.py"))
    ]
    files += sorted((ROOT / "variants").rglob("*.py"))
    _, *body = ast.parse(source).body  # without the docstring
    words = ("def draw(", "def finding(", "CAPTION = ")
    own = [ast.dump(node) for node in body if not ast.unparse(node).startswith(words)]
    return digest([*own, *(path.read_text() for path in files)])


def _enter() -> None:
    def watch(parent: Any) -> None:
        parent.join()
        os._exit(1)  # a parent that was killed ends nobody

    threading.Thread(target=watch, args=[multiprocessing.parent_process()], daemon=True).start()
    warnings.filterwarnings("ignore", category=FutureWarning)  # of libraries about their own
    import torch

    torch.set_num_threads(1)


def _measure(name: str, case: dict[str, Any], file: Path) -> pd.DataFrame:
    """Measure a case in a worker, and keep it in its file."""
    from benchmark.machine.environment import environment

    started = time.perf_counter()
    frame = import_module(f"benchmark.explain.experiments.{name}").measure(**case)
    frame.attrs |= {
        "seconds": time.perf_counter() - started,
        "environment": environment("cpu").plain(),
    }
    with whole_file(file) as opened:
        frame.to_parquet(opened, index=False)
    return frame


def _finish(name: str, module: Any, frames: list[Any], folder: Path, full: bool) -> dict[str, Any]:
    """Draw an experiment whose cases are all there, and write its entry."""
    import matplotlib.pyplot as plt
    import seaborn as sns

    from benchmark.drawing.save import Figure, save
    from benchmark.drawing.style import LOOK

    environment, seconds = (
        frames[0].attrs["environment"],
        sum(frame.attrs.pop("seconds") for frame in frames),
    )
    frame = pd.concat(frames, ignore_index=True)
    title, *text = (" ".join(part.split()) for part in inspect.getdoc(module).split("\n\n"))  # type: ignore[union-attr]
    (folder / "figures").mkdir(parents=True, exist_ok=True)
    with sns.axes_style("whitegrid"), plt.rc_context(LOOK):
        save(module.draw(frame), frame, folder, Figure(name, title, module.CAPTION))
    entry = {
        "title": title,
        "text": text,
        "caption": module.CAPTION,
        "finding": module.finding(frame),
    }
    entry |= {
        "full": full,
        "cases": len(frames),
        "seconds": round(seconds, 1),
        "environment": environment,
    }
    with alone(ResultSet(folder)):
        write_json(folder / "explain.json", {"experiments": read(folder) | {name: entry}})
    return entry
