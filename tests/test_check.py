"""The regression check: verdicts, bands, exit codes, what may never pass, and how often unchanged code goes red."""

import json
from xml.etree import ElementTree

import numpy as np
import pytest
from scipy.stats import mannwhitneyu

from benchmark import UserError, check, gate
from benchmark.tables import load
from tests import synthetic

OBJECTIVES = ("minimax", "wgan", "wgan_gp")
COMPARISONS = (
    3 * (4 + 3) + 3 * 2 * 3 + 1
)  # gated metrics; divergence, speed, memory of 6 groups; the whole's divergence


def factor(seed):
    """30 seeds between 0.9 and 1.1: median 1, robust spread 0.075."""
    return 0.9 + 0.2 * (7 * seed % 30) / 29


def final(value):
    """A curve that ends at value(objective, metric) times the seed's factor."""
    return lambda objective, metric, seed, i: value(objective, metric) * factor(seed) * (3 if i < 1 else 1)


def flat(objective, metric):
    return {"swd_2k": 0.1, "fid_classifier_750": 24.0, "modes_covered_2k": 8.0}.get(metric, 0.5)


def write(folder, value=flat, **options):
    settings = {"objectives": OBJECTIVES, "evaluations": 2, "samples": False, "steps": 2, "curve": final(value)}
    return synthetic.write(folder, **settings | options)


@pytest.fixture(autouse=True)
def current_code(monkeypatch):
    monkeypatch.setattr("benchmark.tables.code_hash", lambda cell: "c0de")  # what synthetic cells were made with


@pytest.fixture(scope="module")
def accepted(tmp_path_factory):
    """A baseline of 30 seeds, and what was said when it was accepted."""
    folder = tmp_path_factory.mktemp("baselines")
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr("benchmark.tables.code_hash", lambda cell: "c0de")
        patch.setattr(check, "BASELINES", folder)
        patch.setattr(gate, "RERUNS", 40)
        return check.accept(load(write(folder / "runs", seeds=range(30))), "quick")


@pytest.fixture
def baseline(accepted, tmp_path, monkeypatch):
    monkeypatch.setattr(check, "BASELINES", accepted[0].parent)
    return tmp_path


def verdicts(folder, name="quick"):
    return check.compare(load(folder), name)


def marks(found):
    return {(v.group.split(" / ")[0], v.metric): v.mark for v in found if v.mark != "+"}


def row(values, metric="fid_classifier_750", group="a", **more):
    """A row of a rerun."""
    axes = {"objective": group, "architecture": "dcgan", "dataset": "digits", "metric": metric}
    fixed = {"protocol": "aa", "training": "bb", "untrained": None, "unfinished": 0, "unmeasured": 0, "stale": 0}
    return axes | fixed | {"values": {str(seed): value for seed, value in enumerate(values)}} | more


def test_the_same_results_pass(baseline):
    found = verdicts(write(baseline / "now"))
    assert {v.mark for v in found} == {"+"}
    assert check.summary(found) == f"compared {COMPARISONS}/{COMPARISONS}: {COMPARISONS} +"
    assert check.exit_code(found) == 0


def test_other_and_fewer_seeds_than_the_baselines_are_compared(baseline):
    found = verdicts(write(baseline / "now", seeds=range(100, 107)))
    assert {v.mark for v in found} == {"+"}
    assert len(found) == COMPARISONS


def test_the_band_is_the_largest_of_absolute_relative_and_twice_the_spread():
    assert gate.band("fid_classifier_750", [0.2] * 5) == 0.1  # absolute
    assert gate.band("fid_classifier_750", [100.0] * 5) == pytest.approx(10.0)  # relative, 10 %
    wide = [10.0, 20.0, 30.0, 40.0, 50.0]  # median 30, MAD 10
    assert gate.band("fid_classifier_750", wide) == pytest.approx(2 * 1.4826 * 10, rel=1e-4)
    assert gate.band("relative speed", [2.0, 4.0, 6.0]) == pytest.approx(4.0)  # twice as slow


@pytest.mark.parametrize(("times", "mark"), [(1.1, None), (1.5, "−"), (0.5, None)])
def test_a_change_of_fid(baseline, times, mark):
    changed = lambda o, m: flat(o, m) * (times if (o, m) == ("wgan_gp", "fid_classifier_750") else 1)  # noqa: E731
    found = verdicts(write(baseline / "now", changed))
    assert marks(found) == ({("wgan_gp", "fid_classifier_750"): mark} if mark else {})
    assert check.exit_code(found) == (1 if mark else 0)
    if times == 0.5:
        assert [v.note for v in found if v.note] == ["better beyond the band"]


def test_direction_is_the_metrics(baseline):
    lower = lambda o, m: flat(o, m) * (0.5 if (o, m) == ("wgan", "precision_classifier_750") else 1)  # noqa: E731
    assert marks(verdicts(write(baseline / "now", lower))) == {("wgan", "precision_classifier_750"): "−"}


