"""One verdict per cell, with its onset and its reason, and the indices of stability: from evals and
steps alone.

The verdicts' rules and thresholds are in verdicts.py; here a matrix's tables become what they look
at, all cells at once. What older cells did not log is NaN, and what needs it is then never
found."""

import numpy as np
import pandas as pd
from numpy.typing import NDArray

from benchmark.analysis.verdicts import NORMS, ROLES, ROWS, RULES, THRESHOLDS, VERDICTS, Trace
from benchmark.metrics import metric
from benchmark.store.schema import FINISHED, Protocol

__all__ = ["INDICES", "THRESHOLDS", "VERDICTS", "judge"]

INDICES = {
    "regret": "final ÷ best of the primary metric, 1 or more; NaN for a run that diverged or has no final",
    "oscillation": "decades: 1.4826 ÷ √2 · median |Δ − mean Δ| of the changes Δ of log₁₀(primary metric) from one "
    "evaluation to the next, three or more, in the second half of the run (noise of standard deviation σ gives σ)",
    "g_grad_decay": "median generator gradient norm over the last quarter of the run ÷ its early median",
    "d_grad_growth": "median critic gradient norm over the last quarter of the run ÷ its early median",
    "saturation": "share of σ(s), real and fake, within 1e-3 of 0 or 1; mean over the last quarter",
    "slope": "‖∇D(x̂)‖ between real and fake samples, mean over the last quarter",
    "slope_std": "standard deviation of ‖∇D(x̂)‖ over samples, mean over the last quarter",
    "clipped": "share of the critic's weights at ±c, mean over the last quarter",
    "modes_lost": "modes: the most covered at any evaluation − those covered at the end",
    "overfit_gap": "critic loss on held-out − on training samples, in the loss's unit, mean over the last quarter",
    "loss_correlation": "Spearman correlation of the critic's loss with the primary metric over the evaluations after "
    "step 0, five or more; −1: the loss rises as quality improves, as an estimate of −W₁ must",
}
PAIRS = 5  # evaluations that a correlation takes at least
TAIL, EARLY = THRESHOLDS["tail"].value, THRESHOLDS["early"].value


def judge(
    cells: pd.DataFrame,
    evals: pd.DataFrame,
    steps: pd.DataFrame,
    protocols: dict[str, Protocol],
    primary: dict[str, str],
) -> pd.DataFrame:
    """verdict, verdict_onset (generator step), verdict_reason and INDICES of every cell, by key.

    cells: key, dataset, status, reason and onset; evals and steps: the long tables, columns that
    older rows lack may be missing; primary: the column by which a dataset is ranked (positive,
    least is best). A NaN is a hole and left out. The verdict is None for a cell that is not done or
    diverged, or that meets no rule and has no primary metric at its last evaluation."""
    trace = _trace(cells, evals, steps, protocols, primary)
    status = cells["status"].reset_index(drop=True)
    diverged, finished = status == "diverged", status.isin(FINISHED)
    verdict = pd.Series(None, status.index, dtype=object)
    verdict[diverged] = "diverged"
    onset = cells["onset"].astype(float).reset_index(drop=True).where(diverged)
    reason = cells["reason"].astype(object).reset_index(drop=True).where(diverged)
    for rule in RULES:
        for name, found, text, numbers in rule(trace):
            new = found.index[verdict[found.index].isna() & finished[found.index]]
            named = pd.DataFrame(numbers).reindex(new).to_dict("records")
            verdict[new], onset[new] = name, found[new]
            reason[new] = [text.format_map(row) for row in named]
    verdict[verdict.isna() & finished & verdict.index.isin(trace.end.dropna().index)] = "ok"

    verdict, reason = (text.astype(object).where(text.notna(), None) for text in (verdict, reason))
    frame = pd.DataFrame({"verdict": verdict, "verdict_onset": onset, "verdict_reason": reason})
    frame = frame.join(_indices(trace))
    frame["regret"] = frame["regret"].mask(diverged)
    return frame.set_index(pd.Index(cells["key"], name="key"))


def _trace(
    cells: pd.DataFrame,
    evals: pd.DataFrame,
    steps: pd.DataFrame,
    protocols: dict[str, Protocol],
    primary: dict[str, str],
) -> Trace:
    dataset = cells["dataset"].astype(object).reset_index(drop=True)
    floors: dict[str, dict[str, float]] = {}
    for name in dataset.unique():
        floors[name] = protocols[name].floor if name in protocols else {}
    modes = {
        name: v
        for name, values in floors.items()
        for k, v in values.items()
        if metric(k).name == "modes_covered"
    }
    floor = {name: values.get(primary.get(name, "")) for name, values in floors.items()}
    rows, evaluations = _rows(cells, steps), _evaluations(cells, evals, dataset.map(primary))
    ranked = evaluations.dropna(subset="primary")
    by_cell = ranked.groupby("cell")["primary"]
    start = ranked[ranked["t"] == 0].set_index("cell")["primary"]
    by_run, tail = rows.groupby("cell"), rows[rows["tail"]].groupby("cell")
    first = rows[by_run.cumcount() < np.maximum(3, np.ceil(EARLY * by_run["t"].transform("size")))]
    return Trace(
        rows=rows,
        evals=evaluations,
        ranked=ranked,
        floor=dataset.map(floor).astype(float).fillna(0),
        modes=dataset.map(modes).astype(float),
        start=start,
        untrained=start.reindex(by_cell.last().index).fillna(by_cell.max()),
        best=by_cell.min(),
        final=by_cell.last(),
        end=evaluations.drop_duplicates("cell", keep="last").set_index("cell")["primary"],
        early=first.groupby("cell")[NORMS].median(),
        late=tail[NORMS].median(),
        mean=tail[ROWS].mean(),
    )


