"""Keep a result set as a reference: everything that its page and its rows need, without cells.

    python -m tests.studies.keep_reference results/runs/search results/reference/search

The result set has a report. README.md and about.toml of the reference stay as they are."""

import shutil
import sys
from pathlib import Path

KEPT = ("matrix.json", "protocols.json", "races", "real", "report", "figures", "tables")


def keep(source: Path, reference: Path) -> None:
    """Replace what is kept of a result set; tables as CSV alone. environment.json is that of the
    first cell."""
    reference.mkdir(parents=True, exist_ok=True)
    for name in KEPT:
        old = reference / name
        if old.is_dir():
            shutil.rmtree(old)
        if (source / name).is_dir():
            shutil.copytree(source / name, old, ignore=shutil.ignore_patterns("*.parquet"))
        elif (source / name).is_file():
            shutil.copyfile(source / name, old)
    environments = sorted(source.glob("cells/*/environment.json"))
    shutil.copyfile(environments[0], reference / "environment.json")


if __name__ == "__main__":
    keep(Path(sys.argv[1]), Path(sys.argv[2]))
