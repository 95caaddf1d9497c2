"""The report's page in headless Chromium: it sorts, filters, prints, fits a phone, loads nothing
and runs no name."""

from collections.abc import Iterator
from pathlib import Path

import pandas as pd
import pytest

from benchmark.analysis import published, tables
from benchmark.analysis.compare import differences
from benchmark.analysis.sides import of_labels
from benchmark.explain import entries
from benchmark.report import compare_page, report
from benchmark.report.figures import overview, robustness, speed
from tests.helpers import synthetic
from tests.helpers.browser import CHROMIUM, Browser
from tests.report.test_report import plant

OBJECTIVES = ("minimax", "nonsaturating", "wgan", "wgan_gp[note=<script>alert(1)</script>]")
PLACES = [("gaussians8", "mlp"), ("digits", "dcgan"), ("digits", "mlp[width=8]")]
BESIDE = "document.documentElement.scrollWidth - document.documentElement.clientWidth"
OPEN_ALL = "for (const one of document.querySelectorAll('details')) one.open = true"
SHOWN = """
const shown = element => element.getClientRects().length > 0
const count = selector => [...document.querySelectorAll(selector)].filter(shown).length
const box = (axis, text) => [...document.querySelectorAll(`.filters input[name=${axis}]`)].find(
  input => input.parentElement.textContent === text)
const counts = () => ({
  wgan: count(`:not(figure)[data-objective~="${box("objective", "wgan").value}"]`),
  digits: count(`:not(figure)[data-dataset="${box("dataset", "digits").value}"]`),
  rows: count("tbody tr"), columns: count("thead th"), figures: count("figure"),
})
"""
# Of every text its contrast with what is behind it, below what WCAG AA asks for
CONTRAST = """
const channels = colour => colour.match(/[\\d.]+/g).map(Number)
const light = ([r, g, b]) => [r, g, b].map(c => c / 255)
  .map(c => c <= 0.04045 ? c / 12.92 : ((c + 0.055) / 1.055) ** 2.4)
  .reduce((sum, c, i) => sum + c * [0.2126, 0.7152, 0.0722][i], 0)
const behind = element => {
  for (let one = element; one; one = one.parentElement) {
    const colour = channels(getComputedStyle(one).backgroundColor)
    if (colour.length < 4 || colour[3] > 0.5) return colour
  }
  return matchMedia("(prefers-color-scheme: dark)").matches ? [0, 0, 0] : [255, 255, 255]
}
const low = []
for (const element of document.querySelectorAll("body *")) {
  const hasText = [...element.childNodes].some(node => node.nodeType === 3 && node.data.trim())
  if (!hasText || !element.getClientRects().length || element.closest(".faint, script")) continue
  const [a, b] = [light(channels(getComputedStyle(element).color)), light(behind(element))]
  const ratio = (Math.max(a, b) + 0.05) / (Math.min(a, b) + 0.05)
  if (ratio < 4.5) low.push([element.tagName, element.textContent.slice(0, 20), ratio])
}
low
"""
PRINTED = """
const sizes = {}
const wide = []
for (const element of document.querySelectorAll("main *, footer *")) {
  const hasText = [...element.childNodes].some(node => node.nodeType === 3 && node.data.trim())
  if (!hasText || !element.getClientRects().length || element.closest("svg, .heard")) continue
  const size = getComputedStyle(element).fontSize
  sizes[size] = [...(sizes[size] ?? []), element.tagName]
  const right = element.getBoundingClientRect().right
  if (right > document.documentElement.clientWidth + 1) wide.push([element.textContent, right])
}
const result = { sizes, wide }
result
"""

pytestmark = pytest.mark.skipif(
    CHROMIUM is None, reason="neither chromium nor google-chrome is installed"
)


@pytest.fixture(scope="module")
def folder(tmp_path_factory) -> Path:
    path = tmp_path_factory.mktemp("runs") / "quick"
    status = {("minimax", "gaussians8", 1): "diverged"}
    synthetic.write(path, objectives=OBJECTIVES, groups=PLACES, status=status, untrained=True)
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr("benchmark.store.code.training_code", lambda cell: "c0de")
        loaded = tables.load(path)
        published.write(loaded.published, path)
        figures = plant(path)
        figures += overview.heatmap(loaded, path)
        figures += speed.cost(loaded, path)
        figures += robustness.draw(loaded, path)
        report.write(path, loaded, figures)
    return path


@pytest.fixture(scope="module")
def page(folder: Path) -> Path:
    return folder / "report/index.html"


@pytest.fixture(scope="module")
def browser(tmp_path_factory) -> Iterator[Browser]:
    started = Browser(tmp_path_factory.mktemp("profile"))
    yield started
    started.close()


@pytest.mark.parametrize("dark", [False, True], ids=["light", "dark"])
@pytest.mark.parametrize("width", [1400, 390])
def test_a_page_fits_its_window_is_readable_and_asks_for_nothing(browser, page, width, dark):
    browser.open(page, width, dark)
    assert browser.run("innerWidth") == width
    assert browser.run(BESIDE) == 0
    browser.run(OPEN_ALL)
    assert browser.run(BESIDE) == 0
    assert browser.run(f"{{ {CONTRAST} }}") == []
    assert browser.faults() == []


def test_pictures_are_visible_and_described(browser, page, folder):
    browser.open(page)
    browser.run(OPEN_ALL)
    images = browser.run(
        # the picture of a figure with a chart stands on paper alone
        "[...document.images].filter(image => !image.closest('.chart')).map(image => [image.alt, "
        "image.complete && image.naturalWidth > 0 && (image.getClientRects().length > 0 "
        "|| image.closest('figure').querySelector('.chart') !== null)])"
    )
    num_figures = len(list((folder / "figures").glob("*.svg")))
    assert len(images) == num_figures == 6 + len(entries.names())
    assert all(alt and is_visible for alt, is_visible in images)


