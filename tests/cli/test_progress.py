"""What a run prints of the training of a classifier."""

from types import SimpleNamespace

import numpy as np
import pytest
import torch
from rich.console import Console

from benchmark.cli.progress import ClassifierBar, classifier_bar, share_of_cosine
from benchmark.measure.features.extractors import train_classifier


def images(n: int, seed: int) -> SimpleNamespace:
    """Random images of two classes."""
    generator = torch.Generator().manual_seed(seed)
    samples = torch.randint(256, (n, 1, 8, 8), generator=generator).to(torch.uint8)
    return SimpleNamespace(samples=samples, labels=torch.arange(n) % 2)


def test_the_training_of_a_classifier_shows_its_quarters_and_is_the_same(
    capsys: pytest.CaptureFixture[str],
) -> None:
    alone = train_classifier(images(100, 0), images(50, 1))
    assert capsys.readouterr() == ("", "")
    with classifier_bar():
        shown = train_classifier(images(100, 0), images(50, 1))
        # what cells train has no schedule of the learning rate
        weight = torch.nn.Parameter(torch.ones(1))
        optimizer = torch.optim.Adam([weight])
        weight.square().sum().backward()
        optimizer.step()
    out, err = capsys.readouterr()
    assert out == ""
    assert err.splitlines() == [f"training the classifier: {n} %" for n in (25, 50, 75)]
    for name, array in alone.items():
        np.testing.assert_array_equal(array, shown[name])
    train_classifier(images(100, 0), images(50, 1))
    assert capsys.readouterr() == ("", "")


@pytest.mark.parametrize(("rate", "share"), [(1.0, 0.0), (0.5, 0.5), (0.0, 1.0), (-1e-9, 1.0)])
def test_the_share_follows_the_cosine(rate: float, share: float) -> None:
    assert share_of_cosine(rate) == pytest.approx(share)


def test_on_a_terminal_it_is_a_bar() -> None:
    console = Console(force_terminal=True, width=80, record=True)
    bar = ClassifierBar(console)
    bar.show(0.4)
    bar.progress.refresh()
    assert bar.progress.tasks[0].percentage == pytest.approx(40)
    assert "training the classifier" in console.export_text()
    for step in range(8, 20):
        assert bar.progress.live.is_started
        bar.show(step / 20)
    assert not bar.progress.live.is_started, "the display of the cells is next"
    bar.show(0.0)
    assert bar.progress.live.is_started, "another classifier"
    bar.end()
