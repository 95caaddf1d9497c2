"""The experiments of `ganbench explain`: their exact parts against closed forms, their measures on
planted critics, and what each must show, in the committed tables and, slowly, measured anew."""

import json
import math
import os
import re
import shutil
import signal
import subprocess
import sys
import time
from contextlib import suppress
from pathlib import Path
from types import SimpleNamespace

import numpy as np
import pandas as pd
import pytest
import torch
from scipy.special import rel_entr
from scipy.stats import wasserstein_distance
from torch import nn

from benchmark.errors import UserError
from benchmark.explain import entries
from benchmark.explain import runner as explain
from benchmark.explain.experiments import (
    depth,
    disjoint_supports,
    mode_collapse,
    optimal_critic,
    overfitting,
    penalty,
    saturation,
    value_surfaces,
    weights,
)
from benchmark.explain.setup import (
    ORIGINAL,
    bounding,
    choice,
    make_critic,
    objectives,
    slopes_between,
)
from benchmark.matrix.cell import Choice
from benchmark.report import explain_page as _page
from benchmark.report.chapters.explanation import REFERENCE
from benchmark.report.chapters.explanation import chapter as why
from benchmark.report.chapters.explanation import figures as why_figures
from benchmark.store.code import ROOT
from benchmark.store.files import write_json
from benchmark.train.build import make_objective
from benchmark.train.data import as_floats
from tests.helpers import synthetic
from variants import load
from variants.objectives import Base

EXACT = "donot_use_mm_for_euclid_dist"
SCORES = np.array([-8.0, -3.0, 0.0, 0.5, 2.0, 8.0])


class Relativistic(Base):
    """A loss that ties the scores of real and generated samples together."""

    def d_loss(self, D, real, fake, noise=None):
        return nn.functional.softplus(D(fake) - D(real)).mean()


# What each experiment must show: of the committed tables, and of a fresh run


def last(frame, column):
    """Every objective's value at its last step."""
    end = frame[frame["step"] == frame["step"].max()]
    return end.groupby("objective")[column].first()


def saturation_holds(frame):
    at = frame.set_index(["objective", frame["score"].round(6)])["gradient"]
    for name, exact in (
        ("minimax", lambda s: -1 / (1 + np.exp(-s))),
        ("nonsaturating", lambda s: -1 / (1 + np.exp(s))),
        ("lsgan", lambda s: s - 1),
        ("wgan", lambda s: -np.ones_like(s)),
    ):
        np.testing.assert_allclose(at[name].loc[SCORES], exact(SCORES), rtol=1e-9)
    assert abs(at["minimax", -8.0]) < 1e-3 < 0.9 < abs(at["minimax", 8.0])
    assert abs(at["nonsaturating", 8.0]) < 1e-3 < 0.9 < abs(at["nonsaturating", -8.0])
    assert min(abs(at["lsgan", -8.0]), abs(at["lsgan", 8.0])) > 1


def disjoint_supports_holds(frame):
    of = {name: rows.set_index("theta") for name, rows in frame.groupby("objective")}
    for name in ("minimax", "nonsaturating"):
        assert (of[name]["js_estimate"] > 0.99 * math.log(2)).all(), "the trained critic saturates"
    gp = of["wgan_gp"]
    np.testing.assert_allclose(
        gp["w1_estimate"],
        gp.index.to_series().abs() * (1 + gp.index.to_series().abs() / 20),
        rtol=0.05,
    )
    assert gp["gradient"].max() < 3 * gp["gradient"].min()
    assert (of["minimax"]["gradient"] < 1e-3 * gp["gradient"]).all()
    assert (of["nonsaturating"]["gradient"] > gp["gradient"]).all(), (
        "what does not saturate does not vanish"
    )


def optimal_critic_holds(frame):
    of = frame.groupby("objective").first()
    for name in (
        "minimax",
        "nonsaturating",
        "lsgan",
        choice(optimal_critic.PEARSON).label,
        "wgan_gp",
        "wgan_fdgp",
    ):
        assert of["error"][name] < 0.05, name
        assert of["value"][name] == pytest.approx(of["exact_value"][name], rel=0.05), name
    assert of["exact_value"]["wgan_gp"] > 1.05 * of["w1"]["wgan_gp"], "the penalty's own bias"


