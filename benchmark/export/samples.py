"""Samples of a finished cell, as files for other tools: one npz, lines of text, or a folder of PNG
files."""

import fnmatch
import zipfile
from collections.abc import Iterator
from dataclasses import replace
from difflib import get_close_matches
from pathlib import Path
from typing import Any

import numpy as np
import torch
from PIL import Image

import variants
from benchmark.errors import UserError, unknown
from benchmark.matrix.cell import Cell, cell_from_spec, stream_seed
from benchmark.run.cell.samples import as_lines, load_snapshot
from benchmark.run.prepare import data_change, datasets_of
from benchmark.store.code import training_code
from benchmark.store.files import read_json, refuse_link, whole_file
from benchmark.store.layout import ResultSet
from benchmark.store.schema import MatrixFile, RunStatus
from benchmark.text import described, one_line
from benchmark.train.data import make_dataset
from benchmark.train.snapshot import Snapshot

CHUNK = 2500  # samples in memory at a time, unless one evaluation takes more
NO_PICTURES = {
    "points": "points are written as npz",
    "text": "text is written as npz and txt",
}


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
    ADM and its successors read them; points as float32 (n, 2); text as uint8 codes (n, L), with
    KEY-n.txt next to it, a line each. With `png` it is a folder KEY-n of 000000.png …. Without a
    seed the first samples are those that the cell's last evaluation measured, on the same kind of
    device. Raises UserError for an unknown cell, for a cell that is not finished, and where the
    generator's weights are missing."""
    results = ResultSet(folder)
    key = find(folder, name)
    cell = _finished_cell(results, key)
    dataset = _dataset(results, cell)
    if png and dataset.modality in NO_PICTURES:
        raise UserError(f"--png is for images; {NO_PICTURES[dataset.modality]}")
    snapshot = load_snapshot(cell, results.cell(key), device)
    stem = f"{key}-{n}" if seed is None else f"{key}-{n}-seed{seed}"
    try:
        target.mkdir(parents=True, exist_ok=True)
        chunks = samples(snapshot, n, seed)
        if png:
            return _write_png(target / stem, chunks)
        if dataset.modality == "text":
            chunks = _write_lines(target / f"{stem}.txt", chunks, dataset)
        return _write_npz(target / f"{stem}.npz", chunks, n)
    except FloatingPointError as error:
        raise UserError(f"{key}: {error}") from error
    except OSError as error:
        raise UserError(f"--output {target}: {error.strerror or error}") from error


def find(folder: Path, name: str) -> str:
    """The key of the cell that a name means: a key, the beginning of a key, or a pattern with * and
    ?. Labels and display names may be written as in reports. Raises UserError where the name fits
    no cell, or several."""
    matrix = ResultSet(folder).matrix
    keys = [entry.key for entry in matrix.cells]
    names = _names(matrix)
    pattern, found = _matching(name, keys)
    if name in names:
        axis, label = names[name]
        found = [entry.key for entry in matrix.cells if getattr(entry, axis) == label]
    elif not found:
        labelled = name
        for shown in sorted(names, key=len, reverse=True):
            labelled = labelled.replace(shown, names[shown][1])
        _, found = _matching(labelled, keys)
    if len(found) == 1:
        return found[0]
    if found:
        first = ", ".join(found[:3])
        raise UserError(
            f"{name!r} names {len(found)} cells, such as {first}; write more of the key"
        )
    nearest = ", ".join(get_close_matches(pattern, keys, n=3, cutoff=0.3)) or "none"
    raise UserError(f"no cell {name!r} in {folder}; nearest: {nearest} (ganbench status --json)")


def _names(matrix: MatrixFile) -> dict[str, tuple[str, str]]:
    """Of every display name its axis and its label."""
    names = {}
    for axis, shown_names in matrix.display_names.items():
        for label, shown in shown_names.items():
            names[shown] = axis, label
    return names


def _matching(name: str, keys: list[str]) -> tuple[str, list[str]]:
    """The pattern that a name is, and the keys that begin like it."""
    pattern = "".join(c if c.isalnum() or c in "_=.-*?" else "_" for c in name)
    return pattern, [key for key in keys if fnmatch.fnmatchcase(key, f"{pattern}*")]


def is_stale(folder: Path, key: str) -> bool:
    """Whether different code trained a cell; its weights may then belong to another network."""
    files = ResultSet(folder).cell(key)
    status = files.status
    return status.status.is_finished and status.code != training_code(_cell(files.spec_file))


def samples(snapshot: Snapshot, n: int, seed: int | None = None) -> Iterator[np.ndarray]:
    """n samples in chunks: images as uint8 (·, H, W, C), points as float32 (·, 2), text as uint8
    codes (·, L). Fewer samples are the first of more, and without a seed the first chunk has all
    that an evaluation takes."""
    first = max(CHUNK, *snapshot.cell.evaluation.n.plain().values())
    i = 0
    left = n
    while left:
        size = min(left, CHUNK if i else first)
        drawn = snapshot.sample(size, _stream(snapshot.cell, seed, i)).cpu().numpy()
        yield drawn.transpose(0, 2, 3, 1) if drawn.ndim == 4 else drawn
        i += 1
        left -= size


