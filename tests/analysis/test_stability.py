"""Verdicts of traces whose verdict is known, and indices against numbers worked out by hand."""

import copy

import numpy as np
import pandas as pd
import pytest
from scipy.stats import spearmanr

from benchmark.analysis import stability
from benchmark.analysis.verdicts import VERDICTS
from benchmark.stats.intervals import median_interval
from benchmark.store.schema import Protocol

FID, SWD, COPIES = "fid_classifier_750", "swd_2k", "duplicates_classifier_750"
JS, UNIQUE = "js_4_2k", "unique_2k"
PRIMARY = {"digits": FID, "gaussians8": SWD, "fortunes": JS, "short": JS}
FLOORS = {
    "digits": {FID: 0.05, COPIES: 0.01},
    "gaussians8": {SWD: 0.04, "modes_covered_2k": 8.0, "high_quality_2k": 0.99},
    "fortunes": {JS: 0.16, UNIQUE: 1.0},
    "short": {JS: 0.16, UNIQUE: 0.1},
}
PROTOCOLS = {name: Protocol(protocol="aaaaaaaa", floor=floor) for name, floor in FLOORS.items()}
GOOD = [33.0, 18, 12, 6, 3, 2.1, 2]  # FID of a run that learns


class Run:
    """One cell: evaluations every `every` generator steps from `first` on, 20 logged rows over 600
    steps."""

    def __init__(
        self,
        fid=None,
        *,
        first=0,
        every=100,
        status="done",
        onset=np.nan,
        dataset="digits",
        also=None,
        **rows,
    ):
        values = {PRIMARY[dataset]: GOOD if fid is None else fid, **(also or {})}
        self.cell = {"dataset": dataset, "status": status, "onset": onset, "reason": None}
        self.evals = [
            {"g_steps": first + float(every * i), "metric": name, "value": float(value)}
            for name, series in values.items()
            for i, value in enumerate(series)
        ]
        self.steps = [
            {
                "g_step": 30.0 * (i + 1),
                **{name: float(np.broadcast_to(v, 20)[i]) for name, v in rows.items()},
            }
            for i in range(20)
        ]


def texts(unique, js=None, **options):
    """A run on text; js_4 falls unless given."""
    falling = np.linspace(1, 0.75, len(unique))
    options = {"dataset": "fortunes"} | options
    return Run(falling if js is None else js, also={UNIQUE: unique}, **options)


def judge(*runs, protocols=PROTOCOLS):
    keys = [f"k{i}" for i in range(len(runs))]
    cells = pd.DataFrame([{"key": key, **run.cell} for key, run in zip(keys, runs, strict=True)])
    evals, steps = (
        pd.DataFrame(
            [
                {"cell": key, **row}
                for key, run in zip(keys, runs, strict=True)
                for row in getattr(run, name)
            ]
        )
        for name in ("evals", "steps")
    )
    evals = evals if len(evals) else pd.DataFrame(columns=["cell", "g_steps", "metric", "value"])
    return stability.judge(cells, evals, steps, protocols, PRIMARY)


def from_row(i, value, before=1.0):
    """`before` for the first i of 20 rows, then `value`."""
    return np.where(np.arange(20) < i, before, value)


def points(swd=(1, 0.5, 0.3, 0.2, 0.15, 0.12, 0.1), **also):
    return Run(
        swd, dataset="gaussians8", also={f"{name}_2k": values for name, values in also.items()}
    )


