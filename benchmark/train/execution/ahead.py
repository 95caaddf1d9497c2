"""Functions of a training step compiled ahead of time for a CPU. A function is traced to a graph of
operators, Inductor compiles the graph to a library, and the library stays in the cache folder for
later cells, workers and runs.

Uses private parts of torch, so every compiled step is compared with an eager one."""

import hashlib
import logging
import platform
import tempfile
from collections.abc import Callable, Sequence
from contextlib import suppress
from functools import cache
from pathlib import Path
from typing import Any

import torch
from torch import Tensor
from torch.fx import GraphModule
from torch.utils._pytree import TreeSpec

from benchmark.train.execution.operators import Run, Traced, copied, hash_of, operators_of
from variants._files import whole_file
from variants.datasets import cache_folder, to_be_cached

FOLDER = "compiled"  # of the cache
DIGITS = 16  # of a hash in the name of a library

_loaded: dict[str, Any] = {}  # hash of a graph -> the library in this process


class Ahead(Traced):
    """As Traced, but the operators are compiled to a library."""

    def __init__(self, function: Callable[..., Any], options: dict[str, Any]) -> None:
        """options: of Inductor."""
        super().__init__(function)
        self.options = options

    def make(self, tensors: list[Tensor], tree: TreeSpec) -> tuple[Run, TreeSpec]:
        graph, result_tree = traced(self.function, tensors, tree)
        key = key_of(graph, tensors, self.options)
        if key not in _loaded:
            _loaded[key] = load(key, lambda path: build(graph, tensors, path, self.options))
        return _loaded[key].run, result_tree


def traced(
    function: Callable[..., Any], tensors: Sequence[Tensor], tree: TreeSpec
) -> tuple[GraphModule, TreeSpec]:
    """As `operators_of`, for Inductor."""
    graph, result_tree = operators_of(function, tensors, tree)
    _keep_dtypes(graph)
    for node in graph.graph.nodes:
        # The values that were traced: Inductor makes its own
        node.meta.clear()
        if node.target is torch.ops.aten.view.default:
            # Inductor may lay out a tensor so that it has no such view
            node.target = torch.ops.aten.reshape.default
    graph.recompile()
    return graph, result_tree


def _keep_dtypes(graph: GraphModule) -> None:
    """In mixed precision Inductor returns some gradients of norms in bf16, where torch returns them
    in float32: results get the type that torch returns. The values keep the rounding of bf16."""
    values = [node.meta.get("val") for node in graph.graph.nodes]
    if not any(isinstance(value, Tensor) and value.dtype == torch.bfloat16 for value in values):
        return
    cast = torch.ops.prims.convert_element_type.default
    output = graph.graph.output_node()
    results: Any = list(output.args[0])  # type: ignore[arg-type]  # the results of make_fx
    for index, result in enumerate(results):
        value = result.meta.get("val")
        if isinstance(value, Tensor):
            with graph.graph.inserting_before(output):
                results[index] = graph.graph.call_function(cast, (result, value.dtype))
    output.args = (results,)


def key_of(graph: GraphModule, tensors: Sequence[Tensor], options: dict[str, Any]) -> str:
    """The hash of all that a library depends on: the graph with its constants, the layout of the
    arguments, options, torch, the processor and the number of threads."""
    parts = [graph.code, torch.__version__, processor(), str(torch.get_num_threads())]
    for name, option in sorted(options.items()):
        describe = getattr(option, "uuid", lambda option=option: option)
        parts.append(f"{name} {describe()}")
    for tensor in tensors:
        parts.append(f"{tensor.dtype} {tuple(tensor.shape)} {tensor.stride()}")
    for node in graph.graph.find_nodes(op="get_attr"):
        parts.append(f"{node.target} {hash_of(getattr(graph, node.target))}")
    return hashlib.sha256("\n".join(parts).encode()).hexdigest()[:DIGITS]


@cache
def processor() -> str:
    """The processor with its instruction sets, for which the compiler makes its code."""
    facts = [platform.machine(), torch.backends.cpu.get_cpu_capability()]
    try:
        lines = Path("/proc/cpuinfo").read_text(encoding="utf-8").splitlines()
    except OSError:
        return " ".join([*facts, platform.processor()])
    for line in lines:
        if line.startswith(("model name", "flags", "Features", "CPU part")):
            facts.append(line)
        if not line:
            # The processors after the first are alike
            break
    return "\n".join(facts)


def load(key: str, build: Callable[[Path], None]) -> Any:
    """The library of a key from the cache; built and kept there if the cache does not have it.

    The name of a file says what it holds, by its hash: a damaged file is built again. A file
    appears whole, so several runs may share the cache, and a run that is killed leaves none under
    such a name. A file that another process deletes meanwhile is built again, too."""
    folder = cache_folder() / FOLDER
    for path in folder.glob(f"{key}-*.so"):
        # OSError: of a file that may not be read; RuntimeError: of one that cannot be opened
        with suppress(OSError, RuntimeError):
            if path.name == _name(key, path):
                return _opened(path)
            path.unlink()
    with tempfile.TemporaryDirectory() as scratch:
        built = Path(scratch, "step.so")
        build(built)
        path = folder / _name(key, built)
        # OSError: of a cache that cannot be written to
        with suppress(OSError):
            # The library last: with it the other file is complete
            _keep(_names_file(built), _names_file(path))
            _keep(built, path)
        return _opened(built)


def _names_file(library: Path) -> Path:
    """The file that names the operators of ours in a library; there is none without such."""
    return library.with_suffix(".json")


def _name(key: str, library: Path) -> str:
    digest = hashlib.sha256(library.read_bytes())
    with suppress(FileNotFoundError):
        digest.update(_names_file(library).read_bytes())
    return f"{key}-{digest.hexdigest()[:DIGITS]}.so"


def _keep(built: Path, path: Path) -> None:
    """Put a file into the cache, whole or not at all."""
    if built.exists():
        with whole_file(to_be_cached(path)) as file:
            file.write(built.read_bytes())


def _opened(path: Path) -> Any:
    return torch._C._aoti.AOTIModelContainerRunnerCpu(str(path), 1)


def build(
    graph: GraphModule, tensors: Sequence[Tensor], path: Path, options: dict[str, Any]
) -> None:
    """Compile a graph to a library. Raises what Inductor and the C++ compiler raise."""
    # It warns that there is no CUDA
    logging.getLogger("torch.utils.cpp_extension").setLevel(logging.ERROR)
    place = {"aot_inductor.output_path": str(path)}
    torch._inductor.aot_compile(graph, tuple(map(copied, tensors)), options=options | place)
    for operators in path.parent.glob("*.wrapper.json"):
        operators.replace(_names_file(path))
