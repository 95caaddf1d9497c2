"""The optimisers of a recipe, and how one goes on from another."""

from collections.abc import Iterable
from dataclasses import replace
from typing import Any

import torch
from torch import Tensor, nn

# In what the optimisers of one recipe may differ
IMPLEMENTATION = ("fused", "foreach", "capturable", "lr")


class TensorFlowRMSProp(torch.optim.Optimizer):
    """RMSProp as TensorFlow 1 has it (tf.train.RMSPropOptimizer, without momentum):

    m ← α m + (1 − α) g²,  θ ← θ − lr · g / √(m + ε),  m = 1 before the first step.

    PyTorch's m begins with 0 and its ε stands outside the root, so that PyTorch's first steps are
    1 / √(1 − α) lr long whatever g is; here they are about lr · g / √α as long as g² is small
    against αᵗ.

    Element-wise; a rate that is a tensor on the device can be captured in a CUDA graph. The mean
    square is there from the start: what undoes a step restores it to 1, not to 0."""

    def __init__(
        self,
        params: Iterable[nn.Parameter],
        lr: float | Tensor,
        alpha: float,
        eps: float,
        weight_decay: float = 0.0,
    ) -> None:
        options = {"lr": lr, "alpha": alpha, "eps": eps, "weight_decay": weight_decay}
        super().__init__(params, options)
        for group in self.param_groups:
            for parameter in group["params"]:
                mean_square = torch.ones_like(parameter, memory_format=torch.preserve_format)
                self.state[parameter]["mean_square"] = mean_square.detach()

    @torch.no_grad()
    def step(self, closure: None = None) -> None:  # type: ignore[override]
        """One update of every parameter that has a gradient. There is no closure."""
        for group in self.param_groups:
            params = [parameter for parameter in group["params"] if parameter.grad is not None]
            if not params:
                continue
            gradients = [parameter.grad for parameter in params]
            if group["weight_decay"]:
                gradients = torch._foreach_add(gradients, params, alpha=group["weight_decay"])
            mean_squares = [self.state[parameter]["mean_square"] for parameter in params]
            torch._foreach_mul_(mean_squares, group["alpha"])
            torch._foreach_addcmul_(mean_squares, gradients, gradients, 1 - group["alpha"])
            roots = torch._foreach_add(mean_squares, group["eps"])
            torch._foreach_sqrt_(roots)
            updates = torch._foreach_div(gradients, roots)
            torch._foreach_mul_(updates, group["lr"])
            torch._foreach_sub_(params, updates)


def make_optimizers(
    recipe: Any, networks: Iterable[nn.Module], kind: str = "loop"
) -> list[torch.optim.Optimizer]:
    """The optimisers of generator and critic, each at its own rate."""
    return [
        make_optimizer(replace(recipe, lr=lr), network, kind)
        for network, lr in zip(networks, recipe.rates, strict=True)
    ]


def make_optimizer(recipe: Any, network: nn.Module, kind: str = "loop") -> torch.optim.Optimizer:
    """The optimiser of a recipe for the parameters of a network, at the rate `lr`. All kinds make
    the same update up to rounding.

    kind: "loop" goes over the parameters; "fused" is one kernel (RMSProp has none: one kernel per
    operation); "capturable" can be captured in a CUDA graph and has its rate on the device."""
    params = list(network.parameters())
    is_quick = kind != "loop" or None
    decay = recipe.weight_decay
    lr: float | Tensor = recipe.lr
    options: dict[str, Any] = {}
    if kind == "capturable":
        lr = torch.tensor(recipe.lr, device=params[0].device)
        options = {"capturable": True}
    if recipe.optimizer == "adam":
        betas = tuple(recipe.betas)
        return torch.optim.Adam(params, lr, betas, recipe.eps, decay, fused=is_quick, **options)
    if recipe.optimizer == "rmsprop_tf":
        return TensorFlowRMSProp(params, lr, recipe.alpha, recipe.eps, decay)
    return torch.optim.RMSprop(
        params, lr, recipe.alpha, recipe.eps, decay, foreach=is_quick, **options
    )


def load_optimizer(optimizer: torch.optim.Optimizer, state: dict[str, Any]) -> None:
    """Continue from the state_dict of another optimiser of the recipe, whatever its kind. The rate
    stays that of `optimizer`: the recipe's, unless it is set before every step."""
    if not state["state"]:
        return
    groups = []
    present = optimizer.state_dict()["param_groups"]
    for saved, group in zip(state["param_groups"], present, strict=True):
        kept = {key: group[key] for key in IMPLEMENTATION if key in group}
        groups.append(saved | kept)
    optimizer.load_state_dict(state | {"param_groups": groups})
