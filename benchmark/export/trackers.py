"""The experiment trackers that results are exported to: TensorBoard, MLflow, Weights & Biases. One
class each, which writes a cell's news through the tracker's own library (extra `track`), imported
when it is asked for."""

import json
import logging
import os
from dataclasses import dataclass
from functools import cached_property
from importlib import import_module
from pathlib import Path
from typing import Any, Protocol

from PIL import Image

from benchmark.errors import UserError, unknown
from benchmark.matrix.cell import digest
from benchmark.store.files import read_json, write_json
from benchmark.store.schema import FINISHED, SETTLED

AXES = ("objective", "architecture", "dataset", "seed")
# one file per run, without the host's name that a writer would put there
EVENTS = "events.out.tfevents.0.ganbench"


@dataclass
class News:
    """What a tracker has not seen of a cell. `seen` is what it has seen once this is written."""

    key: str
    started: str  # of which start of the cell: under --force it starts anew, and is another run
    axes: dict[str, str]
    status: str
    params: dict[str, Any]  # these two: empty where nothing of them changed
    facts: dict[str, str]
    points: dict[int, dict[str, float]]  # generator step -> series -> value
    sheets: dict[int, Path]  # generator step -> PNG
    clock: tuple[float, float]  # UTC seconds of the start, training seconds per generator step
    seen: dict[str, Any]

    def time(self, step: int) -> float:
        """UTC seconds that a tracker shows for a step: the cell's start and its training time,
        spread evenly."""
        return self.clock[0] + self.clock[1] * step


class Tracker(Protocol):
    errors: tuple[type[Exception], ...]  # of the library, which reach the user as one line
    hint: str  # how to look at what was written

    def seen(self, key: str, started: str) -> dict[str, Any]:
        """What was exported of a run: News.seen of the last time, or an empty dict."""

    def write(self, news: News) -> None:
        """Add to a run, and remember `news.seen`."""

    def close(self) -> None: ...


def place_of(name: str, to: str, default: Path) -> Path | str:
    """Where a tracker writes: a folder, or a tracking URI of MLflow. `to`, else
    MLFLOW_TRACKING_URI, else exports/TRACKER in the result set `default`."""
    if name not in TRACKERS:
        raise unknown("tracker", name, TRACKERS)
    if (
        name == "mlflow"
        and (":" in to or not to)
        and (uri := to or os.environ.get("MLFLOW_TRACKING_URI"))
    ):
        return uri
    return Path(to) if to else default / "exports" / name


def open_tracker(name: str, place: Path | str, project: str) -> Tracker:
    """The tracker, ready to write. Raises UserError where its library is missing or refuses the
    place."""
    try:
        return TRACKERS[name](place, project)
    except ImportError as error:
        raise UserError(
            f"export {name} needs {error.name}, which is missing: pip install 'ganbench[track]'"
        ) from error


class Remembered:
    """A tracker in a folder, which keeps what was exported in exported/KEY.json there: by start of
    the cell."""

    def __init__(self, place: Path) -> None:
        self.place = place

    def seen(self, key: str, started: str) -> dict[str, Any]:
        runs = read_json(self._path(key)).get("runs", {})
        return runs.get(started) or {"run": f"{key}-{len(runs) + 1}" if runs else key}

    def remember(self, news: News) -> None:
        runs = read_json(self._path(news.key)).get("runs", {})
        write_json(self._path(news.key), {"runs": runs | {news.started: news.seen}})

    def _path(self, key: str) -> Path:
        return self.place / "exported" / f"{key}.json"


