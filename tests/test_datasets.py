"""Every dataset's shapes, scalings and splits, and the readers against files the test writes."""

import gzip
import io
import math
import re
import struct
import zipfile
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
import torchvision
from PIL import Image

from tests.conftest import Ended
from variants import load
from variants.datasets import load_idx_pair
from variants.datasets._images import read_images


def dataset(name: str, **parameters: Any) -> Any:
    return load("datasets", name).Dataset(**parameters)


# Points


@pytest.mark.parametrize("name", ["gaussians8", "gaussians25", "swissroll"])
def test_points_are_two_independent_draws_that_never_change(name: str) -> None:
    data = dataset(name)
    train, held = data.train(), data.holdout()
    assert (data.shape, data.modality) == ((2,), "points")
    assert (train.shape, held.shape) == ((100_000, 2), (20_000, 2))
    assert train.dtype == held.dtype == torch.float32
    assert not {tuple(p) for p in train.tolist()} & {tuple(p) for p in held.tolist()}
    again = dataset(name)
    assert torch.equal(again.train(), train)
    assert torch.equal(again.holdout(), held)


@pytest.mark.parametrize(("name", "count", "sigma"), [("gaussians8", 8, 0.014144), ("gaussians25", 25, 0.017680)])
def test_mixtures_are_drawn_from_the_modes_they_state(name: str, count: int, sigma: float) -> None:
    data = dataset(name)
    modes, train = data.modes(), data.train()
    assert modes.centres.shape == (count, 2)
    assert modes.sigma == pytest.approx(sigma, abs=1e-6)
    assert modes.weights.tolist() == pytest.approx([1 / count] * count)
    nearest = torch.cdist(train, modes.centres).argmin(dim=1)
    assert torch.equal(nearest, data.splits[0].labels)
    shares = torch.bincount(nearest, minlength=count) / len(train)
    assert (shares - 1 / count).abs().max() < 5 * math.sqrt(1 / count / len(train))
    offsets = train - modes.centres[nearest]
    assert offsets.std(dim=0).tolist() == pytest.approx([sigma, sigma], rel=0.01)
    assert offsets.mean(dim=0).abs().max() < 5 * sigma / math.sqrt(len(train))


def test_gaussians8_lie_on_a_circle_an_eighth_of_a_turn_apart() -> None:
    centres = dataset("gaussians8").modes().centres
    assert centres.norm(dim=1).tolist() == pytest.approx([1.4144] * 8, abs=5e-5)
    neighbours = torch.cdist(centres, centres).sort(dim=1).values[:, 1:3]
    chord = 2 * 1.41443 * math.sin(math.pi / 8)
    assert neighbours.flatten().tolist() == pytest.approx([chord] * 16, abs=1e-4)


def test_gaussians25_lie_on_a_grid() -> None:
    centres = dataset("gaussians25").modes().centres
    axis = [-1.41443, -0.70721, 0.0, 0.70721, 1.41443]
    assert sorted(map(tuple, centres.double().round(decimals=3).tolist())) == sorted(
        (round(x, 3), round(y, 3)) for x in axis for y in axis
    )


def test_the_swiss_roll_is_archimedes_spiral_over_seven_and_a_half() -> None:
    data = dataset("swissroll")
    assert data.modes() is None
    points = data.train().double() * 7.5
    radius, angle = points.norm(dim=1), torch.atan2(points[:, 1], points[:, 0])
    t = angle + 2 * math.pi * ((radius - angle) / (2 * math.pi)).round()  # on the spiral radius and angle are both t
    assert (radius - t).std().item() == pytest.approx(0.25, rel=0.05)
    assert 1.5 * math.pi - 1 < radius.min() < 1.5 * math.pi + 0.1
    assert 4.5 * math.pi - 0.1 < radius.max() < 4.5 * math.pi + 1.5


# Digits


def test_digits_are_scikit_learns_split_in_two_by_class() -> None:
    from sklearn.datasets import load_digits

    data, source = dataset("digits"), load_digits()
    (train, held) = data.splits
    assert (train.samples.shape, held.samples.shape) == ((1000, 1, 8, 8), (797, 1, 8, 8))
    assert train.samples.dtype == held.samples.dtype == torch.uint8
    levels = torch.cat([train.samples, held.samples]).unique().tolist()
    assert levels == [round(level * 255 / 16) for level in range(17)]
    every = torch.cat([train.samples, held.samples]).flatten(1).float().mul(16 / 255).round().int()
    rows = torch.cat([every, torch.cat([train.labels, held.labels]).unsqueeze(1).int()], dim=1).tolist()
    original = np.column_stack([source.data, source.target]).astype(int).tolist()
    assert sorted(rows) == sorted(original)  # so the two are disjoint, and nothing is lost
    whole = np.bincount(source.target) / 1797
    assert np.abs(np.bincount(train.labels.numpy()) / 1000 - whole).max() < 0.001
    assert torch.equal(dataset("digits").train(), train.samples)


