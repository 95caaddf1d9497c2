"""The suite's behaviour as one line of hashes per part.

`python -m tests.studies.fingerprint` prints all lines; `… --write` stores them for
tests/test_fingerprint.py.

A refactoring changes no line. The part `matrix` is the same on every machine; the others are equal
to the bit only on the processor and with the versions that the stored file names.
"""

import csv
import hashlib
import io
import json
import math
import os
import sys
import tempfile
from collections.abc import Callable, Iterator
from dataclasses import asdict, replace
from pathlib import Path
from typing import Any

import variants
from benchmark.analysis import published, tables
from benchmark.check.baseline import measured
from benchmark.machine.clock import one_thread
from benchmark.machine.environment import environment
from benchmark.matrix.cell import Cell, Choice
from benchmark.matrix.expand import expand
from benchmark.matrix.files import find, names, read
from benchmark.measure.instrument import noise_floor, open_instrument
from benchmark.measure.protocol import protocol_id
from benchmark.report import report
from benchmark.store.code import measuring_code
from benchmark.train.loop import train
from tests.helpers import synthetic
from tests.helpers.cells import PLACES, small_cell

FILE = Path(__file__).parent.parent / "golden" / "fingerprint.json"
DIGITS = 10  # significant digits of a figure's numbers: what a plotting library rounds may differ


def matrix() -> Iterator[tuple[str, object]]:
    """Keys, specs, normalisations and one random stream of every cell of every shipped matrix."""
    for name in names():
        cells = [_of_any_python(cell) for cell in expand(read(find(name))[0])]
        facts = [
            (cell.key, cell.norm, cell.stream("weights"), cell.spec, cell.evaluation.plain())
            for cell in cells
        ]
        yield name, [len(cells), sha(facts)]


def _of_any_python(cell: Cell) -> Cell:
    """A cell without the version of Python that is in the label of its dataset."""
    dataset = cell.dataset
    if "python" not in dataset.params:
        return cell
    return replace(cell, dataset=Choice(dataset.name, dataset.params | {"python": "any"}))


def training() -> Iterator[tuple[str, object]]:
    """Twenty steps of every objective on both modalities: rows, final weights and samples."""
    for objective in variants.names("objectives"):
        for place in PLACES:
            rows = []
            for snapshot in train(small_cell(objective, place), "cpu", execution="eager"):
                row = {name: repr(value) for name, value in (snapshot.row or {}).items()}
                rows.append([snapshot.g_steps, snapshot.samples_seen, row])
            tensors = [*snapshot.G.state_dict().values(), *snapshot.D.state_dict().values()]
            state = b"".join(tensor.numpy().tobytes() for tensor in tensors)
            samples = snapshot.sample(50).numpy().tobytes()
            forwards = list(snapshot.counters.forwards)
            yield f"{objective} {place}", [sha(rows), sha(state), sha(samples), forwards]


def measuring() -> Iterator[tuple[str, object]]:
    """Protocol id and noise floor of both modalities."""
    for place in PLACES:
        cell = small_cell("wgan", place)
        instrument = open_instrument(cell.dataset, cell.evaluation, "cpu")
        floor = noise_floor(instrument, measuring_code(instrument.parts["modality"]))
        # the last bits depend on the threads of the linear algebra
        numbers = [f"{value:.10g}" for value in (*floor.mean.values(), *floor.spread.values())]
        yield place, [protocol_id(instrument), sha([*floor.mean, *numbers])]


def results() -> Iterator[tuple[str, object]]:
    """Tables, gate, report and the numbers behind the figures of a synthetic result set."""
    with tempfile.TemporaryDirectory() as temporary:
        folder = Path(temporary) / "runs" / "synthetic"
        synthetic.write(folder, untrained=True)
        loaded = tables.load(folder)
        published.write(loaded.published, folder)
        for path in sorted((folder / "tables").glob("*.csv")):
            yield f"table {path.stem}", sha(path.read_bytes())
        yield "gate", sha([asdict(row) for row in measured(loaded)])
        report.write(folder, loaded)
        # The commands of the report name the folder
        page = (folder / "report/report.md").read_text(encoding="utf-8")
        yield "report", sha(page.replace(temporary, "FOLDER").encode())
        for path in sorted((folder / "figures").glob("*.csv")):
            yield f"figure {path.stem}", sha(rounded(path.read_text()))


PARTS: dict[str, Callable[[], Iterator[tuple[str, object]]]] = {
    "matrix": matrix,
    "training": training,
    "measuring": measuring,
    "results": results,
}


def sha(value: Any) -> str:
    """16 hex digits of the sha256 of bytes, or of a value's canonical JSON."""
    data = value if isinstance(value, bytes) else json.dumps(value, sort_keys=True, default=str)
    return hashlib.sha256(data if isinstance(data, bytes) else data.encode()).hexdigest()[:16]


def rounded(text: str) -> list[list[str]]:
    """The fields of a CSV, its numbers to DIGITS significant digits."""
    return [[_rounded(field) for field in row] for row in csv.reader(io.StringIO(text))]


def _rounded(field: str) -> str:
    try:
        number = float(field)
    except ValueError:
        return field
    return f"{number:.{DIGITS}g}" if math.isfinite(number) else field


def machine() -> dict[str, object]:
    """What the bits of floating-point arithmetic depend on. Python 3.12 sums in another way, and
    every version has another text of python_topics."""
    facts = environment("cpu")
    found: dict[str, object] = {"python": facts.python}
    found |= {name: facts.versions[name] for name in ("torch", "numpy", "scipy")}
    names = ("processor", "cpu_capability", "instruction_sets")
    return found | {name: getattr(facts, name) for name in names}


def lines(part: str) -> dict[str, object]:
    """The lines of a part, by name, as JSON holds them."""
    with one_thread():
        return json.loads(json.dumps(dict(PARTS[part]())))


def main() -> None:
    with tempfile.TemporaryDirectory() as cache:
        # What an earlier version kept is not measured again
        os.environ["GANBENCH_CACHE"] = cache
        _main()


def _main() -> None:
    found = {"machine": machine(), **{part: lines(part) for part in PARTS}}
    text = json.dumps(found, indent=1) + "\n"
    if "--write" in sys.argv[1:]:
        FILE.write_text(text)
    else:
        print(text, end="")


if __name__ == "__main__":
    main()
