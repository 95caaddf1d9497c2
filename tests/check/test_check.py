"""The gate: verdicts, bands, exit codes, what may never pass, how often unchanged code goes red."""

import json
from dataclasses import replace
from pathlib import Path
from xml.etree import ElementTree

import numpy as np
import pytest

from benchmark.analysis.tables import load
from benchmark.check import baseline as check
from benchmark.check import output
from benchmark.check import rule as gate
from benchmark.check.rows import (
    NUMBERS,
    BaselineRow,
    RerunRow,
    band,
    baseline_rows,
    of_seeds,
    useless,
)
from benchmark.check.verdict import Verdict, exit_code
from benchmark.errors import UserError
from benchmark.stats.mann_whitney import p_larger, shift_bound
from benchmark.store.files import write_json
from tests.helpers import synthetic

OBJECTIVES = ("minimax", "wgan", "wgan_gp")
# gated metrics; divergence, speed, memory of 6 groups; the divergence of the whole matrix
COMPARISONS = 3 * (4 + 3) + 3 * 2 * 3 + 1


def factor(seed):
    """30 seeds between 0.9 and 1.1: median 1, robust spread 0.075."""
    return 0.9 + 0.2 * (7 * seed % 30) / 29


def final(value):
    """A curve that ends at value(objective, metric) times the seed's factor."""
    return lambda objective, metric, seed, i: (
        value(objective, metric) * factor(seed) * (3 if i < 1 else 1)
    )


def flat(objective, metric):
    return {"swd_2k": 0.1, "fid_classifier_750": 24.0, "modes_covered_2k": 8.0}.get(metric, 0.5)


def write(folder, value=flat, **options):
    settings = {
        "objectives": OBJECTIVES,
        "evaluations": 2,
        "samples": False,
        "steps": 2,
        "curve": final(value),
    }
    return synthetic.write(folder, **settings | options)


@pytest.fixture(autouse=True)
def current_code(monkeypatch):
    # what synthetic cells were made with
    monkeypatch.setattr("benchmark.store.code.training_code", lambda cell: "c0de")


@pytest.fixture(scope="module")
def accepted(tmp_path_factory):
    """A baseline of 30 seeds, and what was said when it was accepted."""
    folder = tmp_path_factory.mktemp("baselines")
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr("benchmark.store.code.training_code", lambda cell: "c0de")
        patch.setattr(check, "BASELINES", folder)
        patch.setattr(gate, "RERUNS", 40)
        return check.accept(load(write(folder / "runs", seeds=range(30))), "quick")


@pytest.fixture(scope="module")
def loaded(tmp_path_factory):
    """Results of one seed."""
    return load(write(tmp_path_factory.mktemp("one"), seeds=range(1)))


@pytest.fixture
def baseline(accepted, tmp_path, monkeypatch):
    monkeypatch.setattr(check, "BASELINES", accepted[0].parent)
    return tmp_path


def verdicts(folder, name="quick"):
    found = check.compare(load(folder), name).verdicts
    # tests/check/test_numbers.py has those
    return [verdict for verdict in found if verdict.metric != NUMBERS]


def marks(found):
    return {(v.group.split(" / ")[0], v.metric): v.mark for v in found if v.mark != "+"}


def row(values, metric="fid_classifier_750", group="a", untrained=None):
    """A row of a rerun, of seeds 0, 1, …"""
    return RerunRow(
        **{"objective": group, "architecture": "dcgan", "dataset": "digits", "metric": metric},
        **{"protocol": "aa", "training": "bb", "untrained": untrained, "executed": ""},
        values={str(seed): value for seed, value in enumerate(values)},
        **{"unfinished": 0, "unmeasured": 0, "stale": 0},
    )


def old_row(values, band, **names):
    """A row of a baseline with a band of its own."""
    (accepted_row,) = baseline_rows([row(values, **names)])
    return replace(accepted_row, band=band)


def test_the_committed_baseline_is_read_and_rewritten_identically(tmp_path):
    path = check.IN_CHECKOUT / "quick.json"
    alarms = json.loads(path.read_text())["false_alarms"]
    baseline = check.read_baseline(path, "quick")
    write_json(tmp_path / "quick.json", check.baseline_file("quick", alarms, baseline))
    assert (tmp_path / "quick.json").read_bytes() == path.read_bytes()
    assert all(isinstance(row, BaselineRow) for row in baseline.rows)


def test_the_same_results_pass(baseline):
    found = verdicts(write(baseline / "now"))
    assert {v.mark for v in found} == {"+"}
    assert output.summary(found) == f"compared {COMPARISONS}/{COMPARISONS}: {COMPARISONS} +"
    assert exit_code(found) == 0


