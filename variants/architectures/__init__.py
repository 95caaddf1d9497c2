"""The contract of an architecture, and the layers its files are made of.

A file defines `Generator(shape, latent_dim, …)`: latents (batch, latent_dim) -> samples (batch,
*shape), images in the range of the dataset, text as the probabilities of the characters at every
position; and `Discriminator(shape, norm="auto", …)`: samples -> one unbounded score each, (batch,).
A matrix may set the parameters that have defaults. Each network takes those that it names, so a
name that both networks have means the same in both.

norm="auto" means the `paper_norm` of a Discriminator, with two exceptions: an objective may ask for
another norm (`critic_norm`), and under a per-sample penalty batch norm becomes layer norm. Spectral
norm is no layer: `build` puts it on a critic made without normalisation. A Discriminator with
`weight_decay_with_norm` adds that decay to its objective's own optimiser, for both networks, where
the critic has a layer of norm.

A network may change while it trains: it defines `at(share of the budget)`, which is called before
each iteration and before samples are drawn. The critic of such networks defines `shown(images)`,
what it sees of real images then, the generator `whole(images)`, its images at the size of the data.
Networks that define `grow(stages)` follow training.growth.

Networks that change are trained eagerly and one seed at a time, unless each of them says the
following: then functions are traced or compiled for every form, and seeds are stacked.
form: Hashable; what `at` changes other than buffers. One form calls the same operators always.
form_shares: A share of the budget in every form, at which that form is compared with eager steps.
unused: The names of the parameters that have no part in the present form; they are not stepped.

A Discriminator that cannot be differentiated twice, by a double backward or in forward mode, such
as one of fused attention, says `once_differentiable = True`, as a class or in its constructor: a
loss that differentiates the slope is refused there.

latent_dim: Numbers of a latent.
norm: Normalisation of the critic's layers; auto: the network's own, or the objective's.
generator_norm: Normalisation of the generator's layers.
output: What ends the generator; auto: tanh, or sigmoid for images in [0, 1].

Modules are named, not numbered, so that networks which differ in one layer share the initial
weights of the rest. A layer made here carries `init_std`: `initialise` fills its weight uniformly
with that standard deviation.
"""

import inspect
import math
from collections.abc import Callable, Sequence
from typing import Any, Literal, TypeVar

import torch
from torch import Tensor, nn
from torch._C._functorch import is_functorch_wrapped_tensor
from torch.nn.functional import normalize
from torch.nn.utils.parametrizations import _SpectralNorm
from torch.nn.utils.parametrize import is_parametrized, register_parametrization

from variants import load, search_path
from variants.architectures._norms import InstanceNorm as InstanceNorm
from variants.architectures._norms import PixelNorm as PixelNorm
from variants.architectures._norms import TokenNorm as TokenNorm
from variants.architectures._output import Ending as Ending
from variants.architectures._output import Output as Output
from variants.architectures._output import Range, set_range

# the shipped folder and the user's
__path__[:] = search_path("architectures")

Norm = Literal["auto", "batch", "instance", "layer", "none", "spectral"]  # of a critic
NormLayer = Literal["batch", "instance", "layer", "none", "pixel"]  # of a generator
Init = float | Literal["he", "glorot"]  # a weight's standard deviation, or the rule for it
Shape = tuple[int, ...]
Layer = TypeVar("Layer", bound=nn.Module)


def linear(n_in: int, n_out: int, init: Init) -> nn.Linear:
    """A linear layer. Its "he" is √(2 / n_in), He et al. 2015."""
    fan_out = n_in if init == "he" else n_out
    return _with_std(nn.Linear(n_in, n_out), init, n_in, fan_out)


