"""The interactive charts: their data, their size, and what they do in headless Chromium."""

import base64
import gzip
import io
import json
import re
from collections.abc import Iterator
from pathlib import Path

import numpy as np
import pytest
from PIL import Image

from benchmark.analysis import tables
from benchmark.analysis.evidence import gather
from benchmark.drawing.style import drawing
from benchmark.report import report
from benchmark.report.charts import charts, slider
from benchmark.report.figures import certainty, learning, robustness, samples
from benchmark.store.layout import ResultSet
from tests.helpers import synthetic
from tests.helpers.browser import CHROMIUM, Browser

OBJECTIVES = ("nonsaturating", "wgan", "wgan_gp[note=</script><b>]")
PLACES = [("gaussians8", "mlp"), ("digits", "dcgan"), *synthetic.TEXT]


@pytest.fixture(autouse=True, scope="module")
def fresh_code():
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr("benchmark.store.code.training_code", lambda cell: "c0de")
        yield


@pytest.fixture(scope="module")
def loaded(tmp_path_factory) -> tables.Tables:
    path = tmp_path_factory.mktemp("runs") / "quick"
    status = {("wgan", "gaussians8", 1): "diverged"}
    synthetic.write(path, objectives=OBJECTIVES, groups=PLACES, status=status, untrained=True)
    for dataset, _ in PLACES:
        synthetic.write_real(path, dataset)
    return tables.load(path)


def data_of(page: str) -> dict:
    """The data that a page or the head of its charts holds."""
    packed = re.search(r'id="chart-data">([^<]*)<', page)
    return json.loads(gzip.decompress(base64.b64decode(packed[1])))


@pytest.fixture(scope="module")
def data(loaded) -> dict:
    made = charts(loaded, gather(loaded), loaded.folder)
    found = data_of(made.head)
    assert set(made.of) == set(found["figures"])
    assert {f'data-stem="{stem}"' in element for stem, element in made.of.items()} == {True}
    return found


def test_curves_hold_every_metric_on_every_clock(loaded, data):
    chart = data["figures"]["learning_curves"]
    assert list(chart["clocks"]) == ["g_steps", "forwards", "raced_seconds", "samples_seen"]
    digits = next(place for place in chart["places"] if place["dataset"] == "digits")
    assert set(digits["metrics"]) == set(synthetic.METRICS["digits"])
    assert digits["primary"] == "fid_classifier_750"
    wgan = str(OBJECTIVES.index("wgan"))
    curve = digits["metrics"]["kid_classifier_750"]["series"][wgan]
    expected = [
        [synthetic.learning("wgan", "kid_classifier_750", seed, i) for seed in range(5)]
        for i in range(6)
    ]
    for name, statistic in {"median": np.median, "low": np.min, "high": np.max}.items():
        assert curve[name] == pytest.approx(statistic(expected, axis=1), rel=1e-3)
    assert curve["n"] == [5] * 6
    assert digits["clocks"][wgan]["g_steps"] == [0, 100, 200, 300, 400, 500]
    assert digits["clocks"][wgan]["raced_seconds"] == [0, 2, 4, 6, 8, 10]
    reached = loaded.targets["digits", "dcgan"].values.values()
    assert digits["targets"] == pytest.approx([*reached], rel=1e-3)
    assert len(reached)
    points = next(place for place in chart["places"] if place["dataset"] == "gaussians8")
    (end,) = points["metrics"]["swd_2k"]["ends"]
    assert (end["objective"], end["g_steps"]) == (int(wgan), 200)


def test_the_forest_holds_what_the_evidence_says(loaded, data):
    compared = gather(loaded).compared
    rows = []
    for place in data["figures"]["differences"]["places"]:
        for of, budget in place["budgets"].items():
            rows += [(place["dataset"], of, row["first"], row["verdict"]) for row in budget["rows"]]
    names = [OBJECTIVES.index(name) for name in compared["first"]]
    expected = zip(compared["dataset"], compared["of"], names, compared["verdict"], strict=True)
    assert sorted(rows) == sorted(expected)


