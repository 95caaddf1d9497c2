"""The report's page in headless Chromium: it sorts, filters, shows its figures, loads nothing and
runs no name."""

import html
import json
import re
import shutil
import subprocess
from pathlib import Path

import pandas as pd
import pytest

from benchmark.analysis import published, tables
from benchmark.explain import entries
from benchmark.report import report
from benchmark.report.figures import overview, robustness, speed
from tests.helpers import synthetic
from tests.report.test_report import plant

CHROMIUM = shutil.which("chromium") or shutil.which("google-chrome")
FLAGS = (
    "--headless --no-sandbox --disable-gpu --disable-quic --no-first-run --disable-sync "
    "--disable-background-networking --disable-component-update --enable-logging=stderr"
)
OBJECTIVES = ("minimax", "nonsaturating", "wgan", "wgan_gp[note=<script>alert(1)</script>]")
PLACES = [("gaussians8", "mlp"), ("digits", "dcgan"), ("digits", "mlp[width=8]")]

pytestmark = pytest.mark.skipif(
    CHROMIUM is None, reason="neither chromium nor google-chrome is installed"
)

HEAD = """<script>
const faults = []
addEventListener("error", event => faults.push(`error: ${event.message}`), true)
addEventListener("unhandledrejection", event => faults.push(`rejection: ${event.reason}`))
document.addEventListener(
  "securitypolicyviolation", event => faults.push(`policy: ${event.blockedURI}`))
for (const name of ["error", "warn"])
  console[name] = (...words) => faults.push(`console: ${words.join(" ")}`)
for (const name of ["alert", "confirm", "prompt"])
  window[name] = () => faults.push(`${name} was called`)
</script>"""
TAIL = """<script>addEventListener("load", () => {
  const tables = [...document.querySelectorAll("table")]
  const board = tables.find(table => table.rows[0].cells[2].textContent === "final")
  const first = cell => cell.textContent.split("\\n")[0]
  const column = i => [...board.tBodies[0].rows].map(row => first(row.cells[i]))
  const click = i => board.querySelectorAll("thead button")[i].click()
  const shown = element => element.getClientRects().length > 0
  const count = selector => [...document.querySelectorAll(selector)].filter(shown).length
  const box = (axis, text) => [...document.querySelectorAll(`.filters input[name=${axis}]`)].find(
    input => input.parentElement.textContent === text)
  const seen = { faults, sorted: [] }
  for (const i of [0, 2, 2]) {
    click(i)
    seen.sorted.push([board.rows[0].cells[i].getAttribute("aria-sort"), column(i)])
  }
  const loads = image => image.complete && image.naturalWidth > 0
  seen.images = [...document.images].map(image => loads(image) && shown(image))
  const loaded = performance.getEntriesByType("resource").map(entry => entry.name)
  seen.requests = loaded.filter(name => !name.startsWith("data:"))
  const overflow = () => document.documentElement.scrollWidth - document.documentElement.clientWidth
  seen.overflow = overflow()
  const open = () => document.querySelectorAll("details[open]").length
  seen.details = [document.querySelectorAll("details").length, open()]
  for (const event of ["beforeprint", "afterprint", "beforeprint"]) {
    dispatchEvent(new Event(event))
    seen.details.push(open())
  }
  seen.opened = overflow()
  seen.width = innerWidth
  const of = { wgan: box("objective", "wgan").value, digits: box("dataset", "digits").value }
  const counts = () => ({
    wgan: count(`[data-objective~="${of.wgan}"]`), digits: count(`[data-dataset="${of.digits}"]`),
    rows: count("tbody tr"), columns: count("thead th"), figures: count("figure"),
  })
  seen.all = counts()
  box("objective", "wgan").click(); seen.withoutWgan = counts(); box("objective", "wgan").click()
  box("dataset", "digits").click(); seen.withoutDigits = counts(); box("dataset", "digits").click()
  seen.again = counts()
  document.title = "done"
  document.body.innerHTML = ""
  document.body.append("BEGIN" + JSON.stringify(seen) + "END")
})</script>"""


