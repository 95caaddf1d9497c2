"""The commits of a history: accepted baselines from git or from files, and result sets."""

import re
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from datetime import UTC, datetime
from pathlib import Path
from tempfile import TemporaryDirectory

from benchmark.analysis.tables import load
from benchmark.check.baseline import measured
from benchmark.check.rows import Row
from benchmark.check.stored import read_baseline
from benchmark.check.traces import Trace, traces
from benchmark.errors import UserError
from benchmark.machine.git import git
from benchmark.matrix.cell import digest
from benchmark.store.layout import ResultSet

SHOWN = 10  # hex digits of a commit
Note = Callable[[str], object]


@dataclass(frozen=True)
class Commit:
    """The values of a commit."""

    name: str
    """Its hash, or the file or folder that its values are from."""
    time: datetime
    """Of the commit; of what is in no commit, when it was written."""
    rows: Sequence[Row]
    machine: str
    """Devices and versions of what the values were computed on."""
    code: str
    """Versions and hashes of the code; empty where the commit says all that is known."""


def from_git(file: Path, note: Note) -> list[Commit]:
    """The accepted baselines at every commit of a git repository that changed the file, the first
    first. note: of those that this version cannot read. Raises UserError outside of a repository,
    and for a file that no commit has."""
    folder = file.absolute().parent
    if not folder.is_dir():
        raise UserError(f"there is no folder {folder}")
    try:
        git(folder, "rev-parse", "--git-dir")
    except UserError as error:
        raise UserError(f"{error}: name baselines or result sets instead") from error
    log = git(folder, "log", "--reverse", "--format=%H %cI %s", "--", file.name)
    lines = log.decode().splitlines()
    if not lines:
        raise UserError(f"no commit of the repository has {file}")
    commits = []
    with TemporaryDirectory() as copies:
        for line in lines:
            commit, time, *subject = line.split(" ", 2)
            copy = Path(copies) / file.name
            try:
                copy.write_bytes(git(folder, "show", f"{commit}:./{file.name}"))
                name = _name(commit, "".join(subject))
                commits.append(_of_baseline(copy, name, datetime.fromisoformat(time)))
            except UserError as error:
                reason = str(error).replace(str(copy), file.name)
                note(f"{commit[:SHOWN]} is left out: {reason}")
    return commits


def _name(commit: str, subject: str) -> str:
    """How a commit is called: by its hash, or by its subject where that is the hash of the commit
    whose values it keeps."""
    is_hash = re.fullmatch("[0-9a-f]{40}", subject) is not None
    return (subject if is_hash else commit)[:SHOWN]


def from_files(places: Sequence[Path]) -> list[Commit]:
    """Baselines and result sets, in the given order. Raises UserError for what is neither."""
    commits = []
    for place in places:
        if ResultSet(place).exists:
            commits.append(_of_results(place))
        elif place.is_file():
            commits.append(_of_baseline(place, str(place), _written(place)))
        else:
            raise UserError(f"{place} is neither a baseline nor a result set")
    return commits


def _of_baseline(file: Path, name: str, time: datetime) -> Commit:
    baseline = read_baseline(file, file.stem)
    return Commit(name, time, baseline.rows, _machine(baseline.traces), "")


def _of_results(folder: Path) -> Commit:
    tables = load(folder)
    done = tables.cells[tables.cells["status"] == "done"]
    commits = sorted(name[:SHOWN] for name in done["git_commit"].dropna().unique())
    code = digest(sorted(done["code"].dropna().unique()))
    code = f"{' + '.join(commits) or 'no commit'}, code {code}"
    time = _written(ResultSet(folder).matrix_file)
    return Commit(str(folder), time, measured(tables), _machine(traces(tables)), code)


def _machine(of: Sequence[Trace]) -> str:
    return " + ".join(dict.fromkeys(trace.origin.arithmetic for trace in of)) or "not known"


def _written(file: Path) -> datetime:
    return datetime.fromtimestamp(file.stat().st_mtime, UTC)
