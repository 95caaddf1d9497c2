"""A finished cell's samples as files for other people's metrics: one npz, or a folder of PNG
files."""

import fnmatch
import zipfile
from collections.abc import Iterator
from dataclasses import replace
from difflib import get_close_matches
from pathlib import Path
from pickle import UnpicklingError
from typing import Any

import numpy as np
from PIL import Image

import variants
from benchmark.errors import UserError, unknown
from benchmark.matrix.cell import Cell, cell_from_spec, stream_seed
from benchmark.run.cell.samples import load_snapshot
from benchmark.store.code import training_code
from benchmark.store.files import read_json, whole_file
from benchmark.store.layout import ResultSet
from benchmark.train.snapshot import Snapshot

CHUNK = 2500  # samples in memory at a time, unless one evaluation takes more


def export(
    folder: Path,
    name: str,
    n: int,
    target: Path,
    device: str,
    seed: int | None = None,
    png: bool = False,
) -> Path:
    """Write n samples of a cell of the result set `folder` to `target`, and return the path.

    KEY-n.npz holds `arr_0`: images as uint8 (n, H, W, 3), grey repeated, as the FID evaluators of
    ADM and its successors read them; points as float32 (n, 2). With `png` a folder KEY-n of
    000000.png … in its place. Without a seed the first samples are those that the cell's last
    evaluation measured, on the same kind of device. Raises UserError for an unknown cell, one that
    is not finished, or one whose generator is not there."""
    key = find(folder, name)
    snapshot = _snapshot(folder, key, device)
    stem = f"{key}-{n}" if seed is None else f"{key}-{n}-seed{seed}"
    try:
        target.mkdir(parents=True, exist_ok=True)
        if png:
            return _write_png(target / stem, samples(snapshot, n, seed))
        return _write_npz(target / f"{stem}.npz", samples(snapshot, n, seed), n)
    except FloatingPointError as error:
        raise UserError(f"{key}: {error}") from error
    except OSError as error:
        raise UserError(f"--output {target}: {error.strerror or error}") from error


def find(folder: Path, name: str) -> str:
    """The key of a cell by its key, by how it begins (labels as they are written elsewhere will
    do), or by a pattern with * and ?. Raises UserError where that names no cell, or several."""
    keys = [entry.key for entry in ResultSet(folder).matrix.cells]
    written = "".join(c if c.isalnum() or c in "_=.-*?" else "_" for c in name)
    found = [key for key in keys if fnmatch.fnmatchcase(key, f"{written}*")]
    if len(found) == 1:
        return found[0]
    if found:
        raise UserError(
            f"{name!r} names {len(found)} cells, such as {', '.join(found[:3])}; write more of the key"
        )
    near = get_close_matches(written, keys, n=3, cutoff=0.3)
    raise UserError(
        f"no cell {name!r} in {folder}; nearest: {', '.join(near) or 'none'} (ganbench status --json)"
    )


def is_stale(folder: Path, key: str) -> bool:
    """Whether other code than the present trained a cell: the architecture that its weights fill
    may be another."""
    files = ResultSet(folder).cell(key)
    if not files.status.status.is_finished:
        return False
    return files.status.code != training_code(_cell(files.spec_file))


def samples(snapshot: Snapshot, n: int, seed: int | None = None) -> Iterator[np.ndarray]:
    """n samples in chunks, images as uint8 (·, H, W, C), points as float32 (·, 2); fewer are the
    first of more."""
    cell: Cell = snapshot.cell
    i, left = 0, n
    while left:
        size = min(
            left, CHUNK if i else max(CHUNK, cell.evaluation.n.points, cell.evaluation.n.images)
        )
        own = cell.seed if seed is None and i == 0 else stream_seed(cell.seed, "export", seed, i)
        part = replace(snapshot, cell=replace(cell, seed=own)).sample(size).cpu().numpy()
        yield part.transpose(0, 2, 3, 1) if part.ndim == 4 else part.astype(np.float32)
        i, left = i + 1, left - size


def _snapshot(folder: Path, key: str, device: str) -> Snapshot:
    files = ResultSet(folder).cell(key)
    state = files.status.status
    if not state.is_finished:
        raise UserError(f"{key} is {state}: samples are those of a finished cell")
    if not files.generator.exists():
        hint = (
            "was made before generators were kept: run it with --force"
            if state == "done"
            else state
        )
        raise UserError(f"{key} has no generator.pt to sample: it {hint}")
    cell = _cell(files.spec_file)
    try:
        return load_snapshot(cell, files, device)
    except UserError:
        raise
    except (
        Exception
    ) as error:  # a file of any content: what torch makes of it is many kinds of error
        reason = " ".join(str(error).split())[:300]
        if isinstance(error, UnpicklingError):  # torch's advice is to load it without its safeguard
            reason = "not weights alone"
        raise UserError(
            f"{files.generator} cannot be read: {type(error).__name__}: {reason}"
        ) from error


def _cell(path: Path) -> Cell:
    """The cell of a spec.json. Raises UserError, naming it, where it is gone or does not say what
    to sample."""
    if not path.exists():
        raise UserError(f"there is no {path}: what to sample is not known")
    try:
        spec = read_json(path)
        cell = cell_from_spec(spec)
    except (KeyError, TypeError, ValueError) as error:
        raise UserError(f"{path} is damaged: {type(error).__name__}: {error}") from error
    if not {"n", "sampling_statistics"} <= spec.get("evaluation", {}).keys():
        raise UserError(
            f"{path} does not say how the cell was sampled (evaluation.n, evaluation.sampling_statistics)"
        )
    for axis, choice in zip(
        variants.AXES, (cell.objective, cell.architecture, cell.dataset), strict=True
    ):
        if choice.name not in (known := variants.names(axis)):
            raise UserError(f"{path}: {unknown(axis.removesuffix('s'), choice.name, known)}")
    return cell


def _write_npz(path: Path, chunks: Iterator[np.ndarray], n: int) -> Path:
    with (
        whole_file(path) as file,
        zipfile.ZipFile(file, "w") as archive,
        archive.open("arr_0.npy", "w", force_zip64=True) as npy,
    ):
        for i, chunk in enumerate(map(_rgb, chunks)):
            if i == 0:
                header: dict[str, Any] = {"descr": chunk.dtype.str, "fortran_order": False}
                np.lib.format.write_array_header_1_0(npy, header | {"shape": (n, *chunk.shape[1:])})
            npy.write(np.ascontiguousarray(chunk).data)
    return path


def _write_png(folder: Path, chunks: Iterator[np.ndarray]) -> Path:
    i = 0
    for chunk in chunks:
        if chunk.ndim != 4:
            raise UserError("--png is for images; points are written as npz")
        folder.mkdir(exist_ok=True)
        for image in chunk:
            Image.fromarray(image.squeeze()).save(folder / f"{i:06d}.png")
            i += 1
    return folder


def _rgb(chunk: np.ndarray) -> np.ndarray:
    return chunk.repeat(3, axis=3) if chunk.ndim == 4 and chunk.shape[3] == 1 else chunk
