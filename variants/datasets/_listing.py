"""What a folder or a zip holds: the files that are wanted, images or texts, and every file that is
left out, with the reason. Nothing is unpacked, and no file is opened that is not a regular one."""

import os
import re
import stat
import zipfile
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from pathlib import Path
from typing import IO


@dataclass(frozen=True)
class Wanted:
    """Which files are wanted."""

    what: str  # for messages
    endings: tuple[str, ...]


ENDINGS = (
    *(".png", ".apng", ".jpg", ".jpeg", ".jpe", ".jfif", ".bmp", ".webp", ".tif", ".tiff"),
    *(".gif", ".ppm", ".pgm", ".pbm", ".pnm", ".jp2", ".j2k", ".avif", ".qoi"),
)
IMAGES = Wanted("images", ENDINGS)
TEXTS = Wanted("texts", (".txt",))
MAX_BYTES = 2**28  # of one image file, unpacked

# A zip of images unpacks to hardly more than its own size
MAX_UNPACKED = 2**30
MAX_RATIO = 200

# What systems leave behind: no image was meant
JUNK = ("thumbs.db", "desktop.ini", ".ds_store")
JUNK_FOLDERS = ("__MACOSX",)
APPLE_DOUBLE = "._"  # of every file that macOS adds to a zip

NOT_READABLE = (zipfile.BadZipFile, NotImplementedError, UnicodeDecodeError)
FileId = tuple[int, int]


@dataclass
class Listing:
    """The files of a folder or a zip, by their names inside it with `/` between the parts."""

    path: Path
    wanted: Wanted = IMAGES
    files: list[str] = field(default_factory=list)  # those that are wanted
    left_out: dict[str, str] = field(default_factory=dict)  # name -> why

    # a wanted file that is a further name of a file (a link, symbolic or hard) -> its first name
    first_names: dict[str, str] = field(default_factory=dict)

    def add(self, name: str) -> bool:
        """Take a file, or leave it out. Returns whether it is wanted."""
        *folders, last = name.split("/")
        suffix = Path(last).suffix.lower()
        is_junk = last.startswith(APPLE_DOUBLE) or last.lower() in JUNK
        if is_junk or any(folder in JUNK_FOLDERS for folder in folders):
            return False
        if any(part.startswith(".") for part in (*folders, last)):
            if suffix in self.wanted.endings:
                self.left_out[name] = "hidden"
            return False
        if suffix not in self.wanted.endings:
            self.left_out[name] = f"of format {suffix}" if suffix else "without an ending"
            return False
        self.files.append(name)
        return True


def list_files(path: Path, wanted: Wanted = IMAGES) -> Listing:
    """The files of a folder or a zip. Raises ValueError for anything else and for a zip that cannot
    be read, OSError for a subfolder that cannot be read: it may hold wanted files."""
    if path.is_dir():
        return _Walk(path, wanted).listing
    with open_zip(path) as archive:
        return zip_entries(path, archive, wanted)[0]


@contextmanager
def open_zip(path: Path) -> Iterator[zipfile.ZipFile]:
    """A zip to read. Raises ValueError that names it where it is damaged, there too where this is
    found only within the block."""
    # to open a pipe would wait for a writer
    if not path.is_file():
        raise ValueError(f"{path} is neither a folder nor a zip")
    try:
        with zipfile.ZipFile(path) as archive:
            yield archive
    except NOT_READABLE as error:
        raise ValueError(f"{path} is truncated or corrupt: {error}") from error


def zip_entries(
    path: Path, archive: zipfile.ZipFile, wanted: Wanted = IMAGES
) -> tuple[Listing, dict[str, zipfile.ZipInfo]]:
    """The files of a zip, and the entry of every wanted file. Raises ValueError for a zip that asks
    for a password, names files outside itself, or unpacks to far more than a zip of such files
    does."""
    listing = Listing(path, wanted)
    entries: dict[str, zipfile.ZipInfo] = {}
    for entry in archive.infolist():
        name = _inner_name(path, entry.filename)
        if entry.is_dir() or entry.filename.endswith("\\"):
            continue
        if stat.S_ISLNK(entry.external_attr >> 16):
            listing.left_out[name] = "a link in a zip"
        elif name in entries:
            # as every program that unpacks it does: the last entry of a name counts
            listing.left_out[f"{name} (earlier)"] = "an earlier entry of the same name"
            entries[name] = entry
        elif listing.add(name):
            entries[name] = entry
    for name, entry in entries.items():
        if entry.flag_bits & 1:
            raise ValueError(f"{path}: {printable(name)} asks for a password: unpack the zip first")
    unpacked = sum(entry.file_size for entry in entries.values())
    size = path.stat().st_size
    if unpacked > max(MAX_UNPACKED, MAX_RATIO * size):
        raise ValueError(
            f"{path}: {size:,} bytes unpack to {unpacked:,}, which no zip of {wanted.what} does"
        )
    listing.files.sort()
    return listing, entries


def read_entry(archive: zipfile.ZipFile, entry: zipfile.ZipInfo) -> bytes:
    """The bytes of a file in a zip, never more than its directory states."""
    check_size(entry.file_size)
    with open_entry(archive, entry) as file:
        return file.read(entry.file_size + 1)


