"""Every metric's name, unit, direction, label and tolerance: the only place that knows.

A column is the metric's name followed by its protocol: `fid_classifier_750` is `fid`, measured with
the `classifier` extractor on 750 samples; `swd_2k` is `swd` on 2,000. A function of the same name
in `benchmark/measure/` computes it. To add a metric, add a row here and that function there."""

from dataclasses import dataclass
from typing import Literal

from benchmark.errors import unknown


@dataclass(frozen=True)
class Metric:
    """One row of METRICS. The band of the regression check is the largest of `absolute`, `relative`
    x the baseline, and twice the robust spread of the baseline's seeds: what a loss must exceed to
    be worth a red mark. False alarms are its test's concern, so the first two can be narrow."""

    name: str
    modality: tuple[
        str, ...
    ]  # points, images or both: the files of benchmark/measure/ that compute it
    label: str
    unit: str
    direction: Literal["min", "max"]
    absolute: float
    relative: float
    primary: bool = False
    gate: bool = True


POINTS, IMAGES = ("points",), ("images",)
BOTH = POINTS + IMAGES

METRICS = {
    metric.name: metric
    for metric in (
        Metric("fid", IMAGES, "FID", "", "min", 0.1, 0.10, primary=True),
        Metric("is_mean", IMAGES, "Inception score", "", "max", 0.1, 0.03),
        Metric(
            "is_std", IMAGES, "Inception score, std over splits", "", "min", 0.2, 0.5, gate=False
        ),
        Metric("kid", IMAGES, "KID", "", "min", 0.005, 0.10),
        Metric("precision", IMAGES, "Precision", "share", "max", 0.02, 0.0),
        Metric("recall", IMAGES, "Recall", "share", "max", 0.02, 0.0),
        Metric(
            "nn_ratio",
            IMAGES,
            "Distance to nearest training image / held-out's",
            "",
            "max",
            0.1,
            0.1,
            gate=False,
        ),
        Metric(
            "duplicates", IMAGES, "Share of near duplicates", "share", "min", 0.05, 0.0, gate=False
        ),
        Metric("swd", POINTS, "Sliced Wasserstein distance", "", "min", 0.01, 0.10, primary=True),
        Metric("modes_covered", BOTH, "Modes covered", "modes", "max", 0.5, 0.02),
        Metric(
            "high_quality", POINTS, "High-quality share (within 3 σ)", "share", "max", 0.02, 0.0
        ),
        Metric("reverse_kl", BOTH, "Reverse KL to the mode weights", "nats", "min", 0.02, 0.10),
        Metric("js_grid", POINTS, "Jensen–Shannon divergence on a grid", "bits", "min", 0.01, 0.05),
    )
}


def column(name: str, n: int, extractor: str | None = None) -> str:
    """The column of metric `name` at `n` samples: `fid_classifier_750`, `swd_2k`."""
    size = f"{n // 1000}k" if n >= 1000 and n % 1000 == 0 else str(n)
    return "_".join([name, *([extractor.replace("-", "_")] if extractor else []), size])


def metric(column_name: str) -> Metric:
    """The metric a column belongs to: the longest name that begins it. Raises UserError for
    none."""
    found = [name for name in METRICS if column_name == name or column_name.startswith(f"{name}_")]
    if not found:
        raise unknown("metric", column_name, METRICS)
    return METRICS[max(found, key=len)]


def rank(column: str) -> tuple[int, str]:
    """Sorts columns by the order of METRICS."""
    return list(METRICS).index(metric(column).name), column


def sign(column: str) -> int:
    """1 where smaller is better, -1 where larger is."""
    return 1 if metric(column).direction == "min" else -1
