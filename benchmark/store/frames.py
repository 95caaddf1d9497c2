"""The rows of one file of every cell (evals.jsonl, steps.jsonl, layers.jsonl) as one long frame;
and frames as CSV."""

from collections.abc import Iterable, Iterator, Mapping
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
import pyarrow as pa
from pyarrow import compute, json

from benchmark.errors import DamagedError
from benchmark.store.files import read_bytes, read_rows, write_bytes

FORMULA = tuple("=+-@\t\r")  # what begins a cell that a spreadsheet runs as a formula
CHUNK = 32 * 2**20  # bytes of text parsed at once: bounds the memory


def read_frame(
    files: Mapping[str, Path], texts: list[str], numbers: list[str], required: Iterable[str] = ()
) -> pd.DataFrame:
    """Files by cell -> a frame of `cell` and `texts`, as categories, and `numbers`, as float64;
    other fields are left out.

    What a row lacks or has as null is missing. A file that is not there has no rows, and a last
    line cut short by a crash is left out. Raises UserError for a damaged line, and for a row that
    lacks what is `required`."""
    schema = pa.schema(
        [*((name, pa.string()) for name in texts), *((name, pa.float64()) for name in numbers)]
    )
    parts, counts = [schema.empty_table()], []
    for chunk in _chunks(files.values()):
        lines = [content.count(b"\n") for _, content in chunk]
        parsed = _parsed(b"".join(content for _, content in chunk), schema)
        if parsed is None or parsed.num_rows != sum(lines):
            each = [_parsed_by_line(path, schema) for path, _ in chunk]
            parsed, lines = pa.concat_tables(each), [table.num_rows for table in each]
        for name in required:
            missing = compute.index(compute.is_null(parsed[name], nan_is_null=True), True).as_py()
            if missing >= 0:
                path = chunk[np.searchsorted(np.cumsum(lines), missing, side="right")][0]
                raise DamagedError(f"{path} is damaged: a row has no {name}")
        parts.append(parsed)
        counts += lines
    frame = pa.concat_tables(parts).to_pandas(
        categories=texts, split_blocks=True, self_destruct=True
    )
    cell = pd.Categorical.from_codes(
        np.repeat(np.arange(len(counts)), counts), pd.Index(list(files))
    )
    return frame.assign(cell=cell)[["cell", *texts, *numbers]]


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


def _chunks(paths: Iterable[Path]) -> Iterator[list[tuple[Path, bytes]]]:
    """Each path with its whole lines, about CHUNK bytes at a time."""
    chunk: list[tuple[Path, bytes]] = []
    size = 0
    for path in paths:
        content = read_bytes(path) or b""
        chunk.append((path, content[: content.rfind(b"\n") + 1]))
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


def _parsed_by_line(path: Path, schema: pa.Schema) -> pa.Table:
    """The slow way, which names the damaged line and knows all of JSON."""
    rows = list(read_rows(path))
    if not all(isinstance(row, dict) for row in rows):
        raise DamagedError(f"{path} is damaged: a row is not a table")
    try:
        return pa.Table.from_pylist(rows, schema)
    except pa.ArrowException as error:
        raise DamagedError(f"{path} is damaged: {error}") from error
