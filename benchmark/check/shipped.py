"""The baselines that ship with the suite, and what may replace them."""

from collections.abc import Sequence
from pathlib import Path

from benchmark.check.rows import RerunRow
from benchmark.errors import UserError
from benchmark.matrix.cell import digest
from benchmark.store.code import ROOT

IN_CHECKOUT = ROOT / "results" / "baselines"
INSTALLED = Path(__file__).parent / "baselines"


def check_is_shipped(rows: Sequence[RerunRow], name: str) -> None:
    """Raises UserError for results of a matrix that has the name of a shipped one and other groups
    or training options."""
    from benchmark.matrix import expand, files

    if name not in files.names():
        return
    shipped = set()
    for cell in expand.expand(files.read(files.find(name)).matrix):
        labels = (cell.objective.label, cell.architecture.label, cell.dataset.label)
        shipped.add((*labels, digest(cell.spec["training"])))
    accepted = {(row.objective, row.architecture, row.dataset, row.training) for row in rows}
    if accepted != shipped:
        raise UserError(
            f"cannot accept {name}: the results are not of the shipped matrix {name}, whose "
            f"baseline is in {IN_CHECKOUT}; give your matrix another name, or name another folder "
            "with --baselines"
        )
