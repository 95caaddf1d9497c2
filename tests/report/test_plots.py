"""Figures: what they draw, of whatever there is, and that nothing of it is cut off or covered."""

from dataclasses import replace
from pathlib import Path

import matplotlib.pyplot as plt
import numpy as np
import pandas as pd
import pytest
from matplotlib.colors import rgb_to_hsv
from matplotlib.text import Text
from PIL import Image

from benchmark.analysis import tables
from benchmark.analysis.evidence import gather
from benchmark.analysis.verdicts import VERDICTS
from benchmark.drawing import axes, layout, style
from benchmark.drawing.save import Figure, save
from benchmark.drawing.style import drawing
from benchmark.errors import DamagedError
from benchmark.metrics import sign
from benchmark.report.charts import differences
from benchmark.report.figures import (
    certainty,
    draw_all,
    learning,
    overview,
    robustness,
    samples,
    speed,
    stability,
    traces,
)
from benchmark.report.figures.saved import real_samples
from tests.helpers import synthetic

SECTIONS = ("first", "where", "speed", "stability", "cost", "certainty")  # in reading order
POINTS = [("gaussians8", "mlp")]
MLP = "mlp[depth=4,width=8]"
ROBUST = {
    "objectives": ["nonsaturating", "wgan", "wgan_gp"],
    "groups": [("digits", "dcgan"), ("digits", MLP)],
    "seeds": range(3),
}
LABELS = [
    "nonsaturating",
    "wgan_gp[note=<script>alert(1)</script>]",
    "a_$b$_{c}^\\frac[cost=$5,of=a_label_of_forty_signs]",
]


@pytest.fixture(autouse=True, scope="module")
def fresh_code():
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr("benchmark.store.code.training_code", lambda cell: "c0de")
        yield


@pytest.fixture(scope="module")
def drawn(tmp_path_factory) -> tuple[Path, tables.Tables, list[Figure]]:
    """Three objectives in two places, six seeds; one run diverged, one is missing."""
    status = {("minimax", "digits", 1): "diverged", ("wgan", "digits", 4): "missing"}
    objectives = ["nonsaturating", "minimax", "wgan"]
    path = tmp_path_factory.mktemp("runs") / "quick"
    loaded = tables.load(
        synthetic.write(path, objectives=objectives, seeds=range(6), status=status, untrained=True)
    )
    return path, loaded, draw_all(loaded, path)


def numbers(folder: Path, stem: str) -> pd.DataFrame:
    return pd.read_csv(folder / f"figures/{stem}.csv")


def test_every_figure_has_three_files_a_section_and_a_place_in_reading_order(drawn):
    folder, _, figures = drawn
    stems = [
        "heatmap",
        "samples_gaussians8_mlp",
        "samples_cost_gaussians8_mlp",
        "samples_digits_dcgan",
        "samples_cost_digits_dcgan",
        "learning_curves",
        "time_to_target",
    ]
    stems += [
        "verdicts",
        "gradient_norms",
        "layers",
        "scores",
        "critic_loss",
        "cost",
    ]
    assert sorted(saved.stem for saved in figures) == sorted(
        [*stems, "differences", "ranks", "power"]
    )
    assert {path.stem for path in (folder / "figures").iterdir()} == {
        saved.stem for saved in figures
    }
    order = [SECTIONS.index(saved.section) for saved in figures]
    assert order == sorted(order)
    assert set(order) == set(range(len(SECTIONS)))
    for saved in figures:
        assert (folder / f"figures/{saved.stem}.png").read_bytes().startswith(b"\x89PNG")
        assert "<svg" in (folder / f"figures/{saved.stem}.svg").read_text()
        assert len(numbers(folder, saved.stem))
        assert saved.title
        assert saved.caption.endswith(".")


def test_learning_curves_are_medians_over_seeds(drawn):
    curves = numbers(drawn[0], "learning_curves").set_index(
        ["dataset", "objective", "samples_seen"]
    )
    last = curves.loc[("digits", "minimax", 5 * 6400)]
    values = [
        synthetic.learning("minimax", "fid_classifier_750", seed, 5) for seed in (0, 2, 3, 4, 5)
    ]
    columns = ["n", "median", "low", "raced_seconds", "forwards"]
    # Five intervals of 2 s, of 100 critic steps and 100 generator steps
    spent = [10, 5 * (100 * 400 + 100 * 300)]
    expected = [5, np.median(values), min(values), *spent]
    assert last[columns].to_list() == pytest.approx(expected)


