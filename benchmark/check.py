"""Results against a committed baseline: a verdict per group and metric, and an exit code.

    +   within its band of the baseline, or better
    −   worse beyond the band, and the seeds tell the two apart
    ~   suspect: worse beyond the band, but the seeds do not tell the two apart
    !   more seeds diverged or failed than in the baseline
    x   cannot be compared: missing from one side, incomplete, stale, trained with other options, or measured under
        another protocol

Exit code 0 when every group is + or ~; 1 for any − or !; 2 for any x, which is never a pass.
"""

from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any
from xml.etree import ElementTree

import numpy as np
from scipy.stats import mannwhitneyu

from benchmark import UserError
from benchmark.cell import FINISHED, ROOT, digest, read_json, write_json
from benchmark.metrics import metric
from benchmark.stats import robust_spread
from benchmark.tables import Tables

BASELINES = ROOT / "results" / "baselines"
LEVEL = 0.01  # of one comparison: five seeds against five must separate wholly
GROUP = ("objective", "architecture", "dataset")


@dataclass
class Verdict:
    """One group and metric, compared."""

    group: str
    metric: str
    mark: str
    baseline: float | None  # medians over seeds
    current: float | None
    band: float | None
    note: str


def measured(tables: Tables) -> list[dict[str, Any]]:
    """Final values per seed of every group and gated metric: {group, metric, protocol, values: {seed: value|None}}."""
    cells, found = tables.cells, []
    dataset = tables.evals["cell"].map(cells.set_index("key")["dataset"])
    measured_columns = tables.evals["metric"].groupby(dataset).unique().to_dict()
    training = {cell["key"]: digest(cell["spec"]["training"]) for cell in tables.matrix["cells"]}
    for names, group in cells.groupby(list(GROUP), sort=False):
        seeds = group.set_index("seed")
        for column in sorted(measured_columns.get(group["dataset"].iloc[0], ())):
            if metric(column).gate:
                values = seeds[f"{column}:final"].where(seeds["status"] == "done")
                found.append(
                    dict(zip(GROUP, names, strict=True))
                    | {
                        "metric": column,
                        "protocol": next(iter(group["protocol"].dropna()), None),
                        "values": {str(seed): None if np.isnan(v) else float(v) for seed, v in values.items()},
                        "training": training[group["key"].iloc[0]],
                        "unfinished": int((~group["status"].isin(FINISHED)).sum()),
                        "stale": int(group["stale"].sum()),
                    }
                )
    return found


def accept(tables: Tables, name: str) -> tuple[Path, list[str]]:
    """Write results/baselines/NAME.json from finished results. Returns its path, and a warning per metric whose
    spread over the seeds makes it useless as a gate. Raises UserError for unfinished results."""
    groups, warnings = measured(tables), []
    if not groups or any(group["unfinished"] for group in groups):
        raise UserError(f"cannot accept {name}: the results are incomplete; run the matrix to its end first")
    if any(group["stale"] for group in groups):
        raise UserError(f"cannot accept {name}: other code or evaluation options made the results; run with --force")
    for group in groups:
        group["band"] = band(group["metric"], _finite(group["values"]))
        middle = abs(float(np.median(_finite(group["values"]) or [np.nan])))
        if group["band"] > middle and metric(group["metric"]).direction == "max":
            warnings.append(
                f"{_title(group)} {group['metric']}: band {group['band']:.3g} exceeds the median {middle:.3g}"
            )
        del group["unfinished"], group["stale"]
    path = BASELINES / f"{name}.json"
    write_json(path, {"matrix": name, "groups": groups})
    return path, warnings


def band(column: str, values: list[float]) -> float:
    """How much worse a group's median may be: max(absolute, relative x median, 2 x robust spread of the seeds)."""
    m = metric(column)
    if not values:
        return m.absolute
    return max(m.absolute, m.relative * abs(float(np.median(values))), 2 * robust_spread(np.array(values)))


def compare(tables: Tables, name: str) -> list[Verdict]:
    """Every group and metric of either side, compared. Raises UserError where there is no baseline."""
    path = BASELINES / f"{name}.json"
    if not path.exists():
        known = sorted(file.stem for file in BASELINES.glob("*.json"))
        raise UserError(f"no baseline for matrix {name!r}; there are: {', '.join(known) or 'none'} (ganbench accept)")
    old = {_key(group): group for group in read_json(path)["groups"]}
    new = {_key(group): group for group in measured(tables)}
    return [_verdict(old.get(key), new.get(key)) for key in old | new]


