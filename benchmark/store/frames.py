"""The rows of one file of every cell (evals.jsonl, steps.jsonl, layers.jsonl) as one long frame;
and frames as CSV."""

from collections.abc import Collection, Iterable, Iterator, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
import pyarrow as pa
from pyarrow import compute, json

from benchmark.errors import DamagedError
from benchmark.store.files import SCHEMA, check_committed, read_bytes, rows_of, write_bytes
from benchmark.store.schema import CommittedFile

HOLES: dict[str, Any] = {"keep_default_na": False, "na_values": [""]}
"""Options of read_csv: only an empty field is a hole, for a variant may be called `nan`."""

FORMULA = tuple("=+-@\t\r")  # what begins a cell that a spreadsheet runs as a formula
CHUNK = 32 * 2**20  # bytes of text parsed at once: bounds the memory


@dataclass(frozen=True)
class RowFile:
    """A file of rows of a cell."""

    path: Path
    committed: CommittedFile | None = None
    """How the file was committed, if that is known."""


def read_frame(
    files: Mapping[str, RowFile], texts: list[str], numbers: list[str], required: Iterable[str] = ()
) -> pd.DataFrame:
    """Files by cell -> a frame of `cell` and `texts`, as categories, and `numbers`, as float64;
    other fields are left out.

    What a row lacks or has as null is missing. A file that is not there has no rows, and a last
    line cut short by a crash is left out. Raises UserError for a file that is not as it was
    committed, for a damaged line, for a row of another schema, and for a row that lacks what is
    `required`."""
    fields = [(name, pa.string()) for name in texts]
    fields += [(name, pa.float64()) for name in [*numbers, "schema"]]
    schema = pa.schema(fields)
    parts, counts = [schema.empty_table().drop_columns("schema")], []
    for chunk in _chunks(files.values()):
        lines = [content.count(b"\n") for _, content in chunk]
        parsed = _parsed(b"".join(content for _, content in chunk), schema)
        if parsed is None or parsed.num_rows != sum(lines) or _has_other_schema(parsed):
            each = [_parsed_by_line(*file, schema) for file in chunk]
            parsed, lines = pa.concat_tables(each), [table.num_rows for table in each]
        for name in required:
            missing = compute.index(compute.is_null(parsed[name], nan_is_null=True), True).as_py()
            if missing >= 0:
                path = chunk[np.searchsorted(np.cumsum(lines), missing, side="right")][0]
                raise DamagedError(f"{path} is damaged: a row has no {name}")
        parts.append(parsed.drop_columns("schema"))
        counts += lines
    frame = pa.concat_tables(parts).to_pandas(
        categories=texts, split_blocks=True, self_destruct=True
    )
    for name in texts:
        if not all(map(str.isprintable, frame[name].cat.categories)):
            raise DamagedError(f"rows of {', '.join(texts)} have a {name} that cannot be printed")
    cell = pd.Categorical.from_codes(
        np.repeat(np.arange(len(counts)), counts), pd.Index(list(files))
    )
    return frame.assign(cell=cell)[["cell", *texts, *numbers]]


def check_order(
    rows: pd.DataFrame, files: Mapping[str, RowFile], step: str, names: list[str]
) -> None:
    """Raises DamagedError where the rows of a file run backwards in `step`, or where two of them
    have the same `step` and `names`: its values would be counted twice."""
    cell, at = rows["cell"].cat.codes.to_numpy(), rows[step].to_numpy()
    runs_backwards = np.zeros(len(rows), dtype=bool)
    runs_backwards[1:] = (cell[1:] == cell[:-1]) & (at[1:] < at[:-1])
    occurs_twice = rows.duplicated(["cell", step, *names]).to_numpy() & ~np.isnan(at)
    faults = {f"its rows run backwards in {step}": runs_backwards, "a row is twice": occurs_twice}
    for reason, is_faulty in faults.items():
        if is_faulty.any():
            key = str(rows["cell"].iloc[int(is_faulty.argmax())])
            raise DamagedError(f"{files[key].path} is damaged: {reason}")


def of_cell(rows: pd.DataFrame, values: pd.Series) -> np.ndarray:
    """The value of each row's cell, of `values` by key."""
    return values.reindex(rows["cell"].cat.categories).to_numpy()[rows["cell"].cat.codes]


def is_wanted(rows: pd.DataFrame, column: str, wanted: pd.Series) -> np.ndarray:
    """Whether each row's `column`, a category, is the one `wanted` of its cell, by key."""
    codes = rows[column].cat.categories.get_indexer(pd.Index(wanted))
    return (
        of_cell(rows, pd.Series(codes, wanted.index, dtype=int))
        == rows[column].cat.codes.to_numpy()
    )


def write_csv(frame: pd.DataFrame, path: Path) -> None:
    """Write a frame as CSV, whole or not at all; no text in it is a formula."""
    text = without_formulas(frame).to_csv(index=False)
    write_bytes(path, text.encode("utf-8", errors="replace"))


def without_formulas(frame: pd.DataFrame) -> pd.DataFrame:
    """A frame for CSV: `'` begins every text that a spreadsheet would run as a formula."""
    texts = frame.select_dtypes(exclude=["number", "bool"])
    # The categories of a categorical column are mapped, not its rows
    changed = {str(name): column.map(harmless) for name, column in texts.items()}
    return frame.assign(**changed).rename(columns=harmless)


def harmless(value: Any) -> Any:
    """A value of a CSV file: a text that would be a formula begins with `'`."""
    if isinstance(value, str) and value.startswith(FORMULA):
        return f"'{value}"
    return value


def _chunks(files: Iterable[RowFile]) -> Iterator[list[tuple[Path, bytes]]]:
    """Each path with its whole lines, about CHUNK bytes at a time."""
    chunk: list[tuple[Path, bytes]] = []
    size = 0
    for file in files:
        content = read_bytes(file.path) or b""
        check_committed(file.path, content, file.committed)
        chunk.append((file.path, content[: content.rfind(b"\n") + 1]))
        size += len(content)
        if size > CHUNK:
            yield chunk
            chunk, size = [], 0
    if chunk:
        yield chunk


def _parsed(lines: bytes, schema: pa.Schema) -> pa.Table | None:
    """The rows of all lines; None where pyarrow cannot read one of them."""
    if not lines:
        return schema.empty_table()
    options = json.ParseOptions(explicit_schema=schema, unexpected_field_behavior="ignore")
    try:
        return json.read_json(pa.BufferReader(lines), parse_options=options).select(schema.names)
    except pa.ArrowInvalid:
        return None


def _has_other_schema(table: pa.Table) -> bool:
    return bool(compute.any(compute.not_equal(table["schema"], SCHEMA)).as_py())


def _parsed_by_line(path: Path, content: bytes, schema: pa.Schema) -> pa.Table:
    """The slow way, which names the damaged line and knows all of JSON."""
    try:
        return pa.Table.from_pylist(list(rows_of(path, content)), schema)
    except (pa.ArrowException, OverflowError) as error:
        raise DamagedError(f"{path} is damaged: {error}") from error


def rows_of_cells(frame: pd.DataFrame, keys: Collection[str]) -> pd.DataFrame:
    """The rows of some cells, by key; the categories of `cell` are those cells alone."""
    rows = frame[frame["cell"].isin(keys)].reset_index(drop=True)
    return rows.assign(cell=rows["cell"].cat.remove_unused_categories())