def test_layers_and_scores_in_numbers(drawn):
    """The fixture's gradients halve with every layer away from the output, times 1 + 0.1 seed; its
    scores are ±w with standard deviations 0.4 w and 0.3 w."""
    layers = (
        numbers(drawn[0], "layers")
        .set_index(["dataset", "objective", "network", "layer_number"])["median"]
        .sort_index()
    )
    found = layers.loc["gaussians8", "wgan"].to_dict()
    assert found == pytest.approx(
        {("D", 1): 0.3125, ("D", 2): 0.625, ("D", 3): 1.25, ("G", 1): 0.625, ("G", 2): 1.25}
    )
    scores = numbers(drawn[0], "scores").set_index(["quantity", "objective", "dataset", "g_step"])[
        "median"
    ]
    assert scores["separation"].to_numpy() == pytest.approx(2 / np.sqrt(0.125))
    assert set(scores["clipped"].dropna().index.get_level_values("objective")) == {"wgan"}


def test_layers_leave_out_biases_and_normalisation(tmp_path):
    names = {
        "D": ("convs.0.weight", "convs.0.bias", "norm1.weight", "out.weight"),
        "G": ("linear.bias",),
    }
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(synthetic, "LAYERS", names)
        loaded = tables.load(
            synthetic.write(tmp_path, objectives=["wgan"], groups=POINTS, samples=False)
        )
    (tmp_path / "figures").mkdir()
    traces.layers(loaded, tmp_path)
    found = numbers(tmp_path, "layers").set_index(["network", "layer_number"])["median"]
    assert found.to_dict() == pytest.approx(
        {("D", 1): 0.15, ("D", 2): 1.2, ("G", 1): 1.2}
    )  # a network of biases: all


def test_cost_of_the_target_is_what_the_table_says(drawn):
    folder, loaded, _ = drawn
    by = ["dataset", "objective", "level", "clock"]
    found = numbers(folder, "time_to_target").set_index(by)[
        ["n", "reached", "median", "ci_low", "ci_high"]
    ]
    table = loaded.convergence.set_index(by)[found.columns]
    pd.testing.assert_frame_equal(found, table.loc[found.index], check_dtype=False)


@pytest.mark.parametrize("places", [1, 2, 3])
def test_figures_that_say_nothing_of_few_places_are_left_out(tmp_path, places):
    groups = [("gaussians8", "mlp"), ("digits", "dcgan"), ("gaussians8", MLP)][:places]
    options = {"objectives": ["lsgan", "wgan"], "seeds": [0], "samples": False, "untrained": True}
    loaded = tables.load(synthetic.write(tmp_path, groups=groups, **options))
    (tmp_path / "figures").mkdir()
    assert bool(overview.heatmap(loaded, tmp_path)) == (places > 1)
    assert bool(speed.profiles(loaded, tmp_path)) == (places > 2)
    if places > 2:
        profile = numbers(tmp_path, "performance_profile")
        assert set(profile["clock"]) == {"samples", "g_steps", "forwards", "seconds"}
        assert profile["ratio"].agg(["min", "max"]).tolist() == [1, 4]


def test_verdicts_count_every_seed(drawn):
    rows = numbers(drawn[0], "verdicts")
    assert rows["seeds"].sum() == 36
    found = (
        rows[rows["verdict"] != "ok"]
        .set_index(["objective", "dataset"])[["verdict", "seeds"]]
        .T.to_dict("list")
    )
    assert found == {("minimax", "digits"): ["diverged", 1], ("wgan", "digits"): ["no verdict", 1]}
    assert set(VERDICTS) | {"no verdict"} == set(style.VERDICT_LOOKS)
    assert len(set(style.VERDICT_LOOKS.values())) == len(style.VERDICT_LOOKS)


def test_certainty_draws_the_evidence(drawn):
    folder, loaded, _ = drawn
    evidence = gather(loaded)
    found = numbers(folder, "differences")
    assert found["difference"].to_numpy() == pytest.approx(
        evidence.compared["difference"].to_numpy()
    )
    assert set(found["second"]) == {"nonsaturating"}
    ranks = numbers(folder, "ranks").groupby(["dataset", "objective"])
    assert ranks["seeds"].sum().to_numpy() == pytest.approx(ranks["n"].first().to_numpy())
    power = numbers(folder, "power").set_index(["comparisons", "n"])["told_share"]
    (most,) = {comparisons for comparisons, _ in power.index} - {1}
    known = power[most].dropna()
    assert (known >= power[1].loc[known.index]).all()
    assert power[1].loc[[6, 10, 20, 40]].is_monotonic_decreasing


def test_results_of_older_cells_leave_their_figures_out(tmp_path):
    loaded = tables.load(
        synthetic.write(tmp_path, objectives=["wgan", "lsgan"], older=True, seeds=[0, 1])
    )
    stems = {saved.stem for saved in draw_all(loaded, tmp_path)}
    assert {"learning_curves", "gradient_norms", "verdicts"} <= stems
    assert not {"layers", "scores", "cost"} & stems
    assert not {"forwards", "raced_seconds"} & set(
        numbers(tmp_path, "learning_curves").dropna(axis=1)
    )
    assert set(numbers(tmp_path, "critic_loss")["quantity"]) == {"loss_regret", "regret"}


