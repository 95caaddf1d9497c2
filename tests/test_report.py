"""Figures, report and comparison from planted results."""

import re
import shutil
import subprocess
from pathlib import Path

import numpy as np
import pandas as pd
import pytest

from benchmark import UserError, compare, figure, report, robustness_plots, tables
from benchmark.sample_plots import sample_grids
from tests import synthetic

SCRIPT = "wgan_gp[note=<script>alert(1)</script>]"
DIVERGED = ("minimax", "digits", 1)
CHROMIUM = shutil.which("chromium")
POINTS = [("gaussians8", "mlp")]


@pytest.fixture(autouse=True, scope="module")
def fresh_code():
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(tables, "code_hash", lambda cell: "c0de")
        yield


@pytest.fixture(scope="module")
def folder(tmp_path_factory) -> Path:
    """Eight objectives, one named <script>, on two groups, five seeds; a diverged, a missing and a running cell."""
    status = {DIVERGED: "diverged", ("wgan", "digits", 4): "missing", ("wgan", "digits", 3): "running"}
    path = tmp_path_factory.mktemp("runs") / "quick"
    report.write(synthetic.write(path, objectives=[*synthetic.OBJECTIVES, SCRIPT], status=status))
    return path


@pytest.fixture(scope="module")
def page(folder: Path) -> str:
    return (folder / "report/index.html").read_text()


def test_completeness_comes_first(folder, page):
    text = re.sub(r"<[^>]+>", " ", page.partition("<body>")[2]).split(maxsplit=1)[1]
    assert text.strip().startswith("78/80 cells, 1 diverged, 1 running, 1 missing")
    assert (
        (folder / "report/report.md").read_text().startswith("# quick: 78/80 cells, 1 diverged, 1 running, 1 missing")
    )


def test_numbers_on_the_page_are_those_of_the_tables(folder, page):
    summary = pd.read_csv(folder / "tables/summary.csv").set_index(["objective", "metric", "of"])
    row = summary.loc[("lsgan", "fid_classifier_750", "final")]
    assert f"<td>{row['iqm']:.3g} [{row['ci_low']:.3g}, {row['ci_high']:.3g}]</td>" in page
    assert "<td>4/5</td><td>1</td>" in page
    assert "<td>3/5</td><td>0</td>" in page
    for text in ("d_loss is NaN", "CC BY 4.0", "feedbeef", "0.985", "Synthetic CPU", "ganbench run --matrix quick"):
        assert text in page
        assert text in (folder / "report/report.md").read_text()


def test_page_says_what_was_held_equal(page):
    assert "dcgan on digits: each objective with its own paper&#39;s optimiser" in page
    assert "mlp on gaussians8: one shared optimiser for all objectives (optimizer rmsprop, lr 0.001)" in page


def test_names_are_escaped(folder, page):
    assert "alert(1)" in page
    assert "<script>alert" not in page
    assert "alert(1)" in (text := (folder / "report/report.md").read_text())
    assert "<script>" not in text


def test_page_loads_nothing_from_elsewhere(folder, page):
    for attribute in re.findall(r'\b(?:src|srcset|data|action|href)="([^"]*)"', page):
        assert attribute.startswith(("data:", "../tables/", "../figures/")), attribute
    assert "default-src 'none'" in page
    assert "@import" not in page
    assert "url(" not in page
    links = [folder / "report" / link for link in re.findall(r'href="(\.\./[^"]*)"', page)]
    assert len(links) == 4 + 2 * 6
    assert all(link.exists() for link in links)
    images = re.findall(r"!\[[^]]*\]\(([^)]*)\)", (folder / "report/report.md").read_text())
    assert len(images) == 6
    assert all((folder / "report" / image).exists() for image in images)


def test_no_claim_that_the_seeds_cannot_carry(page, folder):
    assert (
        "not separated (p = 0.0079 is the lowest 5 seeds can reach, 28 comparisons ask for 0.0018, 7 seeds could)"
        in page
    )
    for text in (page, (folder / "report/report.md").read_text()):
        assert not re.search(r"\b(better|significant)", text, re.IGNORECASE)


