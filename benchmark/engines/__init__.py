"""Where a cell runs, and nothing else: an engine hands cells to workers and passes their events on."""
