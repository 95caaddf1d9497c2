"""Result folders of one matrix -> one: joins what shards wrote that share no disk. Its sources stay
as they are.

A cell is taken from the folder that finished it. Cells arrive whole (a copy beside, then renames,
the status last), so that a merge cut short is a smaller result set, and running it again completes
it. A cell that a run works on is kept."""

import os
import shutil
from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import Any

from benchmark.errors import UserError
from benchmark.store.files import read_rows, write_json
from benchmark.store.locks import take
from benchmark.store.result_set import FINISHED, SETTLED, cell_status, read_matrix, read_protocols

UNDER_WAY = ("running", "interrupted")
UNSHARED = ("train_seconds",)  # what two runs of one cell do not share


def merge(
    sources: Sequence[Path], into: Path, prefer_first: bool = False
) -> tuple[list[str], list[str]]:
    """Join the result folders `sources` of one matrix into `into`, new or a result set of that
    matrix, which then counts as the first source. Returns the state of every cell of the matrix, in
    its order, and what there is to note.

    Copied are cells that are done, diverged, or ended in an error or at their time limit; a
    finished one wins over those, and over one that is under way in `into`. Raises UserError for
    folders of different matrices or protocols, and for a cell that two folders finished with
    different evaluations, unless `prefer_first`."""
    if into.resolve() in {source.resolve() for source in sources}:
        raise UserError(
            f"--into {into} is one of the folders to merge; name a new one, or leave it out of the others"
        )
    if above := next(
        (source for source in sources if source.resolve() in into.resolve().parents), None
    ):
        raise UserError(
            f"--into {into} lies in {above}, one of the folders to merge; name one beside it"
        )
    started = (into / "matrix.json").exists()
    if not started and into.exists() and (not into.is_dir() or any(into.iterdir())):
        raise UserError(f"--into {into} is neither empty nor the results of a matrix")
    folders = [into, *sources] if started else list(sources)
    matrices = [read_matrix(folder) for folder in folders]
    for folder, matrix in zip(folders[1:], matrices[1:], strict=True):
        _same_matrix(folders[0], matrices[0], folder, matrix)
    protocols = _protocols(folders)
    keys = [cell["key"] for cell in matrices[0]["cells"]]
    origins = {
        key: _choose(key, folders, prefer_first) for key in keys
    }  # refuses before anything is written
    _one_protocol(matrices[0], origins)
    notes = _keep_under_way(into, origins) if started else []

    try:
        write_json(into / "matrix.json", matrices[0])
        write_json(into / "protocols.json", protocols)
        for left in (into / "cells").glob(".*.new"):  # by a merge that was killed
            shutil.rmtree(left)
        for key, origin in origins.items():
            if origin and origin != into:
                notes += _copy(key, origin, into)
    except shutil.Error as error:  # of copytree: all that it could not copy
        source, _, why = error.args[0][0]
        raise UserError(f"{source} cannot be copied: {why}") from error
    except OSError as error:
        raise UserError(f"--into {into}: {error.strerror or error}") from error
    return [cell_status(into, key).get("status", "missing") for key in keys], notes


def differing(first: dict[str, Any], second: dict[str, Any], prefix: str = "") -> Iterator[str]:
    """Every option that two nested tables give differently: "training.steps is 600 against 800"."""
    for name in first | second:
        a, b = (table.get(name, "not given") for table in (first, second))
        if isinstance(a, dict) and isinstance(b, dict):
            yield from differing(a, b, f"{prefix}{name}.")
        elif a != b:
            yield f"{prefix}{name} is {a} against {b}"


def _same_matrix(first: Path, ours: dict[str, Any], second: Path, theirs: dict[str, Any]) -> None:
    if ours["hash"] != theirs["hash"]:
        same = f"hash is {ours['hash']} against {theirs['hash']}, though no option differs: one was written by another "
        options = (
            "; ".join(differing(ours["config"], theirs["config"])) or f"{same}version, or edited"
        )
        raise UserError(f"{first} and {second} are results of different matrices: {options}")
    if [cell["key"] for cell in ours["cells"]] != [cell["key"] for cell in theirs["cells"]]:
        raise UserError(
            f"{first} and {second} list different cells for one matrix: other versions wrote them"
        )


