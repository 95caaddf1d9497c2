"""Comparisons by hand: of objectives within a result set, and of result sets."""

import math
import re
import shutil
from collections.abc import Callable, Iterator
from html.parser import HTMLParser
from io import StringIO
from pathlib import Path
from typing import Any

import pytest
from rich.console import Console

from benchmark.analysis import compare, published, tables
from benchmark.analysis.scores import EQUAL_COST, RUN_VALUES
from benchmark.analysis.sides import Sides, of_labels, of_sets
from benchmark.cli.options import set_names
from benchmark.errors import UserError
from benchmark.report import compare_page, compare_text
from benchmark.report.page import Claim, Table
from tests.conftest import Ended
from tests.helpers import synthetic

POINTS = [("gaussians8", "mlp")]
BOTH = ["nonsaturating", "lsgan"]
SCRIPT = "wgan_gp[note=<script>alert(1)</script>|x]"


@pytest.fixture(autouse=True, scope="module")
def fresh_code() -> Iterator[None]:
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr("benchmark.store.code.training_code", lambda cell: "c0de")
        yield


def two(folder: Path, shift: float = 0.0, seeds: int = 5, first: int = 0, **options: Any) -> Path:
    """nonsaturating at 10 + seed; lsgan 2 below it, at 4 s per evaluation to its 2; all plus
    `shift`, all run long."""
    curve = lambda objective, metric, seed, i: 10 + shift + seed - 2.0 * (objective == "lsgan")  # noqa: E731
    options = {
        "objectives": BOTH,
        "groups": POINTS,
        "seeds": range(first, first + seeds),
        "curve": curve,
        "steps": 3,
        "evaluations": 3,
        **options,
    }
    return synthetic.write(
        folder, seconds={"lsgan": 4.0, **options.pop("seconds", {})}, samples=False, **options
    )


def texts(table: Table, head: str) -> list[str]:
    """A column of a table."""
    return [row.cells[table.columns.index(head)] for row in table.rows]


@pytest.fixture(scope="module")
def plain(tmp_path_factory: pytest.TempPathFactory) -> tables.Tables:
    return tables.load(two(tmp_path_factory.mktemp("plain") / "a"))


def sets(first: tables.Tables, *folders: Path) -> Sides:
    return of_sets({"a": first, **{folder.name: tables.load(folder) for folder in folders}})


def row(frame, **where: str) -> dict[str, Any]:
    for name, value in where.items():
        frame = frame[frame[name] == value]
    assert len(frame) == 1, where
    return frame.iloc[0].to_dict()


def test_objectives_by_hand(tmp_path: Path) -> None:
    found = tables.load(
        two(tmp_path / "a", seeds=6, status={("lsgan", "gaussians8", 4): "diverged"})
    )
    frame = compare.differences(of_labels(found, BOTH), ["final", "best"])
    assert frame["metric"].iloc[0] == "swd_2k"  # the one that ranks is first
    final = row(frame, metric="swd_2k", of="final")
    assert (final["side"], final["n"], final["diverged"], final["against_diverged"]) == (
        "lsgan",
        6,
        1,
        0,
    )
    # the median of 8, 9, 10, 11, 13 and infinity
    assert final["value"] == 10.5
    assert final["against"] == 12.5
    assert (final["difference"], final["ci_low"], final["ci_high"]) == (-2, -2, math.inf)
    assert (final["wins"], final["ties"], final["p_improvement"]) == (5, 0, 5 / 6)
    assert final["p_low"] < final["p_improvement"] < final["p_high"]
    assert final["verdict"] == "not separated"
    assert "p = 0.031 is the lowest 6 seeds can reach" in final["why"]
    assert (
        row(frame, metric="modes_covered_2k", of="final")["p_improvement"] < 0.5
    )  # there, lower is worse


def test_medians_are_of_the_seeds_that_the_difference_is_of(tmp_path: Path) -> None:
    status = {("lsgan", "mlp", seed): "error" for seed in (0, 1)}
    status[("nonsaturating", "mlp", 4)] = "missing"
    found = tables.load(two(tmp_path / "a", seeds=5, status=status))
    final = row(compare.differences(of_labels(found, BOTH)), metric="swd_2k")
    # both have seeds 2 and 3: 12 and 13, and 10 and 11
    assert (final["n"], final["value"], final["against"]) == (2, 10.5, 12.5)
    assert final["difference"] == final["value"] - final["against"] == -2
    text = compare_page.page(of_labels(found, BOTH), compare.differences(of_labels(found, BOTH)))
    assert "Medians over the seeds that both have" in text.sections[0].note
    # without a pair: the medians of all
    status = {("lsgan", "mlp", seed): "error" for seed in (0, 1)}
    status |= {("nonsaturating", "mlp", seed): "error" for seed in (2, 3, 4)}
    found = tables.load(two(tmp_path / "b", seeds=5, status=status))
    final = row(compare.differences(of_labels(found, BOTH)), metric="swd_2k")
    assert (final["n"], final["value"], final["against"]) == (0, 11, 10.5)
    assert math.isnan(final["difference"])


