"""One verdict per cell, with its onset and reason, and the indices of stability.

Both come from `evals` and `steps` alone. The rules are in verdicts.py; here the tables of a matrix
become the traces that the rules read, all cells at once. What older cells did not log is NaN, and
what needs it is then never found."""

from collections.abc import Mapping

import numpy as np
import pandas as pd
from numpy.typing import NDArray

from benchmark.analysis.scores import is_crossed, without_crossed_intervals
from benchmark.analysis.thresholds import value
from benchmark.analysis.verdicts import GRADIENT_NORMS, LOGGED, ROLES, RULES, Trace
from benchmark.metrics import metric, sign
from benchmark.stats.agreement import rank_agreement
from benchmark.stats.comparisons import holm
from benchmark.stats.intervals import median_by_group
from benchmark.store.schema import WHOLE, Protocol

INDICES = {
    "regret": (
        "final ÷ best of the primary metric, 1 or more; NaN for a run that diverged or has no final"
    ),
    "oscillation": (
        "decades: 1.4826 ÷ √2 · median |Δ − mean Δ| of the changes Δ of log₁₀(primary metric) from "
        "one evaluation to the next, three or more, in the second half of the run (noise of "
        "standard deviation σ gives σ)"
    ),
    "g_grad_decay": (
        "median generator gradient norm over the last quarter of the run ÷ its early median"
    ),
    "d_grad_growth": (
        "median critic gradient norm over the last quarter of the run ÷ its early median"
    ),
    "saturation": "share of σ(s), real and fake, within 1e-3 of 0 or 1; mean over the last quarter",
    "slope": "‖∇D(x̂)‖ between real and fake samples, mean over the last quarter",
    "slope_std": "standard deviation of ‖∇D(x̂)‖ over samples, mean over the last quarter",
    "clipped": "share of the critic's weights at ±c, mean over the last quarter",
    "sparse": "share of exactly zero entries of ∂D/∂x̃, mean over the last quarter",
    "modes_lost": "modes: the most covered at any evaluation − those covered at the end",
    "overfit_gap": (
        "critic loss on held-out − on training samples, in the loss's unit, mean over the last "
        "quarter"
    ),
    "loss_regret": (
        "primary metric at the evaluation after step 0, of three or more, with the highest critic "
        "loss ÷ best, 1 or more: what stopping by the loss costs; NaN as for regret"
    ),
}
# indices that `stopping` summarises
QUANTITIES = ("loss_regret", "regret", "overfit_gap")
# indices that are the mean of a column of `steps`
AS_LOGGED = ["saturation", "slope", "slope_std", "clipped", "sparse"]
BY = ["objective", "architecture", "dataset"]
# evaluations among which the loss chooses, at least
MIN_CHOICES = 3
# changes between evaluations that an oscillation takes at least
MIN_CHANGES = 3


def judge(
    cells: pd.DataFrame,
    evals: pd.DataFrame,
    steps: pd.DataFrame,
    protocols: Mapping[str, Protocol],
    primary: Mapping[str, str],
) -> pd.DataFrame:
    """verdict, verdict_onset (generator step), verdict_reason and INDICES of every cell, by key.

    cells: key, dataset, status, reason and onset. evals and steps: the long tables; columns that
    older rows lack may be missing. primary: the column by which a dataset is ranked. Rules and
    indices that compare its values by ratios read it where it is a distance (`Metric.primary`), and
    find nothing where another metric ranks. A NaN is a hole and left out. The verdict is None for a
    cell that is not done or diverged, and for one that meets no rule and has no value of the metric
    that ranks at its last evaluation."""
    trace = _trace(cells.reset_index(drop=True), evals, steps, protocols, primary)
    status = cells["status"].reset_index(drop=True)
    is_diverged, is_finished = status == "diverged", status.isin(WHOLE)
    verdict = pd.Series(None, status.index, dtype=object)
    verdict[is_diverged] = "diverged"
    onset = cells["onset"].astype(float).reset_index(drop=True).where(is_diverged)
    reason = cells["reason"].astype(object).reset_index(drop=True).where(is_diverged)
    for rule in RULES:
        for finding in rule(trace):
            met = finding.onset.index
            new = met[verdict[met].isna() & is_finished[met]]
            numbers = pd.DataFrame(finding.numbers).reindex(new).to_dict("records")
            verdict[new], onset[new] = finding.verdict, finding.onset[new]
            reason[new] = [finding.reason.format_map(row) for row in numbers]
    is_measured = verdict.index.isin(trace.end["ranking"].dropna().index)
    verdict[verdict.isna() & is_finished & is_measured] = "ok"

    indices = _indices(trace)
    for name in ("regret", "loss_regret"):
        indices[name] = indices[name].mask(is_diverged)
    frame = pd.DataFrame(
        {
            "verdict": _or_none(verdict),
            "verdict_onset": onset,
            "verdict_reason": _or_none(reason),
        }
    )
    return frame.join(indices).set_index(pd.Index(cells["key"], name="key"))


