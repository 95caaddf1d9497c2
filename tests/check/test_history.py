"""History: commits read from git and files, changes found in them, and what is written of them."""

import csv
import json
import subprocess
from collections import Counter
from collections.abc import Callable, Sequence
from dataclasses import replace
from datetime import UTC, datetime, timedelta
from pathlib import Path

import numpy as np
import pandas as pd
import pytest
from scipy import stats

from benchmark.analysis.tables import load
from benchmark.check import baseline as check
from benchmark.check.history import output
from benchmark.check.history.read import Commit, from_files, from_git
from benchmark.check.history.series import NOMINAL, look_through, series_of
from benchmark.check.rows import BaselineRow, Row, baseline_rows
from benchmark.check.stored import Baseline, baseline_file, read_baseline
from benchmark.errors import UserError
from benchmark.export import bencher
from benchmark.stats.cusum import changes, limits
from benchmark.store.files import write_json
from tests.conftest import Ended
from tests.helpers import synthetic

Rng = np.random.Generator
START = datetime(2026, 1, 1, tzinfo=UTC)


def row(values: np.ndarray, metric: str = "fid_classifier_750", **changes: str) -> BaselineRow:
    named = {"objective": "wgan", "architecture": "dcgan", "dataset": "digits", "metric": metric}
    by_seed = {str(seed): float(x) for seed, x in enumerate(values)}
    facts = {"protocol": "aa", "training": "bb", "executed": "eager", "untrained": None}
    plain = Row(**named | facts | changes, values=by_seed)  # type: ignore[arg-type]
    return baseline_rows([plain])[0]


def commits_of(rows: Sequence[Sequence[Row]]) -> list[Commit]:
    return [
        Commit(f"c{i}", START + timedelta(days=i), here, "CPU, torch 2", "")
        for i, here in enumerate(rows)
    ]


def drifting(rng: Rng, noise: float = 0.2, seeds: int = 5) -> np.ndarray:
    """20 unchanged commits, then half a spread in 20 commits: (commits, seeds)."""
    drift = np.concatenate([np.zeros(20), 0.5 * np.arange(1, 21) / 20])
    return 10 + rng.normal(size=seeds) + noise * rng.normal(size=(40, seeds)) + drift[:, None]


def test_a_slow_drift_is_found_and_said_to_be_for_the_worse() -> None:
    values = drifting(np.random.default_rng(1))
    commits = commits_of([[row(here)] for here in values])
    (found, *_), _ = look_through(series_of(commits))
    assert (found.change.kind, found.is_worse) == ("drift", True)
    assert 18 <= found.start.number <= 26
    assert found.start.number < found.end.number <= 39
    (shown,) = output.change_rows(commits, [found])
    assert shown[:4] == ("−", "wgan / dcgan / digits", "fid_classifier_750", "drift")
    falling, _ = look_through(series_of(commits_of([[row(20 - here)] for here in values])))
    assert not falling[0].is_worse


def test_another_protocol_or_other_options_begin_a_series_anew() -> None:
    level = np.arange(5.0)
    before = [[row(level)]] * 3
    for change in ({"protocol": "cc"}, {"training": "cc"}):
        commits = commits_of([*before, *[[row(level + 9, **change)]] * 3])
        series = series_of(commits)
        assert [len(one.places) for one in series] == [3, 3]
        assert look_through(series)[0] == []
    ((found,), _) = look_through(series_of(commits_of([*before, [row(level + 9)]])))
    assert found.change.kind == "step"


def test_costs_and_divergence_are_shown_and_not_judged() -> None:
    slow = [[row(np.full(5, 1.0 + i), "relative speed")] for i in range(9)]
    flags = [[row(np.full(5, float(i > 4)), "diverged")] for i in range(9)]
    for rows in (slow, flags):
        series = series_of(commits_of(rows))
        assert look_through(series) == ([], None)
        assert len(output.place_rows(commits_of(rows), series)) == 9


@pytest.fixture
def repository(tmp_path: Path) -> Path:
    """A baseline with a step at its third commit, after one that cannot be read."""
    file = tmp_path / "results/baselines/mine.json"

    def git(*words: str) -> None:
        author = ["-c", "user.name=a", "-c", "user.email=a@b", "-c", "commit.gpgsign=false"]
        command = ["git", "-C", str(tmp_path), *author, *words]
        subprocess.run(command, check=True, capture_output=True)

    git("init", "-q")
    write_json(file, {"matrix": "mine", "groups": []})
    git("add", ".")
    git("commit", "-qm", "older")
    for i, shift in enumerate((0.0, 0.0, 5.0)):
        level = np.arange(6.0) + shift
        rows = [row(level), row(np.zeros(6), "diverged")]
        alarms = {"reruns": 1, "seeds": 1, "red": i}
        write_json(file, baseline_file("mine", alarms, Baseline(rows, [])))  # type: ignore[arg-type]
        git("commit", "-qam", f"number {i}")
    return file


