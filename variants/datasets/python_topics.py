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
    the order of their names, 465,048 characters in Python 3.11.7.

    Another Python has another text. So its version is in the label, and with it in keys and random
    streams, and values of two Pythons do not compare."""

    python: str = field(default=RUNNING, metadata={"in_label": True})

    licence = "PSF License Version 2 (documentation of Python)"
    note = "another version of Python has another text: values of two versions do not compare"

    @property
    def source(self) -> str:
        return f"pydoc_data.topics of Python {self.python}, the topics of its help()"

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
        text = "\n".join(topics[name] for name in sorted(topics))
        return nullcontext(in_memory("pydoc_data.topics", text))
