"""Write the audit of metrics as tables and one page, README.md, and read it for reports."""

from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd

from benchmark.errors import DamagedError
from benchmark.metrics import metric, rank, short_name
from benchmark.report import audit_figure
from benchmark.report.page import records
from benchmark.store.code import ROOT
from benchmark.store.files import write_bytes
from benchmark.text import Record, listed

# The audit as it comes with the suite: in the checkout, or in an installed package
IN_CHECKOUT = ROOT / "results" / "reference" / "audit"
INSTALLED = Path(__file__).parent / "audit"
REFERENCE = IN_CHECKOUT if IN_CHECKOUT.exists() else INSTALLED

VALUES, LIMITS, PICTURE = "audit.csv", "limits.csv", "limits"
COLUMNS = ["dataset", "protocol", "n", "column", "metric", "fault", "course"]
COLUMNS += ["seen_from", "better_from"]
METHOD = (
    "Real samples stand for generated ones, and a share of them is made bad. Of every metric, "
    "{unplanted} draws without a fault and {planted} with each fault and share were measured. A "
    "draw shows a fault where it is worse than all {unplanted} without one: by chance alone that "
    "happens in 1 of {level} draws. `from 5%`: on from this share at least 80 % of the draws show "
    "the fault; the mean then goes one way as the share grows, up to the standard deviation of a "
    "draw, unless the table says `not monotone`. `rewarded from 5%`: at this share as many draws "
    "are better than all without the fault. Shares: {shares}. Draws of images "
    "are splits of the same images, so they vary a little less than fresh images would."
)
FAULT_NOTES = {
    "noise": "uniform pixels, characters, or points in the square around the data",
    "duplicates": "copies of the other samples; at 100 % one sample",
    "dropped class": "of the commonest class, replaced by unseen samples of the others",
    "dropped mode": "of the commonest mode, replaced by unseen samples of the others",
    "training copies": "samples of the training split",
    "blur": "every pixel the mean of 3 × 3",
    "wider modes": "noise added, so that a mode is twice as wide",
    "shuffled characters": "the characters of a sample in random order",
    "one character": "the commonest character, repeated",
}


def write(folder: Path, values: Sequence[Record], limits: Sequence[Record]) -> Path:
    """Write audit.csv, limits.csv, the picture of the limits and README.md. values, limits: rows of
    `measure.audit`, with dataset, protocol and n. Returns the page."""
    shares = {"seen_from": float, "better_from": float}
    frame = pd.DataFrame(list(limits))[COLUMNS].astype(shares)
    all_values = pd.DataFrame(list(values))
    page = folder / "README.md"
    write_bytes(folder / VALUES, all_values.to_csv(index=False, float_format="%.6g").encode())
    write_bytes(folder / LIMITS, frame.to_csv(index=False).encode())
    audit_figure.draw(frame, folder / PICTURE)
    write_bytes(page, "".join(f"{line}\n" for line in _page(frame, all_values)).encode())
    return page


def read(folder: Path) -> pd.DataFrame:
    """limits.csv of a folder; without rows where there is none. Raises DamagedError."""
    file = folder / LIMITS
    if not file.is_file():
        return pd.DataFrame(columns=COLUMNS)
    try:
        return pd.read_csv(file)[COLUMNS]
    except (ValueError, KeyError) as error:
        raise DamagedError(f"{file} is damaged; run `ganbench audit` again") from error


def sight(row: Record) -> str:
    """How a metric sees a fault: `from 5%`, `not seen`, `rewarded from 25%`."""
    parts = []
    if not np.isnan(row["seen_from"]):
        parts.append(f"from {row['seen_from']:.0%}")
        if row["course"] == "not monotone":
            parts.append("not monotone")
    if not np.isnan(row["better_from"]):
        parts.append(f"rewarded from {row['better_from']:.0%}")
    return ", ".join(parts) or "not seen"


def blind_spots(rows: Sequence[Record]) -> str:
    """What a metric cannot see, of the faults of its rows: a clause."""
    unseen = [row["fault"] for row in rows if np.isnan(row["seen_from"])]
    rewarded = [row["fault"] for row in rows if not np.isnan(row["better_from"])]
    clauses = [", ".join(unseen)] if unseen else []
    if rewarded:
        clauses.append(f"rewards {listed(rewarded)}")
    return "; ".join(clauses) or "–"


def _page(limits: pd.DataFrame, values: pd.DataFrame) -> Iterator[str]:
    """The lines of README.md."""
    planted = values[values["share"] > 0]
    unplanted = int(values[values["share"] == 0]["draws"].iloc[0])
    shares = sorted(planted["share"].unique())
    yield "# What the metrics see"
    yield ""
    yield METHOD.format(
        unplanted=unplanted,
        planted=int(planted["draws"].iloc[0]),
        level=unplanted + 1,
        shares=", ".join(f"{share:.0%}" for share in shares),
    )
    yield ""
    yield "| a share of the samples is | |"
    yield "|---|---|"
    for fault in limits["fault"].unique():
        yield f"| {fault} | {FAULT_NOTES.get(fault, '')} |"
    yield ""
    yield "Made by `ganbench audit`. Every value: [audit.csv](audit.csv); the tables below, and"
    yield "whether a metric is monotone, not monotone or flat: [limits.csv](limits.csv)."
    yield ""
    yield f"![limits]({PICTURE}.png)"
    yield ""
    yield "The smallest share from which on a metric sees a fault, the darker the smaller;"
    yield "+: the fault is rewarded from this share on."
    for dataset, rows in limits.groupby("dataset", sort=False):
        yield from _section(str(dataset), rows)


def _section(dataset: str, limits: pd.DataFrame) -> Iterator[str]:
    first = records(limits)[0]
    faults = list(limits["fault"].unique())
    yield ""
    yield f"## {dataset}"
    yield ""
    yield f"{first['n']:,} samples a draw, protocol `{first['protocol']}`."
    yield ""
    yield f"| metric | {' | '.join(faults)} | cannot see |"
    yield f"|---|{'---|' * (len(faults) + 1)}"
    for column in sorted(limits["column"].unique(), key=rank):
        of_column = records(limits[limits["column"] == column])
        sights = [sight(row) for row in of_column]
        label = f"{short_name(column)} (`{column}`)"
        yield f"| {label} | {' | '.join(sights)} | {blind_spots(of_column)} |"


def limits_of(
    audits: Sequence[pd.DataFrame], dataset: str, column: str
) -> tuple[list[Record], str]:
    """The rows of a metric in the first audit that has any, and where they were measured if not in
    this column of this dataset; no rows where it was not audited."""
    for limits in audits:
        rows = limits[(limits["column"] == column) & (limits["dataset"] == dataset)]
        if len(rows):
            return records(rows), ""
    for limits in audits:
        rows = limits[limits["metric"] == metric(column).name]
        if len(rows):
            first: dict[str, Any] = records(rows)[0]
            is_same = (rows["column"] == first["column"]) & (rows["dataset"] == first["dataset"])
            where = f"{first['dataset']}, {short_name(first['column'])}"
            return records(rows[is_same]), where
    return [], ""
