"""Search: which configurations there are, which cells they are, and what follows from results."""

import itertools
import math
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest

import variants
from benchmark.errors import UserError
from benchmark.matrix import files
from benchmark.matrix.cell import stream_seed
from benchmark.matrix.expand import Expanded, expanded
from benchmark.matrix.options import Matrix
from benchmark.matrix.search import tpe
from benchmark.matrix.search.draws import drawn, random_point, value_of
from benchmark.matrix.search.part import Rung
from benchmark.matrix.search.pick import pick
from benchmark.matrix.search.rungs import Reached, decide
from benchmark.matrix.search.space import SHARED
from benchmark.matrix.values import classes
from variants._ranges import Log, OneOf, Uniform

NAMES = ("minimax", "wgan", "wgan_gp", "r1")
WITH_NORM = 'architectures = [{ name = "dcgan", width = 8 }]'
IMAGES = 'datasets = ["digits"]'
Values = dict[int, dict[str, Any]]


@pytest.fixture
def searched(matrix_file: Callable[..., Path]) -> Callable[..., Matrix]:
    """A tiny matrix that searches objectives."""

    def read(num: int, *names: str, search: str = "final_seeds = 2", **parts: str) -> Matrix:
        values = ", ".join(f'{{ name = "{name}", search = {num} }}' for name in names or NAMES)
        parts = {"objectives": f"objectives = [{values}]", "rules": f"[search]\n{search}"} | parts
        return files.read(matrix_file(**parts)).matrix

    return read


def values_of(found: Expanded, objective: str, phase: str = "pool") -> Values:
    """Configuration → its values."""
    parts = [part for part in found.parts.values() if part.objective == objective]
    return {part.configuration: part.values for part in parts if part.phase == phase}


def reached(found: Expanded, value: Callable[[int], float]) -> dict[str, Reached]:
    """What every cell of the pools reached, by its configuration."""
    parts = found.parts.items()
    return {key: Reached(value(part.configuration)) for key, part in parts if part.phase == "pool"}


def test_a_search_is_a_pool_and_the_default_on_other_seeds(searched):
    found = expanded(searched(5, "wgan_gp"))
    phases = [(found.parts[cell.key].phase, cell.seed) for cell in found.cells]
    assert phases == [("pool", 0)] * 5 + [("final", 1000), ("final", 1001)]
    default = [cell for cell in found.cells if found.parts[cell.key].configuration == 0]
    assert {cell.objective.label for cell in default} == {"wgan_gp"}
    published = {"lr": 1e-4, "beta1": 0.0, "critic_steps": 5, "penalty_weight": 10.0}
    assert values_of(found, "wgan_gp")[0] == published
    assert {found.parts[cell.key].of for cell in found.cells} == {5}


def test_a_cell_trains_with_the_values_of_its_configuration(searched):
    found = expanded(searched(8, "wgan_gp", "minimax"))
    for cell in found.cells:
        values = found.parts[cell.key].values
        params = cell.objective.params
        assert params.get("lr", values["lr"]) == values["lr"]
        published = {"wgan_gp": [0.0, 0.9], "minimax": [0.5, 0.999]}[cell.objective.name]
        assert params.get("betas", published) == [values["beta1"], published[1]]
        own = {"wgan_gp": 10.0}.get(cell.objective.name)
        assert params.get("penalty_weight", own) == values.get("penalty_weight")


@pytest.mark.parametrize("sampler", ["random", "sobol"])
def test_all_objectives_have_the_same_values_of_what_they_share(sampler, searched):
    found = expanded(searched(16, search=f'sampler = "{sampler}"'))
    of_minimax = values_of(found, "minimax")
    for name in NAMES[1:]:
        for number, values in values_of(found, name).items():
            shared = SHARED.keys() & values.keys() & of_minimax[number].keys()
            assert {"lr", "critic_steps"} <= shared
            if number:
                assert [values[key] for key in shared] == [
                    of_minimax[number][key] for key in shared
                ]


