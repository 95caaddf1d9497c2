"""The Ray engine on a cluster of several raylets: results equal to the local engine's, whatever is
lost on the way."""

import errno
import hashlib
import json
import os
import shutil
import signal
import subprocess
import sys
import tempfile
import time
from collections.abc import Callable, Iterator
from concurrent.futures import ThreadPoolExecutor
from contextlib import suppress
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from PIL import Image

from benchmark.api.results import Results
from benchmark.errors import UserError
from benchmark.matrix.cell import Cell, Choice
from benchmark.run.cell import cell_run
from benchmark.run.cell.cell_run import run_cell
from benchmark.run.driver import Driver
from benchmark.run.events import CellNews, Ended, Event, Fatal, Limits, Lost, Running, Task
from benchmark.store.code import ROOT
from benchmark.store.files import read_json, write_bytes
from benchmark.store.layout import CellFolder, ResultSet
from benchmark.store.locks import is_locked, take
from benchmark.store.schema import RunStatus, Status
from tests.conftest import matrix_text
from tests.helpers.cells import small_cell
from tests.helpers.pool import word

pytest.importorskip("ray", reason="the extra `ray` is not installed")
from ray import exceptions
from ray.cluster_utils import Cluster

from benchmark.run.engines import ray as engine
from benchmark.run.engines import ray_node
from benchmark.run.engines.ray import Pool, SentCell
from benchmark.run.engines.ray_cluster import Resources, measured_with, slots, what_failed

STORE = 100 * 2**20  # bytes of shared memory of a node
GIT = {"commit": "abc", "dirty": None}
TEMPORARY = Path(tempfile.gettempdir())
CLOCKS = ("_seconds", "_mb", "_ms")
# Of a status: when and how often
# `files`: the hash of environment.json among them
OWN = ("attempt", "started", "updated", "resumes", "files")

# A cluster


@dataclass
class Node:
    raylet: Any
    cache: Path

    @property
    def prefix(self) -> str:
        """What the names of its workers' scratch folders begin with."""
        return f"ganbench-cell-{self.raylet.node_id[:16]}-"

    def scratches(self) -> dict[int, Path]:
        """Scratch folders by process."""
        found = TEMPORARY.glob(f"{self.prefix}*")
        return {int(path.name.removeprefix(self.prefix)): path for path in found}

    def process(self, key: str) -> int | None:
        """The process that runs a cell."""
        for process, path in self.scratches().items():
            if ResultSet(path).cell(key).path.exists():
                return process
        return None


class Raylets:
    """A head without CPUs, and nodes of one CPU each that share neither a measuring cache nor
    data."""

    def __init__(self, folder: Path) -> None:
        self.folder = folder
        head = {
            "num_cpus": 0,
            "object_store_memory": STORE,
            "_system_config": {"health_check_period_ms": 1000},
        }
        self.cluster = Cluster(initialize_head=True, head_node_args=head)
        self.nodes: list[Node] = []
        self.all_nodes: list[Node] = []
        self.address: str = self.cluster.address

    def add(self, **options: Any) -> Node:
        cache = self.folder / f"cache{len(os.listdir(self.folder))}"
        (cache / "measure").mkdir(parents=True)
        variables = {"GANBENCH_CACHE": str(cache), "GANBENCH_DATA": str(cache)}
        options = {"num_cpus": 1, "object_store_memory": STORE, "env_vars": variables} | options
        node = Node(self.cluster.add_node(**options), cache)
        self.nodes.append(node)
        self.all_nodes.append(node)
        return node

    def lose(self, node: Node, in_order: bool = False) -> None:
        """From one moment on none of its processes does anything; or, as where a machine is shut
        down in order, its workers end first."""

        def send(signum: int) -> None:
            for process in processes:
                with suppress(ProcessLookupError):
                    os.kill(process, signum)

        processes = node.scratches()
        send(signal.SIGKILL if in_order else signal.SIGSTOP)
        if in_order:
            time.sleep(2)
        self.remove(node)
        send(signal.SIGKILL)

    def remove(self, node: Node) -> None:
        self.nodes.remove(node)
        self.cluster.remove_node(node.raylet, allow_graceful=False)


