"""One page over all references: results/reference/index.html and README.md.

    python -m tests.studies.reference_page

makes both, and the pages and figures of the references that a study makes, from the rows that are
committed in results/reference. It trains nothing and needs no network."""