@pytest.fixture(scope="module")
def folder(tmp_path_factory) -> Path:
    path = tmp_path_factory.mktemp("runs") / "quick"
    status = {("minimax", "gaussians8", 1): "diverged"}
    synthetic.write(path, objectives=OBJECTIVES, groups=PLACES, status=status)
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


def browse(folder: Path, tmp_path: Path, width: int) -> dict:
    """What TAIL saw on the page in a window this wide; no line of the console may be an error or a
    warning."""
    page = (folder / "report/index.html").read_text()
    file = tmp_path / "page.html"
    inner = page.replace("<title>", f"{HEAD}<title>", 1).replace("</body>", f"{TAIL}</body>")
    (tmp_path / "inner.html").write_text(inner)
    # a headless window has a least width of its own; a frame has not
    copy = "document.body.append(frames[0].document.body.textContent)"
    frame = f'<iframe src="inner.html" width="{width}" height="800" style="border:0"></iframe>'
    file.write_text(f"<!doctype html>{frame}<script>onload = () => {{ {copy} }}</script>")
    command = [
        str(CHROMIUM),
        *FLAGS.split(),
        "--dump-dom",
        "--allow-file-access-from-files",
        "--window-size=1400,900",
    ]
    command += [f"--user-data-dir={tmp_path / 'profile'}", f"file://{file}"]
    done = subprocess.run(command, capture_output=True, text=True, timeout=120)
    assert "CONSOLE" not in done.stderr
    found = re.search(r"BEGIN(\{.*\})END", done.stdout, re.DOTALL)
    assert found, done.stdout[-500:] + done.stderr[-500:]
    return json.loads(html.unescape(found[1]))


@pytest.fixture(scope="module")
def seen(folder, tmp_path_factory) -> dict:
    return browse(folder, tmp_path_factory.mktemp("wide"), 1280)


def test_no_error_no_request_and_no_name_runs(seen):
    assert seen["faults"] == []
    assert seen["requests"] == []


def test_figures_are_visible(seen, folder):
    figures = list((folder / "figures").glob("*.svg"))
    assert len(seen["images"]) == len(figures) == 7 + len(entries.names())
    assert all(seen["images"])


def test_a_click_on_a_heading_sorts(seen, folder):
    (first, names), (up, ascending), (down, descending) = seen["sorted"]
    assert (first, up, down) == ("ascending", "ascending", "descending")
    assert names == sorted(OBJECTIVES)
    rows = pd.read_csv(folder / "tables/summary.csv").query(
        "of == 'final' and architecture == 'dcgan' and metric.str.startswith('fid')"
    )
    assert [float(text) for text in ascending] == sorted(
        float(f"{value:.3g}") for value in rows["median"]
    )
    assert descending == ascending[::-1]


def test_filters_hide_rows_columns_places_and_figures(seen):
    every, wgan, digits = seen["all"], seen["withoutWgan"], seen["withoutDigits"]
    assert every["wgan"] > 10
    assert wgan["wgan"] == 0
    assert wgan["rows"] < every["rows"]
    assert wgan["columns"] == every["columns"] - 1  # the table with objectives as columns
    assert wgan["figures"] == every["figures"]
    assert digits["digits"] == 0
    assert digits["rows"] < every["rows"]
    assert digits["figures"] < every["figures"]
    assert seen["again"] == every


def test_everything_is_open_on_paper(seen):
    every, before, printing, after, again = seen["details"]
    assert every == printing == again
    assert before == after < every


def test_a_phone_scrolls_no_page_sideways(folder, tmp_path):
    phone = browse(folder, tmp_path, 360)
    assert phone["width"] == 360
    assert (phone["overflow"], phone["opened"]) == (0, 0)
    assert phone["faults"] == []