def test_six_seeds_far_apart_are_separated(tmp_path):
    level = {"nonsaturating": 30.0, "lsgan": 20.0, "wgan": 40.0}
    curve = lambda objective, metric, seed, i: level[objective] + 0.1 * seed * (1 + i)  # noqa: E731
    synthetic.write(tmp_path, objectives=level, groups=POINTS, seeds=range(6), curve=curve, samples=False)
    place = report._places(tables.load(tmp_path))[0]
    text = report.answer(place, "nonsaturating")
    assert text.startswith("lowest final Sliced Wasserstein distance: lsgan (21.5 [")
    assert "separated, over all 3 pairs" in text
    assert "not separated" not in text
    assert text.endswith("(2 comparisons): ahead of it lsgan; behind it wgan.")


def test_a_survivor_does_not_lead(tmp_path):
    status = {("lsgan", "gaussians8", seed): "diverged" for seed in (0, 1)}
    curve = lambda objective, metric, seed, i: 1.0 + seed if objective == "lsgan" else 9.0 + seed  # noqa: E731
    found = tables.load(
        synthetic.write(
            tmp_path, objectives=["nonsaturating", "lsgan"], groups=POINTS, curve=curve, status=status, samples=False
        )
    )
    place = report._places(found)[0]
    assert list(place.values.index) == ["nonsaturating", "lsgan"]
    assert report.leaderboard(found, place).rows[1][:4] == ["lsgan", "3/5", "2", "4"]


@pytest.mark.parametrize("how", ["missing", "diverged", "one seed", "nothing measured", "no samples"])
def test_partial_results_still_make_a_report(tmp_path, how):
    seeds = [0] if how == "one seed" else [0, 1]
    status = {
        (name, "digits", seed): how for name in ("lsgan", "wgan") for seed in seeds if how in ("missing", "diverged")
    }
    evaluations = 1 if how == "nothing measured" else 3  # a diverged run keeps half of them
    status |= {(name, "digits", seed): "diverged" for name in ("lsgan", "wgan") for seed in seeds if evaluations == 1}
    synthetic.write(
        tmp_path,
        objectives=["lsgan", "wgan"],
        groups=[("digits", "dcgan")],
        seeds=seeds,
        status=status,
        evaluations=evaluations,
        samples=how != "no samples",
    )
    assert "cells" in report.write(tmp_path).read_text()


def test_figures_write_what_they_draw(folder):
    stems = ["cost", "gradient_norms", "heatmap", "learning_curves", "samples_digits_dcgan", "samples_gaussians8_mlp"]
    assert sorted(path.stem for path in (folder / "figures").glob("*.csv")) == stems
    for stem in stems:
        assert (folder / f"figures/{stem}.png").read_bytes().startswith(b"\x89PNG")
        assert "<svg" in (folder / f"figures/{stem}.svg").read_text()
    curves = pd.read_csv(folder / "figures/learning_curves.csv").set_index(["dataset", "objective", "samples_seen"])
    last = curves.loc[("digits", "minimax", 6 * 6400)]
    values = [synthetic.learning("minimax", "fid_classifier_750", seed, 5) for seed in (0, 2, 3, 4)]
    assert (last["n"], last["median"], last["low"]) == (4, pytest.approx(np.median(values)), pytest.approx(min(values)))


def test_samples_are_compared_at_equal_samples_seen(tmp_path):
    status = {("lsgan", "gaussians8", seed): "interrupted" for seed in range(2)}  # half of the six evaluations
    synthetic.write(tmp_path, objectives=["wgan", "lsgan"], groups=POINTS, seeds=range(2), status=status)
    (tmp_path / "figures").mkdir()
    (drawing,) = sample_grids(tables.load(tmp_path), tmp_path)
    assert "19,200 samples seen, seed 0" in drawing.title
    drawn = pd.read_csv(tmp_path / f"figures/{drawing.stem}.csv")
    assert list(drawn["objective"]) == ["wgan", "lsgan"]
    assert set(drawn["samples_seen"]) == {3 * 6400}


