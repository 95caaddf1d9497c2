"""Small exact experiments that show why an objective behaves as it does.

Each experiment is a file of `experiments/`, found by its name; `entries.ORDER` is the reading
order. The docstring of the file is its part of the page: a question, then paragraphs on the
argument that is tested, its source, and what is done. The file defines:

    cases(full) -> list          keyword arguments of `measure`, in JSON's types
    measure(**case) -> DataFrame one case: seeded, on one thread, kept once it is measured
    draw(frame) -> Figure        of the rows of all cases
    finding(frame) -> str        a sentence or more, computed from the rows of all cases
    table(frame) -> list         where there is one: rows by column, as text, below the finding
    ANSWER                       what was found, in one plain sentence
    CAPTION                      how to read the figure"""
