"""Which race counts in a place, and what is claimed from it."""

import json
from pathlib import Path
from typing import Any

import pytest

from benchmark.analysis import tables
from benchmark.analysis.scores import PACE, clock_fault
from benchmark.errors import DamagedError
from benchmark.store.layout import ResultSet
from tests.helpers import synthetic

BOTH = ("nonsaturating", "wgan")
COSTS = {"nonsaturating": 20.0, "wgan": 40.0}
NO_RACE = "no race has timed its objectives"


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    """Two objectives in one place, and no race."""
    folder = synthetic.write(
        tmp_path / "a", objectives=BOTH, groups=[("gaussians8", "mlp")], samples=False, steps=3
    )
    for path in (folder / "races").iterdir():
        path.unlink()
    return folder


def race(folder: Path, milliseconds: dict[str, float], name: str = "", **changed: Any) -> None:
    """A race on a device of this name."""
    changed |= {"surroundings": {"device": name or "Synthetic CPU", "threads": 1}}
    synthetic.write_race(folder, "gaussians8", "mlp", milliseconds, changed)


def costs(folder: Path) -> dict[str, float]:
    cells = tables.load(folder).cells.groupby("objective")["raced_ms"].first()
    return {str(name): round(value, 6) for name, value in cells.items()}


def fault(folder: Path) -> str:
    return clock_fault(tables.load(folder).cells)


def test_raced_seconds_are_generator_steps_times_the_raced_cost(folder: Path) -> None:
    """600 steps of 20 ms: whatever the clock of the cells said."""
    race(folder, COSTS)
    for path in folder.glob("cells/nonsaturating-*/status.json"):
        synthetic.edit(path, train_seconds=99.0)
    loaded = tables.load(folder)
    seconds = loaded.cells.groupby("objective")["raced_seconds"].unique()
    assert seconds["nonsaturating"] == pytest.approx([12.0])
    assert seconds["wgan"] == pytest.approx([24.0])
    assert loaded.equal_cost["equal_time"] == {("gaussians8", "mlp"): pytest.approx(12.0)}
    last = loaded.evals[loaded.evals["g_steps"] == 600].groupby("cell", observed=True)
    assert sorted(last["raced_seconds"].first()) == pytest.approx([12.0] * 5 + [24.0] * 5)


def test_a_race_counts_if_one_device_raced_all_objectives(folder: Path) -> None:
    """Two devices that raced a part each say nothing of one another."""
    assert fault(folder) == NO_RACE
    race(folder, {"nonsaturating": 20.0}, "A")
    assert fault(folder) == "wgan was in no race"
    race(folder, {"wgan": 2.0}, "B")
    assert fault(folder) != ""
    race(folder, COSTS, "C")
    assert (fault(folder), costs(folder)) == ("", COSTS)
    assert set(tables.load(folder).cells["raced_on"]) == {"C"}


def test_of_two_races_the_one_on_the_device_of_most_cells_counts(folder: Path) -> None:
    race(folder, COSTS, made="2026-01-01T00:00:00+00:00")
    race(folder, {"nonsaturating": 3.0, "wgan": 4.0}, "Other", made="2026-02-01T00:00:00+00:00")
    assert costs(folder) == COSTS
    for path in folder.glob("cells/*seed[012]*/environment.json"):
        synthetic.edit(path, device="Other")
    assert costs(folder) == {"nonsaturating": 3.0, "wgan": 4.0}


def test_a_race_of_the_code_of_the_cells_comes_first(folder: Path) -> None:
    race(folder, COSTS, made="2026-01-01T00:00:00+00:00")
    race(folder, {"nonsaturating": 3.0, "wgan": 4.0}, asked="00000000", made="2026-02-01T00:00:00Z")
    assert costs(folder) == {"nonsaturating": 3.0, "wgan": 4.0}
    (path,) = folder.glob("races/*-00000000-*.json")
    objectives = json.loads(path.read_text())["objectives"]
    for raced in objectives.values():
        raced["code"] = "of before"
    synthetic.edit(path, objectives=objectives)
    assert costs(folder) == COSTS


def test_a_pace_that_differed_leaves_no_verdict_in_seconds_and_equal_compute_as_it_is(
    folder: Path,
) -> None:
    race(folder, COSTS)
    before = tables.load(folder)
    one = ResultSet(folder).races[0]
    for factor, is_fault in ((1 + PACE, False), (1.5, True)):
        rounds = [40.0] * 4 + [40.0 * factor] * 6
        one.objectives["wgan"].milliseconds = rounds
        ResultSet(folder).write_race(one)
        assert bool(fault(folder)) == is_fault
    assert fault(folder).startswith("the pace differed between the rounds of the race (wgan: ±2")
    after = tables.load(folder)
    assert after.equal_cost["equal_time"] == {}
    assert after.cells["swd_2k:equal_time"].isna().all()
    assert after.costs["seconds"].isna().all()
    assert after.equal_cost["equal_compute"] == before.equal_cost["equal_compute"]
    column = "swd_2k:equal_compute"
    assert after.cells[column].equals(before.cells[column])


def test_a_race_whose_rounds_are_not_those_of_all_is_refused_by_name(folder: Path) -> None:
    race(folder, COSTS)
    (path,) = (folder / "races").iterdir()
    synthetic.edit(path, reference=[20.0] * 9)
    with pytest.raises(DamagedError, match="10 rounds of nonsaturating, and 9 of the reference"):
        tables.load(folder)