def test_every_further_objective_is_held_against_the_first(tmp_path: Path) -> None:
    curve = lambda objective, metric, seed, i: 10 + seed + 100 * len(objective)  # noqa: E731
    found = tables.load(
        two(tmp_path / "a", objectives=["wgan", "lsgan", "minimax"], curve=curve, seeds=7)
    )
    frame = compare.differences(of_labels(found, ["lsgan", "wgan", "minimax"]))
    frame = frame[frame["metric"] == "swd_2k"].set_index("side")
    assert frame["difference"].to_dict() == {"wgan": -100, "minimax": 200}
    assert frame["verdict"].to_dict() == {"wgan": "better", "minimax": "worse"}
    # separated wholly, p = 2/128 each, and Holm doubles the first; the second may not be lower
    assert frame["p_holm"].tolist() == pytest.approx([4 / 128, 4 / 128])


def test_objectives_that_are_not_named_count_in_the_family(tmp_path: Path) -> None:
    """Naming the two of five that look furthest apart is not one comparison: seven seeds cannot
    tell four (0.0625)."""
    labels = synthetic.OBJECTIVES[:5]
    curve = lambda objective, metric, seed, i: 10 + seed + 100 * labels.index(objective)  # noqa: E731
    for n, status in (
        (4, {}),
        (5, {}),
        (5, {("wgan_gp", "mlp", seed): "missing" for seed in range(7)}),
    ):
        folder = two(
            tmp_path / f"{n}{len(status)}",
            objectives=labels[:n],
            curve=curve,
            status=status,
            seeds=7,
        )
        found = row(
            compare.differences(of_labels(tables.load(folder), ["minimax", "wgan"])),
            metric="swd_2k",
        )
        assert found["p_holm"] == pytest.approx((n - 1) * 2 / 128)
        assert found["verdict"] == ("worse" if n == 4 else "not separated")
        assert found["why"] == "" or "4 comparisons" in found["why"]


def test_stale_cells_are_counted_and_noted(tmp_path: Path) -> None:
    found = tables.load(
        two(tmp_path / "a", fields=lambda objective, seed: {"code": "0ld"} if seed == 1 else {})
    )
    for sides in (of_labels(found, BOTH), of_sets({"a": found, "b": found})):
        table = compare_page.page(sides, compare.differences(sides)).sections[-1]
        assert texts(table, "stale cells") == (
            ["1", "1"] if sides.by == ["dataset", "architecture"] else ["2", "2"]
        )
        num_stale = texts(table, "stale cells")[1]
        assert f"{sides.names[1]} has {num_stale} stale cell" in table.note


def test_what_diverged_throughout_is_not_called_equal(tmp_path: Path) -> None:
    status = {(name, "mlp", seed): "diverged" for name in BOTH for seed in range(5)}
    found = compare.differences(of_labels(tables.load(two(tmp_path / "a", status=status)), BOTH))
    assert set(found["why"]) == {"every seed of both diverged"}


def test_seeds_that_are_all_lost_are_not_certain(plain: tables.Tables, tmp_path: Path) -> None:
    sides = sets(plain, two(tmp_path / "b", shift=100))
    table = compare_page.page(sides, compare.differences(sides)).sections[0]
    # Clopper and Pearson: 1 − 0.025^(1/5)
    assert texts(table, "wins") == ["0 of 5 [0.00, 0.52]"] * 2
    assert texts(table, "difference") == ["100 [100, 100]"] * 2


def test_a_set_without_the_metric_that_ranks_is_noted(plain: tables.Tables, tmp_path: Path) -> None:
    second = two(tmp_path / "b")
    for path in second.glob("cells/*/evals.jsonl"):
        lines = path.read_text().splitlines(keepends=True)
        path.write_text("".join(line for line in lines if "swd_2k" not in line))
    sides = sets(plain, second)
    assert sides.notes == [
        "Sliced Wasserstein distance, by which gaussians8 is ranked, is not measured in b."
    ]
    assert compare_page.page(sides, compare.differences(sides)).remarks == sides.notes


