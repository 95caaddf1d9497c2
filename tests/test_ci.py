"""The stages of .ci/run that keep something in git, with a stand-in for the suite."""

import os
import subprocess
from pathlib import Path

import pytest
import yaml

from benchmark.store.code import ROOT

# Writes the file that `accept` writes, and remembers how `history` was called
STAND_IN = """#!/bin/bash
case $3 in
  accept)
    printf '%s\\n' same "$(cat values)" same > "${@: -1}/quick.json"
    [ ! -e meanwhile ] || bash meanwhile
    ;;
  history) printf '%s\\n' "$@" > called ;;
esac
"""


@pytest.fixture
def checkout(tmp_path: Path) -> Path:
    """A clone with .ci/run, whose origin is a bare repository."""
    git(tmp_path, "init", "-q", "--bare", "origin")
    git(tmp_path, "clone", "-q", "origin", "checkout")
    folder = tmp_path / "checkout"
    (folder / ".ci").mkdir()
    (folder / ".ci/run").write_bytes((ROOT / ".ci/run").read_bytes())
    git(folder, "add", ".")
    git(folder, "commit", "-qm", "first")
    (folder / "values").write_text("first", encoding="utf-8")
    python = folder / ".venv/bin/python"
    python.parent.mkdir(parents=True)
    python.write_text(STAND_IN, encoding="utf-8")
    python.chmod(0o755)
    return folder


def git(folder: Path, *words: str) -> str:
    author = ["-c", "user.name=a", "-c", "user.email=a@b", "-c", "commit.gpgsign=false"]
    command = ["git", "-C", str(folder), *author, *words]
    return subprocess.run(command, check=True, capture_output=True, encoding="utf-8").stdout


def run_history(checkout: Path) -> subprocess.CompletedProcess[str]:
    return run_stage(checkout, "history")


def run_stage(checkout: Path, stage: str, **variables: str) -> subprocess.CompletedProcess[str]:
    # Those that this run may have from CI are of another repository
    others = ("CDPATH", "SINCE", "GITHUB_EVENT_NAME", "GITHUB_STEP_SUMMARY")
    environment = {name: value for name, value in os.environ.items() if name not in others}
    environment |= variables
    command = ["bash", ".ci/run", stage]
    return subprocess.run(
        command, cwd=checkout, env=environment, capture_output=True, encoding="utf-8"
    )


def keep(checkout: Path) -> str:
    """Keep the values of the commit that is checked out, and return its hash."""
    commit = git(checkout, "rev-parse", "HEAD").strip()
    ended = run_history(checkout)
    assert ended.returncode == 0, ended.stderr
    called = (checkout / "called").read_text(encoding="utf-8").split()
    assert called[called.index("--since") + 1] == commit[:10]
    return commit


def commit_again(checkout: Path) -> None:
    git(checkout, "worktree", "remove", "--force", "results/runs/history")
    git(checkout, "commit", "-q", "--allow-empty", "-m", "second")
    (checkout / "values").write_text("second", encoding="utf-8")


def kept(checkout: Path) -> list[str]:
    """The commits whose values origin has."""
    origin = checkout.parent / "origin"
    log = git(origin, "log", "--reverse", "--format=%s", "history", "--", "quick.json")
    return log.split()


def test_the_values_of_every_commit_are_kept_on_a_branch(checkout: Path) -> None:
    first = keep(checkout)
    commit_again(checkout)
    second = keep(checkout)
    assert kept(checkout) == [first, second]


def test_two_jobs_may_keep_values_at_once(checkout: Path) -> None:
    first = keep(checkout)
    other = checkout.parent / "other"
    git(checkout.parent, "clone", "-q", "-b", "history", "origin", "other")
    author = "-c user.name=a -c user.email=a@b -c commit.gpgsign=false"
    (checkout / "meanwhile").write_text(
        f"cd {other}\necho 1 > quick.json\ngit {author} commit -qam other\ngit push -q\n",
        encoding="utf-8",
    )
    commit_again(checkout)
    # as the first job had them, which the other one changed
    (checkout / "values").write_text("first", encoding="utf-8")
    second = keep(checkout)
    assert kept(checkout) == [first, "other", second]
    origin = checkout.parent / "origin"
    assert git(origin, "show", "history:quick.json").split() == ["same", "first", "same"]