def test_worse_but_not_separated_is_suspect(baseline):
    """Three seeds far worse, two far better: the median is beyond the band, the ranks do not tell the sides apart."""

    def curve(objective, metric, seed, i):
        if (objective, metric) == ("wgan", "swd_2k"):
            return (0.2, 0.2, 0.2, 0.01, 0.01)[seed]
        return final(flat)(objective, metric, seed, i)

    found = verdicts(write(baseline / "now", curve=curve))
    assert marks(found) == {("wgan", "swd_2k"): "~"}
    assert check.exit_code(found) == 0
    # 60 of 150 pairs in the wrong order: more than half of all 324,632 draws are no more extreme
    assert next(v.note for v in found if v.note).startswith("worse by 0.1, shift 0.0")


def test_separation_is_asked_over_the_whole_family():
    """5 values against 30, of whose 150 pairs 19 are in the wrong order: p = 0.00287 alone. One comparison
    of 6 may go red at that (0.02 / 6 = 0.0033), one of 7 may not (0.00286)."""
    was = row(range(30), band=5.0)
    now = row([10.5, 30, 31, 32, 33])
    assert gate.p_larger([10.5, 30, 31, 32, 33], range(30)) == pytest.approx(0.002874, abs=1e-6)
    for others, mark in ((5, "−"), (6, "~")):
        same = [row([1.0] * 5, group=str(i)) for i in range(others)]
        found = gate.judge([was, *gate.baseline(same)], [now, *same])
        assert [v.mark for v in found] == [mark, *"+" * others]
        assert f"over {others + 1} comparisons" in found[0].note


def test_unchanged_code_rarely_goes_red_over_all_comparisons_together():
    """60 comparisons of noise without bands, 100 times: at 1 % each about half of the reruns would go red."""
    rng, red, each = np.random.default_rng(0), 0, 0
    for _ in range(100):
        old = [row(rng.normal(size=25), group=str(i), band=0.0) for i in range(60)]
        found = gate.judge(old, [row(rng.normal(size=5), group=str(i)) for i in range(60)])
        red += gate.exit_code(found)
        each += any(v.p <= 0.01 for v in found)
    assert red <= 5 < 30 < each


def test_false_alarms_are_counted_over_reruns_of_the_baselines_own_seeds(monkeypatch):
    rng = np.random.default_rng(0)
    rows = [row(rng.normal(24, 4, 30), group=str(i)) for i in range(20)]
    monkeypatch.setattr(gate, "RERUNS", 100)
    assert gate.false_alarms(rows) == {"reruns": 100, "seeds": 5, "red": pytest.approx(1, abs=1)}
    monkeypatch.setattr(gate, "ALPHA", {"quality": 1.0})  # no test, the bands alone
    assert gate.false_alarms(rows)["red"] > 5
    assert gate.false_alarms(gate.of_seeds(rows, {str(seed) for seed in range(24)})) is None


def test_the_exact_p_is_scipys_and_right_with_ties():
    rng = np.random.default_rng(0)
    for n, m in ((5, 30), (4, 4), (1, 9), (12, 11)):
        x, y = rng.normal(0.5, 1, n), rng.normal(0, 1, m)
        expected = mannwhitneyu(x, y, alternative="greater", method="exact").pvalue
        assert gate.p_larger(x, y) == pytest.approx(expected, rel=1e-9)
    # ranks 3 3 | 3 1: of the six pairs three sum to 6
    assert gate.p_larger([1, 1], [1, 0]) == pytest.approx(1 / 2)
    # six 7s among 35 values, five of them drawn: C(6, 5) of C(35, 5)
    assert gate.p_larger([-7] * 5, [-8] * 29 + [-7]) == pytest.approx(6 / 324632)


@pytest.mark.parametrize(("seeds", "mark"), [(1, "~"), (2, "~"), (3, "!"), (5, "!")])
def test_diverged_seeds_against_a_baseline_without_any(baseline, seeds, mark):
    """Fisher, one-sided: 1 of 5 against 0 of 30 has p = 5/35, 3 of 5 C(5,3)/C(35,3) = 0.0015, of 7 comparisons."""
    now = write(baseline / "now", status={("minimax", "digits", seed): "diverged" for seed in range(seeds)})
    found = verdicts(now)
    assert marks(found)["minimax", "diverged"] == mark
    assert check.exit_code(found) == (1 if mark == "!" else 0)
    (verdict,) = (v for v in found if v.metric == "diverged" and v.group.startswith("minimax") and v.mark != "+")
    assert verdict.note.startswith(f"{seeds} of 5 seeds diverged, 0 of 30 in the baseline")
    if seeds == 1:
        assert verdict.p == pytest.approx(5 / 35)


