"""A pass over the matrix products of a compiled step on a CPU: products that share a factor become
one, and oneDNN computes float32 products where it is quicker. torch gives them to MKL, which can be
half as fast on processors that are not Intel's.

Uses private parts of torch, so every compiled step is compared with an eager one."""

import hashlib
import os
import tempfile
import time
from collections.abc import Callable
from contextlib import suppress
from functools import cache
from pathlib import Path
from statistics import median
from typing import Any

import torch
from torch import Tensor
from torch._inductor.custom_graph_pass import CustomGraphPass

from benchmark.train.execution.ahead import DIGITS, FOLDER, processor
from variants.datasets import cache_folder, to_be_cached

# Multiplications from which on the cost of the call itself is small
MIN_MULTIPLICATIONS = 2**20
# oneDNN must be so many times as quick as torch's choice
GAIN = 1.15
TURNS = 15  # of timing both on a product
ATEN = torch.ops.aten


def product(a: Tensor, b: Tensor, bias: Tensor | None = None) -> Tensor:
    """a @ b + bias in float32 on a CPU, by oneDNN. a: (m, n), b: (n, p), bias: (p,).

    torch computes the product if b is not dense, such as the zero tangent of a weight, which is one
    number expanded: oneDNN then takes a reference kernel, a thousand times as slow. Strides are
    known for certain only here: a traced graph may say others. Any strides of a are well."""
    if not (b.is_contiguous() or b.t().is_contiguous()):
        return a @ b if bias is None else torch.addmm(bias, a, b)
    result: Tensor = torch.ops.mkldnn._linear_pointwise(a, b.t(), bias, "none", [], "")
    return result


@cache
def onednn_pays() -> bool:
    """Whether oneDNN is quicker than torch's choice by GAIN on this processor. The first answer is
    kept in the cache, so that all workers and runs have the same."""
    if not torch.backends.mkldnn.is_available():
        return False
    facts = f"{torch.__version__} {processor()} {torch.get_num_threads()}"
    digest = hashlib.sha256(facts.encode()).hexdigest()[:DIGITS]
    path = cache_folder() / FOLDER / f"onednn-{digest}.txt"
    if not _is_answer(path):
        answer = _is_quicker()
        # OSError: of a cache that cannot be written to
        with suppress(OSError):
            _keep_first(path, str(answer).encode())
        if not _is_answer(path):
            return answer
    return path.read_bytes() == b"True"


def _is_answer(path: Path) -> bool:
    """Whether a file can be read and holds an answer."""
    try:
        return path.read_bytes() in (b"True", b"False")
    except OSError:
        return False


def _keep_first(path: Path, content: bytes) -> None:
    """Write a file that appears whole. An answer that another process has kept by then stays."""
    if not _is_answer(path):
        path.unlink(missing_ok=True)  # a damaged one
    with tempfile.NamedTemporaryFile(dir=to_be_cached(path).parent) as file:
        file.write(content)
        file.flush()
        os.chmod(file.name, 0o644)
        with suppress(FileExistsError):
            os.link(file.name, path)


def _is_quicker() -> bool:
    """Whether oneDNN is quicker by GAIN, in turns on a product of a usual size."""
    a, b = torch.ones(128, 512), torch.ones(512, 512)
    ratios = []
    for _ in range(TURNS):
        usual = _seconds(lambda: a @ b)
        ratios.append(usual / _seconds(lambda: product(a, b)))
    return median(ratios) > GAIN


def _seconds(call: Callable[[], Tensor]) -> float:
    started = time.perf_counter()
    for _ in range(3):
        call()
    return time.perf_counter() - started


class MatmulPass(CustomGraphPass):
    """torch.compile's option post_grad_custom_post_pass."""

    def __init__(self, onednn: bool) -> None:
        """onednn: whether oneDNN computes the larger float32 products."""
        self.onednn = onednn

    def uuid(self) -> Any:
        """Part of the key of torch's cache of compiled graphs."""
        return f"ganbench products {MIN_MULTIPLICATIONS} {self.onednn}"

    def __call__(self, graph: torch.fx.Graph) -> None:
        for node in graph.find_nodes(op="call_function", target=ATEN.bmm.default):
            _share(graph, node)
        if self.onednn:
            for target in (ATEN.mm.default, ATEN.addmm.default):
                for node in graph.find_nodes(op="call_function", target=target):
                    _hand_over(graph, node)


def _share(graph: torch.fx.Graph, node: Any) -> None:
    """Replace (K, m, n) @ (K, n, p) by (K·m, n) @ (n, p) if the second factor is one matrix that
    was expanded: so vmap writes the product of a layer."""
    a, b = node.args
    if b.target is not ATEN.expand.default:
        return
    factor = b.args[0]
    if factor.meta["val"].dim() != 2:
        return
    value, result = a.meta["val"], node.meta["val"]
    with graph.inserting_before(node):
        flat = graph.call_function(ATEN.reshape.default, (a, [-1, value.shape[2]]))
        flat.meta["val"] = value.reshape(-1, value.shape[2])
        one = graph.call_function(ATEN.mm.default, (flat, factor))
        one.meta["val"] = result.reshape(-1, result.shape[2])
        new = graph.call_function(ATEN.reshape.default, (one, list(result.shape)))
    _replace(graph, node, new)


def _hand_over(graph: torch.fx.Graph, node: Any) -> None:
    """Give a float32 product of MIN_MULTIPLICATIONS or more to oneDNN, if its bias is a row or if
    it has none."""
    *biases, a, b = node.args
    left, right = a.meta["val"], b.meta["val"]
    num_multiplications = left.shape[0] * left.shape[1] * right.shape[1]
    if left.dtype != torch.float32 or num_multiplications < MIN_MULTIPLICATIONS:
        return
    bias = biases[0] if biases else None
    if bias is not None and (bias.meta["val"].dim() != 1 or node.kwargs):
        return
    with graph.inserting_before(node):
        new = graph.call_function(torch.ops.ganbench.product.default, (a, b, bias))
    _replace(graph, node, new)


def _replace(graph: torch.fx.Graph, node: torch.fx.Node, new: torch.fx.Node) -> None:
    new.meta.update(node.meta)
    node.replace_all_uses_with(new)
    graph.erase_node(node)


_LIBRARY = torch.library.Library("ganbench", "DEF")
_LIBRARY.define("product(Tensor a, Tensor b, Tensor? bias) -> Tensor")
_LIBRARY.impl("product", product, "CPU")
_LIBRARY.impl("product", lambda a, b, bias: a.new_empty(a.shape[0], b.shape[1]), "Meta")