def test_equal_cost_is_of_one_result_set_and_equal_time_of_one_race(
    plain: tables.Tables, tmp_path: Path
) -> None:
    second = two(tmp_path / "b")
    sides = sets(plain, second)
    assert set(compare.differences(sides, RUN_VALUES)["of"]) == {
        "final",
        "best",
        "area",
    }  # each set has its own time
    with pytest.raises(UserError, match="equal_time is read within one result set"):
        compare.differences(sides, ["equal_time"])
    # Cells made elsewhere compare: the cost of a step was raced in one place
    synthetic.edit(next(second.glob("cells/*/environment.json")), device="Another CPU")
    rows = compare.differences(of_labels(tables.load(second), BOTH), [*EQUAL_COST])
    assert set(rows["of"]) == {*EQUAL_COST}
    next(second.glob("races/*.json")).unlink()
    without = of_labels(tables.load(second), BOTH)
    assert set(compare.differences(without, [*EQUAL_COST])["of"]) == {"equal_compute"}
    with pytest.raises(
        UserError,
        match=r"mlp on gaussians8: seconds do not compare.*no race has timed its objectives",
    ):
        compare.differences(without, ["equal_time"])


def test_cost_target_and_verdicts_by_hand(tmp_path: Path) -> None:
    status = {("lsgan", "gaussians8", 4): "diverged"}
    found = tables.load(two(tmp_path / "a", status=status, targets={"gaussians8": 12.0}))
    sides = of_labels(found, BOTH)
    lsgan = row(compare.cost(sides), side="lsgan")
    of_time = ["ms_per_g_step", "ms_per_g_step_ratio", "workloads_per_g_step"]
    assert [lsgan[name] for name in of_time] == pytest.approx([40, 2, 2])
    # 64 samples a critic step; 400 and 300 forwards a step
    assert (lsgan["forwards_per_step"], lsgan["peak_memory_mb_ratio"]) == (700, 1)
    frame = compare.reliability(sides)
    assert row(frame, side="lsgan")["diverged"] == 1
    assert row(frame, side="nonsaturating")["diverged"] == 0
    assert "unfinished" not in frame.columns
    # seeds 0, 1, 2 of nonsaturating are at the target at once, as is each of lsgan's
    page = compare_page.page(sides, compare.differences(sides))
    speed = next(section for section in page.sections if section.title.startswith("How fast"))
    assert texts(speed, "target") == ["12", "12"]
    assert texts(speed, "reached") == ["3/5", "5/5"]
    assert texts(page.sections[0], "wins") == ["4 of 5 [0.28, 0.99]"]
    assert [text.split()[0] for text in texts(speed, "raced seconds")] == ["2.00", "4"]


def test_sets_pair_by_seed_and_share_the_first_target(tmp_path: Path) -> None:
    first = tables.load(two(tmp_path / "a", targets={"gaussians8": 12.0}))
    second = two(tmp_path / "b", shift=0.5, seeds=7, targets={"gaussians8": 14.0})
    sides = sets(first, second)
    frame = compare.differences(sides)
    assert (frame["side"] == "b").all()
    assert frame[frame["metric"] == "swd_2k"]["objective"].tolist() == BOTH
    assert (frame["difference"] == 0.5).all()
    assert (frame["n"] == 5).all()
    assert (
        row(frame, metric="swd_2k", objective="lsgan")["value"] == 10.5
    )  # of seeds 0 to 4, as a's
    assert sides.notes == ["Left out of b: 2 seeds, which not every set has."]
    # b at 10.5, 11.5, 12.5 …: two seeds reach a's target of 12; b's own is easier
    reached = row(sides.convergence, side="b", objective="nonsaturating", clock="samples")
    assert (reached["target"], reached["reached"], reached["n"]) == (12, 2, 5)


def test_a_rerun_that_changed_nothing_is_said_to_be_equal(
    plain: tables.Tables, tmp_path: Path
) -> None:
    frame = compare.differences(sets(plain, two(tmp_path / "b")))
    assert set(frame["why"]) == {"equal seed by seed"}
    assert set(frame["verdict"]) == {"not separated", ""}


