"""Matrix products of a compiled step by oneDNN where that is quicker on this CPU: torch gives float32 ones to MKL,
which can be half as fast on processors of another maker."""

import time
from collections.abc import Callable
from functools import cache
from statistics import median
from typing import Any

import torch
from torch import Tensor
from torch._inductor.custom_graph_pass import CustomGraphPass

LEAST = 2**20  # multiplications of a product from which on the call's own cost is small
GAIN = 1.15  # times as quick as torch's choice it must be


@cache
def options() -> dict[str, Any]:
    """torch.compile's options that give float32 products to oneDNN; none where it is not quicker here."""
    return {"post_grad_custom_post_pass": Pass()} if _pays() else {}


def product(a: Tensor, b: Tensor, bias: Tensor | None = None) -> Tensor:
    """a @ b + bias in float32 on a CPU, by oneDNN."""
    found: Tensor = torch.ops.mkldnn._linear_pointwise(a, b.t(), bias, "none", [], "")
    return found


def _pays() -> bool:
    """Whether oneDNN is quicker than torch's choice by GAIN, in turn on a product of a usual size."""
    if not torch.backends.mkldnn.is_available():
        return False
    a, b = torch.ones(128, 512), torch.ones(512, 512)
    ratios = []
    for _ in range(15):
        ratios.append(_seconds(lambda: a @ b) / _seconds(lambda: product(a, b)))
    return median(ratios) > GAIN


def _seconds(call: Callable[[], Tensor]) -> float:
    started = time.perf_counter()
    for _ in range(3):
        call()
    return time.perf_counter() - started


class Pass(CustomGraphPass):
    """Replaces the larger float32 products of a compiled graph."""

    def uuid(self) -> str:
        return f"ganbench onednn {LEAST}"  # part of the key of torch's cache of compiled graphs

    def __call__(self, graph: torch.fx.Graph) -> None:
        aten = torch.ops.aten
        for node in list(graph.nodes):
            if node.op != "call_function" or node.target not in (aten.mm.default, aten.addmm.default):
                continue
            *bias, a, b = node.args
            left, right = a.meta["val"], b.meta["val"]
            if left.dtype != torch.float32 or left.shape[0] * left.shape[1] * right.shape[1] < LEAST:
                continue
            if bias and (bias[0].meta["val"].dim() != 1 or node.kwargs):
                continue
            with graph.inserting_before(node):
                new = graph.call_function(torch.ops.ganbench.product.default, (a, b, bias[0] if bias else None))
                new.meta.update(node.meta)
            node.replace_all_uses_with(new)
            graph.erase_node(node)


_LIBRARY = torch.library.Library("ganbench", "DEF")
_LIBRARY.define("product(Tensor a, Tensor b, Tensor? bias) -> Tensor")
_LIBRARY.impl("product", product, "CPU")
_LIBRARY.impl("product", lambda a, b, bias: a.new_empty(a.shape[0], b.shape[1]), "Meta")
