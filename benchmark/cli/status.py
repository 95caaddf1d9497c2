"""The state of a result set as text, and live on a terminal."""

import time
from collections import defaultdict
from collections.abc import Iterator
from datetime import datetime
from pathlib import Path

from rich.console import Console, Group, RenderableType
from rich.live import Live
from rich.progress_bar import ProgressBar
from rich.table import Table
from rich.text import Text

from benchmark.store.overview import CellOverview, Overview
from benchmark.store.reader import GONE, Reader
from benchmark.store.schema import RunStatus
from benchmark.text import counted, duration

LISTED = 20  # cells of one status and reason that are listed one by one
COLOURS: dict[str, str] = {"done": "green", "diverged": "yellow", "error": "red", "timeout": "red"}
# In the order of a list: what runs and what failed first, what has not started last
ORDER = ("running", "error", "timeout", "diverged", "interrupted", "missing")
QUIET = (RunStatus.DONE, RunStatus.STOPPED)  # counted, and not listed
STALE = (
    "stale: different code or evaluation options made them, or a variant is not found "
    "(--variants); `run --force` runs them again"
)
REMEASURE = "measured by different code; `ganbench measure` measures their final samples again"
FIXED_LINES = 11  # of a screen: heads, counts and blank lines


def lines(now: Overview) -> Iterator[str]:
    """What `status` prints: counts, time left, and every cell that neither is done nor was stopped
    by a search, with its reason."""
    yield f"{now.matrix}: {len(now.cells)} cells: {counted(now.counts)}"
    yield from _outlook(now)
    alike: dict[tuple[RunStatus, str | None], list[CellOverview]] = defaultdict(list)
    for cell in now.cells:
        if cell.status not in QUIET:
            alike[cell.status, cell.reason].append(cell)
    for status, reason in sorted(alike, key=lambda kind: ORDER.index(kind[0])):
        cells = alike[status, reason]
        because = f": {reason}" if reason and reason != status else ""
        for cell in cells[:LISTED]:
            name = f" ({' / '.join(cell.shown)})" if cell.is_labelled else ""
            yield f"  {status:12} {cell.key}{name}{because}{_details(cell)}"
        num_more = len(cells) - LISTED
        if num_more > 0:
            yield f"  {status:12} and {num_more:,} more{because}"
    for cell in now.cells:
        for text in cell.warnings:
            yield f"  {'warning':12} {cell.key}: {text}"


def report_line(now: Overview, command: str) -> str:
    """Where the report is. command: what writes it."""
    if now.report is None:
        return f"no report yet: `{command}` writes it"
    if now.report_is_old:
        return f"report: {now.report}, older than the results: `{command}` writes it again"
    return f"report: {now.report}"


def watch(folder: Path, console: Console, every: float = 2.0) -> None:
    """Show the state until nothing is left to run, or until Ctrl-C."""
    reader = Reader(folder)
    with Live(console=console, auto_refresh=False) as live:
        while True:
            now = reader.overview()
            live.update(frame(now, console.height), refresh=True)
            if now.is_settled:
                return
            time.sleep(every)


