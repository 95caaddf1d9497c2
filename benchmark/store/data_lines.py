"""What a run and a report say of the data of a dataset."""

from benchmark.store.schema import DatasetFacts
from benchmark.text import plural

NAMED_CLASSES = 20
NAMED_FILES = 3


def headline(facts: DatasetFacts) -> str:
    """`30 training and 10 held-out images of 3×64×64, 2 classes (cats, dogs); SPLIT`, or `200
    training and 20 held-out texts of 32 characters, 48 different ones; SPLIT`."""
    noun = _noun(facts)
    shape = "×".join(map(str, facts.shape))
    parts = [f"{facts.n_train or 0:,} training and {facts.n_holdout or 0:,} held-out {noun}s"]
    if noun == "image":
        parts[0] += f" of {shape}"
        parts.append(_classes(facts))
    elif noun == "text":
        length, num_characters = facts.shape
        parts[0] += f" of {length} characters"
        parts.append(f"{num_characters} different ones")
    return f"{', '.join(parts)}; {facts.split}"


def corrupt(facts: DatasetFacts) -> list[str]:
    """The images that could not be read; a run says it when it reads them."""
    if not facts.corrupt.n:
        return []
    count = plural(facts.corrupt.n, "corrupt image")
    return [f"{count} left out: {_few(facts.corrupt.names, facts.corrupt.n)}"]


def remarks(facts: DatasetFacts) -> list[str]:
    """What else a reader has to know: samples that occur twice or in both splits, files that were
    left out, and what was done to the samples."""
    noun = _noun(facts)
    lines = []
    if facts.leaks:
        num_compared = facts.n_compared or facts.n_holdout or 0
        lines.append(
            f"{facts.leaks:,} of {num_compared:,} held-out {noun}s equal a training {noun}:"
            " a generator that copies these looks better than it is"
        )
    if facts.repeats:
        lines.append(
            f"{facts.repeats:,} of {facts.n_train or 0:,} training {noun}s equal an earlier one"
        )
    if facts.left_out.n:
        reasons = [f"{n:,} {reason}" for reason, n in facts.left_out.reasons.items()]
        lines.append(
            f"{plural(facts.left_out.n, 'file')} left out: {', '.join(reasons)} "
            f"({_few(facts.left_out.names, facts.left_out.n)})"
        )
    return [*lines, *facts.remarks]


def _noun(facts: DatasetFacts) -> str:
    return {2: "text", 3: "image"}.get(len(facts.shape), "sample")


def _classes(facts: DatasetFacts) -> str:
    if facts.n_classes is None:
        return "no classes"
    count = "1 class" if facts.n_classes == 1 else f"{facts.n_classes:,} classes"
    if not facts.classes:
        return count
    names = ", ".join(facts.classes[:NAMED_CLASSES])
    if facts.n_classes > NAMED_CLASSES:
        names += ", …"
    return f"{count} ({names})"


def _few(names: list[str], n: int) -> str:
    """The first of n names."""
    shown = ", ".join(names[:NAMED_FILES])
    return f"{shown}, …" if n > NAMED_FILES else shown
