"""The optimiser of an objective. Imports no torch."""

from dataclasses import dataclass, fields
from typing import Literal

# The decay of the mean square (alpha) and ε (eps) of each optimiser's own library: PyTorch, and
# TensorFlow 1 for rmsprop_tf. What an optimiser does not have is never read
CONSTANTS = {
    "adam": {"alpha": 0.99, "eps": 1e-8},
    "optimistic_adam": {"alpha": 0.99, "eps": 1e-8},
    "sgd": {"alpha": 0.99, "eps": 1e-8},
    "rmsprop": {"alpha": 0.99, "eps": 1e-8},
    "rmsprop_tf": {"alpha": 0.9, "eps": 1e-10},
}


@dataclass(frozen=True)
class Recipe:
    """An optimiser for both networks, as a paper prescribes it. An alpha or eps that is left out is
    the one of CONSTANTS."""

    optimizer: Literal["adam", "optimistic_adam", "rmsprop", "rmsprop_tf", "sgd"]
    """Of both networks; rmsprop is PyTorch's update, rmsprop_tf TensorFlow's; sgd has no momentum;
    optimistic_adam takes twice Adam's step and the last one back."""

    lr: float
    """Learning rate of both networks, but for one that has its own."""

    betas: tuple[float, float] = (0.5, 0.999)
    """β₁ and β₂ of Adam."""

    alpha: float | None = None
    """Decay of the mean square of RMSProp."""

    eps: float | None = None
    """ε in the denominator of an update; rmsprop_tf has it under the root."""

    d_lr: float | None = None
    """Learning rate of the critic (two rates: Heusel et al. 2017, arXiv:1706.08500)."""

    g_lr: float | None = None
    """Learning rate of the generator."""

    weight_decay: float = 0.0
    """Added to the gradient of a parameter, times the parameter (L2)."""

    @property
    def rates(self) -> tuple[float, float]:
        """The learning rates of generator and critic."""
        g_lr = self.lr if self.g_lr is None else self.g_lr
        d_lr = self.lr if self.d_lr is None else self.d_lr
        return g_lr, d_lr

    def __post_init__(self) -> None:
        for name, value in CONSTANTS.get(self.optimizer, {}).items():
            if getattr(self, name) is None:
                object.__setattr__(self, name, value)


RECIPE = tuple(field.name for field in fields(Recipe))
