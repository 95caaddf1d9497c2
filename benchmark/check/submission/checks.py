"""What every cell of a submission must be: one function per rule, which yields what is wrong."""

import math
from collections import defaultdict
from collections.abc import Callable, Iterable, Iterator

from benchmark import __version__
from benchmark.check.submission.cells import SubmittedCell
from benchmark.check.submission.rules import MatrixRules, PlaceRules, is_earlier, major_minor
from benchmark.errors import nearest
from benchmark.matrix.cell import digest
from benchmark.metrics import sign
from benchmark.store.code import CodeHashes
from benchmark.store.schema import RunStatus
from benchmark.text import listed, place_name

VARIANTS = "variants"  # the folder of a submission that holds its own objectives
MOST_NAMED = 3  # of what has one fault


def _files(cells: list[SubmittedCell], asked: MatrixRules) -> Iterator[str]:
    for cell in cells:
        if cell.fault:
            yield cell.fault


def of_other_versions(cells: list[SubmittedCell], version: str) -> Iterator[str]:
    """Cells that another Major.Minor, or a later release than this one, made at their start or at a
    resume."""
    faults = []
    for cell in cells:
        for made_by in _made_by(cell):
            if major_minor(made_by) != version:
                fault = f"the leaderboard is of {version}, and ganbench {made_by} made"
                faults.append((fault, cell))
            elif made_by != __version__ and not is_earlier(made_by, __version__):
                fault = f"{__version__} checks, and ganbench {made_by}, no earlier release, made"
                faults.append((fault, cell))
    yield from _grouped(faults)


def of_patches(cells: list[SubmittedCell]) -> Iterator[str]:
    """Cells of an earlier patch release, for a note: their code is not at hand."""
    faults = []
    for cell in cells:
        others = [made_by for made_by in _made_by(cell) if made_by != __version__]
        faults += [(f"code of ganbench {others[0]} was not compared:", cell)] if others else []
    yield from _grouped(faults)


def _made_by(cell: SubmittedCell) -> list[str]:
    """The versions of ganbench that a finished cell was made by; none of another one."""
    if not cell.is_finished:
        return []
    parts = [cell.surroundings, *cell.surroundings.resumes]
    return [part.versions.get("ganbench") or "(unknown)" for part in parts]


def _code(cells: list[SubmittedCell], asked: MatrixRules) -> Iterator[str]:
    hashes = CodeHashes()
    finished = [cell for cell in cells if cell.is_finished]
    yield from _grouped((_code_fault(cell, hashes), cell) for cell in finished)


def _code_fault(cell: SubmittedCell, hashes: CodeHashes) -> str:
    """Why a cell is not known to be of the released code; the empty string where it is."""
    parts = [cell.surroundings, *cell.surroundings.resumes]
    if any(part.git and part.git.dirty for part in parts):
        return "a checkout with changes that are not committed made"
    code = hashes.training(cell.spec)
    if code is None:
        return f"{VARIANTS}/ lacks a file of"
    if {*_made_by(cell)} != {__version__}:
        return ""
    if code != cell.status.code:
        return f"not this code of {__version__} trained"
    if hashes.is_measured_by_other_code(cell.status, cell.entry.modality):
        return f"not this code of {__version__} measured"
    return ""


def _options(cells: list[SubmittedCell], asked: MatrixRules) -> Iterator[str]:
    yield from _grouped((_options_fault(cell, asked), cell) for cell in cells)


def _options_fault(cell: SubmittedCell, asked: MatrixRules) -> str:
    where = place_name(*cell.place)
    place = asked.by_place.get(cell.place)
    if place is None:
        known = [place_name(*name) for name in asked.by_place]
        return f"{where}{nearest(where, known)} is no place of the leaderboard:"
    if digest(cell.entry.spec.training) != place.training:
        return f"other training options than those of {where}:"
    if cell.is_finished and cell.status.evaluation_hash != asked.evaluation:
        return "other evaluation options than those of the rules:"
    return ""


def _protocol(cells: list[SubmittedCell], asked: MatrixRules) -> Iterator[str]:
    faults = []
    for cell, place in _of_places(cells, asked):
        if cell.status.protocol != place.protocol:
            under = f"{cell.entry.dataset} is measured under protocol {cell.status.protocol}"
            faults.append((f"{under}, not {place.protocol}:", cell))
    yield from _grouped(faults)


