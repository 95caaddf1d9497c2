"""Verdicts of the gate as text, as Markdown for a CI summary, and as JUnit XML."""

from collections import Counter
from collections.abc import Sequence
from dataclasses import asdict
from pathlib import Path
from xml.etree import ElementTree

from benchmark.check.rows import family_of
from benchmark.check.verdict import ALPHA, Verdict, exit_code
from benchmark.text import escaped, listed, plural

MARKDOWN_HEAD = """\
| | group | metric | baseline | now | band | note |
|---|---|---|---:|---:|---:|---|"""
# mark -> the element of a JUnit test case
OUTCOMES = {"−": "failure", "!": "failure", "x": "error", "?": "skipped"}
LEGEND = (
    "+ not worse, − worse, ! diverges more, ≠ other numbers, ~ suspect, ? cannot see, "
    "x cannot be compared"
)


def headline(verdicts: Sequence[Verdict], strict: bool = False) -> str:
    """The verdict in words, in one sentence. What it says agrees with `exit_code`."""
    marks = Counter(verdict.mark for verdict in verdicts)
    red = [f"{plural(marks['−'], 'comparison')} worse"] if marks["−"] else []
    red += [f"{plural(marks['!'], 'group')} diverging more"] if marks["!"] else []
    red += [f"{plural(marks['≠'], 'group')} with other numbers"] if strict and marks["≠"] else []
    code = exit_code(verdicts, strict)
    if code == 1:
        return f"REGRESSION: {listed(red)} than in the baseline."
    if code == 2:
        failed = f"{marks['x']:,} of {plural(len(verdicts), 'comparison')} cannot be made"
        notes = Counter(verdict.note for verdict in verdicts if verdict.mark == "x")
        failed += "".join(f": {text}" for text, _ in notes.most_common(1) if text)
        if not marks["x"]:
            failed = "no numbers of a seed can be compared" if verdicts else "nothing to compare"
        also = f"; and a regression: {listed(red)}" if red else ""
        return f"COULD NOT COMPARE: {failed}{also}."
    sentence = "NO REGRESSION: nothing is shown to be worse than in the baseline"
    if marks["~"]:
        sentence += f"; {marks['~']:,} suspect, but not separated from it by the seeds"
    if marks["?"]:
        sentence += f"; {marks['?']:,} cannot be seen"
    return f"{sentence}."


def summary(verdicts: Sequence[Verdict]) -> str:
    """`compared 113/113: 110 +, 1 ~, 2 ?`."""
    marks = [verdict.mark for verdict in verdicts]
    counts = ", ".join(f"{marks.count(mark)} {mark}" for mark in "+−!≠~?x" if mark in marks)
    return f"compared {len(marks) - marks.count('x')}/{len(marks)}: {counts}"


def limits(verdicts: Sequence[Verdict]) -> list[str]:
    """The families that cannot go red with so few seeds, whatever their values."""
    sentences = []
    for family, alpha in ALPHA.items():
        tested = [v for v in verdicts if family_of(v.metric) == family]
        tested = [v for v in tested if v.lowest is not None]
        if not tested:
            continue
        lowest, (new, old) = min((v.lowest or 0.0, v.seeds) for v in tested)
        p = min(1.0, lowest * len(tested))
        if p > alpha:
            name = "divergence" if family == "diverged" else family
            sentences.append(
                f"{name} cannot go red with {plural(new, 'seed')} against {old}: "
                f"lowest p {p:.2g} over {plural(len(tested), 'comparison')}"
            )
    return sentences


def scope(not_exact: str, strict: bool) -> str:
    """What the numbers were compared for, and whether ≠ is red. not_exact: why the numbers of a
    seed need not be equal; the empty string where they must."""
    rule = "≠ is red (strict)" if strict else "≠ is not red (not strict)"
    if not_exact:
        return f"numbers: the first steps, up to rounding, no final metrics: {not_exact}; {rule}"
    return (
        "numbers: seed by seed to the end: machine, PyTorch and execution are those of the "
        f"baseline; {rule}"
    )


def failing(verdicts: Sequence[Verdict]) -> list[Verdict]:
    """The verdicts that are not +, as `shown` has them."""
    return [verdict for verdict in shown(verdicts) if verdict.mark != "+"]


def shown(verdicts: Sequence[Verdict]) -> list[Verdict]:
    """The verdicts, the worst first. What cannot be compared of a group for one reason is one
    verdict."""
    alike: dict[tuple[str, ...], list[Verdict]] = {}
    for verdict in worst_first(verdicts):
        what = () if verdict.mark == "x" else (verdict.metric,)
        alike.setdefault((verdict.group, verdict.note, *what), []).append(verdict)
    joined = []
    for first, *others in alike.values():
        if others:
            metrics = plural(1 + len(others), "metric")
            first = Verdict(first.group, metrics, "x", note=first.note)
        joined.append(first)
    return joined


def worst_first(verdicts: Sequence[Verdict]) -> list[Verdict]:
    """Verdicts by their marks; those that are + come last."""
    return sorted(verdicts, key=lambda verdict: "x!−≠~?+".index(verdict.mark))


def to_markdown(
    verdicts: Sequence[Verdict], remarks: Sequence[str] = (), strict: bool = False
) -> str:
    """The table of the check, the worst first. remarks: lines above it."""
    heads = (headline(verdicts, strict), summary(verdicts), *remarks, LEGEND)
    paragraphs = [f"{text}\n" for text in heads]
    rows = [_markdown_row(verdict) for verdict in worst_first(verdicts)]
    return "\n".join(["### ganbench check\n", *paragraphs, MARKDOWN_HEAD, *rows, ""])


def write_junit(verdicts: Sequence[Verdict], path: Path, strict: bool = False) -> None:
    """JUnit XML: a test case per comparison; − and !, and ≠ if strict, are failures, x is an error,
    ? is skipped."""
    marks = OUTCOMES | {"≠": "failure"} if strict else OUTCOMES
    outcomes = [marks.get(verdict.mark) for verdict in verdicts]
    counts = {
        "tests": str(len(verdicts)),
        "failures": str(outcomes.count("failure")),
        "errors": str(outcomes.count("error")),
        "skipped": str(outcomes.count("skipped")),
    }
    suite = ElementTree.Element("testsuite", counts, name="ganbench check")
    for verdict, outcome in zip(verdicts, outcomes, strict=True):
        case = ElementTree.SubElement(
            suite, "testcase", classname=verdict.group, name=verdict.metric
        )
        if outcome:
            element = ElementTree.SubElement(case, outcome, message=verdict.note)
            element.text = str(asdict(verdict))
    path.parent.mkdir(parents=True, exist_ok=True)
    ElementTree.ElementTree(suite).write(path, encoding="utf-8", xml_declaration=True)


def _markdown_row(verdict: Verdict) -> str:
    numbers = [short_number(value) for value in (verdict.baseline, verdict.current, verdict.band)]
    cells = [verdict.mark, verdict.group, verdict.metric, *numbers, verdict.note]
    return f"| {' | '.join(map(escaped, cells))} |"


def short_number(value: float | None) -> str:
    """Four digits; the empty string for no number."""
    return "" if value is None else f"{value:.4g}"
