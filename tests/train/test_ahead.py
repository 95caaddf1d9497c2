"""Functions compiled ahead of time: the same numbers, and a cache that survives damage."""

import linecache
import os
import signal
import subprocess
import sys
import threading
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
import torch
from torch import Tensor
from torch.fx import graph_module
from torch.utils._pytree import tree_flatten

from benchmark.train.execution import ahead, matmul_pass, operators
from benchmark.train.execution.ahead import Ahead
from benchmark.train.execution.modes import can_compile
from benchmark.train.execution.operators import Traced
from benchmark.train.execution.small_convolutions import convolution, convolution_backward

needs_compiler = pytest.mark.skipif(not can_compile(), reason="there is no C++ compiler")
ATEN = torch.ops.aten


@pytest.fixture
def cache(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """An empty cache, of a process that has loaded nothing."""
    monkeypatch.setenv("GANBENCH_CACHE", str(tmp_path))
    monkeypatch.setattr(ahead, "_loaded", {})
    return tmp_path / ahead.FOLDER


# Small convolutions


@pytest.mark.parametrize("transposed", [False, True])
@pytest.mark.parametrize("groups", [1, 3])
@pytest.mark.parametrize(
    ("kernel", "stride", "padding", "dilation", "spare"),
    [(5, 2, 2, 1, 1), (3, 1, 1, 1, 0), (4, 2, 1, 1, 0), (1, 1, 0, 1, 0), (3, 2, 2, 2, 1)],
)
def test_a_small_convolution_is_a_product(
    transposed: bool, groups: int, kernel: int, stride: int, padding: int, dilation: int, spare: int
) -> None:
    """In float64, against the library: values and all three gradients."""
    torch.manual_seed(0)
    size = 2 if kernel == 1 else 4 if transposed else 6
    x = torch.randn(30, groups, size, size, dtype=torch.float64)
    channels = (groups, 3) if transposed else (3 * groups, 1)
    weight = torch.randn(*channels, kernel, kernel, dtype=torch.float64)
    bias = torch.randn(3 * groups, dtype=torch.float64)
    options = [[stride] * 2, [padding] * 2, [dilation] * 2, transposed]
    options += [[spare if transposed else 0] * 2, groups]
    expected = ATEN.convolution(x, weight, bias, *options)
    found = convolution(x, weight, bias, *options)
    if found is NotImplemented:
        assert expected.shape[2] ** 2 > 4 * kernel**2 or size**2 > 4 * kernel**2
        return
    torch.testing.assert_close(found, expected)
    gradient = torch.randn_like(expected)
    arguments = (gradient, x, weight, [len(bias)], *options, [True, True, True])
    for ours, theirs in zip(
        convolution_backward(*arguments), ATEN.convolution_backward(*arguments), strict=True
    ):
        torch.testing.assert_close(ours, theirs)


@pytest.mark.parametrize(
    ("size", "channels", "is_product"),
    [(32, 3, False), (32, 1, False), (8, 3, False), (8, 1, True), (4, 3, True)],
)
def test_which_convolutions_stay_with_the_library(
    size: int, channels: int, is_product: bool
) -> None:
    options = [[2, 2], [2, 2], [1, 1], False, [0, 0], 1]
    x, weight = torch.randn(64, channels, size, size), torch.randn(8, channels, 5, 5)
    found = convolution(x, weight, None, *options)
    assert (found is not NotImplemented) == is_product
    assert convolution(x[0], weight, None, *options) is NotImplemented


# Libraries


def scaled(values: dict[str, Tensor], factor: Tensor) -> tuple[dict[str, Tensor], Tensor]:
    """A function with a tree, and with a change in place."""
    factor.add_(1)
    return {name: value * factor for name, value in values.items()}, factor.sum()


def test_a_traced_function_does_the_same() -> None:
    by_operators = Traced(scaled)
    for shape in ((3,), (2, 2)):
        values, factor = {"a": torch.randn(shape), "b": torch.randn(shape)}, torch.tensor(2.0)
        found = by_operators(values, factor)
        assert factor == 3
        torch.testing.assert_close(found, scaled(values, factor - 1))
    assert len(by_operators.made) == 2


A, B, C = torch.randn(3, 4, 5), torch.randn(3, 5, 6), torch.randn(3, 4, 6)
PRODUCT, SUM, FUSED = ATEN.bmm.default, ATEN.add.Tensor, ATEN.baddbmm.default
LAID_OUT = [ATEN.transpose.int, ATEN.clone.default, ATEN.transpose.int]


@pytest.mark.parametrize(
    ("function", "left"),
    [
        (lambda: C + A @ B, [FUSED]),
        (lambda: A @ B + C, [FUSED]),
        (lambda: A @ B + C[:, :1], [ATEN.slice.Tensor, FUSED]),
        (lambda: A @ B + C[0, 0], [ATEN.select.int, ATEN.select.int, FUSED]),
        (lambda: A @ B + A @ B, [PRODUCT, SUM]),
        # The sum is larger than the product, has a factor, or other numbers; or the product is used
        (lambda: A @ B + C.expand(2, 3, 4, 6), [PRODUCT, ATEN.expand.default, SUM]),
        (lambda: torch.add(C, A @ B, alpha=2), [PRODUCT, SUM]),
        (lambda: A @ B + C.double(), [PRODUCT, ATEN._to_copy.default, SUM]),
        (lambda: A @ B + 1, [PRODUCT, SUM]),
        (lambda: (product := A @ B) * (product + C), [PRODUCT, SUM, ATEN.mul.Tensor]),
        # The sum is laid out otherwise, or a factor changes between the product and the sum
        (lambda: C.mT.contiguous().mT + A @ B, [*LAID_OUT, PRODUCT, SUM]),
        (lambda: (A @ B, B.mul_(2))[0] + C, [PRODUCT, ATEN.mul_.Tensor, SUM]),
        # Views that change nothing
        (lambda: C.view(3, 4, 6).expand(3, 4, 6).exp(), [ATEN.exp.default]),
        (lambda: C.view(12, 6).view(72).exp(), [ATEN.reshape.default, ATEN.exp.default]),
        (lambda: C.view(12, 6).view(3, 4, 6).exp(), [ATEN.exp.default]),
        (
            lambda: C.mT.reshape(3, 24).view(72),
            [ATEN.transpose.int, ATEN.clone.default, ATEN.reshape.default],
        ),
    ],
)
def test_what_a_traced_function_leaves_out(
    function: Callable[[], Tensor], left: list[object]
) -> None:
    def of_arguments(a: Tensor, b: Tensor, c: Tensor) -> Tensor:
        with pytest.MonkeyPatch.context() as patch:
            for name, tensor in zip("ABC", (a, b, c), strict=True):
                patch.setitem(globals(), name, tensor)
            return function()

    tensors, tree = tree_flatten((A, B, C))
    graph, _ = operators.operators_of(of_arguments, tensors, tree)
    operators.simplify(graph)
    assert [node.target for node in graph.graph.nodes if node.op == "call_function"] == left
    found = Traced(of_arguments)(A, B.clone(), C)
    expected = of_arguments(A, B.clone(), C)
    torch.testing.assert_close(found, expected)
    assert found.stride() == expected.stride()


def test_traced_functions_leave_no_sources_behind() -> None:
    for factor in range(3):
        Traced(lambda x, factor=factor: x * factor)(torch.ones(3))
    assert not graph_module._loader.eval_cache
    assert not [name for name in linecache.cache if "eval_with_key" in name]


def test_tracing_draws_nothing() -> None:
    """A training that is resumed traces where it stands; the numbers go on."""
    by_operators = Traced(lambda x: x + torch.rand(3))
    drawn = []
    for _ in range(2):
        torch.manual_seed(0)
        drawn.append(by_operators(torch.zeros(3)))
    assert torch.equal(*drawn)


def test_arguments_may_be_expanded() -> None:
    by_operators = Traced(lambda x, y: x * y)
    x, y = torch.ones(1).expand(4), torch.arange(4.0)
    assert torch.equal(by_operators(x, y), y)


@needs_compiler
def test_a_function_and_its_library_do_the_same(cache: Path) -> None:
    compiled = Ahead(scaled, {})
    for shape in ((3,), (2, 2)):
        values, factor = {"a": torch.randn(shape), "b": torch.randn(shape)}, torch.tensor(2.0)
        found = compiled(values, factor)
        expected = scaled(values, factor - 1)
        assert factor == 3
        torch.testing.assert_close(found, expected)
    # One for each layout of the arguments
    assert len(list(cache.glob("*.so"))) == 2
    assert not list(cache.glob("*.part"))
    transposed = torch.randn(2, 2).t()
    torch.testing.assert_close(
        compiled({"a": transposed, "b": transposed}, factor)[0]["a"], transposed * 4
    )
    assert len(list(cache.glob("*.so"))) == 3


@pytest.fixture(scope="module")
def library(tmp_path_factory: pytest.TempPathFactory) -> bytes:
    """The bytes of a library for `scaled`."""
    if not can_compile():
        pytest.skip("there is no C++ compiler")
    path = tmp_path_factory.mktemp("library") / "step.so"
    tensors = [torch.ones(3), torch.ones(3), torch.tensor(2.0)]
    _, tree = tree_flatten(({"a": tensors[0], "b": tensors[1]}, tensors[2]))
    ahead.build(ahead.traced(scaled, tensors, tree)[0], tensors, path, {})
    return path.read_bytes()


@pytest.fixture
def builds(library: bytes, monkeypatch: pytest.MonkeyPatch) -> list[Path]:
    """The libraries that were built; building one is a copy here."""
    built: list[Path] = []

    def copied(graph: object, tensors: object, path: Path, options: object) -> None:
        built.append(path)
        path.write_bytes(library)

    monkeypatch.setattr(ahead, "build", copied)
    return built


def run(monkeypatch: pytest.MonkeyPatch) -> None:
    """As a new process has it."""
    monkeypatch.setattr(ahead, "_loaded", {})
    values = {"a": torch.ones(3), "b": torch.ones(3)}
    assert Ahead(scaled, {})(values, torch.tensor(2.0))[1] == 3


@pytest.mark.parametrize("damage", ["truncated", "empty", "changed", "renamed", "a folder's name"])
def test_a_damaged_library_is_built_again(
    damage: str, cache: Path, builds: list[Path], monkeypatch: pytest.MonkeyPatch
) -> None:
    run(monkeypatch)
    run(monkeypatch)
    assert len(builds) == 1
    (path,) = cache.iterdir()
    content = path.read_bytes()
    damaged = {"truncated": content[:5000], "empty": b"", "changed": content[:-100] + b"\0" * 100}
    if damage in damaged:
        # Another file of that name: the former one is in use here
        path.unlink()
        path.write_bytes(damaged[damage])
    elif damage == "renamed":
        path.rename(path.with_name(f"{path.name[:16]}-{'0' * 16}.so"))
    else:
        path.unlink()
        path.with_suffix(".part").write_bytes(content[:100])
    run(monkeypatch)
    assert len(builds) == 2
    (found,) = cache.glob("*.so")
    assert found.read_bytes() == content


@pytest.mark.parametrize("step", ["_name", "_opened"])
def test_a_library_that_another_process_deletes_meanwhile_is_built_again(
    step: str, cache: Path, builds: list[Path], monkeypatch: pytest.MonkeyPatch
) -> None:
    """Between listing and reading it, and between reading and opening it."""
    run(monkeypatch)
    own, deleted = getattr(ahead, step), []

    def late(*args: Any) -> Any:
        if not deleted:
            deleted.append(args[-1])
            args[-1].unlink()
        return own(*args)

    with monkeypatch.context() as patch:
        patch.setattr(ahead, step, late)
        run(monkeypatch)
    assert len(builds) == 2
    assert list(cache.glob("*.so")) == deleted


def test_a_cache_that_cannot_be_written_to_keeps_nothing(
    cache: Path, builds: list[Path], monkeypatch: pytest.MonkeyPatch
) -> None:
    cache.write_text("a file with the name of the folder")
    run(monkeypatch)
    run(monkeypatch)
    assert len(builds) == 2


def test_a_build_that_fails_leaves_nothing(
    cache: Path, builds: list[Path], monkeypatch: pytest.MonkeyPatch
) -> None:
    def fails(*args: object) -> None:
        raise RuntimeError("no space")

    monkeypatch.setattr(ahead, "build", fails)
    with pytest.raises(RuntimeError, match="no space"):
        run(monkeypatch)
    assert not cache.exists()


def test_two_runs_may_build_the_same(
    cache: Path, library: bytes, monkeypatch: pytest.MonkeyPatch
) -> None:
    both = threading.Barrier(2)
    loaded = []

    def build(path: Path) -> None:
        both.wait()
        path.write_bytes(library)

    def runs() -> None:
        loaded.append(ahead.load("0" * 16, build))

    threads = [threading.Thread(target=runs) for _ in range(2)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert len(loaded) == 2
    assert len(list(cache.iterdir())) == 1


WRITES = """
import sys
from itertools import count
from pathlib import Path
from benchmark.train.execution import ahead

library = Path(sys.argv[1]).read_bytes()
for number in count():
    ahead.load(f"{number:016d}", lambda path: path.write_bytes(library))
"""


@pytest.mark.slow
def test_processes_that_are_killed_while_they_write_leave_whole_libraries(
    cache: Path, library: bytes, tmp_path: Path
) -> None:
    """Two processes build and keep the same libraries, and both are killed, again and again."""
    source = tmp_path / "library.so"
    source.write_bytes(library)
    num_kept = 0
    for _ in range(4):
        command = [sys.executable, "-c", WRITES, str(source)]
        environment = os.environ | {"TMPDIR": str(tmp_path)}
        both = [subprocess.Popen(command, env=environment) for _ in range(2)]
        end = time.monotonic() + 60
        while len([*cache.glob("*.so")]) < num_kept + 5 and time.monotonic() < end:
            time.sleep(0.003)
        for process in both:
            process.kill()
        assert [process.wait() for process in both] == [-signal.SIGKILL] * 2
        kept = [*cache.glob("*.so")]
        assert len(kept) > num_kept
        num_kept = len(kept)
        for path in kept:
            assert path.name == ahead._name(path.name.partition("-")[0], path)
    for path in kept:
        ahead.load(path.name.partition("-")[0], lambda path: pytest.fail("built again"))


def test_a_key_is_of_all_that_a_library_depends_on(monkeypatch: pytest.MonkeyPatch) -> None:
    def key(factor: float = 2.0, shape: tuple[int, ...] = (3,), options: dict | None = None) -> str:
        constant = torch.full((3,), factor)
        tensors = [torch.ones(shape)]
        graph, _ = ahead.traced(lambda x: x * constant + factor, tensors, tree_flatten((0,))[1])
        return ahead.key_of(graph, tensors, options or {})

    usual = key()
    assert usual == key()
    others = [key(2.5), key(shape=(2, 3)), key(options={"fallback_random": True})]
    monkeypatch.setattr(ahead, "processor", lambda: "another one")
    others.append(key())
    monkeypatch.undo()
    monkeypatch.setattr(torch, "__version__", "9.9")
    others.append(key())
    monkeypatch.undo()
    assert len({usual, *others}) == 6


@needs_compiler
@pytest.mark.slow
def test_another_process_takes_the_library_from_the_cache(cache: Path) -> None:
    code = """
import torch
from benchmark.train.execution import ahead

def build(*args):
    raise SystemExit("built again")

if {again}:
    ahead.build = build
print(ahead.Ahead(lambda x: x.exp() + 1, {{}})(torch.zeros(3)).tolist())
"""
    for again in (False, True):
        run = subprocess.run(
            [sys.executable, "-c", code.format(again=again)],
            env=os.environ | {"GANBENCH_CACHE": str(cache.parent)},
            capture_output=True,
            text=True,
        )
        assert run.stdout == "[2.0, 2.0, 2.0]\n", run.stderr


@needs_compiler
@pytest.mark.slow
def test_a_library_may_have_operators_of_ours(cache: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(matmul_pass, "MIN_MULTIPLICATIONS", 1000)
    x, factor = torch.randn(16, 16), torch.randn(16, 16)
    options = {"post_grad_custom_post_pass": matmul_pass.MatmulPass(True)}
    for _ in range(2):
        monkeypatch.setattr(ahead, "_loaded", {})
        compiled = Ahead(lambda x, factor: (x @ factor).relu(), options)
        torch.testing.assert_close(compiled(x, factor), (x @ factor).relu())
        assert sorted(path.suffix for path in cache.iterdir()) == [".json", ".so"]
    (names,) = cache.glob("*.json")
    names.unlink()
    monkeypatch.setattr(ahead, "_loaded", {})
    torch.testing.assert_close(Ahead(compiled.function, options)(x, factor), (x @ factor).relu())
