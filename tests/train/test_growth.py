"""Networks that grow: the ends of a fade bit for bit, the optimiser's state, resuming in a fade."""

import copy
from collections.abc import Sequence
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest
import torch
from torch.nn.functional import avg_pool2d, interpolate

from benchmark.errors import UserError
from benchmark.matrix.cell import Cell, Choice
from benchmark.matrix.options import Training
from benchmark.matrix.recall import critic_norm
from benchmark.run.cell.samples import load_snapshot, save_generator
from benchmark.store.layout import CellFolder
from benchmark.train.build import make_networks
from benchmark.train.execution import functions, iteration
from benchmark.train.execution.iteration import StackRefused
from benchmark.train.execution.modes import can_compile
from benchmark.train.loop import train, train_stack
from tests.helpers.cells import small_cell
from variants.architectures import build
from variants.architectures.progressive import Growing

GROWTH = [{"share": 0, "size": 4}, {"share": 0.25, "size": 8, "fade": 0.5}]
STEPS = 8  # size 4 in steps 0 and 1, the fade in 2 to 5


def growing_cell(objective: str = "wgan_gp", **training: Any) -> Cell:
    options = {"growth": GROWTH, "steps": STEPS} | training
    cell = small_cell(objective, "images", **options)
    return replace(cell, architecture=Choice("progressive", {"width": 8}), norm="none")


def networks_at(progress: float) -> tuple[Any, Any]:
    """Generator and critic for 16×16 images in three stages; always the same weights."""
    growth = Training.model_validate(
        {
            "steps": 1,
            "growth": [
                {"share": 0, "size": 4},
                {"share": 0.2, "size": 8, "fade": 0.2},
                {"share": 0.6, "size": 16, "fade": 0.2},
            ],
        }
    ).growth
    torch.manual_seed(0)
    G, D = build(Choice("progressive", {"width": 8}), (3, 16, 16), "none", growth=growth)
    for network in (G, D):
        network.at(progress)
    return G, D


# The networks


@pytest.mark.parametrize(("before", "begins", "ends"), [(0.1, 0.2, 0.4), (0.5, 0.6, 0.8)])
def test_a_fade_begins_with_the_smaller_network_and_ends_with_the_larger(
    before: float, begins: float, ends: float
) -> None:
    z, x = torch.randn(5, 128), torch.randn(5, 3, 16, 16).tanh()
    (small, small_critic), (first, first_critic) = networks_at(before), networks_at(begins)
    (last, last_critic), (half, half_critic) = networks_at(ends), networks_at((begins + ends) / 2)
    assert (first.alpha, last.alpha, half.alpha) == (0.0, 1.0, pytest.approx(0.5))
    x = first_critic.shown(x)
    low = interpolate(small(z), scale_factor=2)
    assert torch.equal(first(z), low)
    assert torch.equal(first_critic(x), small_critic(avg_pool2d(x, 2)))
    # Without the smaller size: those layers are not even asked
    for network in (last, last_critic):
        network.images[str(network.sizes[network.level - 1])] = None
    high = last(z)
    assert high.shape == low.shape
    torch.testing.assert_close(half(z), (low + high) / 2)
    assert not torch.equal(low, high)
    assert last_critic(x).shape == half_critic(x).shape == (5,)


def test_growing_changes_no_weight() -> None:
    weights = [network.state_dict() for network in networks_at(0.1)]
    for found, expected in zip(networks_at(1.0), weights, strict=True):
        assert found.state_dict().keys() == expected.keys()
        assert all(torch.equal(found.state_dict()[key], expected[key]) for key in expected)


def test_a_network_that_has_grown_is_one_that_never_grew() -> None:
    """From the same seeds by name, and at the end of its growth with the same numbers."""
    grown = make_networks(growing_cell())
    for network in grown:
        network.at(1.0)
    plain = make_networks(growing_cell(growth=[]))
    z, x = torch.randn(3, 128), torch.randn(3, 1, 8, 8)
    assert torch.equal(grown[0](z), plain[0](z))
    assert torch.equal(grown[1](x), plain[1](x))


