"""Every test of this folder has the marker `speed`, which `make test` leaves out."""

from pathlib import Path

import pytest


@pytest.hookimpl(tryfirst=True)
def pytest_collection_modifyitems(items: list[pytest.Item]) -> None:
    """Mark the tests of this folder; pytest passes the tests of all folders."""
    for item in items:
        if item.path.parent == Path(__file__).parent:
            item.add_marker("speed")
