"""Iterations under every mode, of one seed and of stacks: the numbers of eager ones, or a fallback
with its reason."""

import copy
import math
from contextlib import nullcontext
from dataclasses import replace
from types import SimpleNamespace

import pytest
import torch
from torch import nn
from torch.nn.utils.parametrizations import _SpectralNorm

import variants
from benchmark.train.build import make_networks, make_objective
from benchmark.train.execution import ahead, functions, matmul_pass
from benchmark.train.execution.cuda_graph import Graph, undone
from benchmark.train.execution.functions import _apply
from benchmark.train.execution.iteration import Iteration, StackRefused
from benchmark.train.execution.modes import can_compile
from benchmark.train.execution.stack import Stack
from benchmark.train.inputs import Inputs
from benchmark.train.loop import train, train_stack
from benchmark.train.optimizers import load_optimizer, make_optimizer
from benchmark.train.step import generate
from tests.helpers.cells import FORMS, PLACES, small_cell
from variants.architectures import BatchNorm, SpectralNorm, mlp
from variants.objectives import Recipe, differentiate

TOLERANCE = {"rel": 1e-4, "abs": 1e-4}  # of losses over 10 generator steps in float32
# A relativistic loss does not see the last bias of a critic, whose gradient is a rounding error:
# Adam makes a step of the rate of it
OF_FORMS = {"rel": 1e-3, "abs": 1e-3}
LOSSES = ("d_loss", "g_loss")
needs_compiler = pytest.mark.skipif(not can_compile(), reason="there is no C++ compiler")
on_cuda = pytest.mark.skipif(not torch.cuda.is_available(), reason="no CUDA device")


def rows(cell, device="cpu", **options):
    snapshots = list(train(cell, device, **options))
    return [snapshot.row for snapshot in snapshots if snapshot.row], snapshots[-1]


def stacked_rows(cells, device="cpu", states=(), **options):
    found = [[] for _ in cells]
    for snapshots in train_stack(cells, device, states, **options):
        for own, snapshot in zip(found, snapshots, strict=True):
            own.append(snapshot)
    return found


def seeds(name, place, n=3, **options):
    return [small_cell(name, place, seed=seed, **options) for seed in range(n)]


def exactly(rows):
    return [[*map(repr, row.items())] for row in rows]  # NaN is NaN


def assert_same(found, expected, names=LOSSES, **tolerance):
    for name in names:
        got, wanted = ([row[name] for row in each] for each in (found, expected))
        assert got == pytest.approx(wanted, **(tolerance or TOLERANCE)), name


def inputs(S=(), steps=2, batch=8, latent_dim=2):
    generator = torch.Generator().manual_seed(0)

    def draw(*shape):
        return torch.randn(*S, *shape, generator=generator)

    draws = []
    for _ in range(steps + 1):
        draws.append(Inputs(draw(batch, 2), draw(batch, latent_dim), (draw(batch).sigmoid(),)))
    return draws


# Compiled


@needs_compiler
@pytest.mark.slow
@pytest.mark.parametrize("place", PLACES)
@pytest.mark.parametrize("name", variants.names("objectives"))
def test_compiled_is_eager(name, place):
    cell = small_cell(name, place, steps=10)
    eager, _ = rows(cell)
    found, last = rows(cell, execution="compiled")
    assert (last.execution.mode, last.execution.fallback) == ("compiled", None)
    assert last.execution.fakes_at_once
    assert last.counters.compile_seconds > 0
    assert_same(found, eager)
    assert_same(found, eager, ("d_grad_norm", "g_grad_norm", "slope"), rel=1e-3, abs=1e-3)


@needs_compiler
@pytest.mark.slow
@pytest.mark.parametrize(("name", "params"), FORMS, ids=str)
def test_a_compiled_form_is_the_eager_one(name, params):
    cells = seeds(name, "points", steps=10, params=params)
    stack = stacked_rows(cells, execution="compiled")
    for cell, own in zip(cells, stack, strict=True):
        assert (own[-1].execution.mode, own[-1].execution.fallback) == ("compiled", None)
        assert_same([snapshot.row for snapshot in own if snapshot.row], rows(cell)[0], **OF_FORMS)