def _or_none(texts: pd.Series) -> pd.Series:
    """Texts with None where one is missing."""
    return texts.astype(object).where(texts.notna(), None)


def _trace(
    cells: pd.DataFrame,
    evals: pd.DataFrame,
    steps: pd.DataFrame,
    protocols: Mapping[str, Protocol],
    primary: Mapping[str, str],
) -> Trace:
    dataset = cells["dataset"].astype(object)
    distances = {name: column for name, column in primary.items() if metric(column).primary}
    floors: dict[str, float | None] = {}
    real: dict[str, dict[str, float]] = {"modes_covered": {}, "unique": {}}
    for name in dataset.unique():
        floor = protocols[name].floor if name in protocols else {}
        floors[name] = floor.get(distances.get(name, ""))
        for column, measured in floor.items():
            real.get(metric(column).name, {})[name] = measured
    rows = _rows(cells, steps)
    evaluations = _evaluations(cells, evals, dataset.map(distances), dataset.map(primary))
    ranked = evaluations.dropna(subset="primary")
    run = ranked.groupby("cell")["primary"]
    start = ranked[ranked["t"] == 0].set_index("cell")["primary"]
    by_run = rows.groupby("cell")
    num_early = np.maximum(3, np.ceil(value("early") * by_run["t"].transform("size")))
    early = rows[by_run.cumcount() < num_early].groupby("cell")
    tail = rows[rows["tail"]].groupby("cell")
    return Trace(
        rows=rows,
        evals=evaluations,
        ranked=ranked,
        floor=dataset.map(floors).astype(float).fillna(0),
        modes=dataset.map(real["modes_covered"]).astype(float),
        unique=dataset.map(real["unique"]).astype(float).fillna(1),
        start=start,
        untrained=start.reindex(run.last().index).fillna(run.max()),
        best=run.min(),
        final=run.last(),
        end=evaluations.drop_duplicates("cell", keep="last").set_index("cell"),
        early=early[GRADIENT_NORMS].median(),
        late=tail[GRADIENT_NORMS].median(),
        mean=tail[LOGGED].mean(),
    )


def _rows(cells: pd.DataFrame, steps: pd.DataFrame) -> pd.DataFrame:
    """Trace.rows."""
    rows = steps.reindex(columns=["g_step", *LOGGED]).astype(float).rename(columns={"g_step": "t"})
    rows = rows.assign(cell=_position(cells, steps["cell"]))
    rows = rows[rows["cell"] >= 0].sort_values(["cell", "t"], kind="stable")
    rows = rows.drop_duplicates(["cell", "t"], keep="last")
    last = rows.groupby("cell")["t"].transform("max")
    return rows.assign(tail=rows["t"] > (1 - value("tail")) * last)


def _evaluations(
    cells: pd.DataFrame, evals: pd.DataFrame, primary: pd.Series, ranking: pd.Series
) -> pd.DataFrame:
    """Trace.evals. primary, ranking: their columns for each cell."""
    position = _position(cells, evals["cell"])
    names = pd.Categorical(evals["metric"])
    number = {name: i for i, name in enumerate(names.categories)}
    role = np.array([metric(name).name for name in names.categories], dtype=object)
    uses = {}
    for use, column in (("primary", primary), ("ranking", ranking)):
        uses[use] = column.map(number).fillna(-1).to_numpy()[position] == names.codes
    direction = np.array([sign(name) for name in names.categories], dtype=float)[names.codes]
    for name in ROLES:
        uses[name] = (role == name)[names.codes]
    long = pd.DataFrame({"cell": position, "t": evals["g_steps"].astype(float).to_numpy()})
    values = evals["value"].astype(float).to_numpy()
    parts = []
    for name, is_used in uses.items():
        worse = direction * values if name == "ranking" else values
        part = long.assign(**{name: worse})[is_used & (position >= 0)]
        part = part.drop_duplicates(["cell", "t"], keep="last")
        parts.append(part.set_index(["cell", "t"]))
    return pd.concat(parts, axis=1).sort_index().reset_index()


def _position(cells: pd.DataFrame, keys: pd.Series) -> NDArray[np.int64]:
    """The position in `cells` of each key, -1 for one that is not there."""
    return pd.Categorical(keys, categories=cells["key"]).codes.astype(np.int64)


# The indices


def _indices(trace: Trace) -> pd.DataFrame:
    """INDICES by cell, as defined there."""
    modes = trace.evals.dropna(subset="modes_covered").groupby("cell")["modes_covered"]
    change = trace.late / trace.early.where(trace.early > 0)
    indices = pd.DataFrame(
        {
            "regret": trace.end["primary"] / trace.best.where(trace.best > 0),
            "oscillation": _oscillation(trace.ranked),
            "g_grad_decay": change["g_grad_norm"],
            "d_grad_growth": change["d_grad_norm"],
            **trace.mean[AS_LOGGED],
            "modes_lost": modes.max() - modes.last(),
            "overfit_gap": trace.mean["d_loss_holdout"] - trace.mean["d_loss_train"],
            "loss_regret": _loss_regret(trace),
        }
    )
    return indices[list(INDICES)]


