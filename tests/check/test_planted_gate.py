"""The planted changes of tests/studies/plants.py still match the source."""

import ast

import pytest

from benchmark.store.code import ROOT
from tests.studies.plants import PLANTS


@pytest.mark.parametrize("name", PLANTS)
def test_a_plant_changes_its_file_once_and_leaves_it_valid(name: str) -> None:
    plant = PLANTS[name]
    planted = plant.planted(ROOT)
    ast.parse(planted)
    assert planted != (ROOT / plant.file).read_text()