def test_sliders_hold_the_samples_of_every_evaluation(loaded, data):
    figures = data["figures"]
    images = figures["samples_digits_dcgan"]["places"][0]
    wgan = images["objectives"]["1"]
    picture = Image.open(io.BytesIO(base64.b64decode(wgan["samples"]["picture"])))
    packed = wgan["samples"]
    assert picture.size == (packed["width"], 6 * packed["height"])
    key = loaded.cells.query("objective == 'wgan' and dataset == 'digits' and seed == 0")["key"]
    file = ResultSet(loaded.folder).cell(key.iloc[0]).samples / "000300.npz"
    third = np.load(file)["samples"]
    shown = np.asarray(picture.convert("L"))[3 * packed["height"] :]
    # images of eight pixels are enlarged twice
    assert (shown[:16:2, :16:2] == third[0, 0]).all()
    assert images["start"] == 500
    assert images["real"]["height"] == packed["height"]
    points = figures["samples_gaussians8_mlp"]["places"][0]["objectives"]["0"]
    assert len(points["samples"]["points"]) == len(points["clocks"]["g_steps"]) == 6
    assert figures["samples_gaussians8_mlp"]["note"].endswith("Grey: real points.")
    assert "Grey" not in figures["samples_digits_dcgan"]["note"]
    lines = figures["samples_fortunes_text_resnet"]["places"][0]
    assert all(text.count("\n") == 15 for text in lines["objectives"]["1"]["samples"]["texts"])


def test_more_samples_than_the_budget_allows_are_fewer(loaded, monkeypatch):
    sizes = []
    for budget in (slider.BUDGET, 20_000):
        monkeypatch.setattr(slider, "BUDGET", budget)
        found = slider.of_figures(loaded, loaded.folder)
        assert len(found) == 3
        sizes.append(len(json.dumps(found)))
    assert sizes[1] < 0.6 * sizes[0]
    monkeypatch.setattr(slider, "MOST_IN_ALL", 18)
    found = slider.of_figures(loaded, loaded.folder)
    steps = found["samples_digits_dcgan"]["places"][0]["objectives"]["0"]["clocks"]["g_steps"]
    assert steps == [200, 500]


def test_a_page_is_the_same_for_the_same_tables(loaded):
    first, second = (charts(loaded, gather(loaded), loaded.folder).head for _ in range(2))
    assert first == second
    assert "</script><b>" not in first


def test_nothing_to_show_is_nothing_on_the_page(tmp_path):
    loaded = tables.load(
        synthetic.write(
            tmp_path, objectives=["wgan"], groups=PLACES[:1], seeds=[0],
            status={("wgan", "gaussians8", 0): "missing"},
        )
    )  # fmt: skip
    made = charts(loaded, gather(loaded), tmp_path)
    assert (made.head, made.of) == ("", {})


@pytest.fixture(scope="module")
def page(loaded) -> Path:
    folder = loaded.folder
    (folder / "figures").mkdir(exist_ok=True)
    with drawing(OBJECTIVES):
        figures = samples.draw(loaded, folder)
        figures += learning.learning_curves(loaded, folder)
        figures += certainty.differences(gather(loaded), folder)
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr("benchmark.report.chapters.explanation.figures", lambda folder: [])
        report.write(folder, loaded, figures)
    return folder


LOOK = """
const seen = {}
const wait = async (what, limit = 400) => {
  for (let i = 0; i < limit; i++) {
    if (what()) return true
    await new Promise(done => setTimeout(done, 50))
  }
  return false
}
const of = stem => document.getElementById(stem)
const shown = element => element !== null && element.getClientRects().length > 0
const canvases = stem => of(stem).querySelectorAll(".chart .drawing > *").length
const control = (stem, label) => of(stem).querySelector(`select[aria-label="${label}"]`)
const pick = (list, value) => {
  list.value = value
  list.dispatchEvent(new Event("change", { bubbles: true }))
}
for (const closed of document.querySelectorAll("details")) closed.open = true
seen.live = await wait(() => document.querySelectorAll("figure.live").length === 5)
for (const stem of ["learning_curves", "differences"]) {
  of(stem).scrollIntoView()
  seen[stem] = await wait(() => canvases(stem) === 3)
}
const picture = ":scope > img, :scope > .zoom, :scope > .passages"
const live = [...document.querySelectorAll("figure.live")]
seen.pictures = live.map(figure => shown(figure.querySelector(picture)))
seen.captions = live.map(figure => shown(figure.querySelector(".still")))
seen.notes = live.map(figure => figure.querySelectorAll(".chart > .note").length)
pick(control("learning_curves", "x axis"), "forwards")
pick(control("learning_curves", "metric"), "kid_classifier_750")
seen.address = location.hash
seen.places = [...of("learning_curves").querySelectorAll(".place")].map(place => !place.hidden)
const buttons = () => [...of("learning_curves").querySelectorAll(".series button")]
const button = () => buttons().find(one => one.textContent === "wgan")
button().focus()
button().click()
const pressed = () => button().getAttribute("aria-pressed")
seen.hidden = [pressed(), location.hash, document.activeElement === button()]
button().click()
const name = "samples_digits_dcgan", range = of(name).querySelector("input[type=range]")
const image = () => of(name).querySelectorAll(".pane img")[1]
seen.last = [image().style.objectPosition, image().alt]
range.value = 1
range.dispatchEvent(new Event("input"))
const output = of(name).querySelector("output").textContent
seen.second = [image().style.objectPosition, image().alt, output]
seen.text = of("samples_fortunes_text_resnet").querySelectorAll(".pane pre").length
const box = document.querySelector(".filters input[name=objective]")
box.click()
seen.filtered = [...of(name).querySelectorAll(".pane")].map(one => !one.hidden)
box.click()
history.replaceState(null, "", "#?x=raced_seconds&metric=swd_2k&without=wgan")
dispatchEvent(new HashChangeEvent("hashchange", { newURL: location.href }))
const value = label => control("learning_curves", label).value
seen.recalled = [value("x axis"), value("metric"), pressed()]
location.hash = "differences"
await wait(() => location.hash.includes("?"))
seen.followed = location.hash
seen.overflow = document.documentElement.scrollWidth - document.documentElement.clientWidth
return seen
"""


