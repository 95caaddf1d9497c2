"""The rules of the leaderboard of one version: rules.json, frozen when the version is released."""

import re
from pathlib import Path

from benchmark import __version__
from benchmark.analysis.tables import Tables
from benchmark.errors import UserError
from benchmark.matrix.cell import digest
from benchmark.store.code import ROOT
from benchmark.store.files import read_record
from benchmark.store.schema import Record

SUBMISSIONS = ROOT / "results" / "submissions"
PlaceName = tuple[str, str]  # architecture, dataset
RELEASE = re.compile(r"[0-9]+(\.[0-9]+){2}")


class PlaceRules(Record):
    """A place that a submission must train on."""

    architecture: str
    """Label of the architecture."""

    dataset: str
    """Label of the dataset."""

    training: str
    """Digest of the training options."""

    protocol: str
    """Protocol id of the measurements."""

    metric: str
    """The metric column that ranks."""

    g_steps: list[int]
    """The generator steps of the evaluations; the last one is the training budget."""

    targets: dict[str, float]
    """Level of a target → value of the metric that reaches it."""

    @property
    def name(self) -> PlaceName:
        return self.architecture, self.dataset


class MatrixRules(Record):
    """The rules of a matrix."""

    seeds: list[int]
    """The seeds of every objective in every place: no other ones, and none left out."""

    control: str
    """The objective that every submission has, which must give the baseline's results."""

    evaluation: str
    """Hash of the evaluation options."""

    places: list[PlaceRules]
    """The places of every objective."""

    @property
    def by_place(self) -> dict[PlaceName, PlaceRules]:
        return {place.name: place for place in self.places}


class Rules(Record):
    """The rules of a version."""

    version: str
    """Major.Minor of the suite."""

    matrices: dict[str, MatrixRules]
    """By name of the matrix."""


def major_minor(version: str) -> str:
    """`0.1` of `0.1.2`."""
    return ".".join(version.split(".")[:2])


def is_earlier(version: str, than: str) -> bool:
    """Whether a version is an earlier release than another one. What is no Major.Minor.Patch is
    not."""
    if not all(RELEASE.fullmatch(name) for name in (version, than)):
        return False
    first, second = ([*map(int, name.split("."))] for name in (version, than))
    return first < second


def rules_file(version: str = __version__) -> Path:
    return SUBMISSIONS / major_minor(version) / "rules.json"


def submissions() -> list[Path]:
    """The submissions of the present version."""
    return _folders(rules_file().parent)


def unread() -> list[Path]:
    """Folders of versions that have no leaderboard: those of later versions, and those without
    rules."""
    present = major_minor(__version__)
    folders = []
    for folder in _folders(SUBMISSIONS):
        is_closed = is_earlier(f"{folder.name}.0", f"{present}.0")
        has_rules = (folder / "rules.json").is_file()
        if folder.name != present and not (is_closed and has_rules):
            folders.append(folder)
    return folders


def _folders(folder: Path) -> list[Path]:
    return sorted(path for path in folder.iterdir() if path.is_dir())


def read_rules(file: Path) -> Rules:
    """Raises UserError without rules, and for a file that holds none."""
    rules = read_record(file, Rules)
    if rules is None:
        raise UserError(
            f"there are no rules of a leaderboard: {file} does not exist (a checkout has them)"
        )
    return rules


def frozen(tables: Tables) -> MatrixRules:
    """The rules that results of a whole matrix set: its places, seeds, options and targets.

    Raises UserError for results that cannot: without a reference objective, with training options
    or evaluations that depend on the objective, or without a metric that ranks."""
    matrix, cells = tables.matrix, tables.cells
    if matrix.reference is None:
        raise UserError(f"matrix {matrix.name} has no reference, which would be the control")
    if not (cells["status"] == "done").any():
        raise UserError(f"no cell of matrix {matrix.name} is done")
    options = {entry.key: digest(entry.spec.training) for entry in matrix.cells}
    places = []
    for name, here in cells.groupby(["architecture", "dataset"], sort=False):
        architecture, dataset = map(str, name)
        done = here[here["status"] == "done"]
        evals = tables.evals[tables.evals["cell"].isin(done["key"])]
        by_cell = evals.groupby("cell", observed=True)["g_steps"]
        schedules = {tuple(steps.unique()) for _, steps in by_cell}
        training = {options[key] for key in here["key"]}
        where = f"{architecture} on {dataset}"
        if len(schedules) != 1 or len(training) != 1:
            raise UserError(f"{where}: training options or evaluations depend on the objective")
        if dataset not in tables.primary:
            raise UserError(f"{where}: no metric that ranks is measured")
        places.append(
            PlaceRules(
                architecture=architecture,
                dataset=dataset,
                training=training.pop(),
                protocol=done["protocol"].iloc[0],
                metric=tables.primary[dataset],
                g_steps=[int(step) for step in schedules.pop()],
                targets=tables.targets[dataset, architecture].values,
            )
        )
    return MatrixRules(
        seeds=sorted({entry.seed for entry in matrix.cells}),
        control=matrix.reference,
        evaluation=str(matrix.cells[0].evaluation_hash),
        places=places,
    )
