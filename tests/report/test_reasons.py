"""What a page says of degenerate results is true: ties, zeros, no primary metric, no target."""

import re
import warnings
from pathlib import Path

import pytest

from benchmark.analysis import compare, sides, tables
from benchmark.analysis.evidence import gather
from benchmark.check import baseline, output
from benchmark.errors import UserError
from benchmark.metrics import METRICS, full_name
from benchmark.report import compare_page, first, report
from tests.helpers import synthetic

NAMES = ["nonsaturating", "lsgan", "wgan"]
POINTS = [("gaussians8", "mlp")]
DIGITS = [("digits", "dcgan")]
NAN = float("nan")
ALONE = ("kid", "clipped_coverage", "recall", "is_std", "reverse_kl", "high_quality")


@pytest.fixture(autouse=True, scope="module")
def fresh_code():
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr("benchmark.store.code.training_code", lambda cell: "c0de")
        yield


@pytest.fixture(autouse=True)
def loud():
    """A warning is an error."""
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        yield


def write(folder: Path, **options) -> tables.Tables:
    defaults = {"objectives": NAMES, "groups": POINTS, "samples": False, "steps": 4}
    return tables.load(synthetic.write(folder, **(defaults | options)))


def lost(how: str, names=NAMES, seeds=range(5)) -> dict:
    return {(name, "mlp", seed): how for name in names for seed in seeds}


def pages(found: tables.Tables, folder: Path) -> str:
    """The sentences and tables of the report, and of a comparison of all objectives."""
    text = []
    evidence = gather(found)
    for card in first.first_screen(evidence).cards:
        lines = [*(claim.sentence for claim in card.claims), *card.remarks, card.scale]
        text += [f"{card.place}: {line}" for line in lines]
    for chapter in report.chapters(evidence, folder):
        text += [chapter.question, *chapter.answers]
        for item in chapter.items:
            text += [f"{item.lead}: {line}" for line in item.lines]
        for table in chapter.tables:
            text += [table.title, " | ".join(table.columns), table.note]
            text += [" | ".join(row.cells) for row in table.rows]
    try:
        chosen = sides.of_labels(found, NAMES)
        rows = compare.differences(chosen, ["final", "area"])
        text.append(compare_page.to_markdown(compare_page.page(chosen, rows)))
    except UserError as error:
        text.append(f"compare: {error}")
    return "\n".join(text)


def gate(found: tables.Tables, folder: Path, monkeypatch) -> str:
    monkeypatch.setattr(baseline, "BASELINES", folder / "baselines")
    try:
        _, notes = baseline.accept(found, "runs")
    except UserError as error:
        return f"accept: {error}"
    verdicts, _ = baseline.compare(found, "runs")
    return "\n".join([*notes, output.to_markdown(verdicts)])


def noisy(objective: str, metric: str, seed: int, i: int) -> float:
    """Values on both sides of zero."""
    return 0.01 * ((seed * 7 + i * 3 + len(objective)) % 5) - 0.02


@pytest.mark.parametrize(("level", "floor"), [(0.0, 0.0), (1.0, -1.0), (-0.5, NAN)])
def test_values_and_floors_without_ratios_are_reported(tmp_path, monkeypatch, level, floor):
    metrics = {"gaussians8": dict.fromkeys(synthetic.METRICS["gaussians8"], floor)}
    found = write(tmp_path, metrics=metrics, curve=lambda *_: level)
    text = pages(found, tmp_path) + gate(found, tmp_path, monkeypatch)
    assert "final ÷ floor" not in text
    assert not re.search(r"\bnan\b|\binf\b", text)
    assert "nonsaturating" in text
    assert "lead with equal" in text


@pytest.mark.parametrize("row", [METRICS[name] for name in ALONE], ids=lambda row: row.name)
def test_a_single_metric_ranks_or_the_page_says_that_none_does(tmp_path, monkeypatch, row):
    modality = row.modality[-1]
    groups, suffix = (POINTS, "2k") if modality == "points" else (DIGITS, "classifier_750")
    column = f"{row.name}_{suffix}"
    metrics = {groups[0][0]: {column: 0.01}}
    found = write(tmp_path, groups=groups, metrics=metrics, curve=noisy)
    text = pages(found, tmp_path)
    assert "no finished cell" not in text
    assert "none has a measurement" not in text
    if row.gate:
        assert found.primary == {groups[0][0]: column}
        ahead = "Lower" if row.direction == "min" else "Higher"
        assert f"{full_name(column, groups[0][0])}. {ahead} is better" in text
        assert re.search(r"leads? with", text)
    else:
        assert found.primary == {}
        assert f"none of the metrics measured ranks ({column})" in text
        assert f"No target: no metric that ranks is measured on {groups[0][0]}" in text
    assert gate(found, tmp_path, monkeypatch).startswith("accept: ") != row.gate
    assert set(found.published["scores"]["metric"]) == {column}