@pytest.mark.parametrize("sampler", ["random", "sobol", "tpe"])
@pytest.mark.parametrize("ranges", ["wide", "narrow"])
def test_a_larger_search_begins_with_the_smaller(sampler, ranges, searched):
    pytest.importorskip("optuna")
    options = f'sampler = "{sampler}"\nranges = "{ranges}"'
    sizes = (8, 14) if sampler == "tpe" else (16, 32)
    small, large = (searched(num, "wgan_gp", search=options) for num in sizes)
    found = [grown(matrix, lambda number: number % 7) for matrix in (small, large)]
    first, second = (values_of(each, "wgan_gp") for each in found)
    assert (len(first), len(second)) == sizes
    assert first == {number: second[number] for number in range(sizes[0])}
    keys = [{cell.key for cell in each.cells if cell.seed == 0} for each in found]
    assert keys[0] < keys[1]


def grown(matrix: Matrix, value: Callable[[int], float]) -> Expanded:
    """A matrix once all that follows from its results has run."""
    found = expanded(matrix)
    while True:
        more = expanded(matrix, "", reached(found, value))
        if more.cells == found.cells:
            return found
        found = more


@pytest.mark.parametrize("ranges", ["wide", "narrow"])
def test_values_are_of_few_digits_different_and_in_their_ranges(ranges, searched):
    matrix = searched(64, search=f'ranges = "{ranges}"')
    found = expanded(matrix)
    index = 0 if ranges == "wide" else 1
    limits = {"lr": SHARED["lr"][index]}
    limits["penalty_weight"] = Log(0.1, 100.0) if ranges == "wide" else Log(0.1, 10.0)
    for key, limit in limits.items():
        values = [each[key] for each in values_of(found, "wgan_gp").values()][1:]
        assert len(set(values)) == 63
        assert all(limit.low <= value <= limit.high for value in values)
        assert all(len(f"{value:.15g}".split("e")[0].strip("0.")) <= 6 for value in values)
    betas = [each["beta1"] for each in values_of(found, "wgan_gp").values()][1:]
    assert (set(betas) == {0.5}) == (ranges == "narrow")


def test_draws_are_uniform_and_independent_of_other_parameters():
    point = random_point(0)
    many = [point("lr", number) for number in range(1, 4001)]
    assert abs(sum(many) / len(many) - 0.5) < 3 / math.sqrt(12 * 4000)
    shares = [sum(lower <= u < lower + 0.25 for u in many) for lower in (0, 0.25, 0.5, 0.75)]
    assert max(abs(count - 1000) for count in shares) < 4 * math.sqrt(750)
    assert point("lr", 7) == random_point(0)("lr", 7) != random_point(1)("lr", 7)
    assert point("lr", 7) != point("beta1", 7)


def test_values_at_the_ends_of_their_ranges():
    assert Log(1e-4, 1e-2).at(0.5) == pytest.approx(1e-3)
    assert Uniform(2.0, 4.0).at(0.25) == 2.5
    assert [OneOf((1, 5)).at(u) for u in (0.0, 0.49, 0.5, 0.999)] == [1, 1, 5, 5]
    assert value_of(Log(1.0, 9.0), 3.00012345, False, []) == 3.0001
    assert value_of(Log(1.0, 9.0), 3.2167, False, [3.22]) == 3.217
    assert value_of(Uniform(0.0, 0.999), 0.99999, False, []) == 0.999
    assert value_of(Uniform(1.0, 9.0), 4.6, True, [5]) == 5
    assert drawn("k", OneOf(("a",)), random_point(0), 3, False) == ["a"] * 3


def test_a_pick_is_the_best_and_the_smallest_of_equal_ones():
    assert pick({0: [3.0], 1: [1.0], 2: [1.0]}) == 1
    assert pick({0: [math.inf], 1: [math.nan], 2: [math.inf]}) == 0
    assert pick({0: [1.0, math.inf], 1: [9.0, 9.0]}) == 1
    assert pick({0: [2.0, 4.0], 1: [1.0, 4.5]}) == 1


