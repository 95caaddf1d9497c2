"""A home folder and a user's name for libraries that fail without them, as in a container that runs
under a user id without an account."""

import getpass
import os
import tempfile
from contextlib import suppress
from pathlib import Path

from variants import _variables


def provide_home() -> None:
    """Set HOME and LOGNAME for this process, and for all that it starts, where there is no home
    folder or no user's name. Home is then a folder in GANBENCH_CACHE, else a temporary folder of
    this user."""
    if not has_home():
        # A verb that needs no home can do without; others name the folder that is missing
        with suppress(OSError):
            os.environ["HOME"] = str(_made_home())
    try:
        getpass.getuser()
    except (KeyError, OSError, ImportError):
        os.environ["LOGNAME"] = f"uid{os.getuid()}"


def has_home() -> bool:
    """Whether the home folder of this user exists."""
    if not os.environ.get("HOME", "").strip():
        # The system may know the folder of the account
        os.environ.pop("HOME", None)
    with suppress(RuntimeError):
        return Path.home().is_absolute() and Path.home().is_dir()
    return False


def _made_home() -> Path:
    cache = _variables.folder("GANBENCH_CACHE")
    home = cache / "home" if cache else Path(tempfile.gettempdir(), f"ganbench-{os.getuid()}")
    home.mkdir(mode=0o700, parents=True, exist_ok=True)
    if home.stat().st_uid != os.getuid():
        # The folder of somebody else
        return Path(tempfile.mkdtemp(prefix="ganbench-"))
    return home
