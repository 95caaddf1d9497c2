"""Which seeds train as one stack."""

import re
from collections.abc import Iterator
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest
from torch.nn.utils.parametrizations import _SpectralNorm

from benchmark.matrix.cell import Cell, Choice
from benchmark.run import stacking
from benchmark.run.stacking import Stacks
from benchmark.train.build import make_networks
from benchmark.train.execution.modes import MODES
from tests.helpers.cells import small_cell
from variants.architectures import SpectralNorm

MEASURED = """device,mode,kind,weights,batch_size,stack,ratio
cpu,eager,mlp,17219,64,5,1.34
cpu,eager,mlp,17219,64,8,1.76
cpu,eager,mlp,17219,64,16,2.16
cpu,eager,mlp,67203,64,8,1.15
cpu,eager,mlp,67203,64,16,1.29
cpu,compiled,mlp,67203,64,5,1.73
cpu,compiled,mlp,67203,64,8,1.73
"""


@pytest.fixture
def measured(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[None]:
    (tmp_path / "stacks.csv").write_text(MEASURED)
    monkeypatch.setattr(stacking, "TABLE", tmp_path / "stacks.csv")
    stacking.measured.cache_clear()
    yield
    stacking.measured.cache_clear()


@pytest.mark.parametrize(
    ("changed", "num_seeds", "execution", "size"),
    [
        ({}, 5, "auto", 1),  # 64 units: 5 gain 1.34
        ({}, 8, "auto", 8),
        ({}, 24, "auto", 8),
        ({}, 32, "auto", 16),
        ({}, 25, "auto", 1),  # only 5 divides it
        ({"width": 32}, 8, "eager", 8),  # smaller networks gain as much at least
        ({"batch_size": 32}, 8, "auto", 8),
        ({"batch_size": 96}, 8, "auto", 1),  # between two rows the larger one counts
        ({"width": 128}, 8, "auto", 1),
        ({"width": 128}, 25, "compiled", 5),
        ({"width": 256}, 25, "compiled", 1),  # larger than what was measured
        ({}, 8, "graphed", 1),
        ({"place": "images"}, 8, "auto", 1),
    ],
)
def test_a_stack_is_made_where_it_was_measured_to_pay(
    changed: dict[str, Any], num_seeds: int, execution: str, size: int, measured: None
) -> None:
    training = {"batch_size": 64} | changed
    width = training.pop("width", 64)
    place = training.pop("place", "points")
    cell = small_cell("wgan_gp", place, **training)
    if place == "points":
        cell = replace(cell, architecture=Choice("mlp", {"width": width}))
    assert stacking.worthy_size(cell, num_seeds, "cpu", execution) == size
    assert stacking.worthy_size(cell, num_seeds, "cuda:0", execution) == 1


@pytest.mark.parametrize(
    ("most", "num_seeds", "size"),
    [(8, 25, 7), (5, 25, 5), (5, 7, 4), (5, 3, 3), (1, 9, 1), (99, 99, 99), (2, 1, 1)],
)
def test_stacks_of_a_place_are_equal(most: int, num_seeds: int, size: int) -> None:
    assert stacking.balanced_size(most, num_seeds) == size


def stacks(cells: list[Cell], asked: str = "auto") -> tuple[Stacks, list[str]]:
    notes: list[str] = []
    return Stacks(cells, "cpu", "auto", asked, notes.append), notes


def test_the_stack_of_a_seed_follows_from_the_matrix(measured: None) -> None:
    """Seeds keep their order and their place; who is excluded for an objective keeps its place."""
    seeds = [3, 1, 4, 15, 9, 2, 6, 5]
    cells = [
        small_cell(name, seed=seed, batch_size=64, steps=2)
        for name in ("wgan_gp", "lsgan")
        for seed in seeds
        if (name, seed) != ("lsgan", 1)
    ]
    chosen, notes = stacks(cells)
    for cell in cells:
        stack = chosen.stack_of(cell)
        assert [other.seed for other in stack] == seeds
        assert {other.objective.name for other in stack} == {cell.objective.name}
        assert cell in stack
    assert not notes


def test_stacks_that_are_asked_for_are_equal_and_the_last_has_places_to_spare() -> None:
    cells = [small_cell(seed=seed, steps=2) for seed in range(7)]
    chosen, _ = stacks(cells, "5")
    assert [cell.seed for cell in chosen.stack_of(cells[2])] == [0, 1, 2, 3]
    assert [cell.seed for cell in chosen.stack_of(cells[4])] == [4, 5, 6, 7]
    assert stacks(cells, "1")[0].stack_of(cells[0]) == ()
    timed = [
        replace(cell, training=cell.training.replaced(steps=None, seconds=9.0)) for cell in cells
    ]
    assert stacks(timed, "5")[0].stack_of(timed[0]) == ()


def test_a_place_is_stacked_with_all_its_objectives_or_not_at_all(
    measured: None, monkeypatch: pytest.MonkeyPatch
) -> None:
    # It divides into a vector, which vmap does not follow
    monkeypatch.setattr(SpectralNorm, "_power_method", _SpectralNorm._power_method)
    cells = [
        small_cell(name, seed=seed, batch_size=64, steps=2)
        for name in ("lsgan", "hinge")
        for seed in range(8)
    ]
    chosen, notes = stacks(cells)
    assert [chosen.stack_of(cell) for cell in cells] == [()] * 16
    (note,) = notes
    assert re.match(
        r"mlp.* on gaussians8: seeds are not stacked, because hinge cannot be: RuntimeError", note
    )


def test_the_measured_table_is_sound() -> None:
    rows = stacking.measured()
    assert {row["device"] for row in rows} <= {"cpu", "cuda"}
    assert {row["mode"] for row in rows} <= {*MODES}
    assert {row["kind"] for row in rows} <= {"mlp", "conv"}
    assert all(row["stack"] > 1 and row["ratio"] > 0 and row["work"] > 0 for row in rows)


def test_weights_are_counted_as_they_are_trained() -> None:
    for cell, kind in ((small_cell("wgan_gp"), "mlp"), (small_cell("lsgan", "images"), "conv")):
        weights = sum(p.numel() for network in make_networks(cell) for p in network.parameters())
        assert stacking.kind_and_weights(cell.architecture, cell.dataset, cell.norm) == (
            kind,
            weights,
        )