def test_the_pick_runs_on_the_final_seeds_once_its_pool_is_settled(searched):
    matrix = searched(4, "wgan", "wgan_gp")
    first = expanded(matrix)
    ends = reached(first, lambda number: abs(number - 2))
    of_wgan = {key: end for key, end in ends.items() if first.parts[key].objective == "wgan"}
    missing = dict([*of_wgan.items()][1:])
    assert expanded(matrix, "", missing).cells == first.cells
    now = expanded(matrix, "", of_wgan)
    new = [cell for cell in now.cells if cell.key not in first.parts]
    picked = [(now.parts[cell.key].configuration, cell.seed) for cell in new]
    assert picked == [(2, 1000), (2, 1001)]
    assert {cell.objective.label for cell in new} == {
        cell.objective.label for cell in first.cells if first.parts[cell.key].values
        == now.parts[new[0].key].values and first.parts[cell.key].objective == "wgan"
    }  # fmt: skip
    default_wins = expanded(matrix, "", reached(first, lambda number: number))
    assert default_wins.cells == first.cells


def test_no_final_seed_is_a_seed_of_the_pool(searched):
    found = grown(searched(4, search="final_seeds = 3", seeds="seeds = 4"), lambda number: -number)
    seeds: dict[str, set[int]] = {"pool": set(), "final": set()}
    for cell in found.cells:
        seeds[found.parts[cell.key].phase].add(cell.seed)
    assert seeds == {"pool": {0, 1, 2, 3}, "final": {1000, 1001, 1002}}
    message = r"search: seed 1001 is one of the pool and one of the final phase; .* 1000 to 1001"
    with pytest.raises(UserError, match=message):
        expanded(searched(4, seeds="seeds = [5, 1001]"))


def test_a_search_has_one_seed_unless_the_matrix_says_otherwise():
    options: dict[str, Any] = {"architectures": ["mlp"], "datasets": ["gaussians8"]}
    value = {"name": "wgan", "search": 4}
    assert Matrix(objectives=[value], **options).seeds == 1
    assert Matrix(objectives=[value], **options, seeds=3).seeds == 3
    plain = Matrix(objectives=["wgan"], **options)
    assert plain.seeds == 5
    assert "search" not in plain.plain()


def test_what_a_value_sets_is_not_searched(searched, matrix_file):
    value = '{ name = "wgan_gp", lr = 1e-4, betas = [[0.5, 0.9]], sided = ["one", "two"]'
    path = matrix_file(objectives=f"objectives = [{value}, search = 6 }}]")
    found = expanded(files.read(path).matrix)
    bases = {part.objective for part in found.parts.values()}
    assert bases == {"wgan_gp[betas=[0.5,0.9],sided=one]", "wgan_gp[betas=[0.5,0.9]]"}
    for base in bases:
        searched_values = values_of(found, base)
        assert searched_values[3].keys() == {"critic_steps", "penalty_weight"}
    for cell in found.cells:
        assert cell.objective.params["betas"] == [0.5, 0.9]
        assert "lr" not in cell.objective.params


def test_only_adam_has_a_beta(searched):
    assert "beta1" not in values_of(expanded(searched(2, "wgan")), "wgan")[0]
    adam = 'objectives = [{ name = "wgan", optimizer = "adam", search = 2 }]'
    found = expanded(searched(2, objectives=adam))
    assert values_of(found, "wgan[optimizer=adam]")[0]["beta1"] == 0.5


def test_a_norm_is_searched_where_the_critic_has_one(searched):
    assert "norm" not in values_of(expanded(searched(2, "minimax")), "minimax")[0]
    small = searched(2, "minimax", architectures=WITH_NORM, datasets=IMAGES, evaluation=SMALL)
    assert "norm" not in values_of(expanded(small), "minimax")[0]  # one convolution without norm
    gated = WITH_NORM.replace("dcgan", "resnet20")
    names = ("minimax", "wgan_gp")
    found = expanded(searched(24, *names, architectures=gated, datasets=IMAGES, evaluation=SMALL))
    for name in names:
        norms = [values["norm"] for values in values_of(found, name).values()]
        assert norms[0] == "auto"
        assert set(norms) == {"auto", "none"}
    for cell in found.cells:
        part = found.parts[cell.key]
        assert part.architecture == "resnet20[width=8]"
        assert (cell.norm == "none") == (part.values["norm"] == "none")
        assert ("norm" in cell.architecture.params) == (part.values["norm"] == "none")
    fixed = gated.replace("width = 8", 'width = 8, norm = "none"')
    kept = searched(2, "minimax", architectures=fixed, datasets=IMAGES, evaluation=SMALL)
    assert "norm" not in values_of(expanded(kept), "minimax")[0]


