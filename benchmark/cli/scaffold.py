"""`ganbench new`: the first file of a variant of one's own, and a test for it."""

OBJECTIVE = '''"""NAME: say in one line what it is."""

from dataclasses import dataclass
from typing import Any

from torch import Tensor, nn

from variants.objectives import Base, Recipe


@dataclass(frozen=True)
class Objective(Base):
    """Authors, "Title", year, arXiv:…, eq. …

    min over D   −mean min(0, D(x) − margin) − mean min(0, −D(x̃) − margin)
    min over G   −mean D(x̃)

    This is the hinge loss with a margin: change both losses to yours. Every field is a parameter
    that a matrix may sweep."""

    recipe = Recipe("adam", lr=2e-4, betas=(0.5, 0.999))

    margin: float = 1.0

    def d_loss(self, D: nn.Module, real: Tensor, fake: Tensor, noise: Any = None) -> Tensor:
        """Scalar loss of the critic. real, fake: (batch, *shape); D(x): (batch,)."""
        on_real = (self.margin - D(real)).relu().mean()
        on_fake = (self.margin + D(fake)).relu().mean()
        return on_real + on_fake

    def g_loss(self, D: nn.Module, real: Tensor, fake: Tensor, noise: Any = None) -> Tensor:
        """Scalar loss of the generator."""
        return -D(fake).mean()
'''
