"""Statistics over training seeds: pure functions on arrays, which know nothing of GANs."""
