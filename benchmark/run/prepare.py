"""What a run needs before its first cell: data, instruments, noise floors, matrix.json,
protocols.json."""

from collections.abc import Sequence
from pathlib import Path
from typing import Any

import variants
from benchmark.errors import UserError
from benchmark.machine.memory import out_of_memory
from benchmark.matrix.cell import Cell, digest
from benchmark.matrix.options import Matrix
from benchmark.measure.instrument import open_instrument
from benchmark.measure.protocol import Instrument, content_hash, protocol_id
from benchmark.run.options import RunOptions
from benchmark.store.code import measuring_code
from benchmark.store.layout import ResultSet
from benchmark.store.origin import stored_path
from benchmark.store.schema import (
    Command,
    CorruptImages,
    DatasetFacts,
    Entry,
    ExtractorFacts,
    MatrixFile,
    Protocol,
    Spec,
)
from benchmark.text import one_line
from benchmark.train.build import load_dataset

# fields of RunOptions that numbers depend on and that no other record of the matrix holds
COMMAND_OPTIONS = ("execution", "stack", "precision", "device", "threads")
NAMED_CORRUPT = 20  # corrupt images that are named


def matrix_file(
    name: str,
    description: str,
    matrix: Matrix,
    cells: Sequence[Cell],
    command: Command | None = None,
) -> MatrixFile:
    """The record of a matrix with all its cells."""
    config = matrix.plain()
    return MatrixFile(
        name=name,
        description=description,
        hash=digest(config),
        config=config,
        reference=matrix.reference,
        targets=matrix.targets,
        command=command,
        cells=[_entry(cell) for cell in cells],
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


def _entry(cell: Cell) -> Entry:
    return Entry(
        key=cell.key,
        objective=cell.objective.label,
        architecture=cell.architecture.label,
        dataset=cell.dataset.label,
        modality=variants.load("datasets", cell.dataset.name).Dataset.modality,
        seed=cell.seed,
        evaluation_hash=cell.evaluation_hash,
        spec=Spec.model_validate(cell.spec),
    )


def prepare(results: ResultSet, matrix: MatrixFile, cells: Sequence[Cell], device: str) -> None:
    """Load the datasets of cells, open their instruments (this trains a classifier if one is asked
    for), measure their noise floors, and write matrix.json and protocols.json. Raises UserError for
    data that cannot be read."""
    protocols = results.protocols
    one_per_dataset = {cell.dataset.label: cell for cell in cells}
    for label, cell in one_per_dataset.items():
        protocols[label] = _protocol(cell, protocols.get(label), device)
    try:
        results.write_matrix(matrix)
        results.write_protocols(protocols)
    except OSError as error:
        raise UserError(
            f"--results: {results.path} cannot be written to: {error.strerror}"
        ) from error


def _protocol(cell: Cell, known: Protocol | None, device: str) -> Protocol:
    """The protocol of a cell's dataset with its noise floor: the known one if it is the same."""
    try:
        dataset = load_dataset(cell.dataset)
        instrument = open_instrument(cell.dataset, cell.evaluation, device)
        code = measuring_code(dataset.modality)
        if known and known.code == code and _is_current(known, instrument):
            return known
        floor = {column: value for column, (value, _) in instrument.floor().items()}
    except Exception as error:
        reason = out_of_memory(error, device)
        if reason is None and not isinstance(error, ValueError | OSError):
            raise
        raise UserError(f"dataset {cell.dataset.label}: {reason or one_line(error)}") from error
    return Protocol(
        protocol=protocol_id(instrument),
        parts=instrument.parts,
        dataset=_dataset_facts(dataset),
        extractor=_extractor_facts(instrument),
        code=code,
        floor=floor,
    )


def _is_current(known: Protocol, instrument: Instrument) -> bool:
    has_all_floors = set(instrument.columns.values()) <= known.floor.keys()
    return known.protocol == protocol_id(instrument) and has_all_floors


def _dataset_facts(dataset: Any) -> DatasetFacts:
    train, held = dataset.splits
    corrupt = [*train.corrupt, *held.corrupt]
    return DatasetFacts(
        source=dataset.source,
        licence=dataset.licence,
        split=dataset.split,
        note=dataset.note,
        content_hash=content_hash(train.samples, held.samples),
        n_train=len(train.samples),
        n_holdout=len(held.samples),
        shape=list(dataset.shape),
        corrupt=CorruptImages(n=len(corrupt), names=corrupt[:NAMED_CORRUPT]),
    )


def _extractor_facts(instrument: Instrument) -> ExtractorFacts | None:
    extractor = instrument.extractor
    if extractor is None:
        return None
    return ExtractorFacts(
        name=extractor.name,
        weights_sha256=extractor.weights_sha256,
        accuracy=extractor.accuracy,
    )