def _rows(cells: pd.DataFrame, steps: pd.DataFrame) -> pd.DataFrame:
    rows = steps.reindex(columns=["g_step", *ROWS]).astype(float).rename(columns={"g_step": "t"})
    rows = rows.assign(cell=_position(cells, steps["cell"]))
    rows = (
        rows[rows["cell"] >= 0]
        .sort_values(["cell", "t"], kind="stable")
        .drop_duplicates(["cell", "t"], keep="last")
    )
    return rows.assign(tail=rows["t"] > (1 - TAIL) * rows.groupby("cell")["t"].transform("max"))


def _evaluations(cells: pd.DataFrame, evals: pd.DataFrame, column: pd.Series) -> pd.DataFrame:
    of_cell, names = _position(cells, evals["cell"]), pd.Categorical(evals["metric"])
    number = {name: i for i, name in enumerate(names.categories)}
    ranked = column.map(number).fillna(-1).to_numpy()[of_cell] == names.codes
    role = np.array([metric(name).name for name in names.categories], dtype=object)
    uses = {"primary": ranked, **{name: (role == name)[names.codes] for name in ROLES}}
    t, value = evals["g_steps"].astype(float), evals["value"].astype(float)
    parts = [
        pd.DataFrame({"cell": of_cell, "t": t, name: value})[use & (of_cell >= 0)]
        .drop_duplicates(["cell", "t"], keep="last")
        .set_index(["cell", "t"])
        for name, use in uses.items()
    ]
    return pd.concat(parts, axis=1).sort_index().reset_index()


def _position(cells: pd.DataFrame, keys: pd.Series) -> NDArray[np.int64]:
    """The position in `cells` of each key, -1 for one that is not there."""
    return pd.Categorical(keys, categories=cells["key"]).codes.astype(np.int64)


# The indices


def _indices(trace: Trace) -> pd.DataFrame:
    """INDICES by cell, as defined there."""
    modes = trace.evals.dropna(subset="modes_covered").groupby("cell")["modes_covered"]
    change = trace.late / trace.early.where(trace.early > 0)
    frame = {
        "regret": trace.end / trace.best.where(trace.best > 0),
        "oscillation": _oscillation(trace.ranked),
    }
    frame |= {"g_grad_decay": change["g_grad_norm"], "d_grad_growth": change["d_grad_norm"]}
    frame |= {name: trace.mean[name] for name in ("saturation", "slope", "slope_std", "clipped")}
    frame |= {"modes_lost": modes.max() - modes.last()}
    frame |= {"overfit_gap": trace.mean["d_loss_holdout"] - trace.mean["d_loss_train"]}
    return pd.DataFrame({**frame, "loss_correlation": _loss_correlation(trace.ranked, trace.rows)})[
        list(INDICES)
    ]


def _oscillation(ranked: pd.DataFrame) -> pd.Series:
    value = ranked["primary"].where(ranked["primary"] > 0).transform(np.log10)
    change = ranked.assign(change=value.groupby(ranked["cell"]).diff())
    second_half = ranked["t"] > ranked.groupby("cell")["t"].transform("max") / 2
    change = change[second_half].dropna(subset="change")
    deviation = (change["change"] - change.groupby("cell")["change"].transform("mean")).abs()
    spread = deviation.groupby(change["cell"]).agg(["median", "size"])
    return spread["median"].where(spread["size"] >= 3) * 1.4826 / np.sqrt(2)


def _loss_correlation(ranked: pd.DataFrame, rows: pd.DataFrame) -> pd.Series:
    pairs = ranked[["cell", "t", "primary"]].merge(
        rows[["cell", "t", "d_loss"]].dropna(), on=["cell", "t"]
    )
    ranks = pairs.groupby("cell")[["primary", "d_loss"]].rank()
    centred = ranks - ranks.groupby(pairs["cell"]).transform("mean")
    products = pd.DataFrame(
        {"xy": centred.prod(axis=1), "xx": centred["primary"] ** 2, "yy": centred["d_loss"] ** 2}
    )
    group = products.groupby(pairs["cell"])
    sums, n = group.sum(), group.size()
    spread = (sums["xx"] * sums["yy"]) ** 0.5
    return (sums["xy"] / spread.where(spread > 0)).where(n >= PAIRS)