def value_surfaces_holds(frame):
    of = frame.drop_duplicates(["objective", "dataset"]).pivot(
        index="objective", columns="dataset", values="contrast"
    )
    seen = of.loc[choice(value_surfaces.TOY).label] / of.loc["wgan"]
    assert seen[["gaussians8", "gaussians25"]].min() > 1.3, "clipping sees less of the modes"
    assert (of.loc["wgan"] < of.loc["nonsaturating"]).all()


def depth_holds(frame):
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


def weights_holds(frame):
    usual = frame[frame["start"] == "usual"]
    at_clip = last(usual, "at_clip")
    assert at_clip["wgan"] >= 0.8
    assert at_clip.drop("wgan").max() < 0.05
    start = usual[(usual["step"] == 0) & (usual["objective"] == "wgan")]["at_clip"].iloc[0]
    assert 0.79 <= start <= 0.92, "the first clip alone does it"
    inside = frame[frame["start"] == "inside"].groupby("step")["at_clip"].first()
    assert inside.iloc[0] == 0 < 0.3 < inside.iloc[-1], "and training does it, too"


def mode_collapse_holds(frame):
    assert set(frame["objective"]) == {choice(value).label for value in objectives()}
    assert (frame.groupby("objective")["seed"].nunique() >= 3).all()
    end = frame[
        frame["critic_steps"] == frame.groupby("objective")["critic_steps"].transform("max")
    ]
    sharp = end.groupby("objective")[["quality", "covered"]].mean()
    assert sharp["quality"]["nonsaturating"] > 0.25
    for name in ("nonsaturating", "lsgan"):
        assert sharp["covered"][name] < 7.5, "it found modes and left others out"


def overfitting_holds(frame):
    end = frame[
        frame["critic_steps"] == frame.groupby("objective")["critic_steps"].transform("max")
    ]
    of = end.groupby("objective")[["d_loss_train", "d_loss_holdout", "moved"]].mean()
    for name in ("minimax", "nonsaturating", "lsgan", "wgan_gp", "wgan_fdgp"):
        assert of["d_loss_holdout"][name] > of["d_loss_train"][name]
        assert of["moved"][name] > 0.03
    assert of["moved"]["nonsaturating"] > 2 * of["moved"]["wgan_gp"], (
        "a critic without a bound learns them faster"
    )


def penalty_holds(frame):
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


CLAIMS = {name: globals()[f"{name}_holds"] for name in entries.names()}


@pytest.mark.parametrize("name", entries.names())
def test_the_committed_tables_show_what_the_page_says(name):
    frame = pd.read_csv(REFERENCE / f"figures/{name}.csv")
    CLAIMS[name](frame)
    entry = entries.read(REFERENCE)[name]
    assert (
        __import__(f"benchmark.explain.experiments.{name}", fromlist=[name]).finding(frame)
        == entry["finding"]
    )


@pytest.mark.slow
def test_all_of_it_measured_anew(tmp_path):
    for name, entry in explain.run(entries.names(), tmp_path):
        CLAIMS[name](pd.read_csv(tmp_path / f"figures/{name}.csv"))
        assert entry["finding"]


# The exact parts


def test_distances_of_the_segments_are_those_of_their_laws():
    for theta in (-2.0, 0.5):
        real, fake = disjoint_supports.segments(theta, 4000, torch.Generator().manual_seed(0))
        assert wasserstein_distance(real[:, 0], fake[:, 0]) == pytest.approx(
            abs(theta)
        )  # heights have one law
        together = np.histogram(torch.cat([real, fake])[:, 0], 100)[1]
        p, q = (np.histogram(points[:, 0], together)[0] / 4000 for points in (real, fake))
        js = (rel_entr(p, (p + q) / 2).sum() + rel_entr(q, (p + q) / 2).sum()) / 2
        assert js == pytest.approx(math.log(2))


def test_a_critic_on_the_segments_in_brief():
    """In a fraction of the steps: saturated under minimax, under WGAN-GP the distance with the
    penalty's bias."""
    rows = {
        name: disjoint_supports.measure({"name": name}, [0.25, 2.0], 200, 64).set_index("theta")
        for name in ("minimax", "wgan_gp")
    }
    gp = rows["wgan_gp"]
    np.testing.assert_allclose(gp["w1_estimate"], gp["w1_biased"], rtol=0.05)
    np.testing.assert_allclose(gp["w1_biased"], [0.25 * (1 + 0.25 / 20), 2.2])
    assert (rows["minimax"]["gradient"] < 1e-2 * gp["gradient"]).all()
    assert (rows["minimax"]["js_estimate"] > 0.99 * math.log(2)).all()


