"""English prose about Python, from the standard library: text that needs no download."""

import platform
from contextlib import AbstractContextManager, nullcontext
from dataclasses import dataclass, field

from variants.datasets._text import Text
from variants.datasets._text_files import Texts, in_memory

RUNNING = platform.python_version()


@dataclass(frozen=True)
class Dataset(Text):
    """The topics of Python's `help()`, from its language reference: `pydoc_data.topics`, joined in
    the order of their names; in Python 3.11.7 these are 79 topics of 465,048 characters. Topics
    repeat paragraphs of one another, which would make 43 % of the held-out text training text: each
    paragraph is taken once, and 373,292 characters are left.

    Another Python has another text. So its version is in the label, and with it in keys and random
    streams, and values of two Pythons cannot be compared."""

    python: str = field(default=RUNNING, metadata={"in_label": True})
    """Version of Python whose text it is; only the running one can be had."""

    licence = "PSF License Version 2 (documentation of Python)"
    note = "another version of Python has another text: values of two versions cannot be compared"

    @property
    def source(self) -> str:
        return f"pydoc_data.topics of Python {self.python}, each paragraph once"

    def texts(self) -> AbstractContextManager[Texts]:
        if self.python != RUNNING:
            raise OSError(
                f"the topics of Python {self.python} are not here: this is Python {RUNNING}"
            )
        try:
            from pydoc_data.topics import topics
        except ImportError as error:
            raise OSError(
                f"this Python has no pydoc_data.topics ({error}): install its whole standard "
                "library, or take the dataset text with a text of your own"
            ) from error
        paragraphs: dict[str, str] = {}
        for name in sorted(topics):
            for paragraph in topics[name].split("\n\n"):
                paragraphs.setdefault(" ".join(paragraph.split()), paragraph)
        return nullcontext(in_memory("pydoc_data.topics", "\n\n".join(paragraphs.values())))
