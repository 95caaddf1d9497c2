"""How figures look, how they are laid out, and how they are saved. No window is ever opened."""

import warnings

import matplotlib

matplotlib.use("Agg")
# A letter that the font lacks is drawn as a box
warnings.filterwarnings("ignore", r"Glyph \d+ .*missing from font")
