"""How often the gate goes red though nothing changed, and the smallest loss that turns it red."""

from collections.abc import Sequence
from dataclasses import replace

import numpy as np
import pandas as pd

from benchmark.check import rule as gate
from benchmark.check.paired import p_paired
from benchmark.check.rows import (
    DIVERGED,
    RerunRow,
    RowKey,
    band,
    baseline_rows,
    common_seeds,
    least_loss,
    of_seeds,
)
from benchmark.check.verdict import ALPHA, exit_code
from benchmark.check.worse import PAIRED
from benchmark.stats.intervals import Array, robust_spread
from benchmark.stats.mann_whitney import p_larger

Differences = dict[RowKey, dict[str, float]]  # of a rerun on the baseline's seeds, by seed


def seeds_of(rows: Sequence[RerunRow]) -> list[str]:
    return sorted(common_seeds(rows), key=int)


def false_alarms(pool: list[RerunRow]) -> list[dict[str, object]]:
    """How many of gate.RERUNS reruns on other seeds go red under three rules, against all other
    seeds and against five: rows of false_alarms.csv."""
    many = len(seeds_of(pool)) - 5
    return [*_false_alarms(pool, many), *_false_alarms(pool, 5)]


def _false_alarms(pool: list[RerunRow], seeds_of_baseline: int) -> list[dict[str, object]]:
    rng = np.random.default_rng(0)
    red = dict.fromkeys(("bands alone", "bands, and p <= 0.01 each", "this gate"), 0)
    for _ in range(gate.RERUNS):
        drawn = list(rng.permutation(seeds_of(pool)))
        old = of_seeds(pool, set(drawn[5 : 5 + seeds_of_baseline]))
        new = of_seeds(pool, set(drawn[:5]))
        verdicts = gate.judge(baseline_rows(old), new)
        beyond = [v for v in verdicts if v.mark in "−~" and v.metric != DIVERGED]
        red["bands alone"] += bool(beyond)
        red["bands, and p <= 0.01 each"] += any(v.p is not None and v.p <= 0.01 for v in beyond)
        red["this gate"] += exit_code(verdicts) == 1
    counts = {"seeds": "other", "rerun_seeds": 5, "baseline_seeds": seeds_of_baseline}
    counts["reruns"] = gate.RERUNS
    return [counts | {"rule": rule, "red": n, "share": n / gate.RERUNS} for rule, n in red.items()]


def paired_alarms(pool: list[RerunRow], twins: Sequence[list[RerunRow]]) -> list[dict[str, object]]:
    """How many of gate.RERUNS reruns on the baseline's own seeds go red though nothing but rounding
    changed: a row of false_alarms.csv; none without twins.

    twins: reruns of unchanged code on the first seeds of the pool. A simulated rerun has, for five
    seeds of the pool drawn at random, the pool's values and, group by group and seed by seed, the
    differences of a twin drawn at random, of either sign: under no change both are as likely."""
    kept = [differences_of(pool, twin) for twin in twins]
    kept = [found for found in kept if any(any(d.values()) for d in found.values())]
    if not kept:
        return []
    rng, red = np.random.default_rng(0), 0
    old = baseline_rows(pool)
    for _ in range(gate.RERUNS):
        seeds = list(rng.choice(seeds_of(pool), 5, replace=False))
        new = with_differences(of_seeds(pool, set(seeds)), kept, rng)
        red += exit_code(gate.judge(old, new)) == 1
    counts = {"seeds": "own", "rerun_seeds": 5, "baseline_seeds": len(seeds_of(pool))}
    counts["reruns"] = gate.RERUNS
    return [counts | {"rule": "this gate", "red": red, "share": red / gate.RERUNS}]


def differences_of(pool: list[RerunRow], twin: list[RerunRow]) -> Differences:
    """What a rerun of the pool's seeds changed, in its quality."""
    by_key = {row.key: row.known for row in pool}
    found: Differences = {}
    for row in twin:
        before = by_key.get(row.key, {})
        shared = row.known.keys() & before.keys()
        if row.family == "quality" and shared:
            found[row.key] = {seed: row.known[seed] - before[seed] for seed in shared}
    return found