@pytest.mark.parametrize(
    "how", ["missing", "diverged", "one run", "nothing measured", "not finite"]
)
def test_whatever_there_is_can_be_drawn(tmp_path, how):
    seeds = [0] if how == "one run" else [0, 1]
    objectives = ["wgan"] if how == "one run" else ["lsgan", "wgan"]
    groups = POINTS if how == "one run" else [("digits", "dcgan")]
    places = [(name, groups[0][0], seed) for name in objectives for seed in seeds]
    ends = {"missing": "missing", "diverged": "diverged", "nothing measured": "diverged"}
    status = dict.fromkeys(places, ends.get(how, "done"))
    curve = (lambda *_: float("inf")) if how == "not finite" else synthetic.learning
    bad = {
        "d_grad_norm": float("inf"),
        "g_grad_norm": 0.0,
        "slope": float("nan"),
        "d_real_std": 0.0,
        "d_loss": -1e30,
    }
    synthetic.write(
        tmp_path,
        objectives=objectives,
        groups=groups,
        seeds=seeds,
        status=status,
        curve=curve,
        evaluations=1 if how == "nothing measured" else 3,
        probes=lambda *_: bad if how == "not finite" else {},
        layer=lambda *_: float("nan") if how == "not finite" else 1.0,
    )
    stems = {saved.stem for saved in draw_all(tables.load(tmp_path), tmp_path)}
    assert ("verdicts" in stems) == (how != "missing")
    assert ("learning_curves" in stems) == (how not in ("missing", "nothing measured"))


def overlapping(boxes: list) -> list[tuple[int, int]]:
    """Which of the boxes, shrunk by a pixel, overlap."""

    def meet(low: float, high: float, other_low: float, other_high: float) -> bool:
        return low + 1 < other_high - 1 and other_low + 1 < high - 1

    return [
        (i, j)
        for i, one in enumerate(boxes)
        for j, other in enumerate(boxes[:i])
        if meet(one.x0, one.x1, other.x0, other.x1) and meet(one.y0, one.y1, other.y0, other.y1)
    ]


@pytest.mark.parametrize("objectives", [LABELS, LABELS[2:]], ids=["three labels", "one label"])
def test_long_labels_are_not_cut_off_and_cover_nothing(tmp_path, monkeypatch, objectives):
    """Every text lies within the figure, and no two of an axis or of all legends and axes' titles
    overlap."""
    groups = [("digits", MLP), ("gaussians8", "mlp")]
    loaded = tables.load(
        synthetic.write(
            tmp_path, objectives=objectives, groups=groups, seeds=range(5), samples=False
        )
    )
    seen = []

    def inspect(drawing, data, folder, saved, of=""):
        drawing.canvas.draw()
        seen.append(saved.stem)
        frame, legends = (
            drawing.bbox.padded(2),
            [box.get_window_extent() for box in drawing.legends],
        )
        outer = [ax.get_tightbbox() for ax in drawing.axes]
        for ax in drawing.axes:
            axes_texts = [
                [text for text in axis.get_ticklabels() if text.get_text()]
                for axis in (ax.xaxis, ax.yaxis)
            ]
            for texts in axes_texts:
                inside = [text.get_window_extent() for text in texts if text.get_visible()]
                inside = [box for box in inside if frame.overlaps(box)]
                assert not overlapping(inside), (saved.stem, [text.get_text() for text in texts])
        for box in [*outer, *legends]:
            ends = (frame.x0 <= box.x0, frame.y0 <= box.y0, box.x1 <= frame.x1, box.y1 <= frame.y1)
            assert all(ends), (saved.stem, ends, box, frame)
        assert not any(box.overlaps(legend) for box in outer for legend in legends), saved.stem
        plt.close(drawing)
        return saved

    for module in (overview, learning, traces, speed, stability, certainty):
        monkeypatch.setattr(module, "save", inspect)
    draw_all(loaded, tmp_path)
    assert len(seen) >= 8


def test_many_places_have_a_figure_for_each_dataset(tmp_path):
    groups = [
        (dataset, f"mlp[width={i}]") for dataset in ("gaussians8", "digits") for i in range(4)
    ]
    written = synthetic.write(
        tmp_path, objectives=["wgan"], groups=groups, seeds=[0], samples=False
    )
    loaded = tables.load(written)
    (tmp_path / "figures").mkdir()
    found = [saved.stem for saved in learning.learning_curves(loaded, tmp_path)]
    assert found == ["learning_curves_gaussians8", "learning_curves_digits"]
    assert set(numbers(tmp_path, "learning_curves_digits")["dataset"]) == {"digits"}
    assert len(speed.cost(loaded, tmp_path)) == 2
    assert len(stability.verdicts(loaded, tmp_path)) == 1


