"""Degenerate result sets: every reader ends without a traceback or a warning, and every figure
holds its texts."""

import math
import warnings
from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from PIL import Image

from benchmark.analysis import compare, published, sides, tables
from benchmark.api.results import Results
from benchmark.check import baseline, output
from benchmark.errors import UserError
from benchmark.metrics import ROWS
from benchmark.report import compare_page, report
from tests.helpers import synthetic

pytestmark = pytest.mark.slow

NAMES = ("nonsaturating", "lsgan", "wgan")
POINTS = [("gaussians8", "mlp")]
DIGITS = [("digits", "dcgan")]
CROSSED = [("digits", "dcgan"), ("digits", "resnet")]
NORMS = ("d_grad_norm", "g_grad_norm", "slope", "d_real_std", "d_fake_std", "saturation")
INF, NAN = math.inf, math.nan
LONG = "pairs=independent,note=a_label_of_forty_signs_or_more"


def constant(value: float) -> Callable[..., float]:
    return lambda *_: value


def around_zero(objective: str, metric: str, seed: int, i: int) -> float:
    return 0.01 * ((seed * 7 + i * 3 + len(objective)) % 5) - 0.02


def lost(how: str, names=NAMES, seeds=range(5)) -> Mapping[tuple[str, str, int], str]:
    places = ("mlp", "dcgan", "resnet")
    return {(name, place, seed): how for name in names for place in places for seed in seeds}


def probes(value: float) -> dict[str, Any]:
    return {"probes": lambda *_: dict.fromkeys(NORMS, value)}


CASES: dict[str, dict[str, Any]] = {
    f"every value {value}": {"curve": constant(value)}
    for value in (0.0, 1.0, -0.5, NAN, INF, -INF, 1e300, 1e-300)
}
CASES |= {
    f"every floor {value}": {"metrics": {"gaussians8": {"swd_2k": value, "js_grid_2k": value}}}
    | {"curve": around_zero}
    for value in (0.0, -1.0, NAN, INF)
}
for how in ("diverged", "error", "running", "missing", "timeout", "interrupted"):
    CASES[f"all {how}"] = {"status": lost(how)}
    CASES[f"the reference {how}"] = {"status": lost(how, NAMES[:1])}
    CASES[f"all {how} in a grid"] = {"groups": CROSSED, "status": lost(how)}
for row in ROWS:
    groups, suffix = (POINTS, "2k") if "points" in row.modality else (DIGITS, "classifier_750")
    alone = {groups[0][0]: {f"{row.name}_{suffix}": 0.01}}
    CASES[f"{row.name} alone"] = {"groups": groups, "metrics": alone, "curve": around_zero}
CASES |= {
    "values over 500 powers of ten": {"curve": lambda o, m, s, i: 10.0 ** (300 - 100 * i + s)},
    "a hole in a seed": {"curve": lambda o, m, s, i: NAN if s == 1 else 1.0 + i},
    "holes at the end": {"curve": lambda o, m, s, i: NAN if i == 5 else 1.0 + i},
    "one seed": {"seeds": [0]},
    "two seeds": {"seeds": [0, 1]},
    "600 seeds": {"seeds": range(600), "objectives": NAMES[:2], "evaluations": 2, "steps": 1},
    "one objective": {"objectives": ["wgan"], "reference": None},
    "untrained rows alone": {"evaluations": 1, "untrained": True, "steps": 0},
    "nobody learns": {"untrained": True, "curve": constant(3.0)},
    "no metric": {"metrics": {"gaussians8": {}}},
    "no probes": {"older": True, "steps": 0},
    "no seconds": {"seconds": dict.fromkeys(NAMES, 0.0)},
    "no steps": {"fields": lambda *_: {"g_steps": 0, "train_seconds": 0.0}},
    "no workload": {"fields": lambda *_: {"reference_ms": 0.0, "peak_memory_mb": 0.0}},
    "probes of 0": probes(0.0),
    "probes below 0": probes(-1.0),
    "huge probes": probes(1e300),
    "layers of 0": {"layer": constant(0.0)},
    "infinite layers": {"layer": constant(INF)},
    "a grid of zeros": {"groups": CROSSED, "curve": constant(0.0)},
    "a grid of KID": {
        "groups": CROSSED,
        "metrics": {"digits": {"kid_classifier_750": 1e-3}},
        "curve": around_zero,
    },
    "long labels": {
        "objectives": [NAMES[0], f"wgan_gp[a=0.1,{LONG}]", f"wgan_gp[a=0.5,{LONG}]"],
        "groups": [("digits", "dcgan[width=64,generator_norm=none,norm=layer]"), CROSSED[1]],
    },
    "labels in other scripts": {"objectives": [NAMES[0], "wgan[note=损失]", "wgan[note=損失]"]},
}


def read(folder: Path, options: dict[str, Any]) -> list[UserError]:
    """Every reader of a result set. Returns what they refused."""
    defaults = {"objectives": NAMES, "groups": POINTS, "seeds": range(5)}
    found = tables.load(synthetic.write(folder, **(defaults | options)))
    published.write(found.published, folder)
    report.write(folder, found)
    assert not Results(folder).scores.isna().all(axis=None) or Results(folder).scores.empty
    refused = []
    for reader in (_compare_objectives, _compare_sets, _check):
        try:
            reader(found, folder)
        except UserError as error:
            refused.append(error)
    return refused


def _compare_objectives(found: tables.Tables, folder: Path) -> None:
    chosen = sides.of_labels(found, list(found.cells["objective"].unique()))
    rows = compare.differences(chosen, ["final", "best", "area", "equal_time"])
    compare_page.write(folder / "objectives", chosen, rows)


def _compare_sets(found: tables.Tables, folder: Path) -> None:
    chosen = sides.of_sets({"a": found, "b": found})
    compare_page.write(folder / "sets", chosen, compare.differences(chosen, ["final", "area"]))


def _check(found: tables.Tables, folder: Path) -> None:
    baseline.accept(found, "runs")
    verdicts = baseline.compare(found, "runs")
    assert not {verdict.mark for verdict in verdicts} & set("−!")
    output.to_markdown(verdicts)
    output.write_junit(verdicts, folder / "junit.xml")


@pytest.mark.parametrize("name", CASES)
def test_degenerate_results_are_read_without_a_warning(tmp_path, monkeypatch, name):
    monkeypatch.setattr("benchmark.store.code.training_code", lambda cell: "c0de")
    monkeypatch.setattr(baseline, "BASELINES", tmp_path / "baselines")
    folder = tmp_path / "runs"
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        warnings.simplefilter("ignore", DeprecationWarning)
        refused = read(folder, CASES[name])
    for error in refused:
        assert "\n" not in str(error)
        assert len(str(error)) > 20
    for path in folder.rglob("figures/*.png"):
        if path.name.startswith("why_"):
            continue
        pixels = np.asarray(Image.open(path).convert("L"))
        edges = np.concatenate([pixels[0], pixels[-1], pixels[:, 0], pixels[:, -1]])
        assert (edges > 250).all(), f"{path.name} is cut at its edge"
