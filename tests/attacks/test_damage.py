"""Every file of a result set, damaged in every way, under the verbs that read it: no traceback, no
endless wait, one line that names the file or its cell, and no other number without a word."""

import os
import shutil
from collections.abc import Callable
from pathlib import Path

import pytest

from benchmark.store.layout import ResultSet
from tests.conftest import Ended
from tests.helpers.trained import tiny_matrix, trained_set

OF_CELL = ("status.json", "spec.json", "environment.json", "evals.jsonl", "steps.jsonl")
OF_CELL += ("layers.jsonl", "generator.pt", "samples/000010.npz", "samples/000010.png", ".lock")
OF_SET = ("matrix.json", "protocols.json", ".lock")
VERBS: dict[str, tuple[str, ...]] = {
    "status": ("status",),
    "status --json": ("status", "--json"),
    "tables": ("tables",),
    "compare": ("compare", "nonsaturating", "wgan"),
    "sample": ("sample", "nonsaturating*seed0", "--n", "5", "--device", "cpu"),
    "measure": ("measure", "--force", "--device", "cpu"),
    "export": ("export", "tensorboard"),
}
SEES_NUMBERS = ("tables", "compare")


def put(content: bytes) -> Callable[[Path], None]:
    return lambda path: void(path.write_bytes(content))


def void(_: object) -> None:
    """Nothing, whatever a function returned."""


def cut(share: float) -> Callable[[Path], None]:
    def damage(path: Path) -> None:
        os.truncate(path, int(path.stat().st_size * share))

    return damage


def flip(share: float) -> Callable[[Path], None]:
    def damage(path: Path) -> None:
        content = bytearray(path.read_bytes())
        if content:
            content[int(len(content) * share)] ^= 1
        path.write_bytes(bytes(content))

    return damage


def twice(path: Path) -> None:
    path.write_bytes(path.read_bytes() * 2)


def backwards(path: Path) -> None:
    path.write_bytes(b"".join(reversed(path.read_bytes().splitlines(keepends=True))))


def other_schema(path: Path) -> None:
    path.write_bytes(path.read_bytes().replace(b'"schema": 1', b'"schema": 2'))


def huge_numbers(path: Path) -> None:
    path.write_bytes(path.read_bytes().replace(b"10", b"1" + b"0" * 400))


def folder(path: Path) -> None:
    path.unlink()
    path.mkdir()


def link(target: str) -> Callable[[Path], None]:
    def damage(path: Path) -> None:
        path.unlink()
        path.symlink_to(target)

    return damage


def pipe(path: Path) -> None:
    path.unlink()
    os.mkfifo(path)


DAMAGES: dict[str, Callable[[Path], None]] = {
    "gone": Path.unlink,
    "empty": put(b""),
    "a list": put(b"[]\n"),
    "no fields": put(b'{"schema": 1}\n'),
    "nested": put(b"[" * 100_000),
    "many keys": put(b'{"schema": 1' + b"".join(b', "%d": 0' % i for i in range(10**5)) + b"}\n"),
    "not a number": put(b'{"schema": 1, "status": NaN}\n'),
    "bytes": put(bytes(range(256))),
    "twice": twice,
    "backwards": backwards,
    "other schema": other_schema,
    "huge numbers": huge_numbers,
    "a folder": folder,
    "a link": link("/etc/passwd"),
    "a link to itself": link("."),
    "a pipe": pipe,
    **{f"cut at {share}": cut(share) for share in (0.1, 0.5, 0.9, 0.99)},
    **{f"a bit at {share}": flip(share) for share in (0.02, 0.2, 0.35, 0.5, 0.65, 0.8, 0.98)},
}


@pytest.fixture(scope="module")
def trained(tmp_path_factory: pytest.TempPathFactory) -> Path:
    matrix = tiny_matrix("nonsaturating", "wgan")
    return trained_set(tmp_path_factory.mktemp("trained") / "matrix", matrix)


def numbers(results: Path) -> dict[str, str]:
    return {path.name: path.read_text() for path in (results / "tables").glob("*.csv")}


@pytest.mark.slow
@pytest.mark.parametrize("damage", DAMAGES)
@pytest.mark.parametrize("name", [*OF_SET, *OF_CELL])
def test_no_damage_goes_unseen(
    name: str, damage: str, trained: Path, ganbench: Callable[..., Ended], tmp_path: Path
) -> None:
    key = ResultSet(trained).matrix.cells[0].key
    whole = tmp_path / "whole" / "matrix"
    shutil.copytree(trained, whole)
    ganbench("tables", "--matrix", "matrix", "--results", whole.parent)
    compared = ganbench(*VERBS["compare"], "--matrix", "matrix", "--results", whole.parent)
    expected = {"tables": numbers(whole), "compare": compared.out}
    for verb, arguments in VERBS.items():
        results = tmp_path / "results" / "matrix"
        shutil.copytree(trained, results)
        path = results / name if name in OF_SET else results / "cells" / key / name
        path.touch()
        DAMAGES[damage](path)
        ended = ganbench(*arguments, "--matrix", "matrix", "--results", results.parent)
        assert ended.code in (0, 1, 2), verb
        assert "Traceback" not in ended.err, verb
        assert "Warning" not in ended.err, verb
        if ended.code == 2:
            # measure says first what it is about to do
            *progress, error = ended.err.splitlines()
            assert error.startswith("ganbench: "), (verb, ended.err)
            assert not progress or verb == "measure", (verb, ended.err)
            is_named = any(text in ended.err for text in (path.name, key, "no results of"))
            assert is_named, (verb, ended.err)
        found = {"tables": numbers(results), "compare": ended.out}
        if verb in SEES_NUMBERS and ended.code == 0 and found[verb] != expected[verb]:
            assert "damaged cells that count as missing" in ended.err, verb
        shutil.rmtree(results.parent)
