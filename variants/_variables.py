"""The environment variables of the suite: every GANBENCH_* variable is listed and read here.

A blank value is no value. A leading `~` is the home folder. A flag is one of FLAGS."""

import difflib
import json
import os
from collections.abc import Iterator
from pathlib import Path
from typing import Any

VARIABLES = {
    "GANBENCH_CACHE": (
        "folder of decoded images, classifiers, features of real images and answers about variants"
    ),
    "GANBENCH_DATA": "folder of datasets: NAME is looked for, and downloaded to, in its NAME",
    "GANBENCH_OFFLINE": "flag: nothing is downloaded",
    "GANBENCH_VARIANTS": "folders of your own variants, with : between two",
    "GANBENCH_BASELINES": "folder of the baselines of check and accept",
    "GANBENCH_GIT": "commit of the code as JSON; set by the suite for the nodes of a Ray cluster",
    "GANBENCH_FULL": "flag, make speed: every objective, architecture and batch",
    "GANBENCH_THREADS": "make speed: threads",
    "GANBENCH_ROUNDS": "make speed: rounds",
    "GANBENCH_CLOCK": "make speed: wall, or cpu for CPU time on a machine that has other work",
    "GANBENCH_SPEED": "make speed: CSV file of the results",
    "GANBENCH_PENALTY": "make speed: folder of the results of penalties",
    "GANBENCH_DEVICE": "make speed: device of penalties",
    "GANBENCH_LIMIT": "make speed: seconds that a penalty may take to get ready",
    "GANBENCH_SEEDS": "make speed: seeds of the quick matrix",
    "GANBENCH_SIMULATED": "make speed: cells that the driver hands out",
}
FLAGS = {
    **dict.fromkeys(("1", "true", "yes", "on"), True),
    **dict.fromkeys(("0", "false", "no", "off"), False),
}


class VariableError(ValueError):
    """An environment variable that cannot be used; the message is one line."""


def check() -> None:
    """Raise VariableError for a variable that no verb could use."""
    flag("GANBENCH_OFFLINE")
    for name in ("GANBENCH_CACHE", "GANBENCH_DATA", "GANBENCH_BASELINES"):
        folder(name)
    commit()


def value(name: str) -> str:
    """The value of a variable without blanks at its ends; the empty string where there is none."""
    return os.environ.get(name, "").strip()


def flag(name: str) -> bool:
    """Whether a flag is set. Raises VariableError for a value that is not one of FLAGS."""
    text = value(name)
    if not text:
        return False
    if text.lower() not in FLAGS:
        raise VariableError(f"{name} is {text!r}; valid: {', '.join(FLAGS)}, or nothing")
    return FLAGS[text.lower()]


def folder(name: str) -> Path | None:
    """The absolute path of a folder, which need not exist; None without a value. Raises
    VariableError for a file, and for a `~` without a home folder."""
    text = value(name)
    return _folder(name, text) if text else None


def folders(name: str) -> list[Path]:
    """Several folders, with os.pathsep between two: absolute paths, each once."""
    entries = [entry.strip() for entry in value(name).split(os.pathsep)]
    paths = [_folder(name, entry).resolve() for entry in entries if entry]
    return list(dict.fromkeys(paths))


def commit() -> dict[str, Any] | None:
    """GANBENCH_GIT, a JSON object; empty for code without a commit, None without a value. Raises
    VariableError for anything else."""
    text = value("GANBENCH_GIT")
    if not text:
        return None
    try:
        facts = json.loads(text)
    except ValueError:
        facts = text
    if facts is None:
        return {}
    known = isinstance(facts, dict) and facts.keys() <= {"commit", "dirty"}
    if not known or not all(isinstance(entry, str | None) for entry in facts.values()):
        raise VariableError(
            f"GANBENCH_GIT is {text!r}; valid: a JSON object of commit and dirty, null, or nothing"
        )
    return facts


def user_cache() -> Path:
    """The folder of the suite in the user's cache. Raises VariableError without a home folder."""
    # The standard of XDG_CACHE_HOME says: blank and relative values count as none
    named = Path(value("XDG_CACHE_HOME"))
    cache = named if named.is_absolute() else _folder("GANBENCH_CACHE", "~/.cache")
    return cache / "ganbench"


def unknown() -> Iterator[str]:
    """One line for every GANBENCH_* variable that the suite does not read."""
    for name in sorted(os.environ):
        if name.startswith("GANBENCH_") and name not in VARIABLES:
            near = difflib.get_close_matches(name, VARIABLES, n=1)
            hint = f" (did you mean {near[0]}?)" if near else ""
            yield f"ganbench reads no variable {name}{hint}; valid: {', '.join(VARIABLES)}"


def _folder(name: str, text: str) -> Path:
    try:
        path = Path(text).expanduser().absolute()
    except RuntimeError as error:
        raise VariableError(
            f"{name}: there is no home folder for {text!r}; set {name} to an absolute path"
        ) from error
    if path.exists() and not path.is_dir():
        raise VariableError(f"{name}: {path} is a file, not a folder")
    return path
