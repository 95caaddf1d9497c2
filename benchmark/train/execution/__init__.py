"""How an iteration is executed: eager, traced, compiled, as a CUDA graph, or for a stack."""