TRACES = {
    "learns": (Run(d_grad_norm=1, g_grad_norm=1, saturation=0.2), "ok", None),
    "diverged": (Run(status="diverged", onset=250.0, fid=[33, 20]), "diverged", 250),
    # exploding
    "norm of 5,000 from row 10 on": (Run(g_grad_norm=from_row(10, 5000)), "exploding", 330),
    "critic's norm in the last three rows": (Run(d_grad_norm=from_row(17, 5000)), "exploding", 540),
    "critic's norm in the last two rows": (Run(d_grad_norm=from_row(18, 5000)), "ok", None),
    "one last noisy row": (Run(d_grad_norm=from_row(19, 1e7)), "ok", None),
    "fourth row": (Run(g_grad_norm=from_row(3, 5000)), "exploding", 120),
    "growth by 900": (Run(g_grad_norm=from_row(10, 1350, 1.5)), "ok", None),
    "growth by 1,100": (Run(g_grad_norm=from_row(10, 1650, 1.5)), "exploding", 330),
    "growth by 2,000 to 900": (Run(g_grad_norm=from_row(10, 900, 0.45)), "ok", None),
    "growth by 2,000 to 1,100": (Run(g_grad_norm=from_row(10, 1100, 0.55)), "exploding", 330),
    "exploded before the first row": (Run(d_grad_norm=1.1e6), "exploding", 30),
    "large from the first row on": (Run(d_grad_norm=9e5), "ok", None),
    "clipped critic wakes up": (Run(d_grad_norm=from_row(10, 3.0, 1e-5)), "ok", None),
    "a burst that ends": (Run(g_grad_norm=np.where(np.arange(20) == 10, 1e5, 1)), "ok", None),
    # collapsed
    "copies from step 400": (Run(also={COPIES: [0.3, 0.1, 0, 0, 0.6, 0.7, 0.9]}), "collapsed", 400),
    "copies that pass": (Run(also={COPIES: [0.3, 0.1, 0, 0.6, 0.7, 0.9, 0.4]}), "ok", None),
    "modes 8 to 4": (points(modes_covered=[0, 2, 8, 8, 5, 4, 3]), "collapsed", 500),
    "modes 8 to 5": (points(modes_covered=[0, 2, 8, 8, 7, 6, 5]), "ok", None),
    "never a second mode": (points(modes_covered=[0, 0, 1, 1, 0, 0, 0]), "ok", None),
    "modes 2 to 1": (points(modes_covered=[0, 0, 1, 2, 1, 1, 1]), "collapsed", 400),
    "few modes before the most": (points(modes_covered=[0, 0, 0, 1, 2, 4, 8]), "ok", None),
    "sits on four of eight modes": (
        points(modes_covered=[0, 1, 4, 4, 4, 4, 4], high_quality=[0, 0.1, 0.4, 0.6, 0.9, 0.9, 0.9]),
        "collapsed",
        300,
    ),
    "sits on five": (
        points(modes_covered=[0, 1, 5, 5, 5], high_quality=[0, 0.1, 0.4, 0.6, 0.9]),
        "ok",
        None,
    ),
    "two modes, mostly off them": (
        points(modes_covered=[0, 1, 2, 2, 2], high_quality=[0, 0.1, 0.4, 0.4, 0.4]),
        "ok",
        None,
    ),
    "one text from step 50 of 600 on": (
        texts([1, 0.001, 0.002, 0.001, 0.001], js=[0.998, 1, 1, 1, 1], every=50, saturation=1),
        "collapsed",
        50,
    ),
    "one text, with no gradient": (
        texts([1, 0.9, 0.04, 0.001], js=[0.998, 0.99, 1, 1], g_grad_norm=from_row(3, 1e-9)),
        "collapsed",
        200,
    ),
    "one text at every evaluation but none at step 0": (
        texts([0.001, 0.001], first=100),
        "collapsed",
        100,
    ),
    "few texts that pass": (texts([1, 0.01, 0.01, 0.01, 0.2]), "ok", None),
    "5 % of distinct texts": (texts([1, 0.05, 0.05]), "ok", None),
    "4.9 % of distinct texts": (texts([1, 0.05, 0.049]), "collapsed", 200),
    "learns, real text repeats itself": (texts([0.9, 0.03, 0.03], dataset="short"), "ok", None),
    "collapses, real text repeats itself": (
        texts([0.9, 0.006, 0.004], dataset="short"),
        "collapsed",
        200,
    ),
    # late collapse
    "StudioGAN's LSGAN, 66.7 to 330.9": (
        Run([400, 90, 66.7, 130, 150, 330.9]),
        "late collapse",
        400,
    ),
    "StudioGAN's WGAN-GP, 25.9 to 29.5": (Run([400, 60, 25.9, 27, 29.5]), "ok", None),
    "no evaluation at step 0": (Run([90, 66.7, 330.9], first=100), "late collapse", 300),
    "doubles near the floor": (Run([33, 12, 4, 1.29, 2.7]), "ok", None),
    "loses 0.09 of its way": (Run([33, 12, 4, 1.5, 4.5]), "ok", None),
    "loses 0.11 of its way": (Run([33, 12, 4, 1.5, 5.1]), "late collapse", 400),
    "half way and back": (Run([33, 15, 31]), "late collapse", 200),
    "less than half way and back": (Run([33, 18, 37]), "stuck", 200),
    "recovers": (Run([33, 6, 20, 25, 5]), "ok", None),
    "was never good": (Run([33, 20, 25, 29]), "ok", None),
    "a hole at the end": (Run([33, 6, 20, 25, np.nan]), "late collapse", 200),
    # saturated
    "critic sure of every sample": (
        Run([33, 25, 20, 20], saturation=from_row(8, 0.97, 0.3)),
        "saturated",
        270,
    ),
    "one row in ten less sure": (
        Run([33, 25, 20, 20], saturation=np.where(np.arange(20) % 10 == 5, 0.8, 0.97)),
        "saturated",
        30,
    ),
    "one row in five less sure": (
        Run([33, 25, 20, 20], saturation=np.where(np.arange(20) % 5 == 3, 0.8, 0.97)),
        "ok",
        None,
    ),
    "85 % sure": (Run([33, 25, 20, 20], saturation=from_row(8, 0.85, 0.3)), "ok", None),
    "sure in the last fifth": (Run([33, 25, 20, 20], saturation=from_row(16, 1, 0.3)), "ok", None),
    "sure in the last third": (
        Run([33, 25, 20, 20], saturation=from_row(13, 1, 0.3)),
        "saturated",
        420,
    ),
    "sure, 0.12 of the way left": (Run([33, 20, 4], saturation=1), "saturated", 30),
    "sure, 0.09 of the way left": (Run([33, 20, 3], saturation=1), "ok", None),
    "sure, with the generator at its goal": (Run(saturation=1), "ok", None),
    "no sigmoid": (Run([33, 25, 20, 20], saturation=np.nan), "ok", None),
    # vanishing
    "generator's norm falls to 0.0008": (
        Run([33, 25, 20, 20], g_grad_norm=from_row(9, 8e-4)),
        "vanishing",
        300,
    ),
    "generator's norm falls to 0.0012": (
        Run([33, 25, 20, 20], g_grad_norm=from_row(9, 1.2e-3)),
        "ok",
        None,
    ),
    "no gradient from the first row": (Run([33, 25, 20, 20], g_grad_norm=8e-6), "vanishing", 30),
    "little gradient from the first row": (Run([33, 25, 20, 20], g_grad_norm=1.2e-5), "ok", None),
    "critic's norm falls": (Run([33, 25, 20, 20], d_grad_norm=from_row(9, 1e-4)), "ok", None),
    "clipping's small gradients": (Run(g_grad_norm=3e-4), "ok", None),
    "converged": (Run(g_grad_norm=from_row(9, 1e-4)), "ok", None),
    # stuck
    "never better than untrained": (Run([33, 34, 30, 31, 33]), "stuck", 0),
    "back to untrained": (Run([33, 25, 20, 31, 33]), "stuck", 300),
    "a fifth better": (Run([33, 30, 28, 27, 26]), "ok", None),
    "flat, but trained at its first evaluation": (Run([3, 3.1, 3], first=100), "ok", None),
    "one text from the start": (texts([0.01, 0.001, 0.04, 0.01]), "stuck", 0),
    "texts that never improve": (texts([1, 1, 1], js=[0.998, 0.99, 0.95]), "stuck", 0),
    "one picture from the start": (Run(also={COPIES: [0.9, 1, 1, 0.7, 0.6, 0.6, 1]}), "stuck", 0),
    # the first rule that holds
    "collapses, then lacks gradients": (
        Run([33, 3, 30, 30, 30], g_grad_norm=from_row(9, 1e-4)),
        "late collapse",
        200,
    ),
    "copies at no better FID": (Run([33, 33, 33], also={COPIES: [0, 0.9, 0.9]}), "collapsed", 100),
    # not judged
    "still running": (Run([33, 34, 35], status="running"), None, None),
    "error": (Run([33, 3, 30], status="error"), None, None),
    "no evaluation": (Run([], g_grad_norm=1), None, None),
    "no failure, but no final": (Run([33, 18, 12, 6, np.nan]), None, None),
    "a hole before the final": (Run([33, 18, np.nan, 6, 5]), "ok", None),
    "no evaluation, exploding": (Run([], g_grad_norm=from_row(10, 5000)), "exploding", 330),
}