SMALL = '[evaluation]\nn = { images = 50 }\nextractor = "classifier"'

SPACE = "space = { "
MISTAKES = {
    "lr = { log = [1, 0.1] } }": "search.space.lr: log takes a smaller and a larger number",
    "lr = { log = [0, 0.1] } }": "search.space.lr: log takes two positive numbers",
    "lr = { log = [1, 2], choice = [1] } }": "exactly one of log, uniform, choice, not log and ch",
    "lr = {} }": "exactly one of log, uniform, choice, not none",
    "lr = { choice = [] } }": "search.space.lr.choice: List should have at least 1 item",
    "lr = { uniform = [0.1] } }": "search.space.lr.uniform",
    "lr = 3 }": "Input should be 'paper' or a range such as {log = [1e-5, 1e-2]}, not 3",
    "lr = { log = [1, 1e9] } }": "lr: Input should be less than or equal to 1000000",
    "lrr = { log = [0.1, 1] } }": "unknown parameter in search.space 'lrr' (did you mean 'lr'?)",
    "penalty_weight = { uniform = [-1, 1] } }": "penalty_weight must not be negative",
    "critic_steps = { choice = [0] } }": "critic_steps must be at least 1, not 0",
    "critic_steps = { choice = ['x'] } }": "critic_steps",
    "beta1 = { uniform = [0, 1] } }": "betas.0: Input should be less than 1",
    "lr = 'paper', beta1 = 'paper', penalty_weight = 'paper' }": "no parameter has a range of real",
}


@pytest.mark.parametrize(("space", "message"), MISTAKES.items())
def test_a_bad_range_is_refused_in_one_line(space, message, searched):
    with pytest.raises(UserError) as refused:
        expanded(searched(4, "wgan_gp", search=SPACE + space))
    assert message in str(refused.value)
    assert "\n" not in str(refused.value)


@pytest.mark.parametrize(
    ("parts", "message"),
    [
        ({"search": "metric = 'fidd'"}, "(did you mean 'fid'?)"),
        ({"search": "metric = 'recall'"}, "of which less is better 'recall'"),
        ({"search": "sampler = 'grid'"}, "'random', 'sobol' or 'tpe', not 'grid'"),
        ({"search": "final_seeds = 0"}, "final_seeds: Input should be greater than 0"),
        ({"objectives": "objectives = ['wgan']"}, "[search] needs an objective with search"),
        ({"objectives": "objectives = [{ name = 'wgan', search = 1 }]"}, "from 2 to 10,000, not 1"),
        ({"objectives": "objectives = [{ name = 'wgan', search = true }]"}, "not True"),
        ({"architectures": "architectures = [{ name = 'mlp', search = 4 }]"}, "is for objectives"),
        ({"training": "[training]\nsteps = 5\nrecipe = {}"}, "but training.recipe gives all"),
        (
            {"search": "stop = { at = 0.3 }"},
            "search.stop.at = 0.3 is no share of evaluation.schedule; valid: none",
        ),
        (
            {"search": "stop = { at = 0.25 }", "evaluation": "[evaluation]"},
            "(did you mean 0.2?); valid: 0.1, 0.2, 0.4, 0.6, 0.8",
        ),
        ({"search": "stop = { at = 1 }"}, "search.stop.at: Input should be less than 1, not 1"),
        ({"search": "stop = { keep = 0 }"}, "stop.keep: Input should be greater than 0, not 0"),
        (
            {"search": "stop = { after = 6 }"},
            "stop.after: Input should be greater than or equal to 7",
        ),
        ({"search": "stop = { a = 3 }"}, "'search.stop.a' (did you mean 'search.stop.at'?)"),
        (
            {"search": "stop = {}\nsampler = 'tpe'"},
            "stop needs sampler = 'random' or 'sobol', not 't",
        ),
        (
            {"search": "stop = {}", "seeds": "seeds = 2", "evaluation": "[evaluation]"},
            "so a pool has one seed, not 2",
        ),
    ],
)
def test_a_bad_search_is_refused_in_one_line(parts, message, searched):
    with pytest.raises(UserError) as refused:
        expanded(searched(4, "wgan", **({"search": "final_seeds = 3"} | parts)))
    assert message in str(refused.value)
    assert "\n" not in str(refused.value)


