"""The site that `make docs` builds from README.md, docs/ and the pages of results/.

Sphinx reads the pages where they lie, so that a link leads to the same file on the site and in the
checkout. A file that is linked to and is no page, such as a report, is copied."""

import re
import shutil
from pathlib import Path
from typing import Any

from docutils import nodes
from sphinx.addnodes import download_reference
from sphinx.application import Sphinx

project = "ganbench"
author = "The ganbench authors"
html_title = "ganbench"
html_theme = "furo"
html_show_copyright = False
html_copy_source = False
extensions = ["myst_nb"]
nb_execution_mode = "off"  # the notebook is shown with the outputs that it was committed with
myst_heading_anchors = 4
suppress_warnings = ["myst.header"]  # a report's page may leave out a level of headings
root_doc = "README"
include_patterns = [
    "README.md",
    "docs/*.md",
    "docs/*.ipynb",
    "results/README.md",
    "results/reference/README.md",
    "results/reference/*/*.md",
]
exclude_patterns = [".*", "build", "dist", "site", "results/runs", "results/explain"]

# The pictures of a page that lie in files
SHOWN = re.compile(r'(?:src|href)="([^":]+\.(?:png|svg))"')
# The pages in reading order
PAGES = """
```{toctree}
:hidden:
docs/report
docs/matrices
docs/tricks
docs/search
docs/designs
docs/data
docs/commands
docs/metrics
docs/statistics
docs/clocks
docs/gate
docs/history
docs/leaderboard
docs/runs
docs/clusters
docs/speed
docs/python
docs/tour
docs/variables
docs/contributing
results/README
results/reference/README
```

```{toctree}
:hidden:
:glob:
:caption: Reference results
results/reference/*/*
```
"""


def add_pages(app: Sphinx, page: str, source: list[str]) -> None:
    """README ends with the list of pages. A report is shown as its page, not as its Markdown."""
    source[0] = source[0].replace("report/report.md)", "report/index.html)")
    if page == root_doc:
        source[0] += PAGES


def copy_linked_files(app: Sphinx, doctree: nodes.document) -> None:
    """A link to a file opens a copy of it."""
    page = app.env.docname
    for link in list(doctree.findall(download_reference)):
        name, file = app.env.relfn2path(link["reftarget"], page)
        copy_to(Path(app.outdir), name, Path(file))
        up = "../" * page.count("/")
        link.replace_self(nodes.reference("", "", *link.children, refuri=f"{up}{name}"))


def copy_to(site: Path, name: str, file: Path) -> None:
    """Copy a file, and the pictures that it shows if it is a page."""
    copy = site / name
    copy.parent.mkdir(parents=True, exist_ok=True)
    if file.suffix != ".html":
        shutil.copyfile(file, copy)
        return
    page = file.read_text(encoding="utf-8")
    copy.write_text(page.replace('README.md"', 'README.html"'), encoding="utf-8")
    for picture in set(SHOWN.findall(page)):
        copy_to(copy.parent, picture, file.parent / picture)


def write_index(app: Sphinx, error: Exception | None) -> None:
    """The site's index.html leads to README."""
    text = f'<meta http-equiv="refresh" content="0; url={root_doc}.html">'
    (Path(app.outdir) / "index.html").write_text(text, encoding="utf-8")


def setup(app: Sphinx) -> dict[str, Any]:
    app.connect("source-read", add_pages)
    # Before Sphinx collects what is to be downloaded
    app.connect("doctree-read", copy_linked_files, priority=400)
    app.connect("build-finished", write_index)
    return {"parallel_read_safe": False, "parallel_write_safe": True}