X, STEP = optimal_critic.X, optimal_critic.STEP


@pytest.fixture(scope="module")
def laws():
    return optimal_critic.density(optimal_critic.REAL), optimal_critic.density(optimal_critic.FAKE)


@pytest.mark.parametrize(
    ("value", "optimum"),
    [
        ({"name": "minimax"}, lambda p, q: (p / q).log()),
        ({"name": "nonsaturating"}, lambda p, q: (p / q).log()),
        ({"name": "lsgan"}, lambda p, q: p / (p + q)),
        (optimal_critic.PEARSON, lambda p, q: (p - q) / (p + q)),
        ({"name": "hinge"}, lambda p, q: (p - q).sign()),
    ],
)
def test_the_optimum_found_point_by_point_is_the_papers(value, optimum, laws):
    p, q = laws
    found, exact = optimal_critic.best_critic(make_objective(choice(value)), p, q)
    typical = (torch.minimum(p, q) > 1e-6) & ((p - q).abs() > 1e-6)
    torch.testing.assert_close(found[typical], optimum(p, q)[typical], rtol=1e-4, atol=1e-4)
    pearson = optimal_critic.integral((p + q - 2 * q).square() / (p + q))  # χ² of p + q against 2q
    total = optimal_critic.integral((p - q).abs()) / 2
    known = {
        **{"minimax": 2 * math.log(2) - 2 * optimal_critic.js(p, q), "hinge": 2 - 2 * total},
        "lsgan": (2 - pearson) / 8,
    }
    if value["name"] in known:
        scale = 4 if value is optimal_critic.PEARSON else 1
        assert exact == pytest.approx(scale * known[value["name"]], rel=1e-3)


def test_the_penalised_optimum_is_one(laws):
    """No other slope has a higher value of −∫ g (P − Q) − λ ∫ ρ (|g| − 1)²; and the value without
    its penalty."""
    p, q = laws
    objective = load("objectives", "wgan_gp").Objective()
    scores, value = optimal_critic.best_critic(objective, p, q)
    behind, rho = (p - q).cumsum(0) * STEP, optimal_critic.between()

    def worth(slope):
        return optimal_critic.integral(-slope * behind - 10 * rho * (slope.abs() - 1).square())

    slope = torch.diff(scores, prepend=scores[:1]) / STEP
    slope[0] = slope[1]
    best = worth(slope)
    generator = torch.Generator().manual_seed(0)
    for size in (0.01, 0.1, 1.0):
        for _ in range(5):
            assert (
                worth(slope + size * torch.randn(len(X), generator=generator, dtype=torch.float64))
                < best
            )
    assert value == pytest.approx(optimal_critic.gap(scores, p, q), rel=1e-3)
    assert optimal_critic.integral(rho) == pytest.approx(1, abs=1e-6)


def test_which_theory_applies_is_tried_on_the_objective():
    applies = {choice(value).label: make_objective(choice(value)) for value in objectives()}
    assert [name for name, o in applies.items() if optimal_critic.penalises_slope(o)] == [
        "wgan_fdgp",
        "wgan_gp",
    ]
    free = [name for name, o in applies.items() if optimal_critic.separable(o)]
    assert free == ["hinge", "lsgan", "minimax", "nonsaturating"]
    assert not optimal_critic.separable(Relativistic()), "it ties scores together"
    shifted = [name for name, o in applies.items() if optimal_critic.shifts(o)]
    assert shifted == ["wgan", "wgan_fdgp", "wgan_gp", choice(ORIGINAL).label]


@pytest.mark.parametrize(
    "value",
    [
        {"name": "minimax"},
        {"name": "wgan_gp"},
        pytest.param(optimal_critic.PEARSON, marks=pytest.mark.slow),
        pytest.param({"name": "wgan_fdgp"}, marks=pytest.mark.slow),
    ],
)
def test_a_trained_critic_reaches_the_optimum(value):
    row = optimal_critic.measure(value, 1000, 512).iloc[0]
    assert row["error"] < 0.05
    assert row["value"] == pytest.approx(row["exact_value"], rel=0.05)


