"""The compiled functions of an iteration as Triton kernels for sm_90, generated and assembled
without a GPU: traced on the fake GPU, compiled by Inductor for a device whose properties are given,
assembled by Triton and ptxas."""

import re
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from operator import getitem
from types import SimpleNamespace
from typing import Any, NamedTuple

import pytest
import torch
from torch import Tensor, fx, nn
from torch._dynamo.device_interface import CudaInterface
from torch._inductor import config
from torch._inductor.async_compile import AsyncCompile, _load_triton_kernel_from_source
from torch._inductor.compile_fx import compile_fx
from torch._inductor.fx_passes import joint_graph
from torch._inductor.graph import GraphLowering
from torch._inductor.runtime import triton_helpers
from torch._subclasses.fake_tensor import FakeTensorMode
from torch.fx import GraphModule
from torch.fx.experimental.proxy_tensor import make_fx
from torch.utils._pytree import tree_flatten, tree_map, tree_unflatten
from triton.backends.compiler import GPUTarget
from triton.compiler.compiler import make_backend

from benchmark.matrix.cell import Choice
from benchmark.matrix.pairs import critic_norm
from benchmark.matrix.values import classes
from benchmark.train.execution.functions import (
    Functions,
    iterate_by_functions,
    make_functions,
    over_seeds,
)
from benchmark.train.execution.stack import Stack
from benchmark.train.inputs import Inputs
from benchmark.train.optimizers import make_optimizers
from tests.cuda.fake_device import NAME, Generator, fake_gpu
from variants.architectures import build

ATEN = torch.ops.aten
CUDA = torch.device("cuda", 0)
TARGET = GPUTarget("cuda", 90, 32)
PROPERTIES = SimpleNamespace(
    name="NVIDIA H100 80GB HBM3",
    major=9,
    minor=0,
    multi_processor_count=132,
    regs_per_multiprocessor=65536,
    max_threads_per_multi_processor=2048,
    max_threads_per_block=1024,
    warp_size=32,
)

patterns = joint_graph.lazy_init

# Kernels are always made, in this process, and keep their cubin. To fold constants, Inductor would
# compute them on the device
OPTIONS = {
    "compile_threads": 1,
    "force_disable_caches": True,
    "use_static_triton_launcher": False,
    "joint_graph_constant_folding": False,
}
# In generated code: operators of a library, those without a kernel, and functions for the host
CALL = re.compile(r"(extern_kernels\.\w+|torch\.ops\.aten\.\w+|async_compile\.cpp\w*)[.\w]*\(")


class Graph(NamedTuple):
    """A function of an iteration as operators."""

    operators: GraphModule
    arguments: list[Tensor]
    """On the fake GPU."""


class Generated(NamedTuple):
    """What Inductor makes of a graph."""

    kernels: dict[str, str]
    """Names of the Triton kernels by their sources."""

    calls: set[str]
    """The operators that the code calls besides its kernels."""


class Place(NamedTuple):
    architecture: Choice
    dataset: Choice


def graphs(
    chosen: Choice,
    place: Place,
    precision: str = "float32",
    num_seeds: int = 1,
    batch_size: int = 64,
) -> dict[str, Graph]:
    """The functions that an iteration with one critic step calls, of one seed or of a stack.
    chosen: the objective."""
    traced: dict[str, Graph] = {}
    objective = classes("objective", chosen.name)[0](**chosen.params)
    shape = classes("dataset", place.dataset.name)[0](**place.dataset.params).shape
    norm = critic_norm(chosen, *place)
    with fake_gpu():
        networks = [build(place.architecture, shape, norm) for _ in range(num_seeds)]
        for network in sum(networks, ()):
            network.to(NAME)
        trained: tuple[nn.Module, ...] = networks[0]
        functions = make_functions(objective, networks[0], precision, True)
        if num_seeds > 1:
            trained = tuple(Stack(list(of_role)) for of_role in zip(*networks, strict=True))
            functions = over_seeds(functions)
        latent_dim = networks[0][0].latent_dim
        draws = [_draw(objective, num_seeds, batch_size, shape, latent_dim) for _ in range(2)]
        optimizers = make_optimizers(objective.recipe, trained, "fused")
        watched = _watched(functions, traced)
        iterate_by_functions(objective, trained, optimizers, watched, draws)
    return traced


def _draw(
    objective: Any, num_seeds: int, batch_size: int, shape: tuple[int, ...], latent_dim: int
) -> Inputs:
    generator = Generator(NAME)
    drawn = []
    for _ in range(num_seeds):
        real = torch.randn(batch_size, *shape, device=NAME, generator=generator)
        z = torch.randn(batch_size, latent_dim, device=NAME, generator=generator)
        drawn.append(Inputs(real, z, objective.draw(real, generator)))
    if num_seeds == 1:
        return drawn[0]
    return tree_map(lambda *parts: torch.stack(parts), *drawn)