def frame(now: Overview, height: int) -> RenderableType:
    """A screen of `height` lines: running cells with progress, speed and time left; failures;
    counts and finish."""
    running = [cell for cell in now.cells if cell.is_running]
    failed = [cell for cell in now.cells if _has_failed(cell)]
    failed.sort(key=lambda cell: cell.updated or "", reverse=True)  # the latest first
    room = max(2, height - FIXED_LINES)
    num_failed = min(len(failed), max(room // 3, room - len(running)))
    parts: list[RenderableType] = []
    if running:
        num_running = room - num_failed
        parts.append(_running(running[:num_running]))
        parts += _more(len(running) - num_running)
        parts.append(Text())
    for cell in failed[:num_failed]:
        status = (f"{cell.status:12} ", COLOURS.get(cell.status, ""))
        parts.append(_row(status, f"{cell.key}: {cell.reason}"))
    parts += _more(len(failed) - num_failed)
    if failed:
        parts.append(Text())
    return Group(*parts, _overall(now, running), _counts(now), *map(_row, _outlook(now)))


def _has_failed(cell: CellOverview) -> bool:
    return cell.status in (RunStatus.ERROR, RunStatus.TIMEOUT) or cell.reason == GONE


def _more(num_cells: int) -> list[RenderableType]:
    return [_row((f"and {num_cells:,} more", "dim"))] if num_cells > 0 else []


def _overall(now: Overview, running: list[CellOverview]) -> Table:
    num_settled = sum(cell.status.is_settled for cell in now.cells)
    completed = num_settled + sum(cell.progress for cell in running)
    table = Table.grid(padding=(0, 1))
    counted_cells = f"{num_settled:,} of {len(now.cells):,} cells"
    table.add_row(Text(now.matrix, "bold"), _bar(len(now.cells), completed, 40), counted_cells)
    return table


def _counts(now: Overview) -> Text:
    parts: list[str | tuple[str, str]] = []
    for status, n in now.counts.items():
        parts += [f"{n:,} ", (status, COLOURS.get(status, "")), "  "]
    return _row(*parts)


def _row(*parts: str | tuple[str, str]) -> Text:
    return Text.assemble(*parts, no_wrap=True, overflow="ellipsis")


def _bar(total: float, completed: float, width: int | None = None) -> ProgressBar:
    return ProgressBar(total, completed, width, complete_style="cyan", finished_style="green")


def _percent(share: float) -> str:
    return f"{100 * share:.0f} %"


def _running(cells: list[CellOverview]) -> Table:
    table = Table(box=None, padding=(0, 1), pad_edge=False, header_style="dim")
    # Columns without a width give way on a narrow terminal
    for name in ("objective", "architecture", "dataset"):
        table.add_column(name)
    table.add_column("seed", no_wrap=True, width=4, justify="right")
    table.add_column("progress", no_wrap=True, width=12)
    for name, width in (("", 5), ("steps/s", 7), ("left", 11)):
        table.add_column(name, no_wrap=True, width=width, justify="right")
    for cell in cells:
        speed, left = cell.steps_per_second, cell.seconds_left
        table.add_row(
            *map(_row, cell.shown),
            _row(str(cell.seed)),
            _bar(1.0, cell.progress),
            _percent(cell.progress),
            f"{speed:.3g}" if speed else "–",
            "–" if left is None else duration(left),
        )
    return table


def _outlook(now: Overview) -> Iterator[str]:
    """The work left and when it is done; how many cells are stale, or were resumed."""
    if not now.is_settled:
        yield _work_left(now)
    resumes = [cell.resumes for cell in now.cells if cell.resumes]
    if resumes:
        yield f"cells resumed: {len(resumes):,} ({sum(resumes):,} times in all)"
    if now.stale:
        yield f"{now.stale:,} {STALE}"
    if now.measurements_stale > now.stale:
        yield f"{now.measurements_stale:,} {REMEASURE}"


def _work_left(now: Overview) -> str:
    sentence = f"{now.running:,} running" if now.running else "nothing is running"
    if now.seconds_left is None:
        sentence += "; the time left is not known yet"
    else:
        sentence += f"; about {duration(now.seconds_left)} of work left"
    if now.finish:
        sentence += f", done {_when(now.finish)}"
    if now.guessed and now.seconds_left is not None:
        sentence += f" (with a guess for {now.guessed:,} cells of a kind that has not run yet)"
    return sentence


def _details(cell: CellOverview) -> str:
    """What is known of a cell that is running or waits with a checkpoint."""
    if not cell.is_running:
        return f" (resumes at {_percent(cell.progress)})" if cell.checkpoint else ""
    details = f": {_percent(cell.progress)}"
    if cell.steps_per_second:
        details += f", {cell.steps_per_second:.3g} steps/s"
    if cell.seconds_left is not None:
        details += f", {duration(cell.seconds_left)} left"
    return details


def _when(finish: str) -> str:
    """`at about 14:32`, with the day if it is not today."""
    end = datetime.fromisoformat(finish)
    days = (end.date() - datetime.now().date()).days
    if days == 0:
        return f"at about {end:%H:%M}"
    if days < 7:
        return f"at about {end:%a %H:%M}"
    return f"at about {end:%d %b %Y}"