@needs_compiler
@pytest.mark.slow
@pytest.mark.parametrize(
    ("name", "place"), [("nonsaturating", "images"), ("wgan_gp", "points")], ids=str
)
def test_a_compiled_stack_is_its_cells_trained_eagerly(name, place):
    """What the quick matrix trains by default."""
    cells = seeds(name, place, steps=20)
    stack = stacked_rows(cells, execution="compiled")
    for cell, own in zip(cells, stack, strict=True):
        execution = own[-1].execution
        assert (execution.mode, execution.stack, execution.fallback) == ("compiled", 3, None)
        assert_same([snapshot.row for snapshot in own if snapshot.row], rows(cell)[0])


@needs_compiler
@pytest.mark.slow
def test_compiled_bf16_is_eager_bf16():
    cell = small_cell("wgan_gp", "images", steps=10, precision="bf16")
    assert_same(rows(cell, execution="compiled")[0], rows(cell)[0], rel=0.05, abs=0.05)


@needs_compiler
def test_products_of_a_compiled_function(monkeypatch):
    """The larger ones go to oneDNN, those of a batch with one factor become one, and the numbers
    are the same."""
    seen = []
    before = matmul_pass.MatmulPass.__call__

    def recording(self, graph):
        before(self, graph)
        seen.extend(graph.nodes)

    monkeypatch.setattr(matmul_pass, "MIN_MULTIPLICATIONS", 1000)
    # Not from torch's cache
    monkeypatch.setattr(matmul_pass.MatmulPass, "uuid", lambda self: None)
    monkeypatch.setattr(matmul_pass.MatmulPass, "__call__", recording)
    torch._dynamo.reset()

    def three(x, large, small, bias, batch):
        shared = torch.func.vmap(lambda x: (x.mT @ large).relu())(batch)
        return torch.addmm(bias, x, large) @ small, shared

    options = {"post_grad_custom_post_pass": matmul_pass.MatmulPass(True)}
    compiled = torch.compile(three, dynamic=False, options=options)
    shapes = ((32, 16), (16, 24), (24, 1), (24,), (3, 16, 8))
    given = [torch.randn(*shape) for shape in shapes]
    for found, expected in zip(compiled(*given), three(*given), strict=True):
        torch.testing.assert_close(found, expected)
    assert sum(node.target is torch.ops.ganbench.product.default for node in seen) == 2
    assert not any(node.target is torch.ops.aten.bmm.default for node in seen)


def onednn_products(call):
    """How many products oneDNN computes in a call."""
    with torch.profiler.profile(activities=[torch.profiler.ProfilerActivity.CPU]) as profile:
        call()
    return sum(event.name == "mkldnn::_linear_pointwise" for event in profile.events())


def test_onednn_gets_dense_factors_only():
    """Of others, such as one number expanded, oneDNN would take a reference kernel."""
    a, bias = torch.randn(32, 16), torch.randn(24)
    dense, wide = torch.randn(16, 24), torch.randn(16, 48)
    for b in (dense, torch.randn(24, 16).t()):
        assert onednn_products(lambda b=b: matmul_pass.product(a, b)) == 1
    others = (torch.ones(1, 1).expand(16, 24), torch.ones(24).expand(16, 24), wide[:, ::2])
    for b in (*others, wide[:, :24], torch.ones(16, 1).expand(16, 24)):
        assert onednn_products(lambda b=b: matmul_pass.product(a, b)) == 0
        torch.testing.assert_close(matmul_pass.product(a, b), a @ b)
        torch.testing.assert_close(matmul_pass.product(a, b, bias), a @ b + bias)


@pytest.mark.parametrize("kept", [b"True", b"False", b"damaged", b"\xff\xfe", b"", None])
def test_whether_onednn_pays_is_measured_once_on_a_machine(kept, monkeypatch, tmp_path):
    """Workers and runs would measure different answers, and compute different last digits."""
    monkeypatch.setenv("GANBENCH_CACHE", str(tmp_path))
    answers = iter([True, False])
    monkeypatch.setattr(matmul_pass, "_is_quicker", lambda: next(answers))
    ask = matmul_pass.onednn_pays.__wrapped__
    if kept is not None:
        ask()
        (file,) = tmp_path.glob("*/*")
        file.write_bytes(kept)
        answers = iter([True, False])
    assert [ask(), ask()] == [kept != b"False"] * 2
    assert len([*tmp_path.glob("*/*")]) == 1