def _watched(functions: Functions, traced: dict[str, Graph]) -> Functions:
    """The functions; the first call of each is traced."""

    def watch(name: str) -> Callable[..., Any]:
        function = getattr(functions, name)

        def call(*args: Any) -> Any:
            if name not in traced:
                traced[name] = _trace(function, args)
            return function(*args)

        return call

    names = ("critic", "generator", "fakes")
    return functions._replace(**{name: watch(name) for name in names})


def _trace(function: Callable[..., Any], args: Any) -> Graph:
    arguments, tree = tree_flatten(args)

    def of_tensors(*tensors: Tensor) -> list[Tensor]:
        return tree_flatten(function(*tree_unflatten(list(tensors), tree)))[0]

    return Graph(make_fx(of_tensors)(*arguments), arguments)


def generate(graph: Graph) -> Generated:
    """Compile a graph by Inductor for a CUDA device of sm_90."""
    operators = _on_cuda(graph.operators)
    kernels: dict[str, str] = {}
    code: list[str] = []

    def keep(self: AsyncCompile, name: str, source: str, **options: Any) -> None:
        kernels[source] = name

    with pytest.MonkeyPatch.context() as patch, FakeTensorMode():
        patch.setattr(AsyncCompile, "triton", keep)
        patch.setattr(GraphLowering, "save_output_code", code.append)
        arguments = []
        for given in graph.arguments:
            options = {"dtype": given.dtype, "device": CUDA}
            arguments.append(torch.empty_strided(given.shape, given.stride(), **options))
        with sm90():
            compile_fx(operators, arguments, config_patches={"fallback_random": True})
    lines = "".join(code).splitlines()
    statements = "\n".join(line for line in lines if not line.lstrip().startswith("#"))
    return Generated(kernels, set(CALL.findall(statements)))


def _on_cuda(operators: GraphModule) -> GraphModule:
    """The graph with every device of its operators replaced, and without two operators that need
    one while they are compiled. What batch norm writes into its moving averages is returned
    instead, and zeros without memory become zeros."""

    def moved(value: Any) -> Any:
        return CUDA if isinstance(value, torch.device) and value.type == NAME else value

    for node in operators.graph.nodes:
        node.meta.clear()
        node.args, node.kwargs = tree_map(moved, (node.args, node.kwargs))
        if node.target == ATEN._efficientzerotensor.default:
            node.target = ATEN.zeros.default
    _return_averages(operators.graph)
    operators.recompile()
    return operators


def _return_averages(graph: fx.Graph) -> None:
    averages = []
    for node in graph.find_nodes(op="call_function", target=ATEN._native_batch_norm_legit.default):
        node.target = ATEN._native_batch_norm_legit_functional.default
        with graph.inserting_after(node):
            averages += [graph.call_function(getitem, (node, i)) for i in (3, 4)]
    (output,) = graph.find_nodes(op="output")
    output.args = ([*output.args[0], *averages],)


@contextmanager
def sm90() -> Iterator[None]:
    """Inside, Inductor finds one CUDA device, and Triton compiles for its architecture."""

    def properties(device: Any = None) -> SimpleNamespace:
        return PROPERTIES

    with pytest.MonkeyPatch.context() as patch, config.patch(OPTIONS):
        patch.setattr(torch.cuda, "get_device_properties", properties)
        patch.setattr(torch.cuda, "get_device_capability", lambda device=None: (9, 0))
        patch.setattr(torch.cuda, "current_device", lambda: 0)
        patch.setattr(torch.cuda, "device_count", lambda: 1)
        patch.setattr(CudaInterface, "get_device_properties", properties)
        patch.setattr(CudaInterface.Worker, "get_device_properties", properties)
        patch.setattr("torch._inductor.scheduler.has_triton", lambda: True)
        # Inductor finds patterns by examples, which have values: here on the CPU
        patch.setattr(joint_graph, "lazy_init", lambda device: patterns(torch.device("cpu")))
        patch.setattr("torch.utils._triton.triton_backend", lambda: make_backend(TARGET))
        yield


def assemble(name: str, source: str) -> int:
    """Assemble a kernel in all the configurations that Inductor would try. Returns their number.
    Raises what Triton and ptxas raise."""
    with sm90(), triton_helpers.skip_gpu_driver_setup():
        kernel = _load_triton_kernel_from_source(name, source)
        configurations = len(kernel.configs)
        for configuration in kernel.configs:
            binary = kernel._precompile_config(configuration).kernel
            assert binary.asm["cubin"].startswith(b"\x7fELF")
            assert ".target sm_90" in binary.asm["ptx"]
    return configurations
