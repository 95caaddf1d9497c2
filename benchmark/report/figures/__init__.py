"""The figures of a report, a file per topic; `draw_all` draws them in reading order."""

from functools import partial
from pathlib import Path

from benchmark.analysis.designs.drawn import without_drawn
from benchmark.analysis.evidence import Evidence, gather
from benchmark.analysis.search.finals import shown
from benchmark.analysis.tables import Tables
from benchmark.drawing.parallel import Draw, in_parallel
from benchmark.drawing.save import Figure
from benchmark.drawing.style import drawing
from benchmark.report.figures import (
    certainty,
    designs,
    learning,
    overview,
    robustness,
    samples,
    speed,
    stability,
    traces,
    tuning,
)


def draw_all(tables: Tables, folder: Path, evidence: Evidence | None = None) -> list[Figure]:
    """Draw every figure that the results so far allow, and write it to `folder`/figures.

    evidence: as gathered from `tables`; gathered here where it is not given."""
    (folder / "figures").mkdir(parents=True, exist_ok=True)
    if evidence is None:
        evidence = gather(without_drawn(shown(tables)))
    tables = evidence.tables
    of_tables = (
        designs.success_curves,
        designs.crossed_seeds,
        samples.draw,
        robustness.draw,
        overview.heatmap,
        learning.learning_curves,
        speed.time_to_target,
        speed.profiles,
        stability.verdicts,
        traces.gradient_norms,
        traces.layers,
        traces.scores,
        stability.critic_loss,
        speed.cost,
        tuning.curves,
        tuning.sensitivity,
    )
    of_evidence = (certainty.differences, certainty.ranks, certainty.power)
    draws: list[Draw] = [partial(draw, tables, folder) for draw in of_tables]
    draws += [partial(draw, evidence, folder) for draw in of_evidence]
    with drawing(tables.matrix.objective_labels):
        return in_parallel(draws)
