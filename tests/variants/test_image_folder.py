"""Folders and zips of images as people have them: links, splits, nested classes, turned and
transparent images, images of more than 8 bits, and files that are no images."""

import io
import os
import stat
import struct
import zipfile
import zlib
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from PIL import Image

from benchmark.analysis.tables import load as load_tables
from benchmark.measure.dataset_facts import dataset_facts
from benchmark.measure.features import classifier
from benchmark.report.chapters import completeness
from benchmark.store import data_lines
from benchmark.store.layout import ResultSet
from benchmark.train.data import make_dataset
from tests.conftest import Ended
from variants import load
from variants.datasets import Split, _pixels
from variants.datasets._images import read_images, read_layout


@pytest.fixture(autouse=True)
def cache(tmp_path_factory: pytest.TempPathFactory, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("GANBENCH_CACHE", str(tmp_path_factory.mktemp("cache")))


def encoded(array: np.ndarray, form: str = "PNG", **options: Any) -> bytes:
    buffer = io.BytesIO()
    Image.fromarray(array).save(buffer, form, **options)
    return buffer.getvalue()


def png_of_16_bits(array: np.ndarray, key: tuple[int, ...] = ()) -> bytes:
    """RGB, RGBA or grey and alpha (h, w, channels) in 16 bits, which Pillow does not write. key:
    the colour that is transparent."""

    def chunk(name: bytes, content: bytes) -> bytes:
        checked = name + content
        return struct.pack(">I", len(content)) + checked + struct.pack(">I", zlib.crc32(checked))

    height, width, channels = array.shape
    colour_type = {2: 4, 3: 2, 4: 6}[channels]
    header = struct.pack(">IIBBBBB", width, height, 16, colour_type, 0, 0, 0)
    rows = b"".join(b"\0" + row.astype(">u2").tobytes() for row in array)
    chunks = [(b"IHDR", header), (b"IDAT", zlib.compress(rows)), (b"IEND", b"")]
    if key:
        chunks.insert(1, (b"tRNS", struct.pack(">3H", *key)))
    return b"\x89PNG\r\n\x1a\n" + b"".join(chunk(*parts) for parts in chunks)


def tiff_of_16_bits(array: np.ndarray, order: str = "<", method: int = 1, planes: int = 1) -> bytes:
    """RGB (h, w, 3) in 16 bits. method: 1 as it is, 8 deflated. planes: 2 says that each colour is
    a plane of its own."""
    height, width, channels = array.shape
    pixels = array.astype(f"{order}u2").tobytes()
    if method == 8:
        pixels = zlib.compress(pixels)
    sizes_at = 8 + 2 + 12 * 10 + 4
    tags = [(256, 1, width), (257, 1, height), (258, channels, sizes_at), (259, 1, method)]
    tags += [(262, 1, 2), (273, 1, sizes_at + 2 * channels), (277, 1, channels)]
    tags += [(278, 1, height), (279, 1, len(pixels)), (284, 1, planes)]
    content = {"<": b"II*\0", ">": b"MM\0*"}[order] + struct.pack(f"{order}IH", 8, len(tags))
    for tag in tags:
        # all as numbers of 4 bytes
        content += struct.pack(f"{order}HHII", tag[0], 3 if tag[0] == 258 else 4, *tag[1:])
    content += struct.pack(f"{order}I", 0) + struct.pack(f"{order}{channels}H", *[16] * channels)
    return content + pixels


def ppm_of_16_bits(array: np.ndarray) -> bytes:
    height, width, _ = array.shape
    return f"P6 {width} {height} 65535\n".encode() + array.astype(">u2").tobytes()


def picture(seed: int, form: str = "PNG") -> bytes:
    """An image that no other seed gives."""
    array = np.random.default_rng(seed).integers(0, 256, (8, 8, 3), dtype=np.uint8)
    return encoded(array, form)


def pictures(*folders: str, n: int = 4, first: int = 0) -> dict[str, bytes]:
    """n images in every folder, each with a content of its own."""
    files = {}
    for folder in folders:
        for _ in range(n):
            seed = first + len(files)
            files[f"{folder}/{seed}.png".removeprefix("/")] = picture(seed)
    return files


def write(path: Path, files: dict[str, bytes]) -> Path:
    """As a zip where the path says so, else as a folder."""
    if path.suffix == ".zip":
        path.parent.mkdir(parents=True, exist_ok=True)
        with zipfile.ZipFile(path, "w") as archive:
            for name, content in files.items():
                archive.writestr(name, content)
    else:
        for name, content in files.items():
            (path / name).parent.mkdir(parents=True, exist_ok=True)
            (path / name).write_bytes(content)
    return path


def contents(split: Split) -> set[bytes]:
    return {image.numpy().tobytes() for image in split.samples}


def pixels_of(files: dict[str, bytes]) -> set[bytes]:
    return {_pixels.decode(content, 8).rgb.tobytes() for content in files.values()}


def folder_of(root: Path, **parameters: Any) -> Any:
    return load("datasets", "image_folder").Dataset(
        root=str(root), **({"size": 8, "n_holdout": 4} | parameters)
    )


def remarks(root: Path, **parameters: Any) -> str:
    return "\n".join(data_lines.remarks(dataset_facts(folder_of(root, **parameters))))


class TestLinks:
    """A file and a folder are read once, whatever links lead to them."""

    def test_a_link_to_the_folder_itself(self, tmp_path: Path) -> None:
        root = write(tmp_path / "set", pictures("a", "b", n=10))
        (root / "self").symlink_to(".")
        (root / "a" / "up").symlink_to("..")
        (root / "b" / "above").symlink_to(tmp_path)
        data = folder_of(root)
        assert (len(data.train()), len(data.holdout())) == (16, 4)
        assert data.splits[0].classes == ("a", "b")
        assert not contents(data.splits[0]) & contents(data.splits[1])
        assert "3 files left out: " in remarks(root)
        assert "2 a link to a folder that is read anyway" in remarks(root)

    @pytest.mark.parametrize("link", [os.symlink, os.link])
    def test_links_to_images(self, link: Callable[..., None], tmp_path: Path) -> None:
        root = write(tmp_path / "set", pictures("b", "c"))
        (root / "a").mkdir()
        for image in (root / "b").iterdir():
            link(image, root / "a" / image.name)
        found = read_images(root, 8)
        assert len(found.samples) == len(contents(found)) == 8
        if link is os.symlink:
            # a real file comes before the link to it
            assert found.classes == ("b", "c")
        assert [*found.left_out.values()] == ["a link to a file that is read anyway"] * 4

    def test_linked_images_and_folders_from_elsewhere(self, tmp_path: Path) -> None:
        files = pictures("", n=6)
        elsewhere = write(tmp_path / "elsewhere", files)
        root = tmp_path / "set"
        for name in ("a", "b"):
            (root / name).mkdir(parents=True)
        for i, image in enumerate(sorted(elsewhere.iterdir())):
            (root / "ab"[i % 2] / image.name).symlink_to(image)
        (root / "b" / "again.png").symlink_to(image)
        (root / "b" / "folder").symlink_to(elsewhere)
        found = read_images(root, 8)
        assert contents(found) == pixels_of(files)
        assert len(found.samples) == 6

    def test_broken_links_loops_and_pipes_are_named(self, tmp_path: Path) -> None:
        root = write(tmp_path / "set", pictures("", n=8))
        (root / "gone.png").symlink_to("nowhere.png")
        (root / "loop.png").symlink_to("loop.png")
        os.mkfifo(root / "pipe.png")
        (root / "device.png").symlink_to("/dev/zero")
        assert dict(read_images(root, 8).left_out) == {
            "gone.png": "a link that leads nowhere",
            "loop.png": "a link that leads nowhere",
            "pipe.png": "no regular file",
            "device.png": "no regular file",
        }

    def test_a_pipe_for_a_zip_does_not_hang(self, tmp_path: Path) -> None:
        os.mkfifo(tmp_path / "images.zip")
        with pytest.raises(ValueError, match=r"images\.zip is neither a folder nor a zip"):
            folder_of(tmp_path / "images.zip").train()

    def test_a_test_folder_of_links_to_training_images_is_refused(self, tmp_path: Path) -> None:
        root = write(tmp_path, pictures("train"))
        (root / "test").symlink_to("train")
        with pytest.raises(ValueError, match="left out are 1 a link to a folder that is read anyw"):
            folder_of(root).train()
        (root / "test").unlink()
        (root / "test").mkdir()
        for image in (root / "train").iterdir():
            (root / "test" / image.name).symlink_to(image)
        with pytest.raises(ValueError, match="4 of 4 held-out samples equal a training sample"):
            dataset_facts(folder_of(root))

    def test_a_link_in_a_zip_is_named(self, tmp_path: Path) -> None:
        path = write(tmp_path / "set.zip", pictures("", n=8))
        with zipfile.ZipFile(path, "a") as archive:
            entry = zipfile.ZipInfo("link.png")
            entry.external_attr = (stat.S_IFLNK | 0o777) << 16
            archive.writestr(entry, "0.png")
        found = read_images(path, 8)
        assert len(found.samples) == 8
        assert found.left_out == {"link.png": "a link in a zip"}


class TestClasses:
    """The first folder below those that all images share."""

    @pytest.mark.parametrize("path", ["set", "set.zip"])
    @pytest.mark.parametrize("prefix", ["", "inner/", "a/b/"])
    def test_nested_folders(self, prefix: str, path: str, tmp_path: Path) -> None:
        files = pictures("cats/2019", "cats/2020", "dogs/2019", "dogs", "emus/x/y/z")
        root = write(tmp_path / path, {prefix + name: files[name] for name in files})
        found = read_images(root, 8)
        assert found.classes == ("cats", "dogs", "emus")
        assert found.labels is not None
        assert found.labels.bincount().tolist() == [8, 8, 4]

    def test_windows_separators_in_a_zip(self, tmp_path: Path) -> None:
        files = {name.replace("/", "\\"): v for name, v in pictures("cats/1", "dogs/1").items()}
        assert read_images(write(tmp_path / "set.zip", files), 8).classes == ("cats", "dogs")

    def test_they_are_said_by_the_run_the_protocols_and_the_report(
        self,
        tmp_path: Path,
        ganbench: Callable[..., Ended],
        matrix_file: Callable[..., Path],
        monkeypatch: pytest.MonkeyPatch,
    ) -> None:
        monkeypatch.setattr(classifier, "EPOCHS", 1)
        root = write(tmp_path / "data", pictures("cats/2019", "cats/2020", "dogs/2019", n=20))
        write(root, {"notes.heic": b"-"})
        dataset = f'{{ name = "image_folder", size = 8, n_holdout = 20, root = "{root}" }}'
        matrix = matrix_file(
            datasets=f"datasets = [{dataset}]",
            evaluation='[evaluation]\nschedule = [1]\nn = {images = 20}\nextractor = "classifier"',
        )
        to = ("--results", tmp_path / "results")
        run = ("run", "--matrix", matrix, *to, "--device", "cpu", "--jobs", 1)
        ended = ganbench(*run)
        assert ended.code == 0
        sentence = "40 training and 20 held-out images of 3×8×8, 2 classes (cats, dogs)"
        assert sentence in ended.err
        assert "1 file left out: 1 of format .heic (notes.heic)" in ended.err
        (protocol,) = ResultSet(tmp_path / "results" / "tiny").protocols.values()
        assert (protocol.dataset.n_classes, protocol.dataset.classes) == (2, ["cats", "dogs"])
        (item,) = completeness.data(load_tables(tmp_path / "results" / "tiny"))
        assert sentence in item.lines[0]

        assert "has changed" not in ganbench(*run).err
        assert ganbench("measure", "--matrix", matrix, *to, "--force").code == 0
        write(root, pictures("dogs/2021", first=1000))
        # as a new process does
        make_dataset.cache_clear()
        again = ganbench(*run)
        assert again.code == 0
        assert "it has changed since 1 finished cell trained on it" in again.err
        for command in (
            (*run, "--set", "seeds=2"),
            ("measure", "--matrix", matrix, *to, "--force"),
        ):
            refused = ganbench(*command)
            assert refused.code == 2
            assert "it has changed since 1 finished cell trained on it" in refused.err


SPLITS = [
    ("Train", "Test"),
    ("training", "validation"),
    ("TRAIN", "VAL"),
    ("Training", "Testing"),
    ("train", "dev"),
    ("train", "valid"),
    ("training_set", "test_set"),
    ("seg_train", "seg_test"),
    ("train2017", "val2017"),
    ("TrainImages", "TestImages"),
    ("01_train", "02_test"),
    ("train", "evaluation"),
]


class TestSplits:
    @pytest.mark.parametrize("path", ["set", "set.zip"])
    @pytest.mark.parametrize(("train", "test"), SPLITS)
    def test_names_of_splits(self, train: str, test: str, path: str, tmp_path: Path) -> None:
        to_train = pictures(f"{train}/a", f"{train}/b")
        held = pictures(f"{test}/a", f"{test}/b", first=100)
        data = folder_of(write(tmp_path / path, to_train | held))
        assert contents(data.splits[0]) == pixels_of(to_train)
        assert contents(data.splits[1]) == pixels_of(held)
        assert data.split == f"as the folder comes: {train} for training, {test} held out"
        assert data.splits[0].classes == ("a", "b")

    @pytest.mark.parametrize("path", ["set", "set.zip"])
    @pytest.mark.parametrize("form", ["inner/{}/{}", "{1}/{0}", "inner/{1}/{0}/x", "{}/deep/{}"])
    def test_places_of_splits(self, form: str, path: str, tmp_path: Path) -> None:
        to_train = pictures(form.format("train", "cats"), form.format("train", "dogs"))
        held = pictures(form.format("test", "cats"), form.format("test", "dogs"), first=100)
        data = folder_of(write(tmp_path / path, to_train | held))
        assert contents(data.splits[0]) == pixels_of(to_train)
        assert contents(data.splits[1]) == pixels_of(held)
        assert data.splits[0].classes == data.splits[1].classes == ("cats", "dogs")

    def test_zips_in_an_inner_folder(self, tmp_path: Path) -> None:
        to_train, held = pictures("a", "b"), pictures("a", "b", first=100)
        write(tmp_path / "set" / "Train.ZIP".replace("ZIP", "zip"), to_train)
        write(tmp_path / "set" / "Valid.zip", held)
        data = folder_of(tmp_path)
        assert contents(data.splits[0]) == pixels_of(to_train)
        assert contents(data.splits[1]) == pixels_of(held)

    def test_an_unlabelled_test_split_gives_way_to_the_validation_split(
        self, tmp_path: Path
    ) -> None:
        held = pictures("val/a", "val/b", first=100)
        write(tmp_path, pictures("train/a", "train/b") | held | pictures("test", first=200))
        data = folder_of(tmp_path)
        assert contents(data.splits[1]) == pixels_of(held)
        assert data.split == (
            "as the folder comes: train for training, val held out, not used: test (4 images)"
        )

    def test_a_labelled_test_split_comes_first(self, tmp_path: Path) -> None:
        held = pictures("test/a", "test/b", first=200)
        write(
            tmp_path, pictures("train/a", "train/b") | held | pictures("val/a", "val/b", first=300)
        )
        write(tmp_path, pictures("extra", first=400))
        data = folder_of(tmp_path)
        assert contents(data.splits[1]) == pixels_of(held)
        assert data.split.endswith("not used: extra/ (4 images), val (8 images)")

    @pytest.mark.parametrize(
        "folders", [("bus", "car", "train"), ("bullet_train", "test_tube"), ("tests", "trains")]
    )
    def test_classes_are_no_splits(self, folders: tuple[str, ...], tmp_path: Path) -> None:
        data = folder_of(write(tmp_path, pictures(*folders)))
        assert data.splits[0].classes == tuple(sorted(folders))

    @pytest.mark.parametrize(
        ("folders", "message"),
        [
            (("train", "Train", "test"), "several folders of one split: Train, train"),
            (("trainA", "trainB", "testA", "testB"), "several folders of one split"),
            (("train",), "has train but not its counterpart"),
            (("test", "val"), "has test, val but not its counterpart"),
            (("cats/train", "cats/test", "dogs"), r"dogs/\d+.png lies beside cats/train"),
            (("a/train", "a/test", "b/train", "b/val"), "no split to hold out is in every folder"),
        ],
    )
    def test_unclear_splits_are_refused(
        self, folders: tuple[str, ...], message: str, tmp_path: Path
    ) -> None:
        with pytest.raises(ValueError, match=message):
            folder_of(write(tmp_path / "set", pictures(*folders))).train()


UPRIGHT = np.arange(8 * 8 * 3, dtype=np.uint8).reshape(8, 8, 3)
# how the pixels lie in a file of each EXIF orientation (TIFF 6.0, tag 274)
STORED = {
    1: lambda a: a,
    2: lambda a: a[:, ::-1],
    3: lambda a: a[::-1, ::-1],
    4: lambda a: a[::-1],
    5: lambda a: a.swapaxes(0, 1),
    6: lambda a: a.swapaxes(0, 1)[::-1],
    7: lambda a: a.swapaxes(0, 1)[::-1, ::-1],
    8: lambda a: a.swapaxes(0, 1)[:, ::-1],
}


class TestPixels:
    @pytest.mark.parametrize("orientation", STORED)
    @pytest.mark.parametrize("form", ["PNG", "WEBP", "TIFF", "JPEG"])
    def test_every_exif_orientation(self, form: str, orientation: int) -> None:
        exif = Image.Exif()
        exif[274] = orientation
        stored = np.ascontiguousarray(STORED[orientation](UPRIGHT))
        options: dict[str, Any] = {"lossless": True} if form == "WEBP" else {}
        pixels = _pixels.decode(encoded(stored, form, exif=exif, **options), 8)
        difference = np.abs(pixels.rgb.transpose(1, 2, 0).astype(int) - UPRIGHT)
        # of JPEG the mean tells: another orientation is 60 off
        assert difference.mean() < (12 if form == "JPEG" else 1e-9)
        assert pixels.traits == ((_pixels.TURNED,) if orientation > 1 else ())

    def test_a_turned_image_is_resized_upright(self) -> None:
        wide = np.zeros((8, 32, 3), np.uint8)
        wide[:, 12:20] = 255
        exif = Image.Exif()
        exif[274] = 6
        pixels = _pixels.decode(encoded(wide, "PNG", exif=exif), 8)
        assert (pixels.rgb == 255).all(), "the centre of the tall image is white"

    @pytest.mark.parametrize("mode", ["RGBA", "LA", "P", "tRNS of RGB", "tRNS of L", "tRNS of 16"])
    def test_what_is_transparent_is_white(self, mode: str) -> None:
        """The left half is transparent, and hides another colour."""
        grey = np.full((8, 8), 100, np.uint8)
        grey[:, :4] = 30
        alpha = np.full((8, 8), 255, np.uint8)
        alpha[:, :4] = 0
        options: dict[str, Any] = {}
        image = Image.fromarray(grey)
        if mode == "RGBA":
            image = Image.merge("RGBA", [*[image] * 3, Image.fromarray(alpha)])
        elif mode == "LA":
            image = Image.merge("LA", [image, Image.fromarray(alpha)])
        elif mode == "P":
            image = image.convert("RGB").quantize(4)
            options["transparency"] = image.getpixel((0, 0))
        elif mode == "tRNS of RGB":
            image = image.convert("RGB")
            options["transparency"] = (30, 30, 30)
        elif mode == "tRNS of L":
            options["transparency"] = 30
        else:
            image = Image.fromarray(grey.astype(np.uint16) * 256)
            options["transparency"] = 30 * 256
        buffer = io.BytesIO()
        image.save(buffer, "PNG", **options)
        pixels = _pixels.decode(buffer.getvalue(), 8)
        assert (pixels.rgb[..., :4] == 255).all()
        assert (pixels.rgb[..., 4:] == 100).all()
        assert _pixels.TRANSPARENT in pixels.traits

    def test_a_colour_of_16_bits_that_is_transparent_is_white(self) -> None:
        array = np.full((8, 8, 3), 100 * 257, np.uint16)
        array[:, :4] = [30, 31, 32]
        pixels = _pixels.decode(png_of_16_bits(array, key=(30, 31, 32)), 8)
        assert (pixels.rgb[..., :4] == 255).all()
        assert (pixels.rgb[..., 4:] == 100).all()
        assert _pixels.TRANSPARENT in pixels.traits

    def test_half_transparent_is_half_white_and_opaque_is_as_it_is(self) -> None:
        array = np.full((8, 8, 4), 128, np.uint8)
        assert set(_pixels.decode(encoded(array), 8).rgb.flat) <= {191, 192}
        array[..., 3] = 255
        opaque = _pixels.decode(encoded(array), 8)
        assert (opaque.rgb == 128).all()
        assert opaque.traits == ()

    @pytest.mark.parametrize(
        ("num_bits", "form"), [(10, "PNG"), (12, "PNG"), (16, "PNG"), (12, "TIFF")]
    )
    def test_grey_of_more_than_8_bits_has_the_full_range(
        self, num_bits: int, form: str, tmp_path: Path
    ) -> None:
        """The scale is that of all images: a dark one stays dark."""
        top = 2**num_bits - 1
        levels = [np.full((8, 8), top * i // 20, np.uint16) for i in range(21)]
        write(tmp_path / "set", {f"{i}.png": encoded(a, form) for i, a in enumerate(levels)})
        found = read_images(tmp_path / "set", 8)
        shown = sorted(int(image.max()) for image in found.samples)
        assert shown == [(top * i // 20) >> (num_bits - 8) for i in range(21)]
        assert any(f"{top:g} as 255" in remark for remark in found.remarks)

    @pytest.mark.parametrize(
        "form",
        ["RGB", "RGBA", "LA", "TIFF", "TIFF of other order", "deflated TIFF", "PPM"],
    )
    def test_colour_of_12_bits_in_16(self, form: str, tmp_path: Path) -> None:
        array = np.full((8, 8, 3), 4095, np.uint16)
        array[:, :4] = [16, 2048, 3000]
        if form == "LA":
            array[...] = array[..., 1:2]
        opaque = np.full((8, 8, 1), 65535)
        content = {
            "RGB": lambda: png_of_16_bits(array),
            "RGBA": lambda: png_of_16_bits(np.dstack([array, opaque])),
            "LA": lambda: png_of_16_bits(np.dstack([array[..., :1], opaque])),
            "TIFF": lambda: tiff_of_16_bits(array),
            "TIFF of other order": lambda: tiff_of_16_bits(array, ">"),
            "deflated TIFF": lambda: tiff_of_16_bits(array, method=8),
            "PPM": lambda: ppm_of_16_bits(array),
        }[form]()
        write(tmp_path / "set", {"0.png": content})
        found = read_images(tmp_path / "set", 8).samples[0]
        assert found[:, 0, 0].tolist() == [value >> 4 for value in array[0, 0].tolist()]
        assert found[:, 0, 7].tolist() == [255, 255, 255]

    def test_planes_of_16_bits_are_refused(self) -> None:
        """Pillow would read half the bytes of each plane as pixels."""
        content = tiff_of_16_bits(np.full((8, 8, 3), 4095, np.uint16), planes=2)
        with pytest.raises(ValueError, match="with a plane per colour is not read"):
            _pixels.decode(content, 8)

    def test_both_splits_share_one_scale(self, tmp_path: Path) -> None:
        for name, level in (("train", 4000), ("test", 1000)):
            write(tmp_path, {f"{name}/0.png": encoded(np.full((8, 8), level, np.uint16))})
        images = read_layout(tmp_path, 8)
        assert images.held is not None
        assert int(images.train.samples.max()) == 4000 >> 4
        assert int(images.held.samples.max()) == 1000 >> 4

    @pytest.mark.parametrize(
        ("least", "greatest", "shown"), [(0, 1, (0, 255)), (0, 255, (0, 255)), (-3, 5, (0, 255))]
    )
    def test_floats(
        self, least: float, greatest: float, shown: tuple[int, int], tmp_path: Path
    ) -> None:
        array = np.full((8, 8), least, np.float32)
        array[:, 4:] = greatest
        write(tmp_path / "set", {"0.tif": encoded(array, "TIFF")})
        found = read_images(tmp_path / "set", 8).samples
        assert (int(found.min()), int(found.max())) == shown

    def test_one_bit_cmyk_and_palette(self) -> None:
        white = np.full((8, 8), True)
        assert (_pixels.decode(encoded(white), 8).rgb == 255).all()
        for mode in ("CMYK", "P"):
            buffer = io.BytesIO()
            image = Image.new("RGB", (8, 8), (255, 0, 0)).convert(mode)
            image.save(buffer, "TIFF")
            rgb = _pixels.decode(buffer.getvalue(), 8).rgb
            assert rgb[:, 0, 0].tolist() == pytest.approx([255, 0, 0], abs=1)

    def test_dark_images_are_said(self, tmp_path: Path) -> None:
        rng = np.random.default_rng(0)
        dark = {f"{i}.png": encoded(rng.integers(0, 15, (8, 8), np.uint8)) for i in range(10)}
        assert "the brightest value is 14 of 255" in remarks(write(tmp_path / "set", dark))


class TestWhatIsLeftOut:
    def test_other_formats_are_counted_and_named(self, tmp_path: Path) -> None:
        files = pictures("", n=10) | {f"{i}.heic": b"-" for i in range(30)}
        files |= {"a.svg": b"<svg/>", "b.zip": b"-", "noending": b"-", "c.png.part": b"-"}
        text = remarks(write(tmp_path / "set", files))
        assert "34 files left out: 30 of format .heic, " in text
        for reason in (
            "1 of format .svg",
            "1 of format .zip",
            "1 without an ending",
            "1 of format .part",
        ):
            assert reason in text

    def test_formats_that_are_read_are_counted(self, tmp_path: Path) -> None:
        files = {f"{i}.png": picture(i) for i in range(6)}
        files |= {f"{i}.TIF": picture(100 + i, "TIFF") for i in range(4)}
        files |= {f"{i}.gif": picture(200 + i, "GIF") for i in range(2)}
        root = write(tmp_path / "set", files)
        assert len(folder_of(root).train()) == 8
        assert "images of 3 formats: 6 .png, 4 .tif, 2 .gif" in remarks(root)

    @pytest.mark.parametrize("path", ["set", "set.zip"])
    def test_what_systems_leave_behind_is_not_worth_a_word(self, path: str, tmp_path: Path) -> None:
        files = pictures("a", "b") | {"a/Thumbs.db": b"-", "desktop.ini": b"-", ".DS_Store": b"-"}
        files |= {"__MACOSX/a/._0.png": b"-", "a/._0.png": b"-"}
        found = read_images(write(tmp_path / path, files), 8)
        assert (len(found.samples), found.left_out) == (8, {})

    def test_hidden_images_are_said(self, tmp_path: Path) -> None:
        files = pictures("a", "b") | {"a/.hidden.png": picture(9)}
        assert read_images(write(tmp_path / "set", files), 8).left_out == {
            "a/.hidden.png": "hidden"
        }

    def test_a_folder_of_other_files_says_what_they_are(self, tmp_path: Path) -> None:
        with pytest.raises(ValueError, match=r"no images.*left out are 2 of format \.heic"):
            read_images(write(tmp_path / "set", {"a.heic": b"-", "b.heic": b"-"}), 8)

    def test_names_that_are_no_utf8_and_control_characters(self, tmp_path: Path) -> None:
        root = write(tmp_path / "set", pictures("", n=8))
        (root / os.fsdecode(b"\xff.png")).write_bytes(b"-")
        (root / "new\nline.heic").write_bytes(b"-")
        found = read_images(root, 8, tolerance=0.5)
        assert found.corrupt == ("\\udcff.png",)
        assert list(found.left_out) == ["new\\nline.heic"]


class TestRepeats:
    """Of samples, by content."""

    def test_copies_are_counted(self, tmp_path: Path) -> None:
        files = pictures("a", "b", n=20)
        (first, *_) = files.values()
        root = write(tmp_path / "set", files | {"a/copy1.png": first, "b/copy2.png": first})
        facts = dataset_facts(folder_of(root))
        assert facts.repeats is not None
        assert facts.leaks is not None
        assert facts.repeats + facts.leaks == 2
        assert "equal" in remarks(root)

    @pytest.mark.parametrize("form", ["PNG", "BMP"])
    def test_held_out_images_that_are_training_images_are_refused(
        self, form: str, tmp_path: Path
    ) -> None:
        for i in range(8):
            write(tmp_path, {f"train/{i}.png": picture(i), f"test/{i}.png": picture(i, form)})
        with pytest.raises(ValueError, match="8 of 8 held-out samples equal a training sample"):
            dataset_facts(folder_of(tmp_path))

    def test_a_few_are_said(self, tmp_path: Path) -> None:
        for i in range(8):
            write(tmp_path, {f"train/{i}.png": picture(i), f"test/{i}.png": picture(i + 6)})
        assert "2 of 8 held-out images equal a training image" in remarks(tmp_path)

    def test_every_image_twice_is_refused(self, tmp_path: Path) -> None:
        files = pictures("", n=40)
        root = write(tmp_path, files | {f"copy-{name}": files[name] for name in files})
        with pytest.raises(ValueError, match="of 4 held-out samples equal a training sample"):
            dataset_facts(folder_of(root))

    def test_images_that_are_all_the_same_are_said(self, tmp_path: Path) -> None:
        root = write(tmp_path, {f"{i}.png": picture(0) for i in range(60)})
        text = remarks(root)
        assert "4 of 4 held-out images equal a training image" in text
        assert "55 of 56 training images equal an earlier one" in text

    @pytest.mark.parametrize(
        ("name", "facts"), [("digits", (10, 0, 0)), ("gaussians8", (None, 0, 0))]
    )
    def test_shipped_data_has_none(self, name: str, facts: tuple[int | None, int, int]) -> None:
        found = dataset_facts(load("datasets", name).Dataset())
        assert (found.n_classes, found.repeats, found.leaks) == facts


def test_points_that_are_held_out_twice_are_refused() -> None:
    points = torch.randn(100, 2)

    class Twice(load("datasets", "swissroll").Dataset):
        def load(self) -> tuple[Split, Split]:
            return Split(points), Split(points[:50].clone())

    with pytest.raises(ValueError, match="50 of 50 held-out samples equal a training sample"):
        dataset_facts(Twice())
