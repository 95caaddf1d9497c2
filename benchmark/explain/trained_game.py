"""Training runs with the leading eigenvalue of their game in the middle and their verdict at the
end."""

from collections.abc import Iterator, Sequence
from typing import Any

import pandas as pd
import torch
from torch import Tensor

from benchmark.analysis.stability import judge
from benchmark.explain.vector_field import Game, leading
from benchmark.matrix.cell import Cell, stream_seed
from benchmark.measure.instrument import noise_floor, open_instrument
from benchmark.metrics import ranking
from benchmark.store.code import measuring_code
from benchmark.store.schema import Protocol
from benchmark.train.loop import train_stack
from benchmark.train.snapshot import Snapshot

BATCH = 2048  # samples on which the field is taken


def leading_of(snapshot: Snapshot, objective: Any, data: Tensor) -> complex:
    """`leading` of the networks of a snapshot on BATCH samples of `data`, the same ones for all
    snapshots. The vectors of spectral norm stay as they are."""
    generator = torch.Generator().manual_seed(stream_seed(0, "field"))
    real = data[torch.randint(len(data), (BATCH,), generator=generator)]
    z = torch.randn(BATCH, snapshot.G.latent_dim, generator=generator)
    noise = objective.draw(real, generator)
    snapshot.D.eval()
    try:
        return leading(Game(objective, snapshot.G, snapshot.D, real, z, noise))
    finally:
        snapshot.D.train()


def runs(cells: Sequence[Cell], objective: Any, middle: float) -> pd.DataFrame:
    """Train cells of one place and objective as a stack: a row for each, in their order. seed;
    middle: the generator step after this share of the budget; real, imaginary: `leading` there
    (NaN: the run had diverged, or the iteration did not end); verdict, verdict_onset (generator
    step): by the rules of a report."""
    instrument = open_instrument(cells[0].dataset, cells[0].evaluation, "cpu")
    data = instrument.dataset.train()
    facts: dict[str, dict[str, Any]] = {}
    for cell in cells:
        facts[cell.key] = {"seed": cell.seed, "status": "done", "onset": None, "middle": None}
    evals: list[dict[str, Any]] = []
    steps: list[dict[str, Any]] = []
    for snapshot in _snapshots(cells):
        key, facts_of_run = snapshot.cell.key, facts[snapshot.cell.key]
        if snapshot.row:
            steps.append({"cell": key, "g_step": snapshot.g_steps, **snapshot.row})
        if snapshot.progress.share == middle and snapshot.onset is None:
            found = leading_of(snapshot, objective, data)
            at = {"real": found.real, "imaginary": found.imag, "middle": snapshot.g_steps}
            facts_of_run |= at
        try:
            evals += _evaluated(snapshot, instrument)
        except FloatingPointError:
            facts_of_run |= {"status": "diverged", "onset": snapshot.g_steps}
        if snapshot.onset is not None:
            facts_of_run |= {"status": "diverged", "onset": snapshot.onset}
    frame = pd.DataFrame(facts).T.rename_axis("key").reset_index()
    frame = frame.assign(dataset=cells[0].dataset.label, reason=None)
    label = cells[0].dataset.label
    code = measuring_code(instrument.dataset.modality)
    protocols = {label: Protocol(protocol="", floor=noise_floor(instrument, code).mean)}
    primary = {label: str(ranking(instrument.columns.values()))}
    verdicts = judge(frame, pd.DataFrame(evals), pd.DataFrame(steps), protocols, primary)
    kept = ["seed", "middle", "real", "imaginary"]
    return frame.join(verdicts[["verdict", "verdict_onset", "regret"]], on="key")[
        [*kept, "verdict", "verdict_onset", "regret"]
    ]


def _snapshots(cells: Sequence[Cell]) -> Iterator[Snapshot]:
    for snapshots in train_stack(cells, "cpu", execution="eager"):
        for snapshot in snapshots:
            if snapshot is not None:
                yield snapshot


def _evaluated(snapshot: Snapshot, instrument: Any) -> list[dict[str, Any]]:
    """A snapshot's rows of evals; none where no evaluation is due."""
    if not snapshot.evaluation_due:
        return []
    about = {"cell": snapshot.cell.key, "g_steps": snapshot.g_steps}
    readings = instrument.measure(instrument.generated(snapshot))
    return [
        {**about, "metric": column, "value": reading.value} for column, reading in readings.items()
    ]