@pytest.fixture(scope="module")
def judged():
    return judge(*(run for run, _, _ in TRACES.values())).set_index(pd.Index(TRACES))


@pytest.mark.parametrize("name", TRACES)
def test_known_verdict(name, judged):
    _, verdict, onset = TRACES[name]
    row = judged.loc[name]
    assert (row["verdict"], None if np.isnan(row["verdict_onset"]) else row["verdict_onset"]) == (
        verdict,
        onset,
    )
    if verdict not in (None, "ok", "diverged"):
        assert "nan" not in row["verdict_reason"]


def test_traces_show_every_verdict():
    assert {verdict for _, verdict, _ in TRACES.values()} == {None, *VERDICTS}


def test_a_cell_is_judged_alone_whatever_the_order_of_rows(judged):
    for name in ("learns", "modes 8 to 4", "no evaluation", "still running"):
        alone = judge(TRACES[name][0])
        assert alone.astype(object).iloc[0].equals(judged.astype(object).loc[name].rename("k0"))
    runs = [copy.deepcopy(run) for run, _, _ in TRACES.values()]
    for run in runs:
        run.evals.reverse()
        run.steps.reverse()
    pd.testing.assert_frame_equal(judge(*runs).set_index(judged.index), judged)


def test_reason_names_the_numbers_and_the_limit():
    rows = judge(
        Run([400, 66.7, 330.9]),
        points(modes_covered=[0, 8, 3]),
        Run([33, 25, 20], g_grad_norm=3e-6),
    )
    assert rows["verdict_reason"].tolist() == [
        "331 at the end, 66.7 at best: at or above 2 × it",
        "3 modes at the end, 8 at most: at or below 0.5 × it",
        "generator's gradient norm 3e-06, 3e-06 early: below 0.001 × it, or 1e-05",
    ]


