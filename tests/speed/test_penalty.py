"""What a critic step costs under no penalty, clipping, the exact gradient penalty and its finite
differences.

`python -m pytest tests/speed/test_penalty.py -m speed -s` writes results/reference/penalty-cost;
GANBENCH_PENALTY names another folder. All contenders of a race have the same network, batch,
optimiser (WGAN-GP's Adam) and normalisation; fakes are given, so that the generator takes no part.
To save time on a CPU, the residual networks have batches of 16, the others of 64, and the compiled
resnet101 has the FEW penalties unless GANBENCH_FULL=1. What fails, or takes longer than
GANBENCH_LIMIT seconds (300) to get ready, is a row with its reason. GANBENCH_DEVICE=cuda measures a
GPU, CUDA graphs included; the rows of other devices stay."""

from collections.abc import Callable
from typing import Any

import pandas as pd
import pytest
import torch
from torch import Tensor, nn

import variants
from benchmark.machine.environment import environment
from benchmark.matrix.cell import Choice
from benchmark.store.code import ROOT
from benchmark.store.files import write_json
from benchmark.train.execution.iteration import Iteration
from tests.speed import recorded
from tests.speed.ours import resident, timed
from tests.speed.turns import CLOCK, ROUNDS, THREADS, Contender, Result, race, ratios
from tests.studies import penalty_page
from tests.studies.penalty_page import EXACT
from variants import _variables
from variants.architectures import build

FOLDER = _variables.folder("GANBENCH_PENALTY") or ROOT / "results" / "reference" / "penalty-cost"
DEVICE = _variables.value("GANBENCH_DEVICE") or "cpu"
LIMIT = float(_variables.value("GANBENCH_LIMIT") or "300")
FULL = _variables.flag("GANBENCH_FULL")
CRITIC_STEPS = 2  # of an iteration: what a turn takes is divided by it
CPU_BATCH = {"mlp": 64, "dcgan": 64, "resnet": 16, "resnet101": 16}  # 64 on a GPU
MARKS = () if DEVICE == "cpu" else pytest.mark.gpu
EXECUTIONS = ["eager", "compiled"]
if DEVICE != "cpu":
    EXECUTIONS += ["graphed", "compiled_graphed"]
PENALTIES: dict[str, tuple[str, dict[str, Any]]] = {
    "none": ("wgan", {}),
    "clip": ("wgan", {}),
    EXACT: ("wgan_gp", {}),
    "exact, jvp": ("wgan_gp", {"method": "jvp"}),
    "difference, gradient": ("wgan_fdgp", {"pairs": "gradient"}),
    "difference, independent": ("wgan_fdgp", {"pairs": "independent"}),
    "difference, segment": ("wgan_fdgp", {"pairs": "segment"}),
    "difference, endpoint": ("wgan_fdgp", {"pairs": "endpoint"}),
}
RESIDENT = {2: "mlp", 32: "dcgan", 64: "resnet101"}  # whose data is in this size
FEW = ("none", EXACT, "difference, gradient")  # where compiling takes minutes


class Given(nn.Module):
    """A generator that has its samples already."""

    latent_dim = 1

    def __init__(self, samples: Tensor) -> None:
        super().__init__()
        self.scale = nn.Parameter(torch.ones(()))
        self.register_buffer("samples", samples)

    def forward(self, z: Tensor) -> Tensor:
        return self.samples * self.scale + 0 * z.sum()


def critic_steps(
    penalty: str,
    architecture: str,
    execution: str,
    batch_size: int,
    device: str,
    size: int = 32,
    by_term: bool = False,
) -> Callable[[], Any]:
    """CRITIC_STEPS critic steps per call, and a generator step of next to nothing. size: of an
    image's side."""
    name, params = PENALTIES[penalty]

    class Alone(variants.load("objectives", name).Objective):  # type: ignore[misc]
        def d_steps(self, g_step: int) -> int:
            return CRITIC_STEPS

        def g_loss(self, D: Any, real: Tensor, fake: Tensor, noise: Any = None) -> Tensor:
            return fake.flatten()[0]

        def after_d_step(self, D: nn.Module) -> None:
            if penalty == "clip":
                super().after_d_step(D)

    rules = Alone(**params)
    recipe = variants.load("objectives", "wgan_gp").Objective.recipe
    shape = (2,) if architecture == "mlp" else (1, size, size)
    torch.manual_seed(0)
    paper_norm = variants.load("architectures", architecture).Discriminator.paper_norm
    norm = "layer" if paper_norm == "batch" else "none"
    _, D = build(Choice(architecture), shape, norm)
    layout = torch.channels_last if len(shape) == 3 else torch.contiguous_format
    fake = torch.rand(batch_size, *shape).mul(2).sub(1).to(device)
    G = Given(fake.contiguous(memory_format=layout)).to(device)
    D = D.to(device).to(memory_format=layout)
    iteration = Iteration(rules, [(G, D)], recipe, "float32", execution, device, by_term=by_term)
    data = resident(RESIDENT[shape[-1]], device, batch_size, layout)
    return timed(iteration, data)