MLP = "mlp[depth=4,width=8]"
ROBUST = {
    "objectives": ["nonsaturating", "wgan", "wgan_gp"],
    "groups": [("digits", "dcgan"), ("digits", MLP)],
    "seeds": range(3),
}


@pytest.fixture(scope="module")
def robust(tmp_path_factory) -> Path:
    """Two architectures, three seeds of which the second has the most samples. With it nonsaturating diverges on the
    MLP, wgan collapses on it, and wgan_gp is missing on the DCGAN. wgan saves every 150 steps and 5 s, wgan_gp every
    100 steps and 3 s, nonsaturating every 100 steps and 2 s, six times each."""
    lost = [("wgan_gp", "dcgan", 0), ("wgan_gp", "dcgan", 1), ("wgan_gp", "dcgan", 2), ("wgan", "dcgan", 0)]
    path = synthetic.write(
        tmp_path_factory.mktemp("runs") / "robust",
        **ROBUST,
        status=dict.fromkeys(lost, "missing") | {("nonsaturating", MLP, 1): "diverged"},
        collapsed={("wgan", MLP, 1)},
        every={"wgan": 150},
        seconds={"wgan": 5.0, "wgan_gp": 3.0},
    )
    report.write(path)
    return path


def panes(folder: Path, stem: str) -> pd.DataFrame:
    frame = pd.read_csv(folder / f"figures/{stem}_digits.csv").set_index(["architecture", "objective"])
    assert set(frame["seed"]) == {1}
    return frame


def test_robustness_at_equal_steps(robust):
    """Finished runs have 100, 200 … 600 and 150, 300 … 900 steps saved: 600 is the most in common."""
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
    """On the DCGAN 12 s, when nonsaturating ended; on the MLP, where that diverged, 18 s, when wgan_gp ended."""
    drawn = panes(robust, "robustness_time")
    found = {place: drawn.loc[place, ["equal_seconds", "train_seconds", "g_steps"]].to_list() for place in drawn.index}
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
    frame = pd.read_csv(robust / "figures/robustness_final_digits.csv").set_index(["architecture", "objective"])
    counts = frame[["seeds", "done", "diverged", "collapsed"]]
    assert counts.loc[(MLP, "nonsaturating")].to_list() == [3, 2, 1, 0]
    assert counts.loc[(MLP, "wgan")].to_list() == [3, 3, 0, 1]
    assert counts.loc[("dcgan", "wgan_gp")].to_list() == [3, 0, 0, 0]
    values = [synthetic.learning("nonsaturating", "fid_classifier_750", seed, 5) for seed in (0, 2)]
    assert frame.loc[(MLP, "nonsaturating"), "iqm"] == pytest.approx(np.mean(values))


def test_robustness_stands_first_and_replaces_what_it_repeats(robust):
    page, text = (robust / "report/index.html").read_text(), (robust / "report/report.md").read_text()
    stems = [f"robustness_{name}_digits" for name in ("final", "steps", "time")]
    stems += ["learning_curves", "cost", "gradient_norms"]
    assert re.findall(r'<figure id="(\w+)">', page) == stems
    assert re.findall(r"!\[[^]]*\]\(\.\./figures/(\w+)\.png\)", text) == stems
    row = pd.read_csv(robust / "figures/robustness_final_digits.csv").set_index(["architecture", "objective"])["iqm"]
    first = text.partition("## digits: which objective trains which architecture?")[2].partition("\n## ")[0]
    assert f"| {MLP} | {row[MLP, 'nonsaturating']:.3g} 1/3 diverged | {row[MLP, 'wgan']:.3g} 1/3 collapsed | " in first
    assert "3/3 unfinished |\n" in first
    assert "| no seed lost | 1 of 2 | 0 of 2 | 1 of 2 |" in first
    assert text.startswith("# robust: 14/18 cells, 1 diverged, 1 collapsed, 4 missing\n\n## digits: which")
    board = text.partition(f"## {MLP} on digits: FID")[2].partition("\n## ")[0]
    assert "| objective | n | diverged | collapsed | final |" in board
    assert "| wgan | 3/3 | 0 | 1 | " in board
    assert re.search(r"\| wgan-mlp\S+seed1\S+ \| collapsed \|", text.partition("## Failures")[2])


