"""Golden loss traces: the first 20 steps of every objective on the CPU, float32, one thread. They
guard refactors.

Tolerance: relative 1e-3, absolute 1e-4 (the traces agree to about 1e-6 on one machine; other
processors and torch 2.11 to 2.14 round differently, and 20 adversarial steps amplify that). After a
change that is meant to change numbers, `python -m tests.train.test_golden` writes them again: say
so in the commit, with the check table of a rerun matrix."""

import json
from pathlib import Path

import pytest

import variants
from benchmark.machine.clock import one_thread
from benchmark.train.loop import train
from tests.helpers.cells import PLACES, small_cell

FILE = Path(__file__).parent.parent / "golden" / "traces.json"
GOLDEN = json.loads(FILE.read_text()) if FILE.exists() else {}


def trace(objective, place):
    with one_thread():
        rows = [
            snapshot.row for snapshot in train(small_cell(objective, place), "cpu") if snapshot.row
        ]
    return {name: [row[name] for row in rows] for name in ("d_loss", "g_loss")}


@pytest.mark.parametrize("place", PLACES)
@pytest.mark.parametrize("objective", variants.names("objectives"))
def test_trace(objective, place):
    golden = GOLDEN.get(objective, {}).get(place)
    if golden is None:
        pytest.skip(f"no golden trace of {objective} yet: python -m tests.train.test_golden")
    found = trace(objective, place)
    for name in ("d_loss", "g_loss"):
        assert len(golden[name]) == 20
        assert found[name] == pytest.approx(golden[name], rel=1e-3, abs=1e-4), name


def test_traces_of_different_objectives_differ():
    """Guards the guard: no two objectives share a trace, but for those that share a critic loss in
    the first step."""
    traces = [tuple(GOLDEN[name][place]["g_loss"]) for name in GOLDEN for place in GOLDEN[name]]
    assert len(set(traces)) == len(traces) == len(PLACES) * len(GOLDEN) > 0


if __name__ == "__main__":
    names = variants.names("objectives")
    found = {name: {place: trace(name, place) for place in PLACES} for name in names}
    FILE.write_text(json.dumps(found, indent=1) + "\n")
