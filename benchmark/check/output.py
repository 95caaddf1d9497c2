"""Verdicts of the gate as text, as Markdown for a CI summary, and as JUnit XML."""

from collections.abc import Sequence
from dataclasses import asdict
from pathlib import Path
from xml.etree import ElementTree

from benchmark.check.rows import family_of
from benchmark.check.verdict import ALPHA, Verdict
from benchmark.text import escaped, plural

MARKDOWN_HEAD = """\
| | group | metric | baseline | now | band | note |
|---|---|---|---:|---:|---:|---|"""
# mark -> the element of a JUnit test case
OUTCOMES = {"−": "failure", "!": "failure", "x": "error", "?": "skipped"}
LEGEND = (
    "+ not worse, − worse, ! diverges more, ≠ other numbers, ~ suspect, ? cannot see, "
    "x cannot be compared"
)


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
        "numbers: seed by seed to the end: processor, PyTorch and execution are those of the "
        f"baseline; {rule}"
    )


def to_markdown(verdicts: Sequence[Verdict], remarks: Sequence[str] = ()) -> str:
    """The table of the check; verdicts that are not + come first. remarks: lines above it."""
    ordered = sorted(verdicts, key=lambda verdict: "x!−≠~?+".index(verdict.mark))
    paragraphs = [f"{text}\n" for text in (summary(verdicts), *remarks, LEGEND)]
    rows = [_markdown_row(verdict) for verdict in ordered]
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
    numbers = [_number(value) for value in (verdict.baseline, verdict.current, verdict.band)]
    cells = [verdict.mark, verdict.group, verdict.metric, *numbers, verdict.note]
    return f"| {' | '.join(map(escaped, cells))} |"


def _number(value: float | None) -> str:
    return "" if value is None else f"{value:.4g}"