def test_real_images_fade_as_generated_ones_do() -> None:
    x = torch.randn(5, 3, 16, 16)
    half_size = avg_pool2d(x, 2)
    small = interpolate(avg_pool2d(half_size, 2), scale_factor=2)
    assert torch.equal(networks_at(0.1)[1].shown(x), avg_pool2d(half_size, 2))
    assert torch.equal(networks_at(0.2)[1].shown(x), small)
    assert torch.equal(networks_at(0.4)[1].shown(x), half_size)
    torch.testing.assert_close(networks_at(0.3)[1].shown(x), (small + half_size) / 2)
    assert networks_at(0.8)[1].shown(x) is x
    G, _ = networks_at(0.0)
    assert torch.equal(G.whole(x[..., :4, :4])[..., ::4, ::4], x[..., :4, :4])


# The training


def described(snapshot: Any) -> str:
    """Row, weights and samples, as text: NaN is NaN."""
    totals = [p.double().sum().item() for p in snapshot.G.parameters()]
    samples = snapshot.sample(20)
    assert samples.shape == (20, 1, 8, 8)
    return repr((snapshot.row, totals, samples.double().mean().item()))


def test_a_training_goes_on_bit_for_bit_within_a_fade() -> None:
    """From before the fade, from its first step and from its middle."""
    cell = growing_cell(critic_steps=1, ema=0.9, instance_noise=0.1)
    whole = []
    states = {}
    for snapshot in train(cell, "cpu"):
        whole.append(described(snapshot))
        states[snapshot.g_steps] = copy.deepcopy(snapshot.state)
    for stop in (1, 2, 4):
        rest = []
        for snapshot in train(cell, "cpu", state=states[stop]):
            rest.append(described(snapshot))
        assert rest == whole[stop:]
    assert len(whole) == STEPS + 1


def test_samples_have_the_size_of_the_stage() -> None:
    for snapshot in train(growing_cell(), "cpu"):
        samples = snapshot.sample(50)
        is_small = torch.equal(
            samples, samples[..., ::2, ::2].repeat_interleave(2, 2).repeat_interleave(2, 3)
        )
        # The fade begins with step 2, from images of size 4
        assert is_small == (snapshot.g_steps <= 2)
        assert snapshot.row is None or snapshot.row["d_loss"] == snapshot.row["d_loss"]


def test_the_optimiser_keeps_its_state_of_old_weights_and_has_none_of_new_ones() -> None:
    counts: dict[int, dict[str, float]] = {}
    for snapshot in train(growing_cell("nonsaturating"), "cpu"):
        assert snapshot.state is not None
        of_generator = snapshot.state.optimizers[0]["state"]
        names = [name for name, _ in snapshot.G.named_parameters()]
        counts[snapshot.g_steps] = {
            names[index]: kept["step"].item() for index, kept in of_generator.items()
        }
    assert counts[2]["first.conv.weight"] == 2
    assert not any(name.startswith(("pairs", "images.8")) for name in counts[2])
    # Of 8 steps the last 6 have the new layers, and 6 the image of the small size
    assert counts[STEPS]["first.conv.weight"] == STEPS
    assert counts[STEPS]["pairs.0.0.conv.weight"] == counts[STEPS]["images.8.weight"] == 6
    assert counts[STEPS]["images.4.weight"] == 6


@pytest.mark.parametrize("objective", ["wgan", "wgan_fdgp", "lsgan"])
def test_other_objectives_grow_as_well(objective: str) -> None:
    *_, last = train(growing_cell(objective), "cpu")
    assert last.onset is None
    assert last.G.alpha == 1


