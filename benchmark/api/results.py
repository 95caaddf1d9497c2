"""The results of a matrix as tables."""

from functools import cached_property
from pathlib import Path
from typing import TYPE_CHECKING

import pandas as pd

from benchmark.analysis.published import write
from benchmark.analysis.tables import Tables, load

if TYPE_CHECKING:
    from benchmark.analysis.evidence import Evidence
    from benchmark.analysis.search.tuning import Tuning
    from benchmark.check.verdict import Verdict


class Results:
    """The tables of a result set, read once and when they are first used.

    The columns of every table are documented in results/README.md. A method that writes, writes
    into the folder of the result set."""

    def __init__(self, folder: Path) -> None:
        self.folder = folder

    def __repr__(self) -> str:
        return f"Results({str(self.folder)!r})"

    @cached_property
    def tables(self) -> Tables:
        """All tables. Raises UserError for a folder without results, and for damaged files."""
        return load(self.folder)

    @property
    def cells(self) -> pd.DataFrame:
        """One row per cell."""
        return self.tables.published["cells"]

    @property
    def evals(self) -> pd.DataFrame:
        """One row per cell, evaluation and metric."""
        return self.tables.published["evals"]

    @property
    def steps(self) -> pd.DataFrame:
        """One row per cell and log interval."""
        return self.tables.published["steps"]

    @property
    def layers(self) -> pd.DataFrame:
        """One row per cell, evaluation, network and parameter tensor."""
        return self.tables.published["layers"]

    @property
    def scores(self) -> pd.DataFrame:
        """One row per finished cell and metric: final, best, area, equal_compute, equal_time."""
        return self.tables.published["scores"]

    @property
    def summary(self) -> pd.DataFrame:
        """One row per objective, architecture, dataset, metric and value of a run."""
        return self.tables.published["summary"]

    @property
    def convergence(self) -> pd.DataFrame:
        """One row per objective, architecture, dataset and target clock."""
        return self.tables.published["convergence"]

    @property
    def search(self) -> pd.DataFrame:
        """One row per finished cell of a search, as `search_table` has it; no row without a
        search."""
        from benchmark.analysis.search.table import search_table

        return search_table(self.tables)

    @property
    def tuning(self) -> "Tuning | None":
        """What a search says, as data frames: pools, curves, tuned and others. None without a
        search."""
        return self.tables.tuning

    @property
    def labels(self) -> dict[str, dict[str, str]]:
        """objective, architecture or dataset → a variant in the tables → the label that the matrix
        gives it, of those that have one."""
        return self.tables.matrix.display_names

    def evidence(self) -> "Evidence":
        """What the seeds can tell apart: leaders, comparisons, ranks, power."""
        from benchmark.analysis.evidence import gather

        return gather(self.tables)

    def compare(self, *objectives: str, of: str = "final") -> pd.DataFrame:
        """Every objective against the first one, place by place: one row per comparison, with
        difference, interval and corrected p. An objective is named as in the tables, or by its
        label. of: final, best, area, equal_compute or equal_time. Raises UserError."""
        from benchmark.analysis.compare import differences
        from benchmark.analysis.sides import of_labels

        return differences(of_labels(self.tables, list(objectives)), [of])

    def write(self) -> None:
        """Write every table as parquet and CSV."""
        write(self.tables.published, self.folder)

    def report(self) -> Path:
        """Write tables, figures, report.md and index.html. Returns index.html."""
        from benchmark.report.report import write as write_report

        return write_report(self.folder, self.tables)

    def check(self) -> "list[Verdict]":
        """Every gated metric, and the numbers of every seed, against the committed baseline.
        Raises UserError if the two cannot be compared."""
        from benchmark.check.baseline import compare

        return compare(self.tables, self.folder.name).verdicts
