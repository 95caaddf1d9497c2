"""Figures drawn by several processes: drawing and saving them is most of the work of a report."""

import multiprocessing
import sys
from collections.abc import Callable, Sequence
from concurrent.futures import ProcessPoolExecutor
from itertools import chain

from benchmark.drawing.save import Figure
from benchmark.machine.limits import available_cores

Draw = Callable[[], Sequence[Figure]]
_draws: Sequence[Draw] = ()


def in_parallel(draws: Sequence[Draw]) -> list[Figure]:
    """The figures of functions that draw and save some each, in this order.

    On Linux every core has a process, which is a copy of this one: tables and looks are not sent.
    Elsewhere a copy may fail, and this process draws everything."""
    global _draws
    num_workers = min(available_cores(), len(draws))
    if sys.platform != "linux" or num_workers < 2:
        return [*chain.from_iterable(draw() for draw in draws)]
    _draws = draws
    context = multiprocessing.get_context("fork")
    try:
        with ProcessPoolExecutor(num_workers, context) as pool:
            return [*chain.from_iterable(pool.map(_draw, range(len(draws))))]
    finally:
        _draws = ()


def _draw(index: int) -> Sequence[Figure]:
    return _draws[index]()
