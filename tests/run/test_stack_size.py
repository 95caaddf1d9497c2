"""How many seeds train as one stack."""

from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest

from benchmark.matrix.cell import Choice
from benchmark.run import stack_size as stacking
from benchmark.train.build import make_networks
from benchmark.train.execution.modes import MODES
from tests.helpers.cells import small_cell


@pytest.mark.parametrize(
    ("changed", "waiting", "share", "execution", "asked", "size"),
    [
        ({}, 7, 99, "auto", "auto", 1),  # 64 units: 5 gain 1.34
        ({}, 8, 99, "auto", "auto", 8),
        ({}, 99, 99, "auto", "auto", 16),
        ({}, 99, 15, "auto", "auto", 8),  # a worker's share is less
        ({"width": 32}, 8, 99, "eager", "auto", 8),  # smaller networks gain as much at least
        ({"batch_size": 32}, 8, 99, "auto", "auto", 8),
        ({"batch_size": 96}, 8, 99, "auto", "auto", 1),  # between two rows the larger one counts
        ({"width": 128}, 99, 99, "auto", "auto", 1),
        ({"width": 128}, 99, 99, "compiled", "auto", 8),
        ({"width": 256}, 99, 99, "compiled", "auto", 1),  # larger than what was measured
        ({}, 99, 99, "graphed", "auto", 1),
        ({"width": 256}, 99, 1, "auto", "5", 5),
        ({}, 3, 99, "auto", "5", 3),
        ({}, 99, 99, "auto", "1", 1),
        ({"steps": None, "seconds": 9.0}, 99, 99, "auto", "5", 1),
        ({"place": "images"}, 99, 99, "auto", "auto", 1),
    ],
)
def test_a_stack_is_made_where_it_was_measured_to_pay(
    changed: dict[str, Any],
    waiting: int,
    share: int,
    execution: str,
    asked: str,
    size: int,
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    (tmp_path / "stacks.csv").write_text(
        "device,mode,kind,weights,batch_size,stack,ratio\n"
        "cpu,eager,mlp,17219,64,5,1.34\n"
        "cpu,eager,mlp,17219,64,8,1.76\n"
        "cpu,eager,mlp,17219,64,16,2.16\n"
        "cpu,eager,mlp,67203,64,8,1.15\n"
        "cpu,eager,mlp,67203,64,16,1.29\n"
        "cpu,compiled,mlp,67203,64,5,1.73\n"
        "cpu,compiled,mlp,67203,64,8,1.73\n"
    )
    monkeypatch.setattr(stacking, "TABLE", tmp_path / "stacks.csv")
    stacking.measured.cache_clear()
    training = {"batch_size": 64} | changed
    width = training.pop("width", 64)
    place = training.pop("place", "points")
    cell = small_cell("wgan_gp", place, **training)
    if place == "points":
        cell = replace(cell, architecture=Choice("mlp", {"width": width}))
    assert (
        stacking.stack_size(cell, waiting, share, device="cpu", execution=execution, asked=asked)
        == size
    )
    assert stacking.stack_size(cell, waiting, share, device="cuda:0", execution=execution) == 1
    stacking.measured.cache_clear()


def test_the_measured_table_is_sound() -> None:
    rows = stacking.measured()
    assert {row["device"] for row in rows} <= {"cpu", "cuda"}
    assert {row["mode"] for row in rows} <= {*MODES}
    assert {row["kind"] for row in rows} <= {"mlp", "conv"}
    assert all(row["stack"] > 1 and row["ratio"] > 0 and row["work"] > 0 for row in rows)


def test_weights_are_counted_as_they_are_trained() -> None:
    for cell, kind in ((small_cell("wgan_gp"), "mlp"), (small_cell("lsgan", "images"), "conv")):
        weights = sum(p.numel() for network in make_networks(cell) for p in network.parameters())
        assert stacking.networks(cell.architecture, cell.dataset, cell.norm) == (kind, weights)
