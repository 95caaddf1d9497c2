"""Text of your own: a file, a folder or a zip."""

from contextlib import AbstractContextManager, suppress
from dataclasses import dataclass, field
from pathlib import Path

from variants.datasets import data_folder
from variants.datasets._listing import check_collection
from variants.datasets._text import BY_BLOCKS, TENTH, Text
from variants.datasets._text_files import Texts, open_texts


@dataclass(frozen=True)
class Dataset(Text):
    """Any text in UTF-8, in windows or by lines.

    `root` (else $GANBENCH_DATA/COLLECTION, else the user's cache; `text` without a collection) is a
    file, a folder with .txt files in it and its subfolders, or a zip of these. Of ten files or more
    every tenth in the order of their names is held out; of fewer, blocks of the text."""

    collection: str = ""
    """What the text is, such as shakespeare: tells one text from another in every table."""

    root: str | None = field(default=None, compare=False)
    """A file, a folder or a zip of text."""

    licence = "that of the text"

    def __post_init__(self) -> None:
        super().__post_init__()
        check_collection(self.collection)

    @property
    def source(self) -> str:
        return f"{self.collection or 'text'}, from a file, a folder or a zip"

    @property
    def split(self) -> str:
        # Without a text it is what will happen to the one that comes
        with suppress(OSError, ValueError), self.texts() as texts:
            if self.holds_out_files(texts):
                num_files = len(texts.files)
                return f"every {TENTH}th file held out, {num_files // TENTH:,} of {num_files:,}"
        return BY_BLOCKS

    def holds_out_files(self, texts: Texts) -> bool:
        return len(texts.files) >= TENTH

    def texts(self) -> AbstractContextManager[Texts]:
        path = self._path
        if not path.exists() or (path.is_dir() and not any(path.iterdir())):
            raise OSError(
                f"no text in {path}: put .txt files there, or give a file, a folder or a zip as "
                "the dataset's root"
            )
        return open_texts(path)

    @property
    def _path(self) -> Path:
        return data_folder(self.root, self.collection or "text")
