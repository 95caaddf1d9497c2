"""Small exact experiments that show why an objective behaves as it does: one file each, found by its name.

An experiment's docstring is its page: a question, then paragraphs on the argument it tests, whose it is, and what is
done. It defines `cases(full) -> list of keyword arguments`, in JSON's types; `measure(**case) -> DataFrame`;
`draw(frame) -> Figure`, of all cases' rows; `finding(frame) -> str`, computed from them; and CAPTION, how to read the
figure. Every case is seeded, runs on one thread, and is kept once it is measured."""

import ast
import inspect
import multiprocessing
import os
import signal
import time
from collections.abc import Iterator
from concurrent.futures import FIRST_COMPLETED, Future, ProcessPoolExecutor, wait
from importlib import import_module
from pathlib import Path
from typing import Any

import pandas as pd

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
    on; an interrupted run goes on from them. Raises what a variant raises (OSError for data that cannot be had)."""
    modules = {name: import_module(f"benchmark.explain.{name}") for name in chosen}
    files: dict[str, list[Path]] = {}
    tasks = []
    for name, module in modules.items():
        cases, code = module.cases(full), code_of(name)
        files[name] = [folder / f"cases/{name}-{digest([case, code], 16)}.parquet" for case in cases]
        tasks += [(name, case, file) for case, file in zip(cases, files[name], strict=True) if not file.exists()]
    waiting = list(chosen)
    jobs = min(jobs or len(os.sched_getaffinity(0)), max(len(tasks), 1))
    pool = ProcessPoolExecutor(jobs, multiprocessing.get_context("spawn"), _enter)
    try:
        pending: set[Future[None]] = {pool.submit(_measure, *task) for task in tasks}
        while waiting:
            while waiting and all(file.exists() for file in files[waiting[0]]):
                name = waiting.pop(0)
                yield name, _finish(name, modules[name], files[name], folder, full)
            if pending:
                done, pending = wait(pending, return_when=FIRST_COMPLETED)
                for future in done:
                    future.result()
    except BaseException:
        for process in multiprocessing.active_children():
            process.terminate()
        raise
    finally:
        pool.shutdown(cancel_futures=True)


def code_of(name: str) -> str:
    """The hash of the code that an experiment's numbers come from. What draws and words them is not in it: another
    wording costs no hour."""
    folder = Path(__file__).parent
    files = [folder / "_training.py", *(ROOT / f"benchmark/{source}.py" for source in SOURCES)]
    files += [*sorted((ROOT / "benchmark/measure").glob("*.py")), *sorted((ROOT / "variants").rglob("*.py"))]
    _, *body = ast.parse((folder / f"{name}.py").read_text()).body  # without the docstring
    own = [ast.dump(node) for node in body if ast.unparse(node).split("(")[0] not in ("def draw", "def finding")]
    return digest([*(path.read_text() for path in files), *(text for text in own if "'CAPTION'" not in text)])


def read(folder: Path) -> dict[str, Any]:
    """The entries of folder/explain.json in reading order, by name; empty where there are none."""
    entries = read_json(folder / "explain.json").get("experiments", {})
    return {name: entries[name] for name in names() if name in entries}


def _enter() -> None:
    signal.signal(signal.SIGINT, signal.SIG_IGN)  # the parent ends its workers
    import torch

    torch.set_num_threads(1)


def _measure(name: str, case: dict[str, Any], file: Path) -> None:
    """Measure a case into its file, in a worker."""
    started = time.perf_counter()
    frame = import_module(f"benchmark.explain.{name}").measure(**case)
    frame.attrs["seconds"] = time.perf_counter() - started
    with whole_file(file) as opened:
        frame.to_parquet(opened, index=False)


def _finish(name: str, module: Any, files: list[Path], folder: Path, full: bool) -> dict[str, Any]:
    """Draw an experiment whose cases are all there, and write its entry."""
    import matplotlib.pyplot as plt
    import seaborn as sns

    from benchmark.environment import environment
    from benchmark.figure import LOOK, Figure, save

    frames = [pd.read_parquet(file) for file in files]
    seconds = sum(frame.attrs.pop("seconds") for frame in frames)
    frame = pd.concat(frames, ignore_index=True)
    title, *text = (" ".join(part.split()) for part in inspect.getdoc(module).split("\n\n"))  # type: ignore[union-attr]
    (folder / "figures").mkdir(parents=True, exist_ok=True)
    with sns.axes_style("whitegrid"), plt.rc_context(LOOK):
        save(module.draw(frame), frame, folder, Figure(name, title, module.CAPTION))
    entry = {"title": title, "text": text, "caption": module.CAPTION, "finding": module.finding(frame)}
    entry |= {
        "full": full,
        "cases": len(files),
        "seconds": round(seconds, 1),
        "environment": environment("cpu") | {"threads": 1},
    }
    known = read_json(folder / "explain.json").get("experiments", {})
    write_json(folder / "explain.json", {"experiments": known | {name: entry}})
    return entry