def test_without_the_penalty_the_value_is_no_distance():
    """λ next to 0, planted: the critic's slope, and with it the value, is whatever training made
    it."""
    row = optimal_critic.measure({"name": "wgan_gp", "penalty_weight": 1e-6}, 100, 256).iloc[0]
    assert row["value"] > 3 * row["w1"]


# Measures on planted critics


def test_contrast_of_a_paraboloid():
    """E|x + n|² − E|x|² = 2σ² in the plane."""
    data = 0.1 * torch.randn(
        4000, 2, generator=torch.Generator().manual_seed(0), dtype=torch.float64
    )
    fall = value_surfaces.contrast(lambda x: -x.square().sum(1), data)
    assert fall == pytest.approx(2 * value_surfaces.NEARBY**2, rel=0.05)
    assert value_surfaces.contrast(lambda x: x[:, 0], data) == pytest.approx(0, abs=1e-3), (
        "a plane has none"
    )


def test_gradients_by_layer_of_a_critic_of_equal_weights():
    """All weights c, all activations positive: each layer back multiplies the gradient by c times
    the width."""
    D = make_critic({"name": "wgan"}, (2,), width=8, depth=5)
    with torch.no_grad():
        for name, parameter in D.named_parameters():
            parameter.fill_(0.05 if name.endswith("weight") else 0)
    found = depth.gradients(D, torch.ones(4, 2), torch.ones(4, 2))
    assert len(found) == 6
    assert found[-1] == pytest.approx(math.sqrt(8 / 16))  # eight samples, each by 1/4
    np.testing.assert_allclose(np.divide(found[:-2], found[1:-1]), 0.05 * 8, rtol=1e-6)
    assert D.out.weight.dtype == torch.float32, "measured on a copy"


def test_the_first_clip_alone_fills_the_ends():
    """Uniform weights of He's standard deviation at 512 units reach to √3·√(2/512); clipped, 1 − c
    ÷ that are at ±c."""
    found = {
        start: weights.measure({"name": "wgan"}, start, 2).query("step == 0")["at_clip"].iloc[0]
        for start in ("usual", "inside")
    }
    assert found["usual"] == pytest.approx(1 - 0.01 / math.sqrt(6 / 512), abs=0.005)
    assert found["inside"] == 0


def test_slopes_between_are_those_of_the_critic():
    real, fake = torch.randn(2, 32, 3, generator=torch.Generator().manual_seed(0))
    found = slopes_between(lambda x: x @ torch.tensor([2.0, 0, -1]), real, fake, torch.Generator())
    torch.testing.assert_close(found, torch.full((32,), math.sqrt(5)))


def snapshots(**facts):
    return lambda *args, **kwargs: iter([SimpleNamespace(samples_seen=64, g_steps=1, **facts)])


@pytest.mark.parametrize(
    ("place", "expected"),
    [
        (lambda modes: modes.centres[[0]].repeat(2000, 1), (1, 1, 1.0)),
        (lambda modes: modes.centres.repeat(250, 1), (8, 8, 1.0)),
        (
            lambda modes: 0.9 * modes.centres.repeat(250, 1),
            (8, 0, 0.0),
        ),  # nearest to it, not within 3 σ
        (
            lambda modes: torch.cat(
                [modes.centres[[0]].repeat(1976, 1), modes.centres[[3]].repeat(24, 1)]
            ),
            (1, 1, 1.0),
        ),
        (
            lambda modes: torch.cat(
                [modes.centres[[0]].repeat(1975, 1), modes.centres[[3]].repeat(25, 1)]
            ),
            (2, 2, 1.0),
        ),
    ],
)
def test_modes_are_reached_and_covered(place, expected, monkeypatch):
    points = place(load("datasets", "gaussians8").Dataset().modes())
    monkeypatch.setattr(mode_collapse, "run", snapshots(sample=lambda n: points))
    row = mode_collapse.measure({"name": "lsgan"}, 0, 10, 8).iloc[0]
    assert (row["reached"], row["covered"], row["quality"]) == expected


