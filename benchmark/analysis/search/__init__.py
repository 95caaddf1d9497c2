"""The search of a matrix as a table, and what it may claim."""
