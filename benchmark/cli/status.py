"""The state of a result set as text, and live on a terminal."""

import time
from collections import defaultdict
from collections.abc import Iterator
from datetime import datetime
from pathlib import Path
from typing import Any

from rich.console import Console, Group, RenderableType
from rich.live import Live
from rich.progress_bar import ProgressBar
from rich.table import Table
from rich.text import Text

from benchmark.store.code import State
from benchmark.store.overview import GONE, Reader, counted
from benchmark.store.result_set import FINISHED, SETTLED
from benchmark.text import duration

LISTED = 20  # cells of one state and reason that are listed one by one
COLOURS = {"done": "green", "diverged": "yellow", "error": "red", "timeout": "red"}


def lines(now: dict[str, Any]) -> Iterator[str]:
    """What `status` prints: counts, time left, and every cell that is not done, with its reason."""
    cells = now["cells"]
    yield f"{now['matrix']}: {len(cells)} cells: {counted(now['counts'])}"
    yield from _outlook(now)
    kinds = defaultdict(list)
    for cell in cells:
        if cell["status"] != "done":
            kinds[cell["status"], cell["reason"]].append(cell)
    for (status, reason), alike in sorted(kinds.items(), key=lambda kind: _place(kind[0][0])):
        said = f": {reason}" if reason and reason != status else ""
        for cell in alike[:LISTED]:
            yield f"  {status:12} {cell['key']}{said}{_details(cell)}"
        if more := alike[LISTED:]:
            yield f"  {status:12} and {len(more):,} more{said}"
    for cell in cells:
        for text in cell["warnings"]:
            yield f"  {'warning':12} {cell['key']}: {text}"


def watch(folder: Path, console: Console, every: float = 2.0) -> None:
    """Show the state until nothing is left to run, or until Ctrl-C."""
    reader = Reader(folder)
    with Live(console=console, auto_refresh=False) as live:
        while True:
            now = reader.overview()
            live.update(frame(now, console.height), refresh=True)
            if all(status in SETTLED for status in now["counts"]):
                return
            time.sleep(every)


def frame(now: dict[str, Any], height: int) -> RenderableType:
    """A screen of `height` lines: running cells with progress, speed and time left; failures;
    counts and finish."""
    running = [cell for cell in now["cells"] if cell["status"] == "running"]
    given_up = {*SETTLED} - {*FINISHED}
    failed = [cell for cell in now["cells"] if cell["status"] in given_up or cell["reason"] == GONE]
    failed.sort(key=lambda cell: cell["updated"] or "", reverse=True)  # the latest first
    room = max(2, height - 11)  # beside heads, counts and blank lines
    shown = failed[: max(room // 3, room - len(running))]
    parts: list[RenderableType] = []
    if running:
        parts.append(_running(running[: room - len(shown)]))
        if more := len(running[room - len(shown) :]):
            parts.append(_row((f"and {more:,} more", "dim")))
        parts.append(Text())
    for cell in shown:
        status = (f"{cell['status']:12} ", COLOURS.get(cell["status"], ""))
        parts.append(_row(status, f"{cell['key']}: {cell['reason']}"))
    if more := len(failed) - len(shown):
        parts.append(_row((f"and {more:,} more", "dim")))
    if failed:
        parts.append(Text())
    total, ended = (
        len(now["cells"]),
        sum(n for status, n in now["counts"].items() if status in SETTLED),
    )
    bar = Table.grid(padding=(0, 1))
    whole = _bar(total, ended + sum(cell["progress"] for cell in running), 40)
    bar.add_row(Text(now["matrix"], "bold"), whole, f"{ended:,} of {total:,} cells")
    counts = [
        part
        for status, n in now["counts"].items()
        for part in (f"{n:,} ", (status, COLOURS.get(status, "")), "  ")
    ]
    return Group(*parts, bar, _row(*counts), *map(_row, _outlook(now)))


def _row(*parts: str | tuple[str, str]) -> Text:
    return Text.assemble(*parts, no_wrap=True, overflow="ellipsis")


def _bar(total: float, completed: float, width: int | None = None) -> ProgressBar:
    return ProgressBar(total, completed, width, complete_style="cyan", finished_style="green")


def _percent(share: float) -> str:
    return f"{100 * share:.0f} %"


def _running(cells: list[State]) -> Table:
    table = Table(box=None, padding=(0, 1), pad_edge=False, header_style="dim")
    for name in ("objective", "architecture", "dataset"):
        table.add_column(name)  # of no fixed width: these give way on a narrow terminal
    for name, width in (("seed", 4), ("progress", 12), ("", 5), ("steps/s", 7), ("left", 11)):
        table.add_column(
            name, no_wrap=True, width=width, justify="left" if name == "progress" else "right"
        )
    for cell in cells:
        axes = (_row(str(cell[name])) for name in ("objective", "architecture", "dataset", "seed"))
        speed, left = cell["steps_per_second"], cell["seconds_left"]
        table.add_row(
            *axes,
            _bar(1.0, cell["progress"]),
            _percent(cell["progress"]),
            f"{speed:.3g}" if speed else "–",
            "–" if left is None else duration(left),
        )
    return table


def _outlook(now: dict[str, Any]) -> Iterator[str]:
    """The work left and when it is done; how many cells are stale, or were resumed."""
    total = now["seconds_left"]
    if any(status not in SETTLED for status in now["counts"]):
        said = f"{now['running']:,} running" if now["running"] else "nothing is running"
        said += (
            "; the time left is not known yet"
            if total is None
            else f"; about {duration(total)} of work left"
        )
        if now["finish"]:
            said += f", done {_when(now['finish'])}"
        if now["guessed"] and total is not None:
            said += f" (with a guess for {now['guessed']:,} cells of a kind that has not run yet)"
        yield said
    if resumed := [cell["resumes"] for cell in now["cells"] if cell["resumes"]]:
        yield f"cells resumed: {len(resumed):,} ({sum(resumed):,} times in all)"
    if now["stale"]:
        yield f"{now['stale']:,} stale: other code or evaluation options made them; `run --force` makes them anew"


def _place(status: str) -> int:
    """Where a status stands in a list: what runs and what failed first, what has not started
    last."""
    known = ("running", "error", "timeout", "diverged", "interrupted")
    return known.index(status) if status in known else len(known) + (status == "missing")


def _details(cell: State) -> str:
    """What is known of a cell that is running or waits with a checkpoint."""
    if cell["status"] != "running":
        return f" (continues at {_percent(cell['progress'])})" if cell["checkpoint"] else ""
    said = f": {_percent(cell['progress'])}"
    if cell["steps_per_second"]:
        said += f", {cell['steps_per_second']:.3g} steps/s"
    return (
        said if cell["seconds_left"] is None else f"{said}, {duration(cell['seconds_left'])} left"
    )


def _when(finish: str) -> str:
    """`at about 14:32`, with the day where it is another."""
    at = datetime.fromisoformat(finish)
    days = (at.date() - datetime.now().date()).days
    return f"at about {at:{'%H:%M' if days == 0 else '%a %H:%M' if days < 7 else '%d %b %Y'}}"