@pytest.mark.parametrize("how", ["missing", "diverged", "no samples", "nothing in common"])
def test_robustness_of_partial_results(tmp_path, how):
    places = [(name, architecture, 0) for name in ROBUST["objectives"] for _, architecture in ROBUST["groups"]]
    status = dict.fromkeys(places, how) if how in ("missing", "diverged") else {}
    every = {"wgan": 700} if how == "nothing in common" else {}
    options = ROBUST | {"seeds": [0], "samples": how != "no samples"}
    (tmp_path / "figures").mkdir()
    loaded = tables.load(synthetic.write(tmp_path, **options, status=status, every=every))
    report.write(tmp_path, loaded, robustness_plots.robustness_figures(loaded, tmp_path))
    found = {path.stem.removesuffix("_digits") for path in (tmp_path / "figures").glob("robustness*.csv")}
    three = {"robustness_final", "robustness_steps", "robustness_time"}
    expected = {"missing": set(), "diverged": three - {"robustness_final"}, "no samples": {"robustness_final"}}
    assert found == expected.get(how, three)
    if "robustness_steps" in found:
        drawn = pd.read_csv(tmp_path / "figures/robustness_steps_digits.csv")
        assert set(drawn["equal_steps"]) == {300 if how == "diverged" else 600}


def test_a_pane_shows_the_first_samples_in_reading_order():
    images = np.arange(20, dtype=np.uint8).repeat(3 * 2 * 2).reshape(20, 3, 2, 2)
    tile = robustness_plots._tile(images)
    assert tile.shape == (8, 8, 3)
    assert (tile[::2, ::2, 0] == np.arange(16).reshape(4, 4)).all()
    assert (robustness_plots._tile(images[:, :1]) == tile).all()  # grey


def test_labels_are_wrapped_by_parameter():
    assert figure.wrap("dcgan[generator_norm=none,norm=none]") == "dcgan\n[generator_norm=none,\nnorm=none]"
    assert figure.wrap("wgan_gp[betas=[0.5, 0.9]]") == "wgan_gp\n[betas=[0.5, 0.9]]"
    assert figure.wrap("minimax") == "minimax"


def test_colours_are_fixed_by_name():
    assert len({figure.style(name)["color"] for name in figure.COLOURS}) == 7
    assert not set(figure.COLOURS.values()) & set(figure.OTHERS)
    plain, swept, other = (figure.style(f"wgan_fdgp{p}") for p in ("", "[pairs=independent]", "[pairs=segment]"))
    assert plain["color"] != swept["color"] == other["color"]
    assert plain["linestyle"] == "-" != swept["linestyle"]
    assert (swept["linestyle"], swept["marker"]) != (other["linestyle"], other["marker"])
    assert figure.style("dragan") == figure.style("dragan")
    assert figure.style("dragan")["color"] in figure.OTHERS


def two(tmp_path: Path, name: str, shift: float = 0.0, seeds: int = 5, **options) -> tables.Tables:
    """nonsaturating at 10 + seed; lsgan 2 below it, 4 s per evaluation to its 2; all plus `shift`."""
    curve = lambda objective, metric, seed, i: 10 + shift + seed - 2.0 * (objective == "lsgan")  # noqa: E731
    options = {"objectives": ["nonsaturating", "lsgan"], "groups": POINTS, "seeds": range(seeds), **options}
    return tables.load(synthetic.write(tmp_path / name, curve=curve, seconds={"lsgan": 4.0}, samples=False, **options))