def test_accepted_baselines_are_read_from_git(repository: Path) -> None:
    notes: list[object] = []
    commits = from_git(repository, notes.append)
    assert [len(commit.name) for commit in commits] == [10, 10, 10]
    assert all(commit.time.tzinfo for commit in commits)
    assert len(notes) == 1
    assert " is left out: mine.json is not a baseline of this version" in str(notes[0])
    ((found,), _) = look_through(series_of(commits))
    assert (found.change.kind, found.end.number, found.is_worse) == ("step", 2, True)


def test_the_verb_over_git_and_its_exit_codes(
    repository: Path, ganbench: Callable[..., Ended], tmp_path: Path
) -> None:
    where = ("--matrix", "mine", "--baselines", str(repository.parent))
    file = tmp_path / "out/history.csv"
    ended = ganbench("history", *where, "--csv", str(file))
    assert ended.code == 1
    assert ended.out.startswith("CHANGED: 1 change, 1 for the worse; 3 commits, 1 series; ")
    with file.open(encoding="utf-8") as opened:
        rows = list(csv.DictReader(opened))
    assert [*rows[0]][:4] == ["time", "commit", "machine", "code"]
    means = [float(line["wgan-dcgan-digits.fid_classifier_750"]) for line in rows]
    assert means == [2.5, 2.5, 7.5]
    assert datetime.fromisoformat(rows[0]["time"]).tzinfo
    files = [str(repository)] * 2
    assert ganbench("history", *files).code == 0
    bad = ganbench("history", *where, "--since", "x" + rows[0]["commit"])
    assert (bad.code, bad.out) == (2, "")
    assert "(did you mean" in bad.err
    shown = ganbench("history", *where, "--all")
    assert shown.out.count(rows[2]["commit"]) >= 2
    missing = ganbench("history", "--matrix", "other", "--baselines", str(repository.parent))
    assert missing.code == 2
    assert "no commit of the repository has" in missing.err


def test_what_is_not_compared_has_a_column_of_its_own(tmp_path: Path) -> None:
    """Otava would take another protocol, or other options, for a change, and reads no empty
    cell."""
    level = np.arange(5.0)
    rows = [row(level), row(level + 9, protocol="cc"), row(level + 5, training="cc")]
    commits = commits_of([[rows[i]] for i in (0, 0, 1, 2, 2)])
    file = tmp_path / "history.csv"
    output.write_otava(commits, series_of(commits), file)
    frame = pd.read_csv(file)
    name = "wgan-dcgan-digits.fid_classifier_750"
    assert [*frame][4:] == [name, f"{name}.since_c2", f"{name}.since_c3"]
    assert [frame[column].tolist() for column in [*frame][4:]] == [[2] * 5, [11] * 5, [7] * 5]


def test_what_is_no_history_is_one_line(tmp_path: Path) -> None:
    with pytest.raises(UserError, match="is neither a baseline nor a result set"):
        from_files([tmp_path])
    with pytest.raises(UserError, match="not a git repository"):
        from_git(tmp_path / "quick.json", print)


