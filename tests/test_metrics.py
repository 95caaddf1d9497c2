"""Metric columns in words."""

import pytest

from benchmark.errors import UserError
from benchmark.metrics import full_name, short_name


@pytest.mark.parametrize(
    ("column", "short", "full"),
    [
        (
            "fid_classifier_750",
            "classifier-FID (750)",
            "classifier-FID (digits, n = 750; comparable within this protocol only)",
        ),
        (
            "fid_inception_50k",
            "Inception-FID (50,000)",
            "Inception-FID (digits, torch-fidelity weights, n = 50,000)",
        ),
        (
            "kid_inception_10k",
            "Inception-KID (10,000)",
            "Inception-KID (digits, torch-fidelity weights, n = 10,000; papers publish n = 50,000)",
        ),
        (
            "fid_clip_vit_b_32_2k",
            "clip-vit-b-32-FID (2,000)",
            "clip-vit-b-32-FID (digits, n = 2,000; comparable within this protocol only)",
        ),
        (
            "precision_classifier_750",
            "Precision (classifier, 750)",
            "Precision (digits, features of classifier, n = 750; comparable within this protocol "
            "only)",
        ),
        (
            "swd_2k",
            "Sliced Wasserstein distance",
            "Sliced Wasserstein distance (digits, n = 2,000)",
        ),
        (
            "js_1_2500",
            "JS divergence of character 1-grams",
            "JS divergence of character 1-grams (digits, n = 2,500)",
        ),
        ("fid", "FID", "FID (digits)"),
    ],
)
def test_a_column_in_words_says_its_protocol(column: str, short: str, full: str) -> None:
    assert short_name(column) == short
    assert full_name(column, "digits") == full


def test_an_unknown_column_has_no_name() -> None:
    with pytest.raises(UserError, match="unknown metric"):
        short_name("madness_750")