def test_other_and_fewer_seeds_than_the_baselines_are_compared(baseline):
    found = verdicts(write(baseline / "now", seeds=range(100, 107)))
    assert {v.mark for v in found} == {"+"}
    assert len(found) == COMPARISONS


@pytest.mark.parametrize("metric", ["relative speed", "relative memory"])
@pytest.mark.parametrize(
    ("before", "now"),
    [
        ("eager", "eager, stack of 5"),
        ("eager, 2 threads", "eager"),
        ("eager", "eager; eager, stack of 5"),
        ("not known", "compiled"),
    ],
)
def test_costs_of_cells_that_were_executed_in_another_way_are_not_judged(metric, before, now):
    old = baseline_rows([replace(row([1.0] * 25, metric), executed=before)])
    (verdict,) = gate.judge(old, [replace(row([9.0] * 5, metric), executed=now)])
    note = f"not gated: executed as {now}, in the baseline as {before}"
    assert (verdict.mark, verdict.note) == ("?", note)
    (verdict,) = gate.judge(old, [replace(row([9.0] * 5, metric), executed=before)])
    assert verdict.mark == "−"


def test_the_band_is_the_largest_of_absolute_relative_and_twice_the_spread():
    assert band("fid_classifier_750", [0.2] * 5) == 0.1  # absolute
    assert band("fid_classifier_750", [100.0] * 5) == pytest.approx(10.0)  # relative, 10 %
    wide = [10.0, 20.0, 30.0, 40.0, 50.0]  # median 30, MAD 10
    assert band("fid_classifier_750", wide) == pytest.approx(2 * 1.4826 * 10, rel=1e-4)
    assert band("relative speed", [2.0, 4.0, 6.0]) == pytest.approx(4.0)  # twice as slow


@pytest.mark.parametrize(("times", "mark"), [(1.1, None), (1.5, "−"), (0.5, None)])
def test_a_change_of_fid(baseline, times, mark):

    def changed(o, m):
        return flat(o, m) * (times if (o, m) == ("wgan_gp", "fid_classifier_750") else 1)

    found = verdicts(write(baseline / "now", changed))
    assert marks(found) == ({("wgan_gp", "fid_classifier_750"): mark} if mark else {})
    assert exit_code(found) == (1 if mark else 0)
    if times == 0.5:
        assert [v.note for v in found if v.note] == ["beyond the band on the good side, not tested"]


def test_direction_is_the_metrics(baseline):
    halved = ("wgan", "clipped_density_classifier_750")
    lower = lambda o, m: flat(o, m) * (0.5 if (o, m) == halved else 1)  # noqa: E731
    assert marks(verdicts(write(baseline / "now", lower))) == {halved: "−"}


def test_worse_but_not_separated_is_suspect(baseline):
    """Three seeds far worse, two far better: the median is beyond the band, the ranks do not tell
    the sides apart."""

    def curve(objective, metric, seed, i):
        if (objective, metric) == ("wgan", "swd_2k"):
            return (0.2, 0.2, 0.2, 0.01, 0.01)[seed]
        return final(flat)(objective, metric, seed, i)

    found = verdicts(write(baseline / "now", curve=curve))
    assert marks(found) == {("wgan", "swd_2k"): "~"}
    assert exit_code(found) == 0
    # 60 of 150 pairs in the wrong order: more than half of all 324,632 draws are no more extreme
    assert next(v.note for v in found if v.note).startswith("higher by 0.1, shift 0.09")


def test_separation_is_asked_over_the_whole_family():
    """5 values against 30, of whose 150 pairs 19 are in the wrong order: p = 0.00287 alone. One
    comparison of 6 may go red at that (0.02 / 6 = 0.0033), one of 7 may not (0.00286)."""
    was = old_row(range(30), band=5.0)
    now = row([10.5, 30, 31, 32, 33])
    assert p_larger([10.5, 30, 31, 32, 33], range(30)) == pytest.approx(0.002874, abs=1e-6)
    for others, mark in ((5, "−"), (6, "~")):
        same = [row([1.0] * 5, group=str(i)) for i in range(others)]
        found = gate.judge([was, *baseline_rows(same)], [now, *same])
        assert [v.mark for v in found] == [mark, *"+" * others]
        assert f"over {others + 1} comparisons" in found[0].note


def test_unchanged_code_rarely_goes_red_over_all_comparisons_together():
    """60 comparisons of noise without bands, 100 times: at 1 % each about half of the reruns would
    go red."""
    rng, red, each = np.random.default_rng(0), 0, 0
    for _ in range(100):
        old = [old_row(rng.normal(size=25), band=0.0, group=str(i)) for i in range(60)]
        found = gate.judge(old, [row(rng.normal(size=5), group=str(i)) for i in range(60)])
        red += exit_code(found)
        each += any(v.p is not None and v.p <= 0.01 for v in found)
    assert red <= 5 < 30 < each


