"""The figures of a report, a file per topic; `draw_all` draws them in reading order."""

from pathlib import Path

from benchmark.analysis.evidence import Evidence, gather
from benchmark.analysis.published import labelled
from benchmark.analysis.tables import Tables
from benchmark.drawing.save import Figure
from benchmark.drawing.style import drawing
from benchmark.report.figures import (
    certainty,
    learning,
    overview,
    robustness,
    samples,
    speed,
    stability,
    traces,
)


def draw_all(tables: Tables, folder: Path, evidence: Evidence | None = None) -> list[Figure]:
    """Draw every figure that the results so far allow, and write it to `folder`/figures.

    evidence: as gathered from `tables`; gathered here where it is not given."""
    (folder / "figures").mkdir(parents=True, exist_ok=True)
    tables = labelled(tables)
    if evidence is None:
        evidence = gather(tables)
    with drawing(tables.matrix.objective_labels):
        return [
            *samples.draw(tables, folder),
            *robustness.draw(tables, folder),
            *overview.heatmap(tables, folder),
            *learning.learning_curves(tables, folder),
            *speed.time_to_target(tables, folder),
            *speed.profiles(tables, folder),
            *stability.verdicts(tables, folder),
            *traces.gradient_norms(tables, folder),
            *traces.layers(tables, folder),
            *traces.scores(tables, folder),
            *stability.critic_loss(tables, folder),
            *speed.cost(tables, folder),
            *certainty.differences(evidence, folder),
            *certainty.ranks(evidence, folder),
            *certainty.power(evidence, folder),
        ]
