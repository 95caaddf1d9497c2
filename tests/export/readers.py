"""What each tracker holds, read through its own reader."""

import json
import struct
from collections import defaultdict
from importlib import import_module
from pathlib import Path
from typing import Any

# (run, series) -> (generator step, value), in the order of writing
Series = dict[tuple[str, str], list[tuple[int, float]]]


def read_tensorboard(place: Path) -> Series:
    accumulators = import_module("tensorboard.backend.event_processing.event_accumulator")
    found: Series = {}
    for folder in {file.parent for file in place.rglob("*tfevents*")}:
        events = accumulators.EventAccumulator(
            str(folder), size_guidance={"scalars": 0, "images": 0}
        ).Reload()
        for series in events.Tags()["scalars"]:
            found[folder.name, series] = [
                (event.step, event.value) for event in events.Scalars(series)
            ]
        for series in events.Tags()["images"]:
            found[folder.name, series] = [
                (event.step, len(event.encoded_image_string)) for event in events.Images(series)
            ]
    return found


def mlflow_runs(place: Path | str) -> tuple[Any, list[Any]]:
    uri = place if isinstance(place, str) else f"sqlite:///{place}/mlflow.db"
    client = import_module("mlflow").MlflowClient(tracking_uri=uri)
    (experiment,) = (e for e in client.search_experiments() if e.name == "tiny")
    return client, list(client.search_runs([experiment.experiment_id]))


def read_mlflow(place: Path | str) -> Series:
    client, runs = mlflow_runs(place)
    found: Series = {}
    for run in runs:
        for series in run.data.metrics:
            history = client.get_metric_history(run.info.run_id, series)
            found[run.info.run_name, series] = sorted(
                (metric.step, metric.value) for metric in history
            )
        sheets = client.list_artifacts(run.info.run_id, "samples")
        if sheets:
            found[run.info.run_name, "samples"] = [
                (int(Path(s.path).stem), s.file_size) for s in sheets
            ]
    return found


def read_page(name: str, place: Path | str) -> str:
    """The text of the only sheet of text, as the tracker shows it: HTML, or a file of MLflow."""
    if name == "tensorboard":
        accumulators = import_module("tensorboard.backend.event_processing.event_accumulator")
        (folder,) = {file.parent for file in Path(place).rglob("*tfevents*")}
        (event,) = accumulators.EventAccumulator(str(folder)).Reload().Tensors("samples")
        content = event.tensor_proto.string_val[0]
        return str(import_module("tensorboard.plugin_util").markdown_to_safe_html(content))
    if name == "mlflow":
        client, (run,) = mlflow_runs(place)
        (sheet,) = client.list_artifacts(run.info.run_id, "samples")
        return Path(client.download_artifacts(run.info.run_id, sheet.path)).read_text("utf-8")
    (page,) = Path(place).glob("wandb/offline-run-*/files/media/html/*.html")
    return page.read_text("utf-8")


def wandb_records(file: Path) -> list[Any]:
    """A .wandb file: a LevelDB log (32 KiB blocks; crc, length, type; whole, first, middle, last)
    of Records."""
    record = import_module("wandb.proto.wandb_internal_pb2").Record
    content = file.read_bytes()
    at = 7
    parts = b""
    found = []
    while at + 7 <= len(content):
        left_in_block = 32768 - at % 32768
        if left_in_block < 7:
            at += left_in_block
            continue
        _, length, kind = struct.unpack_from("<IHB", content, at)
        parts += content[at + 7 : at + 7 + length]
        at += 7 + length
        if kind in (1, 4):
            found.append(record.FromString(parts))
            parts = b""
    return found


def read_wandb(place: Path) -> Series:
    names: dict[str, str] = {}
    found: Series = defaultdict(list)
    files = place.glob("wandb/offline-run-*/*.wandb")
    for file in sorted(files, key=lambda file: file.stat().st_mtime_ns):
        for record in wandb_records(file):
            if record.HasField("run"):
                names[file.stem] = record.run.display_name
            if record.HasField("history"):
                row = {
                    item.key or ".".join(item.nested_key): json.loads(item.value_json)
                    for item in record.history.item
                }
                for series, value in row.items():
                    if series == "samples.size":
                        found[names[file.stem], "samples"].append((row["g_step"], value))
                    elif not series.startswith(("_", "samples.")) and series != "g_step":
                        found[names[file.stem], series].append((row["g_step"], float(value)))
    return found