def _verdict(old: dict[str, Any] | None, new: dict[str, Any] | None) -> Verdict:
    found = old or new
    assert found is not None
    title, column = _title(found), found["metric"]

    def verdict(mark: str, note: str, *numbers: float | None) -> Verdict:
        baseline, current, limit = numbers or (None, None, None)
        return Verdict(title, column, mark, baseline, current, limit, note)

    if old is None or new is None:
        return verdict("x", f"not in the {'baseline' if old is None else 'results'}")
    if new["unfinished"]:
        return verdict("x", f"{new['unfinished']} of {len(new['values'])} seeds unfinished")
    if new["stale"]:
        return verdict("x", f"{new['stale']} of {len(new['values'])} seeds stale: run with --force")
    if old["training"] != new["training"]:
        return verdict("x", "other training options than the baseline's")
    if set(old["values"]) != set(new["values"]):
        return verdict("x", f"other seeds: {', '.join(new['values'])} against {', '.join(old['values'])}")
    if old["protocol"] != new["protocol"]:
        return verdict("x", f"protocol {new['protocol']} against {old['protocol']}")
    was, now, limit = _finite(old["values"]), _finite(new["values"]), old["band"]
    if len(now) < len(was):
        return verdict("!", f"{len(now)} of {len(new['values'])} seeds finished, {len(was)} in the baseline")
    if not was:
        return verdict("+", "" if now else "no seed finished, as in the baseline")
    worse = (np.median(now) - np.median(was)) * (1 if metric(column).direction == "min" else -1)
    numbers = float(np.median(was)), float(np.median(now)), limit
    if worse <= limit:
        return verdict("+", "better beyond the band" if worse < -limit else "", *numbers)
    p = mannwhitneyu(now, was).pvalue
    if min(len(was), len(now)) >= 5 and p > LEVEL:
        return verdict("~", f"worse by {worse:.3g}, seeds not separated (p = {p:.2f})", *numbers)
    return verdict("−", f"worse by {worse:.3g} (p = {p:.3f})", *numbers)


def exit_code(verdicts: list[Verdict]) -> int:
    """0, 1 or 2; no verdict at all is 2."""
    marks = {verdict.mark for verdict in verdicts}
    if not marks or "x" in marks:
        return 2
    return 1 if marks & {"−", "!"} else 0


def summary(verdicts: list[Verdict]) -> str:
    """`compared 77/77 groups: 76 +, 1 ~`."""
    marks = [verdict.mark for verdict in verdicts]
    counted = ", ".join(f"{marks.count(mark)} {mark}" for mark in "+−~!x" if mark in marks)
    return f"compared {sum(mark != 'x' for mark in marks)}/{len(marks)} groups: {counted}"


def to_markdown(verdicts: list[Verdict]) -> str:
    """The check table for a CI summary, what is not + first."""
    ordered = sorted(verdicts, key=lambda verdict: "x!−~+".index(verdict.mark))
    cells = [
        f"| {' | '.join((v.mark, v.group, v.metric, *map(_plain, (v.baseline, v.current, v.band)), v.note))} |"
        for v in ordered
    ]
    head = "| | group | metric | baseline | now | band | note |\n|---|---|---|---:|---:|---:|---|"
    return "\n".join([f"### ganbench check\n\n{summary(verdicts)}\n", head, *cells, ""])


def write_junit(verdicts: list[Verdict], path: Path) -> None:
    """JUnit XML: a test case per group and metric; − and ! are failures, x an error."""
    failures, errors = (sum(v.mark in marks for v in verdicts) for marks in ("−!", "x"))
    counts: Any = {"tests": str(len(verdicts)), "failures": str(failures), "errors": str(errors)}
    suite = ElementTree.Element("testsuite", name="ganbench check", **counts)
    for v in verdicts:
        case = ElementTree.SubElement(suite, "testcase", classname=v.group, name=v.metric)
        if v.mark in "−!x":
            ElementTree.SubElement(case, "error" if v.mark == "x" else "failure", message=v.note).text = str(asdict(v))
    path.parent.mkdir(parents=True, exist_ok=True)
    ElementTree.ElementTree(suite).write(path, encoding="utf-8", xml_declaration=True)


def _finite(values: dict[str, float | None]) -> list[float]:
    return [value for value in values.values() if value is not None and np.isfinite(value)]


def _key(group: dict[str, Any]) -> tuple[str, ...]:
    return (*(group[name] for name in GROUP), group["metric"])


def _title(group: dict[str, Any]) -> str:
    return f"{group['objective']} / {group['architecture']} / {group['dataset']}"


def _plain(value: float | None) -> str:
    return "" if value is None else f"{value:.4g}"
