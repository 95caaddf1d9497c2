"""How figures look, how they are laid out, and how they are saved. No window is ever opened."""

import matplotlib

matplotlib.use("Agg")