def with_differences(
    rows: list[RerunRow], twins: list[Differences], rng: np.random.Generator
) -> list[RerunRow]:
    """Rows whose values are moved by differences of twins: one twin's seed and sign for all metrics
    of a group's seed."""
    drawn: dict[tuple[str, ...], tuple[int, int, int]] = {}
    moved = []
    for row in rows:
        values = dict(row.values)
        for seed, value in row.known.items():
            place = (*row.key[:3], seed)
            if place not in drawn:
                drawn[place] = (
                    int(rng.integers(len(twins))),
                    int(rng.integers(10**6)),
                    int(rng.choice([-1, 1])),
                )
            twin, index, sign = drawn[place]
            differences = list(twins[twin].get(row.key, {}).values())
            if differences:
                values[seed] = value + sign * differences[index % len(differences)]
        moved.append(replace(row, values=values))
    return moved


def detectable(pool: list[RerunRow], draws: int = 200) -> pd.DataFrame:
    """The smallest shift of all of a group's seeds that turns 80 % of reruns red: detectable.csv.

    For a rerun on other seeds (shift), and on the baseline's own seeds whose two runs differ by the
    shift alone (shift_paired). The shift is beyond the band, and p <= ALPHA ÷ comparisons, which is
    what Holm asks of the first."""
    rng = np.random.default_rng(0)
    rows = [row for row in pool if row.metric != DIVERGED and len(row.finite_values) > 5]
    families = [row.family for row in rows]
    table = []
    for row in rows:
        level = ALPHA[row.family] / families.count(row.family)
        shift = shift_that_shows(row, level, draws, rng)
        table.append(detectable_row(row, shift, paired_shift(row, level)))
    return pd.DataFrame(table)


def shift_that_shows(row: RerunRow, level: float, draws: int, rng: np.random.Generator) -> float:
    """The shift of five of a row's seeds that is seen in 80 % of the draws."""
    discordant = pairs_allowed(5, len(row.finite_values) - 5, level)
    values = np.array(row.finite_values) * row.sign
    needed = []
    for _ in range(draws):
        new, old = np.split(rng.permutation(values), [5])
        limit = (band(row.metric, list(old)) or 0.0) + np.median(old) - np.median(new)
        # a shift beyond the k-th puts k pairs in order
        gaps = np.sort(np.subtract.outer(old, new).ravel())
        needed.append(max(limit, gaps[-1 - discordant]))
    return float(np.quantile(needed, 0.8))


def paired_shift(row: RerunRow, level: float) -> float:
    """The shift of five seeds, the same for each, that the paired test sees; NaN of a cost."""
    if row.family != "quality":
        return np.nan
    spread = float(np.std(row.finite_values, ddof=1))
    # p falls as the shift grows
    shifts: Array = np.geomspace(0.01, 100, 400) * (spread or 1.0)
    seen = [shift for shift in shifts if p_paired([shift] * 5, spread) <= PAIRED * level]
    return max(float(seen[0]), least_loss(row)) if seen else np.inf


def detectable_row(row: RerunRow, shift: float, paired: float) -> dict[str, object]:
    """A row of detectable.csv."""
    values = np.array(row.finite_values) * row.sign
    spread, middle = robust_spread(values), float(np.median(values))
    # over the untrained generator
    learned = np.nan if row.untrained is None else row.sign * row.untrained - middle
    return {
        **row.key._asdict(),
        "better": "max" if row.sign < 0 else "min",
        "median": abs(middle),
        "robust_spread": spread,
        "band": band(row.metric, row.finite_values),
        "shift": shift,
        "shift_sd": shift / spread if spread else np.nan,
        "shift_paired_sd": paired / spread if spread else np.nan,
        "shift_relative": shift / abs(middle or np.nan),
        "learned": learned,
        "seen": row.family == "cost" or shift < learned,
    }


def pairs_allowed(n: int, m: int, level: float) -> int:
    """How many of the n·m pairs may be in the wrong order where the one-sided p is <= level."""
    for wrong in range(n * m):
        # above y's 1 … m, but for one
        x = [*range(m + 1, m + n), m - wrong + 0.5]
        if wrong > m or p_larger(x, range(1, m + 1)) > level:
            return wrong - 1
    raise AssertionError
