"""How a training iteration is executed: eager, compiled, as a CUDA graph, or for a stack of seeds."""
