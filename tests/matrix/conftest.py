"""Shared by tests of the matrix: the cells of a tiny matrix file."""

from collections.abc import Callable
from pathlib import Path

import pytest

from benchmark.matrix import files
from benchmark.matrix.cell import Cell
from benchmark.matrix.expand import expand


@pytest.fixture
def cells(matrix_file: Callable[..., Path]) -> Callable[..., list[Cell]]:
    """The cells of a tiny matrix with some of its parts replaced."""

    def expanded(only: str = "", overrides: tuple[str, ...] = (), **parts: str) -> list[Cell]:
        matrix = files.read(matrix_file(**parts), list(overrides)).matrix
        return expand(matrix, only)

    return expanded