def test_a_click_on_a_heading_sorts(browser, page, folder):
    """A board of five rows and the two of what no objective made."""
    browser.open(page)
    seen = browser.run("""{
      const boards = [...document.querySelectorAll("#where table")]
      const board = boards.find(table => table.rows[0].cells[1].className === "plot")
      const first = cell => cell.textContent.split("\\n")[0]
      const column = i => [...board.tBodies[0].rows].map(row => first(row.cells[i]))
      const sorted = []
      for (const i of [0, 2, 2]) {
        board.rows[0].cells[i].querySelector("button").click()
        sorted.push([board.rows[0].cells[i].getAttribute("aria-sort"), column(i)])
      }
      sorted
    }""")
    (first, names), (up, ascending), (down, descending) = seen
    assert (first, up, down) == ("ascending", "ascending", "descending")
    assert sorted(names) == sorted([*OBJECTIVES, "real samples", "untrained"])
    rows = pd.read_csv(folder / "tables/summary.csv").query(
        "of == 'final' and architecture == 'mlp' and metric.str.startswith('swd')"
    )
    values = [float(text.split(" ")[0]) for text in ascending]
    assert values == sorted(values)
    assert len(values) == len(rows) + 2
    assert descending == ascending[::-1]


def test_filters_hide_what_they_promise_and_stay_in_the_address(browser, page):
    """With the keyboard alone."""
    browser.open(page)
    browser.run(OPEN_ALL)
    browser.run(SHOWN)
    every = browser.run("counts()")
    assert every["wgan"] > 10
    browser.run('box("objective", "wgan").focus()')
    browser.press("Space")
    without = browser.run("counts()")
    assert without["wgan"] == 0
    assert without["rows"] < every["rows"]
    assert without["columns"] == every["columns"] - 1  # the table with objectives as columns
    assert without["figures"] == every["figures"]
    others = "document.querySelector('figure#cost .others').textContent"
    assert browser.run(others) == " It also shows wgan."
    assert browser.run("location.hash") == "#?hide-objective=wgan"
    browser.run('box("dataset", "digits").focus()')
    browser.press("Space")
    fewer = browser.run("counts()")
    assert fewer["digits"] == 0
    assert fewer["figures"] < every["figures"]
    assert browser.run("document.querySelector('figure#digits').hidden")
    address = browser.run("location.hash")
    browser.open(page, address=address)
    browser.run(OPEN_ALL)
    assert browser.run(f"{SHOWN}; counts()") == fewer
    # a link within the page keeps the choice
    browser.run("document.querySelector('nav a[href=\"#cost\"]').click()")
    assert browser.run("new Promise(done => setTimeout(() => done(location.hash), 50))") == (
        address.replace("#?", "#cost?")
    )
    for axis in ("objective", "dataset"):
        all_of = f"input[name={axis}]"
        browser.run(
            f"document.querySelector('.filters {all_of}').closest('fieldset')"
            ".querySelector('[data-check=all]').click()"
        )
    assert browser.run("counts()") == every
    assert browser.run("location.hash") == "#cost"


def test_a_picture_is_enlarged_with_the_keyboard(browser, page):
    browser.open(page, 390)
    browser.run("document.querySelector('figure:not(:has(.chart)) .zoom').focus()")
    browser.press("Enter")
    seen = browser.run("""{
      const image = document.querySelector("dialog[open] img")
      const result = [image.alt, image.getBoundingClientRect().width > innerWidth]
      result
    }""")
    alt = browser.run("document.querySelector('figure:not(:has(.chart)) .zoom img').alt")
    assert seen == [alt, True]
    browser.press("Escape")
    assert browser.run("document.querySelector('dialog').open") is False


def test_everything_is_open_on_paper_at_one_size_and_no_column_is_cut(browser, page):
    """In a window as wide as A4 landscape within its margins."""
    browser.open(page)
    browser.look(1032, media="print")
    browser.run("dispatchEvent(new Event('beforeprint'))")
    assert browser.run("document.querySelectorAll('details:not([open], .trace)').length") == 0
    seen = browser.run(f"{{ {PRINTED} }}")
    assert seen["wide"] == []
    tags = {round(float(size[:-2]) * 0.75, 1): set(tags) for size, tags in seen["sizes"].items()}
    assert set(tags) == {9, 11}
    assert tags[11] == {"H2"}
    browser.run("dispatchEvent(new Event('afterprint'))")
    assert browser.run("document.querySelectorAll('details:not([open])').length") > 0
    browser.look(1400)
    assert browser.pdf().startswith(b"%PDF")


@pytest.fixture(scope="module")
def comparison(folder: Path, tmp_path_factory) -> Path:
    """The page of two objectives against a third one."""
    sides = of_labels(tables.load(folder), ["nonsaturating", "wgan", OBJECTIVES[-1]])
    return compare_page.write(tmp_path_factory.mktemp("compare"), sides, differences(sides))


@pytest.mark.parametrize("dark", [False, True], ids=["light", "dark"])
@pytest.mark.parametrize("width", [1400, 390])
def test_comparison_and_experiments_look_like_the_report(browser, comparison, width, dark):
    for page in (comparison, entries.REFERENCE / "index.html"):
        browser.open(page, width, dark)
        browser.run(OPEN_ALL)
        assert browser.run(BESIDE) == 0
        assert browser.run(f"{{ {CONTRAST} }}") == []
        assert browser.faults() == []
    images = browser.run("[...document.images].map(image => image.alt && image.naturalWidth > 0)")
    assert len(images) == len(entries.names())
    assert all(images)
