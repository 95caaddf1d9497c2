"""Which matrix a result set was made from: two matrix files of one name are two matrices."""

import os
from collections.abc import Iterator
from itertools import islice
from pathlib import Path
from typing import Any

from benchmark.errors import UserError
from benchmark.matrix.cell import digest
from benchmark.matrix.files import find, is_shipped, read
from benchmark.matrix.options import Matrix
from benchmark.store.files import write_record
from benchmark.store.layout import ResultSet
from benchmark.store.schema import Command, Entry, MatrixFile

NAMED_OPTIONS = 3  # options that a refusal names


def stored_path(path: Path, folder: Path) -> str:
    """A path as the result set in `folder` stores it: relative, so that both can move together."""
    return os.path.relpath(path.resolve(), folder.resolve())


def path_of(stored: str, folder: Path) -> Path:
    """A path that the result set in `folder` stores."""
    return Path(os.path.normpath(folder.resolve() / stored))


def moved(matrix: MatrixFile, source: Path, target: Path) -> MatrixFile:
    """The record of a matrix for another folder of its results."""
    command = matrix.command
    if command is None:
        return matrix
    changes: dict[str, Any] = {}
    if command.file is not None:
        changes["file"] = stored_path(path_of(command.file, source), target)
    if command.variants:
        paths = [path_of(stored, source) for stored in command.variants]
        changes["variants"] = [stored_path(path, target) for path in paths]
    return matrix.model_copy(update={"command": command.model_copy(update=changes)})


def with_cells_of(ours: MatrixFile, theirs: MatrixFile) -> MatrixFile | None:
    """A record of a matrix with the cells that another record of it has in addition because they
    follow from the results of a search; None where other cells differ."""
    mine = {entry.key: entry for entry in ours.cells}
    others = {entry.key: entry for entry in theirs.cells}
    apart = mine.keys() ^ others.keys()
    if any((mine | others)[key].search is None for key in apart):
        return None
    if [key for key in mine if key not in apart] != [key for key in others if key not in apart]:
        return None
    # The cells of the other record behind those that they follow there
    following: dict[str | None, list[Entry]] = {None: []}
    last: str | None = None
    for entry in theirs.cells:
        if entry.key in mine:
            last = entry.key
        else:
            following.setdefault(last, []).append(entry)
    cells = following[None]
    for entry in ours.cells:
        cells += [entry, *following.get(entry.key, [])]
    if len(cells) == len(mine):
        return ours
    names = {axis: dict(shown) for axis, shown in ours.display_names.items()}
    for axis, shown in theirs.display_names.items():
        known = names.setdefault(axis, {})
        taken = {*known.values()}
        known |= {label: name for label, name in shown.items() if name not in taken}
    return ours.model_copy(update={"cells": cells, "display_names": names})


def write_grown(results: ResultSet, matrix: MatrixFile) -> None:
    """Write matrix.json after a search has added cells, with those that other shards have added."""
    write_record(results.matrix_file, with_cells_of(matrix, results.matrix) or matrix)


def check_named(results: ResultSet, name: str) -> None:
    """Raise UserError where a result set was not made from the matrix that a user names: a shipped
    one, or a file. A bare name without a shipped matrix is that of the result set itself."""
    stored = results.matrix
    shipped = is_shipped(name)
    if stored.command is None or not (shipped or name.endswith(".toml")):
        return
    file = None if shipped else Path(name)
    if _is_file_of(stored.command, results, file):
        return
    if file and not file.is_file():
        raise _other(results, stored.command, name)
    _check_content(results, stored, name, read(find(name), stored.command.overrides).matrix)


def check_same(results: ResultSet, file: Path | None, config: Matrix) -> None:
    """Raise UserError where a run would write into the results of another matrix. file: of the
    matrix that is to run; None for one without a file of the user's."""
    try:
        stored = results.matrix
    except UserError:
        # There is none yet, or a damaged one, which the run writes again
        return
    if stored.command and not _is_file_of(stored.command, results, file):
        _check_content(results, stored, str(file or results.path.name), config)


def differing(first: dict[str, Any], second: dict[str, Any], prefix: str = "") -> Iterator[str]:
    """Every option that two nested tables give differently: "training.steps is 600 against 800"."""
    for name in first | second:
        a, b = first.get(name, "not given"), second.get(name, "not given")
        if isinstance(a, dict) and isinstance(b, dict):
            yield from differing(a, b, f"{prefix}{name}.")
        elif a != b:
            yield f"{prefix}{name} is {a} against {b}"


def _is_file_of(command: Command, results: ResultSet, file: Path | None) -> bool:
    """Whether a result set was made from this file of the user's; None: from no file."""
    if command.file is None or file is None:
        return command.file is file
    return path_of(command.file, results.path) == file.resolve()


def _check_content(results: ResultSet, stored: MatrixFile, name: str, config: Matrix) -> None:
    from benchmark.matrix.labels import unlabelled  # which loads torch

    plain = config.plain()
    if stored.command and digest(plain) != stored.hash:
        plain = unlabelled(config)[0].plain()
    if stored.command and digest(plain) != stored.hash:
        raise _other(results, stored.command, name, *differing(stored.config, plain))


def _other(results: ResultSet, command: Command, name: str, *differences: str) -> UserError:
    origin = "a matrix without a file"
    if command.file:
        origin = str(path_of(command.file, results.path))
    reasons = "; ".join(islice(differences, NAMED_OPTIONS)) or "there is no such file"
    return UserError(
        f"{results.path} holds the results of {origin}, not of {name} ({reasons}): name that "
        "matrix, or another folder with --results"
    )
