"""Small synthetic result sets of one objective, for tests of their state."""

from pathlib import Path
from typing import Any

from tests.helpers import synthetic

MLP = [("gaussians8", "mlp")]
# Seconds that a finished synthetic cell took: six evaluations, measuring, everything else
WHOLE = 6 * 2.0 + 1.0 + 0.5

Statuses = dict[tuple[str, str, int], str]


def write(folder: Path, seeds: int = 3, **options: Any) -> Path:
    """Write a result set of wgan on the MLP, one cell per seed, without samples."""
    defaults = {"objectives": ["wgan"], "groups": MLP, "seeds": range(seeds), "samples": False}
    return synthetic.write(folder, **(defaults | options))


def seeds_that_are(**seeds_by_status: list[int]) -> Statuses:
    """The argument `status` of `write`: `seeds_that_are(running=[0, 1])`."""
    statuses: Statuses = {}
    for status, seeds in seeds_by_status.items():
        for seed in seeds:
            statuses["wgan", "mlp", seed] = status
    return statuses


def status_file(folder: Path, seed: int, objective: str = "wgan") -> Path:
    """status.json of the one cell with this objective and this seed."""
    (path,) = folder.glob(f"cells/{objective}-*seed{seed}-*/status.json")
    return path
