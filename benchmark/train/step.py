"""One adversarial step, of the critic and of the generator: pure in its tensors, without a device
synchronisation."""

import operator
from collections.abc import Callable, Iterator
from contextlib import AbstractContextManager, nullcontext
from functools import partial, reduce
from typing import Any

import torch
from torch import Tensor, nn
from torch.func import functional_call

from variants.objectives import Critic, Noise, full_precision

# What a critic step returns: the loss, the mean scores and the norm of the gradient
CRITIC = ("d_loss", "d_real", "d_fake", "d_grad_norm")
# What a generator step returns
GENERATOR = ("g_loss", "g_grad_norm")

Tensors = dict[str, Tensor]  # parameters or buffers of a network, by name
Gradients = tuple[Tensors, Tensor]  # gradients by name, and what the step returns


def critic_step(
    objective: Any,
    G: nn.Module,
    D: nn.Module,
    optimizer: torch.optim.Optimizer,
    real: Tensor,
    z: Tensor,
    noise: Noise,
    precision: str = "float32",
    *,
    fake: Tensor | None = None,
    by_term: bool = False,
) -> Tensor:
    """One optimiser step of the critic on real samples (batch, *shape) and latents (batch,
    latent_dim). Returns CRITIC, (4,), detached and on the device.

    Real and fake samples pass the critic separately, as batch norm asks. A mean score is NaN if the
    loss does not ask for the scores of these very samples.

    fake: G(z), if it is there already. by_term: every term of the loss is differentiated, and its
    activations freed, before the next term is computed: the same loss, and the same gradients up to
    rounding. The objective has terms."""
    if fake is None:
        with autocast(real, precision), torch.no_grad():
            fake = G(z).float()
    fake = fake.detach()
    real, fake, noise = objective.seen(real, fake, noise)
    critic = _Observed(D, real, fake)
    terms = objective.d_terms if by_term else partial(_whole, objective)
    optimizer.zero_grad(set_to_none=True)
    loss = _add_gradients(
        terms(critic, real, fake, noise), D, real, precision, objective.float32_penalty
    )
    optimizer.step()
    norm = grad_norm(D)
    objective.after_d_step(D)
    return torch.stack([loss, *critic.means, norm])


def _whole(objective: Any, *inputs: Any) -> Iterator[Tensor]:
    yield objective.d_loss(*inputs)


def _add_gradients(
    terms: Iterator[Tensor], network: nn.Module, real: Tensor, precision: str, float32: bool
) -> Tensor:
    """Add the gradients of a loss to those of the network's parameters, term by term. float32:
    whether backward passes leave TF32. Returns the loss, detached."""
    parameters = list(network.parameters())
    values: list[Tensor] = []
    while True:
        # A block for each term: autocast keeps what it casts, with its graph, until the block ends
        with autocast(real, precision):
            term = next(terms, None)
        if term is None:
            return reduce(operator.add, values)
        _check_scalar(term, "d_loss")
        with full_precision(real) if float32 else nullcontext():
            term.backward(inputs=parameters)
        values.append(term.detach())


def generator_step(
    objective: Any,
    G: nn.Module,
    D: nn.Module,
    optimizer: torch.optim.Optimizer,
    real: Tensor,
    z: Tensor,
    noise: Noise,
    precision: str = "float32",
    *,
    fake: Tensor | None = None,
) -> Tensor:
    """One optimiser step of the generator; no gradient of the critic's weights is computed. Returns
    GENERATOR, (2,), detached and on the device. fake: G(z) with its graph, if it is there
    already."""
    with autocast(real, precision):
        if fake is None:
            fake = G(z).float()
        real, fake, noise = objective.seen(real, fake, noise)
        loss = objective.g_loss(lambda x: D(x).float(), real, fake, noise)
    _check_scalar(loss, "g_loss")
    optimizer.zero_grad(set_to_none=True)
    loss.backward(inputs=list(G.parameters()))
    optimizer.step()
    return torch.stack([loss.detach(), grad_norm(G)])


def critic_gradients(
    objective: Any, D: nn.Module, precision: str
) -> Callable[[Tensors, Tensors, Tensor, Tensor, Noise], Gradients]:
    """`critic_step` without its update, as a pure function for torch.compile and vmap: (parameters
    and buffers of D, real, fake, noise) -> the gradients, and CRITIC. Buffers are updated in place.

    Real and fake samples pass the critic separately here, too. Together they would be 3 % quicker,
    but the gradient of a bias that cancels to zero would be rounding noise, of which Adam makes
    steps of full size."""

    def loss(
        params: Tensors, buffers: Tensors, real: Tensor, fake: Tensor, noise: Noise
    ) -> tuple[Tensor, Tensor]:
        def scores(x: Tensor) -> Tensor:
            found: Tensor = functional_call(D, (params, buffers), (x,))
            return found

        real, fake, noise = objective.seen(real, fake, noise)
        critic = _Observed(scores, real, fake)
        with autocast(real, precision):
            value = objective.d_loss(critic, real, fake, noise)
        _check_scalar(value, "d_loss")
        return value, torch.stack([value.detach(), *critic.means])

    return _with_norm(torch.func.grad(loss, has_aux=True))


