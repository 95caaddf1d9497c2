"""Whether two iterations agree, by hand."""

import math

import pytest
import torch
from torch import nn

from benchmark.train.execution.agreement import Outcome, disagreement, join_outcomes, rate_zero

NAN = math.nan


def outcome(row=(1.0, NAN), generator=(3.0, 4.0), critic=(0.0, 2.0)):
    """An outcome of one seed."""
    return Outcome(*(torch.tensor([values]) for values in (row, generator, critic)))


def test_outcomes_within_the_tolerance_agree():
    close = outcome(row=(1.001, NAN), generator=(3.0, 4.04))
    assert disagreement(close, outcome(), "float32") == ""


@pytest.mark.parametrize(
    ("found", "precision", "reason"),
    [
        (outcome(row=(1.03, NAN)), "float32", "an iteration gives [[1.0"),
        (outcome(row=(1.0, 0.5)), "float32", "an eager one [[1.0, nan]]"),
        # ‖(0, 0.5)‖ / ‖(3, 4)‖
        (outcome(generator=(3.0, 4.5)), "tf32", "the gradient of G is off by 0.1 of"),
        (outcome(critic=(0.0, -2.0)), "bf16", "the gradient of D is off by 2 of"),
    ],
)
def test_a_disagreement_says_what_differs(found, precision, reason):
    assert reason in disagreement(found, outcome(), precision)


def test_a_looser_precision_has_a_wider_tolerance():
    found = outcome(generator=(3.0, 4.5))
    assert disagreement(found, outcome(), "bf16") == ""


def test_every_seed_of_a_stack_has_to_agree():
    expected = join_outcomes([outcome(), outcome()])
    assert expected.generator.shape == (2, 2)
    one_off = join_outcomes([outcome(), outcome(critic=(0.0, 1.0))])
    assert disagreement(expected, expected, "float32") == ""
    assert "of D is off by 0.5" in disagreement(one_off, expected, "float32")


@pytest.mark.parametrize("lr", [0.5, torch.tensor(0.5)])
def test_the_rate_is_zero_within_and_the_same_after(lr):
    optimizer = torch.optim.Adam(nn.Linear(2, 2).parameters(), lr=lr, capturable=False)
    (group,) = optimizer.param_groups
    rate = group["lr"]
    with rate_zero([optimizer]):
        assert float(group["lr"]) == 0
    assert float(group["lr"]) == 0.5
    # A CUDA graph knows the address of a tensor
    assert group["lr"] is rate
