"""Every dataset's shapes, scalings and splits, and the readers against files the test writes."""

import errno
import gzip
import io
import math
import os
import re
import struct
import sys
import zipfile
from collections.abc import Callable
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import numpy as np
import pytest
import torch
import torchvision
from PIL import Image

from benchmark.measure.features import classifier, extractors
from tests.conftest import Ended
from variants import load
from variants.datasets import Split, _decoded, download, no_downloads
from variants.datasets._idx import load_idx_pair
from variants.datasets._images import read_images
from variants.datasets._pixels import Pixels


@pytest.fixture(autouse=True)
def cache(tmp_path_factory: pytest.TempPathFactory, monkeypatch: pytest.MonkeyPatch) -> Path:
    """An empty cache for every test, out of the user's."""
    folder = tmp_path_factory.mktemp("cache")
    monkeypatch.setenv("GANBENCH_CACHE", str(folder))
    return folder / "images"


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


@pytest.mark.parametrize(
    ("name", "count", "sigma"), [("gaussians8", 8, 0.014144), ("gaussians25", 25, 0.017680)]
)
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
    t = (
        angle + 2 * math.pi * ((radius - angle) / (2 * math.pi)).round()
    )  # on the spiral radius and angle are both t
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
    rows = torch.cat(
        [every, torch.cat([train.labels, held.labels]).unsqueeze(1).int()], dim=1
    ).tolist()
    original = np.column_stack([source.data, source.target]).astype(int).tolist()
    assert sorted(rows) == sorted(original)  # so the two are disjoint, and nothing is lost
    whole = np.bincount(source.target) / 1797
    assert np.abs(np.bincount(train.labels.numpy()) / 1000 - whole).max() < 0.001
    assert torch.equal(dataset("digits").train(), train.samples)


