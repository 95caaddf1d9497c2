"""The references: what each folder of results/reference says of itself, and what made it.

`about.toml` in a folder has the title, the sentences and the pictures of a reference. Numbers in
its sentences are expressions of Jinja over the tables of the folder. A result set has sentences
without being asked (`sentences.py`), which those of about.toml replace; they are `own` there.

A result set knows the code that trained and measured it. A study's about.toml says so in [code]:
`places`, the folders and files of the checkout that its numbers depend on, and `hashes`, those of
`code_of(places)` at each of its commits."""

import tomllib
from collections.abc import Iterator, Sequence
from dataclasses import dataclass, field
from functools import cached_property
from pathlib import Path
from typing import Any

import pandas as pd
from jinja2 import Environment, StrictUndefined

from benchmark import __version__
from benchmark.analysis import tables as tables_module
from benchmark.analysis.designs.drawn import without_drawn
from benchmark.analysis.evidence import Evidence, gather
from benchmark.analysis.search.finals import shown
from benchmark.analysis.tables import Tables
from benchmark.explain import entries
from benchmark.store.code import ROOT, CodeHashes, code_of, measuring_code
from benchmark.store.files import read_json
from benchmark.text import listed, number, plural, span
from tests.studies.reference_page import sentences
from tests.studies.reference_page.sentences import Sentences

REFERENCE = ROOT / "results" / "reference"
# In reading order; others follow
ORDER = ("quick", "text", "fashion", "cifar_cpu", "search", "random_architectures", "variance")
ORDER += ("tricks", "explain", "audit", "gate", "speed", "penalty-cost")
PICTURES = ("success", "spread", "tuning_curves", "robustness_final", "differences")
PICTURES += ("learning_curves",)
"""The figures that stand for a result set, by the beginning of their names."""
MOST_PICTURES = 3
PAGES = ("report/index.html", "index.html", "README.md")
HEX = 7
"""Digits of a commit that are shown."""


@dataclass
class Reference:
    """A folder of results/reference."""

    folder: Path
    about: dict[str, Any] = field(default_factory=dict)
    """Of about.toml."""

    @property
    def name(self) -> str:
        return self.folder.name

    @cached_property
    def evidence(self) -> Evidence | None:
        """What the rows of a result set say; None for a study, which has tables of its own."""
        if not (self.folder / "matrix.json").is_file():
            return None
        return gather(without_drawn(shown(tables_module.load(self.folder))))

    @cached_property
    def frames(self) -> dict[str, pd.DataFrame]:
        """The tables of a study by name."""
        return {file.stem: pd.read_csv(file) for file in sorted(self.folder.glob("*.csv"))}

    @property
    def title(self) -> str:
        if "title" in self.about or self.evidence is None:
            return str(self.about.get("title", self.name))
        return self.evidence.tables.matrix.description.partition("\n")[0]

    @cached_property
    def sentences(self) -> sentences.Sentences:
        """What was run, what it cost, what it found, and what it cannot say."""
        own = sentences.Sentences([], [], [], [])
        if self.evidence is not None:
            own = sentences.of(self.evidence)
        names = [name for name in own._fields if name in self.about]
        written = {name: self._filled(self.about[name], own) for name in names}
        return own._replace(**written)

    def _filled(self, texts: str | list[str], own: Sentences) -> list[str]:
        """Sentences of about.toml with their numbers. own: those of a result set."""
        environment = Environment(undefined=StrictUndefined, autoescape=False)
        environment.filters |= {
            "number": number,
            "listed": lambda names: listed([*map(str, names)]),
        }
        environment.filters |= {"plural": plural, "span": span, "percent": "{:.0%}".format}
        environment.filters["code"] = sentences.code
        context: dict[str, Any] = {name.replace("-", "_"): of for name, of in self.frames.items()}
        context["own"] = own
        if self.evidence is not None:
            context["set"] = sentences.Values(self.evidence)
        if (self.folder / "explain.json").is_file():
            context["experiments"] = entries.read(self.folder)
            figures = sorted((self.folder / "figures").glob("*.csv"))
            context["figures"] = {file.stem: pd.read_csv(file) for file in figures}
        lines = [texts] if isinstance(texts, str) else texts
        return [environment.from_string(line).render(context).strip() for line in lines]

    @property
    def pictures(self) -> list[str]:
        """The pictures that stand for it, as paths without a suffix."""
        if "pictures" in self.about:
            return list(self.about["pictures"])
        beginnings = [f"figures/{name}" for name in PICTURES]
        found: list[str] = []
        for name in beginnings if self.evidence is not None else self.frames:
            files = sorted(self.folder.glob(f"{name}*.svg"))
            found += [str(file.relative_to(self.folder).with_suffix("")) for file in files[:1]]
        return found[:MOST_PICTURES]

    @property
    def page(self) -> str:
        """The page that says more."""
        return next(name for name in PAGES if (self.folder / name).is_file())

    @cached_property
    def origin(self) -> "Origin":
        """What made it."""
        return Origin.of(self)