# IDX files

PARTS = ("train-images-idx3", "train-labels-idx1", "t10k-images-idx3", "t10k-labels-idx1")


def idx(array: np.ndarray) -> bytes:
    return bytes([0, 0, 8, array.ndim]) + struct.pack(f">{array.ndim}I", *array.shape) + array.tobytes()


def write_idx(folder: Path, zipped: bool = False) -> dict[str, np.ndarray]:
    """MNIST's four files with 6 and 4 images."""
    rng = np.random.default_rng(0)
    arrays = {
        part: rng.integers(0, 256 if "images" in part else 10, (n, 28, 28) if "images" in part else n, dtype=np.uint8)
        for part, n in zip(PARTS, (6, 6, 4, 4), strict=True)
    }
    folder.mkdir(parents=True, exist_ok=True)
    for part, array in arrays.items():
        if zipped:
            (folder / f"{part}-ubyte.gz").write_bytes(gzip.compress(idx(array)))
        else:
            (folder / f"{part}-ubyte").write_bytes(idx(array))
    return arrays


@pytest.mark.parametrize("zipped", [False, True])
@pytest.mark.parametrize("name", ["mnist", "fashion_mnist"])
def test_idx_files_are_read_plain_and_zipped(name: str, zipped: bool, tmp_path: Path) -> None:
    written = write_idx(tmp_path, zipped)
    for split, part in zip(dataset(name, root=str(tmp_path)).splits, ("train", "t10k"), strict=True):
        assert split.samples.dtype == torch.uint8
        assert np.array_equal(split.samples.numpy(), written[f"{part}-images-idx3"][:, None])
        assert np.array_equal(split.labels.numpy(), written[f"{part}-labels-idx1"])


