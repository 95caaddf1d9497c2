"""An iteration captured as a CUDA graph: one launch replaces thousands."""

import copy
import gc
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from typing import Any

import torch
from torch import Tensor, nn

from benchmark.train.inputs import Inputs

WARM_UP = 3  # iterations on a side stream before the capture, as torch asks for
Iterate = Callable[[list[Inputs]], Tensor]


class Graph:
    """`graph(inputs)` is iterate(inputs) on the networks and optimisers that the graph was captured
    with. The capture leaves them as they were.

    The next call overwrites the output. What networks draw by themselves comes from torch's default
    stream, which is seeded between calls as without a graph. The optimisers must be capturable."""

    def __init__(
        self,
        iterate: Iterate,
        draws: list[Inputs],
        networks: Sequence[nn.Module],
        optimizers: list[torch.optim.Optimizer],
    ) -> None:
        self.device = draws[0].real.device
        # Where the graph reads its inputs
        self.static = [_cloned(inputs) for inputs in draws]
        # Collect now, so that no garbage is collected during the capture
        gc.collect()
        with undone(networks, optimizers):
            self._warm_up(iterate)
            # The gradients must be allocated in the memory of the graph
            for optimizer in optimizers:
                optimizer.zero_grad(set_to_none=True)
            self._capture(iterate)
            self.gradients: list[tuple[nn.Parameter, Tensor | None]] = []
            for network in networks:
                self.gradients += [(p, p.grad) for _, p in network.named_parameters()]
        torch.cuda.synchronize(self.device)

    def _warm_up(self, iterate: Iterate) -> None:
        side_stream = torch.cuda.Stream(self.device)
        current = torch.cuda.current_stream(self.device)
        side_stream.wait_stream(current)
        with torch.cuda.stream(side_stream):
            for _ in range(WARM_UP):
                iterate(self.static)
        current.wait_stream(side_stream)

    def _capture(self, iterate: Iterate) -> None:
        current = torch.cuda.current_stream(self.device)
        self.graph = torch.cuda.CUDAGraph()
        torch.cuda.reset_peak_memory_stats(self.device)
        before = torch.cuda.memory_allocated(self.device)
        try:
            # Only this thread is captured: another one may be fetching data
            # Its own stream is of the device that captured first
            stream = torch.cuda.Stream(self.device)
            with torch.cuda.graph(self.graph, stream=stream, capture_error_mode="thread_local"):
                self.row = iterate(self.static)
        finally:
            # A capture that fails would leave its own stream
            torch.cuda.set_stream(current)
        # A replay allocates nothing
        self.memory_mb = (torch.cuda.max_memory_allocated(self.device) - before) / 2**20

    def __call__(self, inputs: list[Inputs]) -> Tensor:
        torch._foreach_copy_(_tensors(self.static), _tensors(inputs))
        self.graph.replay()
        # The gradients may be those of another graph
        for parameter, gradient in self.gradients:
            parameter.grad = gradient
        return self.row


def _cloned(inputs: Inputs) -> Inputs:
    noise = inputs.noise
    if noise:
        noise = tuple(tensor.clone() for tensor in noise)
    return Inputs(inputs.real.clone(), inputs.z.clone(), noise)


def _tensors(draws: list[Inputs]) -> list[Tensor]:
    return [tensor for inputs in draws for tensor in inputs.tensors()]


@contextmanager
def undone(
    networks: Sequence[nn.Module], optimizers: list[torch.optim.Optimizer]
) -> Iterator[None]:
    """Undoes what the block does to networks and optimisers: in place, because a graph knows the
    addresses."""
    tensors: list[Tensor] = []
    for network in networks:
        tensors += [parameter.detach() for _, parameter in network.named_parameters()]
        tensors += [buffer.detach() for _, buffer in network.named_buffers()]
    before = [tensor.clone() for tensor in tensors]
    states = [_copied_state(optimizer) for optimizer in optimizers]
    try:
        yield
    finally:
        for tensor, value in zip(tensors, before, strict=True):
            tensor.copy_(value)
        for optimizer, state in zip(optimizers, states, strict=True):
            _restore_state(optimizer, state)


def _copied_state(optimizer: torch.optim.Optimizer) -> dict[Tensor, dict[str, Any]]:
    return {parameter: copy.deepcopy(kept) for parameter, kept in optimizer.state.items()}


def _restore_state(optimizer: torch.optim.Optimizer, state: dict[Tensor, dict[str, Any]]) -> None:
    """Restore an optimiser in place. A state that was not there before begins with zeros."""
    for parameter, kept in optimizer.state.items():
        for key, value in kept.items():
            if parameter in state:
                value.copy_(state[parameter][key])
            else:
                value.zero_()
