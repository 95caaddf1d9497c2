"""The short leaderboard that ends `ganbench report`."""

import re
from collections.abc import Callable
from pathlib import Path

import pytest

from benchmark.analysis.evidence import gather
from benchmark.analysis.tables import load
from benchmark.report.leaderboard import MOST, lines
from tests.helpers import synthetic

RANKING = ("swd_2k", "fid_classifier_750")
BOTH = [("gaussians8", "mlp"), ("digits", "dcgan")]


def curve(objective: str, metric: str, seed: int, i: int) -> float:
    """lsgan is the best everywhere, minimax the worst."""
    if metric not in RANKING:
        return synthetic.learning(objective, metric, seed, i)
    size = {"lsgan": 1.0, "wgan": 2.0, "nonsaturating": 3.0, "minimax": 4.0}[objective]
    return (size + seed / 100) * (1 if i else 20)


@pytest.fixture
def written(tmp_path: Path) -> Callable[..., list[str]]:
    def write(**options: object) -> list[str]:
        settings = {"samples": False, "steps": 2, "evaluations": 2, "curve": curve}
        folder = synthetic.write(tmp_path / "quick", **settings | options)
        return lines(gather(load(folder)))

    return write


def test_objectives_are_ordered_by_their_places(written: Callable[..., list[str]]) -> None:
    objectives = ["minimax", "wgan", "nonsaturating", "lsgan"]
    head, *rows, note = written(
        objectives=objectives, groups=BOTH, seeds=range(12), reference="nonsaturating"
    )
    assert "mlp on gaussians8" in head
    assert "dcgan on digits" in head
    assert [row.split()[0] for row in rows] == ["lsgan", "wgan", "nonsaturating", "minimax"]
    assert [row.split().count("better") for row in rows] == [2, 2, 0, 0]
    assert [row.split().count("worse") for row in rows] == [0, 0, 0, 2]
    assert "1.06 [" in rows[0]
    assert note.endswith("better, worse: than nonsaturating")


def test_it_stays_short(written: Callable[..., list[str]], monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("benchmark.report.leaderboard.MOST", 2)
    shown = written(objectives=["minimax", "wgan", "nonsaturating", "lsgan"], groups=BOTH)
    assert [line.split()[0] for line in shown[:3]] == ["objective", "lsgan", "wgan"]
    assert shown[3] == "and 2 more: objectives are in the report"


def test_of_many_places_the_best_of_each(written: Callable[..., list[str]]) -> None:
    groups = [("gaussians8", name) for name in ("mlp", "mlp[width=8]", "mlp[width=9]")]
    groups[1:] = [("gaussians8", "resnet"), ("digits", "dcgan")]
    head, *rows = written(objectives=["minimax", "wgan", "lsgan"], groups=groups)[:4]
    assert head.split() == ["place", "best", "value", "next", "value"]
    assert len(rows) == 3 <= MOST
    for row in rows:
        words = row.split()
        assert words.index("lsgan") < words.index("wgan")
        assert "minimax" not in words


def test_a_place_without_a_finished_run_has_no_ranking(
    written: Callable[..., list[str]],
) -> None:
    status = {("wgan", "digits", seed): "missing" for seed in range(5)}
    status |= {("wgan", "gaussians8", seed): "diverged" for seed in range(5)}
    head, row = written(objectives=["wgan"], groups=BOTH, status=status)[:2]
    assert re.search(r"dcgan on digits: .*\b5 missing", head)
    assert row.split() == ["wgan", "5", "diverged", "–"]


def test_a_place_where_nothing_was_learnt_has_no_ranking(
    written: Callable[..., list[str]],
) -> None:
    head, *rows, _ = written(
        objectives=["wgan", "lsgan"],
        groups=[("digits", "dcgan")],
        curve=lambda objective, metric, seed, i: 30.0 + seed / 100,
        reference="wgan",
    )
    assert "dcgan on digits: nothing was learnt here: no ranking" in head
    assert not any("better" in row or "worse" in row for row in rows)