@pytest.mark.parametrize(("objectives", "verdict"), [(3, "worse"), (4, "not separated")])
def test_the_objectives_of_two_sets_are_one_family(
    tmp_path: Path, objectives: int, verdict: str
) -> None:
    """Wholly separated, seven seeds have p = 2/128: three such comparisons reach 0.05 together
    (0.047), four do not (0.0625)."""
    labels = synthetic.OBJECTIVES[:objectives]
    first = tables.load(two(tmp_path / "a", objectives=labels, seeds=7))
    second = two(tmp_path / "b", shift=100, objectives=labels, seeds=7)
    frame = compare.differences(sets(first, second))
    others = frame[frame["metric"] != "swd_2k"]
    frame = frame[frame["metric"] == "swd_2k"]
    assert frame["p_holm"].tolist() == pytest.approx([objectives * 2 / 128] * objectives)
    assert set(frame["verdict"]) == {verdict}
    if verdict == "not separated":
        assert frame["why"].iloc[0] == (
            "p = 0.016 is the lowest 7 seeds can reach, 4 comparisons ask for 0.013, 8 seeds could"
        )
    # the metrics that do not rank are shown, and not tested
    assert set(others["verdict"]) == {""}
    assert others["p_holm"].isna().all()
    assert others["wins"].notna().all()


def test_a_slower_machine_is_told_from_slower_code(plain: tables.Tables, tmp_path: Path) -> None:
    pace = {"nonsaturating": 4.0, "lsgan": 16.0}  # twice, and four times, as slow as in a
    slow = two(tmp_path / "b", seconds=pace, reference_ms=40.0)
    frame = compare.cost(sets(plain, slow))
    by_objective = frame[frame["side"] == "b"].set_index("objective")
    ratios = by_objective.loc[BOTH, ["ms_per_g_step_ratio", "workloads_per_g_step_ratio"]]
    assert ratios.to_numpy().ravel().tolist() == pytest.approx([2, 1, 4, 2])


def test_any_number_of_sets(plain: tables.Tables, tmp_path: Path) -> None:
    frame = compare.differences(
        sets(plain, *(two(tmp_path / name, shift=i) for name, i in (("b", 1), ("c", 2))))
    )
    frame = frame[(frame["metric"] == "swd_2k") & (frame["objective"] == "lsgan")]
    assert frame.set_index("side")["difference"].to_dict() == {"b": 1, "c": 2}


def test_what_the_first_set_lacks_is_left_out(plain: tables.Tables, tmp_path: Path) -> None:
    """Another dataset, and a metric that ranks only in the other set."""
    sides = sets(plain, two(tmp_path / "b", groups=[*POINTS, ("digits", "dcgan")]))
    assert set(sides.evals["dataset"]) == {"gaussians8"}
    assert set(sides.evals["metric"].astype(str)) == {"swd_2k"}
    assert compare_page.write(tmp_path / "page", sides, compare.differences(sides)).is_file()


def test_what_cannot_be_compared_is_named(plain: tables.Tables, tmp_path: Path) -> None:
    with pytest.raises(UserError, match=r"unknown objective 'lsgam' \(did you mean 'lsgan'\?\)"):
        of_labels(plain, ["nonsaturating", "lsgam"])
    with pytest.raises(
        UserError, match="two objectives or more, got lsgan; valid: nonsaturating, lsgan"
    ):
        of_labels(plain, ["lsgan"])
    with pytest.raises(UserError, match="lsgan is named twice"):
        of_labels(plain, ["lsgan", "nonsaturating", "lsgan"])
    with pytest.raises(UserError, match="two result sets or more, got a"):
        sets(plain)
    protocol = {("gaussians8", seed): "bbbbbbbb" for seed in range(5)}
    with pytest.raises(
        UserError, match="gaussians8 is measured under protocol aaaaaaaa in a and bbbbbbbb in b"
    ):
        sets(plain, two(tmp_path / "b", protocol=protocol))
    with pytest.raises(UserError, match="a, c have no seed in common"):
        sets(plain, two(tmp_path / "c", first=5))
    with pytest.raises(UserError, match="no objective, architecture and dataset in common"):
        sets(plain, two(tmp_path / "d", objectives=["wgan"]))
    never = [{(name, "gaussians8", seed): "missing" for seed in range(5)} for name in BOTH]
    halves = [two(tmp_path / name, status=status) for name, status in zip("ef", never, strict=True)]
    with pytest.raises(
        UserError,
        match=r"nothing to compare \(final\): a and another side have values of no objective in a "
        "place in common; a: 5 of 10 runs finished, 5 with a value; f: 5 of 10",
    ):
        compare.differences(sets(tables.load(halves[0]), halves[1]))


