"""An iteration by pure functions of parameters and buffers, which can be compiled, and mapped over
the seeds of a stack."""

from collections.abc import Callable, Collection, Iterable, Iterator, Sequence
from itertools import chain
from typing import Any, NamedTuple

import torch
from torch import Tensor, nn

from benchmark.store.schema import Execution
from benchmark.train.execution.ahead import Ahead
from benchmark.train.execution.operators import Traced
from benchmark.train.inputs import Inputs
from benchmark.train.step import Tensors, critic_gradients, generate, generator_gradients

BLOCK = 8  # critic steps whose fakes are generated in one pass, at most


class Functions(NamedTuple):
    """What the steps of an iteration call."""

    critic: Callable[..., tuple[Tensors, Tensor]]
    """As `critic_gradients` makes it."""

    generator: Callable[..., tuple[Tensors, Tensor]]
    """As `generator_gradients` makes it."""

    fakes: Callable[..., Tensor]
    """As `generate` makes it."""

    fakes_at_once: bool
    """Whether `fakes` takes the latents of several critic steps."""

    unused: tuple[Collection[str], Collection[str]]
    """The parameters of generator and critic that the functions do not take: those without a part
    in the present form of a network that changes."""


def make_functions(
    objective: Any, networks: tuple[nn.Module, nn.Module], precision: str, fakes_at_once: bool
) -> Functions:
    """The functions of one seed, for the architecture of generator and critic."""
    G, D = networks
    return Functions(
        critic_gradients(objective, D, precision),
        generator_gradients(objective, G, D, precision),
        generate(G, precision, fakes_at_once),
        fakes_at_once,
        (getattr(G, "unused", ()), getattr(D, "unused", ())),
    )


def has_forms(networks: Sequence[nn.Module]) -> bool:
    """Whether every network that changes defines `form`, `form_shares` and `unused`."""
    changing = [network for network in networks if getattr(network, "at", None)]
    names = ("form", "form_shares", "unused")
    return all(hasattr(network, name) for network in changing for name in names)


def form_of(networks: Sequence[nn.Module]) -> tuple[Any, ...]:
    """The present form of generator and critic, of which functions are made; None of one that is
    fixed."""
    return tuple([getattr(network, "form", None) for network in networks])


def each_form(pairs: Sequence[tuple[nn.Module, nn.Module]]) -> Iterator[None]:
    """Give all networks each of their forms in turn; fixed ones have one."""
    shares: set[float] = set()
    for network in pairs[0]:
        shares.update(getattr(network, "form_shares", ()))
    if not shares:
        yield
    for share in sorted(shares):
        for network in chain.from_iterable(pairs):
            change = getattr(network, "at", None)
            if change is not None:
                change(share)
        yield


def over_seeds(functions: Functions) -> Functions:
    """The functions of a stack: parameters, buffers and inputs have a seed axis in front."""
    fakes = torch.func.vmap(functions.fakes)
    if functions.fakes_at_once:
        # The seed axis of latents and fakes stands behind the axis of the critic steps
        fakes = torch.func.vmap(functions.fakes, in_dims=(0, 0, 1), out_dims=1)
    return functions._replace(
        critic=torch.func.vmap(functions.critic),
        generator=torch.func.vmap(functions.generator),
        fakes=fakes,
    )


def trace_functions(functions: Functions) -> Functions:
    """The functions by their operators, on a CPU: see `Traced`."""
    return _each(functions, Traced)


def _each(functions: Functions, change: Callable[[Callable[..., Any]], Any]) -> Functions:
    """All three functions changed."""
    return functions._replace(
        critic=change(functions.critic),
        generator=change(functions.generator),
        fakes=change(functions.fakes),
    )


def matmul_of(device: str, precision: str, former: Execution | None) -> str:
    """What computes the larger products of compiled functions, "onednn" or "default". device: its
    kind. former: of the training before a resume, if it is to go on as it was."""
    if device != "cpu" or precision == "bf16":
        return "default"
    if former and "compiled" in former.mode:
        # The last digits of numbers depend on it
        return former.matmul
    from benchmark.train.execution.matmul_pass import onednn_pays

    return "onednn" if onednn_pays() else "default"


def compile_functions(functions: Functions, device: str, matmul: str) -> Functions:
    """The functions compiled, each as one graph: ahead of time for a CPU, else by torch.compile.
    device: its kind. matmul: `Execution.matmul`."""

    # With fallback_random, what networks draw by themselves is as in eager steps
    options: dict[str, Any] = {"fallback_random": True}
    if device == "cpu":
        from benchmark.train.execution.matmul_pass import MatmulPass

        options["post_grad_custom_post_pass"] = MatmulPass(matmul == "onednn")
    else:
        # torch.compile makes a function for few networks only, and keeps those of former cells
        torch._dynamo.reset()

    def compiled(function: Callable[..., Any]) -> Callable[..., Any]:
        if device == "cpu":
            return Ahead(function, options)
        return torch.compile(function, dynamic=False, fullgraph=True, options=options)

    return _each(functions, compiled)


def iterate_by_functions(
    objective: Any,
    networks: Sequence[nn.Module],
    optimizers: list[torch.optim.Optimizer],
    functions: Functions,
    draws: Iterable[Inputs],
) -> Tensor:
    """An iteration of one seed or of a stack. The arguments are those of `iterate_eagerly`, and so
    is what it returns: (6,), or (S, 6) of a stack."""
    G = _tensors(networks[0], functions.unused[0])
    D = _tensors(networks[1], functions.unused[1])
    *critic_inputs, generator_inputs = draws
    critic_row = torch.empty(0)
    for start in range(0, len(critic_inputs), BLOCK):
        block = critic_inputs[start : start + BLOCK]
        for inputs, fake in zip(block, _fakes(functions, G, block), strict=True):
            gradients, critic_row = functions.critic(*D, inputs.real, fake, inputs.noise or ())
            _apply(gradients, networks[1], optimizers[1])
            objective.after_d_step(networks[1])
    real, z, noise = generator_inputs
    gradients, generator_row = functions.generator(*G, *D, real, z, noise or ())
    _apply(gradients, networks[0], optimizers[0])
    return torch.cat([critic_row, generator_row], dim=-1)


def _tensors(network: nn.Module, unused: Collection[str]) -> tuple[Tensors, Tensors]:
    """Parameters but for the unused ones, and buffers, by name; they share memory with the
    network."""
    parameters = {}
    for name, parameter in network.named_parameters():
        if name not in unused:
            parameters[name] = parameter.detach()
    return parameters, dict(network.named_buffers())


def _fakes(
    functions: Functions, G: tuple[Tensors, Tensors], block: list[Inputs]
) -> Iterator[Tensor]:
    """The fake samples of every critic step in a block; one by one they are made right before their
    step."""
    if not functions.fakes_at_once:
        for inputs in block:
            yield functions.fakes(*G, inputs.z)
        return
    fakes = functions.fakes(*G, torch.stack([inputs.z for inputs in block]))
    for index in range(len(block)):
        yield fakes[index]


def _apply(gradients: Tensors, network: nn.Module, optimizer: torch.optim.Optimizer) -> None:
    for name, parameter in network.named_parameters():
        gradient = gradients.get(name)
        # A fused optimiser takes the memory of a gradient to lie in the order of its parameter's
        if gradient is not None and gradient.stride() != parameter.stride():
            gradient = torch.empty_like(parameter).copy_(gradient)
        parameter.grad = gradient
    optimizer.step()