@pytest.fixture(scope="module")
def results(tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("results")
    return synthetic.write(folder / "quick", objectives=["wgan"], samples=False, steps=2)


def test_result_sets_say_machine_and_code(results: Path) -> None:
    first, second = from_files([results, results])
    assert first.code.startswith("0123456789, code ")
    assert look_through(series_of([first, second]))[0] == []
    rows = output.place_rows([first, second], series_of([first, second]))
    quality = [line for line in rows if line[2] == "swd_2k"]
    assert [line[0] for line in quality] == [str(results)] * 2
    assert quality[0][5:7] == ("5", "aaaaaaaa")


def test_bencher_takes_medians_with_intervals(
    results: Path, ganbench: Callable[..., Ended], tmp_path: Path
) -> None:
    ended = ganbench("export", "bencher", "--results", results.parent)
    assert (ended.code, ended.out) == (0, f"{results / 'exports/bencher.json'}\n")
    content = json.loads((results / "exports/bencher.json").read_text(encoding="utf-8"))
    assert content == bencher.measures(load(results))
    metric = content["wgan / mlp / gaussians8"]["swd_2k"]
    finals = sorted(load(results).cells["swd_2k:final"].dropna())
    expected = (finals[2], finals[0], finals[4])
    assert tuple(metric[name] for name in ("value", "lower_value", "upper_value")) == expected
    assert content["wgan / dcgan / digits"]["diverged"] == {"value": 0.0}
    refused = ganbench("export", "bencher", "--results", results.parent, "--follow")
    assert refused.code == 2


RATES = (
    # (seeds, whether every commit has other seeds, noise of the same seeds in spreads of seeds)
    (5, False, 0.3),
    (5, False, 1.0),
    (12, True, 0.0),
    (25, False, 1.0),
    (25, True, 0.0),
)


def simulated(
    rng: Rng, rows: Sequence[Row], commits: int, seeds: int, has_other_seeds: bool, noise: float
) -> list[Commit]:
    """Unchanged code over the quick matrix, with the laws and correlations of its 25 seeds: each
    commit has other seeds, or the same ones moved by the deviation of another seed."""
    all_seeds = sorted(rows[0].values, key=int)
    chosen = rng.choice(all_seeds, seeds, replace=False)
    history = []
    for i in range(commits):
        drawn = rng.choice(all_seeds, seeds)
        here = []
        for one in rows:
            values = {seed: x if x is not None else np.nan for seed, x in one.values.items()}
            middle = np.nanmean([*values.values()])
            if has_other_seeds:
                new = {f"{i}.{j}": values[seed] for j, seed in enumerate(drawn)}
            else:
                pairs = zip(chosen, drawn, strict=True)
                new = {a: values[a] + noise * (values[b] - middle) for a, b in pairs}
            here.append(replace(one, values=new))
        history.append(here)
    return commits_of(history)


def quality_of_the_baseline() -> list[BaselineRow]:
    rows = read_baseline(check.IN_CHECKOUT / "quick.json", "quick").rows
    return [one for one in rows if one.family == "quality"]


@pytest.mark.slow
@pytest.mark.parametrize(("seeds", "has_other_seeds", "noise"), RATES)
def test_unchanged_commits_of_the_whole_matrix_rarely_signal(
    seeds: int, has_other_seeds: bool, noise: float
) -> None:
    """Over 100 histories of 40 commits, of which the first cannot signal: Poisson's upper 95 %
    limit is at most 1 signal in 100 commits. The numbers are in docs/history.md."""
    rng = np.random.default_rng(0)
    rows = quality_of_the_baseline()
    num_found = 0
    for _ in range(100):
        commits = simulated(rng, rows, 40, seeds, has_other_seeds, noise)
        num_found += len(look_through(series_of(commits))[0])
    upper = stats.chi2.ppf(0.95, 2 * (num_found + 1)) / 2 / (100 * 39)
    print(f"\n{seeds} seeds, other ones {has_other_seeds}, noise {noise}: {num_found}, {upper:.2%}")
    assert upper <= 0.01


POWER = (
    # (seeds, noise of the same seeds in spreads of seeds, commits before, share that is found)
    (5, 0.3, 20, 0.97),
    (12, 0.3, 20, 0.97),
    (25, 0.3, 20, 0.97),
    (5, 1.0, 20, 0.01),
    (5, 1.0, 40, 0.02),
    (12, 1.0, 20, 0.2),
    (25, 1.0, 20, 0.75),
    (25, 1.0, 40, 0.9),
)


@pytest.mark.slow
@pytest.mark.parametrize(("seeds", "noise", "before", "expected"), POWER)
def test_what_is_found_of_a_drift_of_half_a_spread(
    seeds: int, noise: float, before: int, expected: float
) -> None:
    """A drift for the worse over 20 commits in one of the 70 series of the quick matrix, with the
    law of its 25 seeds; found: a change for the worse after the drift began. The standard error of
    1,000 histories is at most .016. The numbers are in docs/history.md."""
    rng = np.random.default_rng(1)
    rows = quality_of_the_baseline()
    limit = limits(len(rows), NOMINAL)
    drift = np.concatenate([np.zeros(before), 0.5 * np.arange(1, 21) / 20])
    kinds: Counter[str] = Counter()
    for _ in range(1000):
        one = rows[rng.integers(len(rows))]
        losses = one.sign * float(np.std(one.finite_values, ddof=1)) * drift
        history = simulated(rng, [one], before + 20, seeds, False, noise)
        series = []
        for commit, loss in zip(history, losses, strict=True):
            series.append({seed: x + loss for seed, x in commit.rows[0].known.items()})
        found = [change for change in changes(series, limit) if change.found >= before]
        worse = {change.kind for change in found if change.sign == one.sign}
        kinds.update(worse)
        kinds["found"] += bool(worse)
    shares = {kind: num / 1000 for kind, num in kinds.items()}
    print(f"\n{seeds} seeds, noise {noise}, {before} commits before: {shares}")
    assert shares["found"] == pytest.approx(expected, abs=0.05)