def test_two_processes_that_measure_at_a_time_take_the_same_answer(monkeypatch, tmp_path):
    monkeypatch.setenv("GANBENCH_CACHE", str(tmp_path))
    ask = matmul_pass.onednn_pays.__wrapped__

    def slow():
        monkeypatch.setattr(matmul_pass, "_is_quicker", lambda: False)
        assert not ask()  # of the other one, which is done first
        return True

    monkeypatch.setattr(matmul_pass, "_is_quicker", slow)
    assert not ask()


def test_a_cache_that_cannot_be_written_leaves_the_choice_of_products(monkeypatch, tmp_path):
    (tmp_path / "file").touch()
    monkeypatch.setenv("GANBENCH_CACHE", str(tmp_path / "file" / "below"))
    monkeypatch.setattr(matmul_pass, "_is_quicker", lambda: True)
    assert matmul_pass.onednn_pays.__wrapped__()


@needs_compiler
def test_a_zero_tangent_stays_with_torch(monkeypatch):
    """jvp along x multiplies x by the tangent of the weight, one zero expanded."""
    monkeypatch.setattr(matmul_pass, "MIN_MULTIPLICATIONS", 1000)
    torch._dynamo.reset()
    zero = torch.zeros(1, 1)

    def tangent(x, u, weight):
        tangents = (u, zero.expand(16, 24))
        return torch.func.jvp(lambda x, weight: x @ weight, (x, weight), tangents)[1]

    options = {"post_grad_custom_post_pass": matmul_pass.MatmulPass(True)}
    compiled = torch.compile(tangent, dynamic=False, options=options)
    given = [torch.randn(*shape) for shape in ((32, 16), (32, 16), (16, 24))]
    torch.testing.assert_close(compiled(*given), given[1] @ given[2])
    assert onednn_products(lambda: compiled(*given)) == 1


def test_what_cannot_be_compiled_runs_eagerly_and_says_why(monkeypatch):
    def broken(*args):
        raise RuntimeError("no such\ncompiler")

    monkeypatch.setattr(ahead, "traced", broken)
    cell = small_cell("wgan_gp", steps=3)
    found, last = rows(cell, execution="compiled")
    assert last.execution.mode == "eager"
    assert last.execution.fallback == "compiled: RuntimeError: no such compiler"
    assert exactly(found) == exactly(rows(cell)[0])  # bit for bit: nothing is left of the attempt


def test_a_mode_with_other_numbers_is_not_taken(monkeypatch):
    """Planted: compiling loses the sign of the gradients, whose norms stay."""

    def wrong(function, options):
        def call(*args):
            found = function(*args)
            if not isinstance(found, tuple):
                return found
            gradients, row = found
            return {name: -gradient for name, gradient in gradients.items()}, row

        return call

    monkeypatch.setattr(functions, "Ahead", wrong)
    cell = small_cell("wgan_gp", steps=3)
    found, last = rows(cell, execution="compiled")
    assert last.execution.mode == "eager"
    assert "the gradient of G is off by 2 of an eager one's norm" in last.execution.fallback
    assert exactly(found) == exactly(rows(cell)[0])


def test_a_graph_without_cuda_is_eager():
    cell = small_cell(steps=2)
    found, last = rows(cell, execution="graphed")
    assert last.execution.mode == "eager"
    assert last.execution.fallback == "graphed: there is no CUDA graph without a CUDA device"
    assert exactly(found) == exactly(rows(cell)[0])


# Traced


@pytest.mark.parametrize(
    ("name", "place", "params"),
    [
        *((name, place, {}) for name in ("wgan_gp", "wgan_fdgp") for place in PLACES),
        ("nonsaturating", "images", {}),  # batch norm
        ("hinge", "images", {}),  # spectral norm
        ("wgan_gp", "images", {"method": "jvp"}),
    ],
)
def test_a_traced_stack_is_its_cells(name, place, params):
    cells = seeds(name, place, steps=10, ema=0.5, params=params)
    stack = stacked_rows(cells, execution="traced")
    for cell, own in zip(cells, stack, strict=True):
        execution = own[-1].execution
        assert (execution.mode, execution.stack, execution.fallback) == ("traced", 3, None)
        alone, last = rows(cell)
        assert_same([snapshot.row for snapshot in own if snapshot.row], alone)
        for found, expected in ((own[-1].G, last.G), (own[-1].D, last.D)):
            buffers = dict(expected.named_buffers())
            for key, value in found.named_buffers():
                torch.testing.assert_close(value, buffers[key], rtol=1e-2, atol=1e-3)


