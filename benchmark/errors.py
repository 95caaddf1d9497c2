"""…"""

import difflib
from collections.abc import Iterable


class UserError(Exception):
    """A user's mistake: printed as one line on stderr, exit code 2."""


def unknown(kind: str, value: object, valid: Iterable[object]) -> UserError:
    """The error for a value that is not among the valid ones: names all three, nearest match
    first."""
    names = [str(name) for name in valid]
    near = difflib.get_close_matches(str(value), names, n=1)
    hint = f" (did you mean {near[0]!r}?)" if near else ""
    return UserError(f"unknown {kind} {str(value)!r}{hint}; valid: {', '.join(names)}")


class DamagedError(UserError):
    """A result file that cannot be read."""