def test_compare_by_hand(tmp_path):
    found = two(tmp_path, "a", status={("lsgan", "gaussians8", 4): "diverged"}, seeds=6)
    frame = compare.compare(found, ["nonsaturating", "lsgan"]).set_index(["metric", "of"])
    row = frame.loc[("swd_2k", "final")]
    assert (row["n"], row["n_expected"], row["diverged_first"], row["diverged_second"]) == (5, 6, 0, 1)
    assert (row["difference"], row["ci_low"], row["ci_high"]) == (-2, -2, -2)
    # lsgan 8, 9, 10, 11, inf, 13 below nonsaturating 10..15: 6 + 6 + 5.5 + 4.5 + 0 + 2.5 of 36
    assert row["p_improvement"] == pytest.approx(24.5 / 36)
    assert row["p_low"] < row["p_improvement"] < row["p_high"]
    assert row["ms_per_g_step_ratio"] == 2
    assert row["seconds_to_target_second"] == 4
    assert frame.loc[("modes_covered_2k", "final"), "p_improvement"] < 0.5  # there, lower is worse
    assert row["separated"].startswith("not separated")


def test_compare_names_the_users_mistake(tmp_path):
    found = two(tmp_path, "a")
    with pytest.raises(UserError, match=r"unknown objective 'lsgam' \(did you mean 'lsgan'\?\)"):
        compare.compare(found, ["nonsaturating", "lsgam"])
    with pytest.raises(UserError, match="two objectives or more"):
        compare.compare(found, ["lsgan"])


def test_compare_sets_by_hand(tmp_path):
    frame = compare.compare_sets(two(tmp_path, "a"), two(tmp_path, "b", shift=0.5))
    rows = frame[(frame["metric"] == "swd_2k") & (frame["of"] == "final")]
    assert list(rows["objective"]) == ["nonsaturating", "lsgan"]
    assert (rows["difference"] == 0.5).all()
    other = two(tmp_path, "c", protocol={("gaussians8", seed): "bbbbbbbb" for seed in range(5)})
    with pytest.raises(UserError, match=r"gaussians8 is measured under protocol aaaaaaaa .* and bbbbbbbb"):
        compare.compare_sets(two(tmp_path, "d"), other)


def test_compare_as_markdown():
    frame = pd.DataFrame({"objective": ["a|<script>"], "difference": [-1.23456], "ci_low": [np.nan]})
    text = compare.to_markdown(frame)
    assert text == "| objective | difference | ci_low |\n| --- | --- | --- |\n| a\\|&lt;script> | -1.23 | – |\n"


@pytest.mark.skipif(CHROMIUM is None, reason="chromium is not installed")
def test_tables_sort_in_a_browser_without_errors(folder, page, tmp_path):
    click = """<script>addEventListener("load", () => {
      const table = document.querySelector("table")
      const names = () => [...table.tBodies[0].rows].map(row => row.cells[0].textContent)
      const buttons = table.querySelectorAll("thead button"), seen = []
      for (const i of [3, 3, 7]) { buttons[i].click(); seen.push(names().join(" ")) }
      const loaded = [...document.images].every(image => image.complete && image.naturalWidth > 0)
      document.body.innerHTML = ""; document.body.append(JSON.stringify({seen, loaded}))
    })</script>"""
    file = tmp_path / "page.html"
    file.write_text(page.replace("</body>", f"{click}</body>"))
    flags = "--headless --no-sandbox --disable-gpu --disable-quic --no-first-run --disable-background-networking "
    flags += "--disable-component-update --disable-sync --enable-logging=stderr --dump-dom"
    command = [str(CHROMIUM), *flags.split(), f"--user-data-dir={tmp_path / 'profile'}", f"file://{file}"]
    done = subprocess.run(command, capture_output=True, text=True, timeout=50)
    assert "CONSOLE" not in done.stderr
    summary = pd.read_csv(folder / "tables/summary.csv")
    rows = summary[(summary["metric"] == "swd_2k") & (summary["of"] == "final")].sort_values("iqm", kind="stable")
    first = rows["objective"].iloc[0]
    body = done.stdout.partition("<body>")[2]
    assert '"loaded":true' in body
    ascending, descending, to_target = re.search(r'"seen":\["(.*?)","(.*?)","(.*?)"\]', body).groups()
    assert ascending.startswith(first)
    assert descending.endswith(first)
    assert to_target