def test_without_floor_or_fields():
    run = points((1, 0.2, 0.2, 0.5), modes_covered=[0, 1, 1, 1], high_quality=[0, 0.9, 0.9, 0.9])
    assert judge(run, protocols={})["verdict"].tolist() == [
        "late collapse"
    ]  # of how many modes is not known
    cells = pd.DataFrame({"key": ["a", "b"], "dataset": "digits", "status": ["done", "missing"]})
    cells = cells.assign(onset=np.nan, reason=None)
    evals = pd.DataFrame(columns=["cell", "g_steps", "metric", "value"])
    found = stability.judge(cells, evals, pd.DataFrame(columns=["cell", "g_step"]), {}, {})
    assert found["verdict"].tolist() == [None, None]
    assert found[list(stability.INDICES)].isna().all(axis=None)


def test_categories_are_as_good_as_text():
    run = Run([33, 34, 33], g_grad_norm=1)
    cells = pd.DataFrame([{"key": key, **run.cell} for key in "ab"])
    evals, steps = (
        pd.concat([pd.DataFrame(rows).assign(cell=key) for key in "ba"]).astype(
            {"cell": "category"}
        )
        for rows in (run.evals, run.steps)
    )
    found = stability.judge(cells, evals.astype({"metric": "category"}), steps, PROTOCOLS, PRIMARY)
    assert found["verdict"].to_dict() == {"a": "stuck", "b": "stuck"}