def _stream(cell: Cell, seed: int | None, chunk: int) -> int | None:
    """The seed of a chunk's latents; None: the latents of the cell's evaluations."""
    if seed is None and chunk == 0:
        return None
    other = replace(cell, seed=stream_seed(cell.seed, "export", seed, chunk))
    return other.stream("evaluation")


def _finished_cell(results: ResultSet, key: str) -> Cell:
    """A finished cell that left its generator, its dataset with its place on this machine. Raises
    UserError where it cannot be had."""
    files = results.cell(key)
    committed = files.status
    status = committed.status
    if not status.is_finished:
        raise UserError(f"{key} is {status}: samples are those of a finished cell")
    if not files.generator.exists():
        hint: str = status
        if status == RunStatus.DONE:
            hint = "was made before generators were kept: run it with --force"
        raise UserError(f"{key} has no generator.pt to sample: it {hint}")
    cell = _cell(files.spec_file)
    # Raises where one is not as it was committed
    _ = files.spec(committed), files.environment(committed)
    here = datasets_of(results.matrix).get(cell.dataset.label, cell.dataset)
    return replace(cell, dataset=here)


def _dataset(results: ResultSet, cell: Cell) -> Any:
    """The dataset of a cell. Raises UserError for text whose characters cannot be had, or that has
    changed: codes may then stand for other characters."""
    label = cell.dataset.label
    dataset = make_dataset(cell.dataset)
    if dataset.modality != "text":
        return dataset
    try:
        dataset.characters  # noqa: B018  reads the text where they depend on it
    except (OSError, ValueError) as error:
        raise UserError(f"dataset {label}: {one_line(error)}") from error
    known = results.protocols.get(label)
    change = data_change(cell.dataset, known.dataset.content_hash) if known else None
    if change:
        raise UserError(
            f"data of {label}: it has changed since the cell trained on it ({change}), and its "
            "codes may stand for other characters"
        )
    return dataset


def _cell(path: Path) -> Cell:
    """The cell of a spec.json. Raises UserError, which names the file, where it is missing or does
    not say what to sample."""
    if not path.exists():
        raise UserError(f"there is no {path}: what to sample is not known")
    try:
        spec = read_json(path)
        cell = cell_from_spec(spec)
    except (KeyError, TypeError, ValueError) as error:
        raise UserError(f"{path} is damaged: {described(error)}") from error
    if not {"n", "sampling_statistics"} <= spec.get("evaluation", {}).keys():
        raise UserError(
            f"{path} does not say how the cell was sampled "
            "(evaluation.n, evaluation.sampling_statistics)"
        )
    choices = (cell.objective, cell.architecture, cell.dataset)
    for axis, choice in zip(variants.AXES, choices, strict=True):
        known = variants.names(axis)
        if choice.name not in known:
            raise UserError(f"{path}: {unknown(axis.removesuffix('s'), choice.name, known)}")
    return cell


def _write_npz(path: Path, chunks: Iterator[np.ndarray], n: int) -> Path:
    """Write n samples as `arr_0`, chunk by chunk: only one chunk is in memory."""
    with (
        whole_file(path) as file,
        zipfile.ZipFile(file, "w") as archive,
        archive.open("arr_0.npy", "w", force_zip64=True) as npy,
    ):
        for i, chunk in enumerate(map(_rgb, chunks)):
            if i == 0:
                shape = (n, *chunk.shape[1:])
                header = {"descr": chunk.dtype.str, "fortran_order": False, "shape": shape}
                np.lib.format.write_array_header_1_0(npy, header)
            npy.write(np.ascontiguousarray(chunk).data)
    return path


def _write_lines(path: Path, chunks: Iterator[np.ndarray], dataset: Any) -> Iterator[np.ndarray]:
    """Write chunks of codes as lines of text while they pass."""
    with whole_file(path) as file:
        for chunk in chunks:
            file.write(as_lines(dataset.decode(torch.from_numpy(chunk))))
            yield chunk


def _write_png(folder: Path, chunks: Iterator[np.ndarray]) -> Path:
    """Write images as 000000.png … in a folder."""
    i = 0
    for chunk in chunks:
        refuse_link(folder)
        folder.mkdir(exist_ok=True)
        for image in chunk:
            path = folder / f"{i:06d}.png"
            # Not written through a link
            path.unlink(missing_ok=True)
            Image.fromarray(image.squeeze()).save(path)
            i += 1
    return folder


def _rgb(chunk: np.ndarray) -> np.ndarray:
    """Images with three channels; points as they are."""
    is_grey = chunk.ndim == 4 and chunk.shape[3] == 1
    return chunk.repeat(3, axis=3) if is_grey else chunk
