"""ganbench: which GAN objective, on which architecture, how fast, how good, how reliably?

The pipeline, one stage per module, in the order a matrix goes through them:

    cli       `ganbench VERB`: one verb per stage
    options   the options of a matrix file: types, defaults, meaning
    matrix    TOML file -> list of cells (objective x architecture x dataset x seed)
    choices   what a value on an axis stands for; which pairs can train
    cell      one cell: spec, key, folder, random streams, atomic files, environment
    runner    which cells are pending; prepares datasets; hands cells to an engine
    engines   where a cell runs (local processes)
    progress  what a run says: options, plan, a line per worker and the time left
    memory    what a cell takes, and the line for too little of it
    train     one cell: a generator of snapshots
    batches   real data on the device, or fetched ahead from host memory
    step      one adversarial step
    probes    what a run looks like from inside: scores, gradients, slopes
    measure   snapshot -> numbers, one file per modality
    metrics   every metric's unit, direction, label and tolerance
    tables    cell folders -> cells / evals / steps / summary
    stats     IQM, bootstrap intervals, probability of improvement
    plots     one function per figure, each with its CSV: of numbers (plots), of samples (sample_plots), objective x
              architecture (robustness_plots); figure holds how they look and are saved
    report    tables + figures -> report.md and index.html
    compare   variants, or two result sets, side by side
    check     results against a committed baseline
    explain   small exact experiments
"""

import difflib
from collections.abc import Iterable

__version__ = "0.1.0"


class UserError(Exception):
    """A user's mistake: printed as one line on stderr, exit code 2."""


def unknown(kind: str, value: object, valid: Iterable[object]) -> UserError:
    """The error for a value that is not among the valid ones: names all three, nearest match first."""
    names = [str(name) for name in valid]
    near = difflib.get_close_matches(str(value), names, n=1)
    hint = f" (did you mean {near[0]!r}?)" if near else ""
    return UserError(f"unknown {kind} {str(value)!r}{hint}; valid: {', '.join(names)}")
