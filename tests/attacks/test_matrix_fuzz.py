"""Every field of a matrix with every odd value: refused in one line, or trained a few steps."""

import random

import pytest

from tests.attacks.fuzzed import Case, cases, fault

# A part of a thousand, the same every time
SAMPLED = 40
PARTS = 20


def test_a_sample_of_the_fuzzed_matrices_is_refused_in_one_line_or_runs() -> None:
    quick: list[Case] = [case for case in cases() if "resnet" not in case.field]
    for case in random.Random(0).sample(quick, SAMPLED):
        assert fault(case) is None


@pytest.mark.slow
@pytest.mark.parametrize("part", range(PARTS))
def test_every_fuzzed_matrix_is_refused_in_one_line_or_runs(part: int) -> None:
    faults = [fault(case) for case in [*cases()][part::PARTS]]
    assert [found for found in faults if found] == []