def test_false_alarms_are_counted_over_reruns_of_the_baselines_own_seeds(monkeypatch):
    rng = np.random.default_rng(0)
    rows = [row(rng.normal(24, 4, 30), group=str(i)) for i in range(20)]
    monkeypatch.setattr(gate, "RERUNS", 100)
    assert gate.false_alarms(rows) == {"reruns": 100, "seeds": 5, "red": pytest.approx(1, abs=1)}
    monkeypatch.setattr(gate, "ALPHA", {"quality": 1.0})  # no test, the bands alone
    assert gate.false_alarms(rows)["red"] > 5
    assert gate.false_alarms(of_seeds(rows, {str(seed) for seed in range(24)})) is None


@pytest.mark.parametrize(("seeds", "mark"), [(1, "~"), (2, "~"), (3, "!"), (5, "!")])
def test_diverged_seeds_against_a_baseline_without_any(baseline, seeds, mark):
    """Fisher, one-sided: 1 of 5 against 0 of 30 has p = 5/35, 3 of 5 C(5,3)/C(35,3) = 0.0015, of 7
    comparisons."""
    now = write(
        baseline / "now", status={("minimax", "digits", seed): "diverged" for seed in range(seeds)}
    )
    found = verdicts(now)
    assert marks(found)["minimax", "diverged"] == mark
    assert exit_code(found) == (1 if mark == "!" else 0)
    (verdict,) = (
        v
        for v in found
        if v.metric == "diverged" and v.group.startswith("minimax") and v.mark != "+"
    )
    assert verdict.note.startswith(f"{seeds} of 5 seeds diverged, 0 of 30 in the baseline")
    if seeds == 1:
        assert verdict.p == pytest.approx(5 / 35)


@pytest.mark.parametrize(
    ("seeds", "mark", "p"), [((0, 1, 2, 3), "!", 31 / 324632), ((0, 0, 0, 0), "~", 5 / 35)]
)
def test_a_few_diverged_runs_here_and_there_are_seen_over_the_whole_matrix(
    baseline, seeds, mark, p
):
    """One in each of four groups. Of four seeds: of the C(35, 5) ways to draw five seeds, 31 have
    all four. Of one seed, whose weights they share: it is one of five."""
    places = [
        ("minimax", "digits"),
        ("wgan", "digits"),
        ("wgan_gp", "digits"),
        ("wgan", "gaussians8"),
    ]
    status = {(*place, seed): "diverged" for place, seed in zip(places, seeds, strict=True)}
    found = verdicts(write(baseline / "now", status=status))
    assert [(v.group, v.mark) for v in found if v.metric == "diverged" and v.mark in "!−"] == (
        [("whole matrix", "!")] if mark == "!" else []
    )
    assert (found[-1].group, found[-1].mark, found[-1].p) == (
        "whole matrix",
        mark,
        pytest.approx(p),
    )
    assert found[-1].note.startswith(
        "4 of 30 runs diverged, 0 of 180 in the baseline, counted by seed"
    )


def test_seeds_that_diverge_in_every_group_at_once_are_no_false_alarm():
    """Every seed diverges with chance 1/5, in all of its 10 groups or in none. By Fisher's test
    over the runs, as if they were independent, 15 of these 100 reruns would go red."""
    rng, red = np.random.default_rng(0), 0
    for _ in range(100):
        was, now = (rng.random(n) < 0.2 for n in (25, 5))
        old, new = (
            [row(list(side.astype(float)), "diverged", str(i)) for i in range(10)]
            for side in (was, now)
        )
        red += gate.judge(baseline_rows(old), new)[-1].mark == "!"
    assert red <= 3


@pytest.mark.parametrize("now", [0.0, 0.4, 0.6])
def test_a_group_that_diverged_as_often_before_is_no_change(now):
    was = baseline_rows([row([1.0] * 18 + [0.0] * 12, "diverged")])
    num_diverged = round(5 * now)
    values = [1.0] * num_diverged + [0.0] * (5 - num_diverged)
    (found,) = gate.judge(was, [row(values, "diverged")])
    assert found.mark == "+"


def test_where_no_seed_finished_there_is_no_value_to_compare():
    old = baseline_rows([row([None] * 30), row([None] * 30, group="b"), row(range(30), group="c")])
    new = [row([None] * 5), row([1.0] * 5, group="b"), row([None] * 5, group="c")]
    assert [(v.mark, v.note, v.p) for v in gate.judge(old, new)] == [
        ("+", "every seed diverged, as in the baseline", None),
        ("+", "every seed of the baseline diverged: nothing to test", None),
        ("~", "every seed diverged: nothing to test", None),
    ]


