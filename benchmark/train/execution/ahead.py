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
from torch.fx import GraphModule, Node
from torch.utils._pytree import TreeSpec, tree_flatten, tree_unflatten

from benchmark.train.execution.small_convolutions import DECOMPOSITIONS
from variants._files import whole_file
from variants.datasets import cache_folder, to_be_cached

Run = Callable[[list[Tensor]], list[Tensor]]

FOLDER = "compiled"  # of the cache
DIGITS = 16  # of a hash in the name of a library
ATEN = torch.ops.aten
VIEWS = (ATEN.view.default, ATEN._unsafe_view.default, ATEN.reshape.default)

_loaded: dict[str, Any] = {}  # hash of a graph -> the library in this process


class Traced:
    """`Traced(function)(*args)` is function(*args) by its operators, which are traced once for each
    layout of the arguments: what Python, autograd and vmap take of every call falls away.

    The arguments are trees of tensors on the CPU, without gradient; the function may change tensors
    in place and has no other effects."""

    def __init__(self, function: Callable[..., Any]) -> None:
        self.function = function
        self.made: dict[Any, tuple[Run, TreeSpec]] = {}  # by layout of the arguments

    def __call__(self, *args: Any) -> Any:
        tensors, tree = tree_flatten(args)
        layout = tuple(map(_layout, tensors))
        if layout not in self.made:
            self.made[layout] = self.make(tensors, tree)
        run, result_tree = self.made[layout]
        return tree_unflatten(run(tensors), result_tree)

    def make(self, tensors: list[Tensor], tree: TreeSpec) -> tuple["Run", TreeSpec]:
        """The function of tensors in the layout of these, and the tree of what it returns."""
        graph, result_tree = operators_of(self.function, tensors, tree)
        simplify(graph)

        @torch.no_grad()
        def run(tensors: list[Tensor]) -> list[Tensor]:
            results: list[Tensor] = graph(*tensors)
            return results

        return run, result_tree


class Ahead(Traced):
    """As Traced, but the operators are compiled to a library."""

    def __init__(self, function: Callable[..., Any], options: dict[str, Any]) -> None:
        """options: of Inductor."""
        super().__init__(function)
        self.options = options

    def make(self, tensors: list[Tensor], tree: TreeSpec) -> tuple["Run", TreeSpec]:
        graph, result_tree = traced(self.function, tensors, tree)
        key = key_of(graph, tensors, self.options)
        if key not in _loaded:
            _loaded[key] = load(key, lambda path: build(graph, tensors, path, self.options))
        return _loaded[key].run, result_tree


def operators_of(
    function: Callable[..., Any], tensors: Sequence[Tensor], tree: TreeSpec
) -> tuple[GraphModule, TreeSpec]:
    """The operators of a function of a tree of tensors as a function of the tensors, and the tree
    of what the function returns. The function runs once, on copies."""
    from torch._functorch.compile_utils import fx_graph_cse
    from torch.fx.experimental.proxy_tensor import make_fx

    trees: list[TreeSpec] = []

    def of_tensors(*tensors: Tensor) -> list[Tensor]:
        results, result_tree = tree_flatten(function(*tree_unflatten(list(tensors), tree)))
        trees.append(result_tree)
        return results

    graph = make_fx(of_tensors, decomposition_table=DECOMPOSITIONS)(*map(_copied, tensors))
    _merge_constants(graph)
    graph.graph = fx_graph_cse(graph.graph)
    return graph, trees[0]


def _layout(tensor: Tensor) -> tuple[Any, ...]:
    return tensor.shape, tensor.stride()


def simplify(graph: GraphModule) -> None:
    """Leave out what vmap writes and what changes nothing: a view or an expansion to the shape that
    the tensor has, a view of a view, a product and a sum that are one operator."""
    for node in graph.graph.nodes:
        if node.target not in (*VIEWS, ATEN.expand.default):
            continue
        if node.target in VIEWS and node.args[0].target in VIEWS:
            node.target = ATEN.reshape.default
            node.args = (node.args[0].args[0], *node.args[1:])
        before, after = node.args[0].meta.get("val"), node.meta["val"]
        if before is not None and _layout(before) == _layout(after):
            node.replace_all_uses_with(node.args[0])
    graph.graph.eliminate_dead_code()
    for node in graph.graph.find_nodes(op="call_function", target=ATEN.add.Tensor):
        _fuse(graph, node)
    graph.recompile()


def _fuse(graph: GraphModule, node: Node) -> None:
    """Make a + b @ c of batches of matrices one operator, if the node `node` is such a sum."""
    for term, product in (node.args[:2], node.args[1::-1]):
        if not isinstance(term, Node) or not isinstance(product, Node):
            return
        is_alone = len(product.users) == 1 and term is not product
        is_product = product.target is ATEN.bmm.default and is_alone
        a, b = term.meta.get("val"), product.meta.get("val")
        if a is None or b is None or not is_product or node.kwargs:
            continue
        if torch.broadcast_shapes(a.shape, b.shape) == b.shape and a.dtype == b.dtype:
            with graph.graph.inserting_before(node):
                fused = graph.graph.call_function(ATEN.baddbmm.default, (term, *product.args))
            fused.meta = dict(node.meta)
            node.replace_all_uses_with(fused)
            graph.graph.erase_node(node)
            graph.graph.erase_node(product)
            return


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


def _copied(tensor: Tensor) -> Tensor:
    layout = torch.empty_strided(tensor.shape, tensor.stride(), dtype=tensor.dtype)
    return layout.copy_(tensor.detach())


def _merge_constants(graph: GraphModule) -> None:
    """Equal constants become one: tracing makes a constant of every use."""
    first: dict[str, Any] = {}
    for node in graph.graph.find_nodes(op="get_attr"):
        constant = getattr(graph, node.target)
        if constant._is_zerotensor():
            # Forward mode makes zeros without memory, whose bytes cannot be read
            constant = torch.zeros(constant.shape, dtype=constant.dtype)
            setattr(graph, node.target, constant)
        same = first.setdefault(_hash_of(constant), node)
        if same is not node:
            node.replace_all_uses_with(same)
            graph.graph.erase_node(node)


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


def _hash_of(constant: Tensor) -> str:
    facts = f"{constant.dtype} {tuple(constant.shape)} ".encode()
    values = constant.detach().contiguous().flatten().view(torch.uint8)
    return hashlib.sha256(facts + values.numpy().tobytes()).hexdigest()


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
        parts.append(f"{node.target} {_hash_of(getattr(graph, node.target))}")
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
            _keep(_operators_of(built), _operators_of(path))
            _keep(built, path)
        return _opened(built)


def _operators_of(library: Path) -> Path:
    """The file that names the operators of ours in a library; there is none without such."""
    return library.with_suffix(".json")


def _name(key: str, library: Path) -> str:
    digest = hashlib.sha256(library.read_bytes())
    with suppress(FileNotFoundError):
        digest.update(_operators_of(library).read_bytes())
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
    torch._inductor.aot_compile(graph, tuple(map(_copied, tensors)), options=options | place)
    for operators in path.parent.glob("*.wrapper.json"):
        operators.replace(_operators_of(path))
