"""Every objective on every architecture in every precision, on a device that computes nothing: all
tensors lie on the device, and no step waits for it, or copies from or to the host."""

import copy
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest
import torch
from torch import Tensor, nn

import variants
from benchmark.matrix.cell import Cell, Choice
from benchmark.matrix.pairs import critic_norm
from benchmark.measure import images
from benchmark.measure.features.extract import extract
from benchmark.train.build import open_workbench
from benchmark.train.cell_training import CellTraining
from benchmark.train.execution import iteration
from benchmark.train.execution.iteration import Iteration
from benchmark.train.loop import Training, train_stack
from benchmark.train.snapshot import Snapshot
from tests.cuda.fake_device import NAME, HostAccess, Watch, fake_gpu
from tests.helpers.cells import EVALUATION, TRAINING
from variants.architectures import mlp
from variants.objectives import lsgan

# Kinds of optimisers, of a seed by itself, and a stack of seeds; with precisions
EXECUTIONS = [
    *(("float32", way) for way in ("loop", "fused", "capturable", "stacked")),
    ("tf32", "capturable"),
    ("bf16", "capturable"),
    ("bf16", "stacked"),
]
OBJECTIVES = [*map(Choice, variants.names("objectives"))]
FORMS = [
    Choice("wgan_gp", {"method": "jvp"}),
    Choice("wgan_fdgp", {"pairs": "independent"}),
    Choice("wgan_fdgp", {"pairs": "segment"}),
    Choice("wgan_fdgp", {"pairs": "local"}),
    Choice("wgan_fdgp", {"pairs": "endpoint"}),
]
PLACES = {
    "mlp": (Choice("mlp", {"width": 16, "depth": 1}), Choice("gaussians8")),
    # Fused kernels are chosen by the kind of device, and this one is no CUDA
    "attention": (Choice("attention", {"width": 8, "kernel": "math"}), Choice("digits")),
    "text_resnet": (Choice("text_resnet", {"width": 8, "blocks": 1}), Choice("python_topics")),
}
for name in variants.names("architectures"):
    PLACES.setdefault(name, (Choice(name, {"width": 8}), Choice("digits")))
# Of a log interval: a batch of either split goes to the device, what was logged comes back
COPIES_OF_A_LOG = 3


def cells(objective: Choice, place: str, way: str, **training: Any) -> list[Cell]:
    architecture, dataset = PLACES[place]
    options = TRAINING.replaced(steps=1, batch_size=4, **training)
    norm = critic_norm(objective, architecture, dataset)
    num_seeds = 2 if way == "stacked" else 1
    return [
        Cell(objective, architecture, dataset, seed, options, EVALUATION, norm)
        for seed in range(num_seeds)
    ]


def train_on_fake_gpu(group: list[Cell], way: str) -> tuple[Watch, list[Snapshot]]:
    """Train cells to their end, as one stack or with a kind of optimiser, and draw samples."""
    bench = open_workbench(group[0])
    with fake_gpu() as watch, pytest.MonkeyPatch.context() as patch:
        patch.setattr(Training, "step", inside(watch, "", Training.step))
        patch.setattr(CellTraining, "log", inside(watch, "log", CellTraining.log))
        # It compares values, and there are none
        patch.setattr(iteration, "disagreement", lambda *outcomes: "")
        if way != "stacked":
            patch.setattr(Iteration, "_optimizer_kind", lambda self: way)
        snapshots = []
        for handed_out in train_stack(group, NAME, bench=bench):
            snapshots = handed_out
        with watch.at("measuring"):
            for snapshot in snapshots:
                samples = snapshot.sample(EVALUATION.n.images)
                assert samples.device.type == NAME
    return watch, snapshots


def inside(watch: Watch, place: str, method: Callable[..., Any]) -> Callable[..., Any]:
    def call(*args: Any) -> Any:
        with watch.at(place):
            return method(*args)

    return call


def check(objective: Choice, place: str, way: str, precision: str) -> None:
    group = cells(objective, place, way, precision=precision)
    watch, snapshots = train_on_fake_gpu(group, way)
    execution = snapshots[0].execution
    assert (execution.fallback, execution.stack) == (None, len(group))
    assert watch.accesses["log"] == COPIES_OF_A_LOG * len(group)
    # Of samples: whether they are finite
    assert watch.accesses["measuring"] == len(group)
    in_bf16 = watch.products[torch.bfloat16] > 0
    assert in_bf16 == (precision == "bf16")
    for snapshot in snapshots:
        assert snapshot.g_steps == 1
        for network in (snapshot.G, snapshot.D):
            for tensor in network.state_dict().values():
                assert tensor.device.type == NAME


