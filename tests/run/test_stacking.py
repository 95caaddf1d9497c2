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
from benchmark.train.execution import ahead
from benchmark.train.execution.ahead import Ahead
from benchmark.train.execution.modes import MODES
from benchmark.train.loop import train_stack
from tests.helpers.cells import small_cell
from variants.architectures import SpectralNorm

MEASURED = """device,mode,kind,weights,pixels,batch_size,stack,ms
cpu,eager,mlp,17219,0,64,1,10
cpu,eager,mlp,17219,0,64,5,7
cpu,eager,mlp,17219,0,64,8,5
cpu,traced,mlp,17219,0,64,1,6
cpu,traced,mlp,17219,0,64,8,2.5
cpu,compiled,mlp,17219,0,64,1,4
cpu,compiled,mlp,17219,0,64,5,2
cpu,compiled,mlp,17219,0,64,8,1
cpu,eager,mlp,67203,0,64,1,15
cpu,eager,mlp,67203,0,64,8,14
cpu,compiled,mlp,67203,0,64,8,3
cpu,eager,conv,20000,64,64,1,30
cpu,compiled,conv,20000,64,64,5,10
"""


@pytest.fixture
def measured(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[None]:
    (tmp_path / "stacks.csv").write_text(MEASURED)
    monkeypatch.setattr(stacking, "TABLE", tmp_path / "stacks.csv")
    monkeypatch.setattr(stacking, "can_compile", lambda: True)
    stacking.measured.cache_clear()
    yield
    stacking.measured.cache_clear()


@pytest.mark.parametrize(
    ("changed", "num_seeds", "execution", "way"),
    [
        # 3 functions cost 27 s, and 1.5 s to trace. 20 steps: 1.6 s alone, .8 s in an eager stack,
        # .4 s + 1.5 s in a traced one
        ({"steps": 20}, 8, "auto", ("eager", 8)),
        # 100 steps: 8 s, 4 s, 2 s + 1.5 s
        ({"steps": 100}, 8, "auto", ("traced", 8)),
        # 1,000 steps: 80 s, 40 s, 20 s + 1.5 s, and 8 s + 28.5 s compiled
        ({"steps": 1000}, 8, "auto", ("compiled", 8)),
        # 500 steps: 40 s, 20 s, 11.5 s, and 4 s + 28.5 s; in later runs 5.5 s
        ({"steps": 500}, 8, "auto", ("compiled", 8)),
        # Two stacks of 7, with two places to spare, of which 8 were measured
        ({"steps": 1000}, 12, "auto", ("compiled", 6)),
        # 10 s, and 6 s + 1.5 s traced
        ({"steps": 1000}, 1, "auto", ("traced", 1)),
        ({"steps": 200}, 1, "auto", ("auto", 1)),
        ({"steps": 10_000}, 1, "auto", ("compiled", 1)),
        # Seconds of compiling do not count where it is asked for
        ({"steps": 1}, 8, "compiled", ("compiled", 8)),
        ({"steps": 1000}, 8, "eager", ("eager", 8)),
        # Smaller networks gain as much at least; between two rows the larger one counts
        ({"steps": 100, "width": 32}, 8, "auto", ("traced", 8)),
        ({"steps": 1000}, 8, "traced", ("traced", 8)),
        ({"steps": 100, "batch_size": 96}, 8, "auto", ("auto", 1)),
        ({"steps": 10_000, "batch_size": 96}, 8, "auto", ("compiled", 8)),
        # Nothing as large was measured
        ({"steps": 10_000, "width": 256}, 8, "auto", ("auto", 1)),
        ({"steps": 1000}, 8, "graphed", ("graphed", 1)),
        ({"steps": 10_000, "place": "images"}, 5, "auto", ("compiled", 5)),
        # A budget in samples: as many iterations
        ({"samples": 64 * 5 * 1000, "steps": None}, 8, "auto", ("compiled", 8)),
    ],
)
def test_the_way_that_is_measured_to_be_the_quickest(
    changed: dict[str, Any],
    num_seeds: int,
    execution: str,
    way: tuple[str, int],
    measured: None,
) -> None:
    training = {"batch_size": 64} | changed
    width = training.pop("width", 64)
    place = training.pop("place", "points")
    cell = small_cell("wgan_gp", place, **training)
    if place == "points":
        cell = replace(cell, architecture=Choice("mlp", {"width": width}))
    assert stacking.best_way([[cell]], num_seeds, "cpu", execution) == way
    assert stacking.best_way([[cell]], num_seeds, "cuda:0", execution) == (execution, 1)


def test_a_machine_without_a_compiler_compiles_nothing(
    measured: None, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(stacking, "can_compile", lambda: False)
    cell = small_cell("wgan_gp", batch_size=64, steps=10_000)
    assert stacking.best_way([[cell]], 8, "cpu", "auto") == ("traced", 8)


def of(name: str, params: dict[str, Any], **training: Any) -> Cell:
    return replace(small_cell(name, **training), objective=Choice(name, params))


def test_configurations_that_differ_in_their_updates_share_what_is_compiled(measured: None) -> None:
    """100 s eagerly, 72 s traced, 52 s compiled; 3 functions cost 27 s, 17 cost 153 s."""
    rates, weights = [], []
    for number in range(8):
        recipe = {"lr": 1e-4 * (number + 1), "betas": [0.1 * number, 0.9]}
        rates.append([of("wgan_gp", recipe, batch_size=64, steps=1250)])
        penalty = {"penalty_weight": 1.0 + number}
        weights.append([of("wgan_gp", penalty, batch_size=64, steps=1250)])
    assert stacking.best_way(rates, 1, "cpu", "auto") == ("compiled", 1)
    assert stacking.best_way(weights, 1, "cpu", "auto") == ("traced", 1)


def test_networks_that_grow_have_functions_for_every_size_and_fade() -> None:
    cell = small_cell("wgan_gp", "images")
    stages = [{"share": 0, "size": 4}, {"share": 0.5, "size": 8, "fade": 0.25}]
    grown = replace(cell, training=cell.training.replaced(growth=stages))
    assert stacking._num_functions([[grown]]) == 3 * stacking._num_functions([[cell]]) == 9


UPDATES = {"lr": 1e-3, "d_lr": 1e-4, "betas": [0.9, 0.99], "weight_decay": 0.1}


@pytest.mark.parametrize(
    ("params", "num_more"),
    [
        (UPDATES, 0),
        ({"optimizer": "rmsprop", "alpha": 0.5, "eps": 1e-3}, 0),
        ({"critic_steps": 3}, 1),
        ({"a": -1.0, "c": 0.0}, 2),
    ],
)
def test_what_is_compiled_is_what_is_counted(
    params: dict[str, Any], num_more: int, monkeypatch: pytest.MonkeyPatch
) -> None:
    plain, changed = of("lsgan", {}, steps=2), of("lsgan", params, steps=2)
    before = functions_of(plain, monkeypatch)
    assert len(before) == stacking._num_functions([[plain]]) == 3
    assert len(functions_of(changed, monkeypatch) - before) == num_more
    assert stacking._num_functions([[plain], [changed]]) == 3 + num_more


def functions_of(cell: Cell, monkeypatch: pytest.MonkeyPatch) -> set[str]:
    """The keys of the functions that a cell would compile; they are traced, and run as traced."""
    keys: set[str] = set()

    def make(self: Ahead, tensors: Any, tree: Any) -> Any:
        graph, result_tree = ahead.traced(self.function, tensors, tree)
        keys.add(ahead.key_of(graph, tensors, self.options))
        return lambda tensors: graph(*tensors), result_tree

    monkeypatch.setattr(Ahead, "make", make)
    for _ in train_stack((cell,), "cpu", execution="compiled"):
        pass
    return keys


def test_an_iteration_costs_its_steps() -> None:
    """In iterations of WGAN-GP: five critic steps that count twice, and a generator step."""
    costs = {"wgan_gp": 11, "wgan": 6, "nonsaturating": 2, "wgan_fdgp": 11}
    for name, cost in costs.items():
        assert stacking._iterations(small_cell(name, steps=11)) == cost


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
    assert {row["kind"] for row in rows} <= {"mlp", "conv", "conv1d"}
    assert all(row["stack"] > 0 and row["ms"] > 0 and row["work"] > 0 for row in rows)
    alone = {
        (row["kind"], row["work"]) for row in rows if (row["mode"], row["stack"]) == ("eager", 1)
    }
    assert alone == {(row["kind"], row["work"]) for row in rows}


def test_weights_are_counted_as_they_are_trained() -> None:
    places = {"points": ("mlp", 0), "images": ("conv", 64), "text": ("conv1d", 48)}
    for place, (kind, pixels) in places.items():
        cell = small_cell("lsgan", place)
        weights = sum(p.numel() for network in make_networks(cell) for p in network.parameters())
        facts = stacking.facts_of(cell.architecture, cell.dataset, cell.norm)
        assert facts == (kind, weights, pixels)
    assert stacking.facts_of(Choice("attention"), Choice("digits"), "layer").kind == "tokens"