def conv(
    n_in: int, n_out: int, kernel: int, init: Init, stride: int = 1, bias: bool = True
) -> nn.Conv2d:
    """A convolution that divides the size by its stride."""
    layer = nn.Conv2d(n_in, n_out, kernel, stride, padding=kernel // 2, bias=bias)
    return _with_std(layer, init, n_in * kernel**2, n_out * kernel**2 / stride**2)


def conv1d(n_in: int, n_out: int, kernel: int, init: Init) -> nn.Conv1d:
    """A convolution over positions (batch, channels, length) that keeps the length. The kernel is
    odd."""
    layer = nn.Conv1d(n_in, n_out, kernel, padding=kernel // 2)
    return _with_std(layer, init, n_in * kernel, n_out * kernel)


def deconv(n_in: int, n_out: int, kernel: int, init: Init) -> nn.ConvTranspose2d:
    """A transposed convolution of stride 2 that doubles the size."""
    layer = nn.ConvTranspose2d(n_in, n_out, kernel, 2, padding=kernel // 2, output_padding=1)
    return _with_std(layer, init, n_in * kernel**2 / 4, n_out * kernel**2)


def norm_layer(kind: Norm | NormLayer, channels: int) -> nn.Module:
    """Batch norm; layer norm (per sample over C, H, W) and instance norm (per sample and channel
    over H, W), both affine per channel; pixel norm; or none. Raises ValueError for others."""
    if kind == "batch":
        return BatchNorm(channels)
    if kind == "layer":
        return nn.GroupNorm(1, channels)
    if kind == "instance":
        return InstanceNorm(channels)
    if kind == "pixel":
        return PixelNorm()
    if kind == "none":
        return nn.Identity()
    raise ValueError(
        f"no normalisation layer is called {kind!r}; "
        "valid: batch, instance, layer, none (spectral: critics only, pixel: generators only)"
    )


class BatchNorm(nn.Module):
    """Batch norm over all dimensions but the channels.

    In train mode the statistics of the batch normalise, always. `mean` and `var` (unbiased) follow
    them as moving averages of momentum 0.1, but only where gradients are enabled: the averages of a
    generator move in its own steps, not in the critic's steps, in probes or in sampling. In eval
    mode the averages normalise."""

    mean: Tensor
    var: Tensor

    def __init__(self, channels: int) -> None:
        super().__init__()
        self.weight = nn.Parameter(torch.ones(channels))
        self.bias = nn.Parameter(torch.zeros(channels))
        self.register_buffer("mean", torch.zeros(channels))
        self.register_buffer("var", torch.ones(channels))

    def forward(self, x: Tensor) -> Tensor:
        uses_averages = torch.is_grad_enabled() or not self.training
        return nn.functional.batch_norm(
            x,
            self.mean if uses_averages else None,
            self.var if uses_averages else None,
            self.weight,
            self.bias,
            self.training,
            momentum=0.1,
            eps=1e-5,
        )


class SpectralNorm(_SpectralNorm):
    """torch's parametrization of spectral norm, with the largest singular value in float32 whatever
    the precision of the training, and with a power iteration that torch.func.vmap follows."""

    def forward(self, weight: Tensor) -> Tensor:
        with torch.autocast(weight.device.type, enabled=False):
            return super().forward(weight)

    @torch.no_grad()
    def _power_method(self, weight_mat: Tensor, n_power_iterations: int) -> None:
        # torch.compile follows torch's own method, whose divisions write into the vectors
        # (`out=`). vmap does not; there the vectors are no constants, and can be copied to
        if torch.compiler.is_compiling() or not is_functorch_wrapped_tensor(self._u):
            super()._power_method(weight_mat, n_power_iterations)
            return
        for _ in range(n_power_iterations):
            self._u.copy_(normalize(weight_mat @ self._v, dim=0, eps=self.eps))
            self._v.copy_(normalize(weight_mat.mT @ self._u, dim=0, eps=self.eps))


def halvings(shape: Shape, least: int = 4) -> int:
    """How often an image's side is halved: while it is even and the half is at least `least`.
    Raises ValueError for a shape other than (C, H, W) with H = W a multiple of 4 from 8 on."""
    if len(shape) != 3 or shape[1] != shape[2] or shape[1] % 4 or shape[1] < 8:
        raise ValueError(
            f"needs square images whose side is a multiple of 4 and at least 8, not shape {shape}"
        )
    size = shape[1]
    count = 0
    while size % 2 == 0 and size // 2 >= least:
        size //= 2
        count += 1
    return count


def critic_of(choice: Any) -> tuple[str, dict[str, Any]]:
    """Name and parameters of the architecture that a choice (name, params) takes its critic from:
    the choice itself, or what its parameter `critic` names: a name, or a table {name, …} with all
    the parameters of the critic."""
    critic = choice.params.get("critic")
    if critic is None:
        return choice.name, dict(choice.params)
    table = {"name": critic} if isinstance(critic, str) else dict(critic)
    return table.pop("name"), table


def build(
    choice: Any,
    shape: Shape,
    norm: str,
    device: str = "cpu",
    growth: Sequence[Any] = (),
    images: Range = "signed",
) -> tuple[nn.Module, nn.Module]:
    """Generator and critic of a choice (name, params) for samples of a shape. Each network takes
    the parameters that it names; a critic from another architecture takes only its own. Raises
    ValueError for a shape, stages of growth and a range of images that they refuse.

    norm="spectral" is spectral norm, Miyato et al. 2018 (arXiv:1802.05957), on every linear layer
    and convolution of a critic without other normalisation, the output layer included. It is left
    out on torch's meta device, where only shapes count and power iterations are slow."""
    critic, params = critic_of(choice)
    params["norm"] = "none" if norm == "spectral" else norm
    with torch.device(device):
        G = _make(load("architectures", choice.name).Generator, shape, choice.params)
        set_range(choice.name, G, images)
        D = _make(load("architectures", critic).Discriminator, shape, params)
        if growth:
            _grow(choice.name, G, growth)
            _grow(critic, D, growth)
        if norm == "spectral" and device != "meta":
            _add_spectral_norm(D)
    return G, D


def _grow(name: str, network: Any, stages: Sequence[Any]) -> None:
    """Let a network of an architecture grow. Raises ValueError for one that does not."""
    if not hasattr(network, "grow"):
        raise ValueError(f"{name} does not grow, as training.growth asks; progressive does")
    network.grow(stages)


def _make(network: Any, shape: Shape, params: dict[str, Any]) -> nn.Module:
    """A network with those of the parameters that it names."""
    named = inspect.signature(network).parameters
    return network(shape, **{key: value for key, value in params.items() if key in named})


def _add_spectral_norm(critic: nn.Module) -> None:
    """Put spectral norm on every layer whose weight is a matrix or a convolution's."""
    for layer in list(critic.modules()):
        weight = getattr(layer, "weight", None)
        if weight is not None and weight.dim() >= 2:
            register_parametrization(layer, "weight", SpectralNorm(weight))


def initialise(network: nn.Module, seed_for: Callable[[str], int]) -> None:
    """Fill weights uniformly with each layer's `init_std` (half-range std·√3) and biases with 0.
    Each parameter is drawn from a seed of its own. Layers without `init_std` keep what their
    constructor gave them. Under spectral norm the weights before the norm are filled, and the
    norm's singular vectors follow them."""
    for name, module in network.named_modules():
        std = getattr(module, "init_std", None)
        if std is None:
            continue
        half = std * math.sqrt(3)
        spectral = is_parametrized(module, "weight")
        weight = module.get_parameter("parametrizations.weight.original" if spectral else "weight")
        generator = torch.Generator().manual_seed(seed_for(f"{name}.weight"))
        with torch.no_grad():
            weight.copy_(torch.empty(weight.shape).uniform_(-half, half, generator=generator))
            if module.bias is not None:
                module.get_parameter("bias").zero_()
            if spectral:
                _iterate_power(module, weight)


def _iterate_power(module: nn.Module, weight: Tensor) -> None:
    """Fit the singular vectors of a layer under spectral norm to its weight, by 50 power iterations
    from ones."""
    for vector in module.buffers():
        vector.fill_(1)
    estimate = module.get_submodule("parametrizations.weight.0")
    # every call in train mode is one iteration
    for _ in range(50):
        estimate(weight)


def _with_std(layer: Layer, init: Init, fan_in: float, fan_out: float) -> Layer:
    """Give a layer its `init_std`. Both rules use both fans, as in the WGAN-GP experiments:
    "glorot" is √(2 / (fan_in + fan_out)), Glorot and Bengio 2010; "he" is √2 times as large."""
    std = init
    if isinstance(init, str):
        gain = 4 if init == "he" else 2
        std = math.sqrt(gain / (fan_in + fan_out))
    layer.init_std = std  # type: ignore[assignment]
    return layer
