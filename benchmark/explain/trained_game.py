"""Training runs with the leading eigenvalue of their game in the middle and their verdict at the
end."""

import math
from collections.abc import Iterator, Sequence
from typing import Any

import pandas as pd
import torch
from torch import Tensor

from benchmark.analysis.stability import judge
from benchmark.drawing.style import VERDICT_LOOKS, wrap
from benchmark.explain.setup import Value, cells
from benchmark.explain.vector_field import Game, leading
from benchmark.matrix.cell import Cell, stream_seed
from benchmark.measure.instrument import noise_floor, open_instrument
from benchmark.metrics import ranking
from benchmark.stats.agreement import Prediction, prediction
from benchmark.store.code import measuring_code
from benchmark.store.schema import Protocol
from benchmark.train.loop import train_stack
from benchmark.train.snapshot import Snapshot

DATASET = "gaussians8"
MLP = {"name": "mlp", "width": 64}
RECIPE = {"optimizer": "rmsprop", "lr": 5e-3}
TRAINING = {"steps": 1000, "batch_size": 64, "recipe": RECIPE}
SCHEDULE = [0, 0.1, 0.25, 0.5, 0.75, 1]
MIDDLE = 0.5
MEASURED = ["swd", "modes_covered", "high_quality"]
# seeds that train as a stack
BLOCKS = [[*range(first, first + 5)] for first in range(0, 25, 5)]
BATCH = 2048  # samples on which the field is taken
PARTS = ["real", "imaginary"]
UNKNOWN = dict.fromkeys(["middle", *PARTS], math.nan)


def measure_trained(value: Value, objective: Any, seeds: list[int]) -> pd.DataFrame:
    """A row per seed, part trained: x the seed; real, imaginary: the leading eigenvalue at
    generator step `middle`; kind the verdict at the end, y the step from which it holds; regret
    (final ÷ best distance)."""
    evaluation = {"schedule": SCHEDULE, "log_every": 25, "metrics": MEASURED}
    of_seeds = cells(value, MLP, {"name": DATASET}, seeds, evaluation, **TRAINING)
    names = {"seed": "x", "verdict": "kind", "verdict_onset": "y"}
    rows = runs(of_seeds, objective, MIDDLE).rename(columns=names)
    rows.insert(0, "part", "trained")
    return rows


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
        facts[cell.key] = {"seed": cell.seed, "status": "done", "onset": None} | UNKNOWN
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
    label = cells[0].dataset.label
    frame = pd.DataFrame(facts).T.rename_axis("key").reset_index()
    frame = frame.assign(dataset=label, reason=None)
    code = measuring_code(instrument.dataset.modality)
    protocols = {label: Protocol(protocol="", floor=noise_floor(instrument, code).mean)}
    primary = {label: str(ranking(instrument.columns.values()))}
    judged = judge(frame, pd.DataFrame(evals), pd.DataFrame(steps), protocols, primary)
    frame = frame.join(judged[["verdict", "verdict_onset", "regret"]], on="key")
    frame[["middle", *PARTS]] = frame[["middle", *PARTS]].astype(float)
    return frame[["seed", "middle", *PARTS, "verdict", "verdict_onset", "regret"]]


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


def draw_trained(ax: Any, rows: pd.DataFrame) -> None:
    """Draw leading eigenvalues, a column per objective and a point per run."""
    names = list(rows["objective"].unique())
    for verdict, look in VERDICT_LOOKS.items():
        runs_of_verdict = rows[(rows["kind"] == verdict) & rows["real"].notna()]
        if runs_of_verdict.empty:
            continue
        column = runs_of_verdict["objective"].map(names.index).astype(float)
        # side by side, by seed
        at = column + (runs_of_verdict["x"].astype(float) % 25 - 12) / 40
        colour = {"color": look[0], "edgecolors": "k", "linewidths": 0.4}
        ax.scatter(at, runs_of_verdict["real"], s=18, label=verdict, **colour)
    ax.set_yscale("symlog", linthresh=1)
    ax.set_xticks(range(len(names)), [wrap(name) for name in names], size=7)
    ax.set(ylabel="largest real part half-way", title="trained networks")
    ax.legend(ncols=4, fontsize=7)


def predictions(rows: pd.DataFrame) -> dict[str, Prediction]:
    """What the leading eigenvalue half-way says of trained runs, by what happens after it."""
    had_failed = rows["y"].astype(float) <= rows["middle"].astype(float)
    later = rows[rows["real"].notna() & rows["kind"].notna() & ~had_failed]
    events = {name: later["kind"] == name for name in ("late collapse", "diverged")}
    events["any failure"] = later["kind"] != "ok"
    scores = later["real"].astype(float)
    return {name: prediction(scores, of, later["objective"]) for name, of in events.items()}


def in_words(rows: pd.DataFrame) -> str:
    """What trained runs say, a sentence or none."""
    if rows.empty:
        return ""
    parts = []
    for name, found in predictions(rows).items():
        text = f"{name}: none that can be compared"
        if found.num_events:
            text = (
                f"{name}: AUC {found.auc:.2f} [{found.low:.2f}, {found.high:.2f}], "
                f"{found.num_events} runs against {found.num_others}"
            )
        parts.append(text)
    return (
        f" Of {len(rows)} trained runs of {rows['objective'].nunique()} objectives, "
        f"{(rows['kind'] != 'ok').sum()} fail. How well the leading eigenvalue at the middle of "
        "training tells the runs that fail after it from the others of the same objective (½ is "
        f"chance): {'; '.join(parts)}."
    )
