"""Submissions: an honest one is accepted, a planted wrong one is refused by the name of a rule."""

import shutil
import subprocess
from collections.abc import Callable, Iterator
from pathlib import Path

import numpy as np
import pytest

import variants
from benchmark import __version__
from benchmark.analysis.tables import load
from benchmark.check import baseline as check
from benchmark.check.rows import COST, baseline_rows, of_seeds
from benchmark.check.stored import read_baseline
from benchmark.check.submission import checks
from benchmark.check.submission import rules as frozen_rules
from benchmark.check.submission.board import boards
from benchmark.check.submission.gate import as_rerun, both_ways
from benchmark.check.submission.rules import Rules, frozen, read_rules, rules_file
from benchmark.check.submission.verify import Verified, verify, verify_all
from benchmark.errors import UserError
from benchmark.matrix.cell import Cell, digest
from benchmark.store.code import variants_of
from benchmark.store.files import read_json, write_json, write_record
from benchmark.store.schema import Spec
from tests.conftest import Ended
from tests.helpers.submissions import CONTROL, SEEDS, Rows, cell_of, change_rows, seal, write

Plant = Callable[[Path], object]
BEST = "an earlier checkpoint reported as the final one"


@pytest.fixture(autouse=True)
def current_code(monkeypatch: pytest.MonkeyPatch) -> None:
    # What synthetic cells were made with
    patched(monkeypatch)


def patched(patch: pytest.MonkeyPatch) -> None:
    patch.setattr("benchmark.store.code.training_code", lambda cell: "c0de")
    patch.setattr("benchmark.store.code.measuring_code", lambda modality: None)
    # Nothing here has to outlast a power failure
    patch.setattr("os.fsync", lambda descriptor: None)


@pytest.fixture(scope="module")
def place(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Path]:
    """A folder with a baseline of 11 seeds in baselines/, rules.json, and an honest submission."""
    folder = tmp_path_factory.mktemp("leaderboard")
    with pytest.MonkeyPatch.context() as patch:
        patched(patch)
        reference = load(write(folder / "runs/mine", seeds=range(11)))
        check.accept(reference, "mine", folder / "baselines")
        rules = frozen(load(write(folder / "frozen/mine")))
        write_record(folder / "rules.json", Rules(version="0.1", matrices={"mine": rules}))
        write(folder / "honest/mine")
        diverged = {("my_loss", "digits", 1): "diverged"}
        objectives = (CONTROL, "my_loss")
        # On another machine than the honest one: the same run is not accepted twice
        pace = dict.fromkeys(objectives, 2.5)
        write(folder / "own/mine", objectives=objectives, status=diverged, seconds=pace)
        yield folder


@pytest.fixture
def submitted(place: Path, tmp_path: Path) -> Path:
    """A copy of the honest submission, to plant a fault in."""
    return Path(shutil.copytree(place / "honest/mine", tmp_path / "mine"))


@pytest.fixture
def own(place: Path, tmp_path: Path) -> Path:
    """A copy of a submission of an objective that the baseline does not have."""
    return Path(shutil.copytree(place / "own/mine", tmp_path / "submissions/0.1/team"))


def verified(folder: Path, place: Path) -> Verified:
    return verify(folder, read_rules(place / "rules.json"), place / "baselines")


def test_an_honest_submission_is_accepted_with_an_objective_of_its_own(
    place: Path, own: Path
) -> None:
    """A run that diverged is a result, and a generator that stands still copies no checkpoint."""
    for cell in own.glob("cells/my_loss-*-seed2-*"):
        change_rows(cell, lambda rows: [row | still(rows, row) for row in rows])
        change_rows(cell, lambda rows: [row | without_gradient(row) for row in rows], "steps.jsonl")
        seal(cell)
    found = verified(own, place)
    assert (found.refusals, found.notes) == ([], [])
    assert found.tables is not None