def test_long_runs_are_thinned_and_keep_their_ends():
    steps = np.arange(0, 5000, 10)
    rows = pd.DataFrame(
        {"dataset": "digits", "architecture": "mlp", "objective": "wgan", "g_step": steps}
    )
    data = traces.over_seeds(rows.assign(slope=1.0), "g_step", ["slope"])
    assert len(data) <= traces.MOST_POINTS + 1
    assert data["g_step"].agg(["min", "max"]).tolist() == [0, 4990]


def test_line_figures_are_small_and_white(drawn):
    picture = Image.open(drawn[0] / "figures/learning_curves.png")
    assert picture.mode == "P"
    assert picture.convert("RGB").getpixel((1, 1)) == (255, 255, 255)
    assert Image.open(drawn[0] / "figures/samples_digits_dcgan.png").mode == "RGB"


def test_final_samples_at_equal_steps_and_the_last_within_equal_cost(tmp_path):
    """lsgan ends after 300 steps, of 330,000 forwards; 400 steps of wgan, of one critic step each,
    take 280,000, and 500 take 350,000. wgan_gp has been interrupted after 300 steps."""
    status = {("wgan_gp", "gaussians8", seed): "interrupted" for seed in range(2)}
    synthetic.write(
        tmp_path,
        objectives=["wgan", "lsgan", "wgan_gp"],
        groups=POINTS,
        seeds=range(2),
        status=status,
        every={"lsgan": 50},
    )
    (tmp_path / "figures").mkdir()
    steps, cost = samples.draw(tables.load(tmp_path), tmp_path)
    assert (steps.section, cost.section) == ("first", "first")
    assert "after 300 steps, seed 0" in steps.title
    drawn = numbers(tmp_path, steps.stem).set_index("objective")["g_steps"]
    assert drawn.to_dict() == {"wgan": 300, "lsgan": 300, "wgan_gp": 300}
    drawn = numbers(tmp_path, cost.stem).set_index("objective")
    budget = drawn["forwards"]["lsgan"]
    assert drawn["forwards"].max() <= budget
    assert f"{budget:,.0f}" in cost.caption
    assert drawn["g_steps"].to_dict() == {"wgan": 400, "lsgan": 300, "wgan_gp": 300}


def test_no_samples_at_equal_cost_are_no_figure(tmp_path):
    """The budget is below the first evaluation."""
    synthetic.write(tmp_path, objectives=["wgan", "lsgan"], groups=POINTS, seeds=[0])
    (tmp_path / "figures").mkdir()
    found = tables.load(tmp_path)
    known = {**found.equal_cost, "equal_compute": {POINTS[0]: -1.0}}
    (figure,) = samples.draw(replace(found, equal_cost=known), tmp_path)
    assert figure.stem.startswith("samples_gaussians8")


@pytest.mark.parametrize("groups", [POINTS, [("digits", "dcgan")], synthetic.TEXT], ids=str)
def test_the_first_row_shows_real_samples_if_the_result_set_has_some(tmp_path, groups):
    (dataset, _), *_ = groups
    synthetic.write(tmp_path, objectives=["wgan"], groups=groups, seeds=[0])
    (tmp_path / "figures").mkdir()
    (figure,) = samples.draw(tables.load(tmp_path), tmp_path)
    without = (tmp_path / f"figures/{figure.stem}.png").read_bytes()
    synthetic.write_real(tmp_path, dataset)
    loaded = tables.load(tmp_path)
    (figure,) = samples.draw(loaded, tmp_path)
    assert (tmp_path / f"figures/{figure.stem}.png").read_bytes() != without
    real = real_samples(loaded, tmp_path, dataset)
    if dataset == "fortunes":
        assert [passage.objective for passage in figure.passages] == ["", "wgan"]
        assert figure.passages[0].text.split("\n")[1].replace("·", " ") == real[1]
    else:
        assert real.shape == {"digits": (64, 1, 8, 8), "gaussians8": (500, 2)}[dataset]
    (file,) = (tmp_path / "real").iterdir()
    file.write_bytes(file.read_bytes() + b"x")
    with pytest.raises(DamagedError, match="real"):
        samples.draw(loaded, tmp_path)
    file.unlink()
    samples.draw(loaded, tmp_path)
    assert (tmp_path / f"figures/{figure.stem}.png").read_bytes() == without


@pytest.fixture(scope="module")
def robust(tmp_path_factory) -> Path:
    """Two architectures, three seeds of which the second has the most samples. With it
    nonsaturating diverges on the MLP, wgan collapses on it, and wgan_gp is missing on the DCGAN.
    wgan saves every 150 steps and 5 s, wgan_gp every 100 steps and 3 s, nonsaturating every 100
    steps and 2 s, six times each."""
    lost = [
        ("wgan_gp", "dcgan", 0),
        ("wgan_gp", "dcgan", 1),
        ("wgan_gp", "dcgan", 2),
        ("wgan", "dcgan", 0),
    ]
    path = synthetic.write(
        tmp_path_factory.mktemp("runs") / "robust",
        **ROBUST,
        status=dict.fromkeys(lost, "missing") | {("nonsaturating", MLP, 1): "diverged"},
        collapsed={("wgan", MLP, 1)},
        every={"wgan": 150},
        seconds={"wgan": 5.0, "wgan_gp": 3.0},
    )
    draw_all(tables.load(path), path)
    return path


