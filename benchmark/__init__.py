"""ganbench: which GAN objective, on which architecture, how fast, how good, how reliably?

The folders are the pipeline. A folder imports only what stands above it:

    errors text stats metrics   words and numbers that everything else uses
    matrix store machine        what is asked; the files of results; what else a number depends on
    train measure               a cell is trained; its samples become numbers
    analysis check drawing      results become tables and claims; the gate; how figures look
    run explain export report   who runs which cell when; experiments; trackers; pages
    api cli                     `import ganbench`; `ganbench VERB`

A cell's way: `cli/run.py` opens a `run/session.py`, whose `run/driver.py` hands cells to the
workers of `run/engines/`. A worker calls `run/cell/cell_run.py`: it writes, measures and saves the
snapshots that `train/loop.py` hands out. `analysis/tables.py` reads the folders of all cells, and
`report/` the tables.

`variants/`, next to this package, holds what is compared, and imports nothing of it.
"""

import logging

# Matplotlib warns of a home folder that it cannot write to, and does without it
logging.getLogger("matplotlib").setLevel(logging.ERROR)

__version__ = "0.1.0"
