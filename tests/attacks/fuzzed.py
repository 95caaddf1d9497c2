"""Fuzzed matrices: every field of a matrix file with values that cannot be meant, or hardly."""

import contextlib
import signal
from collections.abc import Iterator
from copy import deepcopy
from typing import Any, NamedTuple

import variants
from benchmark.errors import UserError
from benchmark.matrix.expand import expand
from benchmark.matrix.options import Evaluation, Matrix, Optimiser, SampleSizes, Training, validated
from benchmark.matrix.values import parameters
from benchmark.measure.instrument import noise_floor, open_instrument
from benchmark.run.plan import check_size, estimate
from benchmark.store.schema import RunStatus, Status

SECONDS = 120  # within which every matrix is refused, or its first steps are done
NUMBERS: list[Any] = [0, -1, 1, 2, 3, 10**6, 10**14, 2**31, 2**63, 10**30, -(10**14)]
NUMBERS += [0.0, -0.0, 0.5, -0.5, 1.0, 1e-300, 1e14, 1e39, 1e308, -1e308]
NUMBERS += [float("nan"), float("inf"), float("-inf")]
TEXTS: list[Any] = ["", " ", "1", "nan", "none", "true", "batch", "auto", "mlp", "=1+1", "é" * 300]
TEXTS += ["x" * 10_000, "a\nb", "../..", "$x$", "<script>", "\u202e", "\0", "🦆"]
TABLES: list[Any] = [True, False, [], [[]], [0], [-1], [1, 1], [1, -1], [[0.5, 0.9]], [[2, 3]]]
TABLES += [["mlp"], [1e14], [float("nan")], {}, {"name": "mlp"}, {"a": 1}, [{}], [None], None]
VALUES = [*NUMBERS, *TEXTS, *TABLES]
POINTS = {
    "objectives": ["nonsaturating"],
    "architectures": [{"name": "mlp", "width": 8}],
    "datasets": ["gaussians8"],
    "seeds": 1,
    "training": {"steps": 2, "batch_size": 4},
    "evaluation": {"schedule": [0, 1], "n": {"points": 50}, "log_every": 1},
}
IMAGES = POINTS | {
    "datasets": ["digits"],
    "evaluation": {"schedule": [1], "n": {"images": 20}, "kid_subsets": 2, "kid_subset_size": 5},
}
NARROW = {"width": 2, "units": 2}


class Case(NamedTuple):
    """A matrix with one field changed."""

    field: str
    value: Any
    raw: dict[str, Any]

    def __str__(self) -> str:
        return f"{self.field} = {str(self.value)[:60]!r}"


def cases() -> Iterator[Case]:
    """Every field × every value."""
    for value in VALUES:
        for field in Matrix.model_fields:
            yield _case(POINTS, (field,), value)
        for field in Training.model_fields:
            yield _case(POINTS, ("training", field), value)
        for field in Evaluation.model_fields:
            yield _case(POINTS, ("evaluation", field), value)
            yield _case(IMAGES, ("evaluation", field), value)
        for field in SampleSizes.model_fields:
            yield _case(IMAGES, ("evaluation", "n", field), value)
        for field in Optimiser.model_fields:
            yield _case(POINTS, ("training", "recipe", field), value)
        for field in ("objective", "architecture", "dataset", "seed"):
            yield _case(POINTS | {"exclude": [{}]}, ("exclude", 0, field), value)
        yield _case(POINTS, ("targets", "gaussians8"), value)
        yield _case(POINTS, ("training", "batch_size"), value, width=8, generator_norm="batch")
        yield from _of_variants(value)


def _of_variants(value: Any) -> Iterator[Case]:
    for axis in ("objective", "architecture", "dataset"):
        for name in variants.names(f"{axis}s"):
            known = parameters(axis, name)
            base = POINTS
            table: dict[str, Any] = {"name": name}
            if axis == "architecture" and name != "mlp":
                base = IMAGES
            if axis == "architecture":
                table |= {key: size for key, size in NARROW.items() if key in known}
            extra = {"dataset": ["training"], "architecture": ["critic", "training"]}.get(axis, [])
            for field in ("name", *known, *extra):
                yield _case(base | {f"{axis}s": [table]}, (f"{axis}s", 0, field), value)


def _case(base: dict[str, Any], path: tuple[Any, ...], value: Any, **architecture: Any) -> Case:
    raw = deepcopy(base)
    if architecture:
        raw["architectures"] = [{"name": "mlp"} | architecture]
    table: Any = raw
    for part in path[:-1]:
        table = table[part] if isinstance(table, list) else table.setdefault(part, {})
    table[path[-1]] = value
    name = ".".join(map(str, path))
    if path[0] in ("objectives", "architectures", "datasets") and len(path) > 1:
        name = f"{raw[path[0]][0].get('name', '')!s:.40} {name}"
    return Case(name, value, raw)


@contextlib.contextmanager
def within(seconds: int) -> Iterator[None]:
    """Raises TimeoutError in a block that takes longer."""

    def stop(*_: Any) -> None:
        raise TimeoutError(f"more than {seconds} s")

    before = signal.signal(signal.SIGALRM, stop)
    signal.alarm(seconds)
    try:
        yield
    finally:
        signal.alarm(0)
        signal.signal(signal.SIGALRM, before)


def fault(case: Case) -> str | None:
    """What is wrong with how a matrix is taken: neither refused in one line, nor trained a few
    steps. None for nothing."""
    try:
        with within(SECONDS):
            cells = expand(validated(Matrix, case.raw, "fuzzed.toml"))
            keyed = {cell.key: cell for cell in cells[:2]}
            check_size(list(keyed.values()), "cpu")
            missing = Status(status=RunStatus.MISSING)
            estimate(keyed, dict.fromkeys(keyed, missing), "cpu")
            for cell in keyed.values():
                if cell.dataset.name == "gaussians8":
                    noise_floor(open_instrument(cell.dataset, cell.evaluation, "cpu"), "")
    except UserError as error:
        return f"{case}: {error!r}" if "\n" in str(error) else None
    except BaseException as error:
        return f"{case}: {type(error).__name__}: {str(error)[:150]}"
    return None