def test_a_traced_cell_is_the_eager_one_and_goes_on_bit_for_bit():
    cell = small_cell("wgan_gp", "images", steps=6)
    found, last = rows(cell, execution="traced")
    assert (last.execution.mode, last.execution.fallback) == ("traced", None)
    assert last.execution.label == "traced"
    assert last.counters.compile_seconds > 0
    assert_same(found, rows(cell)[0])
    (half,) = stop_after([cell], 3, "traced")
    assert exactly(rows(cell, state=half, execution="traced")[0][1:]) == exactly(found[3:])


def test_traced_bf16_is_eager_bf16():
    cell = small_cell("wgan_gp", "images", steps=10, precision="bf16")
    assert_same(rows(cell, execution="traced")[0], rows(cell)[0], rel=0.05, abs=0.05)


# Stacks


@pytest.mark.parametrize("place", PLACES)
@pytest.mark.parametrize("name", variants.names("objectives"))
def test_a_stack_is_its_cells(name, place):
    """Also under a decaying rate, a moving average and a larger generator batch."""
    options = {"lr_decay": "linear", "ema": 0.5, "generator_batch_multiple": 2}
    cells = seeds(name, place, steps=10, **options)
    stack = stacked_rows(cells)
    for cell, own in zip(cells, stack, strict=True):
        alone, last = rows(cell)
        found = [snapshot.row for snapshot in own if snapshot.row]
        assert_same(found, alone)
        assert_same(found, alone, ("d_grad_norm", "slope", "d_loss_holdout"), rel=1e-3, abs=1e-3)
        assert own[-1].execution.stack == 3
        assert own[-1].layers["D"].keys() == last.layers["D"].keys()
        assert [*own[-1].layers["D"].values()] == pytest.approx(
            [*last.layers["D"].values()], rel=1e-2, abs=1e-3
        )
        same = (own[-1].sample(50).float() - last.sample(50).float()).abs()
        assert same.max() <= (1 if place == "images" else 1e-3)


@pytest.mark.parametrize(("name", "params"), FORMS, ids=str)
def test_a_stack_of_a_form_is_its_cells(name, params):
    cells = seeds(name, "points", steps=10, params=params)
    for cell, own in zip(cells, stacked_rows(cells), strict=True):
        assert_same([snapshot.row for snapshot in own if snapshot.row], rows(cell)[0], **OF_FORMS)


def test_cells_of_a_stack_go_on_in_any_company():
    """From the states after 4 of 8 steps: as a stack bit for bit, alone and in another stack to
    float tolerance."""
    cells = seeds("wgan_gp", "images", steps=8)
    whole = [[snapshot.row for snapshot in own if snapshot.row] for own in stacked_rows(cells)]
    half = stop_after(cells, 4)
    again = stacked_rows(cells, states=copy.deepcopy(half))
    for own, expected in zip(again, whole, strict=True):
        assert exactly(snapshot.row for snapshot in own[1:]) == exactly(expected[4:])
    alone, _ = rows(cells[1], state=copy.deepcopy(half[1]))
    assert_same(alone[1:], whole[1][4:])
    pair = stacked_rows([cells[2], cells[0]], states=copy.deepcopy([half[2], half[0]]))
    assert_same([snapshot.row for snapshot in pair[0][1:]], whole[2][4:])