@pytest.mark.parametrize("knows_by_heart", [True, False])
def test_a_critic_that_knows_its_images_by_heart_has_moved_the_others(knows_by_heart, monkeypatch):
    data = load("datasets", "digits").Dataset()
    train = as_floats(data.train(), torch.contiguous_format).flatten(1)
    known = (
        train
        if knows_by_heart
        else torch.cat([train, as_floats(data.holdout(), torch.contiguous_format).flatten(1)])
    )

    def D(x):
        return (
            torch.cdist(x.flatten(1), known, compute_mode=EXACT).min(dim=1).values < 1e-3
        ).float()

    generated = torch.randint(
        0, 256, (1000, 1, 8, 8), dtype=torch.uint8, generator=torch.Generator().manual_seed(0)
    )
    cell = SimpleNamespace(dataset=Choice("digits"))
    monkeypatch.setattr(
        overfitting, "run", snapshots(D=D, cell=cell, sample=lambda n: generated[:n])
    )
    row = overfitting.measure({"name": "lsgan"}, 0, {"name": "digits"}, 10, 8).iloc[0]
    assert row["moved"] == pytest.approx(1.0 if knows_by_heart else 0.0)
    assert (row["d_loss_holdout"] > row["d_loss_train"]) == knows_by_heart


def test_penalties_of_linear_critics():
    frame = penalty.measure("linear", values=penalty.forms())
    of = frame.set_index(["dimensions", "form"])["value"]
    two_sided = [form for form in of[1.0].index if "signed" not in form and "linear" not in form]
    np.testing.assert_allclose(
        of[1.0][two_sided], 4.0, rtol=1e-6
    )  # in one dimension every direction is the gradient's
    for form, value in of[64.0].items():
        sees_all = form.startswith("wgan_gp") or "pairs" not in form
        assert (
            value == pytest.approx(2.0 if "sided=linear" in form else 4.0)
            if sees_all
            else value < 2
        )


def test_the_difference_along_the_gradient_of_a_smooth_critic():
    frame = penalty.measure("step", values=penalty.forms(), activation="tanh", width=32)
    initial = frame[frame["state"] == "initial"].set_index(["form", "epsilon"])["cosine"]
    along = initial["wgan_fdgp"]
    assert (along.loc[along.index <= 0.1] > 0.99).all()
    assert along.loc[0.003] > 0.9999
    assert initial["wgan_gp[method=jvp]"].iloc[0] == pytest.approx(1, abs=1e-9)


def test_what_a_penalty_keeps_for_its_backward_pass():
    """Real and generated samples pass the critic once; two more points as often again; the end
    points are those."""
    frame = penalty.measure(
        "cost", values=penalty.forms(), depth=2, width=16, compiled=False
    ).set_index("form")
    kept = frame["kept_mb"] / frame["kept_mb"]["none"]
    assert kept["wgan_fdgp[pairs=segment]"] == pytest.approx(2, rel=0.1)
    assert kept["wgan_fdgp[pairs=endpoint]"] == pytest.approx(1, rel=0.1)
    assert kept["wgan_gp"] > 1.5
    assert (frame["over_none"] > 0).all()


def test_forms_are_all_that_the_objectives_offer():
    labels = [choice(form).label for form in penalty.forms()]
    assert len(labels) == len(set(labels)) == 5 * 2 + 2 + 3 * 2
    assert "wgan_fdgp[pairs=segment,sided=signed]" in labels
    assert "wgan_fdgp[pairs=local,sided=signed]" not in labels, "it means nothing"
    assert {choice(value).name for value in bounding()} == {"hinge", "wgan", "wgan_fdgp", "wgan_gp"}


# Running them


def test_one_experiment_from_the_command_line(ganbench, tmp_path):
    folder = tmp_path / "explain"
    ended = ganbench("explain", "saturation", "--results", folder, "--jobs", 1)
    assert ended.code == 0
    assert "3.4e-04 under minimax" in ended.out
    kept = sorted(
        path.relative_to(folder).as_posix()
        for path in folder.rglob("*.*")
        if "cases" not in path.parts
    )
    assert kept == [
        *(
            ".lock",
            "README.md",
            "explain.json",
            "figures/saturation.csv",
            "figures/saturation.png",
            "figures/saturation.svg",
        ),
        "index.html",
    ]
    (case,) = (folder / "cases").iterdir()
    before = case.stat().st_mtime_ns
    assert ganbench("explain", "saturation", "--results", folder).code == 0
    assert [path.stat().st_mtime_ns for path in (folder / "cases").iterdir()] == [before], (
        "kept, not measured again"
    )
    page = (folder / "index.html").read_text()
    assert not re.search(r"(src|href)=\"?https?:", page)
    saturation_holds(pd.read_csv(folder / "figures/saturation.csv"))