def test_values_that_cannot_be_kept_fail_the_stage(checkout: Path) -> None:
    hook = checkout.parent / "origin/hooks/pre-receive"
    hook.write_text("#!/bin/sh\nexit 1\n", encoding="utf-8")
    hook.chmod(0o755)
    assert run_history(checkout).returncode != 0
    assert not (checkout / "called").exists()


def test_a_stage_ends_with_its_first_command_that_fails(checkout: Path) -> None:
    """Also where a later one succeeds."""
    make = checkout / "bin/make"
    make.parent.mkdir()
    make.write_text('#!/bin/sh\necho "$@" >> made\n[ $# -gt 1 ] || exit 2\n', encoding="utf-8")
    make.chmod(0o755)
    environment = os.environ | {"PATH": f"{make.parent}:{os.environ['PATH']}"}
    ended = subprocess.run(
        ["bash", ".ci/run", "test", "lint"],
        cwd=checkout,
        env=environment,
        capture_output=True,
        encoding="utf-8",
    )
    assert ended.returncode == 2
    assert (checkout / "made").read_text(encoding="utf-8") == "test\n"
    assert "test (exit code 2)" in ended.stdout


def test_the_workflow_calls_stages_that_there_are() -> None:
    script = (ROOT / ".ci/run").read_text(encoding="utf-8")
    workflow = yaml.safe_load((ROOT / ".github/workflows/ci.yml").read_text(encoding="utf-8"))
    called = set()
    for job in workflow["jobs"].values():
        for step in job["steps"]:
            words = step.get("run", "").split()
            if words[:2] == ["bash", ".ci/run"]:
                called |= set(words[2:])
    assert {"install", "check", "submissions", "history", "slow"} <= called
    stages = script.partition("run_stage() {")[2].partition("\n}")[0]
    for stage in called:
        assert f" {stage})" in stages or f" {stage} |" in stages or f"| {stage}" in stages


def test_a_pull_request_with_a_submission_changes_nothing_else(checkout: Path) -> None:
    (checkout / "quick.json").write_text("{}", encoding="utf-8")
    git(checkout, "add", "quick.json")
    git(checkout, "commit", "-qm", "baseline")
    base = git(checkout, "rev-parse", "HEAD").strip()
    variables = {"SINCE": base, "GITHUB_EVENT_NAME": "pull_request"}
    submission = checkout / "results/submissions/0.1/tëam/matrix.json"
    submission.parent.mkdir(parents=True)
    submission.write_text("{}", encoding="utf-8")
    git(checkout, "add", "results")
    git(checkout, "commit", "-qm", "mine")
    ended = run_stage(checkout, "submissions", **variables)
    assert ended.returncode == 0, ended.stderr
    (checkout / ".ci/run").write_text((ROOT / ".ci/run").read_text() + "# more\n", encoding="utf-8")
    git(checkout, "commit", "-qam", "and a check")
    ended = run_stage(checkout, "submissions", **variables)
    assert ended.returncode == 1
    assert "REFUSED: a pull request with a submission" in ended.stderr
    assert "this one changes .ci/run" in ended.stderr
    # As a checkout that merges it, after which the default branch went on
    git(checkout, "checkout", "-q", "-b", "pull")
    git(checkout, "checkout", "-q", "-b", "base", base)
    git(checkout, "commit", "-q", "--allow-empty", "-m", "later")
    git(checkout, "mv", "quick.json", "other.json")
    git(checkout, "commit", "-qm", "not of the pull request")
    git(checkout, "merge", "-q", "--no-edit", "pull~1")
    assert run_stage(checkout, "submissions", **variables).returncode == 0
    git(checkout, "checkout", "-q", "pull")
    # A push, of several such merges perhaps, is not judged so
    assert run_stage(checkout, "submissions", SINCE=base).returncode == 0
    # Nor is a change without a submission
    git(checkout, "revert", "--no-edit", "HEAD~1")
    assert run_stage(checkout, "submissions", **variables).returncode == 0
    # What is moved has changed
    submission.parent.mkdir(parents=True)
    git(checkout, "mv", "quick.json", str(submission))
    git(checkout, "commit", "-qm", "moved")
    assert run_stage(checkout, "submissions", **variables).returncode == 1
