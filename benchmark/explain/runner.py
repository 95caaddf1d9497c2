"""Run experiments: measure their cases in worker processes, draw the figures, write explain.json.

Every case is seeded, runs on one thread, and is kept in a file once it is measured."""

import inspect
import multiprocessing
import os
import re
import signal
import threading
import time
import warnings
from collections.abc import Iterable, Iterator
from concurrent.futures import FIRST_COMPLETED, ProcessPoolExecutor, wait
from concurrent.futures.process import BrokenProcessPool
from contextlib import contextmanager
from dataclasses import dataclass
from importlib import import_module
from importlib.metadata import version
from pathlib import Path
from types import ModuleType
from typing import Any

import pandas as pd

import variants
from benchmark.errors import UserError
from benchmark.explain.entries import ExperimentEntry, add, read
from benchmark.machine.limits import available_cores
from benchmark.matrix.cell import digest
from benchmark.store.code import MEASURING, TRAINING, definitions, files_of
from benchmark.store.files import whole_file
from benchmark.store.layout import ResultSet
from benchmark.store.locks import alone

# a definition as `definitions` writes it: its own name, and the names that it uses
DEFINED = re.compile(
    r"(?:FunctionDef|ClassDef)\(name='(\w+)'|(?:Ann)?Assign\(targets?=\[?Name\(id='(\w+)'"
)
USED = re.compile(r"Name\(id='(\w+)'")


@dataclass(frozen=True)
class Case:
    """One call of an experiment's `measure`."""

    experiment: str
    arguments: dict[str, Any]
    file: Path  # where its rows are kept


def run(
    chosen: list[str], folder: Path, full: bool = False, jobs: int = 0
) -> Iterator[tuple[str, ExperimentEntry]]:
    """Run experiments, `jobs` cases at a time (0: one per CPU core), and yield each one's name and
    entry as it ends.

    Writes folder/figures/NAME.png, .svg and .csv (the tidy table), and the entry into
    folder/explain.json: title, text, caption, finding, full, cases, seconds, environment. Measured
    cases are kept in folder/cases, under names made of their arguments and their code; a run that
    was interrupted continues from them. Datasets are loaded first. Raises UserError or OSError for
    a dataset that cannot be loaded, before anything is measured; UserError where a worker dies, and
    for a folder that holds something else."""
    _check_folder(folder)
    modules = {name: _experiment(name) for name in chosen}
    cases = _cases(modules, folder, full)
    frames = {file: _kept(file) for file in cases}
    missing = [case for file, case in cases.items() if frames[file] is None]
    _load_datasets(missing)
    with _workers(min(jobs or available_cores(), max(len(missing), 1))) as pool:
        # the workers inherit the blocked signal; this process ends them
        with _no_interrupts():
            pending = {pool.submit(_measure, case): case.file for case in missing}
        for name, module in modules.items():
            files = [file for file, case in cases.items() if case.experiment == name]
            while any(frames[file] is None for file in files):
                done, _ = wait(pending, return_when=FIRST_COMPLETED)
                for future in done:
                    frames[pending.pop(future)] = future.result()
            measured = [frames[file] for file in files]
            yield name, _finish(name, module, measured, folder, full)


def _check_folder(folder: Path) -> None:
    """Raises UserError for a folder whose files are not those of a page, which would replace them,
    and DamagedError for a damaged explain.json."""
    read(folder)
    names = {path.name for path in folder.iterdir()} if folder.exists() else set()
    if names and not names & {"explain.json", "cases"}:
        raise UserError(
            f"{folder} holds other files, which a page would replace; "
            "name a new folder, or the folder of an earlier run"
        )


def _experiment(name: str) -> ModuleType:
    return import_module(f"benchmark.explain.experiments.{name}")


def _cases(modules: dict[str, ModuleType], folder: Path, full: bool) -> dict[Path, Case]:
    """The cases of experiments, by their files."""
    cases = {}
    for name, module in modules.items():
        code = [code_of(name), version("torch")]
        for arguments in module.cases(full):
            file = folder / f"cases/{name}-{digest([arguments, code], 16)}.parquet"
            cases[file] = Case(name, arguments, file)
    return cases


def _kept(file: Path) -> pd.DataFrame | None:
    """The rows of a measured case; None for one that is not measured, or whose file is damaged."""
    try:
        # pandas takes every path to be UTF-8: Python opens the file
        with file.open("rb") as opened:
            frame = pd.read_parquet(opened)
    except (OSError, ValueError):
        return None
    return frame if frame.attrs.keys() >= {"seconds", "environment"} else None


def _load_datasets(cases: Iterable[Case]) -> None:
    """Load the datasets that cases name as in a matrix file; a process loads each only once."""
    for case in cases:
        value = case.arguments.get("dataset")
        if not isinstance(value, dict):
            continue
        from benchmark.matrix.values import choices
        from benchmark.train.data import make_dataset

        try:
            make_dataset(choices("dataset", value)[0].choice).train()
        except ValueError as error:
            raise UserError(str(error)) from error