def test_two_submissions_may_have_files_of_one_name(
    place: Path, own: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv(variants.VARIABLE, "")
    file = own / "variants/objectives/my_loss.py"
    file.parent.mkdir(parents=True)
    file.write_text("raise SystemExit('no file of a submission is run')\n", encoding="utf-8")
    other = Path(shutil.copytree(own, own.parent / "others"))
    for folder in (own, other):
        assert verified(folder, place).refusals == []
    file.rename(file.with_name("wgan.py"))
    ((rule, reason), *_) = verified(own, place).refusals
    assert rule == "code"
    assert "the name is taken by the shipped file" in reason
    # the suite took the name after the submission was accepted
    known = verify(own, read_rules(place / "rules.json"), place / "baselines", is_known=True)
    assert (known.refusals, known.notes) == ([], [reason])


def still(rows: Rows, row: dict[str, object]) -> dict[str, object]:
    """The value from the third evaluation on."""
    third = [r for r in rows if r["metric"] == row["metric"]][2]
    return {"value": third["value"]} if row["g_steps"] >= third["g_steps"] else {}  # type: ignore[operator]


def without_gradient(row: dict[str, object]) -> dict[str, object]:
    return {"g_grad_norm": 0.0} if row["g_step"] > 200 else {}  # type: ignore[operator]


def scaled(times: float) -> Callable[[Rows], Rows]:
    """Every final value of the metric that ranks times a factor."""

    def change(rows: Rows) -> Rows:
        last = rows[-1]["g_steps"]
        for row in rows:
            if row["g_steps"] == last and row["metric"] == "fid_classifier_750":
                row["value"] *= times
        return rows

    return change


def edited(folder: Path) -> None:
    change_rows(cell_of(folder, 1), scaled(0.5))


def edited_and_sealed(folder: Path) -> None:
    change_rows(cell_of(folder, 1), scaled(0.9))
    seal(cell_of(folder, 1))


def edited_elsewhere(folder: Path) -> None:
    """Better on every seed, on another machine: numbers need not be equal there."""
    for seed in range(SEEDS):
        cell = cell_of(folder, seed)
        change_rows(cell, scaled(0.5))
        seal(cell, read_json(cell / "environment.json") | {"processor_version": "another"})


def edited_status(folder: Path) -> None:
    file = cell_of(folder, 0) / "status.json"
    content = read_json(file) | {"g_steps": 600}
    del content["schema"]
    write_json(file, content)


def without_the_last_value(folder: Path) -> None:
    """Rows of another protocol are not the run's."""
    cell = cell_of(folder, 1)
    last = {"g_steps": 600, "metric": "fid_classifier_750"}
    change_rows(
        cell,
        lambda rows: [
            row | {"protocol": "b"} if last.items() <= row.items() else row for row in rows
        ],
    )
    seal(cell)


def measured_otherwise(folder: Path) -> None:
    cell = cell_of(folder, 0)
    change_rows(cell, lambda rows: [row | {"protocol": "bbbbbbbb"} for row in rows])
    seal(cell, protocol="bbbbbbbb")


def without_a_seed(folder: Path) -> None:
    shutil.rmtree(cell_of(folder, 3))


def with_a_seed_that_failed(folder: Path) -> None:
    seal(cell_of(folder, 3), status="error")


def with_another_name_of_a_seed(folder: Path) -> None:
    """Seed 9, which did better, stands for seed 2, with its spec and every hash."""
    other = write(folder.parent / "more/mine", seeds=[9])
    for name in ("evals.jsonl", "steps.jsonl"):
        shutil.copy(cell_of(other, 9) / name, cell_of(folder, 2) / name)
    seal(cell_of(folder, 2))


def with_a_run_beside_the_list(folder: Path) -> None:
    shutil.copytree(cell_of(folder, 2), folder / "cells/wgan-dcgan-digits-seed2-retried")


def with_hidden_options(folder: Path) -> None:
    """The list of cells has the options of the rules, and the cell was trained with others."""
    cell = cell_of(folder, 3)
    spec = read_json(cell / "spec.json")
    write_json(cell / "spec.json", spec | {"training": spec["training"] | {"steps": 1200}})
    seal(cell)


def of_version(version: str) -> Plant:
    def plant(folder: Path) -> None:
        cell = cell_of(folder, 4)
        versions = {"versions": {"ganbench": version, "torch": "2.14.1"}}
        seal(cell, read_json(cell / "environment.json") | versions)

    return plant


def of_changed_code(folder: Path) -> None:
    cell = cell_of(folder, 4)
    git = {"git": {"commit": "0123", "dirty": "abcd"}}
    seal(cell, read_json(cell / "environment.json") | git)


def resealed(seed: int, **status: object) -> Plant:
    return lambda folder: seal(cell_of(folder, seed), **status)


def stopped_at_the_best(folder: Path) -> None:
    """The run ends where it was best, and is said to have ended there."""
    cell = cell_of(folder, 0)
    for name, step in (("evals.jsonl", "g_steps"), ("steps.jsonl", "g_step")):
        change_rows(cell, lambda rows, step=step: [r for r in rows if r[step] <= 400], name)  # type: ignore[misc]
    seal(cell, g_steps=400, samples_seen=25600)


def stopped_and_renamed(folder: Path) -> None:
    """The rows behind the best are left out, and the best is said to be the final one."""

    def change(rows: Rows) -> Rows:
        kept = [row for row in rows if row["g_steps"] <= 400]
        end = {"g_steps": 600, "samples_seen": rows[-1]["samples_seen"]}
        return [row | end if row["g_steps"] == 400 else row for row in kept]

    change_rows(cell_of(folder, 0), change)
    seal(cell_of(folder, 0))


def reported_as_final(step: int, *metrics: str) -> Plant:
    """The values of an earlier step, which are the best, as those of the last one. metrics: those
    that are reported so; all without."""

    def change(rows: Rows) -> Rows:
        best = {row["metric"]: row["value"] for row in rows if row["g_steps"] == step}
        for row in rows:
            if step < row["g_steps"] < 600:
                row["value"] *= 2
            elif row["g_steps"] == 600 and row["metric"] in (metrics or best):
                row["value"] = best[row["metric"]]
        return rows

    def plant(folder: Path) -> None:
        change_rows(cell_of(folder, 0), change)
        seal(cell_of(folder, 0))

    return plant


@pytest.mark.parametrize(
    ("plant", "rule", "reason"),
    [
        (edited, "files", "not as it was when the cell finished"),
        (without_the_last_value, "runs", "has no fid_classifier_750 at steps [600]"),
        (edited_status, "files", "holds no sha256 of its fields: it was edited"),
        (with_hidden_options, "files", "is the spec of"),
        (edited_and_sealed, "gate", "numbers differ in the final metrics alone"),
        (edited_elsewhere, "gate", "better than the same objective in the baseline"),
        (without_a_seed, "seeds", "dcgan on digits: seeds without a finished run: 3"),
        (with_a_seed_that_failed, "seeds", "seeds without a finished run: 3"),
        (with_another_name_of_a_seed, "seeds", "seed 2 does not begin as in the baseline"),
        (with_a_run_beside_the_list, "seeds", "runs that were left out"),
        (of_version("0.2.0"), "version", "the leaderboard is of 0.1, and ganbench 0.2.0 made"),
        (of_version("0.1.99"), "version", "ganbench 0.1.99, no earlier release, made"),
        (of_version("0.1.0.dev1"), "version", "ganbench 0.1.0.dev1, no earlier release, made"),
        (of_changed_code, "code", "changes that are not committed"),
        (resealed(0, code="beef"), "code", "not this code of"),
        (resealed(0, evaluation_hash="e1"), "options", "other evaluation options"),
        (measured_otherwise, "protocol", "measured under protocol bbbbbbbb"),
        (stopped_at_the_best, "runs", "trained 400 generator steps instead of 600"),
        (stopped_and_renamed, "runs", "is evaluated at steps"),
        (reported_as_final(400), "runs", BEST),
        (reported_as_final(500), "runs", BEST),
        (reported_as_final(400, "fid_classifier_750"), "runs", BEST),
        (reported_as_final(500, "fid_classifier_750"), "runs", BEST),
    ],
    ids=lambda value: getattr(value, "__name__", None),
)
def test_a_wrong_submission_is_refused_by_name(
    plant: Plant, rule: str, reason: str, place: Path, submitted: Path
) -> None:
    plant(submitted)
    found = verified(submitted, place)
    assert {refusal.rule for refusal in found.refusals} == {rule}
    assert any(reason in refusal.reason for refusal in found.refusals), found.refusals


@pytest.mark.parametrize(
    ("options", "rule", "reason"),
    [
        ({"objectives": ["wgan"]}, "seeds", "the control nonsaturating is missing"),
        ({"seeds": range(SEEDS + 2)}, "seeds", "seeds that the rules do not have: 5 and 6"),
        ({"groups": [("digits", "dcgan")]}, "seeds", "mlp on gaussians8: seeds without"),
        ({"every": {"wgan": 50}}, "runs", "trained 300 generator steps instead of 600"),
    ],
)
def test_a_submission_of_another_plan_is_refused_by_name(
    options: dict[str, object], rule: str, reason: str, place: Path, tmp_path: Path
) -> None:
    found = verified(write(tmp_path / "mine", **options), place)
    assert {refusal.rule for refusal in found.refusals} == {rule}
    assert any(reason in refusal.reason for refusal in found.refusals)


def test_other_training_options_and_places_are_refused_by_name(
    place: Path, submitted: Path
) -> None:
    rules = read_rules(place / "rules.json")
    first, second = rules.matrices["mine"].places
    changed = [
        first.model_copy(update={"training": "0"}),
        second.model_copy(update={"dataset": "x"}),
    ]
    rules.matrices["mine"].places[:] = changed
    found = verify(submitted, rules, place / "baselines")
    reasons = " ".join(refusal.reason for refusal in found.refusals if refusal.rule == "options")
    assert "other training options than those of mlp on gaussians8" in reasons
    assert "dcgan on digits (did you mean 'dcgan on x'?) is no place of the leaderboard" in reasons


def test_an_earlier_patch_release_is_accepted_with_a_note(
    place: Path, submitted: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(checks, "__version__", "0.1.10")
    for cell in submitted.glob("cells/*"):
        versions = {"versions": {"ganbench": "0.1.9", "torch": "2.14.1"}}
        seal(cell, read_json(cell / "environment.json") | versions)
    found = verified(submitted, place)
    assert found.refusals == []
    assert found.notes[0].startswith("code of ganbench 0.1.9 was not compared: nonsaturating-")


@pytest.mark.parametrize("present", [__version__, "0.1.99"])
def test_an_own_objective_needs_its_file_whatever_patch_release_made_it(
    present: str, place: Path, own: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    def code(cell: Cell | Spec) -> str:
        for axis, name in variants_of(cell):
            variants.origin(axis, name)
        return "c0de"

    monkeypatch.setattr("benchmark.store.code.training_code", code)
    monkeypatch.setattr(checks, "__version__", present)
    (refusal,) = verified(own, place).refusals
    assert refusal.rule == "code"
    assert refusal.reason.startswith("variants/ lacks a file of my_loss-")
    file = own / "variants/objectives/my_loss.py"
    file.parent.mkdir(parents=True)
    file.write_text("", encoding="utf-8")
    assert verified(own, place).refusals == []


def test_a_matrix_that_the_rules_do_not_have_is_refused(place: Path, tmp_path: Path) -> None:
    found = verified(write(tmp_path / "mien"), place)
    ((rule, reason),) = found.refusals
    assert rule == "options"
    assert "matrix 'mien' (did you mean 'mine'?) is not on the leaderboard of 0.1" in reason


def test_rows_that_are_none_are_refused_and_no_traceback(place: Path, submitted: Path) -> None:
    change_rows(cell_of(submitted, 0), lambda rows: [{"x": 1}, *rows])
    seal(cell_of(submitted, 0))
    found = verified(submitted, place)
    assert {refusal.rule for refusal in found.refusals} == {"files"}


def test_rules_need_a_reference_and_the_same_options_for_all(tmp_path: Path) -> None:
    with pytest.raises(UserError, match="has no reference"):
        frozen(load(write(tmp_path / "a", reference=None)))
    with pytest.raises(UserError, match="evaluations depend on the objective"):
        frozen(load(write(tmp_path / "b", every={"wgan": 50})))


def test_the_verb_prints_the_leaderboard_and_says_why_not(
    place: Path,
    submitted: Path,
    own: Path,
    tmp_path: Path,
    ganbench: Callable[..., Ended],
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    shutil.copy(place / "rules.json", own.parent)
    monkeypatch.setattr(frozen_rules, "SUBMISSIONS", tmp_path / "submissions")
    summary = tmp_path / "summary.md"
    options = ("--baselines", str(place / "baselines"), "--markdown", str(summary))
    ended = ganbench("verify", *options)
    assert (ended.code, ended.err) == (0, "")
    assert ended.out.startswith(f"ACCEPTED: {own}\n")
    page = summary.read_text(encoding="utf-8")
    rows = [line for line in page.splitlines() if line.startswith("| my_loss | team | 5 |")]
    assert len(rows) == 2
    # 100 critic steps of 400 forwards and as many of the generator, of 300
    assert all("| 700 |" in line for line in rows)
    # By the frozen targets
    assert "1/4: " in rows[0]
    assert page.count("| nonsaturating | baseline | 5 | 0 |") == 2

    edited(submitted)
    ended = ganbench("verify", str(submitted), *options[:2])
    assert ended.code == 1
    assert ended.out.startswith(f"REFUSED: {submitted}: 1 reason\n  files: ")


def test_a_seed_that_the_baseline_lacks_is_a_hole(place: Path, own: Path, tmp_path: Path) -> None:
    found = verified(own, place)
    few = load(write(tmp_path / "runs/mine", seeds=range(3)))
    check.accept(few, "mine", tmp_path / "baselines")
    for _, rows in boards([found], read_rules(place / "rules.json"), tmp_path / "baselines"):
        counts = {(row.objective, row.source): row.texts[2] for row in rows}
        assert counts["my_loss", "team"] == "5"
        assert counts["nonsaturating", "baseline"] == "3"


@pytest.fixture
def board(place: Path, own: Path, monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> Path:
    """results/submissions with one submission, `team`; returns the folder of the version."""
    shutil.copy(place / "rules.json", own.parent)
    monkeypatch.setattr(frozen_rules, "SUBMISSIONS", tmp_path / "submissions")
    return own.parent


def reasons_of(place: Path, *folders: Path) -> dict[str, list[tuple[str, str]]]:
    """Name of a folder → rule and reason of its refusals."""
    rules = read_rules(place / "rules.json")
    found = verify_all(folders, rules, place / "baselines")
    return {verified.folder.name: [*map(tuple, verified.refusals)] for verified in found}


def test_a_submission_under_another_name_is_refused_by_name(place: Path, board: Path) -> None:
    """One run that is the same is enough."""
    copy = Path(shutil.copytree(board / "team", board / "rivals"))
    same = cell_of(copy, 4, "my_loss", "gaussians8")
    for cell in {*copy.glob("cells/*")} - {same}:
        change_rows(cell, lambda rows: [row | seconds_of(row) for row in rows])
        seal(cell)
    ((rule, reason),) = reasons_of(place, copy)["rivals"]
    assert rule == "copies"
    assert reason.endswith(f"those of {board / 'team'}, seconds included: {same.name}")
    both = reasons_of(place)
    assert {name: len(reasons) for name, reasons in both.items()} == {"rivals": 1, "team": 1}


def test_a_run_that_was_repeated_is_no_copy(place: Path, board: Path) -> None:
    """Equal numbers, as of the same kind of CPU; the runs that diverged before they were measured
    are equal in all."""
    again = Path(shutil.copytree(board / "team", board / "again"))
    for cell in again.glob("cells/*"):
        change_rows(cell, lambda rows: [row | seconds_of(row) for row in rows])
        seal(cell)
    for folder in (board / "team", again):
        cell = cell_of(folder, 1, "my_loss", "digits")
        change_rows(cell, lambda rows: [row for row in rows if row["g_steps"] == 0])
        seal(cell)
    assert reasons_of(place) == {"again": [], "team": []}


def seconds_of(row: dict[str, object]) -> dict[str, object]:
    return {"train_seconds": 1.01 * row["train_seconds"]}  # type: ignore[operator]


def test_a_folder_that_nothing_reads_is_refused_by_name(place: Path, board: Path) -> None:
    """A later version, whatever is in it, and what is no version; an earlier one is closed."""
    for name in ("0.2", "0.0", "mine"):
        (board.parent / name).mkdir()
    shutil.copy(board / "rules.json", board.parent / "0.2")
    shutil.copy(board / "rules.json", board.parent / "0.0")
    found = reasons_of(place)
    later = board.parent / "0.2"
    assert found["0.2"] == [("version", f"the leaderboard is of 0.1, and {later} is not read")]
    assert [name for name, reasons in found.items() if reasons] == ["0.2", "mine"]
    (board.parent / "0.0/rules.json").unlink()
    assert "0.0" in reasons_of(place)


@pytest.mark.slow
def test_honest_submissions_from_another_machine_are_rarely_refused() -> None:
    """12 seeds of the quick matrix against its 13 others, both ways: about 1 in 100 each way, and
    so 4 of 200 draws; more than 10 has a probability of .003. The number is in
    docs/leaderboard.md."""
    baseline = read_baseline(check.IN_CHECKOUT / "quick.json", "quick")
    rows = [as_rerun(row) for row in baseline.rows if row.metric not in COST]
    rng = np.random.default_rng(0)
    num_refused = 0
    for _ in range(200):
        seeds = rng.permutation(sorted(rows[0].values, key=int))
        old, new = of_seeds(rows, seeds[:13]), of_seeds(rows, seeds[13:])
        num_refused += any(both_ways(baseline_rows(old), new))
    print(f"\n{num_refused} of 200 honest draws are refused")
    assert num_refused <= 10


def test_what_was_accepted_outlives_a_change_of_the_code_until_a_file_of_it_changes(
    place: Path, submitted: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    rules = read_rules(place / "rules.json")

    def git(*words: str) -> None:
        author = ["-c", "user.name=a", "-c", "user.email=a@b", "-c", "commit.gpgsign=false"]
        command = ["git", "-C", str(submitted.parent), *author, *words]
        subprocess.run(command, check=True, capture_output=True)

    def refusals(since: str = "") -> set[str]:
        (found,) = verify_all([submitted], rules, place / "baselines", since)
        assert (found.tables is None) == bool(found.refusals)
        return {refusal.rule for refusal in found.refusals}

    git("init", "-q")
    git("commit", "-q", "--allow-empty", "-m", "before")
    git("add", ".")
    git("commit", "-q", "-m", "a submission")
    monkeypatch.setattr("benchmark.store.code.training_code", lambda cell: "later")
    assert refusals("HEAD") == set()
    assert refusals("HEAD~") == refusals() == {"code"}
    (submitted / "more").touch()
    assert refusals("HEAD") == {"code"}
    (submitted.parent / ".gitignore").write_text("mine\n", encoding="utf-8")
    git("rm", "-rq", "--cached", "mine")
    git("commit", "-q", "-m", "git ignores it")
    assert refusals("HEAD") == {"code"}
    git("reset", "-q", "--hard", "HEAD~")
    (submitted / "more").unlink()
    edited(submitted)
    assert refusals("HEAD") == {"code", "files"}
    with pytest.raises(UserError, match="there is no commit 'nowhere' in the repository of"):
        refusals("nowhere")


FROZEN = {"0.1": "e15018cb588352cff05936904e726b1e823148a9a9483570a4ee0f251f0070e3"}
"""Major.Minor → the hash that its rules.json holds of its fields. The release of a new Major.Minor,
whose rules tests/studies/leaderboard_rules.py writes, adds a line; a line that is here never
changes."""


def test_the_rules_of_every_version_are_those_that_were_frozen() -> None:
    assert {folder.name for folder in frozen_rules.SUBMISSIONS.iterdir()} == FROZEN.keys()
    for version, sha256 in FROZEN.items():
        content = read_json(frozen_rules.SUBMISSIONS / version / "rules.json")
        assert (content["version"], digest(content, 64)) == (version, sha256)


def test_bad_input_is_one_line(ganbench: Callable[..., Ended], tmp_path: Path, place: Path) -> None:
    ended = ganbench("verify", str(tmp_path / "nothing"))
    assert (ended.code, ended.out) == (2, "")
    assert "no matrix.json in" in ended.err
    with pytest.raises(UserError, match="there are no rules of a leaderboard"):
        read_rules(tmp_path / "rules.json")


def test_the_frozen_rules_are_those_of_the_committed_baseline() -> None:
    rules = read_rules(rules_file())
    for name, asked in rules.matrices.items():
        rows = read_baseline(check.IN_CHECKOUT / f"{name}.json", name).rows
        for place in asked.places:
            here = [row for row in rows if (row.architecture, row.dataset) == place.name]
            assert {(row.training, row.protocol) for row in here} == {
                (place.training, place.protocol)
            }
            of_control = [row for row in here if row.objective == asked.control]
            ranked = next(row for row in of_control if row.metric == place.metric)
            assert {*map(str, asked.seeds)} <= ranked.values.keys()
            assert sorted(place.targets.values(), reverse=True) == [*place.targets.values()]