def panes(folder: Path, stem: str) -> pd.DataFrame:
    frame = pd.read_csv(folder / f"figures/{stem}_digits.csv").set_index(
        ["architecture", "objective"]
    )
    assert set(frame["seed"]) == {1}
    return frame


def test_robustness_at_equal_steps(robust):
    """Finished runs have 100, 200 … 600 and 150, 300 … 900 steps saved: 600 is the most in
    common."""
    drawn = panes(robust, "robustness_steps")
    assert set(drawn["equal_steps"]) == {600}
    assert drawn["mark"].dropna().to_dict() == {
        ("dcgan", "wgan_gp"): "missing",
        (MLP, "nonsaturating"): "diverged at step 350",
        (MLP, "wgan"): "collapsed",
    }
    steps = drawn["g_steps"].to_dict()
    assert np.isnan(steps.pop(("dcgan", "wgan_gp")))
    assert steps.pop((MLP, "nonsaturating")) == 300  # its last
    assert set(steps.values()) == {600}


def test_robustness_at_equal_time(robust):
    """On the DCGAN 12 s, when nonsaturating ended; on the MLP, where that diverged, 18 s, when
    wgan_gp ended."""
    drawn = panes(robust, "robustness_time").round(9)
    found = {
        place: drawn.loc[place, ["equal_time", "raced_seconds", "g_steps"]].to_list()
        for place in drawn.index
    }
    assert np.isnan(found.pop(("dcgan", "wgan_gp"))[1])
    assert found == {
        ("dcgan", "nonsaturating"): [12, 12, 600],
        ("dcgan", "wgan"): [12, 10, 300],
        (MLP, "nonsaturating"): [18, 6, 300],
        (MLP, "wgan"): [18, 15, 450],
        (MLP, "wgan_gp"): [18, 18, 600],
    }
    assert drawn["mark"].to_dict() == panes(robust, "robustness_steps")["mark"].to_dict()


def test_robustness_in_numbers(robust):
    frame = pd.read_csv(robust / "figures/robustness_final_digits.csv").set_index(
        ["architecture", "objective"]
    )
    counts = frame[["seeds", "done", "diverged", "collapsed"]]
    assert counts.loc[(MLP, "nonsaturating")].to_list() == [3, 2, 1, 0]
    assert counts.loc[(MLP, "wgan")].to_list() == [3, 3, 0, 1]
    assert counts.loc[("dcgan", "wgan_gp")].to_list() == [3, 0, 0, 0]
    values = [synthetic.learning("nonsaturating", "fid_classifier_750", seed, 5) for seed in (0, 2)]
    # the median of these and of a run that diverged
    assert frame.loc[(MLP, "nonsaturating"), "median"] == pytest.approx(max(values))


def test_robustness_sheets_begin_with_real_samples(robust, monkeypatch):
    pictures = []
    monkeypatch.setattr(robustness, "tiled", lambda *of: pictures.append(of) or samples.tiled(*of))
    loaded = tables.load(robust)
    robustness.draw(loaded, robust)
    without = len(pictures)
    content = (robust / "protocols.json").read_text()
    synthetic.write_real(robust, "digits")
    loaded = tables.load(robust)
    real = real_samples(loaded, robust, "digits")
    pictures.clear()
    robustness.draw(loaded, robust)
    # three panes of sixteen other images in each of the two figures
    assert len(pictures) == without + 2 * 3
    for pane, (images, *_) in enumerate(pictures[:3]):
        assert (images[:16] == real[16 * pane :][:16]).all()
    (robust / "protocols.json").write_text(content)


def test_robustness_figures_stand_first_and_replace_what_they_repeat(robust):
    stems = [saved.stem for saved in draw_all(tables.load(robust), robust)]
    assert stems[:4] == [
        *(f"robustness_{name}_digits" for name in ("steps", "time", "final")),
        "learning_curves",
    ]
    assert not {"heatmap", "samples_digits_dcgan"} & set(stems)