@pytest.mark.parametrize(
    ("name", "place", "execution"),
    [
        *((name, "points", "eager") for name in ("wgan_gp", "wgan_fdgp", "nonsaturating", "wgan")),
        *((name, "images", "eager") for name in ("wgan_gp", "wgan_fdgp", "nonsaturating", "wgan")),
        ("wgan_gp", "text", "eager"),
        pytest.param("wgan_gp", "points", "traced", marks=pytest.mark.slow),
        pytest.param("wgan_gp", "points", "compiled", marks=[needs_compiler, pytest.mark.slow]),
    ],
)
def test_a_cell_of_a_stack_is_bit_for_bit_the_same_with_any_idle(name, place, execution):
    """From the start, and from the states after 4 of 6 steps."""
    cells = seeds(name, place, steps=6, ema=0.5)
    whole = [
        [snapshot.row for snapshot in own if snapshot.row]
        for own in stacked_rows(cells, execution=execution)
    ]
    half = stop_after(cells, 4, execution)
    for live in ([1], [0, 2]):
        idle = {cell.key for index, cell in enumerate(cells) if index not in live}
        states = [copy.deepcopy(half[index]) if index in live else None for index in range(3)]
        start = stacked_rows(cells, idle=idle, execution=execution)
        rest = stacked_rows(cells, states=states, idle=idle, execution=execution)
        for index in range(3):
            if index not in live:
                assert not any(start[index] + rest[index])
                continue
            found = [snapshot.row for snapshot in start[index] if snapshot.row]
            assert exactly(found) == exactly(whole[index])
            assert exactly(snapshot.row for snapshot in rest[index][1:]) == exactly(
                whole[index][4:]
            )


def stop_after(cells, steps, execution="auto"):
    training = train_stack(cells, "cpu", execution=execution)
    for snapshots in training:
        if snapshots[0].g_steps == steps:
            # As checkpoints are: each by itself
            states = [copy.deepcopy(snapshot.state) for snapshot in snapshots]
            training.close()
            return states
    raise AssertionError


def test_divergence_of_one_seed_is_its_own():
    cells = seeds("nonsaturating", "points", steps=8)
    states = stop_after(cells, 4)
    for weight in states[1].networks["critic"].values():
        weight.fill_(math.nan)
    found = stacked_rows(cells, states=states)
    assert [snapshot.onset for snapshot in found[1][:2]] == [None, 5]
    assert found[1][2:] == [None] * 3
    for index in (0, 2):
        alone, _ = rows(cells[index])
        assert_same([snapshot.row for snapshot in found[index][1:]], alone[4:])


def test_clocks_of_a_stack_are_shared():
    snapshots = [own[-1] for own in stacked_rows(seeds("wgan", "points", steps=3))]
    assert len({snapshot.train_seconds for snapshot in snapshots}) == 1
    assert all(0 < snapshot.train_seconds < 10 for snapshot in snapshots)


def test_what_cannot_be_stacked_is_refused(monkeypatch):
    timed = [
        replace(cell, training=cell.training.replaced(steps=None, seconds=1.0))
        for cell in seeds("wgan", "points")
    ]
    with pytest.raises(StackRefused, match="seconds"):
        stacked_rows(timed)
    with monkeypatch.context() as patch:
        # It divides into a vector, which vmap does not follow
        patch.setattr(SpectralNorm, "_power_method", _SpectralNorm._power_method)
        with pytest.raises(StackRefused, match="RuntimeError"):
            stacked_rows(seeds("hinge", "points", steps=2))
    forward = mlp.Discriminator.forward

    def with_dropout(self, x):
        return forward(self, nn.functional.dropout(x, 0.1))

    monkeypatch.setattr(mlp.Discriminator, "forward", with_dropout)
    # The seeds would not draw what they draw alone
    with pytest.raises(StackRefused, match="random"):
        stacked_rows(seeds("wgan", "points", steps=2))


def test_networks_of_a_stack_are_views_of_it():
    networks = [nn.Sequential(nn.Linear(2, 3), BatchNorm(3)) for _ in range(2)]
    before = [
        {name: value.clone() for name, value in network.state_dict().items()}
        for network in networks
    ]
    stack = Stack(networks)
    for network, values in zip(networks, before, strict=True):
        assert all(torch.equal(network.state_dict()[name], value) for name, value in values.items())
    with torch.no_grad():
        for tensor in (*stack.parameters(), *(buffer for _, buffer in stack.named_buffers())):
            tensor.add_(1)
    for network, values in zip(networks, before, strict=True):
        assert all(
            torch.equal(network.state_dict()[name], value + 1) for name, value in values.items()
        )


