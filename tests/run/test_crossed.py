"""Crossed seeds: which streams two runs share, in the training, in a stack, and after a cut."""

import functools
from dataclasses import replace

import pytest
import torch

from benchmark.run.cell import record, stack_run
from benchmark.run.cell.cell_run import run_cell
from benchmark.run.stacking import Stacks
from benchmark.store.layout import ResultSet
from benchmark.train.build import make_networks
from benchmark.train.loop import never
from tests.helpers.cells import small_cell
from tests.run.test_resume import numbers, run_whole, same
from tests.run.test_stack_run import same as near
from tests.train.recording import recorded


@functools.cache
def cell(seed, objective="wgan_gp", steps=4):
    return replace(small_cell(objective, seed=seed, steps=steps), is_crossed=True)


def initial(run):
    return [p for network in make_networks(run) for p in network.state_dict().values()]


def test_one_number_is_that_of_the_initial_weights_the_other_that_of_the_steps(monkeypatch):
    for weights, batches, other in ((2, 1, cell(2005)), (2, 1, cell(3001))):
        run = cell(1000 * weights + batches)
        shares_weights = other.seed == 2005
        assert same(initial(run), initial(other)) == shares_weights
        ours, theirs = (recorded(each, monkeypatch, 2)[0] for each in (run, other))
        assert torch.equal(ours.real, theirs.real) != shares_weights
        assert torch.equal(ours.z, theirs.z) != shares_weights


def test_objectives_stay_paired(monkeypatch):
    ours, theirs = cell(2001), cell(2001, "minimax")
    assert same(initial(ours), initial(theirs))
    first, second = (recorded(each, monkeypatch, 2)[0] for each in (ours, theirs))
    assert torch.equal(first.real, second.real)
    assert torch.equal(first.z, second.z)


def test_the_same_number_twice_is_the_training_of_that_seed():
    plain = run_whole(small_cell("wgan_gp", seed=3, steps=4))[1]
    assert same(run_whole(cell(3003))[1].networks, plain.networks)


def test_a_training_cut_off_goes_on_bit_for_bit():
    rows, state = run_whole(cell(2001))
    again, end = run_whole(cell(2001), lambda step: step == 2)
    assert same(rows, again)
    assert same(state.networks, end.networks)


def test_stacks_and_what_fills_them_are_crossed_too():
    cells = [cell(seed) for seed in (2001, 2002, 3001)]
    stack = Stacks(cells, "cpu", "auto", "2", note=print).stack_of(cells[2])
    assert [each.seed for each in stack] == [3001, 3002]
    assert all(each.is_crossed for each in stack)


@pytest.mark.slow
def test_a_stack_has_the_numbers_of_its_cells_alone(tmp_path, monkeypatch):
    monkeypatch.setattr(record, "reference_workload", lambda device: (1.0, None))
    cells = [cell(seed) for seed in (2001, 2002, 3001)]
    folders = [tmp_path / name for name in ("alone", "stacked")]
    for each in cells:
        for _ in run_cell(each, folders[0], "cpu"):
            pass
    for _ in stack_run.run_stack(cells, folders[1], "cpu", never, 60.0, stack=cells):
        pass
    for each in cells:
        alone, stacked = (numbers(ResultSet(of).cell(each.key).path) for of in folders)
        assert {k: near(stacked[k], v) for k, v in alone.items()} == dict.fromkeys(alone, True)