def test_indices_by_hand():
    rows = {
        "g_grad_norm": from_row(15, 0.5, 2.0),
        "d_grad_norm": np.arange(1, 21),
        "slope": from_row(16, 3.0),
        "saturation": np.arange(20) / 20,
        "d_loss_train": 1.0,
        "d_loss_holdout": from_row(17, 2.0, 1.0),
    }
    row = judge(Run([32, 16, 2, 4], **rows)).iloc[0]
    assert row["regret"] == 2
    assert row["g_grad_decay"] == 0.25  # 0.5 over the last 5 rows, 2 over the first 3
    assert row["d_grad_growth"] == 9  # 18 ÷ 2
    assert row["slope"] == pytest.approx((1 + 4 * 3) / 5)
    assert row["saturation"] == pytest.approx(0.85)
    assert row["overfit_gap"] == pytest.approx(3 / 5)
    assert row[["slope_std", "clipped", "modes_lost", "oscillation", "loss_regret"]].isna().all()
    assert judge(points(modes_covered=[0, 2, 8, 7, 8, 6, 5])).iloc[0]["modes_lost"] == 3
    assert np.isnan(judge(Run([32, 16], status="diverged")).iloc[0]["regret"])
    assert judge(Run([32, np.nan, 2, np.nan, 4])).iloc[0]["regret"] == 2  # holes are left out
    assert np.isnan(
        judge(Run([32, 2, 4, np.nan])).iloc[0]["regret"]
    )  # but for the final, which nothing replaces
    assert np.isnan(judge(Run([np.nan, np.nan])).iloc[0]["regret"])


def test_oscillation_is_the_noise_around_a_trend():
    assert judge(Run([64, 32, 16, 8, 4, 2, 1])).iloc[0]["oscillation"] == pytest.approx(
        0, abs=1e-12
    )
    up_and_down = [100, 10, 10, 10, 1, 10, 1, 10, 1]  # changes 1 −1 1 −1 in the second half
    assert judge(Run(up_and_down)).iloc[0]["oscillation"] == pytest.approx(1.4826 / 2**0.5)
    one_more = [*up_and_down, 10]  # 1 −1 1 −1 1, of mean 0.2: deviations 0.8 1.2 0.8 1.2 0.8
    assert judge(Run(one_more)).iloc[0]["oscillation"] == pytest.approx(0.8 * 1.4826 / 2**0.5)
    assert np.isnan(judge(Run([8, 4, 2, 4, 2])).iloc[0]["oscillation"])  # two changes are too few
    noise = np.random.default_rng(0).normal(0, 0.05, 2000)
    falling = 10 ** (2 - np.arange(2000) / 1000 + noise)
    assert judge(Run(falling)).iloc[0]["oscillation"] == pytest.approx(0.05, rel=0.1)


def with_losses(run, losses, first=100.0):
    run.steps = [{"g_step": first + 100.0 * i, "d_loss": loss} for i, loss in enumerate(losses)]
    return run


def test_loss_regret_is_the_value_at_the_highest_loss():
    run = with_losses(Run([33, 20, 12, 9, 4, 5, 2]), [-8.0, -6, -7, -1, -3, -3])
    run.steps += [{"g_step": 50.0, "d_loss": 1e9}]  # between evaluations
    row = judge(run).iloc[0]
    assert (row["loss_regret"], row["regret"]) == (4 / 2, 1)
    ties = with_losses(Run([33, 20, 12, 9]), [0.5, 0.5, 0.5])  # the earliest counts
    two = with_losses(Run([33, 20, 12, 9]), [0.5, 0.7])
    hole = with_losses(Run([33, 20, np.nan, 9, 6]), [0.1, 9.0, 0.3, 0.2])
    diverged = with_losses(Run([33, 20, 12, 9], status="diverged"), [1.0, 2, 3])
    found = judge(ties, two, hole, diverged)["loss_regret"].tolist()
    assert found == pytest.approx([20 / 9, np.nan, 9 / 6, np.nan], nan_ok=True)


