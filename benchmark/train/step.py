"""One adversarial step: the critic's and the generator's, pure in their tensors, no device
synchronisation."""

from collections.abc import Callable
from contextlib import AbstractContextManager, nullcontext
from typing import Any

import torch
from torch import Tensor, nn
from torch.func import functional_call

from variants.objectives import full_precision

CRITIC = (
    "d_loss",
    "d_real",
    "d_fake",
    "d_grad_norm",
)  # what a critic step returns: loss, mean scores, norm
GENERATOR = ("g_loss", "g_grad_norm")  # what a generator step returns
KIND = ("fused", "foreach", "capturable", "lr")  # what optimisers of one recipe may differ in


def critic_step(
    objective: Any,
    G: nn.Module,
    D: nn.Module,
    optimizer: torch.optim.Optimizer,
    real: Tensor,
    z: Tensor,
    noise: tuple[Tensor, ...] | None,
    precision: str = "float32",
) -> Tensor:
    """One optimiser step of the critic on real samples (batch, *shape) and latents (batch,
    latent_dim).

    Real and fake samples pass the critic separately, as batch norm asks. Returns CRITIC, (4,),
    detached and on the device; a mean score is NaN where the loss does not ask for the scores of
    those very samples."""
    means = [torch.full((), torch.nan, device=real.device)] * 2

    def critic(x: Tensor) -> Tensor:
        scores = D(x).float()
        if x is real or x is fake:
            means[x is fake] = scores.detach().mean()
        return scores

    with autocast(real, precision):
        with torch.no_grad():
            fake = G(z).float()
        loss = objective.d_loss(critic, real, fake, noise)
    assert loss.dim() == 0, f"d_loss must be a scalar, not of shape {tuple(loss.shape)}"
    with full_precision(real) if objective.float32_penalty else nullcontext():
        _update(optimizer, loss, D)
    norm = grad_norm(D)
    objective.after_d_step(D)
    return torch.stack([loss.detach(), *means, norm])


def generator_step(
    objective: Any,
    G: nn.Module,
    D: nn.Module,
    optimizer: torch.optim.Optimizer,
    real: Tensor,
    z: Tensor,
    noise: tuple[Tensor, ...] | None,
    precision: str = "float32",
) -> Tensor:
    """One optimiser step of the generator; no gradient of the critic's weights is computed. Returns
    GENERATOR, (2,), detached and on the device."""
    with autocast(real, precision):
        loss = objective.g_loss(lambda x: D(x).float(), real, G(z).float(), noise)
    assert loss.dim() == 0, f"g_loss must be a scalar, not of shape {tuple(loss.shape)}"
    _update(optimizer, loss, G)
    return torch.stack([loss.detach(), grad_norm(G)])


Tensors = dict[str, Tensor]  # parameters or buffers of a network, by name


def critic_gradients(
    objective: Any, D: nn.Module, precision: str
) -> Callable[
    [Tensors, Tensors, Tensor, Tensor, tuple[Tensor, ...] | None], tuple[Tensors, Tensor]
]:
    """`critic_step` without its update, as a pure function for torch.compile and vmap: (parameters
    and buffers of D, real, fake, noise) -> the gradients, and CRITIC. Buffers are updated in place.

    Real and fake samples pass the critic separately here, too. Together they would be 3 % quicker,
    but the gradient of a bias that cancels to zero would be rounding noise, which Adam makes steps
    of full size of."""

    def loss(
        params: Tensors, buffers: Tensors, real: Tensor, fake: Tensor, noise: Any
    ) -> tuple[Tensor, Tensor]:
        means = [torch.full((), torch.nan, device=real.device)] * 2

        def critic(x: Tensor) -> Tensor:
            scores: Tensor = functional_call(D, (params, buffers), (x,)).float()
            if x is real or x is fake:
                means[x is fake] = scores.detach().mean()
            return scores

        with autocast(real, precision):
            value = objective.d_loss(critic, real, fake, noise)
        assert value.dim() == 0, f"d_loss must be a scalar, not of shape {tuple(value.shape)}"
        return value, torch.stack([value.detach(), *means])

    return _with_norm(torch.func.grad(loss, has_aux=True))


