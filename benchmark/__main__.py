"""`python -m benchmark` is `ganbench`."""

from benchmark.cli.main import script

script()