def generator_gradients(
    objective: Any, G: nn.Module, D: nn.Module, precision: str
) -> Callable[[Tensors, Tensors, Tensors, Tensors, Tensor, Tensor, Noise], Gradients]:
    """`generator_step` without its update, as a pure function: (parameters and buffers of G, those
    of D, real, z, noise) -> the gradients, and GENERATOR. The parameters of the critic are
    constants."""

    def loss(
        params: Tensors,
        buffers: Tensors,
        critic_params: Tensors,
        critic_buffers: Tensors,
        *inputs: Any,
    ) -> tuple[Tensor, Tensor]:
        def critic(x: Tensor) -> Tensor:
            scores: Tensor = functional_call(D, (critic_params, critic_buffers), (x,))
            return scores.float()

        real, z, noise = inputs
        with autocast(real, precision):
            fake = functional_call(G, (params, buffers), (z,)).float()
            value = objective.g_loss(critic, *objective.seen(real, fake, noise))
        _check_scalar(value, "g_loss")
        return value, value.detach().unsqueeze(0)

    return _with_norm(torch.func.grad(loss, has_aux=True))


def generate(
    G: nn.Module, precision: str, at_once: bool
) -> Callable[[Tensors, Tensors, Tensor], Tensor]:
    """(parameters and buffers of G, z) -> fake samples, without gradient. at_once: of K batches of
    latents (K, batch, latent_dim) in one pass; batch norm still normalises every batch by
    itself."""

    @torch.no_grad()
    def fakes(params: Tensors, buffers: Tensors, z: Tensor) -> Tensor:
        def of_batch(z: Tensor) -> Tensor:
            out: Tensor = functional_call(G, (params, buffers), (z,)).float()
            return out

        with autocast(z, precision):
            return torch.func.vmap(of_batch)(z) if at_once else of_batch(z)

    return fakes


class _Observed:
    """A critic that gives float32 scores."""

    def __init__(self, D: Critic, real: Tensor, fake: Tensor) -> None:
        self.D, self.real, self.fake = D, real, fake
        self.means = [torch.full((), torch.nan, device=real.device)] * 2
        """The mean scores of `real` and `fake`, NaN until these very tensors are scored."""

    def __call__(self, x: Tensor) -> Tensor:
        scores = self.D(x).float()
        self.observe(x, scores)
        return scores

    def observe(self, x: Tensor, scores: Tensor) -> None:
        """Keep the mean score if x is `real` or `fake`."""
        if x is self.real:
            self.means[0] = scores.detach().mean()
        elif x is self.fake:
            self.means[1] = scores.detach().mean()


def _with_norm(gradients: Callable[..., Gradients]) -> Callable[..., Gradients]:
    """Appends the norm of all gradients together to what the step returns."""

    def with_norm(*args: Any) -> Gradients:
        by_name, row = gradients(*args)
        squares = torch.stack([gradient.square().sum() for gradient in by_name.values()])
        norm = squares.sum().sqrt()
        return by_name, torch.cat([row, norm.unsqueeze(0)])

    return with_norm


def _check_scalar(loss: Tensor, name: str) -> None:
    assert loss.dim() == 0, f"{name} must be a scalar, not of shape {tuple(loss.shape)}"


def grad_norm(network: nn.Module) -> Tensor:
    """The Euclidean norm of all parameter gradients of a network together."""
    gradients = [p.grad for p in network.parameters() if p.grad is not None]
    return torch.nn.utils.get_total_norm(gradients)


def autocast(tensor: Tensor, precision: str) -> AbstractContextManager[Any]:
    """bfloat16 autocast on the tensor's device under precision "bf16"; nothing otherwise."""
    return torch.autocast(tensor.device.type, torch.bfloat16, enabled=precision == "bf16")


def set_precision(precision: str) -> None:
    """Matrix products and convolutions in full float32, or in TF32 under precision "tf32"."""
    torch.set_float32_matmul_precision("high" if precision == "tf32" else "highest")
    torch.backends.cudnn.allow_tf32 = precision == "tf32"