class TensorBoard(Remembered):
    """A folder per run. Values are float32, NaN and infinities included."""

    errors: tuple[type[Exception], ...] = ()

    def __init__(self, place: Path, project: str) -> None:
        import_module("tensorboard")
        super().__init__(place)
        self.hint = f"tensorboard --logdir {place}"

    def write(self, news: News) -> None:
        from tensorboard.compat.proto.event_pb2 import Event
        from tensorboard.compat.proto.summary_pb2 import Summary
        from tensorboard.plugins.hparams.summary_v2 import hparams_pb
        from tensorboard.plugins.text.summary_v2 import text_pb
        from tensorboard.summary.writer.record_writer import RecordWriter

        path, size = self.place / news.seen["run"] / EVENTS, news.seen.get("bytes", 0)
        path.parent.mkdir(parents=True, exist_ok=True)
        events = [] if size else [Event(wall_time=news.time(0), file_version="brain.Event:2")]
        if news.params:
            summary = hparams_pb(
                news.axes | news.params, trial_id=news.seen["run"], start_time_secs=news.time(0)
            )
            events.append(Event(wall_time=news.time(0), summary=summary))
        if news.facts:
            rows = [f"| {name} | {value} |" for name, value in (news.axes | news.facts).items()]
            step = max(news.points, default=news.seen["steps"][0])
            summary = text_pb("cell", "\n".join(["| | |", "|-|-|", *rows]))
            events.append(Event(wall_time=news.time(step), step=max(step, 0), summary=summary))
        for step, values in news.points.items():
            scalars = [
                Summary.Value(tag=series, simple_value=value) for series, value in values.items()
            ]
            events.append(
                Event(wall_time=news.time(step), step=step, summary=Summary(value=scalars))
            )
        for step, sheet in news.sheets.items():
            with Image.open(sheet) as image:
                width, height, bands = *image.size, len(image.getbands())
            shown = Summary.Image(
                height=height,
                width=width,
                colorspace=bands,
                encoded_image_string=sheet.read_bytes(),
            )
            value = Summary.Value(tag="samples", image=shown)
            events.append(
                Event(wall_time=news.time(step), step=step, summary=Summary(value=[value]))
            )
        with path.open("ab") as file:
            if file.tell() < size:
                raise UserError(
                    f"{path} is shorter than what was exported; delete {self.place} to export all anew"
                )
            file.truncate(size)  # what an export that was killed wrote and did not remember
            writer = RecordWriter(file)
            for event in events:
                writer.write(event.SerializeToString())
            news.seen["bytes"] = file.tell()
        self.remember(news)

    def close(self) -> None:
        pass


