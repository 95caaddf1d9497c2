"""The text of the package on an index such as PyPI: README.md without its picture and with the path
in the place of every link to a file, since no file of the checkout is there.

`python -m tests.studies.package_page` writes PACKAGE.md again."""

import re

from benchmark.store.code import ROOT

PAGE = ROOT / "PACKAGE.md"
PICTURE = re.compile(r"!\[[^]]*\]\([^)]*\)\n\n")
COMMENT = re.compile(r"<!--.*?-->\n")
# To a file of the checkout: neither an address nor a heading of the page
LINK = re.compile(r"\[([^]]*)\]\((?!https?:|#)([^)]*)\)")


def page(readme: str) -> str:
    """The text of the package made of that of the README."""
    text = COMMENT.sub("", PICTURE.sub("", readme))
    return LINK.sub(_named, text)


def _named(link: re.Match[str]) -> str:
    """`the words (docs/report.md)`."""
    words, path = link.groups()
    return f"{words} ({path})"


if __name__ == "__main__":
    readme = (ROOT / "README.md").read_text(encoding="utf-8")
    PAGE.write_text(page(readme), encoding="utf-8")