def _oscillation(ranked: pd.DataFrame) -> pd.Series:
    positive = ranked["primary"].where(ranked["primary"] > 0).transform(np.log10)
    change = ranked.assign(change=positive.groupby(ranked["cell"]).diff())
    is_second_half = ranked["t"] > ranked.groupby("cell")["t"].transform("max") / 2
    change = change[is_second_half].dropna(subset="change")
    mean = change.groupby("cell")["change"].transform("mean")
    deviation = (change["change"] - mean).abs()
    spread = deviation.groupby(change["cell"]).agg(["median", "size"])
    return spread["median"].where(spread["size"] >= MIN_CHANGES) * 1.4826 / np.sqrt(2)


def _with_losses(evals: pd.DataFrame, rows: pd.DataFrame) -> pd.DataFrame:
    """Evaluations (Trace.evals) at whose step the critic's loss was logged, with d_loss. None is at
    step 0."""
    losses = rows[["cell", "t", "d_loss"]].dropna()
    return evals[["cell", "t", "ranking", "primary"]].merge(losses, on=["cell", "t"])


def _loss_regret(trace: Trace) -> pd.Series:
    choices = _with_losses(trace.ranked, trace.rows)
    num_choices = choices.groupby("cell").size()
    # the earliest of equal losses
    chosen = choices.sort_values(["cell", "d_loss", "t"], ascending=[True, False, True])
    stopped = chosen.drop_duplicates("cell").set_index("cell")["primary"]
    regret = stopped / trace.best.where(trace.best > 0)
    return regret.where(num_choices >= MIN_CHOICES)


def stopping(cells: pd.DataFrame) -> pd.DataFrame:
    """What does it cost to stop by the critic's loss, and does the critic overfit? Over seeds.

    objective x architecture x dataset x quantity of QUANTITIES: n, n_expected, median, ci_low,
    ci_high. Quantities are of INDICES: loss_regret is the cost of stopping at the highest loss,
    regret that of never stopping, both as multiples of the run's best value; a gap above 0 is a
    critic that knows its training samples. n counts the runs that were done and have a value; the
    median and its exact interval at 95 % are over these (fewer than five: no interval). A place
    where nothing has a value is left out."""
    frames = []
    for name in QUANTITIES:
        values = cells[name].astype(float).where(cells["status"] == "done")
        long = cells[BY].assign(value=values.where(np.isfinite(values)))
        group = long.groupby(BY, sort=False, observed=True)
        frame = group.agg(n=("value", "count"), n_expected=("value", "size"))
        estimates = median_by_group(long["value"], group.ngroup(), len(frame))
        frame[["median", "ci_low", "ci_high"]] = estimates
        frames.append(frame[frame["n"] > 0].reset_index().assign(quantity=name))
    columns = [*BY, "quantity", "n", "n_expected", "median", "ci_low", "ci_high"]
    return without_crossed_intervals(pd.concat(frames, ignore_index=True)[columns], cells)


def agreement(
    cells: pd.DataFrame, evals: pd.DataFrame, steps: pd.DataFrame, primary: Mapping[str, str]
) -> pd.DataFrame:
    """Does the critic's loss say which seed is better, at equal steps?

    WGAN's claim (Arjovsky 2017, §4: the critic's loss correlates with sample quality) is tested
    with the time held fixed. Over a run the loss and the metric both have a trend, and so the loss
    of a run correlates as well with the metric of another run, of another objective even.

    objective x architecture x dataset: n, evaluations, agreement, low, high, p, p_holm. agreement
    is `rank_agreement` of the loss with quality over the runs that are done, at the evaluations
    that all of them share: 1: the seed with the higher loss is always the better one; low to high
    is what chance gives. p_holm counts all rows. No row: no agreement, or crossed seeds."""
    cells = cells.reset_index(drop=True)
    ranking = cells["dataset"].astype(object).map(primary)
    evaluations = _evaluations(cells, evals, ranking, ranking)
    pairs = _with_losses(evaluations, _rows(cells, steps)).dropna(subset="ranking")
    is_finite = np.isfinite(pairs[["ranking", "d_loss"]]).all(axis=1)
    is_known = (cells["status"].eq("done") & ~is_crossed(cells)).to_numpy()[pairs["cell"]]
    pairs = pairs[is_finite & is_known].join(cells[BY], on="cell")
    found = []
    for names, group in pairs.groupby(BY, sort=False, observed=True):
        wide = group.pivot(index="t", columns="cell", values=["d_loss", "ranking"]).dropna()
        if wide.empty:
            continue
        # a lower value is better
        value = rank_agreement(wide["d_loss"], -wide["ranking"])
        if not np.isnan(value.value):
            num_runs = group["cell"].nunique()
            found.append([*names, num_runs, len(wide), *value])
    columns = [*BY, "n", "evaluations", "agreement", "low", "high", "p"]
    frame = pd.DataFrame(found, columns=columns)
    return frame.assign(p_holm=holm(frame["p"].astype(float)))