@contextmanager
def _workers(jobs: int) -> Iterator[ProcessPoolExecutor]:
    """A pool of worker processes, which end with the block. Raises UserError where one died."""
    others = {*multiprocessing.active_children()}
    pool = ProcessPoolExecutor(jobs, multiprocessing.get_context("spawn"), _enter)
    try:
        yield pool
    except BrokenProcessPool as error:
        raise UserError(
            "a worker died, perhaps for lack of memory; run again to continue, with fewer --jobs "
            f"than {jobs} if there are several"
        ) from error
    except BaseException:
        for process in {*multiprocessing.active_children()} - others:
            process.terminate()
        raise
    finally:
        pool.shutdown(cancel_futures=True)


@contextmanager
def _no_interrupts() -> Iterator[None]:
    """Block SIGINT in this thread."""
    before = signal.pthread_sigmask(signal.SIG_BLOCK, {signal.SIGINT})
    try:
        yield
    finally:
        signal.pthread_sigmask(signal.SIG_SETMASK, before)


def code_of(name: str) -> str:
    """The hash of the code that an experiment's numbers come from. What only draws and words them
    is not part of it: another wording needs no new measurement."""
    folder = Path(__file__).parent
    experiment = folder / f"experiments/{name}.py"
    source = experiment.read_text(encoding="utf-8")
    modules = sorted(folder.glob("[!_]*.py"))
    files = [path for path in modules if f"explain.{path.stem} import" in source]
    files += [*files_of(TRAINING), *files_of(MEASURING)]
    for package in (variants.SHIPPED, *variants.folders()):
        files += sorted(package.rglob("*.py"))
    code = measuring(definitions(experiment))
    for file in files:
        code += definitions(file)
    return digest(sorted(code))


def measuring(code: list[str]) -> list[str]:
    """The definitions of an experiment that `cases` and `measure` use, directly or through
    others."""
    by_name = {}
    for text in code:
        found = DEFINED.match(text)
        assert found, f"neither a definition nor an import: {text[:100]}"
        by_name[found[1] or found[2]] = text
    needed = ["cases", "measure"]
    for name in needed:  # grows while it is read
        used = dict.fromkeys(USED.findall(by_name[name]))
        needed += [other for other in used if other in by_name and other not in needed]
    return [by_name[name] for name in needed]


# In a worker


def _enter() -> None:
    """Set up a worker process."""
    threading.Thread(target=_end_with_parent, daemon=True).start()
    # libraries warn about their own code
    warnings.filterwarnings("ignore", category=FutureWarning)
    import torch

    torch.set_num_threads(1)


def _end_with_parent() -> None:
    """End this process with its parent; a parent that is killed cannot end its workers."""
    parent = multiprocessing.parent_process()
    assert parent is not None
    parent.join()
    os._exit(1)


def _measure(case: Case) -> pd.DataFrame:
    """Measure a case, and keep its rows in its file."""
    from benchmark.machine.environment import environment

    started = time.process_time()
    frame = _experiment(case.experiment).measure(**case.arguments)
    frame.attrs["seconds"] = time.process_time() - started
    frame.attrs["environment"] = environment("cpu").plain()
    with whole_file(case.file) as opened:
        frame.to_parquet(opened, index=False)
    return frame


# Once all cases of an experiment are measured


def _finish(
    name: str, module: ModuleType, frames: list[Any], folder: Path, full: bool
) -> ExperimentEntry:
    """Draw an experiment from the rows of its cases, and write its entry."""
    seconds = sum(frame.attrs["seconds"] for frame in frames)
    environment = frames[0].attrs["environment"]
    frame = pd.concat(frames, ignore_index=True)
    title, *text = paragraphs(module)
    _draw(name, title, module, frame, folder)
    entry = ExperimentEntry(
        title=title,
        text=text,
        answer=module.ANSWER,
        caption=module.CAPTION,
        finding=module.finding(frame),
        table=module.table(frame) if hasattr(module, "table") else [],
        full=full,
        cases=len(frames),
        seconds=round(seconds, 1),
        environment=environment,
    )
    with alone(ResultSet(folder)):
        add(folder, name, entry)
    return entry


def paragraphs(module: ModuleType) -> list[str]:
    """The docstring of an experiment: its title, then its paragraphs, each on one line."""
    docstring = inspect.getdoc(module)
    assert docstring, f"{module.__name__} has no docstring, which is its part of the page"
    return [" ".join(part.split()) for part in docstring.split("\n\n")]


def _draw(name: str, title: str, module: ModuleType, frame: pd.DataFrame, folder: Path) -> None:
    from benchmark.drawing.save import Figure, save
    from benchmark.drawing.style import drawing

    (folder / "figures").mkdir(parents=True, exist_ok=True)
    objectives = frame["objective"].unique() if "objective" in frame else ()
    with drawing(objectives):
        save(module.draw(frame), frame, folder, Figure(name, title, module.CAPTION))
