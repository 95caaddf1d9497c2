"""One cell, run into its folder: trained, measured, saved as it goes, continued where it was cut
off, committed."""

import errno
import io
import math
import time
import traceback
from collections.abc import Callable, Generator
from contextlib import closing
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

import numpy as np
import torch
from PIL import Image

from benchmark.errors import UserError
from benchmark.machine.memory import out_of_memory, release_memory, reset_peak_memory
from benchmark.matrix.cell import Cell
from benchmark.measure.instrument import measure, open_instrument
from benchmark.measure.protocol import protocol_id
from benchmark.run.checkpoint import drop_checkpoints, row_lengths
from benchmark.run.record import Attempt
from benchmark.store.files import append_rows, write_bytes
from benchmark.store.result_set import FINISHED
from benchmark.text import one_line
from benchmark.train.build import make_networks, make_recipe
from benchmark.train.data import make_dataset
from benchmark.train.loop import train
from benchmark.train.snapshot import Snapshot, State

Event = dict[str, Any]
GRID = 8  # a saved sheet shows GRID x GRID samples
HEARD = 1.0  # seconds between two events of a cell in training, at most
FULL = (errno.ENOSPC, errno.EDQUOT, errno.EROFS, errno.EIO)  # what a disk says that takes no more


class Interrupted(BaseException):
    """Raised in the process that runs a cell, wherever it is: the cell has to end now."""


@dataclass(frozen=True)
class Place:
    """What a cell gets from the stack it is trained in (stacked_runner), and by itself from `train`
    and the clock."""

    snapshots: Callable[
        [Cell, Callable[[], bool], State | None], Generator[Snapshot | None, None, None]
    ]
    clock: Callable[[], float] = time.perf_counter  # the seconds that count as the cell's
    due: Callable[[Attempt, float], bool] = (
        Attempt.due
    )  # whether to save a checkpoint of the snapshot that is out


def run_cell(
    cell: Cell,
    folder: Path,
    device: str,
    stop: Callable[[], bool] = lambda: False,  # whether to save a checkpoint and end
    # seconds between checkpoints; 0: one after every generator step
    checkpoint_every: float = 60.0,
    execution: str = "auto",  # of the training
    place: Place | None = None,  # in a stack
) -> Generator[Event, None, None]:
    """Train and measure one cell into its folder, and commit its status. The caller holds the
    cell's lock.

    Goes on from the cell's last checkpoint, where there is one of the same code and evaluation
    options: rows written after it are dropped. Yields the running status after every snapshot, at
    least about once a second, with `checkpoint` where one has just been saved, and last the
    committed one. Divergence and errors are findings: they end the cell, not the run. Raises
    UserError where nothing more can be written."""
    path = folder / "cells" / cell.key
    place = place or Place(lambda cell, pause, state: train(cell, device, state, pause, execution))
    try:
        yield from _run_cell(cell, path, device, stop, checkpoint_every, place)
    except OSError as error:
        raise UserError(
            f"{error.filename or path}: {error.strerror}; what is committed stays, and the next run goes on from there"
        ) from error