@pytest.mark.parametrize("how", ["missing", "diverged", "no samples", "nothing in common"])
def test_robustness_of_partial_results(tmp_path, how):
    places = [
        (name, architecture, 0)
        for name in ROBUST["objectives"]
        for _, architecture in ROBUST["groups"]
    ]
    status = dict.fromkeys(places, how) if how in ("missing", "diverged") else {}
    every = {"wgan": 700} if how == "nothing in common" else {}
    options = ROBUST | {"seeds": [0], "samples": how != "no samples"}
    (tmp_path / "figures").mkdir()
    loaded = tables.load(synthetic.write(tmp_path, **options, status=status, every=every))
    robustness.draw(loaded, tmp_path)
    found = {
        path.stem.removesuffix("_digits") for path in (tmp_path / "figures").glob("robustness*.csv")
    }
    three = {"robustness_final", "robustness_steps", "robustness_time"}
    expected = {
        "missing": set(),
        "diverged": three - {"robustness_final"},
        "no samples": {"robustness_final"},
    }
    assert found == expected.get(how, three)
    if "robustness_steps" in found:
        drawn = pd.read_csv(tmp_path / "figures/robustness_steps_digits.csv")
        assert set(drawn["equal_steps"]) == {300 if how == "diverged" else 600}


def test_a_pane_shows_the_first_samples_in_reading_order():
    images = np.arange(20, dtype=np.uint8).repeat(3 * 2 * 2).reshape(20, 3, 2, 2)
    tile = samples.tiled(images, 4, 4)
    # enlarged eight times, with gutters of two pixels
    assert tile.shape == (4 * 18 - 2, 4 * 18 - 2, 3)
    assert (tile[::18, ::18, 0] == np.arange(16).reshape(4, 4)).all()
    assert (tile[16:18] == 255).all()
    assert (samples.tiled(images[:, :1], 4, 4) == tile).all()  # grey
    few = samples.tiled(images[:3], 2, 2)
    assert few[0, 18, 0] == 1
    assert (few[18:, 18:] == 255).all()


def test_panes_show_fewer_images_where_they_are_many():
    image = np.zeros((16, 3, 32, 32), dtype=np.uint8)
    assert [robustness._side(panes, image) for panes in (14, 28, 40, 400)] == [4, 3, 2, 2]


def test_labels_are_wrapped_by_parameter():
    assert (
        style.wrap("dcgan[generator_norm=none,norm=none]")
        == "dcgan\n[generator_norm=none,\nnorm=none]"
    )
    assert style.wrap("wgan_gp[betas=[0.5, 0.9]]") == "wgan_gp\n[betas=[0.5, 0.9]]"
    assert style.wrap("minimax") == "minimax"


def test_colours_are_fixed_by_name():
    assert len({style.style(name)["color"] for name in style.COLOURS}) == 7
    assert not set(style.COLOURS.values()) & set(style.OTHERS)
    assert style.style("dragan") == style.style("dragan")
    assert style.style("dragan")["color"] in style.OTHERS


def lightness(colour) -> float:
    return sum(style.to_rgb(colour)) / 3


def hue(colour) -> float:
    return rgb_to_hsv(style.to_rgb(colour))[0]


@pytest.mark.parametrize("base", ["wgan_gp", "nonsaturating", "hinge", "my_own"])
def test_variants_of_a_sweep_run_from_light_to_dark_in_the_order_of_their_values(base):
    weights = (0.01, 0.1, 0.5, 1, 2, 5, 10, 100, 1000, 10000)
    labels = [base, *(f"{base}[penalty_weight={weight}]" for weight in weights)]
    looks = style.looks([*labels[::-1], "lsgan"])
    shades = [looks[label]["color"] for label in labels]
    assert all(np.diff([lightness(shade) for shade in shades[1:]]) < -0.01)
    if base != "hinge":
        assert [hue(shade) for shade in shades] == pytest.approx([hue(shades[0])] * 11)
    assert shades[0] == style.style(base)["color"]
    steps = np.abs(np.diff([style.to_rgb(shade) for shade in shades[1:]], axis=0))
    assert steps.max(axis=1).min() > 0.04


@pytest.mark.parametrize("base", [*style.COLOURS, "my_own"])
def test_the_only_variant_of_an_objective_is_neither_its_colour_nor_black(base):
    looks = style.looks([base, f"{base}[a=1]"])
    one, other = (np.array(style.to_rgb(look["color"])) for look in looks.values())
    assert np.abs(one - other).max() > 0.15
    assert other.max() > 0.25


VARIANTS = [f"wgan_gp[penalty_weight={weight}]" for weight in range(20)]
OWN = [f"my_objective_{i}" for i in range(20)]


@pytest.mark.parametrize(
    "labels",
    [
        ["wgan_gp[penalty_weight=0.1]", "wgan_gp[penalty_weight=0.5]"],
        *(["hinge", *[f"hinge[a={i}]" for i in range(n)]] for n in range(2, 20)),
        ["wgan_gp", *VARIANTS],
        OWN,
        [*style.COLOURS, *OWN, *VARIANTS],
    ],
    ids=len,
)
def test_labels_of_one_result_set_never_look_alike(labels):
    looks = style.looks(labels)
    assert list(looks) == labels
    colours = np.array([style.to_rgb(look["color"]) for look in looks.values()])
    distances = np.abs(colours[:, None] - colours).max(axis=2) + np.eye(len(labels))
    assert distances.min() > 0.01
    if len(labels) <= 10:
        assert distances.min() > 0.03


