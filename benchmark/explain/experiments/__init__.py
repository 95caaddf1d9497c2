"""One experiment per file; the head of `benchmark/explain/__init__.py` says what a file defines."""