def open_entry(archive: zipfile.ZipFile, entry: zipfile.ZipInfo) -> IO[bytes]:
    """A file in a zip, which gives no more bytes than its directory states."""
    # the unpackers of other methods cannot be told where to stop
    if entry.compress_type not in (zipfile.ZIP_STORED, zipfile.ZIP_DEFLATED):
        raise ValueError(
            f"compression method {entry.compress_type}: only stored and deflated files are read"
        )
    return archive.open(entry)


def read_file(path: Path) -> bytes:
    """The bytes of an image file."""
    check_size(path.stat().st_size)
    return path.read_bytes()


def check_size(num_bytes: int) -> None:
    """Raise ValueError for a file that is too large for an image."""
    if num_bytes > MAX_BYTES:
        raise ValueError(f"{num_bytes:,} bytes: an image has {MAX_BYTES:,} at most")


def check_collection(name: str) -> None:
    """Raise ValueError for a name of a collection that cannot be that of a folder on every system,
    or that is a folder above."""
    if not re.fullmatch(r"[\w.-]{0,100}", name) or name in (".", ".."):
        raise ValueError(
            f"collection is a name of at most 100 letters, digits and _.-, not {name!r}"
        )


def printable(name: str) -> str:
    """A file's name as it can be shown and stored: bytes that are no UTF-8 and control characters
    are escaped."""
    if name.isprintable():
        return name
    characters = []
    for character in name:
        shown = character if character.isprintable() else ascii(character)[1:-1]
        characters.append(shown)
    return "".join(characters)


def _inner_name(path: Path, name: str) -> str:
    """A name in a zip with `/` between its parts (Windows writes `\\`) and without `.` parts.
    Raises ValueError for a name that leads out of the zip."""
    parts = name.replace("\\", "/").split("/")
    if ".." in parts or parts[0] == "" or re.fullmatch(r"[A-Za-z]:", parts[0]):
        raise ValueError(f"{path}: the name {printable(name)!r} leads out of the zip")
    return "/".join(part for part in parts if part not in ("", "."))


class _Walk:
    """A walk through a folder that reads every file and folder once, whatever links lead to it.

    Real files and folders come first, so that these give the names; a link counts where it leads
    to what is not in the folder otherwise."""

    def __init__(self, path: Path, wanted: Wanted) -> None:
        self.listing = Listing(path, wanted)
        self.links: list[str] = []
        self.follows_links = False
        self.files: dict[FileId, str] = {}
        self.folders = {_id(path.stat())}
        self.above = {_id(folder.stat()) for folder in path.resolve().parents}
        self._walk("")
        self.follows_links = True
        # links lie in linked folders too
        while self.links:
            names, self.links = sorted(self.links), []
            folders = [name for name in names if self._is_folder(name)]
            for name in folders:
                self._walk(f"{name}/")
        self.listing.files.sort()

    def _walk(self, inside: str) -> None:
        """Everything in a folder and its subfolders; links are set aside."""
        stack = [inside]
        while stack:
            prefix = stack.pop()
            with os.scandir(self.listing.path / prefix) as scanned:
                entries = sorted(scanned, key=lambda entry: entry.name)
            for entry in entries:
                name = prefix + entry.name
                if entry.is_symlink():
                    self.links.append(name)
                elif entry.is_dir():
                    if self._is_new_folder(name, entry.stat()):
                        stack.append(f"{name}/")
                elif entry.is_file():
                    self._add(name, entry.stat())
                else:
                    self.listing.left_out[name] = "no regular file"

    def _is_folder(self, name: str) -> bool:
        """Whether a link leads to a folder that is to be read. A link to a file is read here."""
        try:
            state = (self.listing.path / name).stat()
        # nothing is there, or the link leads to itself
        except OSError:
            self.listing.left_out[name] = "a link that leads nowhere"
            return False
        if stat.S_ISDIR(state.st_mode):
            if _id(state) not in self.above:
                return self._is_new_folder(name, state)
            self.listing.left_out[f"{name}/"] = "a link to a folder that holds this one"
        elif stat.S_ISREG(state.st_mode):
            self._add(name, state)
        else:
            self.listing.left_out[name] = "no regular file"
        return False

    def _is_new_folder(self, name: str, state: os.stat_result) -> bool:
        last = name.rpartition("/")[2]
        if last in JUNK_FOLDERS:
            return False
        if last.startswith("."):
            self.listing.left_out[f"{name}/"] = "hidden"
            return False
        if _id(state) in self.folders:
            self.listing.left_out[f"{name}/"] = "a link to a folder that is read anyway"
            return False
        self.folders.add(_id(state))
        return True

    def _add(self, name: str, state: os.stat_result) -> None:
        if not self.listing.add(name):
            return
        first = self.files.setdefault(_id(state), name)
        # some network file systems give the same number to several files
        if first != name and (state.st_nlink > 1 or self.follows_links):
            self.listing.first_names[name] = first


def _id(state: os.stat_result) -> FileId:
    """What two names of one file or folder have in common."""
    return state.st_dev, state.st_ino