def test_other_training_options_are_refused_by_name(plain: tables.Tables, tmp_path: Path) -> None:
    second = two(tmp_path / "b")
    text = (second / "matrix.json").read_text()
    (second / "matrix.json").write_text(text.replace('"lr": 0.001', '"lr": 0.002'))
    with pytest.raises(
        UserError,
        match=r"nonsaturating / mlp / gaussians8 .* in b than in a: "
        r"recipe.lr is 0.001 against 0.002",
    ):
        sets(plain, second)
    for option, same in (
        ('"ema": 0.0', True),
        ('"ema": 0.999', False),
        ('"an_option_of_a_later_version": 1', False),
    ):
        (second / "matrix.json").write_text(text.replace('"steps": 600', f'"steps": 600, {option}'))
        if same:
            assert sets(plain, second).names == ["a", "b"]
        else:
            with pytest.raises(UserError, match=f"{option.split(chr(34))[1]} is .* against "):
                sets(plain, second)


def test_sets_are_named_by_what_tells_them_apart() -> None:
    assert set_names(["runs/before/quick", "runs/after/quick"]) == ["before", "after"]
    assert set_names(["/tmp/quick", "runs/quick/"]) == ["/tmp", "runs"]
    assert set_names(["runs/quick", "runs/quick2", "runs/x"]) == ["quick", "quick2", "x"]
    assert set_names(["quick", "old/quick"]) == ["quick", "old/quick"]


