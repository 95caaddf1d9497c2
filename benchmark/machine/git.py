"""What git says of a folder."""

import subprocess
from pathlib import Path

from benchmark.errors import UserError


def git(folder: Path, *arguments: str) -> bytes:
    """What git prints in a folder. Raises UserError where it cannot."""
    command = ["git", "-C", str(folder), *arguments]
    try:
        return subprocess.run(command, capture_output=True, check=True).stdout
    except FileNotFoundError as error:
        raise UserError("git is not installed") from error
    except subprocess.CalledProcessError as error:
        reason = error.stderr.decode(errors="replace").strip()
        raise UserError(
            f"{folder}: {reason.splitlines()[0] if reason else 'git failed'}"
        ) from error


def is_unchanged(folder: Path, since: str) -> bool:
    """Whether a commit has a folder and no file of it was changed, added or removed since; files
    that git ignores do not count. Raises UserError without such a commit."""
    git(folder, "rev-parse", "--git-dir")
    try:
        git(folder, "rev-parse", "--verify", f"{since}^{{commit}}")
    except UserError as error:
        raise UserError(f"there is no commit {since!r} in the repository of {folder}") from error
    committed = git(folder, "ls-tree", "-r", "--name-only", since, "--", ".")
    changed = git(folder, "diff", "--name-only", since, "--", ".")
    added = git(folder, "ls-files", "--others", "--exclude-standard", "--", ".")
    return bool(committed) and not changed and not added