@pytest.fixture(scope="module")
def cluster(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Raylets]:
    found = Raylets(tmp_path_factory.mktemp("caches"))
    yield found
    found.cluster.shutdown()
    # Of these nodes alone: other tests may have a cluster at the same time
    for node in found.all_nodes:
        for path in node.scratches().values():
            shutil.rmtree(path)


@pytest.fixture
def raylets(cluster: Raylets) -> Raylets:
    """The cluster with two nodes, whatever was lost before."""
    while len(cluster.nodes) < 2:
        cluster.add()
    return cluster


# Results


@pytest.fixture(scope="module")
def tiny(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A matrix of points, and of images whose classifier has to be trained."""
    folder = tmp_path_factory.mktemp("tiny")
    draw_images(folder / "images", 0)
    pictures = (
        f'name = "image_folder", size = 16, n_holdout = 60, root = "{folder}/images", '
        "training = { steps = 150 }"
    )
    text = matrix_text(
        datasets=f'datasets = ["gaussians8", {{ {pictures} }}]',
        seeds="seeds = 2",
        training="[training]\nsteps = 400\nbatch_size = 8",
        evaluation="[evaluation]\nschedule = [0, 0.5, 1]\nn = { points = 200, images = 50 }\n"
        'log_every = 20\nextractor = "classifier"\nkid_subsets = 5\nkid_subset_size = 20',
    )
    (folder / "tiny.toml").write_text(text)
    return folder / "tiny.toml"


def draw_images(folder: Path, seed: int) -> None:
    """Images of noise in two classes."""
    draw = np.random.default_rng(seed)
    for label in ("cat", "dog"):
        (folder / label).mkdir(parents=True)
        for number in range(120):
            pixels = draw.integers(0, 256, (16, 16, 3), dtype=np.uint8)
            Image.fromarray(pixels).save(folder / label / f"{number}.png")


def start(tiny: Path, results: Path, *arguments: object) -> subprocess.Popen[str]:
    """A process that runs the matrix."""
    options = ("--matrix", tiny, "--results", results, "--device", "cpu", *arguments)
    # A killed process leaves its copy of the code where the results are
    temporary = results / "temporary"
    temporary.mkdir(exist_ok=True)
    return subprocess.Popen(
        [sys.executable, "-m", "benchmark", "run", *map(str, options)],
        cwd=ROOT,
        env=os.environ | {"GANBENCH_GIT": json.dumps(GIT), "TMPDIR": str(temporary)},
        stdout=subprocess.PIPE,
        stderr=subprocess.STDOUT,
        text=True,
    )


def on(raylets: "Raylets") -> tuple[object, ...]:
    """The arguments for a run on the cluster."""
    return ("--engine", "ray", "--address", raylets.address, "--checkpoint-every", 0.2)


def finish(process: subprocess.Popen[str]) -> None:
    said = process.communicate()[0]
    assert process.returncode == 0, said


@pytest.fixture(scope="module")
def here(tiny: Path, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The results of the local engine."""
    results = tmp_path_factory.mktemp("here")
    finish(start(tiny, results))
    return results / "tiny"


def numbers(folder: Path) -> dict[str, Any]:
    """All that the cells of a results folder say but for clocks, memory and environment. A
    checkpoint may be left of a process that was killed between the commit and its removal, or half
    a file."""

    def timeless(row: dict[str, Any]) -> dict[str, Any]:
        return {
            name: value for name, value in row.items() if not (name.endswith(CLOCKS) or name in OWN)
        }

    found: dict[str, Any] = {}
    for path in filter(Path.is_file, sorted(folder.glob("cells/*/**/*"))):
        name = path.relative_to(folder).as_posix()
        if path.suffix == ".jsonl":
            rows = [timeless(json.loads(line)) for line in path.read_text().splitlines()]
            found[name] = str(rows)
        elif path.name in ("spec.json", "status.json"):
            found[name] = timeless(read_json(path))
        elif path.name != "environment.json" and not path.name.startswith(("checkpoint", ".")):
            found[name] = path.read_bytes()
    return found


@pytest.mark.slow
def test_a_lost_node_changes_no_number(
    raylets: Raylets, tiny: Path, here: Path, tmp_path: Path
) -> None:
    """From the command line. Classifiers that nodes had give way to the one of this machine."""
    [classifier] = (Path(os.environ["GANBENCH_CACHE"]) / "measure").glob("classifier-*.npz")
    nodes, key = list(raylets.nodes), ""
    for node in nodes:
        (node.cache / "measure" / classifier.name).write_bytes(b"another one")
    process = start(tiny, tmp_path, *on(raylets))
    while not key and process.poll() is None:
        for path in tmp_path.glob("tiny/cells/*/checkpoint.pt"):
            for node in nodes:
                if not key and node.process(path.parent.name):
                    key = path.parent.name
                    raylets.lose(node)
        time.sleep(0.01)
    finish(process)
    assert numbers(tmp_path / "tiny") == numbers(here)
    assert read_json(tmp_path / f"tiny/cells/{key}/status.json")["resumes"] == 1
    assert read_json(tmp_path / f"tiny/cells/{key}/environment.json")["git"] == GIT
    assert classifier.read_bytes() in [
        (node.cache / "measure" / classifier.name).read_bytes() for node in nodes
    ]


@pytest.mark.slow
def test_variants_of_the_user_are_sent_to_the_nodes(raylets: Raylets, tmp_path: Path) -> None:
    """A node has no folder of variants; the cell trains there all the same."""
    mine = tmp_path / "mine"
    (mine / "objectives").mkdir(parents=True)
    shipped = (ROOT / "variants/objectives/lsgan.py").read_text()
    (mine / "objectives" / "my_loss.py").write_text(shipped)
    path = tmp_path / "own.toml"
    path.write_text(matrix_text(objectives='objectives = ["my_loss"]'))
    finish(start(path, tmp_path, "--variants", mine, *on(raylets)))
    results = ResultSet(tmp_path / "own")
    (entry,) = results.matrix.cells
    assert entry.objective == "my_loss"
    assert results.cell(entry.key).status.status == RunStatus.DONE


def kill_in_mid_cell(process: subprocess.Popen[str], folder: Path) -> list[Path]:
    """Kill a run once a cell is done and another has a checkpoint; the folders of done cells."""
    done: list[Path] = []
    while not (done and list(folder.glob("cells/*/checkpoint.pt"))):
        assert process.poll() is None
        time.sleep(0.01)
        statuses = list(folder.glob("cells/*/status.json"))
        done = [path.parent for path in statuses if read_json(path)["status"] == "done"]
    process.kill()
    process.communicate()
    return done


@pytest.mark.slow
def test_a_driver_that_was_killed_goes_on_where_it_was(
    raylets: Raylets, tiny: Path, here: Path, tmp_path: Path
) -> None:
    arguments = (tiny, tmp_path, *on(raylets))
    done = kill_in_mid_cell(start(*arguments), tmp_path / "tiny")
    times = {file: file.stat().st_mtime_ns for path in done for file in path.rglob("*")}
    finish(start(*arguments))
    assert numbers(tmp_path / "tiny") == numbers(here)
    assert times == {file: file.stat().st_mtime_ns for path in done for file in path.rglob("*")}
    assert 1 in [read_json(path)["resumes"] for path in tmp_path.glob("tiny/cells/*/status.json")]


@pytest.mark.slow
def test_a_search_whose_driver_was_killed_ends_as_one_on_this_machine(
    raylets: Raylets, tmp_path: Path
) -> None:
    """The pool, and the final phase of the default and of the pick, which the pool decides."""
    text = matrix_text(
        objectives='objectives = [{ name = "wgan", search = 4 }]',
        training="[training]\nsteps = 400\nbatch_size = 8",
        rules="[search]\nfinal_seeds = 2",
    )
    here, there = tmp_path / "here", tmp_path / "there"
    for folder in (here, there):
        folder.mkdir()
        (folder / "wide.toml").write_text(text)
    finish(start(here / "wide.toml", here))
    arguments = (there / "wide.toml", there, *on(raylets))
    kill_in_mid_cell(start(*arguments), there / "wide")
    finish(start(*arguments))
    assert numbers(there / "wide") == numbers(here / "wide")
    phases = Results(there / "wide").search["phase"].value_counts()
    assert phases.to_dict() == {"pool": 4, "final": 4}


# A pool and its cells

LONG, SHORT = small_cell(steps=2000), small_cell("lsgan", steps=20)


def ignore(event: Event) -> None:
    pass


def play(
    raylets: Raylets,
    folder: Path,
    cells: list[Cell],
    act: Callable[[Event], None] = ignore,
    jobs: int = 0,
    pools: list[Pool] | None = None,
    **options: Any,
) -> dict[str, Event]:
    """Run cells on the cluster. Returns the last event of each; `act` sees all events; `pools` gets
    the pool."""
    last: dict[str, Event] = {}

    def on_news(news: CellNews) -> None:
        act(news.event)
        last[news.event.key] = news.event

    pool = Pool(folder, raylets.address, Resources("cpu", jobs, 1, 0), 0.2)
    if pools is not None:
        pools.append(pool)
    with suppress(KeyboardInterrupt):
        Driver([Task(cell) for cell in cells], pool, folder, on_news, **options).run()
    for cell in cells:
        assert not is_locked(ResultSet(folder).cell(cell.key))
    return last


def status_of(event: Event) -> Status:
    """The status of a cell that has ended."""
    assert isinstance(event, Ended)
    return event.status


def states(folder: Path) -> dict[str, str]:
    files = folder.glob("cells/*/status.json")
    return {path.parent.name: read_json(path)["status"] for path in files}


@pytest.mark.slow
def test_ctrl_c_saves_checkpoints_and_calls_off_what_waits(
    raylets: Raylets, tmp_path: Path
) -> None:
    cells = [replace(LONG, seed=seed) for seed in range(3)]
    list(run_cell(cells[0], tmp_path / "whole", "cpu"))
    begun: set[str] = set()

    def interrupt(event: Event) -> None:
        if isinstance(event, Running) and len(begun) < 2:
            begun.add(event.key)
            if len(begun) == 2:
                os.kill(os.getpid(), signal.SIGINT)

    ended = play(raylets, tmp_path / "cut", cells, interrupt, jobs=3)
    assert [word(event) for event in ended.values()] == ["interrupted"] * 3
    assert states(tmp_path / "cut") == dict.fromkeys(begun, "interrupted")
    ended = play(raylets, tmp_path / "cut", cells)
    assert [word(ended[cell.key]) for cell in cells] == ["done"] * 3
    resumes = [status_of(ended[cell.key]).resumes for cell in cells]
    assert resumes == [int(cell.key in begun) for cell in cells]
    whole, cut = numbers(tmp_path / "whole"), numbers(tmp_path / "cut")
    assert whole == {name: cut[name] for name in whole}


@pytest.mark.slow
def test_a_worker_that_dies_or_hangs_ends_its_cell_and_not_the_run(
    raylets: Raylets, tmp_path: Path
) -> None:
    lock = take(ResultSet(tmp_path).cell("another"))
    killed: list[int] = []

    def kill(event: Event) -> None:
        if event.key != LONG.key or not isinstance(event, Running):
            return
        for node in raylets.nodes:
            process = node.process(LONG.key)
            if process and process not in killed:
                os.kill(process, signal.SIGKILL)
                os.utime(node.scratches()[process], (0, 0))
                killed.append(process)

    hanging = small_cell("minimax", steps=10**7)
    cells = [LONG, hanging, SHORT, replace(SHORT, seed=1)]
    ended = play(raylets, tmp_path, cells, kill, limits=Limits(timeout=8))
    assert lock
    lock.release()
    assert {key: word(event) for key, event in ended.items()} == {
        LONG.key: "error",
        hanging.key: "timeout",
        SHORT.key: "done",
        replace(SHORT, seed=1).key: "done",
    }
    assert len(killed) == 4
    assert "the worker died" in read_json(tmp_path / "cells" / LONG.key / "status.json")["reason"]
    assert killed[0] not in [process for node in raylets.nodes for process in node.scratches()]


@pytest.mark.slow
def test_a_cell_goes_on_whose_workers_died_before_their_node(
    raylets: Raylets, tmp_path: Path
) -> None:
    nodes = list(raylets.nodes)

    def lose(event: Event) -> None:
        if not isinstance(event, Running) or not event.checkpoint:
            return
        for node in nodes:
            if len(raylets.nodes) == 2 and node.process(LONG.key):
                raylets.lose(node, in_order=True)

    [event] = play(raylets, tmp_path, [LONG], lose).values()
    assert (word(event), status_of(event).resumes, len(raylets.nodes)) == ("done", 1, 1)


@pytest.mark.slow
def test_cells_go_on_without_the_flag_that_ends_them(raylets: Raylets, tmp_path: Path) -> None:
    """Its process dies: Ray starts another, which can be set. Or its place is gone, too."""
    pools: list[Pool] = []
    seen: list[Event] = []

    def kill(event: Event) -> None:
        seen.append(event)
        if len(seen) == 1:
            engine.ray.kill(pools[-1].flag, no_restart=len(pools) > 1)
        elif len(seen) == 4 and len(pools) == 1:
            os.kill(os.getpid(), signal.SIGINT)

    [event] = play(raylets, tmp_path, [LONG], kill, pools=pools).values()
    assert (word(event), status_of(event).reason) == ("interrupted", None)
    seen.clear()
    [event] = play(raylets, tmp_path, [LONG], kill, pools=pools).values()
    assert (word(event), status_of(event).resumes) == ("done", 1)


def pictures(collection: str, seed: int) -> Cell:
    dataset = Choice("image_folder", {"size": 16, "collection": collection, "n_holdout": 60})
    evaluation = {"n": {"images": 50, "points": 200}, "kid_subset_size": 20}
    return replace(
        small_cell(place="images", evaluation=evaluation, steps=100), dataset=dataset, seed=seed
    )


@pytest.mark.slow
@pytest.mark.parametrize("wrong", ["absent", "another"])
def test_a_node_without_the_data_gets_no_more_of_its_cells(
    raylets: Raylets, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, wrong: str
) -> None:
    """Beside one that has them; the node still runs others."""
    monkeypatch.setenv("GANBENCH_DATA", str(tmp_path / "data"))
    collection, (good, bad) = f"one_{wrong}", raylets.nodes
    draw_images(tmp_path / "data" / collection, 0)
    draw_images(good.cache / collection, 0)
    if wrong == "another":
        draw_images(bad.cache / collection, 1)
    lost: list[Lost] = []

    def note(event: Event) -> None:
        if isinstance(event, Lost):
            lost.append(event)

    cells = [*(pictures(collection, seed) for seed in range(4)), SHORT]
    ended = play(raylets, tmp_path / "results", cells, note)
    assert [word(ended[cell.key]) for cell in cells] == ["done"] * 5
    # Another cell may have been sent before the news came
    assert 1 <= len(lost) <= 2
    assert f"dataset image_folder[collection={collection}" in lost[0].reason


@pytest.mark.slow
@pytest.mark.parametrize("wrong", ["absent", "another"])
def test_data_that_no_node_has_end_the_run(
    raylets: Raylets, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, wrong: str
) -> None:
    monkeypatch.setenv("GANBENCH_DATA", str(tmp_path / "data"))
    draw_images(tmp_path / "data" / wrong, 0)
    for node in raylets.nodes if wrong == "another" else ():
        draw_images(node.cache / wrong, 1)
    with pytest.raises(UserError, match="no node of the cluster can run") as error:
        play(raylets, tmp_path / "results", [pictures(wrong, 0), pictures(wrong, 1)])
    assert f"dataset image_folder[collection={wrong}" in str(error.value)
    assert not states(tmp_path / "results")


def cut_short(folder: Path, cell: Cell) -> None:
    """A cell with two checkpoints, ended in this process."""
    events = run_cell(cell, folder, "cpu", checkpoint_every=0)
    while not ResultSet(folder).cell(cell.key).former_checkpoint.exists():
        next(events)
    events.close()


@pytest.mark.slow
def test_a_checkpoint_of_another_protocol_is_not_continued(
    raylets: Raylets, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    with monkeypatch.context() as patched:
        patched.setattr(cell_run, "protocol_id", lambda instrument: "abc")
        cut_short(tmp_path, SHORT)
    [event] = play(raylets, tmp_path, [SHORT]).values()
    assert (word(event), status_of(event).resumes) == ("done", 0)
    assert "abc" in str(status_of(event).warnings)


@pytest.mark.slow
def test_a_good_checkpoint_never_gives_way_to_a_damaged_one(
    raylets: Raylets, tmp_path: Path
) -> None:
    cut_short(tmp_path, LONG)
    files = ResultSet(tmp_path).cell(LONG.key)
    new, before = files.checkpoint, files.former_checkpoint
    new.write_bytes(new.read_bytes()[:-1])
    (files.path / ".checkpoint.pt.1-ab").write_bytes(b"half a file")
    found: list[list[bool]] = []

    def is_whole(content: bytes) -> bool:
        return hashlib.sha256(content[65:]).hexdigest().encode() == content[:64]

    def look(event: Event) -> None:
        if isinstance(event, Running):
            contents = [file.read_bytes() for file in (new, before) if file.exists()]
            found.append(list(map(is_whole, contents)))

    [event] = play(raylets, tmp_path, [LONG], look).values()
    assert (word(event), status_of(event).resumes) == ("done", 1)
    assert found[0] == [True]
    assert [True, True] in found
    assert not [good for each in found for good in each if not good]
    assert not list(files.path.glob(".checkpoint*"))


@pytest.mark.slow
def test_a_full_disk_ends_the_run_and_the_next_goes_on(
    raylets: Raylets, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    written, write = [], write_bytes

    def full(path: Path, content: bytes) -> None:
        if path.name == "checkpoint.pt":
            written.append(path)
        if len(written) > 2:
            raise OSError(errno.ENOSPC, os.strerror(errno.ENOSPC), str(path))
        write(path, content)

    monkeypatch.setattr(engine, "write_bytes", full)
    with pytest.raises(UserError, match="No space left"):
        play(raylets, tmp_path, [LONG])
    monkeypatch.undo()
    [event] = play(raylets, tmp_path, [LONG]).values()
    assert (word(event), status_of(event).resumes) == ("done", 1)


@pytest.mark.slow
def test_capacity_follows_the_nodes(
    raylets: Raylets,
    tmp_path: Path,
    capsys: pytest.CaptureFixture[str],
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setattr("benchmark.run.engines.ray.COUNT_SECONDS", 0.0)
    pool = Pool(tmp_path, raylets.address, Resources("cuda", 0, 1, 0.5), 60)
    # So that an autoscaler sees that a cell waits
    assert (pool.capacity(), pool.capacity()) == (1, 1)
    message = "no node of the cluster has the 1 CPUs and 0.5 GPUs of a cell"
    assert capsys.readouterr().err.count(message) == 1
    node = raylets.add(num_cpus=8, num_gpus=2)
    assert pool.capacity() == 4
    pool.close()
    pool = Pool(tmp_path, raylets.address, Resources("auto", 0, 2, 0), 60)
    assert (pool.gpus, pool.capacity()) == (1, 2)
    raylets.remove(node)
    pool.close()
    pool = Pool(tmp_path, raylets.address, Resources("auto", 7, 0.25, 0), 60)
    assert pool.capacity() == 7
    pool.close()


# Without a cluster


@pytest.mark.parametrize(
    ("cpus", "gpus", "room"),
    [(1, 0, 10), (2, 0, 5), (0.5, 0, 20), (1, 1, 2), (1, 0.1, 10), (0.1, 0.3, 6), (16, 1, 0)],
)
def test_no_cell_has_parts_of_two_gpus(cpus: float, gpus: float, room: int) -> None:
    assert slots({"CPU": 10.0, "GPU": 2.0, "memory": 1e9}, cpus, gpus) == room
    assert slots({"memory": 1e9}, cpus, gpus) == 0


@pytest.mark.parametrize(
    ("given", "said"),
    [
        ({"device": "cuda:1"}, "unknown device of a Ray cluster 'cuda:1' (did you mean 'cuda'?)"),
        ({"jobs": -1}, "--jobs must not be negative, not -1"),
        (
            {"cpus": 0},
            "--cpus-per-cell must be a share of one CPU or a number of whole ones, not 0",
        ),
        (
            {"cpus": 1.5},
            "--cpus-per-cell must be a share of one CPU or a number of whole ones, not 1.5",
        ),
        ({"gpus": 2}, "--gpus-per-cell must be a share of one GPU (and --device not cpu), not 2"),
        (
            {"gpus": 0.5, "device": "cpu"},
            "--gpus-per-cell must be a share of one GPU (and --device not cpu), not 0.5",
        ),
        (
            {"address": "ray://head:10001"},
            "ray job submit --address http://HEAD:8265 -- ganbench run",
        ),
        ({"address": "localhost:1"}, "--address localhost:1: no Ray cluster answers there"),
    ],
)
def test_what_a_cluster_cannot_do_is_said_in_one_line(
    given: dict[str, Any], said: str, tmp_path: Path
) -> None:
    address = given.pop("address", None)
    with pytest.raises(UserError) as error:
        Pool(tmp_path, address, Resources(**given), checkpoint_every=60)
    assert said in str(error.value)
    assert "\n" not in str(error.value)


@pytest.mark.parametrize(
    ("error", "status", "retry"),
    [
        (exceptions.NodeDiedError("gone"), "lost", True),
        (exceptions.WorkerCrashedError(), "lost", True),
        (exceptions.OutOfMemoryError("95 % of the memory"), "lost", False),
        (
            exceptions.RayTaskError("run", "", UserError("/tmp is full")).as_instanceof_cause(),
            "lost",
            True,
        ),
        (
            exceptions.RayTaskError("run", "", AssertionError("x")).as_instanceof_cause(),
            "lost",
            False,
        ),
        (
            exceptions.RayTaskError("run", "", ImportError("torch")).as_instanceof_cause(),
            "fatal",
            None,
        ),
        (exceptions.RuntimeEnvSetupError("no space"), "fatal", None),
        (exceptions.TaskCancelledError(), "interrupted", None),
    ],
    ids=lambda value: type(value).__name__,
)
def test_a_cell_is_run_again_where_a_node_was_at_fault(
    error: Any, status: str, retry: bool | None
) -> None:
    event = what_failed("key", error)
    assert (event.key, word(event), getattr(event, "retry", None)) == ("key", status, retry)
    if isinstance(event, Ended):
        assert event.status.reason is None
    else:
        assert isinstance(event, Lost | Fatal)
        assert event.reason
        assert "\n" not in event.reason


def test_points_need_no_measuring_cache() -> None:
    assert measured_with(SHORT, "cpu") == []


def bare(folder: Path) -> Pool:
    """A pool without a cluster."""
    pool: Pool = object.__new__(Pool)
    pool.results, pool.in_flight, pool.unfit = ResultSet(folder), {}, {}
    return pool


def sent(files: CellFolder, stream: Any) -> SentCell:
    """A cell that was sent out."""
    lock = take(files)
    assert lock
    return SentCell(lock, stream, "")


@pytest.mark.parametrize(
    "error", [PermissionError(errno.EACCES, "Permission denied", "/data"), UserError("no data")]
)
def test_a_cell_that_cannot_be_sent_is_free_again(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, error: Exception
) -> None:
    def refuse(self: Pool, cell: Cell) -> None:
        raise error

    monkeypatch.setattr(Pool, "_measuring", refuse)
    with pytest.raises(UserError, match=r"/data cannot be read: Permission denied|no data"):
        bare(tmp_path).start(Task(SHORT))
    assert not is_locked(ResultSet(tmp_path).cell(SHORT.key))


def test_all_that_ends_a_run_is_done_whatever_fails(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    def fail(stream: Any, force: bool) -> None:
        raise exceptions.RaySystemError("gone") if stream == "first" else TypeError(stream)

    monkeypatch.setattr(engine.ray, "cancel", fail)
    pool = bare(tmp_path)
    cells = {name: ResultSet(tmp_path).cell(name) for name in ("first", "second", "third")}
    for name, files in cells.items():
        pool.in_flight[name] = sent(files, name)
    pool.writers, pool.code = ThreadPoolExecutor(1), tempfile.TemporaryDirectory()
    with pytest.raises(TypeError):
        pool.close()
    assert not pool.in_flight
    assert not any(map(is_locked, cells.values()))
    assert not Path(pool.code.name).exists()
    with pytest.raises(RuntimeError, match="shutdown"):
        pool.writers.submit(print)


def test_a_task_that_has_failed_is_not_cancelled(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Ray 2.60 aborts the driver where that meets the task's end (task_manager.cc: not pending)."""
    cancelled: list[Any] = []
    monkeypatch.setattr(engine.ray, "cancel", lambda stream, force: cancelled.append(stream))

    def fail() -> Iterator[None]:
        raise exceptions.WorkerCrashedError
        yield

    pool = bare(tmp_path)
    files = ResultSet(tmp_path).cell("cell")
    pool.in_flight = {"cell": sent(files, fail())}
    assert word(pool._receive("cell")) == "lost"
    assert not cancelled
    assert not is_locked(files)


def test_half_files_are_not_sent(tmp_path: Path) -> None:
    for name in (".lock", ".checkpoint.pt.1-ab", "samples/.000010.npz.1-ab", "samples/000010.npz"):
        write_bytes(tmp_path / name, b"")
    assert list(ray_node.signatures(CellFolder(tmp_path))) == ["samples/000010.npz"]


def test_a_long_measurement_is_interrupted(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(ray_node, "EVENT_SECONDS", 0.01)
    monkeypatch.setattr(ray_node, "PATIENCE", 0.1)
    measuring: list[int] = []

    def eval_rows(*arguments: object) -> None:
        measuring.append(1)
        time.sleep(60)
        raise AssertionError("it was not interrupted")

    monkeypatch.setattr(cell_run, "eval_rows", eval_rows)
    assert word(listened(tmp_path, lambda: bool(measuring))) == "interrupted"
    assert list(tmp_path.glob("cells/*/checkpoint.pt"))


def test_a_cell_that_has_heard_is_left_to_save(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(ray_node, "EVENT_SECONDS", 0.01)
    monkeypatch.setattr(ray_node, "PATIENCE", 0.1)
    saved: list[bool] = []

    def save(*arguments: object) -> None:
        time.sleep(1)
        saved.append(True)

    monkeypatch.setattr("benchmark.run.cell.record.save_checkpoint", save)
    last = listened(tmp_path, lambda: any(tmp_path.glob("cells/*/steps.jsonl")))
    assert word(last) == "interrupted"
    assert saved == [True]


def listened(folder: Path, flag: Callable[[], bool]) -> Event:
    """The last event of a cell that asks this flag."""
    listener, last = ray_node.Listener(flag), None
    endless = replace(SHORT, training=SHORT.training.replaced(steps=10**6))
    events = run_cell(endless, folder, "cpu", listener.stop)
    while event := listener.next(events):
        last = event
    listener.ended.set()
    assert last
    return last