@pytest.mark.parametrize("again", ["runs/quick/", "runs/../runs/quick", "link"])
def test_one_set_under_two_names_is_no_comparison(
    again: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.chdir(tmp_path)
    Path("runs/quick").mkdir(parents=True)
    Path("link").symlink_to("runs/quick")
    with pytest.raises(UserError, match="is named twice"):
        set_names(["runs/quick", again])


def test_names_stay_text_in_markdown() -> None:
    table = Table("s", ["a"])
    table.add(["1\r2\u20283|4\\"], {})
    found = compare_text.ComparisonPage("t", [Claim("[l](javascript:x)")], [table])
    text = compare_text.to_markdown(found)
    assert "](" not in text
    assert text.splitlines()[-1] == "| 1 2 3\\|4\\\\ |"


def cells_of(line: str) -> list[str]:
    return re.split(r"(?<!\\)\|", line)[1:-1]


def test_the_page_says_who_won_and_escapes_names(tmp_path: Path) -> None:
    folder = two(
        tmp_path / "a",
        objectives=["wgan_gp", SCRIPT],
        shift=0.25,
        reference="wgan_gp",
        targets={"gaussians8": 12.0},
        status={(SCRIPT, "mlp", 1): "diverged"},
    )
    sides = of_labels(tables.load(folder), ["wgan_gp", SCRIPT])
    written = compare_page.write(tmp_path / "out", sides, compare.differences(sides, RUN_VALUES))
    text, page = (tmp_path / "out/compare.md").read_text(), written.read_text()
    assert "<script" not in text
    assert "<script" not in page
    widths = [len(cells_of(line)) for line in text.splitlines() if line.startswith("|")]
    assert max(widths) <= 10
    heads = [line for line in text.splitlines() if line.startswith("## ")]
    questions = [
        "good: Sliced Wasserstein distance (gaussians8, n = 2,000)",
        "good: the other",
        "fast",
        "cost",
        "reliable",
        "compared",
    ]
    assert [word for word, head in zip(questions, heads, strict=True) if word not in head] == []
    first = next(
        line for line in text.splitlines() if line.startswith("| mlp on gaussians8 | final")
    )
    # the median of 10.25, 12.25, 13.25, 14.25 and infinity
    assert cells_of(first)[2].strip() == "13.2, 1 diverged"
    assert {path.name for path in (tmp_path / "out").rglob("*.*")} == {
        "compare.md",
        "compare.csv",
        "compare.html",
        "curves.png",
        "curves.svg",
        "curves.csv",
    }

    class Sources(HTMLParser):
        found: list[str] = []

        def handle_starttag(self, tag: str, attributes: list[tuple[str, str | None]]) -> None:
            self.found += [value or "" for name, value in attributes if name == "src"]

    Sources().feed(page)
    (source,) = Sources.found
    assert source.startswith("data:image/")


def test_compare_on_the_command_line(
    ganbench: Callable[..., Ended], tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    two(tmp_path / "runs/tiny")
    two(tmp_path / "old/tiny", shift=100)
    monkeypatch.chdir(tmp_path)
    of_tiny = ("--matrix", "tiny", "--results", "runs")
    ended = ganbench("compare", *BOTH, *of_tiny, "--of", "area", "--output", "out")
    assert ended.code == 0
    assert ended.out.startswith(
        "# lsgan against nonsaturating\n\n- mlp on gaussians8: lsgan 10 against 12 "
        "(Sliced Wasserstein distance, area)"
    )
    written = Path("out/compare.md").read_text()
    assert written.replace("![Learning curves](figures/curves.png)\n\n", "") == ended.out
    assert ended.err == "out/compare.html\n"
    ended = ganbench("compare", "old/tiny", "runs/tiny")
    assert ended.out.startswith("# runs against old\n")
    assert (
        "nonsaturating, mlp on gaussians8: runs 12 against 112 (Sliced Wasserstein "
        "distance, final), difference −100" in ended.out
    )
    two(Path("lsgan"))  # a folder by the name of a label is not what is meant
    assert ganbench("compare", *BOTH, *of_tiny).out.startswith("# lsgan against nonsaturating")
    shutil.rmtree("lsgan")
    for arguments, message in (
        (("lsgan", "wgan", *of_tiny), "unknown objective 'wgan'"),
        (("lsgan", "w" * 300, *of_tiny), "unknown objective 'www"),
        ((*BOTH, "--matrix", "tiny.old", "--results", "runs"), "no results of matrix 'tiny.old'"),
        (
            (*BOTH, *of_tiny, "--of", "finale"),
            "unknown --of 'finale' (did you mean 'final'?); valid: final, best, area",
        ),
        (("runs/tiny", "lsgan"), "no matrix.json in lsgan"),
        (("runs", "runs/tiny"), "no matrix.json in runs"),
        (
            (*BOTH, *of_tiny, "--output", "runs/tiny/matrix.json"),
            "--output: runs/tiny/matrix.json is not a folder",
        ),
    ):
        ended = ganbench("compare", *arguments)
        assert (ended.code, ended.out, ended.err.count("\n")) == (2, "", 1), arguments
        assert message in ended.err


def test_a_metric_with_an_ideal_makes_no_objective_better(tmp_path):
    """Narrower and wider modes than the real ones are both wrong."""
    metrics = {"gaussians8": {"swd_2k": 0.1, "core_width_2k": 1.0}}
    curve = lambda objective, metric, seed, i: 1.0 + len(objective) + seed / 10  # noqa: E731
    places = [("gaussians8", "mlp")]
    synthetic.write(tmp_path, groups=places, metrics=metrics, curve=curve, samples=False)
    found = tables.load(tmp_path)
    assert "core_width_2k" in set(found.summary["metric"])
    rows = compare.differences(of_labels(found, ["nonsaturating", "wgan_gp"]))
    assert set(rows["metric"]) == {"swd_2k"}


@pytest.mark.parametrize("width", [60, 80, 120])
def test_a_terminal_shows_tables_in_its_width(tmp_path: Path, width: int) -> None:
    folder = two(tmp_path / "a", objectives=["wgan_gp", SCRIPT], shift=0.25)
    sides = of_labels(tables.load(folder), ["wgan_gp", SCRIPT])
    file = StringIO()
    found = compare_page.page(sides, compare.differences(sides))
    compare_text.to_terminal(found, Console(file=file, width=width))
    lines = file.getvalue().splitlines()
    assert max(map(len, lines)) <= width
    words = " ".join(file.getvalue().split())
    assert [section.title for section in found.sections if section.title not in words] == []
    assert "<script>" in "".join(lines).replace(" ", "")


def test_a_committed_set_without_cells_is_compared(
    ganbench: Callable[..., Ended], tmp_path: Path
) -> None:
    mine, reference = two(tmp_path / "mine"), two(tmp_path / "reference", shift=100)
    expected = ganbench("compare", reference, mine).out
    published.write(tables.load(reference).published, reference)
    shutil.rmtree(reference / "cells")
    assert ganbench("compare", reference, mine).out == expected
    shutil.rmtree(reference / "tables")
    for folders in ((reference, mine), (mine, reference)):
        ended = ganbench("compare", *folders)
        assert (ended.code, ended.out, ended.err.count("\n")) == (2, "", 1)
        message = f"ganbench: {reference} has neither cells nor tables: nothing to compare; "
        assert ended.err.startswith(message)