def test_the_interval_is_given_at_the_level_at_which_holms_correction_stopped():
    """Two groups 10 and 2 higher than 0 … 24, a third the same: the first is separated; the
    interval of the second is at 0.02 / 2 and holds zero. A metric of which less is worse has its
    bound above."""
    was = [old_row(range(25), band=1.0, group=name) for name in "abc"]
    now = [
        row(np.arange(5) + shift, group=name)
        for name, shift in zip("abc", (30, 14, 10), strict=True)
    ]
    first, second, third = gate.judge(was, now)
    assert [first.mark, second.mark, third.mark] == ["−", "~", "+"]
    for verdict, shift in ((first, 30), (second, 14)):
        bound = shift_bound(np.arange(5) + shift, np.arange(25), 0.02 / 2)
        assert (bound > 0) == (verdict is first)
        assert f"higher by {shift - 10}, shift {shift - 10} [{bound:.3g}, ∞] (p = " in verdict.note
    density = "clipped_density_classifier_750"
    fell = gate.judge(
        [old_row(range(25), band=0.1, metric=density)], [row(np.arange(5) - 20, density)]
    )
    assert fell[0].note.startswith("lower by 30, shift -30 [-∞, -")


def test_speed_and_memory_are_gated_as_ratios_to_the_reference_workload(baseline):
    """A machine half as fast is no regression, nor is a step 1.8 x as long; 2.2 x is, and 1.3 x the
    memory."""

    def cost(name, seconds, reference, memory):
        """wgan's seconds and memory, and the reference workload, in those of the baseline."""
        larger = {"peak_memory_mb": 300.0 * memory}
        return verdicts(
            write(
                baseline / name,
                seconds={"wgan": 2.0 * seconds},
                reference_ms=20.0 * reference,
                fields=lambda objective, seed: larger if objective == "wgan" else {},
            )
        )

    assert marks(cost("slow", 2, 2, 1)) == {}
    assert marks(cost("a little", 1.8, 1, 1.2)) == {}
    assert marks(cost("slower", 2.2, 1, 1)) == {("wgan", "relative speed"): "−"}
    found = cost("larger", 1, 1, 1.3)
    assert marks(found) == {("wgan", "relative memory"): "−"}
    assert exit_code(found) == 1
    # A generator step of 20 ms, the reference workload of 20 ms
    workloads = [v.baseline for v in found if v.metric == "relative speed"]
    assert workloads == pytest.approx([1.0] * len(workloads))


def test_cost_without_a_reference_workload_on_one_side_is_not_gated_and_says_so(baseline):
    found = verdicts(write(baseline / "older", older=True))
    assert {v.metric for v in found if v.mark == "?"} == {"relative speed", "relative memory"}
    assert {v.note for v in found if v.mark == "?"} == {
        "not gated: not measured against a reference workload in the results"
    }
    assert exit_code(found) == 0


def test_a_cost_that_neither_side_has_is_left_out():
    old = baseline_rows(
        [row(range(25)), row([None] * 25, "relative memory"), row([1.0] * 25, "relative speed")]
    )
    new = [row(range(5)), row([None] * 5, "relative memory"), row([1.0] * 5, "relative speed")]
    assert [v.metric for v in gate.judge(old, new)] == ["fid_classifier_750", "relative speed"]
    (lacking,) = (v for v in gate.judge(old, new[:2]) if v.mark == "x")
    assert (lacking.metric, lacking.note) == ("relative speed", "not in the results")


def test_a_baseline_of_few_seeds_says_what_it_can_reach(tmp_path, monkeypatch):
    """Five against five: 1/252 at best, 21 quality comparisons: 0.083. Speed and memory of 6
    groups: 0.048."""
    monkeypatch.setattr(check, "BASELINES", tmp_path / "baselines")
    _, notes = check.accept(load(write(tmp_path / "accepted")), "quick")
    assert notes == ["5 seeds: too few to estimate false alarms and to tell small changes; 25 can"]
    changed = lambda o, m: flat(o, m) * (3 if (o, m) == ("wgan", "swd_2k") else 1)  # noqa: E731
    found = verdicts(write(tmp_path / "now", changed))
    assert marks(found) == {("wgan", "swd_2k"): "~"}
    assert "0.083 at best with so few seeds" in next(v.note for v in found if v.note)
    assert output.limits(found) == [
        "quality cannot go red with 5 seeds against 5: lowest p 0.083 over 21 comparisons",
        "divergence cannot go red with 5 seeds against 5: lowest p 0.028 over 7 comparisons",
        "cost cannot go red with 5 seeds against 5: lowest p 0.048 over 12 comparisons",
    ]
    assert output.limits(found)[0] in output.to_markdown(found, output.limits(found))
    assert exit_code(found) == 0