@pytest.fixture(scope="module")
def saturated(tmp_path_factory):
    folder = tmp_path_factory.mktemp("explain")
    assert [name for name, _ in explain.run(["saturation"], folder)] == ["saturation"]
    return folder


def test_a_damaged_case_is_measured_again(saturated, ganbench, tmp_path):
    folder = shutil.copytree(saturated, tmp_path / "explain")
    (case,) = (folder / "cases").iterdir()
    case.write_bytes(case.read_bytes()[:-100])
    assert ganbench("explain", "saturation", "--results", folder).code == 0
    assert len(pd.read_parquet(case)) == len(pd.read_csv(folder / "figures/saturation.csv")) > 1000


@pytest.mark.parametrize(
    "content", ["", "[]", '{"schema": 1, "experiments": {"depth": {"title": "x"}}}']
)
def test_a_damaged_page_is_named_before_anything_is_measured(content, ganbench, tmp_path):
    (tmp_path / "explain.json").write_text(content)
    ended = ganbench("explain", "saturation", "--results", tmp_path)
    assert (ended.code, ended.err.count("\n")) == (2, 1)
    assert "explain.json is damaged" in ended.err
    assert [path.name for path in tmp_path.iterdir()] == ["explain.json"]


def test_a_folder_of_other_files_is_refused(ganbench, tmp_path):
    (tmp_path / "README.md").write_text("mine")
    ended = ganbench("explain", "saturation", "--results", tmp_path)
    assert (ended.code, ended.err.count("\n")) == (2, 1)
    assert "holds other files" in ended.err
    assert (tmp_path / "README.md").read_text() == "mine"


@pytest.mark.parametrize(
    ("arguments", "said"),
    [
        ([""], "unknown experiment ''; valid: saturation"),
        (
            ["saturaton"],
            "unknown experiment 'saturaton' (did you mean 'saturation'?); valid: saturation, disjoint",
        ),
        (["--jobs", "-1"], "Invalid value for '--jobs'"),
        (["depth", "--results", __file__], "--results: "),
    ],
)
def test_a_mistake_is_one_line(arguments, said, ganbench):
    ended = ganbench("explain", *arguments)
    assert ended.code == 2
    assert said in ended.err
    assert len(ended.err.strip().splitlines()) == 1


def test_data_that_cannot_be_had_is_one_line_and_loses_nothing(
    saturated, ganbench, tmp_path, monkeypatch
):
    monkeypatch.setenv("GANBENCH_OFFLINE", "1")
    monkeypatch.setenv("GANBENCH_DATA", str(tmp_path))
    shutil.copytree(saturated, tmp_path / "e")
    ended = ganbench("explain", "overfitting", "--full", "--results", tmp_path / "e", "--jobs", 1)
    assert ended.code == 2
    assert "MNIST is not in" in ended.err.strip().splitlines()[-1]
    assert list(entries.read(tmp_path / "e")) == ["saturation"]
    assert len(list((tmp_path / "e/cases").iterdir())) == 1, (
        "nothing was measured before the data was looked for"
    )


@pytest.mark.slow
@pytest.mark.parametrize(("by", "code"), [(signal.SIGINT, 130), (signal.SIGKILL, -signal.SIGKILL)])
def test_an_interrupt_leaves_what_is_measured_and_no_process(by, code, tmp_path):
    command = [
        sys.executable,
        "-m",
        "benchmark",
        "explain",
        "disjoint_supports",
        "--results",
        str(tmp_path),
    ]
    with subprocess.Popen(
        command, cwd=ROOT, stderr=subprocess.PIPE, text=True, start_new_session=True
    ) as process:
        deadline = time.monotonic() + 120
        while not list(tmp_path.glob("cases/*.parquet")):
            assert time.monotonic() < deadline
            time.sleep(0.1)
        process.send_signal(by)
        assert process.wait(30) == code
        assert process.stderr.read().count("\n") == 1 or by == signal.SIGKILL
    deadline = time.monotonic() + 20
    with suppress(ProcessLookupError):
        while time.monotonic() < deadline:
            os.killpg(process.pid, 0)
            time.sleep(0.1)
    assert time.monotonic() < deadline, "a worker is still there"
    assert 0 < len(list(tmp_path.glob("cases/*.parquet"))) < len(disjoint_supports.cases(False))
    assert not list(tmp_path.glob("cases/.*")), "no half of a file"


