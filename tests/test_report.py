"""Figures, report and comparison from planted results."""

import re
import shutil
import subprocess
from pathlib import Path

import numpy as np
import pandas as pd
import pytest

from benchmark import UserError, compare, plots, report, tables
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
    (figure,) = plots.sample_grids(tables.load(tmp_path), tmp_path)
    assert "19,200 samples seen, seed 0" in figure.title
    drawn = pd.read_csv(tmp_path / f"figures/{figure.stem}.csv")
    assert list(drawn["objective"]) == ["wgan", "lsgan"]
    assert set(drawn["samples_seen"]) == {3 * 6400}


def test_colours_are_fixed_by_name():
    assert len({plots.style(name)["color"] for name in plots.COLOURS}) == 6
    plain, swept, other = (plots.style(f"wgan_fdgp{p}") for p in ("", "[pairs=independent]", "[pairs=segment]"))
    assert plain["color"] != swept["color"] == other["color"]
    assert plain["linestyle"] == "-" != swept["linestyle"]
    assert (swept["linestyle"], swept["marker"]) != (other["linestyle"], other["marker"])
    assert plots.style("hinge") == plots.style("hinge")
    assert plots.style("hinge")["color"] in plots.OTHERS


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