def test_a_look_is_that_of_the_result_set_within_its_figures():
    sweep = [f"wgan_gp[penalty_weight={w}]" for w in (0.1, 0.5)]
    with style.distinct(["wgan_gp", *sweep]):
        first, second = map(style.style, sweep)
        assert first["marker"] != second["marker"]
        assert first["linestyle"] != second["linestyle"]
        assert style.style("wgan_gp") == style.looks(["wgan_gp"])["wgan_gp"]
    assert style.style(sweep[1]) == style.looks(sweep[1:])[sweep[1]] != first


def test_named_values_that_would_stretch_an_axis_are_arrows():
    view = axes.view_of(np.array([1.0, 10.0, np.nan]), {"near": 0.6, "noise floor": 0.01}, True)
    assert view.within == {"near": 0.6}
    assert view.beyond == "↓ noise floor 0.01"
    assert 0.5 < view.low < 0.6
    assert 10 < view.high < 13
    view = axes.view_of(np.array([1.0, 2.0]), {"far": 9.0, "missing": np.nan}, False)
    assert (view.beyond, view.within) == ("↑ far 9", {})
    assert (view.low, view.high) == pytest.approx((0.95, 2.05))
    alone = axes.view_of(np.array([np.inf]), {}, False)
    assert np.isfinite([alone.low, alone.high]).all()


def test_names_at_the_ends_of_lines_do_not_overlap():
    labels = [f"wgan_gp[penalty_weight={weight}]" for weight in range(10)]
    with style.drawing(labels):
        figure, ax = plt.subplots(figsize=(6, 2.3), layout="none")
        ends = {label: (1.0, 1 + 0.001 * i) for i, label in enumerate(labels)}
        ax.set(xlim=(0, 1), ylim=(0, 3))
        axes.end_labels(ax, ends)
        figure.canvas.draw()
        names = [text for text in ax.texts if text.get_text()]
        assert [text.get_text() for text in names] == [f"penalty_weight={i}" for i in range(10)]
        heights = np.array([Text.get_window_extent(text).height for text in names])
        middles = np.array([text.get_position()[1] for text in names])
    plt.close(figure)
    assert (np.diff(middles) * figure.get_figheight() * figure.dpi * 0.77 > 0.9 * heights[0]).all()
    assert heights.min() > 0


def test_the_lines_of_two_variants_differ_in_the_figure_that_is_drawn(tmp_path, monkeypatch):
    figures = []
    monkeypatch.setattr("benchmark.drawing.save.plt.close", figures.append)
    labels = [f"wgan_gp[penalty_weight={weight}]" for weight in (0.1, 0.5, 1, 2)]
    folder = synthetic.write(
        tmp_path, objectives=labels, groups=POINTS, seeds=[0], reference=None, samples=False
    )
    loaded = tables.load(folder)
    (folder / "figures").mkdir()
    with style.drawing(labels):
        learning.learning_curves(loaded, folder)
    drawn = [line for line in figures[0].axes[0].lines if line.get_marker() != "None"]
    looks = {f"{line.get_marker()} {line._dash_pattern}" for line in drawn}
    assert len(drawn) == len(looks) == 4


@pytest.mark.parametrize(
    "draw",
    [
        lambda figure, ax: figure.suptitle("A title of many words " * 20),
        lambda figure, ax: ax.set_title("architecture[width=64] on a_dataset_of_my_own " * 3),
        lambda figure, ax: ax.text(1.5, 0.5, "right of the axes " * 5, transform=ax.transAxes),
        lambda figure, ax: ax.set_xlabel("letters" * 40),
        lambda figure, ax: ax.text(0.5, -2, "below", transform=ax.transAxes),
    ],
)
def test_a_figure_grows_until_it_holds_every_text(tmp_path, draw):
    (tmp_path / "figures").mkdir()
    with style.drawing():
        figure, ax = plt.subplots(figsize=(3, 2))
        draw(figure, ax)
        save(figure, pd.DataFrame({"a": [1]}), tmp_path, Figure("one", "", ""))
    with Image.open(tmp_path / "figures/one.png") as picture:
        pixels = np.asarray(picture.convert("L"))
    assert pixels.shape[0] > 240 or pixels.shape[1] > 360
    edges = np.concatenate([pixels[0], pixels[-1], pixels[:, 0], pixels[:, -1]])
    assert (edges == 255).all()
    assert (pixels < 128).any()


