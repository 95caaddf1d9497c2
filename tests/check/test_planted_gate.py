"""The study of the gate: its planted mistakes still match the source, and its page is made."""

import ast
from pathlib import Path

import pandas as pd
import pytest

from benchmark.check import rule
from benchmark.store.code import ROOT
from tests.helpers import synthetic
from tests.studies import gate_page, planted_gate
from tests.studies.gate_power import detectable, false_alarms, paired_alarms
from tests.studies.plants import PLANTS, UNCHANGED


@pytest.mark.parametrize("name", PLANTS)
def test_a_plant_changes_its_file_once_and_leaves_it_valid(name: str) -> None:
    plant = PLANTS[name]
    planted = plant.planted(ROOT)
    ast.parse(planted)
    assert planted != (ROOT / plant.file).read_text(encoding="utf-8")


def test_a_plant_whose_words_are_gone_is_an_error(tmp_path: Path) -> None:
    plant = PLANTS["clip_0.02"]
    (tmp_path / plant.file).parent.mkdir(parents=True)
    (tmp_path / plant.file).write_text("clip: float = 0.5\n")
    with pytest.raises(ValueError, match="no longer says"):
        plant.planted(tmp_path)


def test_there_are_many_mistakes_of_every_kind_and_names_are_of_one_thing() -> None:
    kinds = {plant.kind for plant in PLANTS.values()}
    asked = {"loss", "penalty points", "norm", "detach", "clipping", "critic steps", "optimiser"}
    assert asked | {"average", "input scaling", "evaluation", "latents", "label"} <= kinds
    assert len(PLANTS) >= 20
    assert not PLANTS.keys() & UNCHANGED.keys()


def results(folder: Path, worse: float, **options: object) -> planted_gate.Side:
    """A pool of two groups whose FID is so many times as large."""

    def curve(objective: str, metric: str, seed: int, i: int) -> float:
        times = worse if metric == "fid_classifier_750" else 1.0
        return times * synthetic.learning(objective, metric, seed, i)

    settings: dict[str, object] = {
        "objectives": ["wgan", "lsgan"],
        "groups": [("digits", "dcgan")],
        "samples": False,
        "untrained": True,
        "curve": curve,
        "fields": lambda objective, seed: {"execution": {"mode": "eager"}},
    }
    return planted_gate.side_of(synthetic.write(folder, **settings | options))


def test_the_page_says_which_mistakes_are_red_and_how_often_unchanged_code_is(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(rule, "RERUNS", 3)
    pool = results(tmp_path / "pool", 1.0, seeds=range(12))
    worse = results(tmp_path / "worse", 5.0, objectives=["wgan"])
    same = results(tmp_path / "same", 1.0001)
    found = planted_gate.seen(planted_gate.judged(pool, worse), pool, worse)
    assert (found["result"], found["groups"], found["groups_differ"]) == ("red", 1, 1)
    assert found["first_difference"] == "before the first step"
    unchanged = planted_gate.seen(planted_gate.judged(pool, same), pool, same)
    # Larger by 1 in 10,000, which rounding may be: the synthetic machine is not known
    assert (unchanged["result"], unchanged["groups_differ"]) == ("as before", 0)
    alarms = [*false_alarms(pool.rows), *paired_alarms(pool.rows, [same.rows])]
    assert [row["seeds"] for row in alarms] == ["other"] * 6 + ["own"]
    assert alarms[-1]["red"] == 0
    facts = {"plant": "x", "kind": "loss", "what": "five times", "cells": "objective=wgan"}
    frames = {
        "planted": pd.DataFrame([facts | found]),
        "unchanged": pd.DataFrame([{"setting": "y", "what": "again"} | unchanged]),
        "false_alarms": pd.DataFrame(alarms),
        "detectable": detectable(pool.rows, draws=5),
    }
    page = gate_page.page(pool.rows, frames, "a machine")
    assert "Of 1 mistakes: 1 red, 0 ≠ alone, 0 x, 0 not seen." in page
    assert "| loss | five times | objective=wgan | red | 1 of 1 | before the first step |" in page
    assert "| again | as before | 0 of 2 |" in page
    assert "| own | 12 seeds | this gate | 0.00% |" in page
