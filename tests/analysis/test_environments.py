"""What the table of cells says of resumes and of a change of device."""

from pathlib import Path

import pytest

from benchmark.analysis import tables
from tests.helpers import synthetic
from tests.helpers.result_sets import status_file, write


@pytest.fixture(autouse=True)
def present_code(monkeypatch: pytest.MonkeyPatch) -> None:
    """The code that synthetic cells were trained with is the present one."""
    monkeypatch.setattr("benchmark.store.code.training_code", lambda cell: "c0de")


def test_tables_tell_resumes_and_a_change_of_device(tmp_path: Path) -> None:
    folder = write(tmp_path / "tiny", 4)
    clocks = {"probe_seconds": 0.25, "warmup_seconds": 1.5}
    synthetic.edit(status_file(folder, 1), resumes=2, **clocks)
    here = {"device": "Synthetic CPU", "versions": {"torch": "2.14.1"}}
    elsewhere = {"device": "B", "versions": {"torch": "2.15.0"}}
    for seed, surroundings in ((1, [here, here]), (2, [here, elsewhere])):
        path = status_file(folder, seed).with_name("environment.json")
        synthetic.edit(path, resumes=[{"g_steps": 100, **resume} for resume in surroundings])
    cells = tables.load(folder).cells.set_index("seed")
    one, two = "Synthetic CPU", "Synthetic CPU + B"
    assert cells["device"].to_list() == [one, one, two, one]
    assert cells.loc[2, "torch"] == "2.14.1 + 2.15.0"
    assert cells.loc[1, ["resumes", *clocks]].to_list() == [2, 0.25, 1.5]
    assert cells.loc[0, ["resumes", *clocks]].isna().all()  # an older one
    # The cost of a step was raced once: what ran where changes no comparison
    assert cells["swd_2k:equal_time"].notna().all()
    assert set(cells["raced_on"]) == {one}
