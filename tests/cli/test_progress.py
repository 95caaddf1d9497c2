"""What a run prints of the training of a classifier."""

from types import SimpleNamespace

import numpy as np
import pytest
import torch

from benchmark.measure.features import classifier
from benchmark.measure.features.classifier import train_classifier


def images(n: int, seed: int) -> SimpleNamespace:
    """Random images of two classes."""
    generator = torch.Generator().manual_seed(seed)
    samples = torch.randint(256, (n, 1, 8, 8), generator=generator).to(torch.uint8)
    return SimpleNamespace(samples=samples, labels=torch.arange(n) % 2)


def test_the_training_of_a_classifier_has_a_bar_on_a_terminal_and_is_the_same(
    monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.setattr(classifier, "EPOCHS", 2)
    alone = train_classifier(images(200, 0), images(50, 1))
    assert capsys.readouterr() == ("", "")
    # rich takes any stream for a terminal then
    monkeypatch.setenv("TTY_COMPATIBLE", "1")
    shown = train_classifier(images(200, 0), images(50, 1))
    out, err = capsys.readouterr()
    assert out == ""
    assert "training the classifier" in err
    assert "100%" in err
    for name, array in alone.items():
        np.testing.assert_array_equal(array, shown[name])
