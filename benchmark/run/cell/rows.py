"""Rows of the files that a cell appends to."""

from typing import Any

from benchmark.measure.protocol import Instrument, protocol_id
from benchmark.train.snapshot import Snapshot


def eval_rows(snapshot: Snapshot, instrument: Instrument) -> list[dict[str, Any]]:
    """Measure a snapshot: rows of evals.jsonl. No random stream of the training is used."""
    readings = instrument.measure(instrument.generated(snapshot))
    return [
        {
            "samples_seen": snapshot.samples_seen,
            "g_steps": snapshot.g_steps,
            "train_seconds": snapshot.train_seconds,
            "metric": column,
            "value": value,
            "stderr": stderr,
            "n": instrument.n,
            "protocol": protocol_id(instrument),
        }
        for column, (value, stderr) in readings.items()
    ]


def layer_rows(snapshot: Snapshot) -> list[dict[str, Any]]:
    """Rows of layers.jsonl: one per network and parameter tensor, counted from the input."""
    rows = []
    for network, norms in snapshot.layers.items():
        for depth, (layer, norm) in enumerate(norms.items()):
            names = {"network": network, "layer": layer, "depth": depth}
            rows.append({"g_step": snapshot.g_steps, **names, "grad_norm": norm})
    return rows
