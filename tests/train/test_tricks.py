"""Tricks in a training: resumed, stacked, compiled and in bf16 the numbers of an eager run."""

import copy
import math
from pathlib import Path
from typing import Any

import pytest
import torch

from benchmark.matrix.cell import Cell
from benchmark.train.execution import ahead
from benchmark.train.loop import train, train_stack
from tests.helpers.cells import small_cell

# Name of a trick -> objective, its parameters, training options
TRICKS: dict[str, tuple[str, dict[str, Any], dict[str, Any]]] = {
    "labels": ("nonsaturating", {"real_label": 0.9, "flip": 0.2}, {}),
    "drift and rates": ("wgan_gp", {"drift": 0.01, "d_lr": 1e-3, "weight_decay": 0.01}, {}),
}
EXACT = 1e-3  # of losses of eight steps, in float32 by another order of sums
every_trick = pytest.mark.parametrize("trick", TRICKS)


def cell_of(trick: str, seed: int = 0, **options: Any) -> Cell:
    objective, params, training = TRICKS[trick]
    return small_cell(objective, "images", seed, None, params, steps=8, **(training | options))


def losses(snapshots: list[Any]) -> list[list[float]]:
    rows = [snapshot.row for snapshot in snapshots if snapshot.row]
    return [[row["d_loss"], row["g_loss"], row["d_real"], row["d_fake"]] for row in rows]


def trained(cell: Cell, **options: Any) -> list[Any]:
    return list(train(cell, "cpu", **options))


@every_trick
def test_a_trick_goes_on_bit_for_bit(trick: str) -> None:
    """From the state after 3 of 8 steps."""
    cell = cell_of(trick)
    whole = trained(cell)
    state = None
    for snapshot in train(cell, "cpu"):
        if snapshot.g_steps == 3:
            state = copy.deepcopy(snapshot.state)
            break
    rest = trained(cell, state=state)
    assert [map_of(snapshot) for snapshot in rest[1:]] == [map_of(s) for s in whole[4:]]


def map_of(snapshot: Any) -> str:
    """The row and the weights of a snapshot, as text: NaN is NaN."""
    totals = [p.double().sum().item() for p in snapshot.G.parameters()]
    return repr((snapshot.samples_seen, snapshot.row, totals))


@every_trick
def test_a_stack_of_cells_with_a_trick_is_its_cells(trick: str) -> None:
    cells = [cell_of(trick, seed) for seed in range(2)]
    stack = [*zip(*train_stack(cells, "cpu"), strict=True)]
    for cell, found in zip(cells, stack, strict=True):
        assert found[-1].execution.stack == 2
        for row, expected in zip(losses([*found]), losses(trained(cell)), strict=True):
            assert row == pytest.approx(expected, rel=EXACT, abs=EXACT, nan_ok=True)


@every_trick
def test_a_traced_step_with_a_trick_is_the_eager_one(
    trick: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """What is compiled, without the compiler: the graph of operators of a stack's step."""

    class Traced:
        def __init__(self, graph: Any) -> None:
            self.graph = graph

        def run(self, tensors: list[torch.Tensor]) -> list[torch.Tensor]:
            with torch.no_grad():
                return [*self.graph(*tensors)]

    def library(self: Any, tensors: Any, tree: Any) -> Any:
        graph, result_tree = ahead.traced(self.function, tensors, tree)
        return Traced(graph), result_tree

    monkeypatch.setattr(ahead.Ahead, "_library", library)
    cells = [cell_of(trick, seed) for seed in range(2)]
    found = [*train_stack(cells, "cpu", execution="compiled")]
    execution = found[-1][0].execution
    assert (execution.mode, execution.fallback) == ("compiled", None)
    for row, expected in zip(
        losses([both[1] for both in found]), losses(trained(cells[1])), strict=True
    ):
        assert row == pytest.approx(expected, rel=EXACT, abs=EXACT, nan_ok=True)


@every_trick
def test_a_trick_in_bf16_is_that_of_float32_up_to_rounding(trick: str) -> None:
    exact = losses(trained(cell_of(trick)))
    rounded = losses(trained(cell_of(trick, precision="bf16")))
    for row, expected in zip(rounded, exact, strict=True):
        assert row[0] == pytest.approx(expected[0], rel=0.1, abs=0.1)
        assert math.isfinite(row[1])
    assert rounded != exact
