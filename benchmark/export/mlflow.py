"""Results -> MLflow: a tracking server, a database or a folder."""

import json
import logging
import os
import shlex
import sqlite3
from contextlib import closing
from dataclasses import replace
from functools import cached_property
from importlib import import_module
from importlib.util import find_spec
from pathlib import Path

from mlflow import MlflowClient
from mlflow.entities import Metric, Param, RunTag
from mlflow.exceptions import MlflowException

from benchmark.errors import DamagedError, UserError
from benchmark.export.base import REASON_LENGTH, News, Seen, Tracker
from benchmark.store.files import refuse_link
from benchmark.store.schema import RunStatus
from benchmark.text import described, one_line

ERRORS: tuple[type[Exception], ...] = (MlflowException,)
try:
    from sqlalchemy.exc import SQLAlchemyError

    ERRORS += (SQLAlchemyError,)
except ImportError:
    # A tracking server needs no database here
    pass

# tags of a run: which start of the cell it is, and what was exported of it
STARTED, EXPORTED = "ganbench.started", "ganbench.exported"
SERVER = ("mlflow", "ui", "--backend-store-uri")
# a batch holds 1,000 items, of which 100 are params
METRICS_PER_BATCH = 900
PARAMS_PER_BATCH = 100
PARAM_LENGTH = 6000
TAG_LENGTH = 5000
# status of a cell -> status of a run; every other one is FAILED
STATES = {
    RunStatus.DONE: "FINISHED",
    RunStatus.DIVERGED: "FINISHED",
    RunStatus.STOPPED: "FINISHED",
    RunStatus.INTERRUPTED: "KILLED",
    RunStatus.RUNNING: "RUNNING",
}


class Mlflow(Tracker):
    """A tracking server or database; in a folder, mlflow.db and artifacts. What was exported is a
    tag of the run."""

    errors = ERRORS

    def __init__(self, place: Path | str, project: str) -> None:
        os.environ.setdefault("MLFLOW_DISABLE_TELEMETRY", "true")
        uri = place if isinstance(place, str) else f"sqlite:///{place.absolute() / 'mlflow.db'}"
        if uri.startswith("sqlite"):
            # without these two the error of mlflow-skinny is about its model registry
            import_module("sqlalchemy")
            import_module("alembic")
        self.hint = uri
        if not uri.startswith("http"):
            self.hint = shlex.join([*SERVER, uri])
            # mlflow-skinny writes without the packages of the server
            if find_spec("flask") is None:
                self.hint = f"pip install mlflow && {self.hint}"
        for name in ("mlflow", "alembic"):
            logging.getLogger(name).setLevel(logging.WARNING)
        artifacts = None
        if isinstance(place, Path):
            for name in ("mlflow.db", "artifacts"):
                refuse_link(place / name)
            place.mkdir(parents=True, exist_ok=True)
            _check_database(place / "mlflow.db")
            artifacts = (place.absolute() / "artifacts").as_uri()
        try:
            self.client = MlflowClient(tracking_uri=uri)
            found = self.client.get_experiment_by_name(project)
            if found:
                self.experiment = found.experiment_id
            else:
                self.experiment = self.client.create_experiment(project, artifacts)
        except ERRORS as error:
            raise UserError(f"export: {uri}: {one_line(error)[:REASON_LENGTH]}") from error

    @cached_property
    def runs(self) -> dict[tuple[str, str], Seen]:
        """What was exported, by key and start."""
        found: dict[tuple[str, str], Seen] = {}
        token = None
        while token != "":
            page = self.client.search_runs([self.experiment], max_results=1000, page_token=token)
            token = page.token or ""
            for run in page:
                tags = run.data.tags
                if STARTED in tags:
                    seen = _seen(run.info.run_id, tags.get(EXPORTED, "{}"))
                    found[tags.get("key", ""), tags[STARTED]] = seen
        return found

    def seen(self, key: str, started: str) -> Seen:
        return self.runs.get((key, started), Seen())

    def write(self, news: News) -> None:
        run = news.seen.run or self._create_run(news)
        self._log_values(run, news)
        for sheet in news.sheets.values():
            self.client.log_artifact(run, str(sheet), "samples")
        seen = replace(news.seen, run=run)
        self.runs[news.key, news.started] = seen
        facts = news.facts | {EXPORTED: json.dumps(seen.as_json())}
        tags = [RunTag(name, value[:TAG_LENGTH]) for name, value in facts.items()]
        self.client.log_batch(run, tags=tags)
        if news.facts:
            self._set_state(run, news)

    def _create_run(self, news: News) -> str:
        tags = news.axes | {"key": news.key, STARTED: news.started}
        began = _milliseconds(news, 0)
        return self.client.create_run(self.experiment, began, tags, news.key).info.run_id

    def _log_values(self, run: str, news: News) -> None:
        """Log metrics and params, in as many batches as they need."""
        metrics = []
        for step, values in news.points.items():
            for series, value in values.items():
                metrics.append(Metric(series, float(value), _milliseconds(news, step), step))
        params = [Param(name, str(value)[:PARAM_LENGTH]) for name, value in news.params.items()]
        while metrics or params:
            self.client.log_batch(run, metrics[:METRICS_PER_BATCH], params[:PARAMS_PER_BATCH])
            metrics = metrics[METRICS_PER_BATCH:]
            params = params[PARAMS_PER_BATCH:]

    def _set_state(self, run: str, news: News) -> None:
        state = STATES.get(news.status, "FAILED")
        if state == "RUNNING":
            self.client.update_run(run, state)
        else:
            ended = _milliseconds(news, news.last_step(default=0))
            self.client.set_terminated(run, state, ended)


def _check_database(path: Path) -> None:
    """Raises UserError for a file that SQLite cannot open, which MLflow tries for two minutes."""
    try:
        with closing(sqlite3.connect(path)) as database:
            database.execute("PRAGMA schema_version")
    except sqlite3.Error as error:
        raise UserError(f"export: {path}: {error}") from error


def _seen(run: str, stored: str) -> Seen:
    """What a run was given. Raises DamagedError for a tag that is no record of an export."""
    try:
        seen = Seen.from_json(json.loads(stored))
    except (TypeError, ValueError, RecursionError) as error:
        reason = f"the tag {EXPORTED} of run {run} is damaged: {described(error)}"
        raise DamagedError(reason) from error
    return replace(seen, run=run)


def _milliseconds(news: News, step: int) -> int:
    return round(1000 * news.clock.time(step))