RUNGS = "[evaluation]\nschedule = [0, 0.1, 0.2, 0.4, 1]\nn = { points = 200 }"
STOP = "stop = { at = 0.4, keep = 0.25, after = 12 }"
FIRST = range(12)


def of_pool(
    found: Expanded, early: Callable[[int], float], end: Callable[[int], float]
) -> dict[str, Reached]:
    """What the cells of the pools reached at the rung and at the end, by configuration."""
    parts = found.parts.items()
    return {
        key: Reached(end(part.configuration), early(part.configuration))
        for key, part in parts
        if part.phase == "pool"
    }


def rungs_of(found: Expanded, name: str) -> dict[int, Rung | None]:
    """Configuration → its rung."""
    parts = [part for part in found.parts.values() if part.objective == name]
    return {part.configuration: part.rung for part in parts if part.phase == "pool"}


def test_later_configurations_are_known_once_the_first_are_settled(searched):
    matrix = searched(20, "wgan_gp", "minimax", search=STOP, evaluation=RUNGS)
    first = expanded(matrix)
    assert [*rungs_of(first, "wgan_gp")] == [*FIRST]
    settled = of_pool(first, float, float)
    *most, (last, _) = [*settled.items()]
    assert expanded(matrix, "", dict(most)).parts.keys() >= first.parts.keys()
    open_pool = first.parts[last].objective
    assert [*rungs_of(expanded(matrix, "", dict(most)), open_pool)] == [*FIRST]
    now = expanded(matrix, "", settled)
    for name in ("wgan_gp", "minimax"):
        rungs = rungs_of(now, name)
        assert [*rungs] == [*range(20)]
        assert all(rungs[number] is None for number in FIRST)
        # a quarter of 0, 1, … 11 is at most 2
        assert {rungs[number] for number in range(12, 20)} == {Rung(at=0.4, limit=2.0, metric=None)}
        assert all(part.rung is None for part in now.parts.values() if part.phase == "final")


@pytest.mark.parametrize(
    ("early", "end", "num"),
    [
        (lambda number: number % 4, float, 20),  # the order is another one at the end
        (float, lambda number: -float(number), 20),
        (lambda number: math.nan, float, 20),  # not measured
        (lambda number: 1.0, float, 20),  # ranks nothing
    ],
)
def test_none_stops_where_the_early_value_does_not_tell_the_end(early, end, num, searched):
    matrix = searched(num, "wgan_gp", search=STOP, evaluation=RUNGS)
    now = expanded(matrix, "", of_pool(expanded(matrix), early, end))
    assert [*rungs_of(now, "wgan_gp")] == [*range(num)]
    assert {*rungs_of(now, "wgan_gp").values()} == {None}


def test_few_configurations_make_an_interval_too_wide_to_stop():
    for num, is_allowed in ((4, False), (6, False), (7, True)):
        decision = decide(map(float, range(num)), map(float, range(num)), keep=0.5)
        assert decision.correlation == 1
        assert decision.is_allowed == is_allowed == math.isfinite(decision.limit)


def test_the_limit_is_the_value_that_the_share_of_the_first_had():
    early = [5.0, 3.0, 1.0, math.inf, 4.0, 2.0, math.inf, 6.0, 7.0, 8.0]
    for keep, limit in ((0.1, 1.0), (0.5, 5.0), (0.55, 6.0), (0.8, 8.0), (0.9, math.inf)):
        assert decide(early, early, keep).limit == limit
    # two that took too long, and one without a value at the end, which counts as diverged
    decision = decide([*early, math.nan, math.nan, 9.0], [*early, 0.0, 1.0, math.nan], 0.5)
    assert (decision.n, decision.limit) == (11, 6.0)
    assert decide([], [], 0.5).limit == math.inf


def test_a_larger_search_stops_by_the_same_limit(searched):
    found = []
    for num in (16, 32):
        matrix = searched(num, "wgan_gp", search=STOP, evaluation=RUNGS)
        found.append(expanded(matrix, "", of_pool(expanded(matrix), float, float)))
    small, large = (rungs_of(each, "wgan_gp") for each in found)
    assert small == {number: large[number] for number in small}
    pools = [{cell.key for cell in each.cells if cell.seed == 0} for each in found]
    assert pools[0] < pools[1]


