"""Images, zips and IDX files that are damaged or made to harm: a count of corrupt images or one
clear line, within bounded memory, and nothing is written outside the cache."""

import gzip
import io
import resource
import struct
import subprocess
import sys
import warnings
import zipfile
import zlib
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from PIL import Image

from tests.variants.test_datasets import PARTS, idx, write_idx
from tests.variants.test_image_folder import encoded, picture, pictures, png_of_16_bits, write
from variants import load
from variants.datasets._images import read_images

FORMS = ("JPEG", "PNG", "WEBP", "TIFF", "GIF", "BMP", "PPM", "JPEG2000", "AVIF", "PNG16")
OPTIONS: dict[str, dict[str, Any]] = {
    "TIFF": {"compression": "tiff_lzw"},
    "WEBP": {"lossless": True},
}


@pytest.fixture(autouse=True)
def cache(tmp_path_factory: pytest.TempPathFactory, monkeypatch: pytest.MonkeyPatch) -> Path:
    folder = tmp_path_factory.mktemp("cache")
    monkeypatch.setenv("GANBENCH_CACHE", str(folder))
    return folder


def sound(form: str) -> bytes:
    array = np.random.default_rng(0).integers(0, 256, (24, 24, 3), dtype=np.uint8)
    if form == "PNG16":
        return png_of_16_bits(array.astype(np.uint16) * 16)
    exif = Image.Exif()
    exif[274] = 6
    options = OPTIONS.get(form, {})
    if form in ("JPEG", "PNG", "WEBP", "TIFF"):
        options = {**options, "exif": exif}
    return encoded(array, form, **options)


def damaged(content: bytes, rng: np.random.Generator) -> bytes:
    """Cut, flipped in a few places (more often near the head, where the structure is), or with a
    part taken out."""
    kind = rng.integers(4)
    if kind == 0:
        return content[: rng.integers(len(content))]
    array = np.frombuffer(content, np.uint8).copy()
    end = min(len(content), 200) if kind == 1 else len(content)
    if kind == 3:
        start = int(rng.integers(len(content)))
        return content[:start] + content[start + int(rng.integers(1, 40)) :]
    places = rng.integers(end, size=rng.integers(1, 6))
    array[places] = rng.integers(256, size=len(places))
    return array.tobytes()


@pytest.mark.slow
@pytest.mark.parametrize("form", FORMS)
def test_damaged_images_are_counted_or_read(
    form: str, tmp_path: Path, capfd: pytest.CaptureFixture[str]
) -> None:
    rng = np.random.default_rng(1)
    content = sound(form)
    root = write(tmp_path / "set", {f"{i}.png": damaged(content, rng) for i in range(600)})
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        found = read_images(root, 16, tolerance=0.999)
    assert len(found.samples) + len(found.corrupt) == 600
    assert len(found.corrupt) > 30
    out, err = capfd.readouterr()
    assert out == ""
    (line,) = err.splitlines()
    assert line.endswith("left out")


@pytest.mark.slow
@pytest.mark.parametrize("zipped", [False, True])
def test_damaged_idx_files_are_one_line_or_read(zipped: bool, tmp_path: Path) -> None:
    write_idx(tmp_path, zipped)
    rng = np.random.default_rng(2)
    ending = "-ubyte.gz" if zipped else "-ubyte"
    refused = 0
    for i in range(600):
        path = tmp_path / f"{PARTS[i % 4]}{ending}"
        content = path.read_bytes()
        path.write_bytes(damaged(content, rng))
        message = ""
        try:
            train, held = load("datasets", "mnist").Dataset(root=str(tmp_path)).splits
        except ValueError as error:
            message = str(error)
        if message:
            refused += 1
            assert str(tmp_path) in message
            assert "\n" not in message
        else:
            assert train.samples.shape == (6, 1, 28, 28)
            assert held.labels is not None
            assert held.labels.max() < 10
        path.write_bytes(content)
    assert refused > 300


@pytest.mark.slow
def test_damaged_arrays_of_digits_are_made_again(cache: Path) -> None:
    expected = load("datasets", "digits").Dataset().train()
    path = cache / "digits.npz"
    content = path.read_bytes()
    rng = np.random.default_rng(3)
    for _ in range(200):
        path.write_bytes(damaged(content, rng))
        assert (load("datasets", "digits").Dataset().train() == expected).all()


READ = """
import resource, sys, warnings
from pathlib import Path
import torch
from variants.datasets._images import read_images
torch.set_num_threads(1)
before = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss
try:
    found = read_images(Path(sys.argv[1]), 16, tolerance=0.9)
    print(len(found.samples), found.corrupt)
except (OSError, ValueError) as error:
    print("refused:", error)
print((resource.getrusage(resource.RUSAGE_SELF).ru_maxrss - before) // 1024)
"""


