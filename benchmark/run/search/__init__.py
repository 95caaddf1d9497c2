"""A search as it runs: cells that follow from the results of others."""
