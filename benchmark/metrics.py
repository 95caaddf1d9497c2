"""Every metric's name, unit, direction, label and tolerance; no other file repeats them.

A column is the metric's name followed by its protocol: `fid_classifier_750` is `fid`, measured with
the `classifier` extractor on 750 samples; `swd_2k` is `swd` on 2,000. A function of the same name
in `benchmark/measure/` computes the metric. To add a metric, add a row here and a function there.
"""

from collections.abc import Iterable
from dataclasses import dataclass
from functools import cache
from typing import Literal

from benchmark.errors import unknown


@dataclass(frozen=True)
class Metric:
    """One row of METRICS.

    The regression check compares a loss of quality with a band: the largest of `absolute`,
    `relative` x the baseline, and twice the robust spread of the baseline's seeds. The band says
    which loss is worth reporting. A statistical test guards against false alarms, so `absolute` and
    `relative` can be narrow."""

    name: str
    modality: tuple[str, ...]
    """points, images, text: the files of benchmark/measure/ that compute the metric."""
    label: str
    """The metric's name in words, without its protocol: `short_name` and `full_name` add it."""
    unit: str
    """Empty for a metric without a unit."""
    direction: Literal["min", "max"]
    """Whether smaller (min) or larger (max) values are better."""
    absolute: float
    """The least width of the regression check's band, in the metric's unit."""
    relative: float
    """The least width of the band as a share of the baseline."""
    primary: bool = False
    """Whether objectives are ranked by the metric. It is a distance: never negative, smaller is
    better, so that its ratios and its logarithm mean something."""
    gate: bool = True
    """Whether the regression check judges the metric."""
    ideal: float | None = None
    """The value of a perfect generator, of a metric that is worse on both sides of it; no objective
    is better or worse by such a metric."""


POINTS = ("points",)
IMAGES = ("images",)
TEXT = ("text",)
BOTH = POINTS + IMAGES
NEAREST = "Distance to nearest training image / held-out's"
NEAR_COPIES = "Share of near duplicates"
IS_STD = "Inception score, std over splits"
CLOSE = "High-quality share (within 3 σ)"
HIT = "Modes hit (one sample within 3 σ: VEEGAN, PacGAN)"
WIDTH = "Core width of the modes (1 is right)"
TAIL = "Share beyond 10 σ of every mode"
GRID = "Jensen–Shannon divergence on a grid"
GRAMS = "JS divergence of character {}-grams"
COPIED = "Longest substring shared with the training text"
CONFIDENCE = "Mean largest probability of a position (1 of real text)"

ROWS = (
    Metric("fid", IMAGES, "FID", "", "min", 0.1, 0.10, primary=True),
    Metric("is_mean", IMAGES, "Inception score", "", "max", 0.1, 0.03),
    Metric("is_std", IMAGES, IS_STD, "", "min", 0.2, 0.5, gate=False),
    Metric("kid", IMAGES, "KID", "", "min", 0.005, 0.10),
    Metric("clipped_density", IMAGES, "Clipped density", "share", "max", 0.03, 0.0),
    Metric("clipped_coverage", IMAGES, "Clipped coverage", "share", "max", 0.03, 0.0),
    Metric("precision", IMAGES, "Precision", "share", "max", 0.02, 0.0, gate=False),
    Metric("recall", IMAGES, "Recall", "share", "max", 0.02, 0.0, gate=False),
    Metric("nn_ratio", IMAGES, NEAREST, "", "max", 0.1, 0.1, gate=False),
    Metric("duplicates", IMAGES, NEAR_COPIES, "share", "min", 0.05, 0.0, gate=False),
    Metric("swd", POINTS, "Sliced Wasserstein distance", "", "min", 0.01, 0.10, primary=True),
    Metric("w1", POINTS, "Wasserstein distance", "", "min", 0.01, 0.10, gate=False),
    Metric("modes_covered", BOTH, "Modes covered", "modes", "max", 0.5, 0.02),
    Metric("modes_hit", POINTS, HIT, "modes", "max", 0.5, 0.02, gate=False),
    Metric("high_quality", POINTS, CLOSE, "share", "max", 0.02, 0.0),
    Metric("reverse_kl", BOTH, "Reverse KL to the mode weights", "nats", "min", 0.02, 0.10),
    Metric("core_width", POINTS, WIDTH, "", "min", 0.1, 0.10, gate=False, ideal=1),
    Metric("tail", POINTS, TAIL, "share", "min", 0.02, 0.0, gate=False),
    Metric("js_grid", POINTS, GRID, "bits", "min", 0.01, 0.05),
    Metric("js_1", TEXT, GRAMS.format(1), "bits", "min", 0.01, 0.02),
    Metric("js_2", TEXT, GRAMS.format(2), "bits", "min", 0.01, 0.02),
    Metric("js_3", TEXT, GRAMS.format(3), "bits", "min", 0.01, 0.02),
    Metric("js_4", TEXT, GRAMS.format(4), "bits", "min", 0.01, 0.02, primary=True),
    Metric("unique", TEXT, "Share of distinct samples", "share", "max", 0.05, 0.0),
    Metric("confidence", TEXT, CONFIDENCE, "", "max", 0.05, 0.0, gate=False, ideal=1),
    Metric("copied", TEXT, COPIED, "characters", "min", 1.0, 0.1, gate=False),
)
METRICS = {row.name: row for row in ROWS}