def test_many_seeds_have_no_such_limits(baseline):
    assert output.limits(verdicts(write(baseline / "now"))) == []


@pytest.mark.parametrize(
    ("metric", "values", "untrained", "is_useless"),
    [
        ("fid_classifier_750", [10.0, 12.0, 14.0], 33.0, False),  # band 5.9
        ("fid_classifier_750", [10.0, 20.0, 30.0], 33.0, True),  # band 29.7: 49.7 > 33
        ("fid_classifier_750", [10.0, 20.0, 30.0], None, False),  # nothing is known of no skill
        ("modes_covered_2k", [0.0, 1.0, 2.0], None, True),  # 1 − 3.0 < 0
        ("modes_covered_2k", [7.0, 8.0, 8.0], 0.0, False),
        # the untrained one does nearly as well
        ("clipped_density_classifier_750", [0.3, 0.31, 0.32], 0.29, True),
    ],
)
def test_a_band_that_reaches_the_untrained_generator_sees_nothing(
    metric, values, untrained, is_useless
):
    now = row(values, metric, untrained=untrained)
    old = baseline_rows([now])
    assert bool(useless(old[0])) is is_useless
    (found,) = gate.judge(old, [now])
    assert found.mark == ("?" if is_useless else "+")
    assert found.note.startswith("cannot see: the band" if is_useless else "")
    assert exit_code([found]) == 0


def test_useless_metrics_are_named_when_accepted(tmp_path, monkeypatch):
    monkeypatch.setattr(check, "BASELINES", tmp_path)
    modes = ("wgan", "modes_covered_2k")  # 0 to 4, the median 2
    curve = lambda o, m, seed, i: float(seed) if (o, m) == modes else final(flat)(o, m, seed, i)  # noqa: E731
    _, notes = check.accept(load(write(tmp_path / "runs", curve=curve)), "quick")
    assert [note for note in notes if "useless" in note] == [
        "useless as a gate: wgan / mlp / gaussians8 modes_covered_2k: "
        "the band 2.97 around 2 reaches the untrained generator's 0"
    ]


@pytest.mark.parametrize("status", ["missing", "error", "interrupted", "running"])
def test_an_unfinished_group_is_never_a_pass(baseline, status):
    found = verdicts(write(baseline / "now", status={("minimax", "digits", 3): status}))
    assert set(marks(found).values()) == {"x"}
    assert exit_code(found) == 2


def test_a_group_missing_from_either_side_is_never_a_pass(baseline):
    fewer = verdicts(write(baseline / "fewer", objectives=OBJECTIVES[:-1]))
    assert exit_code(fewer) == 2
    assert {v.note for v in fewer if v.mark == "x"} == {"not in the results"}
    more = verdicts(write(baseline / "more", objectives=[*OBJECTIVES, "hinge"]))
    assert exit_code(more) == 2
    assert {v.note for v in more if v.mark == "x"} == {"not in the baseline"}
    assert (
        output.summary(more) == f"compared {COMPARISONS}/{COMPARISONS + 13}: {COMPARISONS} +, 13 x"
    )


def broken(value, seeds=(2,)):
    return lambda o, m, seed, i: (
        value if (o, m) == ("wgan", "swd_2k") and seed in seeds else final(flat)(o, m, seed, i)
    )


@pytest.mark.parametrize("value", [float("nan"), float("inf")])
def test_a_metric_that_is_no_number_in_a_finished_run_is_never_a_pass_nor_a_baseline(
    baseline, monkeypatch, value
):
    now = write(baseline / "now", curve=broken(value))
    found = verdicts(now)
    assert marks(found) == {("wgan", "swd_2k"): "x"}
    assert [v.note for v in found if v.note] == ["1 of 5 seeds finished without a value"]
    assert exit_code(found) == 2
    monkeypatch.setattr(check, "BASELINES", baseline / "baselines")
    with pytest.raises(
        UserError, match="wgan / mlp / gaussians8 swd_2k: 1 of 5 seeds finished without a value"
    ):
        check.accept(load(now), "quick")
    assert not (baseline / "baselines").exists()


def test_results_without_any_value_to_gate_do_not_replace_a_baseline(tmp_path, monkeypatch):
    monkeypatch.setattr(check, "BASELINES", tmp_path / "baselines")
    few = {"objectives": ["wgan"], "seeds": range(2)}
    unmeasured = load(write(tmp_path / "runs", **few))
    path, _ = check.accept(unmeasured, "quick")
    before = path.read_text()
    status = {
        ("wgan", dataset, seed): "diverged"
        for dataset in ("digits", "gaussians8")
        for seed in range(2)
    }
    with pytest.raises(UserError, match="the results have no value of a metric to gate"):
        check.accept(load(write(tmp_path / "diverged", status=status, **few)), "quick")
    unmeasured.evals = unmeasured.evals[unmeasured.evals["metric"].str.endswith("_2k")]
    with pytest.raises(UserError, match="the results of wgan / dcgan / digits have no value"):
        check.accept(unmeasured, "quick")
    assert path.read_text() == before


