"""One training iteration (the critic steps and the generator step) of a seed or of a stack: eager,
traced, compiled, captured as a CUDA graph, or both; the same numbers to float rounding."""

import copy
import time
from collections.abc import Callable, Iterable, Iterator
from typing import Any

import torch
from torch import Tensor, nn

from benchmark.store.schema import Execution
from benchmark.text import described
from benchmark.train.execution.agreement import (
    Outcome,
    disagreement,
    eager_outcome,
    join_outcomes,
    outcome_of,
    rate_zero,
)
from benchmark.train.execution.cuda_graph import Graph, undone
from benchmark.train.execution.eager import iterate_eagerly
from benchmark.train.execution.functions import (
    Functions,
    compile_functions,
    each_form,
    form_of,
    has_forms,
    iterate_by_functions,
    make_functions,
    matmul_of,
    over_seeds,
    trace_functions,
)
from benchmark.train.execution.modes import refusal
from benchmark.train.execution.stack import Stack, join_states, split_state
from benchmark.train.inputs import Inputs
from benchmark.train.optimizers import load_optimizer, make_optimizers

MAX_REASON = 300  # characters of an error in the reason of a fallback


class StackRefused(ValueError):
    """These seeds cannot train as a stack: they have to run alone."""


class Iteration:
    """`iteration(draws)` takes the Inputs of every critic step, then those of the generator step;
    it updates the networks and returns (*CRITIC, *GENERATOR), (6,), or (S, 6) of a stack, on the
    device. Call `warm_up` before the first iteration."""

    optimizers: list[torch.optim.Optimizer]
    """Of generator and critic."""

    execution: Execution
    """How iterations are executed, and why not as asked for."""

    compile_seconds: float
    """Seconds that tracing, compiling and capturing took."""

    last: Inputs
    """The inputs of the last generator step. Their real batch is that of the last critic step."""

    def __init__(
        self,
        objective: Any,
        networks: list[tuple[nn.Module, nn.Module]],
        recipe: Any,
        precision: str = "float32",
        mode: str = "eager",
        device: str = "cpu",
        former: Execution | None = None,
        by_term: bool = False,
    ) -> None:
        """networks: generator and critic of every seed; those of several seeds become views of a
        stack. precision: what `set_precision` was given. former: how the iterations before a resume
        were executed. by_term: see `iterate_eagerly`. Raises StackRefused."""
        self.objective, self.networks, self.recipe = objective, networks, recipe
        self.precision, self.device, self.by_term = precision, torch.device(device), by_term
        self.is_stacked = len(networks) > 1
        leaves_tf32 = precision == "tf32" and objective.float32_penalty
        if self.is_stacked and leaves_tf32:
            raise StackRefused("a stacked step cannot leave TF32 for the penalty")
        if self.is_stacked and not has_forms(networks[0]):
            raise StackRefused("networks that change without a form are trained one by one")
        # Generator and critic as the optimisers see them: of one seed, or as stacks
        self.trained: tuple[nn.Module, nn.Module] = networks[0]
        if self.is_stacked:
            generators, critics = zip(*networks, strict=True)
            self.trained = Stack(list(generators)), Stack(list(critics))
        self.compile_seconds = 0.0
        self.asked = mode
        # Where nothing else is asked for, a resumed training goes on as it was executed before
        is_same = former is not None and (former.asked, former.stack) == (mode, len(networks))
        self.former = former if is_same else None
        if self.former:
            self._choose(self.former.mode, self.former.fakes_at_once)
            self.execution.fallback = self.former.fallback
            return
        refused = refusal(mode, self.device.type, leaves_tf32, has_forms(networks[0]))
        self._choose("eager" if refused else mode)
        if refused:
            self.execution.fallback = f"{mode}: {refused}"

    # Choosing how to execute

    def _choose(self, mode: str, fakes_at_once: bool = True) -> None:
        """Set how iterations are executed, and make the optimisers for that."""
        self.is_compiled, self.is_graphed = "compiled" in mode, "graphed" in mode
        # Functions of parameters, which the steps call in place of the networks
        self.by_functions = self.is_stacked or mode not in ("eager", "graphed")
        # A graph, and a compiled function, is for one form of the networks and number of inputs
        self.graphs: dict[Any, Graph] = {}
        self.compiled_for: set[Any] = set()
        self.functions: dict[Any, Functions] = {}  # by form
        self.execution = Execution(
            mode=mode,
            stack=len(self.networks),
            asked=self.asked,
            fallback=None,
            optimizer=self._optimizer_kind(),
            fakes_at_once=False,
        )
        if self.is_compiled:
            self.execution.matmul = matmul_of(self.device.type, self.precision, self.former)
        self.optimizers = make_optimizers(self.recipe, self.trained, self.execution.optimizer)
        if self.by_functions:
            self.execution.fakes_at_once = fakes_at_once
        elif self.by_term:
            self.execution.backward = "by term"

    def _optimizer_kind(self) -> str:
        if self.is_graphed:
            return "capturable"
        return "fused" if self.by_functions or self.device.type == "cuda" else "loop"

    def _functions(self) -> Functions:
        """The functions of the present form of the networks."""
        form = form_of(self.networks[0])
        if form in self.functions:
            return self.functions[form]
        if self.device.type != "cpu":
            # torch.compile keeps the functions of one form
            self.functions, self.compiled_for = {}, set()
        functions = make_functions(
            self.objective, self.networks[0], self.precision, self.execution.fakes_at_once
        )
        if self.is_stacked:
            functions = over_seeds(functions)
        if self.is_compiled:
            functions = compile_functions(functions, self.device.type, self.execution.matmul)
        elif self.execution.mode == "traced":
            functions = trace_functions(functions)
        self.functions[form] = functions
        return functions

    # Iterating

    def __call__(self, draws: Iterable[Inputs]) -> Tensor:
        draws = self._remember(draws)
        if self.execution.mode == "eager":
            return self._iterate(draws)
        inputs = list(draws)
        case = form_of(self.networks[0]), len(inputs)
        started = time.perf_counter()
        if self.is_graphed:
            graph = self.graphs.get(case)
            if graph is None:
                if all(kept[0] != case[0] for kept in self.graphs):
                    self.graphs.clear()  # of a former form: their memory is free again
                graph = Graph(self._iterate, inputs, self.trained, self.optimizers)
                self.graphs[case] = graph
                self.compile_seconds += time.perf_counter() - started
            return graph(inputs)
        row = self._iterate(inputs)
        if case not in self.compiled_for:
            self.compiled_for.add(case)
            self.compile_seconds += time.perf_counter() - started
        return row

    def _remember(self, draws: Iterable[Inputs]) -> Iterator[Inputs]:
        for inputs in draws:
            self.last = inputs
            yield inputs

    def _iterate(self, draws: Iterable[Inputs]) -> Tensor:
        """An iteration without a graph."""
        if not self.by_functions:
            return iterate_eagerly(
                self.objective, self.trained, self.optimizers, draws, self.precision, self.by_term
            )
        return iterate_by_functions(
            self.objective, self.trained, self.optimizers, self._functions(), draws
        )

    # Warming up

    def warm_up(self, draws: Callable[[], list[Inputs]]) -> None:
        """Compile and capture, and compare an iteration with an eager one. Weights and optimisers
        stay as they were, networks that change are left in another form. `draws()` gives the same
        inputs at every call and also seeds torch's default stream.

        A mode that does not work or does not agree is replaced by eager steps, and `execution` says
        why; the mode of a resumed training has agreed before. Raises StackRefused if the seeds
        cannot be stacked."""
        asked = self.execution.mode
        if asked == "eager" and not self.is_stacked:
            return
        started, states = time.perf_counter(), self.states()
        if self.former and not self._try(draws, None):
            self.compile_seconds = time.perf_counter() - started
            return
        expected = [self._eager_outcome(draws) for _ in each_form(self.networks)]
        reasons: list[str] = []
        for mode, fakes_at_once in self._candidates(asked):
            if reasons:
                self._choose(mode, fakes_at_once)
                self.load_states(copy.deepcopy(states))
            reason = self._try_forms(draws, expected)
            if not reason:
                if mode != asked:
                    self.execution.fallback = f"{asked}: {reasons[0]}"
                self.compile_seconds = time.perf_counter() - started
                return
            reasons.append(reason)
        raise StackRefused(reasons[0])

    def _candidates(self, asked: str) -> Iterator[tuple[str, bool]]:
        """The ways to execute in the order in which they are tried: (mode, fakes_at_once)."""
        for mode in dict.fromkeys((asked, "eager")):
            yield mode, True
            if mode not in ("eager", "graphed") or self.is_stacked:
                yield mode, False

    def _eager_outcome(self, draws: Callable[[], list[Inputs]]) -> Outcome:
        """The outcome of an eager iteration of every seed."""
        outcomes = []
        for index, (networks, states) in enumerate(zip(self.networks, self.states(), strict=True)):
            inputs = draws()
            if self.is_stacked:
                inputs = [drawn.of_seed(index) for drawn in inputs]
            given = networks, self.recipe, states, inputs, self.precision
            outcomes.append(eager_outcome(self.objective, *given))
        return join_outcomes(outcomes)

    def _try_forms(self, draws: Callable[[], list[Inputs]], expected: list[Outcome]) -> str:
        """As `_try`, with the networks in every form, each of which has an expected outcome."""
        for _, outcome in zip(each_form(self.networks), expected, strict=True):
            reason = self._try(draws, outcome)
            if reason:
                return reason
        return ""

    def _try(self, draws: Callable[[], list[Inputs]], expected: Outcome | None) -> str:
        """Take an iteration and undo it. Returns why it cannot be executed this way, or how it
        differs from what is expected, if anything is; empty if it agrees."""
        if self.execution.mode == "eager" and not self.is_stacked:
            return ""
        try:
            with undone(self.trained, self.optimizers), rate_zero(self.optimizers):
                if self.is_graphed:
                    # Compile before the capture
                    self._iterate(draws())
                row = self(draws()).clone()
            outcome = outcome_of(row, self.trained, len(self.networks))
        except Exception as error:
            return described(error, MAX_REASON)
        if expected is None:
            return ""
        return disagreement(outcome, expected, self.precision)

    @property
    def graph_memory_mb(self) -> float:
        """MiB that replaying takes at its peak. torch's allocator does not count them."""
        return max((graph.memory_mb for graph in self.graphs.values()), default=0.0)

    def hand_down_gradients(self) -> None:
        """Give every network of a stack its gradients of the last step, for the probes."""
        for network in self.trained:
            if isinstance(network, Stack):
                network.hand_down_gradients()

    # Checkpoints

    def states(self) -> list[list[dict[str, Any]]]:
        """For every seed the state_dicts of the optimisers of generator and critic."""
        states = [optimizer.state_dict() for optimizer in self.optimizers]
        if not self.is_stacked:
            return [states]
        split = []
        for index in range(len(self.networks)):
            split.append([split_state(state, index) for state in states])
        return split

    def load_states(self, states: list[list[dict[str, Any]]]) -> None:
        """Continue from what `states` gave, under any mode, of seeds alone or in a stack."""
        for optimizer, per_seed in zip(self.optimizers, zip(*states, strict=True), strict=True):
            state = join_states(list(per_seed)) if self.is_stacked else per_seed[0]
            load_optimizer(optimizer, state)
