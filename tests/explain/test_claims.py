"""What each experiment must show, in the committed tables and, slowly, measured again.

`CLAIMS` holds a function for each experiment, which takes the rows of all its cases."""

import json
import math
from collections.abc import Callable
from importlib import import_module

import numpy as np
import pandas as pd
import pytest

from benchmark.explain import entries, runner
from benchmark.explain.entries import REFERENCE
from benchmark.explain.experiments import optimal_critic, penalty, value_surfaces
from benchmark.explain.setup import ORIGINAL, choice, final, objectives

SCORES = np.array([-8.0, -3.0, 0.0, 0.5, 2.0, 8.0])


def last(frame, column):
    """Every objective's value at its last step."""
    end = frame[frame["step"] == frame["step"].max()]
    return end.groupby("objective")[column].first()


def saturation_holds(frame: pd.DataFrame) -> None:
    gradient = frame.set_index(["objective", frame["score"].round(6)])["gradient"]
    exact = {
        "minimax": -1 / (1 + np.exp(-SCORES)),
        "nonsaturating": -1 / (1 + np.exp(SCORES)),
        "lsgan": SCORES - 1,
        "wgan": -np.ones_like(SCORES),
    }
    for name, expected in exact.items():
        np.testing.assert_allclose(gradient[name].loc[SCORES], expected, rtol=1e-9)
    assert abs(gradient["minimax", -8.0]) < 1e-3 < 0.9 < abs(gradient["minimax", 8.0])
    assert abs(gradient["nonsaturating", 8.0]) < 1e-3 < 0.9 < abs(gradient["nonsaturating", -8.0])
    assert min(abs(gradient["lsgan", -8.0]), abs(gradient["lsgan", 8.0])) > 1


def disjoint_supports_holds(frame: pd.DataFrame) -> None:
    of = {name: rows.set_index("theta") for name, rows in frame.groupby("objective")}
    for name in ("minimax", "nonsaturating"):
        assert (of[name]["js_estimate"] > 0.99 * math.log(2)).all(), "the trained critic saturates"
    gp = of["wgan_gp"]
    distance = gp.index.to_series().abs()
    np.testing.assert_allclose(gp["w1_estimate"], distance * (1 + distance / 20), rtol=0.05)
    assert gp["gradient"].max() < 3 * gp["gradient"].min()
    assert (of["minimax"]["gradient"] < 1e-3 * gp["gradient"]).all()
    assert (of["nonsaturating"]["gradient"] > gp["gradient"]).all(), (
        "what does not saturate does not vanish"
    )


def optimal_critic_holds(frame: pd.DataFrame) -> None:
    of = frame.groupby("objective").first()
    pearson = choice(optimal_critic.PEARSON).label
    for name in ("minimax", "nonsaturating", "lsgan", pearson, "wgan_gp", "wgan_fdgp"):
        assert of["error"][name] < 0.05, name
        assert of["value"][name] == pytest.approx(of["exact_value"][name], rel=0.05), name
    assert of["exact_value"]["wgan_gp"] > 1.05 * of["w1"]["wgan_gp"], "the penalty's own bias"
    linear = of.loc[choice(optimal_critic.LINEAR).label]
    assert linear["value"] == pytest.approx(linear["w1"], rel=0.01), "the linear form has none"


def dirac_holds(frame: pd.DataFrame) -> None:
    pairs = frame[(frame["part"] == "eigenvalue") & (frame["kind"] == "pair")]
    slowest = pairs.groupby("objective")["real"].max()
    assert slowest[["r1", "rpgan_r1r2"]].max() < -0.02
    assert slowest[["minimax", "nonsaturating", "lsgan", "hinge", "wgan"]].abs().max() < 1e-5
    ends = frame[frame["part"] == "end"].groupby("objective")["x"].agg(["min", "max"])
    assert set(ends.index) == {"dragan", "wgan_fdgp", "wgan_gp"}
    assert ends.loc[["wgan_fdgp", "wgan_gp"], "min"].tolist() == pytest.approx([-20] * 2, abs=0.2)
    assert ends.loc[["wgan_fdgp", "wgan_gp"], "max"].tolist() == pytest.approx([20] * 2, abs=0.2)


def value_surfaces_holds(frame: pd.DataFrame) -> None:
    surfaces = frame.drop_duplicates(["objective", "dataset"])
    of = surfaces.pivot(index="objective", columns="dataset", values="contrast")
    seen = of.loc[choice(value_surfaces.TOY).label] / of.loc["wgan"]
    assert seen[["gaussians8", "gaussians25"]].min() > 1.3, "clipping sees less of the modes"
    assert (of.loc["wgan"] < of.loc["nonsaturating"]).all()


def depth_holds(frame: pd.DataFrame) -> None:
    decades = last(frame, "decades")
    assert decades["wgan[clip=0.1]"] > 3
    assert decades["wgan[clip=0.01]"] < -3
    assert decades["wgan[clip=0.001]"] < -10
    at_once = frame[frame["step"] == 1].groupby("objective")["decades"].first()
    assert at_once["wgan[clip=0.01]"] < -3, "the first clip is enough"
    assert abs(at_once["wgan[clip=0.1]"]) < 2 < decades["wgan[clip=0.1]"], (
        "it is training that explodes"
    )
    assert (
        decades.drop([name for name in decades.index if name.startswith("wgan[")]).abs().max() < 2
    )


