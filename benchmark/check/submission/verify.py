"""What a submission is refused for: every reason by the name of its rule."""

import os
from collections.abc import Iterable, Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, field
from pathlib import Path
from typing import NamedTuple

import variants
from benchmark.analysis.tables import Tables, load
from benchmark.check.submission.cells import (
    other_folders,
    read_cells,
    unsealed,
)
from benchmark.check.submission.checks import (
    CHECKS,
    VARIANTS,
    named,
    of_other_versions,
    of_patches,
)
from benchmark.check.submission.copies import copies
from benchmark.check.submission.gate import disagreements, other_starts
from benchmark.check.submission.rules import MatrixRules, Rules, submissions, unread
from benchmark.errors import DamagedError, UserError, nearest
from benchmark.machine.git import is_unchanged
from benchmark.store.layout import ResultSet
from benchmark.store.schema import MatrixFile


class Refusal(NamedTuple):
    """A reason why a submission is refused."""

    rule: str
    """files, version, code, options, protocol, seeds, runs, gate or copies."""
    reason: str


@dataclass
class Verified:
    """What was found of a submission."""

    folder: Path
    matrix: str = ""
    refusals: list[Refusal] = field(default_factory=list)
    notes: list[str] = field(default_factory=list)
    tables: Tables | None = None
    """None for a submission that is refused for something else than its values."""

    def refuse(self, rule: str, reasons: Iterable[str]) -> None:
        self.refusals += [Refusal(rule, reason) for reason in reasons]


def verify_all(
    folders: Sequence[Path], rules: Rules, baselines: Path | None = None, since: str = ""
) -> list[Verified]:
    """Check submissions as `verify` does, and that no other one of the version has the same runs.
    Without folders: all of the version, and no other version may have any.

    since: a commit at which folders were accepted. Code and values of a folder that holds the same
    files there are not compared again: the present code and baseline may be later ones."""
    of_version = submissions()
    found = []
    for folder in folders or of_version:
        is_known = bool(since) and is_unchanged(folder, since)
        verified = verify(folder, rules, baselines, is_known)
        if is_known:
            text = f"accepted at {since}: code and values were not compared again"
            verified.notes.append(text)
        found.append(verified)
    # A folder may be named in two ways
    by_place = {folder.resolve(): folder for folder in [*of_version, *folders]}
    reasons = copies([*by_place.values()])
    for verified in found:
        verified.refuse("copies", reasons.get(by_place[verified.folder.resolve()], []))
    for folder in [] if folders else unread():
        stray = Verified(folder)
        stray.refuse(
            "version", [f"the leaderboard is of {rules.version}, and {folder} is not read"]
        )
        found.append(stray)
    return found


def verify(
    folder: Path, rules: Rules, baselines: Path | None = None, is_known: bool = False
) -> Verified:
    """Check a submission against the rules of its version and against the baseline of its matrix.

    Values are compared only where nothing else is wrong. baselines: a folder of baselines; None for
    that of the working directory, or the shipped ones. is_known: code and values were compared when
    it arrived, and are not compared again. Raises UserError for a folder without results, and where
    there is no baseline."""
    results = ResultSet(folder)
    found = Verified(folder)
    try:
        matrix = results.matrix
        found.refuse("files", _without_seal(results))
    except DamagedError as error:
        found.refuse("files", [str(error)])
        return found
    found.matrix = matrix.name
    asked = rules.matrices.get(matrix.name)
    if asked is None:
        hint = nearest(matrix.name, rules.matrices)
        reason = f"matrix {matrix.name!r}{hint} is not on the leaderboard of {rules.version}"
        found.refuse("options", [f"{reason}; it has {', '.join(rules.matrices)}"])
        return found
    with _own_variants(found, is_known):
        cells = read_cells(results, matrix)
        found.refuse("seeds", _left_out(results, matrix))
        found.refuse("version", of_other_versions(cells, rules.version))
        for rule, check in CHECKS.items():
            if rule != "code" or not is_known:
                found.refuse(rule, check(cells, asked))
        found.notes += of_patches(cells)
        if not found.refusals:
            _read_tables(found)
        if found.tables is not None and not is_known:
            _compare_values(found, found.tables, asked, baselines)
    return found


def _read_tables(found: Verified) -> None:
    try:
        found.tables = load(found.folder)
    except UserError as error:
        found.refuse("files", [str(error)])


def _compare_values(
    found: Verified, tables: Tables, asked: MatrixRules, baselines: Path | None
) -> None:
    found.refuse("seeds", other_starts(tables, asked, baselines))
    if not found.refusals:
        found.refuse("gate", disagreements(tables, asked.control, baselines))


@contextmanager
def _own_variants(found: Verified, is_known: bool) -> Iterator[None]:
    """Adds the submission's own variants, whose files are hashed and not run. They are removed at
    the end: another submission may have files of the same names. The suite may have taken a name
    since a known submission arrived."""
    folder, before = found.folder / VARIANTS, os.environ.get(variants.VARIABLE, "")
    try:
        if folder.is_dir():
            variants.add_folder(folder)
    except variants.VariantError as error:
        if is_known:
            found.notes.append(str(error))
        else:
            found.refuse("code", [str(error)])
    try:
        yield
    finally:
        os.environ[variants.VARIABLE] = before


def _without_seal(results: ResultSet) -> Iterator[str]:
    """The files of the whole set that hold no hash of their fields."""
    reason = unsealed(results.matrix_file)
    if reason:
        yield reason
    for dataset, protocol in results.protocols.items():
        if protocol.sha256 is None:
            yield f"{results.protocols_file}: {dataset} has no hash of its fields: it was edited"


def _left_out(results: ResultSet, matrix: MatrixFile) -> Iterator[str]:
    others = other_folders(results, matrix)
    if others:
        yield f"{named(others)} in cells/ and not in matrix.json: runs that were left out"
