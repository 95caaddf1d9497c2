"""Is the critic's loss a stopping criterion, and does the critic overfit? Over seeds of a place.

WGAN's claim (Arjovsky 2017, §4: the critic's loss correlates with sample quality) is tested as it
is stated: by rank, within a run, over its evaluations."""

import numpy as np
import pandas as pd

from benchmark.stats.bootstrap import iqm_by_group

BY = ["objective", "architecture", "dataset"]
QUANTITIES = ("loss_correlation", "overfit_gap")


def stopping(cells: pd.DataFrame) -> pd.DataFrame:
    """objective x architecture x dataset x quantity of QUANTITIES, over seeds.

    n, n_expected, median, iqm, ci_low, ci_high. Quantities are indices of stability.INDICES: −1 is
    a critic loss that rises whenever quality improves, a gap above 0 a critic that knows its
    training samples. n counts the runs that were done and have a value; iqm and its 95 % BCa
    interval are over these (fewer than five: no interval). A place where nothing has a value is
    left out."""
    frames = []
    for name in QUANTITIES:
        values = cells[name].astype(float).where(cells["status"] == "done")
        long = cells[BY].assign(value=values.where(np.isfinite(values)))
        group = long.groupby(BY, sort=False, observed=True)
        frame = group.agg(
            n=("value", "count"), n_expected=("value", "size"), median=("value", "median")
        )
        estimates = iqm_by_group(long["value"], group.ngroup(), len(frame))
        frame[["iqm", "ci_low", "ci_high"]] = estimates
        frames.append(frame[frame["n"] > 0].reset_index().assign(quantity=name))
    columns = [*BY, "quantity", "n", "n_expected", "median", "iqm", "ci_low", "ci_high"]
    return pd.concat(frames, ignore_index=True)[columns]
