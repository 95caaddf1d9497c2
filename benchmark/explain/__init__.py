"""Small exact experiments that show why an objective behaves as it does: one file each, found by its name.

An experiment's docstring is its page: a question, then paragraphs on the argument it tests, whose it is, and what is
done. It defines `cases(full) -> list of keyword arguments`, in JSON's types; `measure(**case) -> DataFrame`;
`draw(frame) -> Figure`, of all cases' rows; `finding(frame) -> str`, computed from them; and CAPTION, how to read the
figure. Every case is seeded, runs on one thread, and is kept once it is measured."""

import ast
import inspect
import json
import multiprocessing
import os
import signal
import time
import warnings
from collections.abc import Iterator
from concurrent.futures import FIRST_COMPLETED, Future, ProcessPoolExecutor, wait
from concurrent.futures.process import BrokenProcessPool
from importlib import import_module
from importlib.metadata import version
from pathlib import Path
from typing import Any

import pandas as pd

from benchmark import UserError
from benchmark.cell import ROOT, SOURCES, digest, read_json, whole_file, write_json

ORDER = (
    *("saturation", "disjoint_supports", "optimal_critic", "value_surfaces", "depth", "weights", "mode_collapse"),
    *("overfitting", "penalty"),
)  # in which a reader meets them; others follow


def names() -> list[str]:
    """The experiments in reading order: the files of this folder, without importing them."""
    found = sorted(file.stem for file in Path(__file__).parent.glob("[!_]*.py"))
    return sorted(found, key=lambda name: ORDER.index(name) if name in ORDER else len(ORDER))


def run(chosen: list[str], folder: Path, full: bool = False, jobs: int = 0) -> Iterator[tuple[str, dict[str, Any]]]:
    """Run experiments, `jobs` cases at a time (0: one per CPU core), and yield each one's name and entry as it ends.

    Writes folder/figures/NAME.png, .svg and .csv (the tidy table), and the entry into folder/explain.json: title, text,
    caption, finding, full, cases, seconds, environment. Measured cases are kept in folder/cases, by what they depend
    on; an interrupted run goes on from them. Datasets are loaded first: raises UserError or OSError for what cannot be
    had before anything is measured, UserError where a worker dies."""
    modules = {name: import_module(f"benchmark.explain.{name}") for name in chosen}
    files: dict[str, list[Path]] = {}
    tasks: list[tuple[str, dict[str, Any], Path]] = []
    for name, module in modules.items():
        cases, code = module.cases(full), [code_of(name), version("torch")]
        files[name] = [folder / f"cases/{name}-{digest([case, code], 16)}.parquet" for case in cases]
        tasks += [(name, case, file) for case, file in zip(cases, files[name], strict=True) if not file.exists()]
    _load([case["dataset"] for _, case, _ in tasks if isinstance(case.get("dataset"), dict)])
    waiting, others = list(chosen), set(multiprocessing.active_children())
    jobs = min(jobs or os.cpu_count() or 1, max(len(tasks), 1))
    pool = ProcessPoolExecutor(jobs, multiprocessing.get_context("spawn"), _enter)
    try:
        pending: set[Future[None]] = {pool.submit(_measure, *task) for task in tasks}
        while waiting:
            while waiting and all(file.exists() for file in files[waiting[0]]):
                name = waiting.pop(0)
                yield name, _finish(name, modules[name], files[name], folder, full)
            if waiting:
                assert pending, f"a measured case of {waiting[0]} has vanished from {folder / 'cases'}"
                done, pending = wait(pending, return_when=FIRST_COMPLETED)
                for future in done:
                    future.result()
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


def _load(values: list[dict[str, Any]]) -> None:
    """Load datasets, named as in a matrix file, each once."""
    for text in sorted({json.dumps(value, sort_keys=True) for value in values}):
        from benchmark.batches import make_dataset
        from benchmark.choices import choices

        try:
            make_dataset(choices("dataset", json.loads(text))[0][0]).train()
        except ValueError as error:
            raise UserError(str(error)) from error


def code_of(name: str) -> str:
    """The hash of the code that an experiment's numbers come from. What draws and words them is not in it: another
    wording costs no hour."""
    folder = Path(__file__).parent
    files = [folder / "_training.py", folder / "_cost.py", *(ROOT / f"benchmark/{source}.py" for source in SOURCES)]
    files += [*sorted((ROOT / "benchmark/measure").glob("*.py")), *sorted((ROOT / "variants").rglob("*.py"))]
    _, *body = ast.parse((folder / f"{name}.py").read_text()).body  # without the docstring
    words = ("def draw(", "def finding(", "CAPTION = ")
    own = [ast.dump(node) for node in body if not ast.unparse(node).startswith(words)]
    return digest([*own, *(path.read_text() for path in files)])


def read(folder: Path) -> dict[str, Any]:
    """The entries of folder/explain.json in reading order, by name; empty where there are none."""
    entries = read_json(folder / "explain.json").get("experiments", {})
    return {name: entries[name] for name in names() if name in entries}


def _enter() -> None:
    signal.signal(signal.SIGINT, signal.SIG_IGN)  # the parent ends its workers
    warnings.filterwarnings("ignore", category=FutureWarning)  # of libraries about their own
    import torch

    torch.set_num_threads(1)


def _measure(name: str, case: dict[str, Any], file: Path) -> None:
    """Measure a case into its file, in a worker."""
    from benchmark.environment import environment

    started = time.perf_counter()
    frame = import_module(f"benchmark.explain.{name}").measure(**case)
    frame.attrs |= {"seconds": time.perf_counter() - started, "environment": environment("cpu")}
    with whole_file(file) as opened:
        frame.to_parquet(opened, index=False)


def _finish(name: str, module: Any, files: list[Path], folder: Path, full: bool) -> dict[str, Any]:
    """Draw an experiment whose cases are all there, and write its entry."""
    import matplotlib.pyplot as plt
    import seaborn as sns

    from benchmark.figure import LOOK, Figure, save

    frames = [pd.read_parquet(file) for file in files]
    environment, seconds = frames[0].attrs["environment"], sum(frame.attrs.pop("seconds") for frame in frames)
    frame = pd.concat(frames, ignore_index=True)
    title, *text = (" ".join(part.split()) for part in inspect.getdoc(module).split("\n\n"))  # type: ignore[union-attr]
    (folder / "figures").mkdir(parents=True, exist_ok=True)
    with sns.axes_style("whitegrid"), plt.rc_context(LOOK):
        save(module.draw(frame), frame, folder, Figure(name, title, module.CAPTION))
    entry = {"title": title, "text": text, "caption": module.CAPTION, "finding": module.finding(frame)}
    entry |= {"full": full, "cases": len(files), "seconds": round(seconds, 1), "environment": environment}
    known = read_json(folder / "explain.json").get("experiments", {})
    write_json(folder / "explain.json", {"experiments": known | {name: entry}})
    return entry