def _seeds(cells: list[SubmittedCell], asked: MatrixRules) -> Iterator[str]:
    seeds: dict[tuple[str, tuple[str, str]], set[int]] = defaultdict(set)
    for cell in cells:
        group = cell.entry.objective, cell.place
        # Damaged files are refused by their own rule
        if cell.is_finished or cell.fault:
            seeds[group].add(cell.entry.seed)
    objectives = dict.fromkeys(cell.entry.objective for cell in cells)
    if asked.control not in objectives:
        yield f"the control {asked.control} is missing: its results must be those of the baseline"
    for objective in objectives:
        for place in asked.places:
            here = seeds.get((objective, place.name), set())
            where = f"{objective}, {place_name(*place.name)}"
            missing = [str(seed) for seed in asked.seeds if seed not in here]
            if missing:
                yield f"{where}: seeds without a finished run: {listed(missing)}"
            chosen = [str(seed) for seed in sorted(here.difference(asked.seeds))]
            if chosen:
                yield f"{where}: seeds that the rules do not have: {listed(chosen)}"


def _runs(cells: list[SubmittedCell], asked: MatrixRules) -> Iterator[str]:
    for cell, place in _of_places(cells, asked):
        steps = [*cell.evaluations]
        expected = place.g_steps
        if cell.status.status == RunStatus.DIVERGED:
            expected = expected[: len(steps)]
        elif cell.last_logged != expected[-1] or cell.status.g_steps != expected[-1]:
            trained = min(cell.last_logged, cell.status.g_steps or 0)
            yield f"{cell.entry.key} trained {trained} generator steps instead of {expected[-1]}"
            continue
        if steps != expected:
            yield f"{cell.entry.key} is evaluated at steps {steps} instead of {expected}"
            continue
        if cell.status.status == RunStatus.DIVERGED:
            continue
        unknown = [step for step in steps if not _is_known(cell.evaluations[step], place.metric)]
        if unknown:
            yield f"{cell.entry.key} has no {place.metric} at steps {unknown}"
            continue
        copied = _copied_from(cell, place.metric)
        if copied is not None:
            yield (
                f"{cell.entry.key}: the final {place.metric} is that of step {copied}, though the "
                "generator moved: an earlier checkpoint reported as the final one"
            )


def _is_known(values: dict[str, float], metric: str) -> bool:
    return math.isfinite(values.get(metric, math.nan))


def _copied_from(cell: SubmittedCell, metric: str) -> int | None:
    """The last earlier step with the final value of a metric, where that is the best of the run and
    the generator moved since; None where there is none.

    Honest runs repeat a value as well: a generator that has no gradient any more, and a collapsed
    one of text, which writes the same over and over while its weights move."""
    values = {step: sign(metric) * row[metric] for step, row in cell.evaluations.items()}
    *earlier, last = values
    equal = [step for step in earlier if values[step] == values[last]]
    if not equal or values[last] > min(values.values()):
        return None
    has_moved = equal[-1] != earlier[-1]
    if cell.entry.modality != "text":
        has_moved |= cell.moves_after(equal[-1])
    return equal[-1] if has_moved else None


def _of_places(
    cells: list[SubmittedCell], asked: MatrixRules
) -> Iterator[tuple[SubmittedCell, PlaceRules]]:
    """The finished cells in places of the rules."""
    places = asked.by_place
    for cell in cells:
        if cell.is_finished and cell.place in places:
            yield cell, places[cell.place]


def _grouped(faults: Iterable[tuple[str, SubmittedCell]]) -> Iterator[str]:
    """Every fault once, with the cells that have it. An empty fault is none."""
    by_fault: dict[str, list[str]] = defaultdict(list)
    for fault, cell in faults:
        by_fault[fault].append(cell.entry.key)
    by_fault.pop("", None)
    for fault, keys in by_fault.items():
        yield f"{fault} {named(keys)}"


def named(keys: Iterable[str]) -> str:
    """The first keys, and how many more."""
    names = [*dict.fromkeys(keys)]
    more = f" and {len(names) - MOST_NAMED} more" if len(names) > MOST_NAMED else ""
    return ", ".join(names[:MOST_NAMED]) + more


Check = Callable[[list[SubmittedCell], MatrixRules], Iterator[str]]
CHECKS: dict[str, Check] = {
    "files": _files,
    "code": _code,
    "options": _options,
    "protocol": _protocol,
    "seeds": _seeds,
    "runs": _runs,
}
"""By the name of the rule."""