def test_the_option_stop_changes_no_key_and_no_former_hash(searched):
    plain = searched(8, "wgan_gp", search="seed = 0", evaluation=RUNGS)
    stopping = searched(8, "wgan_gp", search=STOP, evaluation=RUNGS)
    assert "search" not in plain.plain()
    assert "stop" not in searched(8, "wgan_gp", search="final_seeds = 2").plain()["search"]
    keys = [[cell.key for cell in expanded(matrix).cells if cell.seed == 0] for matrix in
            (plain, stopping)]  # fmt: skip
    assert keys[0] == keys[1]


def test_a_range_of_the_matrix_replaces_the_declared_one(searched):
    space = "space = { lr = { log = [0.02, 0.05] }, beta1 = 'paper', drift = { choice = [0.5] } }"
    values = values_of(expanded(searched(9, "wgan_gp", "minimax", search=space)), "wgan_gp")
    assert values[0].keys() == {"lr", "critic_steps", "penalty_weight", "drift"}
    assert all(0.02 < each["lr"] < 0.05 for number, each in values.items() if number)
    assert [each["drift"] for each in values.values()] == [0.0] + [0.5] * 8


@pytest.mark.parametrize("ranges", ["wide", "narrow"])
def test_every_objective_can_be_searched(ranges, searched):
    names = variants.names("objectives")
    found = expanded(searched(3, *names, search=f'ranges = "{ranges}"'))
    assert {part.objective for part in found.parts.values()} == set(names)
    for name in names:
        (objective,) = classes("objective", name)
        assert objective.search.keys() <= values_of(found, name)[1].keys()


def test_whole_numbers_stay_whole(searched):
    space = "space = { critic_steps = { uniform = [1, 9] } }"
    values = values_of(expanded(searched(20, "wgan_gp", search=space)), "wgan_gp")
    steps = {each["critic_steps"] for each in values.values()}
    assert all(type(each) is int for each in steps)
    assert len(steps) > 4


def test_configurations_have_short_names_that_only_takes(searched):
    label = 'objectives = [{ name = "wgan", search = 3, label = "W" }, "minimax"]'
    matrix = searched(3, objectives=label)
    found = expanded(matrix)
    names = found.display_names["objective"]
    assert sorted(names.values()) == ["W", "W #1", "W #2"]
    (only,) = expanded(matrix, "objective=W #2").cells
    assert found.parts[only.key].configuration == 2
    assert len(expanded(matrix, "objective=wgan seed=0").cells) == 3
    assert len(expanded(matrix, "objective=minimax").cells) == 1


def test_sobol_fills_the_space_evenly(searched):
    values = values_of(expanded(searched(33, "minimax", search="sampler = 'sobol'")), "minimax")
    rates = sorted(each["lr"] for number, each in values.items() if number)
    assert [int(32 * math.log10(rate / 1e-5) / 3) for rate in rates] == [*range(32)]
    steps = [each["critic_steps"] for number, each in values.items() if number]
    assert (steps.count(1), steps.count(5)) == (16, 16)


def best_is(rate: float) -> Callable[[Values, int], float]:
    return lambda values, number: abs(math.log(values[number]["lr"] / rate))


def asked(matrix: Matrix, name: str, loss: Callable[[Values, int], float]) -> Iterator[Expanded]:
    """A search by tpe as it goes on, one configuration after the other."""
    ends: dict[str, Reached] = {}
    while True:
        found = expanded(matrix, "", ends)
        yield found
        values = values_of(found, name)
        more = {
            key: Reached(loss(values, part.configuration))
            for key, part in found.parts.items()
            if part.phase == "pool"
        }
        if more.keys() == ends.keys():
            return
        ends = more