@pytest.mark.parametrize(
    ("objective", "place", "precision", "way"),
    [
        (Choice("wgan_gp"), "mlp", "float32", "loop"),
        (Choice("wgan_gp"), "dcgan", "bf16", "capturable"),
        (Choice("wgan_fdgp"), "dcgan", "tf32", "fused"),
        (Choice("wgan_fdgp"), "mlp", "bf16", "stacked"),
        (Choice("hinge"), "dcgan", "bf16", "capturable"),
        (Choice("hinge"), "mlp", "float32", "stacked"),
        (Choice("wgan"), "text_resnet", "float32", "capturable"),
        (Choice("wgan_gp", {"method": "jvp"}), "mlp", "bf16", "capturable"),
    ],
    ids=str,
)
def test_a_cell_stays_on_the_device(
    objective: Choice, place: str, precision: str, way: str
) -> None:
    check(objective, place, way, precision)


@pytest.mark.parametrize("way", ["capturable", "stacked"])
def test_networks_that_grow_stay_on_the_device(way: str) -> None:
    """Before, in and after a fade, whose α is set on the device."""
    stages = [{"share": 0, "size": 4}, {"share": 0.25, "size": 8, "fade": 0.5}]
    group = []
    for cell in cells(Choice("wgan_gp"), "progressive", way):
        group.append(replace(cell, training=cell.training.replaced(steps=4, growth=stages)))
    watch, snapshots = train_on_fake_gpu(group, way)
    for snapshot in snapshots:
        assert (snapshot.g_steps, snapshot.G.form) == (4, (1, False))
        assert (snapshot.execution.fallback, snapshot.execution.stack) == (None, len(group))
    assert watch.accesses["log"] == 4 * COPIES_OF_A_LOG * len(group)


@pytest.mark.slow
@pytest.mark.parametrize(("precision", "way"), EXECUTIONS)
@pytest.mark.parametrize("place", PLACES)
@pytest.mark.parametrize("objective", OBJECTIVES, ids=lambda choice: choice.label)
def test_every_cell_stays_on_the_device(
    objective: Choice, place: str, precision: str, way: str
) -> None:
    check(objective, place, way, precision)


@pytest.mark.slow
@pytest.mark.parametrize(("precision", "way"), EXECUTIONS)
@pytest.mark.parametrize("place", ["mlp", "dcgan", "resnet20"])
@pytest.mark.parametrize("objective", FORMS, ids=lambda choice: choice.label)
def test_every_form_of_a_penalty_stays_on_the_device(
    objective: Choice, place: str, precision: str, way: str
) -> None:
    check(objective, place, way, precision)


# Planted faults


def with_item(loss: Tensor) -> Tensor:
    return loss * loss.detach().item()


def with_copy(loss: Tensor) -> Tensor:
    return loss + loss.detach().cpu().to(loss.device)


def with_constant(loss: Tensor) -> Tensor:
    return loss * torch.tensor(2.0)


def with_branch(loss: Tensor) -> Tensor:
    return loss if loss > 0 else -loss


@pytest.mark.parametrize("plant", [with_item, with_copy, with_constant, with_branch])
@pytest.mark.parametrize("way", ["loop", "capturable"])
def test_a_step_that_leaves_the_device_is_seen(
    plant: Callable[[Tensor], Tensor], way: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    d_loss = lsgan.Objective.d_loss
    monkeypatch.setattr(lsgan.Objective, "d_loss", lambda *args: plant(d_loss(*args)))
    with pytest.raises(HostAccess):
        train_on_fake_gpu(cells(Choice("lsgan"), "mlp", way), way)


def test_a_weight_on_another_device_is_seen(monkeypatch: pytest.MonkeyPatch) -> None:
    forward = mlp.Discriminator.forward
    left_behind = nn.Parameter(torch.ones(2))
    monkeypatch.setattr(
        mlp.Discriminator, "forward", lambda self, x: forward(self, x * left_behind)
    )
    with pytest.raises(Exception, match="device"):
        train_on_fake_gpu(cells(Choice("lsgan"), "mlp", "loop"), "loop")


# Measuring


@pytest.mark.filterwarnings("ignore:cov")  # without values
def test_images_are_measured_on_the_device(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Features, neighbours, overlap and kernels; metrics of points and text take samples that were
    copied to the host."""
    # What the fake GPU computes must not be kept
    monkeypatch.setenv("GANBENCH_CACHE", str(tmp_path))
    (cell,) = cells(Choice("lsgan"), "dcgan", "loop")
    instrument = images.Instrument(open_workbench(cell).dataset, EVALUATION, "cpu")
    # The other tests of this process have the same extractor
    extractor = copy.deepcopy(instrument.extractor)
    with fake_gpu():
        extractor.network.to(NAME)
        reference = replace(instrument.reference, device=NAME)
        samples = torch.zeros(100, 1, 8, 8, dtype=torch.uint8, device=NAME)
        features = extract(extractor, samples, NAME)
        assert features.features.device.type == NAME
        assert features.features.dtype == torch.float64
        assert reference.overlap(features).num_balls.device.type == NAME
        assert reference.near == reference.held_distance == features.mean[0]
        assert features.covariance.shape == (64, 64)
        assert isinstance(images.kid(features, reference), float)
        assert isinstance(images.duplicates(features, reference), float)