def test_a_group_that_always_diverges_is_accepted_and_named_and_what_is_replaced(
    tmp_path, monkeypatch
):
    monkeypatch.setattr(check, "BASELINES", tmp_path / "baselines")
    check.accept(load(write(tmp_path / "runs", objectives=["wgan"], seeds=range(3))), "quick")
    status = {("minimax", "digits", seed): "diverged" for seed in range(2)}
    found = load(
        write(tmp_path / "next", objectives=["minimax", "wgan"], seeds=range(2), status=status)
    )
    path, notes = check.accept(found, "quick")
    assert notes[:2] == [
        "replaces a baseline of 3 seeds",
        "every seed diverged: minimax / dcgan / digits: its divergence alone is gated",
    ]
    path.write_text("[5]")
    _, notes = check.accept(found, "quick")
    assert notes[0] == "replaces a file that is not a baseline of this version"
    assert exit_code(check.compare(found, "quick").verdicts) == 0


def without(field):
    return lambda saved: [group.pop(field) for group in saved["groups"]]


@pytest.mark.parametrize(
    ("damage", "said"),
    [
        (lambda saved: saved.update(matrix="full"), "matrix 'full'"),
        (lambda saved: saved.pop("groups"), "no list of groups"),
        (lambda saved: saved.update(groups=[]), "a group without a metric"),
        (lambda saved: saved.update(groups=[5]), "no list of groups"),
        (lambda saved: saved.update(schema=99), "has schema 99"),
        (without("untrained"), "untrained of group 0"),
        (without("values"), "values of group 0"),
        (lambda saved: saved["groups"][0].update(values={}), "values of group 0"),
        (
            lambda saved: saved["groups"][0].update(values={"0": "high"}),
            "a value of group 0 is not a number",
        ),
        (
            lambda saved: saved["groups"][0].update(band=float("nan")),
            "a value of group 0 is not a number",
        ),
        (lambda saved: saved["groups"][0].update(band=None), "band of group 0"),
        (lambda saved: saved["groups"][0].update(metric="fud"), "unknown metric 'fud'"),
        (lambda saved: saved["groups"].append(saved["groups"][0]), "a group occurs twice"),
        (
            lambda saved: saved.update(
                groups=[g for g in saved["groups"] if g["metric"] != "diverged"]
            ),
            "a group without a metric, or without its divergence",
        ),
    ],
)
def test_a_file_that_is_not_a_baseline_is_refused_in_one_line(
    accepted, loaded, tmp_path, monkeypatch, damage, said
):
    saved, path = json.loads(accepted[0].read_text()), tmp_path / "quick.json"
    damage(saved)
    path.write_text(json.dumps(saved))
    monkeypatch.setattr(check, "BASELINES", tmp_path)
    with pytest.raises(UserError) as raised:
        check.compare(loaded, "quick")
    text = str(raised.value)
    assert text.startswith(f"{path} is not a baseline of this version (")
    assert text.endswith("): make one with ganbench accept")
    assert said in text
    assert "\n" not in text


@pytest.mark.parametrize("content", ["[5]", "", "not JSON"])
def test_nor_is_what_is_not_a_table(loaded, tmp_path, monkeypatch, content):
    monkeypatch.setattr(check, "BASELINES", tmp_path)
    (tmp_path / "quick.json").write_text(content)
    with pytest.raises(UserError, match="is not a baseline of this version"):
        check.compare(loaded, "quick")


def test_another_protocol_is_refused_by_name(baseline):
    now = write(baseline / "now", protocol={("digits", seed): "bbbbbbbb" for seed in range(5)})
    found = verdicts(now)
    assert exit_code(found) == 2
    assert {v.note for v in found if v.mark == "x"} == {"protocol bbbbbbbb against aaaaaaaa"}


def test_stale_results_are_neither_a_pass_nor_a_baseline(baseline, monkeypatch):
    now = write(baseline / "now")
    monkeypatch.setattr("benchmark.store.code.training_code", lambda cell: "edited")
    found = verdicts(now)
    assert exit_code(found) == 2
    assert {v.note for v in found} == {"5 of 5 seeds stale: run with --force"}
    with pytest.raises(UserError, match="other code"):
        check.accept(load(now), "quick")


def test_other_training_options_are_refused(baseline):
    now = write(baseline / "now")
    matrix = json.loads((now / "matrix.json").read_text())
    for cell in matrix["cells"]:
        if cell["dataset"] == "digits":
            cell["spec"]["training"]["steps"] = 200
    synthetic.edit(now / "matrix.json", cells=matrix["cells"])
    found = verdicts(now)
    assert {v.note for v in found if v.mark == "x"} == {
        "other training options than the baseline's"
    }
    assert exit_code(found) == 2


