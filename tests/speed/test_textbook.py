"""`make speed`: iterations (critic steps and generator step), sampling and batches against those of
the textbook loop, on the same networks, batch and device, in turn.

Ratios and their spread go to results/speed/speed.csv (GANBENCH_SPEED names another file) and into
the figure beside it; nothing is asserted about time. The default takes what docs/speed.md states
goals for, and a little more; GANBENCH_FULL=1 takes every objective, architecture and batch.
GANBENCH_THREADS=1 uses one thread."""

from collections.abc import Callable
from typing import Any

import pytest
import torch

from tests.speed import ours, scripts, textbook
from tests.speed.recorded import append, row, show
from tests.speed.textbook import SHAPES
from tests.speed.turns import Contender, race
from variants import _variables

FULL = _variables.flag("GANBENCH_FULL")
# device -> architecture, objective, batch size
CASES: dict[str, list[tuple[str, str, int]]] = {
    "cpu": [
        ("script_mlp", "wgan_gp", 64),
        ("script_dcgan", "nonsaturating", 64),
        ("mlp", "wgan_gp", 64),
        ("dcgan", "wgan_gp", 64),
        ("resnet", "wgan_gp", 16),
    ],
    "cuda": [
        ("script_mlp", "wgan_gp", 64),
        ("script_dcgan", "nonsaturating", 64),
        ("dcgan", "wgan_gp", 64),
        ("resnet101", "wgan_gp", 64),
    ],
}
EVERY = [
    (architecture, objective, batch_size)
    for architecture in SHAPES
    for objective in ("minimax", "nonsaturating", "lsgan", "wgan", "wgan_gp", "wgan_fdgp")
    for batch_size in (64, 256)
    if architecture != "script_dcgan" or "gp" not in objective  # its critic has batch norm
]
ITERATIONS = [
    pytest.param(*case, device, marks=pytest.mark.gpu if device == "cuda" else ())
    for device, cases in CASES.items()
    for case in (EVERY if FULL else cases)
]
DEVICES = ["cpu", pytest.param("cuda", marks=pytest.mark.gpu)]
DENSE = ("script_mlp", "mlp")
COMPILED = ("script_mlp", "script_dcgan", "dcgan")  # by default; each compilation takes its time
PLAIN = {"precision": "float32", "execution": "eager", "layout": "contiguous"}


@pytest.fixture(autouse=True)
def needs_its_device(request: Any) -> None:
    if request.node.callspec.params["device"] == "cuda" and not torch.cuda.is_available():
        pytest.skip("no CUDA device")


def ways(architecture: str, device: str) -> list[dict[str, str]]:
    """Precision, execution, layout and latents of our contenders."""
    executions = ["eager", "graphed"] if device == "cuda" else ["eager"]
    if FULL or architecture in COMPILED:
        executions += ["compiled_graphed"] if device == "cuda" else ["compiled"]
    layout = "contiguous" if architecture in DENSE else "channels_last"
    found = [PLAIN | {"execution": execution, "layout": layout} for execution in executions]
    found += [way | {"precision": "bf16"} for way in found]
    if architecture not in DENSE:
        found = [PLAIN, *found]
        eager = [way for way in found if way["execution"] == "eager"]
        found += [way | {"latents": "critic"} for way in eager]
    return found


def compare(
    part: str, device: str, case: str, contenders: list[Contender], benchmark: Any, **more: Any
) -> None:
    """Race the contenders, the first of them the textbook's, and record the others' ratios to
    it."""
    results = benchmark.pedantic(race, (contenders, device), rounds=1)
    assert not results[0].failed, results[0].failed
    rows = [
        row(part, device, f"{case}: {result.name}", result, results[0], **more | contender.options)
        for contender, result in zip(contenders[1:], results[1:], strict=True)
    ]
    show(rows)
    append(rows, device)


@pytest.mark.parametrize(("architecture", "objective", "batch_size", "device"), ITERATIONS)
def test_iteration(
    architecture: str, objective: str, batch_size: int, device: str, benchmark: Any
) -> None:
    case = {"architecture": architecture, "objective": objective, "batch_size": batch_size}
    # the finite difference is compared with the penalty that it replaces
    compared = case | {"objective": "wgan_gp" if objective == "wgan_fdgp" else objective}
    contenders = [Contender("textbook", textbook.iteration, compared, worker=False)]
    for way in ways(architecture, device):
        name = f"{way['precision']} {way['execution']} {way['layout']}"
        if "latents" in way:
            name += ", latents of the critic"
        contenders.append(Contender(name, ours.iteration, case | way))
    compare("iteration", device, f"{architecture} {objective} {batch_size}", contenders, benchmark)


@pytest.mark.parametrize("device", ["cpu"])
@pytest.mark.parametrize("architecture", scripts.OBJECTIVES)
def test_fair(architecture: str, device: str, benchmark: Any) -> None:
    """The textbook loop against the script that it stands for."""
    objective = scripts.OBJECTIVES[architecture]
    case = {"architecture": architecture, "objective": objective, "batch_size": 64}
    contenders = [
        Contender("script", scripts.iteration, case, worker=False),
        Contender("textbook", textbook.iteration, case, worker=False),
    ]
    compare("fairness", device, f"{architecture} {objective} 64", contenders, benchmark)


@pytest.mark.parametrize("device", DEVICES)
@pytest.mark.parametrize("side", ["sampling", "batches"])
def test_around_it(side: str, device: str, benchmark: Any) -> None:
    """Samples of the scripts' DCGAN as uint8 images in memory, and batches of 64 images 32×32 on
    the device."""
    sides: dict[str, tuple[Callable[..., Any], Callable[..., Any]]] = {
        "sampling": (textbook.sampling, ours.sampling),
        "batches": (textbook.batches, ours.batches),
    }
    contenders = [
        Contender("textbook", sides[side][0], worker=False),
        Contender("ours", sides[side][1]),
    ]
    compare(side, device, side, contenders, benchmark, architecture="script_dcgan")
