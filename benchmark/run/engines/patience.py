"""How long a cell that has to end may take, on every engine."""

PATIENCE = 5.0  # seconds that a step or a measurement may still take
