"""Every metric's name, unit, direction, label and tolerance: the only place that knows.

A column is the metric's name followed by its protocol: `fid_classifier_750` is `fid`, measured with the
`classifier` extractor on 750 samples; `swd_2k` is `swd` on 2,000. A function of the same name in
`benchmark/measure/` computes it. To add a metric, add a row here and that function there.
"""

from dataclasses import dataclass
from typing import Literal

from benchmark import unknown


@dataclass(frozen=True)
class Metric:
    """One row of METRICS. The band of the regression check is the largest of `absolute`, `relative` x the
    baseline, and twice the robust spread of the baseline's seeds."""

    name: str
    modality: Literal["points", "images"]
    label: str
    unit: str
    direction: Literal["min", "max"]
    absolute: float
    relative: float
    primary: bool = False
    gate: bool = True


METRICS = {
    metric.name: metric
    for metric in (
        Metric("fid", "images", "FID", "", "min", 0.1, 0.20, primary=True),
        Metric("is_mean", "images", "Inception score", "", "max", 0.2, 0.05),
        Metric("is_std", "images", "Inception score, std over splits", "", "min", 0.2, 0.5, gate=False),
        Metric("kid", "images", "KID", "", "min", 0.005, 0.25),
        Metric("precision", "images", "Precision", "share", "max", 0.05, 0.0),
        Metric("recall", "images", "Recall", "share", "max", 0.05, 0.0),
        Metric(
            "nn_ratio", "images", "Distance to nearest training image / held-out's", "", "max", 0.1, 0.1, gate=False
        ),
        Metric("swd", "points", "Sliced Wasserstein distance", "", "min", 0.01, 0.20, primary=True),
        Metric("modes_covered", "points", "Modes covered", "modes", "max", 0.5, 0.0),
        Metric("high_quality", "points", "High-quality share (within 3 σ)", "share", "max", 0.05, 0.0),
        Metric("reverse_kl", "points", "Reverse KL to the mode weights", "nats", "min", 0.1, 0.25),
        Metric("js_grid", "points", "Jensen–Shannon divergence on a grid", "bits", "min", 0.02, 0.10),
    )
}


def column(name: str, n: int, extractor: str | None = None) -> str:
    """The column of metric `name` at `n` samples: `fid_classifier_750`, `swd_2k`."""
    size = f"{n // 1000}k" if n >= 1000 and n % 1000 == 0 else str(n)
    return "_".join([name, *([extractor.replace("-", "_")] if extractor else []), size])


def metric(column_name: str) -> Metric:
    """The metric a column belongs to: the longest name that begins it. Raises UserError for none."""
    found = [name for name in METRICS if column_name == name or column_name.startswith(f"{name}_")]
    if not found:
        raise unknown("metric", column_name, METRICS)
    return METRICS[max(found, key=len)]
