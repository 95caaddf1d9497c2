"""Tiny result sets whose cells are trained in this process."""

from pathlib import Path

from benchmark.matrix.expand import expand
from benchmark.matrix.options import Matrix
from benchmark.run.cell.cell_run import run_cell
from benchmark.run.prepare import matrix_file, prepare
from benchmark.store.layout import ResultSet


def tiny_matrix(*objectives: str) -> Matrix:
    """Ten steps of two seeds on points."""
    return Matrix.model_validate(
        {
            "objectives": list(objectives),
            "architectures": [{"name": "mlp", "width": 8}],
            "datasets": ["gaussians8"],
            "seeds": 2,
            "training": {"steps": 10, "batch_size": 8},
            "evaluation": {"schedule": [0, 1], "n": {"points": 200}, "log_every": 5},
        }
    )


def trained_set(folder: Path, matrix: Matrix) -> Path:
    """Train every cell of a matrix. Returns the folder of the result set."""
    results = ResultSet(folder)
    cells = expand(matrix)
    prepare(results, matrix_file(folder.name, "", matrix, cells), cells, "cpu")
    for cell in cells:
        for _ in run_cell(cell, results.path, "cpu"):
            pass
    return results.path
