"""The check of a device before a run. Without a GPU its failures are planted; what a GPU says is
unproven."""

import re
from typing import Any

import pytest

from benchmark.errors import UserError
from benchmark.run import plan
from benchmark.run.options import RunOptions
from benchmark.train import step_memory
from benchmark.train.execution import self_check as module
from benchmark.train.execution.self_check import self_check
from tests.helpers.cells import small_cell

BOTH = {"float32", "bf16"}


@pytest.fixture
def works(monkeypatch: pytest.MonkeyPatch) -> pytest.MonkeyPatch:
    """A device on which every part agrees."""
    for name in ("check_placement", "check_graphs", "check_bf16"):
        monkeypatch.setattr(module, name, lambda device: "")
    monkeypatch.setattr(module, "check_memory", lambda device: "7.0 of 8.0 GiB free")
    return monkeypatch


def fails(device: str) -> str:
    raise RuntimeError("no kernel image\nis available")


def test_a_device_that_works(works: pytest.MonkeyPatch) -> None:
    found = self_check("cuda:0", "graphed", BOTH)
    assert found.execution == "graphed"
    assert found.line == (
        "self-check of cuda:0: trains as the CPU does; CUDA graphs agree with eager steps; "
        "bf16 agrees with float32; 7.0 of 8.0 GiB free"
    )
    assert "bf16" not in self_check("cuda:0", "graphed", {"float32"}).line
    assert "graphs" not in self_check("cuda:0", "eager", BOTH).line


@pytest.mark.parametrize("part", [lambda device: "d_loss is 3, not 2", fails])
def test_a_device_with_other_numbers_is_refused(works: pytest.MonkeyPatch, part: Any) -> None:
    works.setattr(module, "check_placement", part)
    with pytest.raises(UserError, match=r"cuda:0 does not train as the CPU does: .* --device cpu"):
        self_check("cuda:0", "graphed", BOTH)


@pytest.mark.parametrize("part", [lambda device: "the gradient of G is off by 1", fails])
@pytest.mark.parametrize(
    ("asked", "instead"), [("graphed", "eager"), ("compiled_graphed", "compiled")]
)
def test_graphs_that_fail_are_not_used(
    works: pytest.MonkeyPatch, part: Any, asked: str, instead: str
) -> None:
    works.setattr(module, "check_graphs", part)
    found = self_check("cuda:0", asked, BOTH)
    assert found.execution == instead
    assert re.search(r"CUDA graphs are not used: (the gradient|RuntimeError)", found.line)
    assert "\n" not in found.line


@pytest.mark.parametrize("part", [lambda device: "off by 1", fails])
def test_bf16_that_fails_is_refused_where_it_is_asked_for(
    works: pytest.MonkeyPatch, part: Any
) -> None:
    works.setattr(module, "check_bf16", part)
    assert self_check("cuda:0", "graphed", {"float32", "tf32"}).execution == "graphed"
    with pytest.raises(UserError, match=r"cuda:0 cannot train in bf16: .*--precision float32"):
        self_check("cuda:0", "graphed", BOTH)


def test_a_slow_device_is_checked_in_part(works: pytest.MonkeyPatch) -> None:
    works.setattr(module, "SECONDS", -1.0)
    found = self_check("cuda:0", "graphed", BOTH)
    assert "graphs not checked, for lack of time; bf16 not checked" in found.line
    assert found.execution == "graphed"


def test_the_parts_on_a_cpu() -> None:
    """Nothing planted: bf16 agrees, and there are no graphs."""
    found = self_check("cpu", "graphed", BOTH)
    assert found.execution == "eager"
    assert "no CUDA graph without a CUDA device" in found.line
    assert "bf16 agrees with float32" in found.line


def test_parts_see_other_numbers(monkeypatch: pytest.MonkeyPatch) -> None:
    right = module._outcome

    def wrong(device: str, precision: str = "float32") -> Any:
        outcome = right("cpu")
        if device == "cpu" and precision == "float32":
            return outcome
        return outcome._replace(critic=outcome.critic * 2)

    monkeypatch.setattr(module, "_outcome", wrong)
    assert "the gradient of D is off by 1" in module.check_placement("cuda:0")
    assert "the gradient of D is off by 1" in module.check_bf16("cpu")


def test_a_run_on_cuda_says_what_was_found_and_goes_on_eagerly(
    works: pytest.MonkeyPatch,
) -> None:
    works.setattr(module, "check_graphs", fails)
    works.setattr(step_memory, "total_memory", lambda device: 2**40)
    notes: list[str] = []
    cells = [small_cell()]
    options = plan.checked(RunOptions(), ["cuda:0"], cells, notes.append)
    assert options.execution == "eager"
    (note,) = notes
    assert note.startswith("self-check of cuda:0: ")
    assert plan.checked(RunOptions(), ["cpu"], cells, notes.append) == RunOptions()
    assert plan.checked(RunOptions(), ["cuda:0"], [], notes.append) == RunOptions()
    assert len(notes) == 1


def test_every_device_of_a_run_is_checked(works: pytest.MonkeyPatch) -> None:
    """What one of them cannot do is used on none: the seeds of a comparison are executed alike."""
    works.setattr(module, "check_graphs", lambda device: "off by 1" if device == "cuda:1" else "")
    works.setattr(step_memory, "total_memory", lambda device: 2**40)
    notes: list[str] = []
    devices = ["cuda:0", "cuda:1", "cuda:0"]
    options = plan.checked(RunOptions(), devices, [small_cell()], notes.append)
    assert options.execution == "eager"
    assert [note.partition(": trains")[0] for note in notes] == [
        "self-check of cuda:0",
        "self-check of cuda:1",
    ]