def test_fakes_at_once_are_those_of_every_batch():
    """Batch norm normalises each batch by itself, and its moving averages stay."""
    cell = small_cell("wgan_gp", "images")
    G, _ = make_networks(cell)
    # Batches unlike one another
    z = torch.randn(5, 16, G.latent_dim) * torch.arange(1, 6).view(5, 1, 1)
    tensors = dict(G.named_parameters()), dict(G.named_buffers())
    before = [buffer.clone() for buffer in tensors[1].values()]
    of_batch = generate(G, "float32", at_once=False)
    together = generate(G, "float32", at_once=True)(*tensors, z)
    one_by_one = torch.stack([of_batch(*tensors, batch) for batch in z])
    torch.testing.assert_close(together, one_by_one, rtol=1e-4, atol=1e-5)
    assert all(map(torch.equal, tensors[1].values(), before))
    as_one_batch = of_batch(*tensors, z.flatten(0, 1))[:16]
    assert (together[0] - as_one_batch).abs().max() > 1e-2


# Parts


@pytest.mark.parametrize("kind", ["loop", "fused"])
def test_a_gradient_may_lie_in_memory_in_another_order_than_its_parameter(kind):
    """A fused optimiser reads the memory of a gradient in the order of its parameter's."""
    stepped = []
    for transposed in (False, True):
        torch.manual_seed(0)
        network = nn.Linear(3, 4, bias=False)
        optimizer = make_optimizer(Recipe("adam", lr=0.1), network, kind)
        gradient = torch.randn(4, 3, generator=torch.Generator().manual_seed(1))
        if transposed:
            gradient = gradient.t().contiguous().t()
        _apply({"weight": gradient}, network, optimizer)
        stepped.append(network.weight.detach())
    assert torch.equal(*stepped)


@pytest.mark.parametrize(
    "recipe",
    [
        Recipe("adam", 1e-3),
        Recipe("optimistic_adam", 1e-3),
        Recipe("rmsprop", 1e-3),
        Recipe("rmsprop_tf", 1e-3),
        Recipe("sgd", 1e-3),
    ],
)
def test_optimisers_of_all_kinds_go_on_from_one_another(recipe):
    def step(network, optimizer, times):
        for i in range(times):
            optimizer.zero_grad()
            (network(torch.full((4, 3), 1.0 + i)) ** 2).sum().backward()
            optimizer.step()

    torch.manual_seed(0)
    networks = [nn.Linear(3, 2)]
    networks += [copy.deepcopy(networks[0]) for _ in range(2)]
    whole = make_optimizer(recipe, networks[0])
    step(networks[0], whole, 6)
    for network, kinds in zip(networks[1:], (("loop", "fused"), ("fused", "loop")), strict=True):
        first, second = (make_optimizer(recipe, network, kind) for kind in kinds)
        step(network, first, 6)
        network.load_state_dict(networks[0].state_dict())
        load_optimizer(second, copy.deepcopy(first.state_dict()))
        fresh = make_optimizer(recipe, network, kinds[1])
        assert second.param_groups[0].get("fused") == fresh.param_groups[0].get("fused")
        other = copy.deepcopy(networks[0])
        continued = make_optimizer(recipe, other)
        load_optimizer(continued, copy.deepcopy(whole.state_dict()))
        step(network, second, 3)
        step(other, continued, 3)
        torch.testing.assert_close(network.weight, other.weight, rtol=1e-5, atol=1e-7)


@pytest.mark.parametrize("begun", [False, True])
def test_undone_leaves_nothing(begun):
    cell = small_cell("wgan_gp", "points")
    objective, (G, D) = make_objective(cell.objective), make_networks(cell)
    iteration = Iteration(objective, [(G, D)], objective.recipe)
    if begun:
        iteration(inputs())
    before = copy.deepcopy([G.state_dict(), D.state_dict()])
    with undone(iteration.trained, iteration.optimizers):
        iteration(inputs())
    for network, values in zip((G, D), before, strict=True):
        assert all(torch.equal(network.state_dict()[name], value) for name, value in values.items())
    other = [copy.deepcopy(network) for network in (G, D)]
    fresh = Iteration(objective, [tuple(other)], objective.recipe)
    if begun:
        fresh.load_states(copy.deepcopy(iteration.states()))
    assert torch.equal(iteration(inputs()), fresh(inputs()))