def test_the_environment_says_where_data_lies(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("GANBENCH_DATA", str(tmp_path))
    written = write_idx(tmp_path / "mnist")
    assert np.array_equal(dataset("mnist").holdout().numpy()[:, 0], written["t10k-images-idx3"])


IMAGES = idx(np.zeros((6, 28, 28), np.uint8))
DAMAGES: dict[str, tuple[str, bytes | None, str]] = {  # the file, its content or None for no file, what is said of it
    "truncated": ("train-images-idx3", IMAGES[:-1], "truncated"),
    "too long": ("train-images-idx3", IMAGES + b"x", "bytes"),
    "empty": ("train-images-idx3", b"", "not an IDX file"),
    "header cut": ("train-images-idx3", IMAGES[:9], "truncated"),
    "another type": ("train-images-idx3", b"\0\0\x0d\3" + IMAGES[4:], "not an IDX file"),
    "labels for images": ("t10k-images-idx3", idx(np.zeros(4, np.uint8)), "3 dimensions"),
    "no labels": ("t10k-labels-idx1", None, "has no t10k-labels-idx1"),
    "no training images": ("train-images-idx3", None, "has no train-images-idx3"),
    "other count": ("train-labels-idx1", idx(np.zeros(5, np.uint8)), "train has 6 images but another number"),
    "other size": ("t10k-images-idx3", idx(np.zeros((4, 14, 14), np.uint8)), "(4, 14, 14)"),
}


@pytest.mark.parametrize("damage", DAMAGES)
def test_damaged_idx_files_are_named(damage: str, tmp_path: Path) -> None:
    write_idx(tmp_path)
    part, content, said = DAMAGES[damage]
    path = tmp_path / f"{part}-ubyte"
    path.unlink() if content is None else path.write_bytes(content)
    with pytest.raises(ValueError, match=re.escape(said)) as caught:
        dataset("mnist", root=str(tmp_path)).train()
    assert str(tmp_path) in str(caught.value)
    assert part.split("-")[0] in str(caught.value)


@pytest.mark.parametrize("content", [gzip.compress(IMAGES)[:-9], b"not gzip", gzip.compress(IMAGES)[:60] + b"?" * 20])
def test_damaged_gzip_is_named(content: bytes, tmp_path: Path) -> None:
    write_idx(tmp_path, zipped=True)
    (tmp_path / "train-images-idx3-ubyte.gz").write_bytes(content)
    with pytest.raises(ValueError, match=r"train-images-idx3-ubyte\.gz is truncated or corrupt"):
        load_idx_pair([tmp_path])


def test_a_damaged_dataset_ends_a_run_before_anything_trains(
    tmp_path: Path, ganbench: Callable[..., Ended], matrix_file: Callable[..., Path]
) -> None:
    write_idx(tmp_path / "data")
    (tmp_path / "data" / "train-images-idx3-ubyte").write_bytes(IMAGES[:-1])
    path = matrix_file(
        datasets=f'datasets = [{{ name = "mnist", root = "{(tmp_path / "data").as_posix()}" }}]',
        evaluation='[evaluation]\nschedule = [1]\nextractor = "classifier"',
    )
    ended = ganbench("run", "--matrix", path, "--results", tmp_path / "results", "--device", "cpu")
    assert ended.code == 2
    (line,) = [line for line in ended.err.splitlines() if line.startswith("ganbench:")]
    assert "train-images-idx3-ubyte is truncated" in line
    assert not (tmp_path / "results").exists()


def test_fashion_mnist_is_itself(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    if not Path("/usr/share/datasets/fashion-mnist").exists():
        pytest.skip("Fashion-MNIST is not on this machine")
    monkeypatch.setenv("GANBENCH_DATA", str(tmp_path))
    train, held = dataset("fashion_mnist").splits
    assert (train.samples.shape, held.samples.shape) == ((60_000, 1, 28, 28), (10_000, 1, 28, 28))
    assert train.labels.bincount().tolist() == [6000] * 10
    assert held.labels.bincount().tolist() == [1000] * 10
    assert train.samples.double().mean().item() == pytest.approx(72.94, abs=0.01)  # the published mean, 0.2860 × 255
    assert train.labels[0] == 9  # an ankle boot


# Downloads


def test_mnist_that_cannot_be_had_says_what_to_do(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    def fail(*arguments: Any, **options: Any) -> None:
        raise RuntimeError("Error downloading train-images-idx3-ubyte.gz")

    monkeypatch.setattr(torchvision.datasets, "MNIST", fail)
    with pytest.raises(OSError, match="could not be downloaded") as caught:
        dataset("mnist", root=str(tmp_path)).train()
    for said in ("MNIST", str(tmp_path), "Error downloading", "put the files there", "root"):
        assert said in str(caught.value)


def test_what_torchvision_downloads_is_read(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    written: list[dict[str, np.ndarray]] = []

    def fetch(folder: Path, train: bool, download: bool) -> None:
        written.append(write_idx(folder / "MNIST" / "raw", zipped=True))

    monkeypatch.setattr(torchvision.datasets, "MNIST", fetch)
    assert np.array_equal(dataset("mnist", root=str(tmp_path)).train().numpy()[:, 0], written[0]["train-images-idx3"])
    downloads = len(written)
    dataset("mnist", root=str(tmp_path)).train()
    assert len(written) == downloads


def test_a_download_that_leaves_nothing_is_an_error(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(torchvision.datasets, "MNIST", lambda *arguments, **options: None)
    with pytest.raises(OSError, match="left no IDX files"):
        dataset("mnist", root=str(tmp_path)).train()


# Folders and zips of images

COLOURS = {"cat": (255, 0, 0), "dog": (0, 255, 0), "eel": (10, 20, 30)}


def picture(colour: Any, size: tuple[int, int] = (32, 32), mode: str = "RGB") -> bytes:
    buffer = io.BytesIO()
    Image.new(mode, size, colour).save(buffer, "PNG")
    return buffer.getvalue()


def tree(prefix: str = "") -> dict[str, bytes]:
    """Two images of every class."""
    return {f"{prefix}{name}/{i}.png": picture(colour) for name, colour in COLOURS.items() for i in (1, 0)}


def write_tree(path: Path, files: dict[str, bytes]) -> Path:
    """As a zip where the path says so, else as a folder."""
    if path.suffix == ".zip":
        with zipfile.ZipFile(path, "w", zipfile.ZIP_DEFLATED) as archive:
            for name, content in files.items():
                archive.writestr(name, content)
    else:
        for name, content in files.items():
            (path / name).parent.mkdir(parents=True, exist_ok=True)
            (path / name).write_bytes(content)
    return path


@pytest.mark.parametrize(("train", "test"), [("train", "test"), ("cifar-train.zip", "cifar-test.zip")])
def test_cifar10_reads_classes_from_folders_and_zips(train: str, test: str, tmp_path: Path) -> None:
    write_tree(tmp_path / train, tree("inner/" if train.endswith(".zip") else ""))
    held = {"dog/x.png": picture((1, 2, 3)), "cat/x.png": picture((4, 5, 6)), "eel/x.png": picture((7, 8, 9))}
    write_tree(tmp_path / test, held | {"notes.txt": b"-"})
    data = dataset("cifar10", root=str(tmp_path))
    assert data.train().dtype == torch.uint8
    assert data.train().shape == (6, 3, 32, 32)
    assert sorted(data.splits[0].labels.tolist()) == [0, 0, 1, 1, 2, 2]
    assert data.splits[0].labels.tolist() != [0, 0, 1, 1, 2, 2], "the first n are of all classes"
    for image, label in zip(data.train(), data.splits[0].labels, strict=True):
        assert image.flatten(1).unique(dim=1).flatten().tolist() == [*list(COLOURS.values())[label]]
    assert sorted(data.holdout()[:, :, 0, 0].tolist()) == [[1, 2, 3], [4, 5, 6], [7, 8, 9]]


def test_splits_of_different_classes_are_refused(tmp_path: Path) -> None:
    write_tree(tmp_path / "train", tree(""))
    write_tree(tmp_path / "test", {"dog/x.png": picture((1, 2, 3))})
    with pytest.raises(ValueError, match="train and test hold different classes"):
        dataset("cifar10", root=str(tmp_path)).train()


def test_images_are_resized_cropped_and_made_rgb(tmp_path: Path) -> None:
    wide = Image.new("RGB", (192, 64), (255, 0, 0))
    wide.paste((0, 0, 255), (64, 0, 128, 64))  # the centre, which is what stays
    buffer = io.BytesIO()
    wide.save(buffer, "PNG")
    write_tree(
        tmp_path, {"a/0.png": buffer.getvalue(), "a/1.png": picture(77, mode="L"), "a/2.PNG": picture(9, (8, 8), "L")}
    )
    images = read_images(tmp_path, 32).samples
    assert images.shape == (3, 3, 32, 32)
    (centre,) = (image for image in images if image[:, 16, 16].tolist() == [0, 0, 255])
    assert centre[2, :, 2:-2].float().mean() > 250
    assert sorted(levels for image in images if len(levels := image.unique().tolist()) == 1) == [[9], [77]]


@pytest.mark.parametrize("path", ["train", "train.zip"])
def test_a_corrupt_image_is_named(path: str, tmp_path: Path) -> None:
    write_tree(tmp_path / path, tree() | {"dog/bad.png": picture((1, 2, 3))[:-30]})
    with pytest.raises(ValueError, match=r"train.*dog/bad\.png cannot be read"):
        read_images(tmp_path / path, 32)


def test_a_truncated_zip_is_named(tmp_path: Path) -> None:
    for name in ("train", "test"):
        write_tree(tmp_path / f"{name}.zip", tree())
    (tmp_path / "test.zip").write_bytes((tmp_path / "test.zip").read_bytes()[:-40])
    with pytest.raises(ValueError, match=r"test\.zip is truncated or corrupt"):
        dataset("cifar10", root=str(tmp_path)).train()


def test_whatever_is_damaged_in_a_zip_is_a_value_error_that_names_it(tmp_path: Path) -> None:
    good = write_tree(tmp_path / "good.zip", tree()).read_bytes()
    rng, messages = np.random.default_rng(0), []
    for _ in range(150):
        content = np.frombuffer(good, np.uint8).copy()
        content[rng.integers(len(content), size=3)] = rng.integers(256, size=3)
        (tmp_path / "bad.zip").write_bytes(content.tobytes())
        try:
            read_images(tmp_path / "bad.zip", 32)
        except ValueError as error:
            messages.append(str(error))
    assert len(messages) > 100
    assert all("bad.zip" in message for message in messages)


@pytest.mark.parametrize("only", ["train", "test"])
def test_one_split_alone_is_refused(only: str, tmp_path: Path) -> None:
    write_tree(tmp_path / only, tree())
    with pytest.raises(ValueError, match=f"has {only} but not its counterpart"):
        dataset("cifar10", root=str(tmp_path)).train()


def test_a_folder_without_images_is_refused(tmp_path: Path) -> None:
    write_tree(tmp_path / "train", tree())
    write_tree(tmp_path / "test", {"cat/readme.txt": b"-"})
    with pytest.raises(ValueError, match="test holds no images"):
        dataset("cifar10", root=str(tmp_path)).train()


def test_damaged_cifar_batches_are_named(tmp_path: Path) -> None:
    (tmp_path / "cifar-10-batches-py").mkdir()
    (tmp_path / "cifar-10-batches-py" / "data_batch_1").write_bytes(b"-")
    with pytest.raises(ValueError, match="cifar-10-batches-py"):
        dataset("cifar10", root=str(tmp_path)).train()
