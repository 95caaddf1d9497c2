"""Networks of one architecture as one: parameters and buffers with a seed axis in front, (S, …)."""

import copy
from typing import Any

import torch
from torch import Tensor, nn


class Stack(nn.Module):
    """S networks whose parameters and buffers become views of the stack's, so that what trains one
    trains the other.

    An element-wise optimiser, or weight clipping, does to `parameters()` what it would do to each
    network's own."""

    def __init__(self, networks: list[nn.Module]) -> None:
        super().__init__()
        self.networks = networks  # a plain list: they are no submodules
        self.params = {
            name: nn.Parameter(
                torch.stack([network.get_parameter(name).detach() for network in networks])
            )
            for name, _ in networks[0].named_parameters()
        }
        self.kept = {
            name: torch.stack([network.get_buffer(name) for network in networks])
            for name, _ in networks[0].named_buffers()
        }
        for index, network in enumerate(networks):
            for name, parameter in network.named_parameters():
                parameter.data = self.params[name].data[index]
            for name, _ in network.named_buffers():
                owner, _, own = name.rpartition(".")
                network.get_submodule(owner)._buffers[own] = self.kept[name][index]

    def parameters(self, recurse: bool = True) -> Any:
        return iter(self.params.values())

    def named_parameters(self, *args: Any, **kwargs: Any) -> Any:
        return iter(self.params.items())

    def named_buffers(self, *args: Any, **kwargs: Any) -> Any:
        return iter(self.kept.items())

    def hand_down_gradients(self) -> None:
        """Give every network its part of the last step's gradients, for whoever looks at them."""
        for name, stacked in self.params.items():
            if stacked.grad is not None:
                for network, grad in zip(self.networks, stacked.grad, strict=True):
                    network.get_parameter(name).grad = grad


def split_state(state: dict[str, Any], index: int) -> dict[str, Any]:
    """The state_dict of a stack's optimiser as that of one network's."""
    of = {
        number: {
            key: value[index] if isinstance(value, Tensor) and value.dim() else value
            for key, value in kept.items()
        }
        for number, kept in state["state"].items()
    }
    return state | {"state": of}


def join_states(states: list[dict[str, Any]]) -> dict[str, Any]:
    """The state_dicts of S networks' optimisers, at the same step, as that of their stack's."""
    joined = {
        number: {
            key: torch.stack([state["state"][number][key] for state in states])
            if isinstance(value, Tensor) and value.dim()
            else copy.deepcopy(value)  # a count of steps, which the optimiser will raise in place
            for key, value in kept.items()
        }
        for number, kept in states[0]["state"].items()
    }
    return states[0] | {"state": joined}
