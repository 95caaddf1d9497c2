"""A refactoring changes no behaviour: keys, streams, training, protocols, tables, gate, report."""

import json

import pytest

from tests.studies import fingerprint

STORED = json.loads(fingerprint.FILE.read_text())
# The same bits only on the same processor and with the same versions
BITWISE = ("training", "measuring", "results")


@pytest.mark.parametrize("part", fingerprint.PARTS)
def test_behaviour_is_the_stored_one(part: str) -> None:
    """After a change that is meant to change behaviour, `python -m tests.studies.fingerprint
    --write` stores the new lines: say in CHANGELOG.md which lines changed and why."""
    if part in BITWISE and fingerprint.machine() != STORED["machine"]:
        pytest.skip(f"stored on {STORED['machine']}, this is {fingerprint.machine()}")
    assert fingerprint.lines(part) == STORED[part]