def die(*task):
    """What the kernel does to a worker where memory runs out."""
    os.kill(os.getpid(), signal.SIGKILL)


@pytest.mark.slow
def test_a_worker_that_dies_is_one_line(tmp_path, monkeypatch):
    monkeypatch.setattr(explain, "_measure", die)
    with pytest.raises(UserError, match="a worker died"):
        list(explain.run(["weights"], tmp_path, jobs=1))


def test_another_wording_measures_nothing_again(tmp_path, monkeypatch):
    shutil.copytree(Path(explain.__file__).parent, tmp_path / "explain")
    monkeypatch.setattr(explain, "__file__", str(tmp_path / "explain/__init__.py"))
    path = tmp_path / "explain/experiments/saturation.py"
    text, before = path.read_text(), explain.code_of("saturation")
    path.write_text(
        text.replace("Where does", "Where, then, does").replace("blind on one side", "blind")
    )
    assert path.read_text() != text
    assert explain.code_of("saturation") == before
    path.write_text(text.replace("linspace(-10, 10", "linspace(-9, 9"))
    assert explain.code_of("saturation") != before


def test_full_sizes_are_the_literatures():
    full = {
        name: __import__(f"benchmark.explain.experiments.{name}", fromlist=[name]).cases(True)
        for name in entries.names()
    }
    assert {case["critic_steps"] for case in full["mode_collapse"]} == {35_000}
    assert {case["seed"] for case in full["mode_collapse"]} == set(range(10))
    assert {case["batch_size"] for case in full["mode_collapse"]} == {512}
    assert {case["dataset"]["n_train"] for case in full["overfitting"]} == {1000}
    for cases in full.values():
        json.dumps(cases)


# The pages


def test_the_page_reads_from_top_to_bottom():
    found = entries.read(REFERENCE)
    assert list(found) == entries.names()
    markdown, page = ((REFERENCE / name).read_text() for name in ("README.md", "index.html"))
    at = [markdown.index(entry["title"]) for entry in found.values()]
    assert at == sorted(at)
    for name, entry in found.items():
        assert (REFERENCE / f"figures/{name}.png").exists()
        assert entry["text"], "the argument and its source"
        assert re.search(r"\d{4}", entry["text"][0])
        assert f'id="{name}"' in page
    assert not re.search(r"(src|href)=\"?https?:", page)
    assert _page.losses("minimax")[1][1] == "min over G: −E softplus(D(x̃))"


def test_the_report_says_why(tmp_path):
    folder = tmp_path / "runs/quick"
    synthetic.write(folder)
    chapter = why(folder)
    assert "0 of them run beside these results" in chapter.answers[0]
    assert [item.lead for item in chapter.items] == [
        entry["title"] for entry in entries.read(REFERENCE).values()
    ]
    figures = why_figures(folder)
    assert [figure.stem for figure in figures] == [f"why_{name}" for name in entries.names()]
    assert all((folder / f"figures/{figure.stem}.svg").exists() for figure in figures)
    own = tmp_path / "explain"
    entry = entries.read(REFERENCE)["depth"] | {"finding": "Own finding."}
    (own / "figures").mkdir(parents=True)
    for path in REFERENCE.glob("figures/depth.*"):
        shutil.copy(path, own / "figures")
    write_json(own / "explain.json", {"experiments": {"depth": entry}})
    assert [item.lines for item in why(folder).items].count(["Own finding."]) == 1
    assert len(why(folder).items) == len(entries.names()), "the others are the reference's"
    assert "1 of them run beside these results" in why(folder).answers[0]
    (own / "figures/depth.png").unlink()
    assert "0 of them run beside these results" in why(folder).answers[0], (
        "without a figure it counts for nothing"
    )


def test_without_any_experiment_the_report_says_how(tmp_path, monkeypatch):
    monkeypatch.setattr("benchmark.report.chapters.explanation.REFERENCE", tmp_path)
    assert "ganbench explain" in why(tmp_path / "runs/quick").answers[0]
    assert why_figures(tmp_path / "runs/quick") == []


def test_the_reference_names_no_machine():
    text = (REFERENCE / "explain.json").read_text()
    assert str(ROOT) not in text
    assert saturation.CAPTION in json.loads(text)["experiments"]["saturation"]["caption"]
