"""Results -> TensorBoard: a folder of event files, one per run."""

import shlex
from pathlib import Path

from PIL import Image
from tensorboard.compat.proto.event_pb2 import Event
from tensorboard.compat.proto.summary_pb2 import Summary
from tensorboard.plugins.hparams.summary_v2 import hparams_pb
from tensorboard.plugins.text.summary_v2 import text_pb
from tensorboard.summary.writer.record_writer import RecordWriter

from benchmark.errors import UserError
from benchmark.export.base import FolderTracker, News
from benchmark.store.files import refuse_link
from benchmark.text import escaped

# one file per run, without the name of the host that the library's own writer adds
EVENTS = "events.out.tfevents.0.ganbench"


class TensorBoard(FolderTracker):
    """A folder per run. Values are float32, NaN and infinities included."""

    def __init__(self, place: Path, project: str) -> None:
        super().__init__(place)
        self.hint = shlex.join(["tensorboard", "--logdir", str(place)])

    def write(self, news: News) -> None:
        path = self.folder_of(news.seen) / EVENTS
        refuse_link(path)
        path.parent.mkdir(parents=True, exist_ok=True)
        try:
            size = self._append(path, news)
        except OSError as error:
            # A full disk names no file
            error.filename = error.filename or str(path)
            raise
        self.remember(news, bytes=size)

    def _append(self, path: Path, news: News) -> int:
        """Add the events of news to a file, and return its size."""
        with path.open("ab") as file:
            if file.tell() < news.seen.bytes:
                raise UserError(
                    f"{path} is shorter than what was exported; "
                    f"delete {self.place} to export everything again"
                )
            # an export that was killed may have written more than it remembered
            file.truncate(news.seen.bytes)
            writer = RecordWriter(file)
            for event in events(news):
                writer.write(event.SerializeToString())
            return file.tell()


def events(news: News) -> list[Event]:
    """The events of a cell's news, in the order of the file."""
    found = []
    if not news.seen.bytes:
        found.append(Event(wall_time=news.clock.time(0), file_version="brain.Event:2"))
    if news.params:
        found.append(_options(news))
    if news.facts:
        found.append(_facts(news))
    for step, values in news.points.items():
        scalars = [Summary.Value(tag=tag, simple_value=value) for tag, value in values.items()]
        found.append(_event(news, step, Summary(value=scalars)))
    for step, sheet in news.sheets.items():
        summary = _lines(sheet) if sheet.suffix == ".txt" else _image(sheet)
        found.append(_event(news, step, summary))
    return found


def _event(news: News, step: int, summary: Summary) -> Event:
    return Event(wall_time=news.clock.time(step), step=step, summary=summary)


def _options(news: News) -> Event:
    """The options of a cell, as hyperparameters."""
    started = news.clock.time(0)
    options = news.axes | news.params
    summary = hparams_pb(options, trial_id=news.seen.run, start_time_secs=started)
    return Event(wall_time=started, summary=summary)


def _facts(news: News) -> Event:
    """The state and provenance of a cell, as a table in Markdown."""
    facts = news.axes | news.facts
    rows = [f"| {escaped(name)} | {escaped(value)} |" for name, value in facts.items()]
    step = news.last_step(default=news.seen.steps.step)
    summary = text_pb("cell", "\n".join(["| | |", "|-|-|", *rows]))
    return Event(wall_time=news.clock.time(step), step=max(step, 0), summary=summary)


def _lines(sheet: Path) -> Summary:
    """Lines of text as a block of code in Markdown, in which nothing is markup."""
    lines = sheet.read_text(encoding="utf-8").split("\n")
    return text_pb("samples", "\n".join(f"    {line}" for line in lines))


def _image(sheet: Path) -> Summary:
    with Image.open(sheet) as image:
        picture = Summary.Image(
            height=image.height,
            width=image.width,
            colorspace=len(image.getbands()),
            encoded_image_string=sheet.read_bytes(),
        )
    return Summary(value=[Summary.Value(tag="samples", image=picture)])