def test_growth_in_bf16_is_that_of_float32_up_to_rounding() -> None:
    losses = []
    for precision in ("float32", "bf16"):
        rows = [
            snapshot.row
            for snapshot in train(growing_cell(critic_steps=1, precision=precision), "cpu")
        ]
        losses.append([row["d_loss"] for row in rows if row])
    assert losses[1] == pytest.approx(losses[0], rel=0.1, abs=0.2)
    assert losses[0] != losses[1]


def trained(
    objective: str = "wgan_gp", seeds: int = 1, states: Sequence[Any] = (), **options: Any
) -> list[Any]:
    """The snapshots of the first seed of a stack after every step, with copies of all states."""
    cells = [growing_cell(objective, critic_steps=2)]
    cells += [replace(cells[0], seed=seed) for seed in range(1, seeds)]
    found = []
    for snapshots in train_stack(cells, "cpu", states, **options):
        first = snapshots[0]
        assert first is not None
        kept = [copy.deepcopy(snapshot.state) for snapshot in snapshots if snapshot]
        found.append((first.row, described(first), kept))
        if first.g_steps == 0:
            assert first.execution.fallback is None
            assert (first.execution.mode, first.execution.stack) == (
                options.get("execution", "eager"),
                seeds,
            )
    return found


def losses_of(snapshots: list[Any]) -> list[float]:
    return [row[name] for row, *_ in snapshots if row for name in ("d_loss", "g_loss")]


def step_counts(snapshots: list[Any]) -> list[list[dict[int, float]]]:
    """How often each weight of generator and critic was stepped, after every iteration; a warm-up
    leaves weights with a state of no steps."""
    found = []
    for _, _, (first, *_) in snapshots:
        counts = []
        for kept in first.optimizers:
            state = kept["state"].items()
            counts.append({index: one["step"].item() for index, one in state if one["step"]})
        found.append(counts)
    return found


def test_a_stack_of_growing_networks_is_its_cells() -> None:
    alone = trained()
    stacked = trained(seeds=3)
    assert losses_of(stacked) == pytest.approx(losses_of(alone), rel=1e-4, abs=1e-5)
    # A weight without part in a form is not stepped: its moments would go on
    assert step_counts(stacked) == step_counts(alone)
    for stop in (1, 4):
        again = trained(seeds=3, states=stacked[stop][2])
        assert [text for _, text, _ in again] == [text for _, text, _ in stacked[stop:]]


def test_a_traced_stack_of_growing_networks_is_its_cells() -> None:
    alone = trained()
    traced = trained(seeds=2, execution="traced")
    assert losses_of(traced) == pytest.approx(losses_of(alone), rel=1e-4, abs=1e-5)
    assert step_counts(traced) == step_counts(alone)
    # From the middle of the fade
    again = trained(seeds=2, states=traced[4][2], execution="traced")
    assert [text for _, text, _ in again] == [text for _, text, _ in traced[4:]]


@pytest.mark.slow
@pytest.mark.skipif(not can_compile(), reason="no C++ compiler")
@pytest.mark.parametrize("objective", ["nonsaturating", "wgan_gp", "wgan_fdgp"])
def test_a_compiled_stack_of_growing_networks_is_its_cells(objective: str) -> None:
    stacked = trained(objective, seeds=2, execution="compiled")
    assert losses_of(stacked) == pytest.approx(losses_of(trained(objective)), rel=1e-4, abs=1e-5)
    # From before the fade, whose functions are made where it begins
    again = trained(objective, seeds=2, states=stacked[1][2], execution="compiled")
    assert [text for _, text, _ in again] == [text for _, text, _ in stacked[1:]]


