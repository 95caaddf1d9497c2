"""How often a report claims what is false, by simulation: seeds that share weights and batches,
with the spreads and the correlations that were measured, and with worse ones."""

import json
from collections.abc import Callable

import numpy as np
import pytest

from benchmark.check.shipped import IN_CHECKOUT
from benchmark.stats.comparisons import compare, judged
from benchmark.stats.intervals import best_first, median_interval, share_interval

pytestmark = pytest.mark.slow
FAMILIES = 500
ALPHA = 0.05
# three standard errors of a rate of ALPHA over so many families
MOST = ALPHA + 3 * (ALPHA * (1 - ALPHA) / FAMILIES) ** 0.5
OBJECTIVES = 7
PLACES = {"gaussians8": "swd_2k", "digits": "fid_classifier_750"}
Draw = Callable[[np.random.Generator, int], np.ndarray]


def measured() -> dict[str, np.ndarray]:
    """The logarithms of 25 seeds of the quick matrix less their median: place -> objective x
    seed."""
    groups = json.loads((IN_CHECKOUT / "quick.json").read_text(encoding="utf-8"))["groups"]
    residuals = {}
    for dataset, metric in PLACES.items():
        rows = [
            list(group["values"].values())
            for group in groups
            if group["dataset"] == dataset and group["metric"] == metric
        ]
        logs = np.log(np.array(rows, dtype=float))
        residuals[dataset] = logs - np.median(logs, axis=1, keepdims=True)
    return residuals


RESIDUALS = measured()


def real(rng: np.random.Generator, n: int) -> np.ndarray:
    """Real spreads and real correlations over seeds, centred at one value: one sign for all
    objectives of a seed, so that every difference is symmetric."""
    places = []
    for residuals in RESIDUALS.values():
        drawn = residuals[:, rng.integers(0, residuals.shape[1], n)]
        places.append(np.exp(drawn * rng.choice([-1, 1], n)))
    return np.array(places)


def normal(rng: np.random.Generator, n: int) -> np.ndarray:
    return rng.normal(size=(2, OBJECTIVES, n))


def unequal(rng: np.random.Generator, n: int) -> np.ndarray:
    """Standard deviations from 1 to 30."""
    return normal(rng, n) * np.geomspace(1, 30, OBJECTIVES)[:, None]


def paired(rng: np.random.Generator, n: int) -> np.ndarray:
    """Seeds that correlate by 0.8."""
    return 2 * rng.normal(size=(2, 1, n)) + normal(rng, n)


def tied(rng: np.random.Generator, n: int) -> np.ndarray:
    return np.round(normal(rng, n))


def bimodal(rng: np.random.Generator, n: int) -> np.ndarray:
    """One objective at 0, the others at 1 or -1: t tests and rank tests fail here."""
    values = rng.choice([-1, 1], (2, OBJECTIVES, n)) + 0.01 * normal(rng, n)
    values[:, 1] = 0.0
    return values


def diverging(rng: np.random.Generator, n: int) -> np.ndarray:
    """Spreads from 1 to 30, and every run diverges one time in five."""
    return np.where(rng.random((2, OBJECTIVES, n)) < 0.2, np.inf, unequal(rng, n))


@pytest.mark.parametrize("draw", [real, normal, unequal, paired, tied, bimodal, diverging])
@pytest.mark.parametrize("reference", ["1", None])
@pytest.mark.parametrize("n", [5, 10, 25])
def test_a_report_makes_a_false_claim_one_time_in_twenty_at_most(draw: Draw, reference, n):
    """Two places, seven objectives of equal quality, judged as one family."""
    rng = np.random.default_rng(n)
    false = 0
    for _ in range(FAMILIES):
        rows = []
        for place in draw(rng, n):
            values = {str(i): dict(enumerate(row)) for i, row in enumerate(place)}
            rows += compare(values, minimise=True, reference=reference)
        false += any(row.verdict != "not separated" for row in judged(rows, alpha=ALPHA))
    assert false / FAMILIES <= MOST


@pytest.mark.parametrize("n", [10, 25])
def test_small_differences_are_seldom_claimed_the_wrong_way_round(n):
    """Objectives from 0 to 0.6 standard deviations apart: a claim is false where it says better of
    the worse one, or separates the two that are equal."""
    rng = np.random.default_rng(n)
    shifts = np.array([0.1, 0, 0, 0.2, 0.4, 0.6, -0.1])
    false = 0
    for _ in range(FAMILIES):
        rows = []
        for place in normal(rng, n) + shifts[:, None]:
            values = {str(i): dict(enumerate(row)) for i, row in enumerate(place)}
            rows += compare(values, minimise=True, reference="1")
        claimed = [row for row in judged(rows, alpha=ALPHA) if row.verdict != "not separated"]
        truth = {str(i): "better" if shift < 0 else "worse" for i, shift in enumerate(shifts)}
        false += any(row.first == "2" or row.verdict != truth[row.first] for row in claimed)
    assert false / FAMILIES <= MOST


@pytest.mark.parametrize(("n", "covered"), [(5, 0.89), (12, 0.91)])
def test_what_the_interval_of_a_leader_covers(n, covered):
    """Of seven equal objectives: its median less than promised, as the report says; the share of
    seeds on which it is first, as promised."""
    rng = np.random.default_rng(n)
    median_in, share_in = [], []
    for _ in range(4000):
        values = rng.normal(size=(OBJECTIVES, n))
        leader = best_first(values)[0]
        low, high = median_interval(values[leader])
        median_in.append(low <= 0 <= high)
        first_on = int((values[leader] == values.min(axis=0)).sum())
        share = share_interval(first_on, n, level=1 - ALPHA / OBJECTIVES)
        share_in.append(share.low <= 1 / OBJECTIVES <= share.high)
    assert np.mean(median_in) == pytest.approx(covered, abs=0.02)
    assert np.mean(share_in) >= 0.95 - 0.01


def test_real_differences_are_found():
    """The 25 measured seeds with the medians that they have: 7 of 12 differences in 10 of them."""
    rng = np.random.default_rng(0)
    found = []
    for _ in range(50):
        rows = []
        for dataset, metric in PLACES.items():
            drawn = rng.choice(25, 10, replace=False)
            values = {name: dict(enumerate(row[drawn])) for name, row in finals(dataset, metric)}
            rows += compare(values, minimise=True, reference="nonsaturating")
        found.append(sum(row.verdict != "not separated" for row in judged(rows, alpha=ALPHA)))
    assert np.mean(found) >= 5


def finals(dataset: str, metric: str) -> list[tuple[str, np.ndarray]]:
    groups = json.loads((IN_CHECKOUT / "quick.json").read_text(encoding="utf-8"))["groups"]
    return [
        (group["objective"], np.array(list(group["values"].values()), dtype=float))
        for group in groups
        if group["dataset"] == dataset and group["metric"] == metric
    ]