@pytest.mark.parametrize("execution", [pytest.param(name, marks=MARKS) for name in EXECUTIONS])
@pytest.mark.parametrize("architecture", CPU_BATCH)
def test_cost(architecture: str, execution: str) -> None:
    batch_size = CPU_BATCH[architecture] if DEVICE == "cpu" else 64
    case = {"architecture": architecture, "execution": execution, "batch_size": batch_size}
    few = "compiled" in execution and architecture == "resnet101" and not FULL  # minutes each
    names = [name for name in PENALTIES if not few or name in FEW]
    contenders = [Contender(name, critic_steps, case | {"penalty": name}) for name in names]
    results = race(contenders, DEVICE, rounds=ROUNDS, seconds=30, limit=LIMIT)
    left_out = [name for name in PENALTIES if name not in names]
    results += [Result(name, failed="not tried: GANBENCH_FULL=1 does") for name in left_out]
    table = pd.DataFrame([row(result, results[0], case) for result in results])
    print("\n" + table.to_string(index=False, float_format="{:.2f}".format))
    csv = FOLDER / "penalty_cost.csv"
    FOLDER.mkdir(parents=True, exist_ok=True)
    if csv.exists():
        table = pd.concat([pd.read_csv(csv), table])
    key = ["device", "threads", "architecture", "execution", "penalty", "batch_size"]
    table = table.drop_duplicates(key, keep="last").reset_index(drop=True)
    table.to_csv(csv, index=False)
    suffix = "" if DEVICE == "cpu" else f"_{DEVICE}"
    write_json(FOLDER / f"environment{suffix}.json", environment(DEVICE).plain())
    penalty_page.write(table, FOLDER)


@pytest.mark.parametrize("batch_size", [16, 64])
def test_by_term(batch_size: int) -> None:
    """A backward pass per term of the exact penalty's loss against one, on resnet101 at 64."""
    case = {"penalty": EXACT, "architecture": "resnet101", "batch_size": batch_size, "size": 64}
    options = case | {"execution": "eager"}
    contenders = [
        Contender("whole", critic_steps, options),
        Contender("by term", critic_steps, options | {"by_term": True}),
    ]
    whole, by_term = race(contenders, DEVICE, rounds=3, seconds=30)
    name = f"resnet101 at 64, batch {batch_size}, exact penalty: by term"
    found = recorded.row("critic steps", DEVICE, name, by_term, whole, **options)
    recorded.show([found])
    recorded.append([found], DEVICE)


def row(result: Result, none: Result, case: dict[str, Any]) -> dict[str, Any]:
    """A row of the table: times per critic step, and over those of no penalty."""
    times = pd.Series(result.ms, dtype=float) / CRITIC_STEPS
    low, middle, high = times.quantile([0.25, 0.5, 0.75]) if len(times) else (float("nan"),) * 3
    over, over_low, over_high = (1 / value for value in ratios(result, none))
    return {
        "device": DEVICE,
        "threads": THREADS,
        "clock": CLOCK,
        "architecture": case["architecture"],
        "batch_size": case["batch_size"],
        "penalty": result.name,
        "execution": case["execution"],
        "ms": middle,
        "ms_low": low,
        "ms_high": high,
        "over_none": over,
        "over_none_low": over_high,
        "over_none_high": over_low,
        "rounds": len(times),
        "step_mb": result.step_mb,
        "compile_seconds": result.compile_seconds,
        "failed": result.failed or result.facts.get("fallback") or "",
    }
