"""Arrays that are kept between runs in the measuring cache. A file that is damaged, or holds
something else, counts as none: its arrays are computed again."""

import io
from pathlib import Path

import numpy as np

from benchmark.store.files import LARGEST, write_bytes
from variants.datasets import to_be_cached

Arrays = dict[str, np.ndarray]


def write_arrays(file: Path, **arrays: np.ndarray) -> None:
    """Keep arrays by name. The format has a check sum of each. Raises OSError that names
    GANBENCH_CACHE where the cache cannot be written to."""
    buffer = io.BytesIO()
    np.savez(buffer, **arrays)  # type: ignore[arg-type]
    write_bytes(to_be_cached(file), buffer.getvalue())


def read_arrays(file: Path, **lengths: int) -> Arrays | None:
    """The arrays of a file; None without a sound file. lengths: of the arrays that it must hold,
    which are finite."""
    try:
        if not file.is_file() or file.stat().st_size > LARGEST:
            return None
        with np.load(file, allow_pickle=False) as stored:
            arrays = {name: stored[name] for name in stored.files}
        for name, length in lengths.items():
            if len(arrays[name]) != length or not np.isfinite(arrays[name]).all():
                return None
    # numpy and zipfile raise many kinds of error
    except Exception:
        return None
    return arrays
