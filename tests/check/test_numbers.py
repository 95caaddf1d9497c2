"""Numbers compared seed by seed: equal reruns, planted changes, rounding, and what is no pass."""

import json
import shutil
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from benchmark.analysis.tables import load
from benchmark.check import baseline as check
from benchmark.check.numbers import ROUNDING, compare_numbers, origins_differ
from benchmark.check.output import scope
from benchmark.check.rows import NUMBERS, UNKNOWN, RerunRow, baseline_rows
from benchmark.check.traces import Origin, Point, Trace, parsed, plain, traces
from benchmark.check.verdict import Verdict, exit_code
from benchmark.errors import UserError
from benchmark.measure.protocol import FUNCTIONS
from benchmark.store.files import write_json
from benchmark.train import build
from benchmark.train.snapshot import Snapshot
from tests.conftest import Ended
from tests.helpers import synthetic
from tests.helpers.trained import tiny_matrix, trained_set
from variants.objectives import nonsaturating

MATRIX = tiny_matrix("nonsaturating", "wgan")
ORIGIN = Origin("Some CPU, AVX512, torch 2.14.1", "eager")


@pytest.fixture(scope="module")
def accepted(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A folder with the baseline of a matrix of two groups and two seeds, and its results."""
    folder = tmp_path_factory.mktemp("accepted")
    check.accept(load(trained_set(folder / "runs" / "tiny", MATRIX)), "tiny", folder)
    return folder


def rerun(accepted: Path, folder: Path) -> check.Comparison:
    """Train everything once more and compare."""
    return check.compare(load(trained_set(folder / "tiny", MATRIX)), "tiny", accepted)


def numbers(verdicts: list[Verdict]) -> dict[str, tuple[str, str]]:
    """Objective -> mark and note."""
    found = {}
    for verdict in verdicts:
        if verdict.metric == NUMBERS:
            found[verdict.group.split(" / ")[0]] = (verdict.mark, verdict.note)
    return found


def test_a_rerun_of_unchanged_code_has_equal_numbers_to_the_end(
    accepted: Path, tmp_path: Path
) -> None:
    verdicts, not_exact = rerun(accepted, tmp_path)
    equal = ("+", "equal numbers to the end: 2 seeds")
    assert numbers(verdicts) == {"nonsaturating": equal, "wgan": equal}
    assert not_exact == ""
    assert exit_code(verdicts, strict=True) == 0
    assert scope(not_exact, strict=True).endswith("≠ is red (strict)")
    # The values are the baseline's own: there is nothing to test
    assert all(v.p is None for v in verdicts)


Planting = Callable[[pytest.MonkeyPatch], None]


def other_loss(patch: pytest.MonkeyPatch) -> None:
    """The generator's loss is larger by 1 in 100,000."""
    plain = nonsaturating.Objective.g_loss
    loss = lambda self, *inputs: plain(self, *inputs) * (1 + 1e-5)  # noqa: E731
    patch.setattr(nonsaturating.Objective, "g_loss", loss)


def other_rate(patch: pytest.MonkeyPatch) -> None:
    """The learning rate of one objective is larger by 1 in 100."""
    plain = build.make_recipe

    def recipe(cell: Any) -> Any:
        found = plain(cell)
        is_planted = cell.objective.name == "nonsaturating"
        return replace(found, lr=found.lr * 1.01) if is_planted else found

    patch.setattr(build, "make_recipe", recipe)


def other_samples(patch: pytest.MonkeyPatch) -> None:
    """The samples of one objective are larger by 1 in 1,000."""
    plain = Snapshot.sample

    def sample(self: Snapshot, *arguments: Any) -> Any:
        is_planted = self.cell.objective.name == "nonsaturating"
        return plain(self, *arguments) * (1.001 if is_planted else 1)

    patch.setattr(Snapshot, "sample", sample)


@pytest.mark.parametrize(
    ("plant", "place"),
    [
        (other_loss, "from step 1: g_loss"),
        # The critic has taken its first step with that rate
        (other_rate, "from step 1: g_loss"),
        (other_samples, "before the first step: "),
    ],
)
def test_a_planted_change_is_named_with_its_first_step_and_no_other_group(
    accepted: Path,
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
    plant: Planting,
    place: str,
) -> None:
    plant(monkeypatch)
    verdicts, _ = rerun(accepted, tmp_path)
    found = numbers(verdicts)
    mark, note = found["nonsaturating"]
    assert mark == "≠"
    assert note.startswith(f"numbers differ {place}")
    assert note.endswith("; 2 of 2 seeds differ")
    assert found["wgan"][0] == "+"
    assert exit_code(verdicts) == 0
    assert exit_code(verdicts, strict=True) == 1


def trace(values: dict[tuple[int, str], float], **fields: Any) -> Trace:
    """The trace of one seed."""
    facts: dict[str, Any] = {
        "training": "bb",
        "protocol": "aa",
        "origin": ORIGIN,
        "rounding": "images",
        "points": [Point(*point) for point in values],
        "seeds": {"0": np.array([*values.values()])},
    }
    return Trace("wgan", "dcgan", "digits", **(facts | fields))


def compared(old: Trace, new: Trace, before: float = 1.0, after: float = 1.0) -> Verdict:
    """The verdict of two traces whose final FID is `before` and `after`."""
    rows = []
    for value in (before, after):
        facts = {"metric": "fid_classifier_750", "protocol": "aa", "training": "bb"}
        group = {"objective": "wgan", "architecture": "dcgan", "dataset": "digits"}
        counts = {"unfinished": 0, "unmeasured": 0, "stale": 0}
        row: dict[str, Any] = {**group, **facts, **counts, "values": {"0": value}}
        rows.append(RerunRow(**row, untrained=None, executed="eager"))
    (verdict,) = compare_numbers([old], [new], baseline_rows(rows[:1]), rows[1:])
    return verdict


@pytest.mark.parametrize(
    ("before", "after", "mark"),
    [
        (1.0, 1.0, "+"),
        (1.0, 1.0 + 3e-7, "+"),  # the last of seven digits
        (1.0, 1.0 + 1e-5, "≠"),
        (np.nan, np.nan, "+"),
        (np.inf, np.inf, "+"),
        (np.nan, 1.0, "≠"),
        (1.0, np.inf, "≠"),
        (0.0, 0.0, "+"),
        (0.0, 1e-30, "≠"),
    ],
)
def test_numbers_that_must_be_equal(before: float, after: float, mark: str) -> None:
    names = (3, "d_grad_norm")
    assert compared(trace({names: before}), trace({names: after})).mark == mark


def test_a_loss_is_compared_relative_to_its_scores() -> None:
    """The difference of scores near 1 may be 1e-9, of which rounding leaves no digit."""
    scores = {(1, "d_real"): 1.0, (1, "d_fake"): 1.0}
    old, new = (trace({(1, "d_loss"): loss, **scores}) for loss in (1e-9, 2e-9))
    assert compared(old, new).mark == "+"
    assert compared(trace({(1, "d_loss"): 1e-9}), trace({(1, "d_loss"): 2e-9})).mark == "≠"


def test_final_metrics_that_alone_differ_are_named() -> None:
    same = trace({(1, "d_loss"): 1.0})
    assert compared(same, same).note == "equal numbers to the end: 1 seed"
    verdict = compared(same, same, 20.0, 21.0)
    expected = "numbers differ in the final metrics alone: fid_classifier_750 21 against 20 in "
    assert (verdict.mark, verdict.note.startswith(expected)) == ("≠", True)


@pytest.mark.parametrize(
    "origin",
    [
        Origin("Some CPU, AVX2, torch 2.14.1", "eager"),
        Origin("Some CPU, AVX512, torch 2.14.2", "eager"),
        Origin("Some CPU, AVX512, torch 2.14.1", "eager, 2 threads"),
        Origin(UNKNOWN, "eager"),
    ],
)
def test_on_another_machine_or_in_another_way_early_numbers_are_compared_up_to_rounding(
    origin: Origin,
) -> None:
    old = trace({(1, "d_loss"): 1.0, (2, "d_loss"): 1.0, (100, "d_loss"): 1.0})
    for size, mark in ((0.5, "+"), (2.0, "≠")):
        values = [1 + size * ROUNDING["images"][1], 1.0, 9.0]
        new = replace(old, origin=origin, seeds={"0": np.array(values)})
        # Neither step 100 nor the final FID is compared
        assert compared(old, new, 20.0, 30.0).mark == mark
        assert origins_differ([old], [new]) != ""
    close = replace(old, origin=origin)
    assert compared(old, close).note == "equal numbers up to rounding, as far as step 2: 1 seed"
    later = trace({(100, "d_loss"): 1.0})
    verdict = compared(later, replace(later, origin=origin))
    assert (verdict.mark, verdict.note) == ("?", "no number to compare on both sides")


@pytest.mark.parametrize(
    ("num_differing", "num_seeds", "mark"),
    [(1, 1, "≠"), (1, 2, "+"), (2, 2, "≠"), (3, 5, "+"), (4, 5, "≠"), (6, 25, "+"), (19, 25, "≠")],
)
def test_rounding_parts_few_seeds_early_and_a_change_most(
    num_differing: int, num_seeds: int, mark: str
) -> None:
    values = {str(seed): np.array([1.0]) for seed in range(num_seeds)}
    old = trace({(1, "d_loss"): 1.0}, seeds=values)
    other = values | {str(seed): np.array([2.0]) for seed in range(num_differing)}
    elsewhere = Origin("Some CPU, torch 2.14.1", "compiled, stack of 5")
    verdict = compared(old, replace(old, origin=elsewhere, seeds=other))
    assert verdict.mark == mark
    if mark == "+":
        assert verdict.note.endswith(f"{num_seeds} seeds, of which {num_differing} part earlier")
    # Executed in the same way, one seed is enough
    assert compared(old, replace(old, seeds=other)).mark == "≠"


@pytest.mark.parametrize(
    "origin",
    [
        Origin("Some GPU, CUDA 12.8, cuDNN 91000, torch 2.14.1", "graphed"),
        Origin("Some CPU, torch 2.14.1 + Other CPU, torch 2.14.1", "eager"),
        Origin("Some CPU, torch 2.14.1", "eager, stack of 5 + eager"),
        Origin(UNKNOWN, "eager"),
        Origin("Some CPU, torch 2.14.1", UNKNOWN),
    ],
)
def test_where_nothing_promises_equal_numbers_the_same_origin_is_no_proof(origin: Origin) -> None:
    old = trace({(1, "d_loss"): 1.0}, origin=origin)
    new = replace(old, seeds={"0": np.array([1 + 5e-6])})
    assert compared(old, new, 20.0, 21.0).mark == "+"
    assert "may differ by rounding" in origins_differ([old], [new])


def test_every_modality_has_a_profile_of_rounding() -> None:
    assert set(ROUNDING) == set(FUNCTIONS)
    for profile in ROUNDING.values():
        assert [*profile][:2] == [0, 1]
        after = [profile[step] for step in sorted(profile)][1:]
        # rounding grows with the steps of training
        assert after == sorted(after)


def test_rounding_below_float32_is_not_known() -> None:
    old = trace({(1, "d_loss"): 1.0}, rounding=UNKNOWN)
    assert compared(old, old).mark == "+"
    other = replace(old, origin=Origin("Other CPU", "eager"))
    assert compared(old, other).mark == "?"


def test_what_cannot_be_compared_is_no_pass_under_strict() -> None:
    one = trace({(1, "d_loss"): 1.0})
    seeds = replace(one, seeds={"7": np.array([1.0])})
    for other in (seeds, replace(one, training="cc")):
        verdict = compared(one, other)
        assert verdict.mark == "?"
        assert (exit_code([verdict]), exit_code([verdict], strict=True)) == (0, 2)
    (verdict,) = compare_numbers([], [one], [], [])
    assert "the baseline keeps no numbers of the first steps" in verdict.note
    assert exit_code([verdict], strict=True) == 2


def test_under_another_protocol_the_training_is_compared_alone() -> None:
    values = {(0, "fid_classifier_750"): 30.0, (1, "d_loss"): 1.0}
    other = trace(values | {(0, "fid_classifier_750"): 40.0}, protocol="cc")
    assert compared(trace(values), other, 20.0, 21.0).mark == "+"
    other = trace(values | {(1, "d_loss"): 2.0}, protocol="cc")
    assert compared(trace(values), other).mark == "≠"


def test_a_trace_comes_back_from_a_file_with_seven_digits(accepted: Path) -> None:
    path = accepted / "tiny.json"
    kept = check.read_baseline(path, "tiny").traces
    for one, other in zip(traces(load(accepted / "runs" / "tiny")), kept, strict=True):
        assert replace(one, seeds={}) == replace(other, seeds={})
        assert one.seeds.keys() == other.seeds.keys()
        for seed, values in one.seeds.items():
            np.testing.assert_allclose(other.seeds[seed], values, rtol=1e-6)
        steps = {point.step for point in one.points}
        assert {0, 1, 2, 3, 5, 10} <= steps
        again = plain(parsed(plain(one), 0))
        assert again == plain(one)
    # two groups of two seeds
    assert path.stat().st_size < 30_000


def test_a_baseline_of_an_older_version_is_read_without_its_numbers(
    accepted: Path, tmp_path: Path
) -> None:
    saved = json.loads((accepted / "tiny.json").read_text())
    del saved["traces"]
    write_json(tmp_path / "tiny.json", saved)
    verdicts, not_exact = check.compare(load(accepted / "runs" / "tiny"), "tiny", tmp_path)
    assert numbers(verdicts) == {
        "whole matrix": (
            "?",
            "the baseline keeps no numbers of the first steps: accept a new one",
        )
    }
    assert exit_code(verdicts) == 0
    assert not_exact == "no group has numbers on both sides"


def test_a_number_of_the_first_steps_that_was_changed_later_is_an_error(
    accepted: Path, tmp_path: Path
) -> None:
    folder = shutil.copytree(accepted / "runs" / "tiny", tmp_path / "tiny")
    (file, *_) = sorted(folder.glob("cells/*/first_steps.jsonl"))
    content = file.read_text()
    file.write_text(content.replace('"g_step": 5', '"g_step": 6'))
    with pytest.raises(UserError, match=r"first_steps\.jsonl"):
        check.compare(load(folder), "tiny", accepted)
    # Results of an older version have none
    for file in folder.glob("cells/*/first_steps.jsonl"):
        file.unlink()
    for status in folder.glob("cells/*/status.json"):
        files = json.loads(status.read_text())["files"]
        del files["first_steps.jsonl"]
        synthetic.edit(status, files=files)
    verdicts, _ = check.compare(load(folder), "tiny", accepted)
    assert {mark for mark, _ in numbers(verdicts).values()} == {"+"}


@pytest.mark.parametrize(
    ("damage", "said"),
    [
        (lambda saved: saved.update(traces=5), "no list of traces"),
        (lambda saved: saved["traces"].append(5), "no list of traces"),
        (lambda saved: saved["traces"][1].pop("arithmetic"), "arithmetic of trace 1"),
        (lambda saved: saved["traces"][0].update(points="x"), "numbers of trace 0"),
        (lambda saved: saved["traces"][0].update(seeds=[]), "protocol or seeds of trace 0"),
        (lambda saved: saved["traces"][0]["seeds"].update({"0": "1 2"}), "numbers of trace 0"),
        (lambda saved: saved["traces"][0]["seeds"].update({"0": 5}), "numbers of trace 0"),
        (lambda saved: saved["traces"][0]["seeds"].update({"x": "1"}), "numbers of trace 0"),
    ],
)
def test_a_damaged_trace_is_refused_in_one_line(
    accepted: Path, tmp_path: Path, damage: Callable[[Any], None], said: str
) -> None:
    saved = json.loads((accepted / "tiny.json").read_text())
    damage(saved)
    (tmp_path / "tiny.json").write_text(json.dumps(saved))
    with pytest.raises(UserError, match=said) as raised:
        check.read_baseline(tmp_path / "tiny.json", "tiny")
    assert "\n" not in str(raised.value)


@pytest.mark.parametrize(
    ("options", "changed", "code", "said"),
    [
        ([], True, 0, "not strict"),
        (["--strict"], True, 1, "(strict)"),
        (["--strict"], False, 0, "(strict)"),
        (["--strict-if-same"], True, 1, "machine, PyTorch and execution are those of the"),
    ],
)
def test_strict_makes_other_numbers_red(
    ganbench: Callable[..., Ended],
    accepted: Path,
    tmp_path: Path,
    options: list[str],
    changed: bool,
    code: int,
    said: str,
) -> None:
    saved = json.loads((accepted / "tiny.json").read_text())
    if changed:
        # Of the baseline: the first number of one seed
        line = saved["traces"][0]["seeds"]["1"].split(" ")
        saved["traces"][0]["seeds"]["1"] = " ".join(["9.5", *line[1:]])
    (tmp_path / "tiny.json").write_text(json.dumps(saved))
    places = ["--results", accepted / "runs", "--baselines", tmp_path]
    ended = ganbench("check", "--matrix", "tiny", *places, "--junit", tmp_path / "j.xml", *options)
    assert ended.code == code
    assert said in ended.out
    assert ("1 ≠" in ended.out) == changed
    assert ("<failure" in (tmp_path / "j.xml").read_text()) == (code == 1)


def test_strict_if_same_is_not_strict_elsewhere_and_says_why(
    ganbench: Callable[..., Ended], accepted: Path, tmp_path: Path
) -> None:
    saved = json.loads((accepted / "tiny.json").read_text())
    for kept in saved["traces"]:
        kept["arithmetic"] = "Other CPU"
        kept["seeds"] = {seed: "9 " * line.count(" ") + "9" for seed, line in kept["seeds"].items()}
    (tmp_path / "tiny.json").write_text(json.dumps(saved))
    places = ["--results", accepted / "runs", "--baselines", tmp_path]
    ended = ganbench("check", "--matrix", "tiny", *places, "--strict-if-same")
    assert ended.code == 0
    assert "of the baseline: Other CPU; ≠ is not red (not strict)" in ended.out
    assert ganbench("check", "--matrix", "tiny", *places, "--strict").code == 1