INCEPTION = "Inception"
PUBLISHED_N = "50,000"
"""Samples that a published FID is of."""
EXTRACTORS = {"inception": INCEPTION}
"""Extractor in a column -> in words; others are called as in the column."""


def column(name: str, n: int, extractor: str | None = None) -> str:
    """The column of metric `name` at `n` samples: `fid_classifier_750`, `swd_2k`."""
    is_thousands = n >= 1000 and n % 1000 == 0
    size = f"{n // 1000}k" if is_thousands else str(n)
    if extractor is None:
        return f"{name}_{size}"
    return f"{name}_{extractor.replace('-', '_')}_{size}"


def short_name(column_name: str) -> str:
    """A column in words, for axes, heads and sentences: `classifier-FID (750)`,
    `Precision (Inception, 50,000)`, `Sliced Wasserstein distance`."""
    label, extractor, n = _parts(column_name)
    if not extractor:
        return label
    if label.isupper():
        return f"{extractor}-{label} ({n})"
    return f"{label} ({extractor}, {n})"


def full_name(column_name: str, dataset: str) -> str:
    """A column in words with the protocol that it is measured by, for headings and where it is
    mentioned first: `classifier-FID (digits, n = 750; comparable within this protocol only)`.

    Values of the Inception network at 50,000 samples are those that papers publish."""
    label, extractor, n = _parts(column_name)
    facts = [dataset, f"n = {n}" if n else ""]
    if extractor and label.isupper():
        label = f"{extractor}-{label}"
    elif extractor:
        facts.insert(1, f"features of {extractor}")
    limit = ""
    if extractor == INCEPTION:
        facts.insert(1, "torch-fidelity weights")
        limit = "" if n == PUBLISHED_N else f"; papers publish n = {PUBLISHED_N}"
    elif extractor:
        limit = "; comparable within this protocol only"
    return f"{label} ({', '.join(filter(None, facts))}{limit})"


def _parts(column_name: str) -> tuple[str, str, str]:
    """The label, the extractor and the number of samples of a column; "" for what it lacks."""
    row = metric(column_name)
    protocol = column_name.removeprefix(row.name).strip("_")
    extractor, _, size = protocol.rpartition("_")
    extractor = EXTRACTORS.get(extractor, extractor.replace("_", "-"))
    if size.endswith("k"):
        size = f"{size[:-1]}000"
    n = f"{int(size):,}" if size.isdecimal() else size
    return row.label, extractor, n


@cache
def metric(column_name: str) -> Metric:
    """The metric of a column: the longest metric name that the column begins with. Raises UserError
    where there is none."""
    names = [name for name in METRICS if f"{column_name}_".startswith(f"{name}_")]
    if not names:
        raise unknown("metric", column_name, METRICS)
    return METRICS[max(names, key=len)]


def rank(column_name: str) -> tuple[int, str]:
    """A key that sorts columns in the order of METRICS."""
    return list(METRICS).index(metric(column_name).name), column_name


def ranking(columns: Iterable[str]) -> str | None:
    """The column that ranks, of those that are measured: the first one of a primary metric in the
    order of METRICS, else the first one that is gated. None where there is neither."""
    ordered = sorted(columns, key=rank)
    gated = [name for name in ordered if metric(name).gate]
    primary = [name for name in gated if metric(name).primary]
    return next(iter([*primary, *gated]), None)


def sign(column_name: str) -> int:
    """1 where smaller is better, -1 where larger is better."""
    if metric(column_name).direction == "min":
        return 1
    return -1
