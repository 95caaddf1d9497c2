"""Who wins at equal cost: against the reference objective of each result set."""

from collections.abc import Iterator, Sequence

from benchmark.analysis.scores import EQUAL_COST
from benchmark.report.chapters.leaderboards import summary_by_key
from benchmark.report.first import claim
from benchmark.report.page import at_place, records
from benchmark.text import listed
from tests.studies.reference_page.questions import Finding
from tests.studies.reference_page.sentences import BUDGETS, code
from tests.studies.reference_page.settings import TUNED, Setting

OF_REPORT = "; the chapter on tuning"
"""How a report goes on where this page has no chapter to point to."""
UNTESTED = "; untested: what a search picked is compared at the end of training alone"


def at_equal_cost(settings: Sequence[Setting]) -> Finding:
    """How often an objective is better or worse than the reference at equal cost, and who leads
    there."""
    finding = Finding("Who wins at equal cost?", "")
    for of in EQUAL_COST if settings else ():
        for verdict in ("better", "worse"):
            told = list(_told(settings, of, verdict))
            names = listed(told) if told else "none"
            lead = f"{verdict.capitalize()} than the reference objective {BUDGETS[of]}"
            finding.answers.append(f"{lead}: {names}.")
    if any(setting.given == TUNED for setting in settings):
        finding.answers.append(
            "What a search picked is in none of these: it is compared at the end of training alone."
        )
    by_title = {setting.title: setting for setting in settings}
    for title, setting in by_title.items():
        evidence = setting.evidence
        summary = summary_by_key(evidence.tables)
        cells = at_place(evidence.tables.cells, setting.at)
        for row in records(at_place(evidence.leaders, setting.at)):
            if row["of"] in EQUAL_COST:
                leading = claim(evidence, row, summary, cells)
                if leading.after.startswith(OF_REPORT):
                    leading.after = UNTESTED
                text = f"{title}{setting.mark}. {leading.budget}: {leading.sentence}"
                finding.details.append(text)
    return finding


def _told(settings: Sequence[Setting], of: str, verdict: str) -> Iterator[str]:
    """`wgan_gp in 2 of 3 comparisons`: the losses that have a verdict somewhere."""
    counts: dict[str, list[bool]] = {}
    for setting in settings:
        compared = at_place(setting.evidence.compared, setting.at)
        if compared["second"].nunique() != 1:
            continue
        of_label = compared[compared["of"] == of].set_index("first")["verdict"]
        for loss, label in setting.labels.items():
            if label in of_label:
                counts.setdefault(loss, []).append(of_label[label] == verdict)
    for loss, told in counts.items():
        if any(told):
            yield f"{code(loss)} in {sum(told)} of {len(told)} comparisons"
