"""How the steps of an iteration are executed: eager, compiled, captured, stacked."""
