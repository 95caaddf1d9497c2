"""The optimisers of a recipe, and how one goes on from another."""

import math
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
            gradients = _decayed_gradients(params, group["weight_decay"])
            mean_squares = [self.state[parameter]["mean_square"] for parameter in params]
            torch._foreach_mul_(mean_squares, group["alpha"])
            torch._foreach_addcmul_(mean_squares, gradients, gradients, 1 - group["alpha"])
            roots = torch._foreach_add(mean_squares, group["eps"])
            torch._foreach_sqrt_(roots)
            updates = torch._foreach_div(gradients, roots)
            torch._foreach_mul_(updates, group["lr"])
            torch._foreach_sub_(params, updates)


class OptimisticAdam(torch.optim.Optimizer):
    """Adam for games (Daskalakis et al. 2018, arXiv:1711.00141, algorithm 1):

    u = m̂ / (√v̂ + ε),  θ ← θ − 2 lr · u + lr · u′,

    m̂ and v̂ those of Adam, u′ the u of the step before, 0 in the first step.

    Element-wise; a rate that is a tensor on the device can be captured in a CUDA graph. The state
    is there from the start."""

    def __init__(
        self,
        params: Iterable[nn.Parameter],
        lr: float | Tensor,
        betas: tuple[float, float],
        eps: float,
        weight_decay: float = 0.0,
    ) -> None:
        options = {"lr": lr, "betas": betas, "eps": eps, "weight_decay": weight_decay}
        super().__init__(params, options)
        for group in self.param_groups:
            for parameter in group["params"]:
                state = self.state[parameter]
                for name in ("mean", "mean_square", "last"):
                    state[name] = torch.zeros_like(parameter).detach()
                # not named `step`, which torch would leave on the CPU
                state["num_steps"] = parameter.detach().new_zeros(())

    @torch.no_grad()
    def step(self, closure: None = None) -> None:  # type: ignore[override]
        """One update of every parameter that has a gradient. There is no closure."""
        for group in self.param_groups:
            params = [parameter for parameter in group["params"] if parameter.grad is not None]
            if not params:
                continue
            gradients = _decayed_gradients(params, group["weight_decay"])
            updates = self._adams(params, gradients, group["betas"], group["eps"])
            last = [self.state[parameter]["last"] for parameter in params]
            # 2u − u′, which leaves u in the place of u′
            changes = torch._foreach_mul(updates, 2)
            torch._foreach_sub_(changes, last)
            torch._foreach_copy_(last, updates)
            torch._foreach_mul_(changes, group["lr"])
            torch._foreach_sub_(params, changes)

    def _adams(
        self,
        params: list[nn.Parameter],
        gradients: list[Any],
        betas: tuple[float, float],
        eps: float,
    ) -> tuple[Tensor, ...]:
        """u of every parameter; moves the moments."""
        beta1, beta2 = betas
        states = [self.state[parameter] for parameter in params]
        means = [state["mean"] for state in states]
        mean_squares = [state["mean_square"] for state in states]
        num_steps = [state["num_steps"] for state in states]
        torch._foreach_add_(num_steps, 1)
        torch._foreach_lerp_(means, gradients, 1 - beta1)
        torch._foreach_mul_(mean_squares, beta2)
        torch._foreach_addcmul_(mean_squares, gradients, gradients, 1 - beta2)
        roots = torch._foreach_div(mean_squares, _bias(beta2, num_steps))
        torch._foreach_sqrt_(roots)
        torch._foreach_add_(roots, eps)
        updates = torch._foreach_div(means, _bias(beta1, num_steps))
        torch._foreach_div_(updates, roots)
        return updates


def _bias(beta: float, num_steps: list[Tensor]) -> list[Tensor]:
    """1 − βᵗ for every parameter, without a synchronisation."""
    log_beta = math.log(beta) if beta else -math.inf
    return [-torch.expm1(log_beta * count) for count in num_steps]


def _decayed_gradients(params: list[Any], weight_decay: float) -> list[Any]:
    """The gradients of parameters, plus `weight_decay` times the parameters."""
    gradients: list[Any] = [parameter.grad for parameter in params]
    if not weight_decay:
        return gradients
    return [*torch._foreach_add(gradients, params, alpha=weight_decay)]


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
    if recipe.optimizer == "optimistic_adam":
        return OptimisticAdam(params, lr, tuple(recipe.betas), recipe.eps, decay)
    if recipe.optimizer == "rmsprop_tf":
        return TensorFlowRMSProp(params, lr, recipe.alpha, recipe.eps, decay)
    if recipe.optimizer == "sgd":
        return torch.optim.SGD(params, lr, weight_decay=decay, fused=is_quick)
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