@pytest.fixture
def browser(tmp_path) -> Iterator[Browser]:
    if CHROMIUM is None:
        pytest.skip("neither chromium nor google-chrome is installed")
    one = Browser(tmp_path / "profile")
    yield one
    one.close()


@pytest.mark.slow
@pytest.mark.parametrize("width", [1280, 390])
def test_charts_in_a_browser(page, browser, width):
    browser.open(page / "report/index.html", width)
    seen = browser.run(f"(async () => {{ {LOOK} }})()")
    assert browser.faults() == []
    assert seen["overflow"] == 0
    assert (seen["live"], seen["learning_curves"], seen["differences"]) == (True, True, True)
    assert not any(seen["pictures"])
    # every figure has one text: a slider its own, which holds at every position
    assert sorted(zip(seen["captions"], seen["notes"], strict=True)) == [
        *[(False, 1)] * 3,
        *[(True, 0)] * 2,
    ]
    assert "x=forwards" in seen["address"]
    assert "metric=kid_classifier_750" in seen["address"]
    assert seen["places"] == [False, True, False]
    pressed, address, has_focus = seen["hidden"]
    assert (pressed, has_focus) == ("false", True)
    assert "without=wgan" in address
    assert seen["last"] == ["0px 100%", "Samples of nonsaturating, 500 steps"]
    assert seen["second"] == ["0px 20%", "Samples of nonsaturating, 100 steps", "100"]
    assert seen["text"] == 4
    assert seen["filtered"] == [True, False, True, True]
    assert seen["followed"] == "#differences?x=raced_seconds&metric=swd_2k&without=wgan"
    assert seen["recalled"] == ["raced_seconds", "swd_2k", "false"]


@pytest.mark.slow
def test_charts_obey_the_keyboard_and_one_of_many_places_is_shown(tmp_path, browser):
    objectives, groups = ["lsgan", "wgan"], [("digits", name) for name in ("a", "b", "c")]
    synthetic.write(tmp_path / "many", objectives=objectives, groups=groups, seeds=[0, 1])
    tables_of_many = tables.load(tmp_path / "many")
    (tmp_path / "many/figures").mkdir()
    with drawing(objectives):
        figures = robustness.draw(tables_of_many, tmp_path / "many")
        figures += learning.learning_curves(tables_of_many, tmp_path / "many")
    page = report.write(tmp_path / "many", tables_of_many, figures)
    browser.open(page)
    focus = "document.querySelector('figure.live.{} {}').focus()"
    live = "document.querySelectorAll('figure.live').length === 2"
    pause = "new Promise(done => setTimeout(done, 50))"
    browser.run(f"(async () => {{ while (!({live})) await {pause} }})()")
    shown = "[...document.querySelectorAll('.samples .place')].map(one => !one.hidden)"
    assert browser.run(shown) == [True, False, False]
    browser.run(focus.format("samples", "select[aria-label=place]"))
    browser.press("ArrowDown")
    assert browser.run(shown) == [False, True, False]
    assert browser.run("document.activeElement.ariaLabel") == "place"
    browser.run(focus.format("samples", "input"))
    browser.press("ArrowLeft")
    assert browser.run("document.querySelector('.samples output').textContent") == "500"
    browser.run(focus.format("curves", "select"))
    browser.press("ArrowDown")
    address = browser.run("location.hash")
    assert "place-robustness_steps_digits=1" in address
    assert "x=forwards" in address
    assert browser.faults() == []


