"""Which images of a folder or a zip are for training and which are held out, by the names of their
folders, and which class each image is of."""

from collections import Counter
from collections.abc import Iterator, Sequence
from dataclasses import dataclass, field
from pathlib import Path

from variants.datasets._listing import IMAGES, Listing, Wanted, list_files, printable
from variants.datasets._split_names import is_exact, is_zip, kind_of

ZIP = "of format .zip"
SHOWN = 3  # names that a message lists


@dataclass
class Part:
    """Files that are read together: all of a folder or a zip, or those of one split."""

    path: Path  # the folder or the zip
    name: str  # what messages call the part
    files: list[str]  # by their names inside `path`
    folders: list[str]  # of each file, without the folder of the split
    left_out: dict[str, str] = field(default_factory=dict)  # name of a file -> why


@dataclass
class Layout:
    """How a folder or a zip is made: one part, or a part for training and parts to hold out, the
    preferred one first."""

    train: Part
    held: list[Part] = field(default_factory=list)
    left_out: dict[str, str] = field(default_factory=dict)  # files that are in no part

    # how many images are in folders that are in no part
    unused: dict[str, int] = field(default_factory=dict)


def whole(path: Path, wanted: Wanted = IMAGES) -> Part:
    """All wanted files of a folder or a zip."""
    listing = list_files(path, wanted)
    return _part(listing, path.name, listing.files, listing.left_out)


def find_layout(path: Path, held: Sequence[str] = ("test", "val")) -> Layout:
    """How a folder or a zip is made. `held` names the splits that may be held out, the preferred
    one first. Raises ValueError for a split without its counterpart, and where several folders or
    zips may be one split."""
    listing = list_files(path)
    parents = _parents(listing)
    split = {parent: kinds for parent in parents if (kinds := _kinds(path, parents[parent], held))}
    if not split:
        _check_not_alone(path, parents)
        return Layout(_part(listing, path.name, listing.files, listing.left_out))
    depth = min(_depth(parent) for parent in split)
    split = {parent: kinds for parent, kinds in split.items() if _depth(parent) == depth}
    return _layout(listing, split, held)


def classes_of(part: Part) -> tuple[list[int] | None, tuple[str, ...]]:
    """The class of every image, as an index into the names of the classes: its first folder below
    those that all images share. None where all are in one folder. Raises ValueError for an image
    beside the folders of the others."""
    folders = [tuple(folder.split("/")) if folder else () for folder in part.folders]
    if len(set(folders)) <= 1:
        return None, ()
    shared = _num_shared(min(folders), max(folders))
    names = []
    for image, folder in zip(part.files, folders, strict=True):
        if len(folder) == shared:
            raise ValueError(
                f"{part.path}: {printable(image)} lies next to folders of images: give every image "
                "a class, or none"
            )
        names.append(folder[shared])
    classes = sorted(set(names))
    index = {name: i for i, name in enumerate(classes)}
    return [index[name] for name in names], tuple(printable(name) for name in classes)


def _num_shared(first: tuple[str, ...], last: tuple[str, ...]) -> int:
    """How many parts the first and the last of sorted paths begin with, which all share."""
    shared = 0
    for one, other in zip(first, last, strict=False):
        if one != other:
            break
        shared += 1
    return shared


def _part(listing: Listing, name: str, images: list[str], left_out: dict[str, str]) -> Part:
    """Images of a listing. Of several names of one file the first counts."""
    first_names = listing.first_names
    taken = set()
    kept = []
    left_out = dict(left_out)
    # the names of real files before those of links
    for image in sorted(images, key=lambda name: (name in first_names, name)):
        file = first_names.get(image, image)
        if file in taken:
            left_out[image] = "a link to a file that is read anyway"
        else:
            taken.add(file)
            kept.append(image)
    kept.sort()
    return Part(listing.path, name, kept, [_folder(image) for image in kept], left_out)


def _layout(listing: Listing, split: dict[str, dict[str, str]], held: Sequence[str]) -> Layout:
    """The parts of a folder that comes split: of every parent folder a `train` and what is held
    out."""
    available = [kind for kind in held if all(kind in kinds for kinds in split.values())]
    if not available:
        names = [f"{parent}{name}" for parent, kinds in split.items() for name in kinds.values()]
        raise ValueError(
            f"{listing.path}: no split to hold out is in every folder: {_listed(names)}"
        )
    in_part: dict[str, str] = {}  # folder or zip of a split -> its kind
    for parent, kinds in split.items():
        for kind in ("train", *available):
            in_part[f"{parent}{kinds[kind]}"] = kind
    images: dict[str, list[str]] = {kind: [] for kind in ("train", *available)}
    unused: Counter[str] = Counter()
    for image in listing.files:
        parent, child = _below(image, split)
        if child is None:
            raise ValueError(
                f"{listing.path}: {printable(image)} lies beside {printable(next(iter(in_part)))}, "
                "which is a split: put it into a split, or elsewhere"
            )
        if f"{parent}{child}" in in_part:
            images[in_part[f"{parent}{child}"]].append(image)
        elif image == f"{parent}{child}":
            unused[parent or "./"] += 1
        else:
            unused[f"{parent}{child}/"] += 1
    left_out = dict(listing.left_out)
    parts = {}
    for kind in images:
        parts[kind] = _part_of_split(listing, images[kind], in_part, kind, left_out)
    return Layout(
        parts["train"],
        [parts[kind] for kind in available],
        left_out,
        {printable(name): n for name, n in unused.items()},
    )


