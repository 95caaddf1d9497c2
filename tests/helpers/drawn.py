"""A result set with twelve drawn architectures, whose successes can be counted by hand."""

from collections.abc import Mapping
from pathlib import Path
from typing import Any

from tests.helpers import synthetic

DRAWN = [f"random_dcgan[depth={2 if i < 6 else 10},width={8 * (i % 6 + 1)}]" for i in range(12)]
FIRST = {"nonsaturating": 10.0, "wgan_gp": 8.0}
SCORES = {"nonsaturating": 4.0, "wgan_gp": 6.0}
COLUMNS = {"digits": {"fid_classifier_750": 1.0, "is_mean_classifier_750": 9.0}}
DIVERGED = {("nonsaturating", name, seed): "diverged" for name in DRAWN[:6] for seed in range(2)}


def curve(objective: str, metric: str, seed: int, i: int) -> float:
    """The first of dcgan's evaluations is poor, the others are final."""
    if metric.startswith("is_mean"):
        return SCORES[objective]
    return FIRST[objective] * (20 if i == 0 else 1)


def factor(architecture: str, metric: str) -> float:
    """FIDs are twice as large on the ninth and tenth architecture, and six times on the last."""
    if metric.startswith("is_mean") or architecture not in DRAWN:
        return 1.0
    return {8: 2.0, 9: 2.0, 10: 6.0, 11: 6.0}.get(DRAWN.index(architecture), 1.0)


def write(
    folder: Path,
    others: tuple[str, ...] = ("dcgan",),
    status: Mapping[tuple[str, str, int], str] | None = None,
    **options: Any,
) -> Path:
    """The non-saturating loss diverges on the first six architectures."""
    groups = [("digits", name) for name in (*others, *DRAWN)]
    planted = {"objectives": [*FIRST], "seeds": range(1), "metrics": COLUMNS, "samples": False}
    planted |= {"evaluations": 3, "curve": curve, "factor": factor}
    runs = DIVERGED | dict(status or {})
    return synthetic.write(folder, groups=groups, status=runs, **planted | options)