SECOND = """(async () => {
  for (const closed of document.querySelectorAll("details")) closed.open = true
  const pause = () => new Promise(done => setTimeout(done, 50))
  while (!document.querySelector("figure#STEM.live")) await pause()
  const drawing = document.querySelector("figure#STEM .place:nth-child(2) .drawing")
  drawing.scrollIntoView({ block: "center" })
  const drawn = () => Bokeh.index.roots.find(view => drawing.contains(view.el))
  while (!window.Bokeh || !drawn() || !drawn().frame.bbox.width) await pause()
  await new Promise(done => setTimeout(done, 300))
  const view = drawn(), corner = view.el.getBoundingClientRect()
  const scatter = view.model.renderers.find(one => one.glyph.type === "Scatter")
  const { x, y } = scatter.data_source.data, { x_scale, y_scale } = view.frame
  return [corner.left + x_scale.compute(x[1]), corner.top + y_scale.compute(y[1])]
})()"""
TOOLTIP = """(() => {
  const found = []
  const walk = node => {
    if (node.className === "bk-tooltip-content") found.push(node.innerText)
    for (const inner of [...(node.shadowRoot?.children ?? []), ...node.children]) walk(inner)
  }
  walk(document.body)
  return found.join().trim().split(/\\s+/).join(" ")
})()"""


@pytest.mark.slow
def test_the_mouse_shows_the_numbers_of_a_point(page, data, browser):
    """Of the second point of the first series, in the second place of both charts."""
    browser.open(page / "report/index.html")
    shown = {}
    for stem in ("learning_curves", "differences"):
        x, y = browser.run(SECOND.replace("STEM", stem))
        for left in (x - 9, x):
            browser("Input.dispatchMouseEvent", type="mouseMoved", x=left, y=y)
        shown[stem] = browser.run(
            f"""(async () => {{
              for (let i = 0; i < 100 && !{TOOLTIP}; i++) await new Promise(f => setTimeout(f, 50))
              return {TOOLTIP}
            }})()"""
        )
        browser("Input.dispatchMouseEvent", type="mouseMoved", x=1, y=1)
    place = data["figures"]["learning_curves"]["places"][1]
    curve = place["metrics"][place["primary"]]["series"]["0"]
    # points that lie below it follow
    assert shown["learning_curves"].startswith(
        f"nonsaturating generator steps: 100 median: {curve['median'][1]:.3g} "
        f"lowest to highest seed: {curve['low'][1]:.3g} to {curve['high'][1]:.3g} seeds: 5"
    )
    budgets = data["figures"]["differences"]["places"][1]["budgets"]
    row = next(iter(budgets.values()))["rows"][1]
    assert f"{row['name']} difference: " in shown["differences"]
    assert f"verdict: {row['verdict']} " in shown["differences"]
    assert browser.faults() == []


@pytest.mark.slow
def test_the_mouse_moves_a_slider(page, browser):
    """A click at its left end shows the first samples."""
    browser.open(page / "report/index.html")
    left, middle = browser.run(
        """(async () => {
          while (!document.querySelector("figure.live.samples")) {
            await new Promise(done => setTimeout(done, 50))
          }
          const range = document.querySelector(".samples input[type=range]")
          range.scrollIntoView({ block: "center" })
          const box = range.getBoundingClientRect()
          return [box.left + 2, (box.top + box.bottom) / 2]
        })()"""
    )
    for kind in ("mousePressed", "mouseReleased"):
        mouse = {"x": left, "y": middle, "button": "left", "clickCount": 1}
        browser("Input.dispatchMouseEvent", type=kind, **mouse)
    assert browser.run("document.querySelector('.samples output').textContent") == "0"
    assert "at-samples_" in browser.run("location.hash")
    assert browser.faults() == []


def test_images_of_noise_keep_to_their_share():
    """Noise is the most that an image can take."""
    rng = np.random.default_rng(0)
    noise = rng.integers(0, 255, (64, 3, 32, 32)).astype(np.uint8)
    one = slider._as_picture([noise] * 10, share=1e9)
    few = slider._as_picture([noise] * 10, share=slider.BUDGET / slider.MOST_IN_ALL)
    assert len(few["picture"]) / 10 < 2.5 * slider.BUDGET / slider.MOST_IN_ALL
    assert len(few["picture"]) < len(one["picture"]) / 2