class Mlflow:
    """A tracking server or database; in a folder, mlflow.db and artifacts. What was exported is a
    tag of the run."""

    def __init__(self, place: Path | str, project: str) -> None:
        os.environ.setdefault("MLFLOW_DISABLE_TELEMETRY", "true")
        uri = place if isinstance(place, str) else f"sqlite:///{place.absolute() / 'mlflow.db'}"
        if uri.startswith("sqlite"):
            import_module(
                "sqlalchemy"
            )  # without them mlflow-skinny fails with words about its model registry
            import_module("alembic")
        from mlflow import MlflowClient
        from mlflow.exceptions import MlflowException

        self.errors = (MlflowException,)
        self.hint = uri if uri.startswith("http") else f"mlflow ui --backend-store-uri {uri}"
        for name in ("mlflow", "alembic"):
            logging.getLogger(name).setLevel(logging.WARNING)
        artifacts = None
        if isinstance(place, Path):
            place.mkdir(parents=True, exist_ok=True)
            artifacts = (place.absolute() / "artifacts").as_uri()
        try:
            self.client = MlflowClient(tracking_uri=uri)
            found = self.client.get_experiment_by_name(project)
            self.experiment = (
                found.experiment_id if found else self.client.create_experiment(project, artifacts)
            )
        except MlflowException as error:
            raise UserError(f"export: {uri}: {' '.join(str(error).split())[:500]}") from error

    @cached_property
    def runs(self) -> dict[tuple[str, str], dict[str, Any]]:
        """What was exported, by key and start."""
        found, token = {}, None
        while token != "":
            page = self.client.search_runs([self.experiment], max_results=1000, page_token=token)
            token = page.token or ""
            for run in page:
                tags = run.data.tags
                if "ganbench.started" in tags:
                    seen = json.loads(tags.get("ganbench.exported", "{}"))
                    found[tags["key"], tags["ganbench.started"]] = seen | {"run": run.info.run_id}
        return found

    def seen(self, key: str, started: str) -> dict[str, Any]:
        return self.runs.get((key, started), {})

    def write(self, news: News) -> None:
        from mlflow.entities import Metric, Param, RunTag

        began, ended = (round(1000 * news.time(step)) for step in (0, max(news.points, default=0)))
        if not (run := news.seen.get("run")):
            tags = news.axes | {"key": news.key, "ganbench.started": news.started}
            run = self.client.create_run(self.experiment, began, tags, news.key).info.run_id
        metrics = [
            Metric(series, float(value), round(1000 * news.time(step)), step)
            for step, values in news.points.items()
            for series, value in values.items()
        ]
        params = [Param(name, str(value)[:6000]) for name, value in news.params.items()]
        for i in range(
            0, max(len(metrics), 9 * len(params)), 900
        ):  # a batch holds 1,000, of which 100 are params
            self.client.log_batch(run, metrics[i : i + 900], params[i // 9 : i // 9 + 100])
        for sheet in news.sheets.values():
            self.client.log_artifact(run, str(sheet), "samples")
        self.runs[news.key, news.started] = news.seen = news.seen | {"run": run}
        facts = news.facts | {"ganbench.exported": json.dumps(news.seen)}
        self.client.log_batch(
            run, tags=[RunTag(name, value[:5000]) for name, value in facts.items()]
        )
        if news.facts:
            ends = {
                "done": "FINISHED",
                "diverged": "FINISHED",
                "interrupted": "KILLED",
                "running": "RUNNING",
            }
            state = ends.get(news.status, "FAILED")
            if state == "RUNNING":
                self.client.update_run(run, state)
            else:
                self.client.set_terminated(run, state, ended)

    def close(self) -> None:
        pass


class Wandb(Remembered):
    """Runs to be sent with `wandb sync`, or, where WANDB_API_KEY is set or WANDB_MODE says so, sent
    at once. The generator step is the axis `g_step`: what is logged at one of wandb's own steps
    cannot be added to later."""

    def __init__(self, place: Path, project: str) -> None:
        os.environ.setdefault("WANDB_ERROR_REPORTING", "false")
        import wandb

        self.mode: Any = os.environ.get("WANDB_MODE") or (
            "online" if os.environ.get("WANDB_API_KEY") else "offline"
        )
        if self.mode == "disabled":
            raise UserError("export wandb: WANDB_MODE is disabled, which writes nothing; unset it")
        super().__init__(place)
        self.errors, self.project, self.open = (wandb.Error,), project, dict[str, Any]()
        self.hint = (
            f"wandb sync {place}/wandb/offline-run-*" if self.mode == "offline" else "wandb.ai"
        )
        self.place.mkdir(parents=True, exist_ok=True)

    def write(self, news: News) -> None:
        import wandb

        run = self.open.get(news.seen["run"]) or self._open(news)
        run.config.update(news.axes | news.params, allow_val_change=True)
        for step in sorted({*news.points, *news.sheets}):
            values: dict[str, Any] = {"g_step": step, **news.points.get(step, {})}
            if step in news.sheets:
                values["samples"] = wandb.Image(str(news.sheets[step]))
            run.log(values)
        run.summary.update(news.facts)
        self.open[news.seen["run"]] = run
        if news.status in SETTLED:
            self.open.pop(news.seen["run"]).finish(exit_code=0 if news.status in FINISHED else 1)
        self.remember(news)

    def _open(self, news: News) -> Any:
        import wandb

        settings = wandb.Settings(
            silent=True,
            console="off",
            disable_git=True,
            disable_code=True,
            x_disable_stats=True,
            x_disable_meta=True,  # the machine that exports is not the one that trained
            x_disable_machine_info=True,
            host="",
            x_save_requirements=False,
        )
        run = wandb.init(
            dir=self.place,
            project=self.project,
            id=digest([news.key, news.started], 16),
            name=news.seen["run"],
            group=news.axes["objective"][:128],
            tags=[news.axes[axis][:64] for axis in AXES[:3]],
            mode=self.mode,
            resume="allow",
            reinit="create_new",
            settings=settings,
        )
        run.define_metric("g_step")
        run.define_metric("*", step_metric="g_step")
        return run

    def close(self) -> None:
        for run in self.open.values():
            run.finish()


TRACKERS: dict[str, Any] = {"tensorboard": TensorBoard, "mlflow": Mlflow, "wandb": Wandb}