def test_nothing_to_compare_is_not_a_pass():
    assert exit_code([]) == 2


def test_no_baseline_names_those_there_are(baseline):
    with pytest.raises(UserError, match=r"no baseline for matrix 'qick' in .*; there are: quick"):
        verdicts(write(baseline / "now"), "qick")


@pytest.mark.parametrize("there", ["a file in the folder's place", "a folder in the file's place"])
def test_a_baseline_that_cannot_be_written_or_read_is_one_line(
    ganbench, tmp_path, monkeypatch, there
):
    monkeypatch.setattr(check, "BASELINES", tmp_path / "baselines")
    write(tmp_path / "runs/quick", objectives=["wgan"], seeds=range(2))
    if there.startswith("a folder"):
        (tmp_path / "baselines/quick.json").mkdir(parents=True)
    else:
        (tmp_path / "baselines").write_text("")
    for verb in ("accept", "check"):
        ended = ganbench(verb, "--matrix", "quick", "--results", tmp_path / "runs")
        assert (ended.code, ended.out, ended.err.count("\n")) == (2, "", 1)
        assert ended.err.startswith("ganbench: ")
    assert [path.name for path in tmp_path.rglob("*.json*") if "runs" not in path.parts] == (
        ["quick.json"] if there.startswith("a folder") else []
    )


def test_incomplete_results_are_not_accepted(tmp_path, monkeypatch):
    monkeypatch.setattr(check, "BASELINES", tmp_path / "baselines")
    folder = write(tmp_path / "now", status={("minimax", "digits", 3): "missing"})
    with pytest.raises(UserError, match="incomplete"):
        check.accept(load(folder), "quick")
    assert not (tmp_path / "baselines").exists()


def test_a_baseline_holds_values_per_seed_bands_and_its_false_alarms(accepted):
    path, notes = accepted
    saved = json.loads(path.read_text())
    group = next(
        g
        for g in saved["groups"]
        if (g["objective"], g["metric"]) == ("wgan_gp", "fid_classifier_750")
    )
    assert group["values"] == pytest.approx({str(seed): 24 * factor(seed) for seed in range(30)})
    # 7.5 of the steps of 0.2 / 29
    assert group["band"] == pytest.approx(2 * 24 * 1.4826 * 0.05172, rel=1e-3)
    assert group["protocol"] == "aaaaaaaa"
    assert saved["false_alarms"] == {"reruns": 40, "seeds": 5, "red": 0}
    assert notes == ["false alarms: 0 of 40 reruns of unchanged code go red"]


def test_reports_for_ci(baseline, tmp_path):
    changed = lambda o, m: flat(o, m) * (2 if o == "wgan_gp" else 1)  # noqa: E731
    found = verdicts(write(baseline / "now", changed))
    text = output.to_markdown(found)
    assert f"compared {COMPARISONS}/{COMPARISONS}" in text
    assert text.index("| − | wgan_gp") < text.index("| + | minimax")
    output.write_junit(found, tmp_path / "check.xml")
    suite = ElementTree.parse(tmp_path / "check.xml").getroot()
    failed = [case for case in suite if case.find("failure") is not None]
    assert suite.get("tests") == str(COMPARISONS)
    assert (
        suite.get("failures") == str(len(failed)) == str(sum(v.mark == "−" for v in found)) != "0"
    )


def test_names_are_text_in_markdown_never_markup():
    found = [
        Verdict(
            "a|b<script>x</script> & `c` \\\nd",
            "fid_classifier_750",
            "x",
            note="not in\nthe results",
        )
    ]
    line = output.to_markdown(found).splitlines()[-1]
    assert line == (
        "| x | a\\|b&lt;script&gt;x&lt;/script&gt; &amp; \\`c\\` \\\\ d | fid_classifier_750 "
        "|  |  |  | not in the results |"
    )


def test_the_working_directory_comes_before_the_shipped_baselines(ganbench, tmp_path, monkeypatch):
    """As with an installed wheel: nothing is written beside the code."""
    monkeypatch.chdir(tmp_path)
    write(tmp_path / "results/runs/quick", seeds=range(2))
    shipped = (check.IN_CHECKOUT / "quick.json").read_bytes()
    assert check.find("quick").read_bytes() == shipped
    assert f"compared with the shipped one, {check.IN_CHECKOUT}" in ganbench("check").err
    ended = ganbench("accept")
    assert (ended.code, ended.out) == (0, "results/baselines/quick.json\n")
    assert check.find("quick") == Path("results/baselines/quick.json")
    ended = ganbench("check")
    assert (ended.code, ended.err) == (0, "")
    assert (check.IN_CHECKOUT / "quick.json").read_bytes() == shipped