def _part_of_split(
    listing: Listing,
    images: list[str],
    in_part: dict[str, str],
    kind: str,
    left_out: dict[str, str],
) -> Part:
    """One split: a zip, or folders. A zip is taken out of the files that are left out."""
    places = [place for place, its_kind in in_part.items() if its_kind == kind]
    name = printable(_listed(places))
    zips = [place for place in places if left_out.get(place) == ZIP]
    if zips:
        if len(places) > 1:
            raise ValueError(f"{listing.path} has several zips of one split: {name}")
        del left_out[places[0]]
        part = whole(listing.path / places[0])
        part.name = name
        return part
    inside = {}
    for file, reason in left_out.items():
        if any(file.startswith(f"{place}/") for place in places):
            inside[file] = reason
    part = _part(listing, name, images, inside)
    for i, image in enumerate(part.files):
        place = next(place for place in places if image.startswith(f"{place}/"))
        part.folders[i] = _without(part.folders[i], place)
    return part


def _without(folder: str, place: str) -> str:
    """The folder of an image without the last part of `place`, which it lies in."""
    parent = place.rpartition("/")[0]
    rest = folder[len(place) + 1 :]
    return "/".join(name for name in (parent, rest) if name)


def _below(image: str, parents: dict[str, dict[str, str]]) -> tuple[str, str | None]:
    """The parent folder that an image lies in, and the file or folder right below it."""
    for parent in parents:
        if image.startswith(parent):
            return parent, image[len(parent) :].split("/")[0]
    return "", None


def _parents(listing: Listing) -> dict[str, set[str]]:
    """Folder (`""` or ending with `/`) -> the folders with images, and the zips, right below it;
    folders of a split without images too."""
    parents: dict[str, set[str]] = {}
    folders = {_folder(image) for image in listing.files}
    zips = []
    # a zip in a zip is not read
    if listing.path.is_dir():
        zips = [name for name, reason in listing.left_out.items() if reason == ZIP]
    for path in sorted((*folders, *zips)):
        for parent, name in _steps(path):
            parents.setdefault(parent, set()).add(name)
    for path in {_folder(name) for name in listing.left_out}:
        for parent, name in _steps(path):
            if parent in parents and kind_of(name)[0]:
                parents[parent].add(name)
    return parents


def _steps(path: str) -> Iterator[tuple[str, str]]:
    """(folder, name right below it) of every part of a path."""
    names = path.split("/") if path else []
    for i, name in enumerate(names):
        yield "".join(f"{folder}/" for folder in names[:i]), name


def _kinds(path: Path, children: set[str], held: Sequence[str]) -> dict[str, str] | None:
    """{kind of split: folder or zip} where there is one for training and one to hold out; None
    otherwise. `train_images` and `test_images` belong together, `train` and `exam_test` do not."""
    groups: dict[str, dict[str, list[str]]] = {}
    for child in sorted(children):
        kind, rest = kind_of(child)
        if kind == "train" or kind in held:
            groups.setdefault(rest, {}).setdefault(kind, []).append(child)
    pairs = {}
    for rest, group in groups.items():
        if "train" in group and len(group) > 1:
            pairs[rest] = group
    if not pairs:
        return None
    if "" not in pairs and len(pairs) > 1:
        every = [name for group in pairs.values() for name in group["train"]]
        raise ValueError(f"{path} has several folders of one split: {_listed(every)}")
    chosen = pairs.get("", next(iter(pairs.values())))
    return {kind: _only(path, names) for kind, names in chosen.items()}


def _only(path: Path, names: list[str]) -> str:
    """The one folder or zip of a split: a folder before a zip, which it may be unpacked from, and a
    name that is the split's before one that contains it."""
    folders = [name for name in names if not is_zip(name)]
    exact = [name for name in names if is_zip(name) and is_exact(name)]
    candidates = folders or exact or names
    if len(candidates) > 1:
        what = "folders" if folders else "zips"
        raise ValueError(f"{path} has several {what} of one split: {_listed(candidates)}")
    return candidates[0]


def _check_not_alone(path: Path, parents: dict[str, set[str]]) -> None:
    """Raise ValueError for a folder that holds only one split. A zip may: there is no other way to
    name what is in it."""
    children = parents.get("", set())
    kinds = [kind_of(child) for child in children]
    if path.is_dir() and children and all(kind and not rest for kind, rest in kinds):
        raise ValueError(
            f"{path} has {_listed(sorted(children))} but not its counterpart: both splits are "
            "needed"
        )


def _folder(image: str) -> str:
    return image.rpartition("/")[0]


def _depth(parent: str) -> int:
    return parent.count("/")


def _listed(names: Sequence[str]) -> str:
    shown = [printable(name) for name in names[:SHOWN]]
    if len(names) > SHOWN:
        shown.append("…")
    return ", ".join(shown)
