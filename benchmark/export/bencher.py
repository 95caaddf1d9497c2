"""Bencher Metric Format: the final values of a result set as the JSON that `bencher run` takes."""

import json
from pathlib import Path

import numpy as np

from benchmark.analysis.tables import Tables
from benchmark.check.baseline import measured
from benchmark.stats.intervals import median, median_interval
from benchmark.store.files import write_bytes
from benchmark.store.layout import ResultSet

Measures = dict[str, dict[str, float]]
FILE = "bencher.json"


def export(tables: Tables, to: str) -> Path:
    """Write the measures to a file; an empty `to`: exports/bencher.json of the set. Returns its
    path."""
    file = Path(to) if to else ResultSet(tables.folder).exports / FILE
    file.parent.mkdir(parents=True, exist_ok=True)
    text = json.dumps(measures(tables), indent=1, allow_nan=False)
    write_bytes(file, f"{text}\n".encode())
    return file


def measures(tables: Tables) -> dict[str, Measures]:
    """Benchmark (`wgan / dcgan / digits`) → measure (a gated metric, `diverged`, a cost) → value,
    the median over the seeds that have one, with its 95 % interval from five seeds on; of
    `diverged` the share of seeds. A measure without a value is left out."""
    found: dict[str, Measures] = {}
    for row in measured(tables):
        values = row.finite_values
        if not values:
            continue
        if row.family == "diverged":
            metric = {"value": float(np.mean(values))}
        else:
            metric = {"value": float(median(values))}
            low, high = median_interval(values)
            if low <= high:
                metric |= {"lower_value": float(low), "upper_value": float(high)}
        found.setdefault(row.title, {})[row.metric] = metric
    return found
