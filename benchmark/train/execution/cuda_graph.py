"""An iteration captured as a CUDA graph: one launch in the place of thousands."""

import copy
import gc
from collections.abc import Callable, Iterator
from contextlib import contextmanager

import torch
from torch import Tensor, nn

from benchmark.train.inputs import Inputs

WARM_UP = 3  # iterations on a side stream before the capture, as torch asks for


class Graph:
    """`graph(inputs)` is iterate(inputs) on the networks and optimisers that it was captured with,
    which it left as they were. Its output is overwritten by the next call. What the iteration draws
    by itself comes from torch's default stream, seeded between calls as ever; the optimisers must
    be capturable."""

    def __init__(
        self,
        iterate: Callable[[list[Inputs]], Tensor],
        draws: list[Inputs],
        networks: list[nn.Module],
        optimizers: list[torch.optim.Optimizer],
    ) -> None:
        self.static = [
            Inputs(d.real.clone(), d.z.clone(), d.noise and tuple(n.clone() for n in d.noise))
            for d in draws
        ]
        device = draws[0].real.device
        gc.collect()  # not during the capture
        with undone(networks, optimizers):
            aside, current = torch.cuda.Stream(device), torch.cuda.current_stream(device)
            aside.wait_stream(current)
            with torch.cuda.stream(aside):
                for _ in range(WARM_UP):
                    iterate(self.static)
            current.wait_stream(aside)
            for optimizer in optimizers:
                optimizer.zero_grad(
                    set_to_none=True
                )  # the gradients' place is in the graph's memory
            self.graph = torch.cuda.CUDAGraph()
            torch.cuda.reset_peak_memory_stats(device)
            before = torch.cuda.memory_allocated(device)
            try:
                with torch.cuda.graph(
                    self.graph, capture_error_mode="thread_local"
                ):  # a thread may be fetching data
                    self.row = iterate(self.static)
            finally:
                torch.cuda.set_stream(current)  # a capture that fails would leave its own
            self.memory_mb = (
                torch.cuda.max_memory_allocated(device) - before
            ) / 2**20  # a replay allocates nothing
            self.gradients = [
                (p, p.grad) for network in networks for _, p in network.named_parameters()
            ]
        torch.cuda.synchronize(device)

    def __call__(self, inputs: list[Inputs]) -> Tensor:
        static, given = (
            [tensor for each in part for tensor in each.tensors()] for part in (self.static, inputs)
        )
        torch._foreach_copy_(static, given)
        self.graph.replay()
        for parameter, gradient in self.gradients:  # another graph's may have been there
            parameter.grad = gradient
        return self.row


@contextmanager
def undone(networks: list[nn.Module], optimizers: list[torch.optim.Optimizer]) -> Iterator[None]:
    """Whatever is done to networks and optimisers within is undone: in place, for a graph knows
    addresses."""
    tensors = [
        tensor.detach()
        for network in networks
        for _, tensor in (*network.named_parameters(), *network.named_buffers())
    ]
    before = [tensor.clone() for tensor in tensors]
    states = [
        {parameter: copy.deepcopy(kept) for parameter, kept in optimizer.state.items()}
        for optimizer in optimizers
    ]
    try:
        yield
    finally:
        for tensor, value in zip(tensors, before, strict=True):
            tensor.copy_(value)
        for optimizer, state in zip(optimizers, states, strict=True):
            for parameter, kept in optimizer.state.items():
                for key, value in kept.items():  # an optimiser begins with zeros
                    value.copy_(state[parameter][key]) if parameter in state else value.zero_()