def _protocols(folders: Sequence[Path]) -> dict[str, Any]:
    """protocols.json of all folders joined; what the first says of a dataset stands."""
    joined: dict[str, Any] = {}
    origin: dict[str, Path] = {}
    for folder in folders:
        for dataset, entry in read_protocols(folder).items():
            known = joined.setdefault(dataset, entry)
            if known is entry:
                origin[dataset] = folder
            elif known["protocol"] != entry["protocol"]:
                parts = (
                    "; ".join(differing(known.get("parts", {}), entry.get("parts", {})))
                    or "no part differs"
                )
                raise UserError(
                    f"{dataset} is measured under protocol {known['protocol']} in {origin[dataset]} and "
                    f"{entry['protocol']} in {folder}: {parts}; measure one of them again"
                )
            else:
                joined[dataset] = known | {"floor": entry["floor"] | known["floor"]}
    return joined


def _choose(key: str, folders: Sequence[Path], prefer_first: bool) -> Path | None:
    """The folder whose cell is kept: the first that finished it, else the first that gave it up."""
    found = [(folder, cell_status(folder, key).get("status")) for folder in folders]
    committed = sorted(
        (pair for pair in found if pair[1] in SETTLED), key=lambda pair: pair[1] not in FINISHED
    )
    finished = [pair for pair in committed if pair[1] in FINISHED]
    results = [
        (status, *_evaluations(folder / "cells" / key / "evals.jsonl"))
        for folder, status in finished
    ]
    for (folder, _), result in zip(finished, results, strict=True):
        if result != results[0] and not prefer_first:
            raise UserError(
                f"{key} is finished in {finished[0][0]} and in {folder} with different evaluations; "
                "--prefer-first keeps those of the folder named first"
            )
    return committed[0][0] if committed else None


def _one_protocol(matrix: dict[str, Any], origins: dict[str, Path | None]) -> None:
    """The chosen cells of a dataset are measured under one protocol, whatever protocols.json
    says."""
    known: dict[str, tuple[str, str, Path]] = {}
    for cell in matrix["cells"]:
        key, dataset = cell["key"], cell["dataset"]
        origin = origins[key]
        protocol = cell_status(origin, key).get("protocol") if origin else None
        if origin and protocol:
            first, of, where = known.setdefault(dataset, (protocol, key, origin))
            if protocol != first:
                raise UserError(
                    f"{dataset} is measured under protocol {first} in {where} ({of}) and {protocol} in {origin} "
                    f"({key}): values of different protocols are never compared; measure one of them again"
                )


def _keep_under_way(into: Path, origins: dict[str, Path | None]) -> list[str]:
    """Only a finished cell takes the place of one that is running, or waits to be continued, in
    `into`."""
    notes = []
    for key, origin in origins.items():
        state = cell_status(into, key).get("status")
        if (
            origin
            and state in UNDER_WAY
            and (found := cell_status(origin, key)["status"]) not in FINISHED
        ):
            origins[key] = None
            notes.append(f"{key} is {state} in {into}: kept, and not the {found} of {origin}")
    return notes


def _evaluations(path: Path) -> Iterator[str]:
    """The rows of an evals.jsonl but for their clocks, NaN equal to NaN. Raises UserError for a
    damaged one."""
    for row in read_rows(path):
        yield repr(sorted((name, value) for name, value in row.items() if name not in UNSHARED))


def _copy(key: str, origin: Path, into: Path) -> list[str]:
    """Copy a cell's folder, whole or not at all, in the place of what there is of it, but for the
    lock: that stays, and keeps runs out meanwhile. Returns what there is to note."""
    target = into / "cells" / key
    new, status = target.with_name(f".{key}.new"), target / "status.json"
    try:
        shutil.copytree(
            origin / "cells" / key, new, ignore=shutil.ignore_patterns(".*")
        )  # locks, unfinished files
        lock = take(into, key)
        if lock is None:
            return [f"{key} is being run in {into}: kept, and not the one of {origin}"]
        try:
            before, found = (cell_status(folder, key).get("status") for folder in (into, origin))
            if before in FINISHED:
                return [
                    f"{key} was {before} in {into} meanwhile: kept, and not the one of {origin}"
                ]
            status.unlink(
                missing_ok=True
            )  # first, as it comes last: what is there in between is no cell
            for entry in target.iterdir():
                if entry.is_dir():
                    shutil.rmtree(entry)
                elif entry.name != ".lock":
                    entry.unlink()
            for entry in sorted(new.iterdir(), key=lambda entry: entry.name == status.name):
                os.replace(entry, target / entry.name)
        finally:
            lock.release()
    finally:
        shutil.rmtree(new, ignore_errors=True)
    if before in UNDER_WAY:
        return [f"{key} was {before} in {into}: the one that is {found} in {origin} took its place"]
    return []