@pytest.mark.gpu
@pytest.mark.skipif(not torch.cuda.is_available(), reason="no CUDA device")
@pytest.mark.parametrize("execution", ["compiled", "graphed", "compiled_graphed"])
def test_growing_networks_on_cuda(execution: str) -> None:
    """Functions and graphs follow the form."""
    rows = []
    for mode in ("eager", execution):
        *_, last = snapshots = [*train(growing_cell(), "cuda", execution=mode)]
        assert (last.execution.mode, last.execution.fallback) == (mode, None)
        rows.append([snapshot.row["d_loss"] for snapshot in snapshots if snapshot.row])
    assert rows[1] == pytest.approx(rows[0], rel=1e-3, abs=1e-3)


def test_unused_weights_are_those_without_a_gradient() -> None:
    """In every form."""
    forms = set()
    shares = networks_at(0.0)[0].form_shares
    for share in shares:
        G, D = networks_at(share)
        forms.add(G.form)
        D(G(torch.randn(2, 128))).sum().backward()
        for network in (G, D):
            assert network.form == G.form
            without = {name for name, p in network.named_parameters() if p.grad is None}
            assert network.unused == without
    assert len(forms) == len(shares) == 5


def test_wrongly_unused_weights_are_found_before_a_run(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(Growing, "unused", property(lambda network: set()))
    first = next(train(growing_cell(steps=1), "cpu", execution="traced"))
    assert first.execution.mode == "eager"
    assert first.execution.fallback == "traced: other weights of G have gradients"


def test_every_form_is_compared_before_a_run(monkeypatch: pytest.MonkeyPatch) -> None:
    """A stack that is wrong in its last form alone is not taken."""
    usual = functions.over_seeds

    def wrong(made: functions.Functions) -> functions.Functions:
        right = usual(made)
        if right.unused[0]:
            return right
        return right._replace(fakes=lambda *args: 2 * right.fakes(*args))

    monkeypatch.setattr(iteration, "over_seeds", wrong)
    with pytest.raises(StackRefused, match="an iteration gives"):
        trained(seeds=2)


def test_networks_that_do_not_say_their_form_are_trained_eagerly_and_one_by_one(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    usual = Growing.grow

    def grow(network: Any, stages: Any) -> None:
        usual(network, stages)
        del network.form_shares

    monkeypatch.setattr(Growing, "grow", grow)
    cell = growing_cell(steps=1)
    first = next(train(cell, "cpu", execution="compiled"))
    assert first.execution.mode == "eager"
    assert first.execution.fallback == (
        "compiled: networks that change without a form are trained eagerly"
    )
    assert next(train(cell, "cpu")).execution.fallback is None
    with pytest.raises(StackRefused, match="one by one"):
        next(train_stack([cell, replace(cell, seed=1)], "cpu"))


def test_the_weights_that_a_grown_generator_leaves_sample_what_was_measured(
    tmp_path: Path,
) -> None:
    cell = growing_cell(ema=0.5)
    *_, last = train(cell, "cpu")
    save_generator(CellFolder(tmp_path), last)
    samples = load_snapshot(cell, CellFolder(tmp_path), "cpu").sample(100)
    assert torch.equal(samples, last.sample(100))


# Refusals


@pytest.mark.parametrize(
    ("architecture", "sizes", "named"),
    [
        (Choice("dcgan"), (4, 8), "dcgan x digits: dcgan does not grow.+progressive"),
        (Choice("progressive", {"critic": "dcgan"}), (4, 8), "dcgan does not grow"),
        (Choice("progressive"), (4, 16), r"such as \[4, 8\], not \[4, 16\]"),
        (Choice("progressive"), (2, 4), r"up to the image's.+not \[2, 4\]"),
        (Choice("progressive"), (2, 4, 8), r"not \[2, 4, 8\]"),
    ],
)
def test_growth_is_refused_where_it_means_nothing(
    architecture: Choice, sizes: tuple[int, ...], named: str
) -> None:
    stages = [{"share": i / 4, "size": size} for i, size in enumerate(sizes)]
    training = Training.model_validate({"steps": 1, "growth": stages})
    with pytest.raises(UserError, match=named):
        critic_norm(Choice("wgan_gp"), architecture, Choice("digits"), training)
