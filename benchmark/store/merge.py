"""Merge: result folders of one matrix become one. The folders of shards that share no disk are the
sources; they stay as they are.

Of each cell the folder that finished it is used. Cells arrive whole (a copy next to the cell, then
renames, the status last), so an interrupted merge leaves a smaller result set, and merging again
completes it. A cell that is being run is kept."""

import os
import shutil
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from benchmark.errors import DamagedError, UserError
from benchmark.store.files import empty, read_bytes, rows_of, write_bytes, write_record
from benchmark.store.layout import REAL, CellFolder, ResultSet
from benchmark.store.locks import take
from benchmark.store.origin import differing, moved, with_cells_of
from benchmark.store.schema import MatrixFile, Protocol, Race, RunStatus

UNDER_WAY = (RunStatus.RUNNING, RunStatus.INTERRUPTED)
NOT_SHARED = ("train_seconds",)  # values that differ between two runs of one cell


@dataclass(frozen=True)
class Merged:
    """What a merge did."""

    statuses: list[RunStatus]
    """Status of every cell of the matrix, in its order."""
    notes: list[str]
    """What was kept or replaced."""


def merge(sources: Sequence[Path], into: Path, prefer_first: bool = False) -> Merged:
    """Join the result folders `sources` of one matrix into `into`, a new folder or a result set of
    that matrix, which then counts as the first source.

    Cells that are settled are copied; a finished cell replaces one that failed and, in `into`, one
    that is under way. Raises UserError for folders of different matrices or protocols, and for a
    cell that two folders finished with different evaluations, unless `prefer_first`."""
    target = ResultSet(into)
    _check_target(target, sources)
    started = target.matrix_file.exists()
    folders = [ResultSet(source) for source in sources]
    if started:
        folders.insert(0, target)
    first = whole = folders[0].matrix
    for folder in folders[1:]:
        whole = _joined_matrix(folders[0], whole, folder, folder.matrix)
    protocols = _joined_protocols(folders)
    # All refusals come before the first write
    origins = {entry.key: _chosen(entry.key, folders, prefer_first) for entry in whole.cells}
    _check_one_protocol(whole, origins)
    notes = _keep_under_way(target, origins) if started else []
    content = read_bytes(folders[0].matrix_file)
    matrix = moved(whole, folders[0].path, target.path)
    try:
        if matrix != first:
            write_record(target.matrix_file, matrix)
        elif content is not None:
            write_bytes(target.matrix_file, content)
        for race in _joined_races(folders):
            target.write_race(race)
        _copy_real(target, folders)
        notes += _write(target, protocols, origins)
    except shutil.Error as error:
        # copytree lists all that it could not copy
        source, _, why = error.args[0][0]
        raise UserError(f"{source} cannot be copied: {why}") from error
    except OSError as error:
        raise UserError(f"--into {into}: {error.strerror or error}") from error
    return Merged([target.cell(key).status.status for key in origins], notes)


def _check_target(target: ResultSet, sources: Sequence[Path]) -> None:
    into = target.path
    for source in sources:
        if source.resolve() == into.resolve():
            raise UserError(
                f"--into {into} is one of the folders to merge; name a new one, or leave it out of "
                "the others"
            )
        if source.resolve() in into.resolve().parents:
            raise UserError(
                f"--into {into} lies in {source}, one of the folders to merge; name a folder "
                "outside of it"
            )
    is_new = not into.exists() or (into.is_dir() and not any(into.iterdir()))
    if not is_new and not target.matrix_file.exists():
        raise UserError(f"--into {into} is neither empty nor the results of a matrix")


def _joined_matrix(
    first: ResultSet, ours: MatrixFile, second: ResultSet, theirs: MatrixFile
) -> MatrixFile:
    if ours.hash != theirs.hash:
        options = "; ".join(differing(ours.config, theirs.config))
        if not options:
            options = f"hash is {ours.hash} against {theirs.hash}, though no option differs: one "
            options += "was written by another version, or edited"
        raise UserError(
            f"{first.path} and {second.path} are results of different matrices: {options}"
        )
    if joined := with_cells_of(ours, theirs):
        return joined
    raise UserError(
        f"{first.path} and {second.path} list different cells for one matrix: other versions wrote "
        "them"
    )


def _joined_protocols(folders: Sequence[ResultSet]) -> dict[str, Protocol]:
    """protocols.json of all folders joined; the first folder that has a dataset counts."""
    joined: dict[str, Protocol] = {}
    origin: dict[str, Path] = {}
    for folder in folders:
        for dataset, entry in folder.protocols.items():
            known = joined.get(dataset)
            if known is None:
                joined[dataset], origin[dataset] = entry, folder.path
                continue
            if known.protocol != entry.protocol:
                parts = "; ".join(differing(known.parts, entry.parts)) or "no part differs"
                raise UserError(
                    f"{dataset} is measured under protocol {known.protocol} in {origin[dataset]} "
                    f"and {entry.protocol} in {folder.path}: {parts}; measure one of them again"
                )
            floors: dict[str, Any] = {}
            for name in ("floor", "floor_spread", "real"):
                if getattr(entry, name):
                    floors[name] = getattr(entry, name) | getattr(known, name)
            for name in entry.marks | known.marks:
                marks = entry.marks.get(name, {}) | known.marks.get(name, {})
                floors.setdefault("marks", {})[name] = marks
            whole = known.model_copy(update=floors)
            joined[dataset] = whole.sealed() if known.sha256 else whole
    return joined


def _copy_real(target: ResultSet, folders: Sequence[ResultSet]) -> None:
    """Copy the real samples, each from the first folder that has them."""
    for folder in reversed(folders):
        for file in (folder.path / REAL).glob("[!.]*"):
            write_bytes(target.path / REAL / file.name, read_bytes(file) or b"")


