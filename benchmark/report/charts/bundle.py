"""The data, the plotting library and the script of a page with charts.

Data and library are compressed; browsers unpack them by themselves. A page is the same for the same
data."""

import base64
import gzip
import json
from functools import cache
from pathlib import Path
from typing import Any

import bokeh
from jinja2 import Environment, FileSystemLoader
from markupsafe import Markup

LIBRARY = ("bokeh.min.js", "bokeh-api.min.js")
TEMPLATES = Path(__file__).parent.parent / "templates"


def head(data: dict[str, Any]) -> Markup:
    """Styles, data, library and script of a page. Its size is what the page pays for its charts."""
    environment = Environment(loader=FileSystemLoader(TEMPLATES), autoescape=False)
    content = json.dumps(data, separators=(",", ":"), allow_nan=False)
    parts = {"data": packed(content.encode()), "library": library()}
    return Markup(environment.get_template("charts.html.j2").render(parts))


@cache
def library() -> str:
    """The plotting library, packed."""
    folder = Path(bokeh.__file__).parent / "server/static/js"
    return packed(b";\n".join((folder / name).read_bytes() for name in LIBRARY))


def packed(content: bytes) -> str:
    """Content as text that a page can hold: gzip in base64."""
    return base64.b64encode(gzip.compress(content, mtime=0)).decode()