def test_a_few_diverged_seeds_here_and_there_are_seen_over_the_whole_matrix(baseline):
    """One in each of four groups: 4 of 30 against 0 of 180, p = C(30,4)/C(210,4) = 3.5e-4."""
    status = {(o, d, 0): "diverged" for o, d in (("minimax", "digits"), ("wgan", "digits"), ("wgan_gp", "digits"))}
    found = verdicts(write(baseline / "now", status=status | {("wgan", "gaussians8", 0): "diverged"}))
    assert {(v.group, v.mark) for v in found if v.mark in "!−"} == {("whole matrix", "!")}
    assert found[-1].p == pytest.approx(27405 / 78738660)
    assert check.exit_code(found) == 1


@pytest.mark.parametrize("now", [0.0, 0.4, 0.6])
def test_a_group_that_diverged_as_often_before_is_no_change(now):
    was = row([1.0] * 18 + [0.0] * 12, "diverged")
    (found,) = gate.judge([was], [row([1.0] * round(5 * now) + [0.0] * (5 - round(5 * now)), "diverged")])
    assert found.mark == "+"


def test_where_no_seed_finished_there_is_no_value_to_compare():
    old = gate.baseline([row([None] * 30), row([None] * 30, group="b"), row(range(30), group="c")])
    new = [row([None] * 5), row([1.0] * 5, group="b"), row([None] * 5, group="c")]
    assert [(v.mark, v.note) for v in gate.judge(old, new)][:2] == [
        ("+", "no seed finished, as in the baseline"),
        ("+", ""),
    ]
    assert gate.judge(old, new)[2].mark == "~"


def test_speed_and_memory_are_gated_as_ratios_to_the_reference_workload(baseline):
    """A machine half as fast is no regression, nor is a step 1.8 x as long; 2.2 x is, and 1.3 x the memory."""

    def cost(seconds, reference, memory):
        return lambda objective, seed: (
            {}
            if objective != "wgan"
            else {"train_seconds": 4.0 * seconds, "reference_ms": 20.0 * reference, "peak_memory_mb": 300.0 * memory}
        )

    for name, fields in {"slow": cost(2, 2, 1), "a little": cost(1.8, 1, 1.2)}.items():
        assert marks(verdicts(write(baseline / name, fields=fields))) == {}
    assert marks(verdicts(write(baseline / "slower", fields=cost(2.2, 1, 1)))) == {("wgan", "relative speed"): "−"}
    found = verdicts(write(baseline / "larger", fields=cost(1, 1, 1.3)))
    assert marks(found) == {("wgan", "relative memory"): "−"}
    assert check.exit_code(found) == 1
    ms = {v.baseline for v in found if v.metric == "relative speed"}
    assert ms == {1000 * 4 / 200 / 20}  # 2 evaluations of 2 s and 100 generator steps


def test_cost_without_a_reference_workload_is_not_gated_and_says_so(baseline):
    found = verdicts(write(baseline / "older", older=True))
    assert {v.metric for v in found if v.mark == "?"} == {"relative speed", "relative memory"}
    assert {v.note for v in found if v.mark == "?"} == {
        "not gated: not measured against a reference workload in the results"
    }
    assert check.exit_code(found) == 0


def test_a_baseline_of_few_seeds_says_what_it_can_reach(tmp_path, monkeypatch):
    """Five against five: 1/252 at best, 21 quality comparisons: 0.083."""
    monkeypatch.setattr(check, "BASELINES", tmp_path / "baselines")
    _, notes = check.accept(load(write(tmp_path / "accepted")), "quick")
    assert notes == ["5 seeds: too few to estimate false alarms and to tell small changes; 25 can"]
    changed = lambda o, m: flat(o, m) * (3 if (o, m) == ("wgan", "swd_2k") else 1)  # noqa: E731
    found = verdicts(write(tmp_path / "now", changed))
    assert marks(found) == {("wgan", "swd_2k"): "~"}
    assert "0.083 at best with so few seeds" in next(v.note for v in found if v.note)


@pytest.mark.parametrize(
    ("metric", "values", "untrained", "useless"),
    [
        ("fid_classifier_750", [10.0, 12.0, 14.0], 33.0, False),  # band 5.9
        ("fid_classifier_750", [10.0, 20.0, 30.0], 33.0, True),  # band 29.7: 49.7 > 33
        ("fid_classifier_750", [10.0, 20.0, 30.0], None, False),  # nothing is known of no skill
        ("modes_covered_2k", [0.0, 1.0, 2.0], None, True),  # 1 − 3.0 < 0
        ("modes_covered_2k", [7.0, 8.0, 8.0], 0.0, False),
        ("precision_classifier_750", [0.3, 0.31, 0.32], 0.29, True),  # the untrained one does nearly as well
    ],
)
def test_a_band_that_reaches_the_untrained_generator_sees_nothing(metric, values, untrained, useless):
    now = row(values, metric, untrained=untrained)
    old = gate.baseline([now])
    assert bool(gate.useless(old[0])) is useless
    (found,) = gate.judge(old, [now])
    assert found.mark == ("?" if useless else "+")
    assert found.note.startswith("cannot see: the band" if useless else "")
    assert gate.exit_code([found]) == 0


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
    assert check.exit_code(found) == 2