def test_the_first_gated_metric_ranks_and_a_primary_one_before_it(tmp_path):
    floors = {"duplicates_classifier_750": 0.1, "clipped_coverage_classifier_750": 0.9}
    for more, name in (({}, "clipped_coverage"), ({"kid_classifier_750": 0.1}, "kid")):
        found = write(
            tmp_path / name, groups=DIGITS, metrics={"digits": floors | more}, curve=noisy
        )
        assert found.primary == {"digits": f"{name}_classifier_750"}


@pytest.mark.parametrize(
    ("options", "sentences"),
    [
        (
            {"status": lost("error")},
            [
                "mlp on gaussians8: no run has finished (15 error).",
                "No run has finished (15 error).",
            ],
        ),
        (
            {"curve": lambda *_: NAN},
            ["15 of 15 runs finished, and none has", "nonsaturating: 5 of 5 runs finished, 0 with"],
        ),
        (
            {"status": lost("diverged")},
            [
                "Every finished run diverged.",
                "No target: the untrained generator was not measured.",
            ],
        ),
        (
            # with three of five seeds diverged every median is infinite
            {"status": lost("diverged", NAMES[:1]) | lost("diverged", NAMES[1:], [0, 1, 2])},
            ["Half of the finished runs of every objective or more diverged."],
        ),
        (
            {"status": lost("diverged", NAMES[:1]), "untrained": True},
            ["1/4 of the way from the untrained generator", "leads with"],
        ),
        (
            {"untrained": True, "curve": lambda name, *_: 3.0},
            ["1/4 of the way", "No objective reaches it in half of its", "Nothing was learnt here"],
        ),
        (
            {"untrained": True, "curve": lambda name, *_: 0.1},
            ["No target: an untrained generator, at 0.1, is at the noise floor already."],
        ),
        (
            {"untrained": True, "targets": {"gaussians8": 1e9}},
            ["No target: an untrained generator, at", "reaches 1,000,000,000 already."],
        ),
    ],
)
def test_a_page_says_what_is_missing_and_why(tmp_path, options, sentences):
    found = write(tmp_path, **options)
    text = pages(found, tmp_path)
    for sentence in sentences:
        assert sentence in text.replace("1e+09", "1,000,000,000")
    if "No target" in text:
        assert found.costs.empty
        assert "names no reference that has finished" not in text


def test_a_stuck_reference_moves_no_target(tmp_path):
    """The reference stays where it began; the targets are those of the objectives that learned."""

    def curve(objective, metric, seed, i):
        return 3.0 + 0.01 * seed if objective == "nonsaturating" else 3.0 / (1 + i)

    found = write(tmp_path, untrained=True, curve=curve)
    rows = found.convergence[found.convergence["clock"] == "g_steps"]
    reached = rows.pivot(index="objective", columns="level", values="reached")
    assert reached.loc["nonsaturating"].to_list() == [0, 0, 0]
    assert reached.loc["wgan"].to_list() == [5, 5, 0]


def test_a_finished_run_without_a_value_is_not_called_unfinished(tmp_path):
    def curve(objective, metric, seed, i):
        is_hole = objective == "wgan" and metric == "swd_2k" and i == 5
        return NAN if is_hole else synthetic.learning(objective, metric, seed, i)

    found = write(tmp_path, curve=curve)
    table = compare.reliability(sides.of_labels(found, NAMES)).set_index("side")
    assert table.loc["wgan"].to_dict()["no verdict"] == 5
    assert "unfinished" not in table.columns


@pytest.mark.parametrize("seeds", [1, 2])
def test_few_seeds_are_reported_without_a_warning(tmp_path, seeds):
    found = write(tmp_path, objectives=NAMES[:2], seeds=range(seeds), evaluations=2, steps=1)
    evidence = gather(found)
    assert evidence.compared["p_holm"].notna().all()
    assert report.chapters(evidence, tmp_path)
