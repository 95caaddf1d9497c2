"""A driver on a simulated pool."""

from collections.abc import Callable
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import pytest

from benchmark.run import driver
from benchmark.run.events import CellNews, Task
from tests.helpers.pool import Simulated, word

Simulate = Callable[..., list[CellNews]]


@pytest.fixture
def simulate(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> Simulate:
    """Runs tasks on a simulated pool, by its clock, with options of `Driver`. Returns the news of
    cells that are not running; `heard` gets all news."""

    def call(
        tasks: list[Task], pool: Simulated, heard: list[CellNews] | None = None, **options: Any
    ) -> list[CellNews]:
        clock = SimpleNamespace(
            monotonic=lambda: pool.now, sleep=lambda seconds: pool.pass_until(pool.now + seconds)
        )
        monkeypatch.setattr(driver, "time", clock)
        heard = [] if heard is None else heard
        driver.Driver(tasks, pool, tmp_path, lambda news: heard.append(news), **options).run()
        return [news for news in heard if word(news) != "running"]

    return call