def test_a_group_missing_from_either_side_is_never_a_pass(baseline):
    fewer = verdicts(write(baseline / "fewer", objectives=OBJECTIVES[:-1]))
    assert check.exit_code(fewer) == 2
    assert {v.note for v in fewer if v.mark == "x"} == {"not in the results"}
    more = verdicts(write(baseline / "more", objectives=[*OBJECTIVES, "hinge"]))
    assert check.exit_code(more) == 2
    assert {v.note for v in more if v.mark == "x"} == {"not in the baseline"}
    assert check.summary(more) == f"compared {COMPARISONS}/{COMPARISONS + 13}: {COMPARISONS} +, 13 x"


def test_a_metric_that_is_no_number_in_a_finished_run_is_never_a_pass(baseline):
    def curve(objective, metric, seed, i):
        nan = (objective, metric, seed) == ("wgan", "swd_2k", 2)
        return float("nan") if nan else final(flat)(objective, metric, seed, i)

    found = verdicts(write(baseline / "now", curve=curve))
    assert marks(found) == {("wgan", "swd_2k"): "x"}
    assert [v.note for v in found if v.note] == ["1 of 5 seeds finished without a value"]
    assert check.exit_code(found) == 2


def test_another_protocol_is_refused_by_name(baseline):
    now = write(baseline / "now", protocol={("digits", seed): "bbbbbbbb" for seed in range(5)})
    found = verdicts(now)
    assert check.exit_code(found) == 2
    assert {v.note for v in found if v.mark == "x"} == {"protocol bbbbbbbb against aaaaaaaa"}


def test_stale_results_are_neither_a_pass_nor_a_baseline(baseline, monkeypatch):
    now = write(baseline / "now")
    monkeypatch.setattr("benchmark.tables.code_hash", lambda cell: "edited")
    found = verdicts(now)
    assert check.exit_code(found) == 2
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
    assert {v.note for v in found if v.mark == "x"} == {"other training options than the baseline's"}
    assert check.exit_code(found) == 2


def test_nothing_to_compare_is_not_a_pass():
    assert check.exit_code([]) == 2


def test_no_baseline_names_those_there_are(baseline):
    with pytest.raises(UserError, match="no baseline for matrix 'qick'; there are: quick"):
        verdicts(write(baseline / "now"), "qick")


def test_incomplete_results_are_not_accepted(tmp_path, monkeypatch):
    monkeypatch.setattr(check, "BASELINES", tmp_path / "baselines")
    folder = write(tmp_path / "now", status={("minimax", "digits", 3): "missing"})
    with pytest.raises(UserError, match="incomplete"):
        check.accept(load(folder), "quick")
    assert not (tmp_path / "baselines").exists()


def test_a_baseline_holds_values_per_seed_bands_and_its_false_alarms(accepted):
    path, notes = accepted
    saved = json.loads(path.read_text())
    group = next(g for g in saved["groups"] if (g["objective"], g["metric"]) == ("wgan_gp", "fid_classifier_750"))
    assert group["values"] == pytest.approx({str(seed): 24 * factor(seed) for seed in range(30)})
    assert group["band"] == pytest.approx(2 * 24 * 1.4826 * 0.05172, rel=1e-3)  # 7.5 of the steps of 0.2 / 29
    assert group["protocol"] == "aaaaaaaa"
    assert saved["false_alarms"] == {"reruns": 40, "seeds": 5, "red": 0}
    assert notes == ["false alarms: 0 of 40 reruns of unchanged code go red"]


def test_reports_for_ci(baseline, tmp_path):
    changed = lambda o, m: flat(o, m) * (2 if o == "wgan_gp" else 1)  # noqa: E731
    found = verdicts(write(baseline / "now", changed))
    text = check.to_markdown(found)
    assert f"compared {COMPARISONS}/{COMPARISONS}" in text
    assert text.index("| − | wgan_gp") < text.index("| + | minimax")
    check.write_junit(found, tmp_path / "check.xml")
    suite = ElementTree.parse(tmp_path / "check.xml").getroot()
    failed = [case for case in suite if case.find("failure") is not None]
    assert suite.get("tests") == str(COMPARISONS)
    assert suite.get("failures") == str(len(failed)) == str(sum(v.mark == "−" for v in found)) != "0"