def weights_holds(frame: pd.DataFrame) -> None:
    usual = frame[frame["start"] == "usual"]
    at_clip = last(usual, "at_clip")
    assert at_clip["wgan"] >= 0.8
    assert at_clip.drop("wgan").max() < 0.05
    start = usual[(usual["step"] == 0) & (usual["objective"] == "wgan")]["at_clip"].iloc[0]
    assert 0.79 <= start <= 0.92, "the first clip alone does it"
    inside = frame[frame["start"] == "inside"].groupby("step")["at_clip"].first()
    assert inside.iloc[0] == 0 < 0.3 < inside.iloc[-1], "and training does it, too"


def mode_collapse_holds(frame: pd.DataFrame) -> None:
    assert set(frame["objective"]) <= {choice(value).label for value in objectives()}
    assert (frame.groupby("objective")["seed"].nunique() >= 3).all()
    end = final(frame)
    sharp = end.groupby("objective")[["quality", "covered"]].mean()
    assert sharp["quality"]["nonsaturating"] > 0.25
    for name in ("nonsaturating", "lsgan"):
        assert sharp["covered"][name] < 7.5, "it found modes and left others out"


def one_hot_holds(frame: pd.DataFrame) -> None:
    assert set(frame["objective"]) <= {choice(value).label for value in objectives()}
    early = frame[frame["critic_steps"] == 10].groupby("objective")["hardness"].mean()
    assert early.min() > 0.7, "the critic sees hardness first, whatever the objective"
    end = final(frame).groupby("objective")[["hardness", "entropy"]].mean()
    fewest = frame.groupby(["objective", "seed"])["distinct"].min()
    for name in ("minimax", "nonsaturating", "lsgan"):
        assert end["hardness"][name] < 0.1, "the generator is as hard as the data"
        assert end["entropy"][name] < 0.5
        assert fewest[name].max() < 0.06, "and repeats itself, in every seed"
    for name in ("wgan_gp", "wgan_fdgp"):
        assert 0.2 < end["hardness"][name] < 0.7
        assert fewest[name].min() > 0.9
    assert end["entropy"]["wgan"] > 2.5, "clipping hardly moves"


def overfitting_holds(frame: pd.DataFrame) -> None:
    end = final(frame)
    of = end.groupby("objective")[["d_loss_train", "d_loss_holdout", "moved"]].mean()
    for name in ("minimax", "nonsaturating", "lsgan", "wgan_gp", "wgan_fdgp"):
        assert of["d_loss_holdout"][name] > of["d_loss_train"][name]
        assert of["moved"][name] > 0.03
    assert of["moved"]["nonsaturating"] > 2 * of["moved"]["wgan_gp"], (
        "a critic without a bound learns them faster"
    )


def penalty_holds(frame: pd.DataFrame) -> None:
    line = frame[
        (frame["part"] == "linear")
        & (frame["dimensions"] == 1)
        & ~frame["form"].str.contains("signed")
    ]
    np.testing.assert_allclose(line["value"], line["exact"], rtol=1e-6)
    step = frame[(frame["part"] == "step") & (frame["form"] == "wgan_fdgp")]
    smooth = step[
        (step["critic"] == "tanh") & (step["state"] == "initial") & (step["epsilon"] <= 0.3)
    ]
    assert (smooth["cosine"] > 0.99).all()
    swept = penalty.swept(frame).set_index(["form", "penalty_weight"])
    for name in ("wgan_gp", "wgan_fdgp"):
        assert swept["slope"][name, 10.0] == pytest.approx(1, abs=0.15)
    assert swept["slope"][choice(ORIGINAL).label, 10.0] > 3, (
        "the original form leaves the slope free"
    )
    assert set(swept.index.get_level_values(0)) == {
        choice(form).label for form in penalty.forms() if "method" not in form
    }


CLAIMS: dict[str, Callable[[pd.DataFrame], None]] = {
    name: globals()[f"{name}_holds"] for name in entries.names()
}


def experiment(name):
    return import_module(f"benchmark.explain.experiments.{name}")


@pytest.mark.parametrize("name", entries.names())
def test_the_committed_tables_show_what_the_page_says(name):
    frame = pd.read_csv(REFERENCE / f"figures/{name}.csv")
    CLAIMS[name](frame)
    entry = entries.read(REFERENCE)[name]
    assert experiment(name).finding(frame) == entry.finding
    if hasattr(experiment(name), "table"):
        assert experiment(name).table(frame) == entry.table


@pytest.mark.slow
def test_a_fresh_run_shows_it_too(tmp_path):
    for name, entry in runner.run(entries.names(), tmp_path):
        CLAIMS[name](pd.read_csv(tmp_path / f"figures/{name}.csv"))
        assert entry.finding


def test_full_sizes_are_the_literatures():
    full = {name: experiment(name).cases(True) for name in entries.names()}
    assert {case["critic_steps"] for case in full["mode_collapse"]} == {35_000}
    assert {case["seed"] for case in full["mode_collapse"]} == set(range(10))
    assert {case["batch_size"] for case in full["mode_collapse"]} == {512}
    assert {case["dataset"]["n_train"] for case in full["overfitting"]} == {1000}
    for cases in full.values():
        json.dumps(cases)
