"""The regression check: verdicts, bands, exit codes, and what may never pass."""

import json
from xml.etree import ElementTree

import pytest

from benchmark import UserError, check
from benchmark.tables import load
from tests import synthetic

SEEDS = (0.9, 0.95, 1.0, 1.05, 1.1)  # factors: median 1, robust spread 1.4826 x 0.05


def final(value):
    """A curve that ends at value(objective, metric) times the seed's factor."""
    return lambda objective, metric, seed, i: value(objective, metric) * SEEDS[seed % 5] * (3 if i < 5 else 1)


def flat(objective, metric):
    return {"swd_2k": 0.1, "fid_classifier_750": 24.0}.get(metric, 0.5)


def write(folder, value=flat, **options):
    return synthetic.write(folder, curve=final(value), samples=False, steps=2, **options)


@pytest.fixture(autouse=True)
def current_code(monkeypatch):
    monkeypatch.setattr("benchmark.tables.code_hash", lambda cell: "c0de")  # what synthetic cells were made with


@pytest.fixture
def baseline(tmp_path, monkeypatch):
    monkeypatch.setattr(check, "BASELINES", tmp_path / "baselines")
    check.accept(load(write(tmp_path / "accepted")), "quick")
    return tmp_path


def verdicts(folder, name="quick"):
    return check.compare(load(folder), name)


def marks(found):
    return {(v.group.split(" / ")[0], v.metric): v.mark for v in found if v.mark != "+"}


def test_the_same_results_pass(baseline):
    found = verdicts(write(baseline / "now"))
    assert {v.mark for v in found} == {"+"}
    assert len(found) == 7 * (4 + 3)  # objectives x gated metrics of both datasets
    assert check.summary(found) == "compared 49/49 groups: 49 +"
    assert check.exit_code(found) == 0


def test_the_band_is_the_largest_of_absolute_relative_and_twice_the_spread():
    assert check.band("fid_classifier_750", [0.2] * 5) == 0.1  # absolute
    assert check.band("fid_classifier_750", [100.0] * 5) == pytest.approx(20.0)  # relative, 20 %
    values = [24 * factor for factor in SEEDS]
    assert check.band("fid_classifier_750", values) == pytest.approx(24 * 0.2)
    wide = [10.0, 20.0, 30.0, 40.0, 50.0]  # median 30, MAD 10
    assert check.band("fid_classifier_750", wide) == pytest.approx(2 * 1.4826 * 10, rel=1e-4)


@pytest.mark.parametrize(("factor", "mark"), [(1.15, None), (1.5, "−"), (0.5, None)])
def test_a_change_of_fid(baseline, factor, mark):
    changed = lambda o, m: flat(o, m) * (factor if (o, m) == ("wgan_gp", "fid_classifier_750") else 1)  # noqa: E731
    found = verdicts(write(baseline / "now", changed))
    assert marks(found) == ({("wgan_gp", "fid_classifier_750"): mark} if mark else {})
    assert check.exit_code(found) == (1 if mark else 0)
    if factor == 0.5:
        assert [v.note for v in found if v.note] == ["better beyond the band"]


def test_direction_is_the_metrics(baseline):
    lower = lambda o, m: flat(o, m) * (0.5 if (o, m) == ("wgan", "precision_classifier_750") else 1)  # noqa: E731
    found = verdicts(write(baseline / "now", lower))
    assert marks(found) == {("wgan", "precision_classifier_750"): "−"}


def test_worse_but_not_separated_is_suspect(baseline):
    """Three seeds far worse, two far better: the median is beyond the band, the ranks do not tell the sides apart."""

    def curve(objective, metric, seed, i):
        if (objective, metric) == ("lsgan", "swd_2k"):
            return (0.2, 0.2, 0.2, 0.01, 0.01)[seed]
        return final(flat)(objective, metric, seed, i)

    now = synthetic.write(baseline / "now", curve=curve, samples=False, steps=2)
    found = verdicts(now)
    assert marks(found) == {("lsgan", "swd_2k"): "~"}
    assert check.exit_code(found) == 0


def test_more_diverged_seeds_than_before_fail(baseline):
    now = write(baseline / "now", status={("minimax", "digits", 3): "diverged"})
    found = verdicts(now)
    assert set(marks(found).values()) == {"!"}
    assert {objective for objective, _ in marks(found)} == {"minimax"}
    assert check.exit_code(found) == 1


@pytest.mark.parametrize("status", ["missing", "error", "interrupted", "running"])
def test_an_unfinished_group_is_never_a_pass(baseline, status):
    found = verdicts(write(baseline / "now", status={("minimax", "digits", 3): status}))
    assert set(marks(found).values()) == {"x"}
    assert check.exit_code(found) == 2


def test_a_group_missing_from_either_side_is_never_a_pass(baseline):
    fewer = verdicts(write(baseline / "fewer", objectives=synthetic.OBJECTIVES[:-1]))
    assert check.exit_code(fewer) == 2
    assert {v.note for v in fewer if v.mark == "x"} == {"not in the results"}
    more = verdicts(write(baseline / "more", objectives=[*synthetic.OBJECTIVES, "hinge"]))
    assert check.exit_code(more) == 2
    assert {v.note for v in more if v.mark == "x"} == {"not in the baseline"}
    assert check.summary(more) == "compared 49/56 groups: 49 +, 7 x"


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


def test_a_group_that_diverged_wholly_before_and_now_is_no_change(tmp_path, monkeypatch):
    monkeypatch.setattr(check, "BASELINES", tmp_path / "baselines")
    status = {("minimax", "digits", seed): "diverged" for seed in range(5)}
    check.accept(load(write(tmp_path / "accepted", status=status)), "quick")
    found = verdicts(write(tmp_path / "now", status=status))
    assert {v.mark for v in found} == {"+"}
    assert check.exit_code(found) == 0


def test_other_seeds_are_refused(baseline):
    assert check.exit_code(verdicts(write(baseline / "now", seeds=range(4)))) == 2


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


def test_a_baseline_holds_values_per_seed_and_bands(baseline):
    saved = json.loads((baseline / "baselines" / "quick.json").read_text())
    group = next(g for g in saved["groups"] if (g["objective"], g["metric"]) == ("wgan_gp", "fid_classifier_750"))
    assert group["values"] == pytest.approx({str(seed): 24 * SEEDS[seed] for seed in range(5)})
    assert group["band"] == pytest.approx(4.8)
    assert group["protocol"] == "aaaaaaaa"


def test_reports_for_ci(baseline, tmp_path):
    changed = lambda o, m: flat(o, m) * (2 if o == "wgan_gp" else 1)  # noqa: E731
    found = verdicts(write(baseline / "now", changed))
    text = check.to_markdown(found)
    assert "compared 49/49 groups" in text
    assert text.index("| − | wgan_gp") < text.index("| + | minimax")
    check.write_junit(found, tmp_path / "check.xml")
    suite = ElementTree.parse(tmp_path / "check.xml").getroot()
    failed = [case for case in suite if case.find("failure") is not None]
    assert suite.get("tests") == "49"
    assert suite.get("failures") == str(len(failed)) == str(sum(v.mark == "−" for v in found)) != "0"
