"""One training iteration (the critic steps and the generator step) of one seed or of a stack of
seeds: eager, compiled, captured as a CUDA graph, or both; the same numbers to float rounding."""

import copy
import time
from collections.abc import Callable, Iterable, Iterator
from contextlib import contextmanager
from dataclasses import replace
from itertools import islice
from typing import Any

import torch
from torch import Tensor, nn

from benchmark.store.schema import Execution
from benchmark.text import one_line
from benchmark.train.execution.cuda_graph import Graph, undone
from benchmark.train.execution.stack import Stack, join_states, split_state
from benchmark.train.inputs import Inputs
from benchmark.train.step import (
    critic_gradients,
    critic_step,
    generate,
    generator_gradients,
    generator_step,
    load_optimizer,
    make_optimizer,
)

BLOCK = 8  # critic steps whose fakes are generated in one pass, at most
TOLERANCE = {"float32": 1e-2, "tf32": 5e-2, "bf16": 0.2}  # between two modes' iterations, relative


class StackRefused(ValueError):
    """These seeds cannot train as a stack: they have to run alone."""


class Iteration:
    """`iteration(draws)` takes the Inputs of every critic step and last those of the generator
    step, updates the networks, and returns (*CRITIC, *GENERATOR), (6,), of a stack (S, 6), on the
    device.

    networks: (G, D) of every seed; those of several become views of a stack. precision: what
    `set_precision` was given. `optimizers` are generator's and critic's, `execution` says what was
    chosen, `compile_seconds` what compiling and capturing took, `last` the Inputs of the last
    generator step, whose batch is the last critic step's. Call `warm_up` before the first
    iteration."""

    def __init__(
        self,
        objective: Any,
        networks: list[tuple[nn.Module, nn.Module]],
        recipe: Any,
        precision: str = "float32",
        mode: str = "eager",
        device: str = "cpu",
    ) -> None:
        self.objective, self.networks, self.recipe = objective, networks, recipe
        self.precision, self.device = precision, torch.device(device)
        self.stacked = len(networks) > 1
        self.both = [
            Stack(list(each)) if self.stacked else each[0] for each in zip(*networks, strict=True)
        ]
        self.compile_seconds = 0.0
        self.last: Inputs
        if self.stacked and precision == "tf32" and objective.float32_penalty:
            raise StackRefused("a stacked step cannot leave TF32 for the penalty")
        refused = self._refused(mode)
        self._choose("eager" if refused else mode)
        self.execution.fallback = f"{mode}: {refused}" if refused else None

    def _refused(self, mode: str) -> str:
        """Why a mode cannot be; empty where it may."""
        if "graphed" in mode and self.device.type != "cuda":
            return "there is no CUDA graph without a CUDA device"
        if "compiled" in mode and self.precision == "tf32" and self.objective.float32_penalty:
            return "a compiled step cannot leave TF32 for the penalty"
        return ""

    def _choose(self, mode: str, at_once: bool = True) -> None:
        """Set how steps are taken, and make the optimisers that go with it."""
        self.execution = Execution(
            mode=mode,
            stack=len(self.networks),
            fallback=None,
            optimizer="loop",
            fakes_at_once=False,
            matmul="default",
        )
        self.graphs: dict[int, Graph] | None = (
            {} if "graphed" in mode else None
        )  # by the number of inputs
        self.compiled: set[int] | None = set() if "compiled" in mode else None  # for so many inputs
        self.functional = self.compiled is not None or self.stacked
        if self.graphs is not None:
            self.execution.optimizer = "capturable"
        elif self.functional or self.device.type == "cuda":
            self.execution.optimizer = "fused"
        self.optimizers = [
            make_optimizer(self.recipe, network, self.execution.optimizer) for network in self.both
        ]
        if self.functional:
            self._make_functions(at_once)

    def _make_functions(self, at_once: bool) -> None:
        """Gradients and fakes as pure functions of parameters and buffers, of a stack over its
        seeds."""
        G, D = self.networks[0]
        functions: list[Any] = [
            critic_gradients(self.objective, D, self.precision),
            generator_gradients(self.objective, G, D, self.precision),
            generate(G, self.precision, at_once),
        ]
        if self.stacked:
            critic, generator, fakes = functions
            seeds: dict[str, Any] = (
                {"in_dims": (0, 0, 1), "out_dims": 1} if at_once else {}
            )  # of fakes: behind the critic steps
            functions = [
                torch.func.vmap(critic),
                torch.func.vmap(generator),
                torch.func.vmap(fakes, **seeds),
            ]
        if self.compiled is not None:
            from benchmark.train.execution.matmul_pass import Pass, onednn_pays

            # it compiles a function for few networks only, and would keep those of former cells
            torch._dynamo.reset()
            options: dict[str, Any] = {
                "fallback_random": True
            }  # what networks draw by themselves is as in eager steps
            if self.device.type == "cpu":
                onednn = self.precision != "bf16" and onednn_pays()
                self.execution.matmul = "onednn" if onednn else "default"
                options["post_grad_custom_post_pass"] = Pass(onednn)
            functions = [
                torch.compile(f, dynamic=False, fullgraph=True, options=options) for f in functions
            ]
        self.execution.fakes_at_once = at_once
        self.critic, self.generator, self.fakes = functions

    def __call__(self, draws: Iterable[Inputs]) -> Tensor:
        draws = self._remember(draws)
        if self.graphs is None and self.compiled is None:
            return self._iterate(draws)
        inputs, started = list(draws), time.perf_counter()
        if self.graphs is not None:
            if len(inputs) not in self.graphs:
                self.graphs[len(inputs)] = Graph(self._iterate, inputs, self.both, self.optimizers)
                self.compile_seconds += time.perf_counter() - started
            return self.graphs[len(inputs)](inputs)
        row = self._iterate(inputs)
        if self.compiled is not None and len(inputs) not in self.compiled:
            self.compiled.add(len(inputs))
            self.compile_seconds += time.perf_counter() - started
        return row

    def _remember(self, draws: Iterable[Inputs]) -> Iterator[Inputs]:
        for inputs in draws:
            self.last = inputs
            yield inputs

    def _iterate(self, draws: Iterable[Inputs]) -> Tensor:
        if not self.functional:
            return iterate(
                self.objective, (self.both[0], self.both[1]), self.optimizers, draws, self.precision
            )
        parameters = [
            {name: p.detach() for name, p in network.named_parameters()} for network in self.both
        ]
        buffers = [dict(network.named_buffers()) for network in self.both]
        G, D = zip(parameters, buffers, strict=True)
        *waiting, last = draws
        steps, of_critic = iter(waiting), torch.empty(0)
        while block := list(islice(steps, BLOCK)):
            at_once = self.execution.fakes_at_once
            fakes = self.fakes(*G, torch.stack([inputs.z for inputs in block])) if at_once else None
            for k, inputs in enumerate(block):
                fake = self.fakes(*G, inputs.z) if fakes is None else fakes[k]
                gradients, of_critic = self.critic(*D, inputs.real, fake, inputs.noise)
                _apply(gradients, self.both[1], self.optimizers[1])
                self.objective.after_d_step(self.both[1])
        gradients, of_generator = self.generator(*G, *D, *last)
        _apply(gradients, self.both[0], self.optimizers[0])
        return torch.cat([of_critic, of_generator], dim=-1)

    # Warming up

    def warm_up(self, draws: Callable[[], list[Inputs]]) -> None:
        """Compile and capture, and hold an iteration on `draws()` (the same at every call, which
        also seeds torch's default stream) against an eager one, in what it returns and in the
        gradients it leaves; networks and optimisers are as before. What does not work, or does not
        agree, is done eagerly, with the reason in `execution`. Raises StackRefused for a stack that
        cannot be.

        Both run at a rate of zero: one step of Adam would amplify rounding beyond any tolerance."""
        asked = self.execution.mode
        if asked == "eager" and not self.stacked:
            return
        started, states, reasons = time.perf_counter(), self.states(), list[str]()
        of_seeds = [self._eagerly(index, draws) for index in range(len(self.networks))]
        expected = [torch.stack(each) for each in zip(*of_seeds, strict=True)]
        for mode in dict.fromkeys((asked, "eager")):
            for at_once in (True, False) if self.functional else (True,):
                if reasons:
                    self._choose(mode, at_once)
                    self.load_states(copy.deepcopy(states))
                if reason := self._try(draws, expected) if self.stacked or mode != "eager" else "":
                    reasons.append(reason)
                    continue
                if mode != asked:
                    self.execution.fallback = f"{asked}: {reasons[0]}"
                self.compile_seconds = time.perf_counter() - started
                return
        raise StackRefused(reasons[0])

    def _eagerly(self, index: int, draws: Callable[[], list[Inputs]]) -> list[Tensor]:
        """What an eager iteration of one seed returns, and the gradients it leaves of G and of D,
        on copies."""
        networks, recipe = copy.deepcopy(self.networks[index]), replace(self.recipe, lr=0.0)
        optimizers = [make_optimizer(recipe, network) for network in networks]
        for optimizer, state in zip(optimizers, self.states()[index], strict=True):
            load_optimizer(optimizer, copy.deepcopy(state))
        own = [inputs.of_seed(index) for inputs in draws()] if self.stacked else draws()
        row = iterate(self.objective, networks, optimizers, own, self.precision)
        return [row, *(_gradients(network, 1)[0] for network in networks)]

    def _try(self, draws: Callable[[], list[Inputs]], expected: list[Tensor]) -> str:
        """Take an iteration and undo it. Why this mode cannot be; empty where it can."""
        seeds, limit = len(self.networks), TOLERANCE[self.precision]
        try:
            with undone(self.both, self.optimizers), _at_rate_zero(self.optimizers):
                if self.graphs is not None:  # compiled before it is captured
                    self._iterate(draws())
                row = self(draws()).view_as(expected[0]).clone()
            found = [_gradients(network, seeds) for network in self.both]
        except Exception as error:
            return f"{type(error).__name__}: {one_line(error)[:300]}"
        if not torch.allclose(row, expected[0], rtol=limit, atol=limit, equal_nan=True):
            return f"an iteration gives {row.tolist()}, an eager one {expected[0].tolist()}"
        for role, ours, theirs in zip("GD", found, expected[1:], strict=True):
            off = ((ours - theirs).norm(dim=1) / theirs.norm(dim=1).clamp_min(1e-12)).max().item()
            if off > limit:  # not so where both are NaN
                return f"the gradient of {role} is off by {off:.2g} of an eager one's norm"
        return ""

    @property
    def graph_memory_mb(self) -> float:
        """MiB that replaying takes at its peak, which torch's allocator does not count."""
        return max((graph.memory_mb for graph in (self.graphs or {}).values()), default=0.0)

    def hand_down_gradients(self) -> None:
        """Give every network its gradients of the last step, for whoever looks at them."""
        for network in self.both:
            if isinstance(network, Stack):
                network.hand_down_gradients()

    # Checkpoints

    def states(self) -> list[list[dict[str, Any]]]:
        """The optimisers' state_dicts, of generator and critic, for every seed."""
        found = [optimizer.state_dict() for optimizer in self.optimizers]
        if not self.stacked:
            return [found]
        return [
            [split_state(state, index) for state in found] for index in range(len(self.networks))
        ]

    def load_states(self, states: list[list[dict[str, Any]]]) -> None:
        """Continue from what `states` gave, under any mode, of cells alone or in a stack."""
        for optimizer, own in zip(self.optimizers, zip(*states, strict=True), strict=True):
            load_optimizer(optimizer, join_states(list(own)) if self.stacked else own[0])


