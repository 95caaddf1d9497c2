"""Results -> Weights & Biases: runs in a folder, sent later or at once."""

import html
import os
import re
import shlex
from pathlib import Path
from typing import Any

os.environ.setdefault("WANDB_ERROR_REPORTING", "false")  # read as the library is imported
import wandb

from benchmark.errors import UserError
from benchmark.export.base import AXES, FolderTracker, News
from benchmark.matrix.cell import digest
from benchmark.text import cut

PROJECT_LENGTH = 128
GROUP_LENGTH = 128
TAG_LENGTH = 64
FORBIDDEN = re.compile(r"[/\\#?%:]")  # in the name of a project


class Wandb(FolderTracker):
    """Runs to be sent with `wandb sync`, or sent at once where WANDB_API_KEY is set or WANDB_MODE
    says so.

    The generator step is the axis `g_step`, because nothing can be added later at one of wandb's
    own steps."""

    errors = (wandb.Error,)

    def __init__(self, place: Path, project: str) -> None:
        mode = "online" if os.environ.get("WANDB_API_KEY") else "offline"
        self.mode: Any = os.environ.get("WANDB_MODE") or mode
        if self.mode == "disabled":
            raise UserError("export wandb: WANDB_MODE is disabled, which writes nothing; unset it")
        super().__init__(place)
        self.project = project_name(project)
        self.open: dict[str, Any] = {}  # runs that are not finished, by name
        self.hint = "wandb.ai"
        if self.mode == "offline":
            self.hint = f"wandb sync {shlex.quote(str(place))}/wandb/offline-run-*"
        self.place.mkdir(parents=True, exist_ok=True)

    def write(self, news: News) -> None:
        name = news.seen.run
        run = self.open.get(name) or self._open(news)
        run.config.update(news.axes | news.params, allow_val_change=True)
        for step in sorted({*news.points, *news.sheets}):
            values: dict[str, Any] = {"g_step": step, **news.points.get(step, {})}
            if step in news.sheets:
                values["samples"] = _samples(news.sheets[step])
            run.log(values)
        run.summary.update(news.facts)
        self.open[name] = run
        if news.status.is_settled:
            self.open.pop(name).finish(exit_code=0 if news.status.is_finished else 1)
        self.remember(news)

    def _open(self, news: News) -> Any:
        # the machine that exports is not the one that trained
        settings = wandb.Settings(
            silent=True,
            console="off",
            disable_git=True,
            disable_code=True,
            x_disable_stats=True,
            x_disable_meta=True,
            x_disable_machine_info=True,
            host="",
            x_save_requirements=False,
        )
        run = wandb.init(
            dir=self.place,
            project=self.project,
            id=digest([news.key, news.started], 16),
            name=news.seen.run,
            group=news.axes["objective"][:GROUP_LENGTH],
            tags=[news.axes[axis][:TAG_LENGTH] for axis in AXES[:3]],
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


def _samples(sheet: Path) -> Any:
    """A sheet of images as a picture, lines of text as a page."""
    if sheet.suffix == ".txt":
        page = f"<pre>{html.escape(sheet.read_text(encoding='utf-8'))}</pre>"
        return wandb.Html(page, data_is_not_path=True)
    return wandb.Image(str(sheet))


def project_name(name: str) -> str:
    """A name that wandb takes. Different names stay different."""
    allowed = cut(FORBIDDEN.sub("_", name), PROJECT_LENGTH)
    if allowed == name:
        return name
    return f"{cut(allowed, PROJECT_LENGTH - 9)}-{digest(name)}"