def _joined_races(folders: Sequence[ResultSet]) -> list[Race]:
    """The races of all folders; of those with one name the first that has a result."""
    joined: dict[str, Race] = {}
    for folder in folders:
        for race in folder.races:
            if race.name not in joined or (joined[race.name].fault and not race.fault):
                joined[race.name] = race
    return [*joined.values()]


def _chosen(key: str, folders: Sequence[ResultSet], prefer_first: bool) -> ResultSet | None:
    """The folder whose cell is used: the first that finished the cell, otherwise the first in which
    it failed."""
    finished: list[ResultSet] = []
    failed: list[ResultSet] = []
    for folder in folders:
        status = folder.cell(key).status.status
        if status.is_finished:
            finished.append(folder)
        elif status.is_settled:
            failed.append(folder)
    results = [_result(folder.cell(key)) for folder in finished]
    for folder, result in zip(finished, results, strict=True):
        if result != results[0] and not prefer_first:
            raise UserError(
                f"{key} is finished in {finished[0].path} and in {folder.path} with different "
                "evaluations; --prefer-first keeps those of the folder named first"
            )
    return next(iter([*finished, *failed]), None)


def _result(files: CellFolder) -> list[str]:
    """Status and evaluations of a finished cell without their clocks, NaN equal to NaN. Raises
    UserError for damaged rows."""
    status = files.status
    fault = files.fault(status)
    if fault:
        raise DamagedError(fault)
    found = [str(status.status)]
    content = files.content(files.evals, status) if files.evals.exists() else b""
    for row in rows_of(files.evals, content):
        shared = {name: value for name, value in row.items() if name not in NOT_SHARED}
        found.append(repr(sorted(shared.items())))
    return found


def _check_one_protocol(matrix: MatrixFile, origins: dict[str, ResultSet | None]) -> None:
    """The chosen cells of a dataset must share one protocol, whatever protocols.json says."""
    known: dict[str, tuple[str, CellFolder]] = {}  # by dataset
    for entry in matrix.cells:
        origin = origins[entry.key]
        if origin is None:
            continue
        files = origin.cell(entry.key)
        protocol = files.status.protocol
        if not protocol:
            continue
        first, where = known.setdefault(entry.dataset, (protocol, files))
        if protocol != first:
            raise UserError(
                f"{entry.dataset} is measured under protocol {first} in {_set_of(where)} "
                f"({where.key}) and {protocol} in {origin.path} ({entry.key}): values of different "
                "protocols are never compared; measure one of them again"
            )


def _set_of(files: CellFolder) -> Path:
    return files.path.parent.parent


def _keep_under_way(target: ResultSet, origins: dict[str, ResultSet | None]) -> list[str]:
    """Keep a cell in `into` that is running or can be resumed, unless a finished one replaces it.
    Returns notes."""
    notes = []
    for key, origin in origins.items():
        status = target.cell(key).status.status
        if origin is None or status not in UNDER_WAY:
            continue
        other = origin.cell(key).status.status
        if not other.is_finished:
            origins[key] = None
            notes.append(
                f"{key} is {status} in {target.path}: kept, and not the {other} of {origin.path}"
            )
    return notes


def _write(
    target: ResultSet,
    protocols: dict[str, Protocol],
    origins: dict[str, ResultSet | None],
) -> list[str]:
    """Write the protocols and copy the cells. Returns notes."""
    target.write_protocols(protocols)
    for unfinished in target.cells.glob(".*.new"):  # of a merge that was killed
        shutil.rmtree(unfinished)
    notes = []
    for key, origin in origins.items():
        if origin is not None and origin != target:
            notes += _copy(origin.cell(key), target.cell(key))
    return notes


def _copy(source: CellFolder, target: CellFolder) -> list[str]:
    """Replace the folder of a cell, whole or not at all; its lock stays, and keeps runs out during
    the copy. Returns notes."""
    into, key = _set_of(target), target.key
    new = target.path.with_name(f".{key}.new")
    try:
        shutil.copytree(source.path, new, ignore=_left_out)
        lock = take(target)
        if lock is None:
            return [f"{key} is being run in {into}: kept, and not the one of {_set_of(source)}"]
        try:
            before, status = target.status.status, source.status.status
            if before.is_finished:
                return [
                    f"{key} was {before} in {into} meanwhile: kept, and not the one of "
                    f"{_set_of(source)}"
                ]
            _replace(target, new)
        finally:
            lock.release()
    finally:
        shutil.rmtree(new, ignore_errors=True)
    if before in UNDER_WAY:
        return [
            f"{key} was {before} in {into}: replaced by the one that is {status} in "
            f"{_set_of(source)}"
        ]
    return []


def _left_out(folder: str, names: list[str]) -> set[str]:
    """The names that are not copied: those of locks and unfinished files. Raises UserError for what
    is neither a folder nor a plain file: a link may lead to any file of this machine."""
    left_out = {name for name in names if name.startswith(".")}
    for name in left_out.symmetric_difference(names):
        path = Path(folder, name)
        if path.exists() and (path.is_symlink() or not (path.is_file() or path.is_dir())):
            raise UserError(f"{path} cannot be copied: it is a link, a pipe or a device")
    return left_out


def _replace(target: CellFolder, new: Path) -> None:
    """Move the files of `new` into the folder of a cell. The status is removed first and arrives
    last: without a status no file counts."""
    target.status_file.unlink(missing_ok=True)
    empty(target.path, keep=target.lock)
    for entry in sorted(new.iterdir(), key=lambda entry: entry.name == target.status_file.name):
        os.replace(entry, target.path / entry.name)