def iterate(
    objective: Any,
    networks: tuple[nn.Module, nn.Module],
    optimizers: list[torch.optim.Optimizer],
    draws: Iterable[Inputs],
    precision: str = "float32",
) -> Tensor:
    """An eager iteration of one seed, of generator and critic."""
    (G, D), of_critic, waiting = networks, torch.empty(0), None
    for inputs in draws:  # drawn one by one, so that no more than two batches are held
        if waiting is not None:
            of_critic = critic_step(objective, G, D, optimizers[1], *waiting, precision)
        waiting = inputs
    assert waiting is not None
    return torch.cat(
        [of_critic, generator_step(objective, G, D, optimizers[0], *waiting, precision)]
    )


def _apply(
    gradients: dict[str, Tensor], network: nn.Module, optimizer: torch.optim.Optimizer
) -> None:
    for name, parameter in network.named_parameters():
        parameter.grad = gradients[name]
    optimizer.step()


def _gradients(network: nn.Module, seeds: int) -> Tensor:
    """The gradients of a network, or of a stack's, as one vector for each seed (S, n)."""
    found = [p.grad for _, p in network.named_parameters() if p.grad is not None]
    return torch.cat([gradient.detach().reshape(seeds, -1) for gradient in found], dim=1)


@contextmanager
def _at_rate_zero(optimizers: list[torch.optim.Optimizer]) -> Iterator[None]:
    """In place where the rate is a tensor, which a graph reads."""
    groups = [group for optimizer in optimizers for group in optimizer.param_groups]
    before = [copy.deepcopy(group["lr"]) for group in groups]
    for group in groups:
        group["lr"] = group["lr"].zero_() if isinstance(group["lr"], Tensor) else 0.0
    try:
        yield
    finally:
        for group, lr in zip(groups, before, strict=True):
            group["lr"] = group["lr"].copy_(lr) if isinstance(lr, Tensor) else lr