def test_a_graph_is_fed_new_inputs_and_leaves_the_networks_as_they_were(monkeypatch):
    """With a stand-in for CUDA that replays by running again; what is real is tested on a GPU."""
    cell = small_cell("wgan_gp", "points")
    objective, networks = make_objective(cell.objective), make_networks(cell)
    eager = Iteration(objective, [copy.deepcopy(networks)], objective.recipe)
    iteration = Iteration(objective, [networks], objective.recipe)
    before = copy.deepcopy(networks[1].state_dict())

    class Replayed:
        def replay(self):
            graph.row.copy_(iteration._iterate(graph.static))

    waiting = SimpleNamespace(wait_stream=lambda other: None)
    nothing = lambda device: None  # noqa: E731
    stand_ins = {
        "Stream": lambda device: waiting,
        "current_stream": lambda device: waiting,
        "CUDAGraph": Replayed,
        "stream": lambda stream: nullcontext(),
        "graph": lambda graph, **options: nullcontext(),
        "synchronize": nothing,
        "set_stream": nothing,
        "reset_peak_memory_stats": nothing,
        "memory_allocated": lambda device: 0,
        "max_memory_allocated": lambda device: 0,
    }
    for name, stand_in in stand_ins.items():
        monkeypatch.setattr(torch.cuda, name, stand_in)
    graph = Graph(iteration._iterate, inputs(), iteration.trained, iteration.optimizers)
    assert all(torch.equal(networks[1].state_dict()[name], value) for name, value in before.items())
    for factor in (1.0, 2.0, 3.0):
        given = [Inputs(real * factor, z, noise) for real, z, noise in inputs()]
        assert torch.equal(graph(given), eager(given))


def test_derivatives_under_vmap_are_those_of_autograd():
    D = nn.Sequential(nn.Linear(3, 4), nn.Tanh(), nn.Linear(4, 1), nn.Flatten(0))
    x = torch.randn(2, 5, 3)
    scores, slopes = torch.func.vmap(lambda x: differentiate(D, x, create_graph=True))(x)
    for i in range(2):
        expected, slope = differentiate(D, x[i], create_graph=True)
        torch.testing.assert_close(scores[i], expected)
        torch.testing.assert_close(slopes[i], slope)
    found = torch.autograd.grad(slopes.square().sum(), list(D.parameters())[:3])
    wanted = torch.autograd.grad(
        differentiate(D, x.flatten(0, 1), True)[1].square().sum(), list(D.parameters())[:3]
    )
    for a, b in zip(found, wanted, strict=True):
        torch.testing.assert_close(a, b)


# CUDA


@pytest.mark.gpu
@on_cuda
@pytest.mark.parametrize("mode", ["compiled", "graphed", "compiled_graphed"])
@pytest.mark.parametrize("place", PLACES)
@pytest.mark.parametrize("name", variants.names("objectives"))
def test_modes_agree_on_cuda(name, place, mode):
    cell = small_cell(name, place, steps=10, lr_decay="linear", ema=0.5)
    eager, _ = rows(cell, "cuda", execution="eager")
    found, last = rows(cell, "cuda", execution=mode)
    assert (last.execution.mode, last.execution.fallback) == (mode, None)
    assert_same(found, eager, rel=1e-3, abs=1e-3)


@pytest.mark.gpu
@on_cuda
def test_graphs_follow_the_number_of_critic_steps():
    cell = small_cell("wgan", steps=3, params={"long_critic_phases": True})
    assert_same(
        rows(cell, "cuda", execution="graphed")[0], rows(cell, "cuda", execution="eager")[0]
    )


@pytest.mark.gpu
@on_cuda
@pytest.mark.parametrize("mode", ["eager", "graphed"])
def test_a_stack_is_its_cells_on_cuda(mode):
    cells = seeds("wgan_gp", "points", steps=10)
    for cell, own in zip(cells, stacked_rows(cells, "cuda", execution=mode), strict=True):
        assert own[-1].execution.mode == mode
        assert_same(
            [snapshot.row for snapshot in own if snapshot.row],
            rows(cell, "cuda", execution="eager")[0],
        )
