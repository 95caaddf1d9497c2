"""A function of a training step by its graph of operators, which is traced once and runs as it is.

Uses private parts of torch, so every traced step is compared with an eager one."""

import hashlib
import linecache
from collections.abc import Callable, Sequence
from typing import Any

import torch
from torch import Tensor
from torch.fx import GraphModule, Node, graph_module
from torch.utils._pytree import TreeSpec, tree_flatten, tree_unflatten

from benchmark.train.execution.small_convolutions import DECOMPOSITIONS

ATEN = torch.ops.aten
VIEWS = (ATEN.view.default, ATEN._unsafe_view.default, ATEN.reshape.default)

Run = Callable[[list[Tensor]], list[Tensor]]


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
        tensors = [_dense(tensor) for tensor in tensors]
        layout = tuple(map(_layout, tensors))
        if layout not in self.made:
            self.made[layout] = self.make(tensors, tree)
            _forget_sources()
        run, result_tree = self.made[layout]
        return tree_unflatten(run(tensors), result_tree)

    def make(self, tensors: list[Tensor], tree: TreeSpec) -> tuple[Run, TreeSpec]:
        """The function of tensors in the layout of these, and the tree of what it returns."""
        graph, result_tree = operators_of(self.function, tensors, tree)
        simplify(graph)

        @torch.no_grad()
        def run(tensors: list[Tensor]) -> list[Tensor]:
            results: list[Tensor] = graph(*tensors)
            return results

        return run, result_tree


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

    # What the function draws is drawn for nothing here
    with torch.random.fork_rng(devices=[]):
        graph = make_fx(of_tensors, decomposition_table=DECOMPOSITIONS)(*map(copied, tensors))
    _merge_constants(graph)
    graph.graph = fx_graph_cse(graph.graph)
    return graph, trees[0]


def copied(tensor: Tensor) -> Tensor:
    """A copy with the same shape, strides and type."""
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
        same = first.setdefault(hash_of(constant), node)
        if same is not node:
            node.replace_all_uses_with(same)
            graph.graph.erase_node(node)


def hash_of(constant: Tensor) -> str:
    """The sha256 of type, shape and values."""
    facts = f"{constant.dtype} {tuple(constant.shape)} ".encode()
    values = constant.detach().contiguous().flatten().view(torch.uint8)
    return hashlib.sha256(facts + values.numpy().tobytes()).hexdigest()


def _forget_sources() -> None:
    """torch.fx keeps the source of every graph that the process ever made, for tracebacks."""
    sources = graph_module._loader.eval_cache
    for name in [*sources]:
        linecache.cache.pop(name, None)
    sources.clear()


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
        # The sum is laid out as the product, and no factor changes before it
        is_like = _layout(node.meta["val"]) == _layout(b) and a.dtype == b.dtype
        if is_like and not _changes_between(product, node):
            with graph.graph.inserting_before(node):
                fused = graph.graph.call_function(ATEN.baddbmm.default, (term, *product.args))
            fused.meta = dict(node.meta)
            node.replace_all_uses_with(fused)
            graph.graph.erase_node(node)
            graph.graph.erase_node(product)
            return


def _changes_between(first: Node, last: Node) -> bool:
    """Whether a tensor is changed in place between two nodes."""
    node = first.next
    while node is not last:
        if isinstance(node.target, torch._ops.OpOverload) and node.target._schema.is_mutable:
            return True
        node = node.next
    return False


def _layout(tensor: Tensor) -> tuple[Any, ...]:
    return tensor.shape, tensor.stride()


def _dense(tensor: Tensor) -> Tensor:
    """The tensor, or a dense copy of one whose elements share memory."""
    return tensor.contiguous() if 0 in tensor.stride() and tensor.numel() > 1 else tensor
