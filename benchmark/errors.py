"""The errors that the command line prints as one line, without a traceback (exit code 2)."""

import difflib
from collections.abc import Iterable


class UserError(Exception):
    """A user's mistake: the message names the bad value and says what to do."""


class DamagedError(UserError):
    """A result file that cannot be read."""


def unknown(kind: str, value: object, valid: Iterable[object]) -> UserError:
    """The error for a value that is not valid. It names the value, the nearest match and all the
    valid values; `kind` says what the value is, for example `objective`."""
    names = [str(name) for name in valid]
    hint = nearest(value, names)
    return UserError(f"unknown {kind} {str(value)!r}{hint}; valid: {', '.join(names)}")


def nearest(value: object, valid: Iterable[str]) -> str:
    """` (did you mean 'wgan'?)`: the valid value that is most like a value; empty if none is."""
    near = difflib.get_close_matches(str(value), list(valid), n=1)
    return f" (did you mean {near[0]!r}?)" if near else ""