def test_stopping_over_seeds():
    values = [1.0, 1.5, 3.0, 2.0, 1.2, 9.0, np.nan]
    status = ["done"] * 5 + ["diverged", "done"]
    cells = pd.DataFrame(
        {"objective": "wgan", "architecture": "mlp", "dataset": "digits", "status": status}
    )
    cells = cells.assign(
        loss_regret=values, regret=np.nan, overfit_gap=[0.1, 0.2, 0.3] + 4 * [np.nan]
    )
    other = cells.assign(objective="lsgan", loss_regret=np.nan, overfit_gap=np.nan)
    found = stability.stopping(pd.concat([cells, other], ignore_index=True)).set_index("quantity")
    # nothing was measured for lsgan
    assert found["objective"].tolist() == ["wgan", "wgan"]
    columns = ["n", "n_expected", "median", "ci_low", "ci_high"]
    # the diverged run and the hole are left out
    interval = median_interval(values[:5]).tolist()
    assert found.loc["loss_regret", columns].tolist() == [5, 7, 1.5, *interval]
    row = found.loc["overfit_gap"]
    assert (row["n"], row["median"]) == (3, 0.2)
    assert np.isnan(row["ci_low"])  # three seeds carry no interval


def agree(runs_by_objective):
    """`agreement` of lists of runs (fid, losses) by objective."""
    cells = []
    evals = []
    steps = []
    for objective, runs in runs_by_objective.items():
        for seed, (fid, losses) in enumerate(runs):
            key = f"{objective}{seed}"
            run = with_losses(Run(fid), losses)
            axes = {"objective": objective, "architecture": "dcgan"}
            cells.append({"key": key, **axes, **run.cell})
            evals += [{"cell": key, **row} for row in run.evals]
            steps += [{"cell": key, **row} for row in run.steps]
    tables = [pd.DataFrame(rows) for rows in (cells, evals, steps)]
    return stability.agreement(*tables, PRIMARY).set_index("objective")


def test_a_loss_that_only_has_a_trend_agrees_with_nothing():
    """FID and loss both follow the time, with noise of their own: over a run they correlate at −1
    nearly, with the runs of the other objective too. At equal steps nothing is left. A loss that
    follows its own run's FID is told from it."""
    rng = np.random.default_rng(0)

    def runs(follows):
        found = []
        for _ in range(7):
            noise = rng.normal(0, 0.5, 6)
            fid = np.array([30.0, 25, 20, 15, 10, 5]) + noise
            losses = np.arange(6.0) - noise if follows else np.arange(6) + rng.normal(0, 0.5, 6)
            found.append(([33, *fid], losses))
        return found

    trend, own = runs(False), runs(True)
    for losses in (trend[0][1], trend[1][1]):
        for fid, _ in (trend[0], own[0]):
            assert spearmanr(losses, fid[1:]).statistic < -0.8
    found = agree({"trend": trend, "own": own})
    low, value, high, p = found.loc["trend", ["low", "agreement", "high", "p_holm"]]
    assert low <= value <= high
    assert p > 0.05
    assert found.loc["own", "agreement"] == pytest.approx(1)
    assert found.loc["own", "p_holm"] < 0.01
    assert found[["n", "evaluations"]].to_numpy().tolist() == [[7, 6], [7, 6]]


def test_agreement_is_over_done_runs_at_the_evaluations_they_share():
    curve = [33, 20, 12, 9, 4]
    runs = [([value + i for value in curve], [5.0 - i] * 4) for i in range(3)]
    short = (curve[:4], [9.0] * 3)
    found = agree({"wgan": [*runs, short]})
    assert found.loc["wgan", ["n", "evaluations"]].tolist() == [4, 3]
    assert agree({"wgan": runs[:2]}).empty
