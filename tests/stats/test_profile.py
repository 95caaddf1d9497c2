"""The performance profile against numbers worked out by hand."""

import numpy as np
import pytest

from benchmark.stats.profile import performance_profile


def test_performance_profile_by_hand():
    costs = [[10, 20, np.inf], [20, 20, np.inf], [50, np.inf, 5]]
    profile, integral = performance_profile(costs, [1, 2, 5])
    assert profile.tolist() == [[2 / 3, 2 / 3, 2 / 3], [1 / 3, 2 / 3, 2 / 3], [1 / 3, 1 / 3, 2 / 3]]
    np.testing.assert_allclose(integral, [(1 + 1 + 0) / 3, (2 / 3 + 1 + 0) / 3, (0 + 0 + 1) / 3])
    # reached before training
    assert performance_profile([[0], [3]])[1].tolist() == [1, 0]
    with pytest.raises(ValueError, match="not run"):
        performance_profile([[1, np.nan]])
