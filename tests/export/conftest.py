"""The trackers that the tests of exports run over."""

from collections.abc import Callable
from importlib.util import find_spec
from pathlib import Path
from typing import Any

import pytest

from tests.export.exports import Export, results
from tests.export.readers import Series, read_mlflow, read_tensorboard, read_wandb

# name -> library, kind of place, reader
TRACKERS: dict[str, tuple[str, str, Callable[[Any], Series]]] = {
    "tensorboard": ("tensorboard", "", read_tensorboard),
    "mlflow": ("mlflow", "file", read_mlflow),
    "mlflow in a database": ("sqlalchemy", "", read_mlflow),
    "wandb": ("wandb", "", read_wandb),
}
SLOW = ("mlflow in a database",)  # making its tables takes 10 s


@pytest.fixture(
    params=[pytest.param(name, marks=[pytest.mark.slow] * (name in SLOW)) for name in TRACKERS]
)
def each(request: pytest.FixtureRequest, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Export:
    library, store, read = TRACKERS[request.param]
    if not find_spec(library):
        pytest.skip(f"{library} is not installed")
    for name in ("WANDB_MODE", "WANDB_API_KEY", "MLFLOW_TRACKING_URI"):
        monkeypatch.delenv(name, raising=False)
    monkeypatch.setenv("MLFLOW_ALLOW_FILE_STORE", "true")
    name = request.param.partition(" ")[0]
    return Export(results(tmp_path), name, f"file://{tmp_path}/store" if store else "", read)


@pytest.fixture
def tensorboard(tmp_path: Path) -> Export:
    pytest.importorskip("tensorboard")
    return Export(results(tmp_path), "tensorboard", "", read_tensorboard)
