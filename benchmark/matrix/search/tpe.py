"""The next configuration by the tree-structured Parzen estimator of Optuna.

The study is made again for every question, of the configurations that are known: what is asked
depends on them and on the seed alone."""

from collections.abc import Sequence
from contextlib import suppress
from functools import cache
from typing import Any

from benchmark.errors import UserError
from benchmark.matrix.cell import stream_seed
from benchmark.matrix.search.space import Space, Values
from variants._ranges import Log, OneOf, Range

FIRST = 10
"""Configurations that are drawn at random, the default among them."""


def ask(space: Space, whole: Sequence[str], known: list[tuple[Values, float]], seed: int) -> Values:
    """The values of the next configuration. known: the values of each configuration and what it
    reached, of which less is better; inf where it diverged. whole: parameters that are whole
    numbers. Raises UserError where Optuna is missing."""
    told = [(tuple(values[key] for key in space), value) for values, value in known]
    asked = _ask(tuple(space.items()), tuple(whole), tuple(told), seed)
    return dict(zip(space, asked, strict=True))


@cache  # every expansion of a matrix asks again for what it knows
def _ask(
    space: tuple[tuple[str, Range], ...],
    whole: tuple[str, ...],
    known: tuple[tuple[tuple[Any, ...], float], ...],
    seed: int,
) -> tuple[Any, ...]:
    try:
        import optuna
    except ImportError as error:
        raise UserError(
            "search: sampler = 'tpe' needs Optuna: `pip install 'ganbench[search]'`"
        ) from error
    optuna.logging.set_verbosity(optuna.logging.WARNING)
    distributions = {key: _distribution(found, key in whole) for key, found in space}
    number = stream_seed("tpe", seed, len(known)) % 2**32
    sampler = optuna.samplers.TPESampler(seed=number, n_startup_trials=1)
    study = optuna.create_study(sampler=sampler)
    for values, value in known:
        params = dict(zip(distributions, values, strict=True))
        # A published default outside the ranges is not told
        with suppress(ValueError):
            trial = optuna.trial.create_trial(
                params=params, distributions=distributions, value=value
            )
            study.add_trial(trial)
    asked = study.ask(distributions).params
    return tuple(asked[key] for key in distributions)


def _distribution(found: Range, is_whole: bool) -> Any:
    from optuna.distributions import (
        CategoricalDistribution,
        FloatDistribution,
        IntDistribution,
    )

    if isinstance(found, OneOf):
        return CategoricalDistribution(found.values)
    is_log = isinstance(found, Log)
    if is_whole:
        return IntDistribution(round(found.low), round(found.high), log=is_log)
    return FloatDistribution(found.low, found.high, log=is_log)