def test_a_folder_of_baselines_can_be_named(ganbench, tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    write(tmp_path / "results/runs/quick", seeds=range(2))
    ended = ganbench("check", "--baselines", "mine")
    assert (ended.code, ended.err.count("\n")) == (2, 1), "the shipped one does not stand in"
    assert "no baseline for matrix 'quick' in mine; there are: none" in ended.err
    assert ganbench("accept", "--baselines", "mine").out == "mine/quick.json\n"
    monkeypatch.setenv("GANBENCH_BASELINES", str(tmp_path / "mine"))
    assert ganbench("check").code == 0


def test_another_matrix_does_not_replace_a_shipped_baseline(ganbench, tmp_path, monkeypatch):
    monkeypatch.setattr(check, "IN_CHECKOUT", tmp_path / "results/baselines")
    monkeypatch.chdir(tmp_path)
    write(tmp_path / "results/runs/quick", seeds=range(2))
    ended = ganbench("accept")
    assert (ended.code, ended.out, ended.err.count("\n")) == (2, "", 1)
    assert "the results are not of the shipped matrix quick" in ended.err
    assert not (tmp_path / "results/baselines").exists()


@pytest.mark.parametrize(
    ("marks", "strict", "text"),
    [
        ("++", False, "NO REGRESSION: nothing is shown to be worse than in the baseline."),
        ("+~?", False, "; 1 suspect, but not separated from it by the seeds; 1 cannot be seen."),
        ("+−−!", False, "REGRESSION: 2 comparisons worse and 1 group diverging more than in the"),
        ("+≠", False, "NO REGRESSION"),
        ("+≠", True, "REGRESSION: 1 group with other numbers than in the baseline."),
        ("+x", False, "COULD NOT COMPARE: 1 of 2 comparisons cannot be made: why."),
        ("x−", False, "cannot be made: why; and a regression: 1 comparison worse."),
        ("", False, "COULD NOT COMPARE: nothing to compare."),
    ],
)
def test_the_verdict_in_words_agrees_with_the_exit_code(marks, strict, text):
    found = [
        Verdict(f"g{i}", NUMBERS if mark == "≠" else "swd_2k", mark, note="why" * (mark == "x"))
        for i, mark in enumerate(marks)
    ]
    sentence = output.headline(found, strict)
    assert text in sentence
    word = ["NO REGRESSION", "REGRESSION", "COULD NOT COMPARE"][exit_code(found, strict)]
    assert sentence.startswith(f"{word}: ")
    assert output.to_markdown(found, strict=strict).splitlines()[2] == sentence


def test_what_is_fine_is_hidden_and_what_cannot_be_compared_is_joined(ganbench, tmp_path):
    found = [
        Verdict("a", "swd_2k", "+"),
        Verdict("a", "diverged", "x", note="stale"),
        Verdict("a", "tail_2k", "x", note="stale"),
        Verdict("a", "w1_2k", "x", note="no value"),
        Verdict("b", "swd_2k", "−", 1.0, 2.0),
    ]
    shown = [(v.mark, v.group, v.metric, v.note) for v in output.failing(found)]
    assert shown == [
        ("x", "a", "2 metrics", "stale"),
        ("x", "a", "w1_2k", "no value"),
        ("−", "b", "swd_2k", ""),
    ]


def test_all_of_stale_results_repeats_no_row(ganbench, tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    write(tmp_path / "results/runs/quick")
    assert ganbench("accept").code == 0
    monkeypatch.setattr("benchmark.store.code.training_code", lambda cell: "edited")
    ended = ganbench("check", "--all")
    assert ended.code == 2
    table = [line.split("│") for line in ended.out.splitlines() if "│" in line]
    rows = [row for row in table if "stale: run with --force" in row[-2]]
    groups = {row[2] for row in rows}
    assert len(groups) == len(rows) > 0
    assert all("metrics" in row[3] for row in rows)


def test_check_prints_its_verdict_first_and_what_is_fine_on_request(
    ganbench, tmp_path, monkeypatch
):
    monkeypatch.chdir(tmp_path)
    write(tmp_path / "results/runs/quick", seeds=range(2))
    assert ganbench("accept").code == 0
    ended = ganbench("check")
    first, second, *_, last = ended.out.splitlines()
    assert first.startswith("NO REGRESSION: ")
    assert second.startswith("compared ")
    assert last.endswith("+ (not worse): --all shows every comparison")
    assert "swd_2k" not in ended.out
    ended = ganbench("check", "--all")
    assert "swd_2k" in ended.out
    assert ended.out.splitlines()[-1] == output.LEGEND
