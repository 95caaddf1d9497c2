"""The memory of a training step by tensors without values, against what the step takes."""

import os
import subprocess
import sys
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest

from benchmark.errors import UserError
from benchmark.matrix.cell import Cell, Choice
from benchmark.matrix.pairs import critic_norm
from benchmark.train import flops
from benchmark.train import step_memory as module
from benchmark.train.step_memory import forward_memory, step_memory
from tests.helpers.cells import EVALUATION, PLACES, TRAINING, small_cell

ROOT = Path(__file__).parents[2]
# The peak of a process over the estimate: what a convolution needs for itself, and pages that were
# freed but not given back, come on top
LEAST, MOST = 0.9, 1.6
# Prints the peaks of the steps of a cell beyond what the process had before, in MiB: with blocks
# that are computed again, and without
MEASURE = """
import torch
from benchmark.machine.memory import peak_memory_mb, release_memory, reset_peak_memory
from benchmark.train.build import make_networks, make_objective, make_recipe
from benchmark.train.optimizers import make_optimizer
from benchmark.train.step import critic_step, generator_step
from tests.train.test_step_memory import resnet_cell

def step(cell):
    G, D = make_networks(cell)
    objective, recipe = make_objective(cell.objective), make_recipe(cell)
    real = torch.zeros(cell.training.batch_size, 1, 8, 8)
    z, noise = torch.zeros(len(real), G.latent_dim), objective.draw(real)
    critic_step(objective, G, D, make_optimizer(recipe, D), real, z, noise)
    generator_step(objective, G, D, make_optimizer(recipe, G), real, z, noise)

torch.set_num_threads(1)
step(resnet_cell(1, False))
for recompute in (True, False):
    release_memory("cpu")
    reset_peak_memory("cpu")
    before = peak_memory_mb("cpu")
    step(resnet_cell(512, recompute))
    print(peak_memory_mb("cpu") - before)
"""


def resnet_cell(batch_size: int, recompute: bool, objective: str = "wgan_fdgp") -> Cell:
    choices = Choice(objective), Choice("resnet20", {"width": 64}), Choice("digits")
    training = TRAINING.replaced(steps=1, batch_size=batch_size, recompute=recompute)
    return Cell(*choices, 0, training, EVALUATION, critic_norm(*choices))


@pytest.mark.slow
@pytest.mark.skipif(sys.platform != "linux", reason="the peak of a process is read as on Linux")
def test_the_estimate_is_near_the_peak_of_a_process() -> None:
    environment = os.environ | {"PYTHONPATH": str(ROOT), "OMP_NUM_THREADS": "1"}
    ended = subprocess.run(
        [sys.executable, "-c", MEASURE],
        env=environment,
        cwd=ROOT,
        capture_output=True,
        encoding="utf-8",
        check=True,
    )
    saving, plain = map(float, ended.stdout.split())
    estimated = step_memory(resnet_cell(512, False)) / 2**20
    estimated_saving = step_memory(resnet_cell(512, True)) / 2**20
    assert LEAST < plain / estimated < MOST
    # What comes on top is about the same in both
    assert 0.5 < (plain - saving) / (estimated - estimated_saving) < 1.5


def test_the_parts_of_a_linear_network_by_hand() -> None:
    """One weight matrix on either side, plain Adam: weights, gradients of one network at a time,
    two moments each, and batches of 1,000."""
    cell = small_cell("wgan", "points", batch_size=1000)
    choice = Choice("mlp", {"width": 512, "depth": 1})
    needed = step_memory(replace(cell, architecture=choice))
    weights = (2 * 512 + 512) + (512 * 2 + 2) + (2 * 512 + 512) + (512 + 1)
    activations = 1000 * 512
    assert 4 * (2 * weights + activations) < needed < 4 * (4 * weights + 8 * activations)


def test_memory_grows_with_the_batch_and_falls_where_blocks_are_computed_again() -> None:
    small, large = (step_memory(resnet_cell(size, False)) for size in (64, 128))
    assert 1.5 < large / small < 2
    assert step_memory(resnet_cell(128, True)) < 0.6 * large


def test_a_deep_critic_takes_the_memory_of_its_largest_term(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    cell = resnet_cell(64, False, "wgan_gp")
    monkeypatch.setattr(flops, "DEEP", float("inf"))
    whole = step_memory(cell)
    monkeypatch.setattr(flops, "DEEP", 0)
    assert 0.5 * whole < step_memory(cell) < 0.9 * whole


@pytest.mark.parametrize("place", PLACES)
@pytest.mark.parametrize("name", ["lsgan", "wgan_gp", "wgan_fdgp", "hinge"])
def test_no_step_takes_more_than_the_bound_that_leaves_it_out(name: str, place: str) -> None:
    """The weights are counted apart: the bound looks at activations."""
    cell = small_cell(name, place, batch_size=256)
    assert step_memory(cell) < module.MOST_PASSES * forward_memory(cell)


def test_a_cell_that_cannot_fit_is_refused_with_the_remedy(
    monkeypatch: pytest.MonkeyPatch, ganbench: Any, matrix_file: Any, tmp_path: Path
) -> None:
    cell = resnet_cell(512, False)
    needed = step_memory(cell)
    monkeypatch.setattr(module, "total_memory", lambda device: needed)
    module.check_fit([cell], "cuda:0")
    monkeypatch.setattr(module, "total_memory", lambda device: needed - 1)
    with pytest.raises(
        UserError,
        match=r"wgan_fdgp on resnet20\[width=64\] x digits, batches of 512,"
        r" needs at least .* MiB of memory, and cuda:0 has .* MiB; set training.recompute = true",
    ):
        module.check_fit([cell], "cuda:0")
    module.check_fit([resnet_cell(512, True)], "cuda:0")
    for name in ("forward_memory", "step_memory"):
        monkeypatch.setattr(module, name, lambda cell: 2**60)
    monkeypatch.setattr(module, "total_memory", lambda device: 2**50)
    matrix = matrix_file()
    ended = ganbench("run", "--matrix", matrix, "--results", tmp_path / "r", "--device", "cpu")
    assert ended.code == 2
    assert "use a smaller training.batch_size or width" in ended.err
    assert not list(tmp_path.glob("r/tiny/*"))


def test_the_memory_of_a_matrix_is_printed_and_nothing_runs(
    ganbench: Any, matrix_file: Any, tmp_path: Path
) -> None:
    ended = ganbench("run", "--memory", "--matrix", matrix_file(), "--results", tmp_path / "r")
    assert ended.code == 0
    assert (
        "memory: nonsaturating on mlp[width=8] x gaussians8, batches of 8, needs about" in ended.out
    )
    assert not (tmp_path / "r").exists()


def test_a_variant_without_an_estimate_runs(monkeypatch: pytest.MonkeyPatch) -> None:
    def fails(cell: Cell) -> int:
        raise RuntimeError("needs values")

    monkeypatch.setattr(module, "step_memory", fails)
    monkeypatch.setattr(module, "total_memory", lambda device: 1)
    module.check_fit([small_cell()], "cpu")
    (line,) = module.memory_lines([small_cell()])
    assert line.endswith("needs an unknown amount")
