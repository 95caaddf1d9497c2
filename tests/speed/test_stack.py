"""`make speed`: seeds trained as one stack against the same seeds one after the other, WGAN-GP, in
turn.

The rows go to two files. In the CSV of the races the ratio of seeds per second is over eager seeds
one after the other. stacks.csv, which lies in the same folder, has the times of every way in the
columns of benchmark/run/stacks.csv, from which a run chooses how it trains. The default takes the
two pairs of networks of the quick matrix; GANBENCH_FULL=1 adds others and larger batches.
GANBENCH_THREADS=1 measures one thread."""

from collections.abc import Callable
from dataclasses import replace
from pathlib import Path
from statistics import median
from typing import Any

import pandas as pd
import pytest
import torch

from benchmark.matrix.cell import Choice
from benchmark.run.stacking import facts_of
from benchmark.train.data import Resident, floats_of
from benchmark.train.execution.iteration import Iteration
from benchmark.train.step import set_precision
from tests.speed.ours import timed
from tests.speed.recorded import append, path, row, show
from tests.speed.turns import Contender, race
from variants import _variables, load
from variants.architectures import build

FULL = _variables.flag("GANBENCH_FULL")
DEVICES = ["cpu", pytest.param("cuda", marks=pytest.mark.gpu)]
CASES = [("mlp", 128, 64), ("dcgan", 64, 64)]  # architecture, width, batch size
if FULL:
    CASES += [("mlp", 64, 64), ("mlp", 64, 256), ("mlp", 128, 256), ("mlp", 512, 64)]
    CASES += [("dcgan", 8, 64), ("text_resnet", 32, 64)]
STACKS = {"cpu": (5, 8, 12, 16), "cuda": (2, 8, 16, 32)}
MODES = {"cpu": ("eager", "traced", "compiled"), "cuda": ("eager", "graphed", "compiled_graphed")}
DATA = {
    "mlp": Choice("gaussians8"),
    "dcgan": Choice("digits"),
    "text_resnet": Choice("python_topics"),
}


def seeds(
    architecture: str, width: int, batch_size: int, stack: int, execution: str, device: str
) -> Callable[[], Any]:
    """One iteration of each of `stack` seeds per call."""
    set_precision("float32")
    rules = load("objectives", "wgan_gp").Objective()
    choice = Choice(architecture, {"width": width})
    dataset = load("datasets", DATA[architecture].name).Dataset()
    torch.manual_seed(0)
    norm = "layer" if architecture == "dcgan" else "none"
    pairs = [
        tuple(net.to(device) for net in build(choice, dataset.shape, norm)) for _ in range(stack)
    ]
    iteration = Iteration(rules, pairs, rules.recipe, "float32", execution, device)
    data = Resident(dataset.train().to(device), batch_size, floats_of(dataset))
    return timed(iteration, data)


@pytest.mark.parametrize("device", DEVICES)
@pytest.mark.parametrize(("architecture", "width", "batch_size"), CASES)
def test_seeds_as_a_stack(
    architecture: str, width: int, batch_size: int, device: str, benchmark: Any
) -> None:
    if device == "cuda" and not torch.cuda.is_available():
        pytest.skip("no CUDA device")
    case = {"architecture": architecture, "width": width, "batch_size": batch_size}
    ways = [(mode, stack) for mode in MODES[device] for stack in (1, *STACKS[device])]
    contenders = [
        Contender(f"{mode} {stack}", seeds, case | {"execution": mode, "stack": stack})
        for mode, stack in ways
    ]
    results = benchmark.pedantic(race, (contenders, device), {"rounds": 9, "seconds": 60}, rounds=1)
    assert not results[0].failed, results[0].failed
    networks = facts_of(Choice(architecture, {"width": width}), DATA[architecture], "none")
    rows = []
    table = []
    for (mode, stack), result in zip(ways, results, strict=True):
        per_seed = replace(result, ms=[ms / stack for ms in result.ms], step_mb=float("nan"))
        way = {"batch_size": batch_size, "stack": stack}
        if result.ms and not result.failed:
            ms = round(median(per_seed.ms), 3)
            table.append({"device": device, "mode": mode, **networks._asdict(), **way, "ms": ms})
        if (mode, stack) == ways[0]:
            # What the others are compared with
            continue
        name = f"{architecture} {width} units, batch {batch_size}: {stack} {mode}"
        facts = {"architecture": architecture, "objective": "wgan_gp", "precision": "float32"}
        facts |= {"execution": mode, **way}
        rows.append(row("stacked seeds", device, name, per_seed, results[0], **facts))
    show(rows)
    append(rows, device)
    append_stacks(pd.DataFrame(table), path().with_name("stacks.csv"))


def append_stacks(table: pd.DataFrame, file: Path) -> None:
    """Add rows to a CSV, which replace rows of the same case; the last column is the time."""
    if file.exists():
        table = pd.concat([pd.read_csv(file), table])
    table.drop_duplicates(list(table.columns[:-1]), keep="last").to_csv(file, index=False)
