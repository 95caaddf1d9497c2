"""Matrix products of a compiled step on a CPU: one in the place of several that share a factor, and
by oneDNN where that is quicker here. torch gives float32 ones to MKL, which can be half as fast on
processors of another maker."""

import time
from collections.abc import Callable
from functools import cache
from statistics import median
from typing import Any

import torch
from torch import Tensor
from torch._inductor.custom_graph_pass import CustomGraphPass

LEAST = 2**20  # multiplications of a product from which on the call's own cost is small
GAIN = 1.15  # times as quick as torch's choice oneDNN must be
ATEN = torch.ops.aten


def product(a: Tensor, b: Tensor, bias: Tensor | None = None) -> Tensor:
    """a @ b + bias in float32 on a CPU, by oneDNN."""
    found: Tensor = torch.ops.mkldnn._linear_pointwise(a, b.t(), bias, "none", [], "")
    return found


@cache
def onednn_pays() -> bool:
    """Whether oneDNN is quicker than torch's choice by GAIN, in turn on a product of a usual
    size."""
    if not torch.backends.mkldnn.is_available():
        return False
    a, b = torch.ones(128, 512), torch.ones(512, 512)
    return (
        median(_seconds(lambda: a @ b) / _seconds(lambda: product(a, b)) for _ in range(15)) > GAIN
    )


def _seconds(call: Callable[[], Tensor]) -> float:
    started = time.perf_counter()
    for _ in range(3):
        call()
    return time.perf_counter() - started


class Pass(CustomGraphPass):
    """torch.compile's option post_grad_custom_post_pass: goes through the products of a compiled
    graph."""

    def __init__(self, onednn: bool) -> None:
        self.onednn = onednn  # gives it the larger ones in float32

    def uuid(self) -> Any:
        # part of the key of torch's cache of compiled graphs
        return f"ganbench products {LEAST} {self.onednn}"

    def __call__(self, graph: torch.fx.Graph) -> None:
        for node in graph.find_nodes(op="call_function", target=ATEN.bmm.default):
            _share(graph, node)
        for target in (ATEN.mm.default, ATEN.addmm.default) if self.onednn else ():
            for node in graph.find_nodes(op="call_function", target=target):
                _hand_over(graph, node)


def _share(graph: torch.fx.Graph, node: Any) -> None:
    """(K, m, n) @ one (n, p) that was expanded, which is how vmap writes a layer's product, as
    (K·m, n) @ (n, p)."""
    a, b = node.args
    if b.target is not ATEN.expand.default or (factor := b.args[0]).meta["val"].dim() != 2:
        return
    value, found = a.meta["val"], node.meta["val"]
    with graph.inserting_before(node):
        flat = graph.call_function(ATEN.reshape.default, (a, [-1, value.shape[2]]))
        flat.meta["val"] = value.reshape(-1, value.shape[2])
        one = graph.call_function(ATEN.mm.default, (flat, factor))
        one.meta["val"] = found.reshape(-1, found.shape[2])
        new = graph.call_function(ATEN.reshape.default, (one, list(found.shape)))
    _replace(graph, node, new)


def _hand_over(graph: torch.fx.Graph, node: Any) -> None:
    """A float32 product of LEAST multiplications or more, with a row as bias or none, to oneDNN."""
    *bias, a, b = node.args
    left, right = a.meta["val"], b.meta["val"]
    if left.dtype != torch.float32 or left.shape[0] * left.shape[1] * right.shape[1] < LEAST:
        return
    if not bias or (bias[0].meta["val"].dim() == 1 and not node.kwargs):
        with graph.inserting_before(node):
            new = graph.call_function(
                torch.ops.ganbench.product.default, (a, b, bias[0] if bias else None)
            )
        _replace(graph, node, new)


def _replace(graph: torch.fx.Graph, node: torch.fx.Node, new: torch.fx.Node) -> None:
    new.meta.update(node.meta)
    node.replace_all_uses_with(new)
    graph.erase_node(node)


_LIBRARY = torch.library.Library("ganbench", "DEF")
_LIBRARY.define("product(Tensor a, Tensor b, Tensor? bias) -> Tensor")
_LIBRARY.impl("product", product, "CPU")
_LIBRARY.impl("product", lambda a, b, bias: a.new_empty(a.shape[0], b.shape[1]), "Meta")