def test_a_figure_that_holds_its_texts_keeps_its_size(tmp_path):
    (tmp_path / "figures").mkdir()
    with style.drawing():
        figure, ax = plt.subplots(figsize=(3, 2))
        ax.set_title("short")
        save(figure, pd.DataFrame({"a": [1]}), tmp_path, Figure("one", "", ""))
    with Image.open(tmp_path / "figures/one.png") as picture:
        assert picture.size == (360, 240)


def test_seconds_below_one_are_not_read_as_minutes():
    assert [layout.amount(value) for value in (0.15, 0, 999, 20_000, 3e6)] == [
        "0.15", "0", "999", "20k", "3M",
    ]  # fmt: skip


FINALS = ([0.0, 0.0], [-0.3, 0.2, 0.1], [1e300, 1.0], [0.5, np.nan], [0.0, 2.0], [np.inf, 1.0])


def test_a_place_where_nothing_was_learnt_is_grey_in_the_heatmap(tmp_path, monkeypatch):
    def stuck_on_digits(objective: str, metric: str, seed: int, i: int) -> float:
        if metric in synthetic.METRICS["digits"]:
            return 30.0 + seed / 100
        return synthetic.learning(objective, metric, seed, i)

    loaded = tables.load(
        synthetic.write(tmp_path, objectives=["lsgan", "wgan"], curve=stuck_on_digits,
                        samples=False, untrained=True)
    )  # fmt: skip
    (tmp_path / "figures").mkdir()
    shown = []
    monkeypatch.setattr(overview, "heat", lambda ax, worse, texts: shown.append((worse, texts)))
    overview.heatmap(loaded, tmp_path)
    ((worse, texts),) = shown
    is_digits = ["digits" in place for place in worse.columns]
    assert sum(is_digits) == 1
    assert (worse.isna().to_numpy() == is_digits).all()
    assert (texts.map(lambda text: "nothing learnt" in text).to_numpy() == is_digits).all()


def test_an_architecture_with_which_nothing_was_learnt_is_grey(tmp_path, monkeypatch):
    cells = synthetic.write(
        tmp_path, objectives=["lsgan", "wgan"], groups=[("digits", "dcgan"), ("digits", "mlp")],
        samples=False, untrained=True,
    )  # fmt: skip
    (tmp_path / "figures").mkdir()
    shown = []
    heat = robustness.heat
    monkeypatch.setattr(robustness, "heat", lambda ax, worse, texts: (
        shown.append(worse), heat(ax, worse, texts)))  # fmt: skip
    is_idle = lambda tables, dataset, name: "idle" if name == "mlp" else ""  # noqa: E731
    monkeypatch.setattr(robustness, "nothing_learnt", is_idle)
    robustness.final_values(tables.load(cells), tmp_path, "digits")
    (worse,) = shown
    assert worse.isna().T.to_dict() == {
        "dcgan": {"lsgan": False, "wgan": False},
        "mlp": {"lsgan": True, "wgan": True},
    }


def test_infinite_differences_are_arrows_and_a_place_that_diverged_is_left_out(tmp_path):
    objectives = ["nonsaturating", "wgan", "lsgan"]
    status = {(name, "digits", seed): "diverged" for name in objectives for seed in range(5)}
    status |= {("nonsaturating", "gaussians8", seed): "diverged" for seed in range(5)}
    synthetic.write(tmp_path, objectives=objectives, status=status, samples=False)
    evidence = gather(tables.load(tmp_path))
    assert set(certainty.with_values(evidence)["dataset"]) == {"gaussians8"}
    (tmp_path / "figures").mkdir()
    with drawing(objectives):
        assert len(certainty.differences(evidence, tmp_path)) == 1
    (chart,) = differences.of_figures(evidence).values()
    (place,) = chart["places"]
    budget = place["budgets"]["final"]
    assert all(row["difference"] < budget["range"][0] for row in budget["rows"])


@pytest.mark.parametrize("column", ["fid_classifier_750", "kid_classifier_750", "recall_other_1k"])
@pytest.mark.parametrize("values", [*FINALS, [np.nan]])
def test_every_value_of_a_heatmap_has_a_colour(column, values):
    worse = style.excess(pd.Series(values), column)
    finite = np.isfinite(values)
    assert worse[finite].notna().all()
    assert worse[~finite].isna().all()
    if finite.any():
        assert worse.min() == 0
        best = np.argmin(sign(column) * np.array(values)[finite])
        assert worse[finite].iloc[best] == 0


def test_a_difference_of_a_fraction_of_a_percent_is_light():
    ratio = style.excess(pd.Series([24.0, 24.0072]), "fid_classifier_750")
    share = style.excess(pd.Series([0.9, 0.8997]), "recall_classifier_750")
    assert max(ratio.max(), share.max()) < layout.LEAST_DARK / 100
    assert style.excess(pd.Series([24.0, 240.0]), "fid_classifier_750").max() == 1
    assert style.excess(pd.Series([0.9, 0.1]), "recall_classifier_750").max() == 1