def read_apart(path: Path) -> tuple[str, str, int]:
    """What reading says, what it prints on stderr, and the MiB that it takes, in a process of its
    own."""
    done = subprocess.run(
        [sys.executable, "-c", READ, str(path)],
        capture_output=True,
        text=True,
        timeout=100,
        check=True,
    )
    *lines, megabytes = done.stdout.splitlines()
    (line,) = lines
    return line, done.stderr, int(megabytes)


def png(width: int, height: int, *chunks: tuple[bytes, bytes]) -> bytes:
    """A black PNG of one bit, which compresses a thousandfold."""

    def chunk(name: bytes, content: bytes) -> bytes:
        checked = name + content
        return struct.pack(">I", len(content)) + checked + struct.pack(">I", zlib.crc32(checked))

    packer = zlib.compressobj(1)
    row = bytes(1 + (width + 7) // 8)
    data = b"".join([*(packer.compress(row) for _ in range(height)), packer.flush()])
    header = struct.pack(">IIBBBBB", width, height, 1, 0, 0, 0, 0)
    every = [(b"IHDR", header), *chunks, (b"IDAT", data), (b"IEND", b"")]
    return b"\x89PNG\r\n\x1a\n" + b"".join(chunk(*one) for one in every)


def many_frames() -> bytes:
    frames = [Image.new("L", (16, 16), i % 256) for i in range(10_000)]
    buffer = io.BytesIO()
    frames[0].save(buffer, "GIF", save_all=True, append_images=frames[1:])
    return buffer.getvalue()


def long_text() -> bytes:
    text = zlib.compress(bytes(50_000_000))
    return png(16, 16, (b"zTXt", b"Comment\0\0" + text))


HARMFUL = {
    "400 megapixels": (lambda: png(20_000, 20_000), "400000000 pixels"),
    "90 megapixels": (lambda: png(9_000, 10_000), "9 ()"),
    "one row": (lambda: png(50_000_000, 1), "too long for its width"),
    "one column": (lambda: png(1, 5_000_000), "too long for its width"),
    "10,000 frames": (many_frames, "9 ()"),
    "text": (long_text, "8 ('bad.png',)"),
    "svg": (lambda: b"<svg xmlns='http://www.w3.org/2000/svg'/>", "8 ('bad.png',)"),
    "postscript": (lambda: b"%!PS-Adobe-3.0 EPSF-3.0\n%%BoundingBox: 0 0 9 9\n", "8 ('bad.png',)"),
    "size of no file": (lambda: bytes(2**28 + 1), "8 ('bad.png',)"),
}


@pytest.mark.slow
@pytest.mark.parametrize("harm", HARMFUL)
@pytest.mark.parametrize("path", ["set", "set.zip"])
def test_harmful_images(harm: str, path: str, tmp_path: Path) -> None:
    make, expected = HARMFUL[harm]
    root = tmp_path / path
    files = pictures("", n=8) | {"bad.png": make()}
    if path == "set":
        write(root, files)
    else:
        with zipfile.ZipFile(root, "w", zipfile.ZIP_DEFLATED) as archive:
            for name, content in files.items():
                archive.writestr(name, content)
    said, err, megabytes = read_apart(root)
    assert expected in said + err
    assert "Traceback" not in err
    assert "Warning" not in err
    assert len(err.splitlines()) <= 1
    assert megabytes < 900


def entry_of(name: str, method: int = zipfile.ZIP_DEFLATED, flags: int = 0) -> zipfile.ZipInfo:
    entry = zipfile.ZipInfo(name)
    entry.compress_type = method
    entry.flag_bits = flags
    return entry


def zip_with(path: Path, name: str, content: bytes, method: int = zipfile.ZIP_DEFLATED) -> Path:
    write(path, pictures("", n=8))
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")  # of a name that is there already
        with zipfile.ZipFile(path, "a") as archive:
            archive.writestr(entry_of(name, method), content)
    return path


def patch_directory(path: Path, name: bytes, offset: int, content: bytes) -> None:
    """Overwrite bytes of the last entry of a name in the directory of a zip."""
    whole = bytearray(path.read_bytes())
    start = whole.rindex(b"PK\x01\x02", 0, whole.rindex(name) + 1)
    whole[start + offset : start + offset + len(content)] = content
    path.write_bytes(bytes(whole))


@pytest.mark.slow
class TestZips:
    @pytest.mark.parametrize(
        "name", ["../out.png", "a/../../out.png", "/tmp/out.png", "..\\out.png", "C:\\out.png"]
    )
    def test_names_that_lead_out(self, name: str, tmp_path: Path) -> None:
        path = zip_with(tmp_path / "in" / "set.zip", name, picture(99))
        said, _, _ = read_apart(path)
        assert said.startswith(f"refused: {path}: the name ")
        assert "leads out of the zip" in said
        assert [*tmp_path.rglob("out.png")] == []

    def test_an_entry_that_unpacks_to_gigabytes(self, tmp_path: Path) -> None:
        path = zip_with(tmp_path / "set.zip", "bad.png", bytes(2**29))
        said, _, megabytes = read_apart(path)
        assert said == "8 ('bad.png',)"
        assert megabytes < 300

    def test_an_entry_that_states_less_than_it_unpacks_to(self, tmp_path: Path) -> None:
        path = zip_with(tmp_path / "set.zip", "bad.png", bytes(2**29))
        patch_directory(path, b"bad.png", 24, struct.pack("<I", 100))
        said, _, megabytes = read_apart(path)
        assert said == "8 ('bad.png',)"
        assert megabytes < 300

    def test_many_entries_that_unpack_to_gigabytes(self, tmp_path: Path) -> None:
        path = write(tmp_path / "set.zip", pictures("", n=8))
        with zipfile.ZipFile(path, "a") as archive:
            for i in range(20):
                archive.writestr(entry_of(f"bad{i}.bmp"), bytes(2**27))
        said, _, megabytes = read_apart(path)
        assert "unpack to 2,684," in said
        assert megabytes < 300

    @pytest.mark.parametrize("method", [zipfile.ZIP_BZIP2, zipfile.ZIP_LZMA])
    def test_methods_without_a_bound(self, method: int, tmp_path: Path) -> None:
        path = zip_with(tmp_path / "set.zip", "bad.png", picture(99), method)
        said, err, _ = read_apart(path)
        assert said == "8 ('bad.png',)"
        assert "only stored and deflated files are read" in err

    @pytest.mark.parametrize("method", [9, 93, 99])
    def test_unknown_methods(self, method: int, tmp_path: Path) -> None:
        path = zip_with(tmp_path / "set.zip", "bad.png", picture(99))
        patch_directory(path, b"bad.png", 10, struct.pack("<H", method))
        said, _, _ = read_apart(path)
        assert said == "8 ('bad.png',)"

    def test_a_password(self, tmp_path: Path) -> None:
        path = zip_with(tmp_path / "set.zip", "bad.png", picture(99))
        patch_directory(path, b"bad.png", 8, struct.pack("<H", 1))
        said, _, _ = read_apart(path)
        assert said == f"refused: {path}: bad.png asks for a password: unpack the zip first"

    def test_a_name_that_occurs_twice(self, tmp_path: Path) -> None:
        path = zip_with(tmp_path / "set.zip", "0.png", picture(99))
        found = read_images(path, 8)
        assert len(found.samples) == 8
        assert picture_in(found, 99)
        assert not picture_in(found, 0)
        assert [*found.left_out.values()] == ["an earlier entry of the same name"]

    def test_zips_in_a_zip(self, tmp_path: Path) -> None:
        inner = write(tmp_path / "inner.zip", pictures("", n=8)).read_bytes()
        path = write(tmp_path / "set.zip", {"train.zip": inner, "test.zip": inner})
        said, _, _ = read_apart(path)
        assert "holds no images" in said
        assert "2 of format .zip, such as test.zip" in said

    @pytest.mark.parametrize("content", [b"", b"PK", b"Rar!\x1a\x07", gzip.compress(b"x")])
    def test_no_zips(self, content: bytes, tmp_path: Path) -> None:
        (tmp_path / "set.zip").write_bytes(content)
        said, _, _ = read_apart(tmp_path / "set.zip")
        assert said.startswith(f"refused: {tmp_path}/set.zip is truncated or corrupt")

    def test_names_that_are_no_utf8(self, tmp_path: Path) -> None:
        path = zip_with(tmp_path / "set.zip", "bäd.png", picture(99))
        whole = path.read_bytes().replace("bäd".encode(), b"b\xff\xffd")
        path.write_bytes(whole)
        said, _, _ = read_apart(path)
        assert "set.zip is truncated or corrupt" in said


def picture_in(found: Any, seed: int) -> bool:
    with Image.open(io.BytesIO(picture(seed))) as image:
        wanted = np.asarray(image).transpose(2, 0, 1)
    return any((image.numpy() == wanted).all() for image in found.samples)


@pytest.mark.slow
def test_gzip_that_unpacks_to_gigabytes(tmp_path: Path) -> None:
    write_idx(tmp_path, zipped=True)
    path = tmp_path / "train-images-idx3-ubyte.gz"
    packer = zlib.compressobj(9, zlib.DEFLATED, 31)
    header = idx(np.zeros((0, 28, 28), np.uint8))
    parts = [packer.compress(header), *(packer.compress(bytes(2**24)) for _ in range(200))]
    path.write_bytes(b"".join([*parts, packer.flush()]))
    before = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss
    with pytest.raises(ValueError, match=r"train-images-idx3-ubyte\.gz is"):
        load("datasets", "mnist").Dataset(root=str(tmp_path)).train()
    assert (resource.getrusage(resource.RUSAGE_SELF).ru_maxrss - before) / 1024 < 1500
