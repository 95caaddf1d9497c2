"""What a number of seeds can tell: the smallest difference, and the seeds that an effect needs."""

import bisect
import functools
import math
import sys

import numpy as np
from scipy import special

from benchmark.stats.bootstrap import MIN_SEEDS
from benchmark.stats.comparisons import lowest_p
from benchmark.stats.mann_whitney import p_larger

SIMULATIONS = 20_000
# seeds a side; the normal law is close beyond
MAX_SIMULATED = 100
# differences simulated at once: bounds the memory
MAX_DIFFERENCES = 5 * 10**6


@functools.cache
def minimal_difference(n: int, alpha: float = 0.05, power: float = 0.8) -> float:
    """The smallest difference that n seeds a side tell with this power at level alpha.

    The test is the two-sided Mann–Whitney test. The difference is in standard deviations of a
    seed, for normal seeds; inf below five seeds and where n cannot reach alpha (give alpha ÷
    comparisons for Holm's first step). By simulation, seeded, to about 1 % (3 % at n = 100), and by
    the normal law beyond MAX_SIMULATED. A shift of x by d makes U the number of differences y − x
    below d, so the least shift that the test of one simulation notices is one order statistic of
    its differences."""
    if n < MIN_SEEDS or lowest_p(n) > alpha:
        return math.inf
    if n > MAX_SIMULATED:
        # the normal law: the test's efficiency for normal values is 3 ÷ π of the t test's
        z = special.ndtri(1 - alpha / 2) + special.ndtri(power)
        return float(z * math.sqrt(2 * math.pi / (3 * n)))
    critical = bisect.bisect_left(range(n * n), True, key=lambda u: _p_above(u, n) <= alpha / 2)
    simulations = min(SIMULATIONS, MAX_DIFFERENCES // n**2)
    first, second = np.random.default_rng(0).normal(size=(2, simulations, n))
    differences = (second[:, :, None] - first[:, None, :]).reshape(len(first), n * n)
    least_shifts = np.partition(differences, critical - 1, axis=1)[:, critical - 1]
    return float(np.quantile(least_shifts, power))


def seeds_needed(
    effect: float, alpha: float = 0.05, power: float = 0.8, limit: int = 100
) -> int | None:
    """The fewest seeds a side that tell a difference of `effect` standard deviations of a seed.

    None for more than `limit`."""

    def is_enough(n: int) -> bool:
        return minimal_difference(n, alpha, power) <= min(effect, sys.float_info.max)

    n = bisect.bisect_left(range(limit + 1), True, lo=MIN_SEEDS, key=is_enough)
    return n if n <= limit else None


def effect_size(p_improvement: float) -> float:
    """The shift of two normal laws with P(X > Y) = p or 1 − p, in standard deviations: √2 Φ⁻¹(p).

    inf at 0 and 1."""
    return math.sqrt(2) * abs(float(special.ndtri(p_improvement)))


def _p_above(u: int, n: int) -> float:
    """P(U ≥ u) for n seeds a side, one-sided, as `p_larger` gives it.

    It is the p value of a sample that beats u of the n² pairs with 0 … n − 1."""
    x = u // n + (np.arange(n) < u % n) - np.linspace(0.1, 0.9, n)
    return p_larger(x, np.arange(n))
