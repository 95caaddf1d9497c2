"""Who runs which cell when, and keeps it safe."""
