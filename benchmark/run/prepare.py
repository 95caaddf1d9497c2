"""What a run needs before its first cell: data, instruments, noise floors, real samples for
pictures, matrix.json, protocols.json."""

from collections.abc import Callable, Collection, Iterator, Mapping, Sequence
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import variants
from benchmark.errors import UserError
from benchmark.machine.memory import out_of_memory
from benchmark.matrix import recall
from benchmark.matrix.cell import Cell, Choice, digest
from benchmark.matrix.expand import expand
from benchmark.matrix.labels import unlabelled
from benchmark.matrix.options import Matrix, validated
from benchmark.matrix.search.part import Part, with_configurations
from benchmark.measure.dataset_facts import dataset_facts
from benchmark.measure.instrument import noise_floor, open_instrument
from benchmark.measure.protocol import Instrument, content_hash, protocol_id
from benchmark.run.cell.samples import save_real
from benchmark.run.options import RunOptions
from benchmark.store import data_lines
from benchmark.store.code import CodeHashes, measuring_code
from benchmark.store.files import hashed, write_record
from benchmark.store.layout import REAL, ResultSet
from benchmark.store.origin import stored_path
from benchmark.store.schema import (
    Command,
    DatasetFacts,
    Entry,
    ExtractorFacts,
    MatrixFile,
    Protocol,
    Spec,
)
from benchmark.text import file_name, one_line, plural
from benchmark.train.build import load_dataset
from variants.datasets import no_downloads

# fields of RunOptions that numbers depend on and that no other record of the matrix holds
COMMAND_OPTIONS = ("execution", "stack", "precision", "device", "threads")


def matrix_file(
    name: str,
    description: str,
    matrix: Matrix,
    cells: Sequence[Cell],
    command: Command | None = None,
    parts: Mapping[str, Part] | None = None,
) -> MatrixFile:
    """The record of a matrix with all its cells. parts: in a search, by key."""
    matrix, display_names = unlabelled(matrix)
    parts = parts or {}
    config = matrix.plain()
    return MatrixFile(
        name=name,
        description=description,
        hash=digest(config),
        config=config,
        reference=matrix.reference,
        targets=matrix.targets,
        command=command,
        display_names=with_configurations(display_names, cells, parts),
        cells=[_entry(cell, parts.get(cell.key)) for cell in cells],
    )


def command_of(results: ResultSet, file: Path | None, options: RunOptions) -> Command:
    """What a run was asked for. file: of a matrix that does not ship with the suite."""
    default = RunOptions()
    given = {name: str(getattr(options, name)) for name in COMMAND_OPTIONS}
    return Command(
        file=None if file is None else stored_path(file, results.path),
        overrides=list(options.overrides),
        variants=[stored_path(folder, results.path) for folder in variants.folders()],
        options={k: value for k, value in given.items() if value != str(getattr(default, k))},
    )


def _entry(cell: Cell, part: Part | None) -> Entry:
    # What is not set is not written
    search: dict[str, Any] = {"search": part} if part else {}
    return Entry(
        key=cell.key,
        objective=cell.objective.label,
        architecture=cell.architecture.label,
        dataset=cell.dataset.label,
        modality=recall.modality(cell.dataset.name),
        seed=cell.seed,
        evaluation_hash=cell.evaluation_hash,
        spec=Spec.model_validate(cell.spec),
        **search,
    )


def prepare(
    results: ResultSet,
    matrix: MatrixFile,
    cells: Sequence[Cell],
    device: str,
    trained: Collection[str] = (),
    note: Callable[[str], object] = print,
) -> None:
    """Load the datasets of cells, open their instruments (this trains a classifier if one is asked
    for), measure their noise floors, keep some real samples, and write matrix.json and
    protocols.json.

    trained: the keys of the cells that train from now on; all other finished cells stay as they
    are. Raises UserError for data that cannot be read, and where it is not what these were trained
    on; where none of `cells` needs that data, this is noted."""
    protocols = results.protocols
    one_per_dataset = {cell.dataset.label: cell for cell in cells}
    for label, sentence in _changed_data(results, matrix, trained).items():
        if label in one_per_dataset:
            raise UserError(f"{sentence}; run with --force, or into another --results folder")
        note(f"{sentence}: they are kept; --force runs them again")
    for label, cell in one_per_dataset.items():
        protocols[label] = _protocol(cell, protocols.get(label), device)
        _say(label, protocols[label].dataset, note)
    with writing_results(results):
        for label, cell in one_per_dataset.items():
            protocols[label] = _with_real(protocols[label], results, cell.dataset)
        write_record(results.matrix_file, matrix)
        results.write_protocols(protocols)


