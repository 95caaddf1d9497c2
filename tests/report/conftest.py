"""Tests of pages draw in this process, where they look at what is drawn."""

from collections.abc import Iterator

import pytest

from benchmark.drawing import parallel


@pytest.fixture(autouse=True, scope="session")
def one_process() -> Iterator[None]:
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(parallel, "available_cores", lambda: 1)
        yield