@dataclass(frozen=True)
class Origin:
    """The version and the commits that made a reference."""

    version: str
    commits: list[str]
    num_former: int = 0
    """Runs that other code than the present one trained."""
    num_remeasured: int = 0
    """Runs whose data other code than the present one would measure."""
    num_runs: int = 0
    """All runs; 0 for a study."""
    former_commits: tuple[str, ...] = ()
    """The commits of a study whose code is not the present one, of what its numbers depend on."""
    former: str = ""
    """What about.toml says of rows that earlier code made."""

    @classmethod
    def of(cls, reference: Reference) -> "Origin":
        stored = read_json(reference.folder / "environment.json")
        version = stored.get("versions", {}).get("ganbench", reference.about.get("version", "?"))
        former = reference.about.get("former", "")
        if reference.evidence is None:
            commits = _commits(reference, stored)
            others = _former_commits(reference, commits)
            return cls(version, commits, former_commits=others, former=former)
        tables = reference.evidence.tables.with_pools or reference.evidence.tables
        # What did not run was made by no code
        cells = tables.cells[tables.cells["code"].notna()].set_index("key")
        hashes = CodeHashes()
        specs = {entry.key: entry.spec for entry in tables.matrix.cells}
        retrained = [
            key for key, code in cells["code"].items() if code != hashes.training(specs[key])
        ]
        remeasured = cells["dataset"].isin(_measured_otherwise(tables)).sum()
        commits = [commit[:HEX] for commit in cells["git_commit"].dropna().unique()]
        return cls(version, commits, len(retrained), int(remeasured), len(cells), (), former)

    @property
    def mark(self) -> str:
        """`earlier code`; empty where nothing says that earlier code made it."""
        most = max(self.num_former, self.num_remeasured)
        is_former_set = self.num_runs > 0 and most == self.num_runs
        is_former_study = bool(self.commits) and len(self.former_commits) == len(self.commits)
        if self.version != __version__ or is_former_set or is_former_study:
            return "earlier code"
        return "partly earlier code" if most or self.former_commits or self.former else ""

    @property
    def text(self) -> str:
        """`Version 0.1.0, commit b71cb22; the present code trained and would measure all 168
        runs.`"""
        made = [f"Version {self.version}, {_named(self.commits)}", *self._said_of_runs()]
        if self.former_commits:
            made.append(f"the code of {_named(self.former_commits)} is not the present one")
        elif not self.num_runs:
            made.append("the code that its numbers depend on is the present one")
        made += [self.former] if self.former else []
        return f"{'; '.join(made)}."

    def _said_of_runs(self) -> Iterator[str]:
        """Which code trained the runs of a result set and measured their data."""
        runs = plural(self.num_runs, "run")
        counts = {"trained": self.num_former, "measured": self.num_remeasured}
        present = [verb for verb, count in counts.items() if not count]
        if self.num_runs and present:
            yield f"the present code {' and '.join(present)} all {runs}"
        for verb, count in counts.items():
            if count:
                yield f"other code than the present one {verb} {count} of {runs}"


def _named(commits: Sequence[str]) -> str:
    return f"{'commits' if len(commits) > 1 else 'commit'} {listed([*commits])}"


def _measured_otherwise(tables: Tables) -> list[str]:
    """The datasets that other code than the present one measured, by the hash that stands next to
    their noise floors: those are measured with the runs."""
    modalities = {entry.dataset: entry.modality for entry in tables.matrix.cells}
    protocols = tables.protocols
    codes = {name: measuring_code(modality) for name, modality in modalities.items()}
    return [name for name in codes if name in protocols and protocols[name].code != codes[name]]


def _former_commits(reference: Reference, commits: Sequence[str]) -> tuple[str, ...]:
    """The commits of a study at which [code] of its about.toml has another hash than now."""
    code = reference.about.get("code")
    if code is None:
        return ()
    now = code_of(tuple(code["places"]))
    pairs = zip(commits, code["hashes"], strict=True)
    return tuple(commit for commit, then in pairs if then != now)


def _commits(reference: Reference, stored: dict[str, Any]) -> list[str]:
    """The commits that made the rows of a study: of the rows, of about.toml, or of
    environment.json."""
    for frame in reference.frames.values():
        if "commit" in frame:
            return [commit[:HEX] for commit in frame["commit"].dropna().unique()]
    written = [stored["git"]["commit"][:HEX]] if stored.get("git") else []
    return list(reference.about.get("commits", written))


def read_all(folder: Path = REFERENCE) -> list[Reference]:
    """All references of a folder, in reading order."""
    found = []
    for page in folder.glob("*/README.md"):
        about = page.with_name("about.toml")
        text = about.read_text(encoding="utf-8") if about.is_file() else ""
        found.append(Reference(page.parent, tomllib.loads(text)))
    return sorted(found, key=_reading_order)


def _reading_order(reference: Reference) -> tuple[int, str]:
    name = reference.name
    return ORDER.index(name) if name in ORDER else len(ORDER), name