def generator_gradients(
    objective: Any, G: nn.Module, D: nn.Module, precision: str
) -> Callable[
    [Tensors, Tensors, Tensors, Tensors, Tensor, Tensor, tuple[Tensor, ...] | None],
    tuple[Tensors, Tensor],
]:
    """`generator_step` without its update, likewise: (parameters and buffers of G, of D, real, z,
    noise) -> the gradients, and GENERATOR. The critic's parameters are constants."""

    def loss(params: Tensors, buffers: Tensors, *rest: Any) -> tuple[Tensor, Tensor]:
        of_critic, of_critic_buffers, real, z, noise = rest
        with autocast(real, precision):
            fake = functional_call(G, (params, buffers), (z,)).float()
            value = objective.g_loss(
                lambda x: functional_call(D, (of_critic, of_critic_buffers), (x,)).float(),
                real,
                fake,
                noise,
            )
        assert value.dim() == 0, f"g_loss must be a scalar, not of shape {tuple(value.shape)}"
        return value, value.detach().unsqueeze(0)

    return _with_norm(torch.func.grad(loss, has_aux=True))


def generate(
    G: nn.Module, precision: str, at_once: bool
) -> Callable[[Tensors, Tensors, Tensor], Tensor]:
    """(parameters, buffers of G, z) -> fakes, without gradient. at_once: of several batches (K,
    batch, latent_dim) in one pass; batch norm still normalises every batch by itself."""

    @torch.no_grad()
    def fakes(params: Tensors, buffers: Tensors, z: Tensor) -> Tensor:
        def of_batch(z: Tensor) -> Tensor:
            out: Tensor = functional_call(G, (params, buffers), (z,)).float()
            return out

        with autocast(z, precision):
            return torch.func.vmap(of_batch)(z) if at_once else of_batch(z)

    return fakes


def _with_norm(
    gradients: Callable[..., tuple[Tensors, Tensor]],
) -> Callable[..., tuple[Tensors, Tensor]]:
    def found(*args: Any) -> tuple[Tensors, Tensor]:
        grads, values = gradients(*args)
        norm = torch.stack([g.square().sum() for g in grads.values()]).sum().sqrt()
        return grads, torch.cat([values, norm.unsqueeze(0)])

    return found


def grad_norm(network: nn.Module) -> Tensor:
    """The Euclidean norm of all parameter gradients of a network together."""
    return torch.nn.utils.get_total_norm(
        [p.grad for p in network.parameters() if p.grad is not None]
    )


def autocast(tensor: Tensor, precision: str) -> AbstractContextManager[Any]:
    """bfloat16 autocast on the tensor's device under precision "bf16"; nothing otherwise."""
    return torch.autocast(tensor.device.type, torch.bfloat16, enabled=precision == "bf16")


def set_precision(precision: str) -> None:
    """Matrix products and convolutions in full float32, or in TF32 under precision "tf32"."""
    torch.set_float32_matmul_precision("high" if precision == "tf32" else "highest")
    torch.backends.cudnn.allow_tf32 = precision == "tf32"


def make_optimizer(recipe: Any, network: nn.Module, kind: str = "loop") -> torch.optim.Optimizer:
    """The recipe's optimiser for a network's parameters: "loop" over them, "fused" into one kernel
    (RMSProp has none: one per operation), or "capturable" in a CUDA graph, with its rate on the
    device. The same update, rounded apart."""
    params, lr, options = list(network.parameters()), recipe.lr, {}
    if kind == "capturable":
        lr, options = torch.tensor(lr, device=params[0].device), {"capturable": True}
    if recipe.optimizer == "adam":
        return torch.optim.Adam(
            params, lr, tuple(recipe.betas), fused=kind != "loop" or None, **options
        )
    return torch.optim.RMSprop(params, lr, recipe.alpha, foreach=kind != "loop" or None, **options)


def load_optimizer(optimizer: torch.optim.Optimizer, state: dict[str, Any]) -> None:
    """Continue from another optimiser's state_dict, whatever its kind. The rate stays this one's:
    the recipe's, unless it is set before every step."""
    if not state["state"]:
        return
    own = optimizer.state_dict()["param_groups"]
    groups = [
        saved | {key: mine[key] for key in KIND if key in mine}
        for saved, mine in zip(state["param_groups"], own, strict=True)
    ]
    optimizer.load_state_dict(state | {"param_groups": groups})


def _update(optimizer: torch.optim.Optimizer, loss: Tensor, network: nn.Module) -> None:
    optimizer.zero_grad(set_to_none=True)
    loss.backward(inputs=list(network.parameters()))
    optimizer.step()