@contextmanager
def writing_results(results: ResultSet) -> Iterator[None]:
    """A result set that cannot be written to ends the run: raises UserError."""
    try:
        yield
    except OSError as error:
        raise UserError(
            f"--results: {results.path} cannot be written to: {error.strerror}"
        ) from error


def _say(label: str, facts: DatasetFacts, note: Callable[[str], object]) -> None:
    if len(facts.shape) > 1:
        note(f"data of {label}: {data_lines.headline(facts)}")
    for remark in data_lines.remarks(facts):
        note(f"data of {label}: {remark}")


def _changed_data(
    results: ResultSet, matrix: MatrixFile, trained: Collection[str]
) -> dict[str, str]:
    """Dataset -> a sentence, for the datasets whose samples are not those that finished cells were
    trained on. Data that is not on this machine is not compared."""
    protocols, datasets = results.protocols, datasets_of(matrix)
    hashes = CodeHashes()
    finished: dict[str, list[Entry]] = {}
    for entry in matrix.cells:
        if entry.key in trained or entry.dataset not in protocols:
            continue
        status = results.cell(entry.key).status
        # cells of other code are stale: no table puts them next to others
        if status.status.is_finished and status.code == hashes.training(entry.spec):
            finished.setdefault(entry.dataset, []).append(entry)
    sentences = {}
    for label, entries in finished.items():
        change = data_change(datasets.get(label), protocols[label].dataset.content_hash)
        if change:
            cells = plural(len(entries), "finished cell")
            sentences[label] = (
                f"data of {label}: it has changed since {cells} trained on it ({change})"
            )
    return sentences


def data_change(choice: Choice | None, before: str | None) -> str | None:
    """How a dataset differs from the one whose content hash is `before`; None where it does not, or
    is not here."""
    if choice is None or before is None:
        return None
    try:
        with no_downloads():
            train, held = load_dataset(choice).splits
    except OSError:
        return None
    except ValueError as error:
        return one_line(error)
    now = content_hash(train.samples, held.samples)
    return None if now == before else f"content {now}, before {before}"


def datasets_of(matrix: MatrixFile) -> dict[str, Choice]:
    """Label -> dataset, for the datasets of a matrix with their places on this machine, which a
    spec does not have. Empty for the matrix of another version."""
    try:
        cells = expand(validated(Matrix, matrix.config, matrix.name))
    except UserError:
        return {}
    return {cell.dataset.label: cell.dataset for cell in cells}


def _protocol(cell: Cell, known: Protocol | None, device: str) -> Protocol:
    """The protocol of a cell's dataset with its noise floor: the known one if it is the same."""
    try:
        dataset = load_dataset(cell.dataset)
        facts = dataset_facts(dataset)
        instrument = open_instrument(cell.dataset, cell.evaluation, device)
        code = measuring_code(dataset.modality)
        if known and known.code == code and _is_current(known, instrument):
            return known.model_copy(update={"dataset": facts})
        floor = noise_floor(instrument, code)
    except Exception as error:
        reason = out_of_memory(error, device)
        if reason is None and not isinstance(error, ValueError | OSError):
            raise
        raise UserError(f"dataset {cell.dataset.label}: {reason or one_line(error)}") from error
    protocol = Protocol(
        protocol=protocol_id(instrument),
        parts=instrument.parts,
        dataset=facts,
        extractor=_extractor_facts(instrument),
        code=code,
        floor=floor.mean,
        floor_spread=floor.spread,
        floor_draws=floor.draws,
        floor_source=floor.source,
        marks=instrument.marks(),
    )
    return protocol.sealed()


def _with_real(protocol: Protocol, results: ResultSet, choice: Choice) -> Protocol:
    """The protocol of a dataset with its kept real samples, which are written first."""
    folder = results.path / REAL
    file = save_real(folder / file_name(choice.label), load_dataset(choice))
    kept = {"real": hashed(folder, [file])}
    return protocol.model_copy(update=kept).sealed()


def _is_current(known: Protocol, instrument: Instrument) -> bool:
    has_all_floors = set(instrument.columns.values()) <= known.floor.keys()
    return known.protocol == protocol_id(instrument) and has_all_floors


def _extractor_facts(instrument: Instrument) -> ExtractorFacts | None:
    extractor = instrument.extractor
    if extractor is None:
        return None
    return ExtractorFacts(
        name=extractor.name,
        weights_sha256=extractor.weights_sha256,
        accuracy=extractor.accuracy,
    )
