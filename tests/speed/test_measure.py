"""`make speed`: measuring a checkpoint against a call of torch-fidelity's `calculate_metrics`, once
per checkpoint as its users call it. In turn, each in a process of its own.

Both have the same images, extractor and metrics. torch-fidelity's cache is on for the real images
and off for the generated ones, which are new every time.

The values are compared: torch-fidelity takes the same features in float32, in batches of 64, and
KID, precision and recall of them in float32 too. Its save_cpu_ram is on: the images lie in memory,
and are loaded faster without worker processes. GANBENCH_FULL=1 adds 10,000 images of Fashion-MNIST
against all 60,000 real ones."""

from dataclasses import dataclass
from pathlib import Path
from typing import Any

import pytest
import torch

from benchmark.matrix.cell import Choice
from tests.helpers.cells import EVALUATION
from tests.speed.recorded import append, row, show
from tests.speed.turns import Contender, race
from variants import _variables

FULL = _variables.flag("GANBENCH_FULL")
INCEPTION = "inception-v3-compat"
THEIRS = {
    "fid": "frechet_inception_distance",
    "is_mean": "inception_score_mean",
    "is_std": "inception_score_std",
    "kid": "kernel_inception_distance_mean",
    "precision": "precision",
    "recall": "recall",
}
CASES = [  # device, dataset, extractor, generated images, real images, KID's subset size
    ("cpu", "digits", "classifier", 750, 1000, 250),
    ("cpu", "noise", INCEPTION, 80, 80, 50),
    *([("cpu", "fashion_mnist", "classifier", 10_000, 60_000, 1000)] if FULL else []),
    pytest.param("cuda", "noise", INCEPTION, 50_000, 50_000, 1000, marks=pytest.mark.gpu),
]


@dataclass
class Noise:
    """Colour images 32×32 of any number, for networks with random weights."""

    n: int
    num_modes = None
    source = "made here"

    def train(self) -> torch.Tensor:
        return self._draw(0)

    def holdout(self) -> torch.Tensor:
        return self._draw(1)

    def _draw(self, seed: int) -> torch.Tensor:
        generator = torch.Generator().manual_seed(seed)
        shape = (self.n, 3, 8, 8)
        coarse = torch.randint(256, shape, dtype=torch.uint8, generator=generator)
        return coarse.repeat_interleave(4, 2).repeat_interleave(4, 3)


def pictures(name: str, n: int) -> tuple[Any, torch.Tensor]:
    """A dataset, and n images that are neither of it nor far: two of its images mixed."""
    from benchmark.train.data import make_dataset

    dataset = Noise(n) if name == "noise" else make_dataset(Choice(name))
    real = dataset.train()
    generator = torch.Generator().manual_seed(0)
    one = real[torch.randint(len(real), (n,), generator=generator)].float()
    other = real[torch.randint(len(real), (n,), generator=generator)].float()
    return dataset, (0.8 * one + 0.2 * other).round().to(torch.uint8)


def ours(
    device: str,
    name: str,
    extractor: str,
    n: int,
    n_real: int,
    size: int,
    weights: str,
    folder: str,
) -> Any:
    from benchmark.measure import images

    dataset, fake = pictures(name, n)
    evaluation = EVALUATION.replaced(
        n={"images": n},
        n_real=n_real,
        kid_subsets=100,
        kid_subset_size=size,
        extractor=extractor,
        extractor_weights=weights,
        metrics=list(THEIRS),
    )
    instrument = images.Instrument(dataset, evaluation, device)
    fake = fake.to(device)

    def iterate() -> None:
        found = instrument.measure(fake)
        iterate.facts = {metric: found[column][0] for metric, column in instrument.columns.items()}

    return iterate


def theirs(
    device: str,
    name: str,
    extractor: str,
    n: int,
    n_real: int,
    size: int,
    weights: str,
    folder: str,
) -> Any:
    import torch_fidelity

    from benchmark.measure.features import extractors  # noqa: F401  (makes the classifier known to torch-fidelity)
    from tests.measure.test_measure import ImageDataset

    dataset, fake = pictures(name, n)
    real = dataset.train()[:n_real]
    torch_fidelity.register_dataset("real", lambda root, download: ImageDataset(real))

    def iterate() -> None:
        found = torch_fidelity.calculate_metrics(
            input1=ImageDataset(fake),
            input2="real",
            cuda=device == "cuda",
            **dict.fromkeys(("isc", "fid", "kid", "prc"), True),
            feature_extractor=extractor,
            feature_extractor_weights_path=weights,
            kid_subset_size=size,
            save_cpu_ram=True,
            cache_root=f"{folder}/cache",
            datasets_root=f"{folder}/datasets",
            verbose=False,
        )
        iterate.facts = {metric: found[key] for metric, key in THEIRS.items()}

    return iterate


@pytest.mark.parametrize(("device", "name", "extractor", "n", "n_real", "size"), CASES)
def test_beside_a_call_of_torch_fidelity(
    device: str,
    name: str,
    extractor: str,
    n: int,
    n_real: int,
    size: int,
    tmp_path: Path,
    benchmark: Any,
) -> None:
    if device == "cuda" and not torch.cuda.is_available():
        pytest.skip("no CUDA device")
    if extractor == INCEPTION:
        from tests.measure.test_measure import write_inception

        weights = write_inception(tmp_path / "inception.pth")
    else:
        from benchmark.measure.features.classifier import classifier_weights

        weights = classifier_weights(pictures(name, n)[0])
    options = {
        "name": name,
        "extractor": extractor,
        "n": n,
        "n_real": n_real,
        "size": size,
        "weights": str(weights),
        "folder": str(tmp_path),
    }
    contenders = [
        Contender("ganbench", ours, options),
        Contender("torch-fidelity", theirs, options, worker=False),
    ]
    rounds = 15 if n < 1000 else 5
    mine, reference = benchmark.pedantic(
        race, (contenders, device, rounds), {"limit": 3600.0}, rounds=1
    )
    assert not mine.failed, mine.failed
    assert not reference.failed, reference.failed
    found = row("measuring", device, f"{extractor} {n} against {n_real} {name}", mine, reference)
    for column in ("ratio", "ratio_low", "ratio_high", "rounds"):
        benchmark.extra_info[column] = found[column]
    values = {name: (mine.facts[name], reference.facts[name]) for name in THEIRS}
    benchmark.extra_info["values"] = values
    shown = [f"{name} {ours:.8g} {theirs:.8g}" for name, (ours, theirs) in values.items()]
    print("\n" + ", ".join(shown))
    show([found])
    append([found], device)
    assert mine.facts == pytest.approx(reference.facts, rel=1e-4, abs=1e-4)
