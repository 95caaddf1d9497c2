"""Networks of one architecture as one: parameters and buffers with a seed axis in front, (S, …)."""

import copy
from collections.abc import Iterator
from typing import Any

import torch
from torch import Tensor, nn


class Stack(nn.Module):
    """S networks whose parameters and buffers become views of the stack's tensors: what trains the
    stack trains the networks, and the reverse.

    An element-wise optimiser, or weight clipping, does to `parameters()` what it would do to those
    of each network."""

    def __init__(self, networks: list[nn.Module]) -> None:
        super().__init__()
        # A plain list, so that the networks are no submodules
        self.networks = networks
        self.stacked_parameters: dict[str, nn.Parameter] = {}
        self.stacked_buffers: dict[str, Tensor] = {}
        for name, _ in networks[0].named_parameters():
            parameters = [network.get_parameter(name).detach() for network in networks]
            self.stacked_parameters[name] = nn.Parameter(torch.stack(parameters))
        for name, _ in networks[0].named_buffers():
            buffers = [network.get_buffer(name) for network in networks]
            self.stacked_buffers[name] = torch.stack(buffers)
        for index, network in enumerate(networks):
            self._make_views(network, index)

    def _make_views(self, network: nn.Module, index: int) -> None:
        """Replace the tensors of a network by views of the stack's."""
        for name, parameter in network.named_parameters():
            parameter.data = self.stacked_parameters[name].data[index]
        for name, _ in network.named_buffers():
            path, _, last = name.rpartition(".")
            owner = network.get_submodule(path)
            owner._buffers[last] = self.stacked_buffers[name][index]

    def parameters(self, recurse: bool = True) -> Iterator[nn.Parameter]:
        return iter(self.stacked_parameters.values())

    def named_parameters(self, *args: Any, **kwargs: Any) -> Iterator[tuple[str, nn.Parameter]]:
        return iter(self.stacked_parameters.items())

    def named_buffers(self, *args: Any, **kwargs: Any) -> Iterator[tuple[str, Tensor]]:
        return iter(self.stacked_buffers.items())

    def hand_down_gradients(self) -> None:
        """Give every network its part of the gradients of the last step."""
        for name, stacked in self.stacked_parameters.items():
            for index, network in enumerate(self.networks):
                gradient = None if stacked.grad is None else stacked.grad[index]
                network.get_parameter(name).grad = gradient


def split_state(state: dict[str, Any], index: int) -> dict[str, Any]:
    """The state_dict of a stack's optimiser as that of the network at `index`."""

    def part(value: Any) -> Any:
        return value[index] if _has_seed_axis(value) else value

    per_parameter = {}
    for number, kept in state["state"].items():
        per_parameter[number] = {key: part(value) for key, value in kept.items()}
    return state | {"state": per_parameter}


def join_states(states: list[dict[str, Any]]) -> dict[str, Any]:
    """The state_dicts of S networks' optimisers, at the same step, as that of their stack's."""
    per_parameter: dict[Any, dict[str, Any]] = {}
    for number, kept in states[0]["state"].items():
        per_parameter[number] = {}
        for key, value in kept.items():
            if _has_seed_axis(value):
                joined = torch.stack([state["state"][number][key] for state in states])
            else:
                # A count of steps, which the optimiser raises in place
                joined = copy.deepcopy(value)
            per_parameter[number][key] = joined
    return states[0] | {"state": per_parameter}


def _has_seed_axis(value: Any) -> bool:
    """Whether a value of an optimiser's state is kept per weight: a count of steps is not."""
    return isinstance(value, Tensor) and value.dim() > 0