@pytest.mark.parametrize("kept", [None, b"", b"PK damaged", "whole"])
def test_digits_are_kept_for_the_next_process(
    kept: bytes | str | None, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("GANBENCH_CACHE", str(tmp_path))
    first = dataset("digits").splits
    if isinstance(kept, bytes):
        (tmp_path / "digits.npz").write_bytes(kept)
    if kept is None:
        (tmp_path / "digits.npz").unlink()
    if kept == "whole":
        monkeypatch.setitem(sys.modules, "sklearn.datasets", None)  # not needed any more
    for split, again in zip(first, dataset("digits").splits, strict=True):
        assert torch.equal(split.samples, again.samples)
        assert torch.equal(split.labels, again.labels)


# IDX files

PARTS = ("train-images-idx3", "train-labels-idx1", "t10k-images-idx3", "t10k-labels-idx1")


def idx(array: np.ndarray) -> bytes:
    return (
        bytes([0, 0, 8, array.ndim])
        + struct.pack(f">{array.ndim}I", *array.shape)
        + array.tobytes()
    )


def write_idx(
    folder: Path, zipped: bool = False, counts: tuple[int, int] = (6, 4)
) -> dict[str, np.ndarray]:
    """MNIST's four files, with so many images."""
    rng = np.random.default_rng(0)
    arrays = {
        part: rng.integers(
            0,
            256 if "images" in part else 10,
            (n, 28, 28) if "images" in part else n,
            dtype=np.uint8,
        )
        for part, n in zip(PARTS, np.repeat(counts, 2), strict=True)
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
    for split, part in zip(
        dataset(name, root=str(tmp_path)).splits, ("train", "t10k"), strict=True
    ):
        assert split.samples.dtype == torch.uint8
        assert np.array_equal(split.samples.numpy(), written[f"{part}-images-idx3"][:, None])
        assert np.array_equal(split.labels.numpy(), written[f"{part}-labels-idx1"])


def test_the_environment_says_where_data_lies(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("GANBENCH_DATA", str(tmp_path))
    written = write_idx(tmp_path / "mnist")
    assert np.array_equal(dataset("mnist").holdout().numpy()[:, 0], written["t10k-images-idx3"])


@pytest.mark.parametrize("name", ["mnist", "fashion_mnist"])
def test_fewer_training_images_leave_the_rest_as_it_is(name: str, tmp_path: Path) -> None:
    write_idx(tmp_path)
    whole, fewer = (dataset(name, root=str(tmp_path), n_train=n) for n in (0, 2))
    assert torch.equal(fewer.train(), whole.train()[:2])
    assert len(fewer.splits[0].labels) == 2
    assert torch.equal(fewer.holdout(), whole.holdout())
    assert len(fewer.classified()[0].samples) == 6, "a classifier is trained on all"
    assert "the first 2" in fewer.split
    with pytest.raises(ValueError, match="n_train is 7, and there are 6 images"):
        dataset(name, root=str(tmp_path), n_train=7).train()
    with pytest.raises(ValueError, match="n_train must not be negative, not -1"):
        dataset(name, n_train=-1)


IMAGES = idx(np.zeros((6, 28, 28), np.uint8))
DAMAGES: dict[
    str, tuple[str, bytes | None, str]
] = {  # the file, its content or None for no file, what is said of it
    "truncated": ("train-images-idx3", IMAGES[:-1], "truncated"),
    "too long": ("train-images-idx3", IMAGES + b"x", "bytes"),
    "empty": ("train-images-idx3", b"", "not an IDX file"),
    "header cut": ("train-images-idx3", IMAGES[:9], "truncated"),
    "another type": ("train-images-idx3", b"\0\0\x0d\3" + IMAGES[4:], "not an IDX file"),
    "labels for images": ("t10k-images-idx3", idx(np.zeros(4, np.uint8)), "3 dimensions"),
    "no labels": ("t10k-labels-idx1", None, "has no t10k-labels-idx1"),
    "no training images": ("train-images-idx3", None, "has no train-images-idx3"),
    "other count": (
        "train-labels-idx1",
        idx(np.zeros(5, np.uint8)),
        "train has 6 images but another number",
    ),
    "eleventh class": ("train-labels-idx1", idx(np.full(6, 10, np.uint8)), "train has label 10"),
    "huge": ("train-images-idx3", IMAGES[:4] + b"\xff" * 12 + IMAGES[16:], "are read at most"),
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


def test_a_pipe_for_an_idx_file_does_not_hang(tmp_path: Path) -> None:
    write_idx(tmp_path)
    (tmp_path / "t10k-labels-idx1-ubyte").unlink()
    os.mkfifo(tmp_path / "t10k-labels-idx1-ubyte")
    with pytest.raises(ValueError, match="t10k-labels-idx1-ubyte is no regular file"):
        dataset("mnist", root=str(tmp_path)).train()


@pytest.mark.parametrize(
    "content",
    [gzip.compress(IMAGES)[:-9], b"not gzip", gzip.compress(IMAGES)[:60] + b"?" * 20],
    ids=["truncated", "not gzip", "damaged"],
)
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
    assert not list((tmp_path / "results").rglob("*.json*"))


def test_fashion_mnist_is_itself(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    if not Path("/usr/share/datasets/fashion-mnist").exists():
        pytest.skip("Fashion-MNIST is not on this machine")
    monkeypatch.setenv("GANBENCH_DATA", str(tmp_path))
    train, held = dataset("fashion_mnist").splits
    assert (train.samples.shape, held.samples.shape) == ((60_000, 1, 28, 28), (10_000, 1, 28, 28))
    assert train.labels.bincount().tolist() == [6000] * 10
    assert held.labels.bincount().tolist() == [1000] * 10
    assert train.samples.double().mean().item() == pytest.approx(
        72.94, abs=0.01
    )  # the published mean, 0.2860 × 255
    assert train.labels[0] == 9  # an ankle boot


# Downloads


def test_mnist_that_cannot_be_had_says_what_to_do(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    def fail(*arguments: Any, **options: Any) -> None:
        raise RuntimeError("Error downloading train-images-idx3-ubyte.gz")

    monkeypatch.setattr(torchvision.datasets, "MNIST", fail)
    with pytest.raises(OSError, match="could not be downloaded") as caught:
        dataset("mnist", root=str(tmp_path)).train()
    for said in ("MNIST", str(tmp_path), "Error downloading", "put the files there", "root"):
        assert said in str(caught.value)


def test_what_torchvision_downloads_is_read(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    written: list[dict[str, np.ndarray]] = []

    def fetch(folder: Path, train: bool, download: bool) -> None:
        written.append(write_idx(folder / "MNIST" / "raw", zipped=True))

    monkeypatch.setattr(torchvision.datasets, "MNIST", fetch)
    assert np.array_equal(
        dataset("mnist", root=str(tmp_path)).train().numpy()[:, 0], written[0]["train-images-idx3"]
    )
    downloads = len(written)
    dataset("mnist", root=str(tmp_path)).train()
    assert len(written) == downloads


def test_a_download_that_leaves_nothing_is_an_error(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(torchvision.datasets, "MNIST", lambda *arguments, **options: None)
    with pytest.raises(OSError, match="left no IDX files"):
        dataset("mnist", root=str(tmp_path)).train()


def test_downloads_can_be_forbidden(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """By the variable for a process, by no_downloads for a block; a failed block allows them
    again."""
    fetched: list[Path] = []
    monkeypatch.setattr(
        torchvision.datasets, "MNIST", lambda folder, **options: fetched.append(folder)
    )
    monkeypatch.setenv("GANBENCH_OFFLINE", "1")
    with pytest.raises(OSError, match=f"MNIST is not in {tmp_path}, and GANBENCH_OFFLINE forbids"):
        download("MNIST", tmp_path)
    monkeypatch.delenv("GANBENCH_OFFLINE")
    with pytest.raises(OSError, match="nothing is downloaded here"), no_downloads():
        download("MNIST", tmp_path)
    assert fetched == []
    download("MNIST", tmp_path)
    assert fetched == [tmp_path, tmp_path]


# Folders and zips of images

COLOURS = {"cat": (255, 0, 0), "dog": (0, 255, 0), "eel": (10, 20, 30)}


def picture(colour: Any, size: tuple[int, int] = (32, 32), mode: str = "RGB") -> bytes:
    buffer = io.BytesIO()
    Image.new(mode, size, colour).save(buffer, "PNG")
    return buffer.getvalue()


def tree(prefix: str = "") -> dict[str, bytes]:
    """Two images of every class."""
    return {
        f"{prefix}{name}/{i}.png": picture(colour)
        for name, colour in COLOURS.items()
        for i in (1, 0)
    }


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


@pytest.mark.parametrize(
    ("train", "test"), [("train", "test"), ("cifar-train.zip", "cifar-test.zip")]
)
def test_cifar10_reads_classes_from_folders_and_zips(train: str, test: str, tmp_path: Path) -> None:
    write_tree(tmp_path / train, tree("inner/" if train.endswith(".zip") else ""))
    held = {
        "dog/x.png": picture((1, 2, 3)),
        "cat/x.png": picture((4, 5, 6)),
        "eel/x.png": picture((7, 8, 9)),
    }
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
        tmp_path,
        {
            "a/0.png": buffer.getvalue(),
            "a/1.png": picture(77, mode="L"),
            "a/2.PNG": picture(9, (8, 8), "L"),
        },
    )
    images = read_images(tmp_path, 32).samples
    assert images.shape == (3, 3, 32, 32)
    (centre,) = (image for image in images if image[:, 16, 16].tolist() == [0, 0, 255])
    assert centre[2, :, 2:-2].float().mean() > 250
    assert sorted(levels for image in images if len(levels := image.unique().tolist()) == 1) == [
        [9],
        [77],
    ]


@pytest.mark.parametrize("path", ["train", "train.zip"])
def test_a_corrupt_image_is_named(path: str, tmp_path: Path) -> None:
    write_tree(tmp_path / path, tree() | {"dog/bad.png": picture((1, 2, 3))[:-30]})
    with pytest.raises(
        ValueError, match=r"train.*: 1 of 7 images cannot be read \(dog/bad\.png: .*truncated"
    ):
        read_images(tmp_path / path, 32)


def test_a_truncated_zip_is_named(tmp_path: Path) -> None:
    for name in ("train", "test"):
        write_tree(tmp_path / f"{name}.zip", tree())
    (tmp_path / "test.zip").write_bytes((tmp_path / "test.zip").read_bytes()[:-40])
    with pytest.raises(ValueError, match=r"test\.zip is truncated or corrupt"):
        dataset("cifar10", root=str(tmp_path)).train()


def test_whatever_is_damaged_in_a_zip_is_a_value_error_that_names_it(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    good = write_tree(tmp_path / "good.zip", tree()).read_bytes()
    rng, messages = np.random.default_rng(0), []
    for i in range(150):
        monkeypatch.setenv("GANBENCH_CACHE", str(tmp_path / f"cache{i}"))
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


# The cache of decoded images


def noise(prefix: str = "", n: int = 4, size: int = 16) -> dict[str, bytes]:
    """n different images of each of three classes, as JPEG."""
    rng, files = np.random.default_rng(0), {}
    for name in COLOURS:
        for i in range(n):
            buffer = io.BytesIO()
            Image.fromarray(rng.integers(0, 256, (size, size, 3), dtype=np.uint8)).save(
                buffer, "JPEG"
            )
            files[f"{prefix}{name}/{i}.jpg"] = buffer.getvalue()
    return files


@pytest.fixture
def decoded(monkeypatch: pytest.MonkeyPatch) -> list[bytes]:
    """The image files that were decoded."""
    calls: list[bytes] = []
    decode = _decoded.decode

    def counted(content: bytes, *how: Any) -> Pixels:
        calls.append(content)
        return decode(content, *how)

    monkeypatch.setattr(_decoded, "decode", counted)
    return calls


def by_content(split: Split) -> list[bytes]:
    return sorted(image.numpy().tobytes() for image in split.samples)


@pytest.mark.parametrize("path", ["images", "images.zip"])
def test_images_are_decoded_once(
    path: str, tmp_path: Path, decoded: list[bytes], cache: Path
) -> None:
    files = noise()
    write_tree(tmp_path / path, files)
    first = read_images(tmp_path / path, 16)
    assert sorted(decoded) == sorted(files.values())
    assert by_content(first) == sorted(
        np.asarray(Image.open(io.BytesIO(content))).transpose(2, 0, 1).tobytes()
        for content in files.values()
    )
    again = read_images(tmp_path / path, 16)
    assert len(decoded) == 12
    assert torch.equal(again.samples, first.samples)
    assert torch.equal(again.labels, first.labels)
    assert again.classes == ("cat", "dog", "eel")
    again.samples.zero_()  # a copy on write: the cache stays what it is
    assert torch.equal(read_images(tmp_path / path, 16).samples, first.samples)
    assert not [file.name for file in cache.iterdir() if file.name.startswith(".")], (
        "temporary files are left"
    )


def test_an_unchanged_folder_is_not_read_again(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, decoded: list[bytes]
) -> None:
    read_images(write_tree(tmp_path / "images", noise()), 16)
    reads: list[Path] = []
    read = Path.read_bytes
    monkeypatch.setattr(Path, "read_bytes", lambda path: reads.append(path) or read(path))
    read_images(tmp_path / "images", 16)
    assert reads == []
    os.utime(tmp_path / "images" / "cat" / "0.jpg")  # touched: read again, and found to be the same
    read_images(tmp_path / "images", 16)
    assert len(reads) == len(decoded) == 12
    read_images(tmp_path / "images", 16)
    assert len(reads) == 12


@pytest.mark.parametrize("path", ["images", "images.zip"])
def test_other_names_bytes_or_sizes_are_decoded_anew(
    path: str, tmp_path: Path, decoded: list[bytes]
) -> None:
    files = noise()
    read_images(write_tree(tmp_path / path, files), 16)
    read_images(tmp_path / path, 8)
    assert len(decoded) == 24
    write_tree(tmp_path / path, files | {"cat/0.jpg": files["cat/1.jpg"]})
    altered = read_images(tmp_path / path, 16)
    assert len(decoded) == 36
    assert len(set(by_content(altered))) == 11
    moved = {name.replace("cat", "ant"): content for name, content in files.items()}
    assert read_images(write_tree(tmp_path / f"moved{path}", moved), 16).classes == (
        "ant",
        "dog",
        "eel",
    )
    assert len(decoded) == 48


def test_the_same_images_elsewhere_are_not_decoded_again(
    tmp_path: Path, decoded: list[bytes]
) -> None:
    files = noise()
    for name in ("images", "a.zip"):
        read_images(write_tree(tmp_path / name, files), 16)
    assert len(decoded) == 24
    read_images(
        write_tree(tmp_path / "copy", dict(reversed(files.items())) | {"notes.txt": b"-"}), 16
    )
    with zipfile.ZipFile(tmp_path / "b.zip", "w", zipfile.ZIP_STORED) as archive:
        for name, content in reversed(files.items()):
            archive.writestr(name, content)
    read_images(tmp_path / "b.zip", 16)
    assert len(decoded) == 24


def test_another_version_of_the_decoder_decodes_anew(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, decoded: list[bytes]
) -> None:
    read_images(write_tree(tmp_path / "images", noise()), 16)
    monkeypatch.setattr(_decoded, "RECIPE", ["another"])
    read_images(tmp_path / "images", 16)
    assert len(decoded) == 24


def cut(content: bytes) -> bytes:
    return content[: -len(content) // 4]


def flip(content: bytes) -> bytes:
    return content[:3000] + bytes([content[3000] ^ 1]) + content[3001:]


def empty(content: bytes) -> bytes:
    return b""


@pytest.mark.parametrize(
    ("ending", "damage"),
    [
        *(("npy", damage) for damage in (cut, flip, empty, None)),
        *(("json", damage) for damage in (cut, empty, lambda content: b"[]", None)),
    ],
)
def test_a_damaged_cache_is_not_trusted(
    ending: str,
    damage: Callable[[bytes], bytes] | None,
    tmp_path: Path,
    decoded: list[bytes],
    cache: Path,
) -> None:
    expected = read_images(write_tree(tmp_path / "images.zip", noise()), 16).samples.clone()
    (file,) = cache.glob(f"*.{ending}")
    content = file.read_bytes()
    file.unlink() if damage is None else file.write_bytes(damage(content))
    assert torch.equal(read_images(tmp_path / "images.zip", 16).samples, expected)
    assert len(decoded) == 24
    read_images(tmp_path / "images.zip", 16)
    assert len(decoded) == 24


def test_a_cache_with_other_times_is_known_by_its_check_sum(
    tmp_path: Path, decoded: list[bytes], cache: Path
) -> None:
    read_images(write_tree(tmp_path / "images", noise()), 16)
    (file,) = cache.glob("*.npy")
    os.utime(file, (1, 1))
    read_images(tmp_path / "images", 16)
    assert len(decoded) == 12


def test_two_processes_at_once_do_each_other_no_harm(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, cache: Path
) -> None:
    """The other process comes in after the first image, and is done before this one."""
    write_tree(tmp_path / "images", noise())
    decode, others = _decoded.decode, []

    def interrupted(content: bytes, *how: Any) -> Pixels:
        monkeypatch.setattr(_decoded, "decode", decode)
        with pytest.MonkeyPatch.context() as patch:
            patch.setattr(os, "getpid", lambda: -1)
            others.append(read_images(tmp_path / "images", 16))
        return decode(content, *how)

    monkeypatch.setattr(_decoded, "decode", interrupted)
    monkeypatch.setattr(_decoded, "TASK", 100)
    mine = read_images(tmp_path / "images", 16)
    assert torch.equal(mine.samples, others[0].samples)
    assert sorted(file.suffix for file in cache.iterdir()) == [".json", ".json", ".npy"]


def test_batches_leave_no_trace(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    write_tree(tmp_path / "images", noise() | {"dog/bad.jpg": b"-"})
    whole = read_images(tmp_path / "images", 16, tolerance=0.1)
    monkeypatch.setattr(_decoded, "BATCH_BYTES", 5 * 3 * 16 * 16)
    monkeypatch.setattr(_decoded, "TASK", 2)
    monkeypatch.setenv("GANBENCH_CACHE", str(tmp_path / "other"))
    batched = read_images(tmp_path / "images", 16, tolerance=0.1)
    assert torch.equal(batched.samples, whole.samples)
    assert torch.equal(batched.labels, whole.labels)


def test_a_cache_that_does_not_fit_is_refused_before_anything_is_decoded(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, decoded: list[bytes]
) -> None:
    monkeypatch.setattr(
        "shutil.disk_usage", lambda path: SimpleNamespace(free=12 * 3 * 16 * 16 - 1)
    )
    with pytest.raises(OSError, match="make room or set GANBENCH_CACHE"):
        read_images(write_tree(tmp_path / "images", noise()), 16)
    assert decoded == []


# Corrupt images


@pytest.mark.parametrize("path", ["images", "images.zip"])
def test_few_corrupt_images_are_left_out_and_named(
    path: str, tmp_path: Path, capsys: pytest.CaptureFixture[str], decoded: list[bytes]
) -> None:
    files = noise(n=10)
    bad = {"cat/3.jpg": files["cat/3.jpg"][:-100], "eel/7.jpg": b"<html>"}
    write_tree(tmp_path / path, files | bad)
    sound = read_images(
        write_tree(tmp_path / f"sound{path}", {k: v for k, v in files.items() if k not in bad}), 16
    )
    assert capsys.readouterr().err == ""
    for _ in range(2):  # decoded, and from the cache
        found = read_images(tmp_path / path, 16, tolerance=2 / 30)
        assert found.corrupt == ("cat/3.jpg", "eel/7.jpg")
        assert by_content(found) == by_content(sound)
        assert found.labels.bincount().tolist() == [9, 10, 9]
        (line,) = capsys.readouterr().err.splitlines()
        assert "2 of 30 images cannot be read (cat/3.jpg: image file is truncated" in line
        assert line.endswith("eel/7.jpg: no image): left out")
    labels = {
        image.numpy().tobytes(): label
        for image, label in zip(sound.samples, sound.labels, strict=True)
    }
    assert all(
        labels[i.numpy().tobytes()] == label
        for i, label in zip(found.samples, found.labels, strict=True)
    )
    with pytest.raises(
        ValueError, match=r"2 of 30 images.*eel/7\.jpg.*tolerated is a share of 0\.066"
    ):
        read_images(tmp_path / path, 16, tolerance=0.066)
    assert len(decoded) == 58


def test_many_corrupt_images_are_counted_and_some_named(tmp_path: Path) -> None:
    write_tree(tmp_path / "images", noise() | {f"dog/bad{i}.jpg": b"-" for i in range(5)})
    with pytest.raises(
        ValueError, match=r"5 of 17 images .*bad0\.jpg: no image; .*bad1.*bad2\.jpg: no image; …\)"
    ):
        read_images(tmp_path / "images", 16, tolerance=0.1)


def test_a_damaged_zip_that_is_repaired_is_sound(tmp_path: Path) -> None:
    """Its directory states the check sums of the sound images, so the damaged zip's content has the
    same name."""
    files = noise()
    with zipfile.ZipFile(tmp_path / "images.zip", "w") as archive:
        for name, content in files.items():
            archive.writestr(name, content)
    sound = (tmp_path / "images.zip").read_bytes()
    at = sound.index(files["dog/2.jpg"]) + 400
    (tmp_path / "images.zip").write_bytes(sound[:at] + bytes(8) + sound[at + 8 :])
    assert read_images(tmp_path / "images.zip", 16, tolerance=0.1).corrupt == ("dog/2.jpg",)
    (tmp_path / "images.zip").write_bytes(sound)
    assert read_images(tmp_path / "images.zip", 16).corrupt == ()


def test_an_unreadable_file_is_no_corrupt_image(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    def fail(content: bytes, *how: Any) -> Pixels:
        raise OSError(errno.EIO, "Input/output error")

    monkeypatch.setattr(_decoded, "decode", fail)
    with pytest.raises(OSError, match="Input/output error"):
        read_images(write_tree(tmp_path / "images", noise()), 16, tolerance=0.99)


# What is an image, and of which class


@pytest.mark.parametrize("path", ["images", "images.zip"])
@pytest.mark.parametrize("prefix", ["", "img_align_celeba/"])
def test_images_in_one_place_have_no_labels(path: str, prefix: str, tmp_path: Path) -> None:
    files = {f"{prefix}{i}.jpg": content for i, content in enumerate(noise().values())}
    found = read_images(write_tree(tmp_path / path, files), 16)
    assert (len(found.samples), found.labels, found.classes) == (12, None, ())


def test_images_beside_folders_of_images_are_refused(tmp_path: Path) -> None:
    write_tree(
        tmp_path / "images",
        noise() | {"preview.jpg": picture(0), "._0.jpg": b"-", "__MACOSX/cat/._0.jpg": b"-"},
    )
    with pytest.raises(ValueError, match=r"preview\.jpg lies next to folders of images"):
        read_images(tmp_path / "images", 16, tolerance=0)


def test_a_resized_ramp_is_the_same_ramp(tmp_path: Path) -> None:
    """Halved and cropped at the centre: column j of 16 covers columns 32 + 2j and 33 + 2j of 96."""
    ramp = np.broadcast_to(np.arange(96, dtype=np.uint8)[None, :, None] * 2, (32, 96, 3))
    for name, array in (("wide", ramp), ("tall", ramp.swapaxes(0, 1))):
        (tmp_path / name).mkdir()
        Image.fromarray(np.ascontiguousarray(array)).save(tmp_path / name / "0.png")
    expected = np.broadcast_to(65 + 4 * np.arange(16), (3, 16, 16))
    for name, array in (("wide", expected), ("tall", expected.swapaxes(1, 2))):
        found = read_images(tmp_path / name, 16).samples[0].numpy().astype(int)
        assert np.abs(found - array).max() <= 1, name


def test_the_size_may_be_odd_to_the_image(tmp_path: Path) -> None:
    files = {
        f"{i}.png": picture((9, 8, 7), shape)
        for i, shape in enumerate([(33, 17), (17, 33), (5, 90), (1, 1)])
    }
    found = read_images(write_tree(tmp_path / "images", files), 24).samples
    assert found.shape == (4, 3, 24, 24)
    assert found.flatten(2).unique(dim=2).tolist() == [[[9], [8], [7]]] * 4


# Image folders


def folder_of(root: Path, **parameters: Any) -> Any:
    return dataset("image_folder", root=str(root), **({"size": 16} | parameters))


@pytest.mark.parametrize("held", ["test", "val"])
@pytest.mark.parametrize("ending", ["", ".zip"])
def test_a_folder_that_comes_split_keeps_its_split(held: str, ending: str, tmp_path: Path) -> None:
    train, other = (
        noise(n=3),
        {name: picture((i, i, i), (16, 16)) for i, name in enumerate(noise(n=2))},
    )
    write_tree(tmp_path / f"train{ending}", train)
    write_tree(tmp_path / f"{held}{ending}", other)
    if ending:
        (tmp_path / "train.zip").rename(tmp_path / "lsun-train.zip")
        (tmp_path / "latest.zip").write_bytes(b"-")  # no zip of a test split
    data = folder_of(tmp_path)
    assert data.train().shape == (9, 3, 16, 16)
    assert sorted(data.holdout()[:, 0, 0, 0].tolist()) == [0, 1, 2, 3, 4, 5]
    train = f"{'lsun-' * bool(ending)}train{ending}"
    assert data.split == f"as the folder comes: {train} for training, {held}{ending} held out"


@pytest.mark.parametrize("labelled", [True, False])
def test_the_last_of_a_fixed_order_are_held_out(labelled: bool, tmp_path: Path) -> None:
    files = noise(n=7)
    if not labelled:
        files = {name.replace("/", "_"): content for name, content in files.items()}
    write_tree(tmp_path / "images", files | {"cat/bad.jpg" if labelled else "bad.jpg": b"-"})
    data = folder_of(tmp_path / "images", n_holdout=6, corrupt_tolerance=0.05, collection="noise")
    (train, held), every = data.splits, read_images(tmp_path / "images", 16, 0.05)
    assert (len(train.samples), len(held.samples)) == (15, 6)
    assert torch.equal(torch.cat([train.samples, held.samples]), every.samples)
    assert len({*by_content(train)} | {*by_content(held)}) == 21
    assert len(train.corrupt) == 1
    assert (data.shape, data.split) == (
        (3, 16, 16),
        "6 images held out, the last of a fixed random order",
    )
    if labelled:
        assert torch.equal(torch.cat([train.labels, held.labels]), every.labels)
        assert train.classes == held.classes == ("cat", "dog", "eel")
    else:
        assert train.labels is held.labels is None
    assert torch.equal(
        folder_of(tmp_path / "images", n_holdout=6, corrupt_tolerance=0.05).holdout(), held.samples
    )


def test_too_few_images_to_hold_out_are_refused(tmp_path: Path) -> None:
    write_tree(tmp_path / "images", noise(n=4))
    assert len(folder_of(tmp_path / "images", n_holdout=6).train()) == 6
    with pytest.raises(
        ValueError, match=r"images holds 12 images: too few to hold out n_holdout = 7"
    ):
        folder_of(tmp_path / "images", n_holdout=7).train()


def test_several_zips_of_a_split_are_refused(tmp_path: Path) -> None:
    for name in ("a-train", "b-train", "a-test"):
        write_tree(tmp_path / f"{name}.zip", noise())
    with pytest.raises(ValueError, match=r"several zips of one split: a-train\.zip, b-train\.zip"):
        folder_of(tmp_path).train()


@pytest.mark.parametrize("empty", [True, False])
def test_an_image_folder_that_is_not_there_says_what_to_put_where(
    empty: bool, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("GANBENCH_DATA", str(tmp_path))
    if empty:
        (tmp_path / "lsun").mkdir()
    data = dataset("image_folder", collection="lsun")
    assert (data.shape, data.source) == ((3, 64, 64), "lsun, from a folder or a zip")
    with pytest.raises(OSError, match="put a folder per class there") as caught:
        data.train()
    assert str(tmp_path / "lsun") in str(caught.value)


@pytest.mark.parametrize(
    ("parameters", "said"),
    [
        ({"size": 30}, "size must be a multiple of 4"),
        ({"size": 4}, "size must be a multiple of 4, from 8 on, not 4"),
        ({"collection": "a/b"}, "not 'a/b'"),
        ({"n_holdout": 0}, "n_holdout must be at least 1, not 0"),
        ({"corrupt_tolerance": 1.0}, "corrupt_tolerance is a share"),
        ({"corrupt_tolerance": math.nan}, "corrupt_tolerance is a share"),
    ],
)
def test_parameters_of_an_image_folder_are_checked(parameters: dict[str, Any], said: str) -> None:
    with pytest.raises(ValueError, match=re.escape(said)):
        dataset("image_folder", **parameters)


# Stacked digits


@pytest.fixture
def few_stacks(monkeypatch: pytest.MonkeyPatch) -> None:
    module = load("datasets", "stacked_mnist")
    monkeypatch.setattr(module, "N_TRAIN", 300)
    monkeypatch.setattr(module, "N_HOLDOUT", 200)


@pytest.mark.parametrize("digits", ["mnist", "fashion_mnist"])
def test_a_stack_holds_the_digits_of_its_label(
    digits: str, tmp_path: Path, few_stacks: None
) -> None:
    written = write_idx(tmp_path)
    data = dataset("stacked_mnist", digits=digits, root=str(tmp_path))
    for split, part in zip(data.splits, ("train", "t10k"), strict=True):
        single = {
            image.tobytes(): int(label)
            for image, label in zip(
                written[f"{part}-images-idx3"], written[f"{part}-labels-idx1"], strict=True
            )
        }
        for image, label in zip(split.samples, split.labels.tolist(), strict=True):
            a, b, c = (single[channel.numpy().tobytes()] for channel in image)
            assert label == 100 * a + 10 * b + c
    assert (data.shape, data.num_modes, len(data.train()), len(data.holdout())) == (
        (3, 28, 28),
        1000,
        300,
        200,
    )
    assert torch.equal(data.classified()[0].samples, dataset(digits, root=str(tmp_path)).train())
    assert torch.equal(
        dataset("stacked_mnist", digits=digits, root=str(tmp_path)).train(), data.train()
    )


def test_stacks_cover_a_thousand_equal_modes() -> None:
    if not Path("/usr/share/datasets/fashion-mnist").exists():
        pytest.skip("Fashion-MNIST is not on this machine")
    train, held = dataset("stacked_mnist", digits="fashion_mnist").splits
    assert (train.samples.shape, held.samples.shape) == ((128_000, 3, 28, 28), (26_000, 3, 28, 28))
    for split in (train, held):
        counts, mean = split.labels.bincount(minlength=1000).double(), len(split.labels) / 1000
        assert counts.min() > 0
        assert ((counts - mean).square() / mean).sum().item() == pytest.approx(
            999, abs=5 * math.sqrt(2 * 999)
        )  # χ²


def test_unknown_digits_are_refused() -> None:
    with pytest.raises(ValueError, match="one of mnist, fashion_mnist, not 'emnist'"):
        dataset("stacked_mnist", digits="emnist")


def test_the_digits_classifier_tells_the_modes_of_stacks(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, few_stacks: None
) -> None:
    """Applied to each channel: features side by side, log probabilities of all 1,000
    combinations."""
    monkeypatch.setattr(classifier, "EPOCHS", 2)
    write_idx(tmp_path, counts=(400, 100))
    data = dataset("stacked_mnist", root=str(tmp_path))
    stacked = extractors.open_extractor("classifier", None, data, "cpu")
    digits = extractors.open_extractor(
        "classifier", None, dataset("mnist", root=str(tmp_path)), "cpu"
    )
    assert stacked.weights_sha256 == digits.weights_sha256
    images = data.holdout()[:50]
    with torch.no_grad():
        features, logits = stacked(images)
        single = [digits(images[:, [channel]]) for channel in range(3)]
    torch.testing.assert_close(features, torch.cat([found[0] for found in single], dim=1))
    assert logits.shape == (50, 1000)
    a, b, c = (found[1].double().softmax(1) for found in single)
    for mode in (0, 7, 90, 123, 581, 999):
        expected = a[:, mode // 100] * b[:, mode // 10 % 10] * c[:, mode % 10]
        torch.testing.assert_close(
            logits.double().softmax(1)[:, mode], expected, rtol=1e-5, atol=1e-9
        )
    guesses = a.argmax(1) * 100 + b.argmax(1) * 10 + c.argmax(1)
    assert torch.equal(logits.argmax(1), guesses)


def test_sixteen_bits_of_grey_keep_their_level() -> None:
    buffer = io.BytesIO()
    Image.fromarray(np.full((8, 8), 30_000, np.uint16)).save(buffer, "PNG")
    assert (_decoded.decode(buffer.getvalue(), 8).rgb == 30_000 >> 8).all()


def test_linked_folders_are_read_as_folders(tmp_path: Path) -> None:
    for name in ("set/a", "elsewhere"):
        (tmp_path / name).mkdir(parents=True)
        (tmp_path / name / "x.png").write_bytes(picture((255, 0, 0)))
    (tmp_path / "set/b").symlink_to(tmp_path / "elsewhere")
    assert read_images(tmp_path / "set", 8).classes == ("a", "b")