def test_tpe_asks_for_one_configuration_at_a_time_and_learns(searched):
    pytest.importorskip("optuna")
    matrix = searched(24, "minimax", search="sampler = 'tpe'\nfinal_seeds = 2")
    steps = [*asked(matrix, "minimax", best_is(3e-3))]
    sizes = [len(values_of(step, "minimax")) for step in steps]
    assert sizes == [*range(1, 25), 24]
    for before, after in itertools.pairwise(steps):
        assert before.parts.keys() <= after.parts.keys()
    assert len(steps[-1].cells) == 24 + 4
    values = values_of(steps[-1], "minimax")
    drawn_at_random = values_of(expanded(searched(24, "minimax")), "minimax")
    first = range(tpe.FIRST)
    assert [values[n] for n in first] == [drawn_at_random[n] for n in first]
    distances = [best_is(3e-3)(values, number) for number in range(1, 24)]
    assert sum(distances[tpe.FIRST :]) / 13 < 0.7 * sum(distances[: tpe.FIRST]) / 10
    again = [*asked(matrix, "minimax", best_is(3e-3))]
    assert values_of(again[-1], "minimax") == values


def test_tpe_takes_runs_that_diverged_and_a_default_outside_the_ranges():
    pytest.importorskip("optuna")
    space = {"lr": Log(1e-3, 1e-2), "k": OneOf((1, 5)), "n": Uniform(1, 9)}
    known = [({"lr": 1e-5, "k": 1, "n": 4}, 1.0)]
    known += [({"lr": 2e-3, "k": 5, "n": n}, math.inf) for n in range(2, 8)]
    values = tpe.ask(space, ["n"], known, 0)
    assert values == tpe.ask(space, ["n"], known, 0) != tpe.ask(space, ["n"], known, 1)
    assert 1e-3 <= values["lr"] <= 1e-2
    assert values["k"] in (1, 5)
    assert type(values["n"]) is int


def test_without_optuna_tpe_is_refused_in_one_line(searched, monkeypatch):
    import sys

    monkeypatch.setitem(sys.modules, "optuna", None)
    with pytest.raises(UserError, match=r"^search: sampler = 'tpe' needs Optuna: `pip install "):
        tpe.ask({"lr": Log(1e-3, 1e-2)}, [], [], 0)


def test_a_sample_is_a_part_of_all_combinations_and_grows_at_its_end(cells):
    def sampled(sample: str) -> list[Any]:
        value = f'name = "mlp", width = [8, 16, 32], activation = ["relu", "tanh"]{sample}'
        found = cells(architectures=f"architectures = [{{ {value} }}]")
        return [cell.architecture.label for cell in found]

    whole = sampled("")
    assert len(whole) == 6
    four = sampled(", sample = 4")
    assert len(set(four)) == 4
    assert set(four) < set(whole)
    assert sampled(", sample = 2") == four[:2]
    assert sorted(sampled(", sample = 6")) == sorted(whole)
    others = [sampled(f", sample = {{ n = 4, seed = {seed} }}") for seed in range(4)]
    assert others[0] == four
    assert len({tuple(each) for each in others}) > 1


def test_all_objectives_meet_the_same_sample(cells):
    found = cells(
        objectives='objectives = ["wgan", { name = "lsgan", a = [0, -1], c = [0, 1], sample = 3 }]',
        architectures='architectures = [{ name = "mlp", width = [8, 16, 24, 32], sample = 2 }]',
    )
    by_objective: dict[str, list[str]] = {}
    for cell in found:
        by_objective.setdefault(cell.objective.label, []).append(cell.architecture.label)
    assert len(by_objective) == 4
    assert len({tuple(names) for names in by_objective.values()}) == 1


def test_a_sample_has_each_critic_of_a_list(cells):
    value = 'name = "mlp", critic = ["mlp", { name = "mlp", width = [8, 16] }], width = [8, 24]'
    found = cells(architectures=f"architectures = [{{ {value}, sample = 6 }}]")
    assert len({cell.architecture.label for cell in found}) == 6


@pytest.mark.parametrize("sample", ["0", "7", "'x'", "true", "{}", "{ n = 2, sed = 1 }", "[2]"])
def test_a_bad_sample_is_refused_in_one_line(sample, cells):
    value = f'name = "mlp", width = [8, 16, 32], activation = ["relu", "tanh"], sample = {sample}'
    with pytest.raises(UserError, match=r"^architecture 'mlp': sample [^\n]*$"):
        cells(architectures=f"architectures = [{{ {value} }}]")


def test_draws_are_those_of_every_version():
    assert stream_seed("search", 0, "lr", 1) == 8591926695144130324