def _run_cell(
    cell: Cell,
    path: Path,
    device: str,
    stop: Callable[[], bool],
    checkpoint_every: float,
    place: Place,
) -> Generator[Event, None, None]:
    attempt = Attempt(cell, path, device, place.clock)
    status, saved, heard = attempt.status, attempt.continued, time.monotonic()
    handled: bool = bool(
        saved and saved["handled"]
    )  # whether the rows of the snapshot that is out are written
    out: Snapshot | None = None  # while the training stands between two steps
    reference_seconds = status["probe_seconds"] - (saved["train"]["clocks"][1] if saved else 0.0)
    try:
        yield dict(status)
        release_memory(device)
        try:
            make_dataset(cell.dataset).splits  # noqa: B018  loaded apart, that the clock may tell it from measuring
            began = time.perf_counter()
            protocol = protocol_id(open_instrument(cell.dataset, cell.evaluation, device))
        except (OSError, ValueError) as error:  # it was there when the run was prepared
            raise Interrupted(f"dataset {cell.dataset.label}: {one_line(error)}") from error
        status["eval_seconds"] += time.perf_counter() - began
        if saved and status["protocol"] != protocol:  # the data, or what a classifier has become
            attempt.begin(
                [
                    f"the checkpoint was measured under protocol {status['protocol']}, now it is {protocol}"
                ]
            )
            status, saved, handled, reference_seconds = attempt.status, None, False, 0.0
        reference_seconds += attempt.time_reference()
        sizes = [sum(p.numel() for p in network.parameters()) for network in make_networks(cell)]
        status |= {"protocol": protocol, "recipe": asdict(make_recipe(cell))}
        status["parameters"] = dict(zip(("generator", "discriminator"), sizes, strict=True))

        def pause() -> bool:
            return stop() or time.monotonic() - heard >= min(HEARD, checkpoint_every)

        with closing(place.snapshots(cell, pause, saved and saved["train"])) as snapshots:
            for snapshot in snapshots:
                if snapshot is None:  # the stack is not complete yet
                    yield dict(status)
                    continue
                modes = (
                    [how["mode"] for how in (status["execution"], snapshot.execution)]
                    if saved
                    else []
                )
                if len({*modes}) > 1:
                    line = "the checkpoint is of execution {}, and from there on it is {}".format(
                        *modes
                    )
                    status["warnings"] = [*status["warnings"], line]
                out = last = snapshot
                attempt.continued = saved = None  # its tensors are no part of what the cell takes
                status |= {
                    "execution": snapshot.execution,
                    "compile_seconds": snapshot.compile_seconds,
                }
                status |= {"samples_seen": snapshot.samples_seen, "g_steps": snapshot.g_steps}
                status |= {"progress": snapshot.progress, "train_seconds": snapshot.train_seconds}
                status |= dict(
                    zip(
                        ("forwards_per_d_step", "forwards_per_g_step"),
                        snapshot.forwards,
                        strict=True,
                    )
                )
                status["peak_memory_mb"] = max(status["peak_memory_mb"], snapshot.peak_memory_mb)
                status["warmup_seconds"] = snapshot.warmup_seconds
                status["probe_seconds"] = snapshot.probe_seconds + reference_seconds
                if not handled:
                    if snapshot.due and stop():  # measuring may take long
                        raise Interrupted
                    if snapshot.row:
                        append_rows(path / "steps.jsonl", [snapshot.row])
                    if snapshot.due:
                        began = time.perf_counter()
                        append_rows(path / "evals.jsonl", evaluate(snapshot, protocol, device))
                        append_rows(path / "layers.jsonl", layer_rows(snapshot))
                        save_samples(path / "samples", snapshot)
                        status["eval_seconds"] += time.perf_counter() - began
                    attempt.lengths, handled = row_lengths(path), True
                if stop():
                    raise Interrupted
                attempt.note()
                saving = place.due(attempt, checkpoint_every)
                if saving:
                    attempt.save(snapshot, handled)
                yield status | ({"checkpoint": True} if saving else {})
                heard = time.monotonic()
                reset_peak_memory(
                    device
                )  # neither the warm-up nor measuring is what the objective costs
                out, handled = None, False
        out, handled = last, True
        status |= {"status": "done", "onset": last.onset}
        if last.onset is None:
            save_generator(path, last)
        else:
            status |= {"status": "diverged", "reason": "a loss is not finite"}
        status["probe_seconds"] += attempt.time_reference()
    except (Interrupted, GeneratorExit) as end:
        if out is not None and out.state is not None:  # else its stack has gone on
            attempt.save(out, handled)
        status |= {"status": "interrupted", "reason": str(end) or None}
        attempt.write()
        if isinstance(end, GeneratorExit):
            raise
        yield dict(status)
        return
    except FloatingPointError as error:
        status |= {"status": "diverged", "reason": str(error), "onset": status["g_steps"]}
    except Exception as error:
        if isinstance(error, OSError) and (
            error.errno in FULL or str(error.filename).startswith(str(path))
        ):
            raise
        reason = out_of_memory(error, device) or f"{type(error).__name__}: {one_line(error)[:500]}"
        status |= {"status": "error", "reason": reason}
        write_bytes(path / "traceback.txt", traceback.format_exc().encode())
    attempt.write(commit=True)
    if status["status"] in FINISHED:
        drop_checkpoints(path)
    yield dict(status)


def evaluate(snapshot: Snapshot, protocol: str, device: str) -> list[dict[str, Any]]:
    """The rows of evals.jsonl for a snapshot."""
    n = open_instrument(snapshot.cell.dataset, snapshot.cell.evaluation, device).n
    at = {
        "samples_seen": snapshot.samples_seen,
        "g_steps": snapshot.g_steps,
        "train_seconds": snapshot.train_seconds,
    }
    return [
        at | {"metric": column, "value": value, "stderr": stderr, "n": n, "protocol": protocol}
        for column, (value, stderr) in measure(snapshot, device).items()
    ]


def layer_rows(snapshot: Snapshot) -> list[dict[str, Any]]:
    """The rows of layers.jsonl for a snapshot: one per network and parameter tensor, counted from
    the input."""
    return [
        {
            "g_step": snapshot.g_steps,
            "network": network,
            "layer": name,
            "depth": depth,
            "grad_norm": norm,
        }
        for network, norms in snapshot.layers.items()
        for depth, (name, norm) in enumerate(norms.items())
    ]


def save_generator(path: Path, snapshot: Snapshot) -> None:
    """Save the weights of the generator that samples, for more samples than were measured
    (`ganbench sample`)."""
    buffer = io.BytesIO()
    weights = {
        name: value.cpu().clone() for name, value in snapshot.G.state_dict().items()
    }  # and not a whole stack's
    torch.save(weights, buffer)
    write_bytes(path / "generator.pt", buffer.getvalue())


def load_snapshot(cell: Cell, path: Path, device: str) -> Snapshot:
    """The end of a run from the weights of its generator (generator.pt in a cell's folder): it
    samples, no more; its critic is untrained. Raises OSError where there are none, RuntimeError
    where they do not fit."""
    G, D = (network.to(device) for network in make_networks(cell))
    G.load_state_dict(torch.load(path / "generator.pt", map_location=device, weights_only=True))
    return Snapshot(0, 0, 1.0, 0.0, None, {}, (math.nan, math.nan), 0.0, False, None, G, D, cell)


def save_samples(folder: Path, snapshot: Snapshot) -> None:
    """Save images (GRID² of them) or points (1,000) as npz, and images as a PNG sheet too."""
    images = len(make_dataset(snapshot.cell.dataset).shape) == 3
    samples = snapshot.sample(GRID**2 if images else 1000).cpu().numpy()
    stem, buffer = f"{snapshot.g_steps:06d}", io.BytesIO()
    np.savez_compressed(buffer, samples=samples)
    write_bytes(folder / f"{stem}.npz", buffer.getvalue())
    if images:
        channels, side = samples.shape[1], samples.shape[2]
        rows = samples.reshape(GRID, GRID, channels, side, side).transpose(0, 3, 1, 4, 2)
        sheet, buffer = rows.reshape(GRID * side, GRID * side, channels), io.BytesIO()
        Image.fromarray(sheet.squeeze()).save(buffer, "PNG")
        write_bytes(folder / f"{stem}.png", buffer.getvalue())
