"""What the name of a folder or a zip says of a split."""

import re

# How folders and zips of a split are called, in any case and with any separators
WORDS = {
    "train": ("train", "training", "trainset", "trainval"),
    "test": ("test", "testing", "testset"),
    "val": (
        *("val", "valid", "validation", "valset", "dev"),
        *("eval", "evaluation", "holdout", "heldout"),
    ),
}
KINDS = {word: kind for kind, words in WORDS.items() for word in words}
NO_MEANING = ("set", "data", "dataset", "images", "imgs", "split", "samples")


def kind_of(name: str) -> tuple[str, str]:
    """The kind of split that a name says, `""` for none, and the rest of the name: `Training_set`
    → train and "", `seg_test` → test and "seg". The rest of a zip's name does not matter: no class
    is a zip. `my-train.zip` is for training, `restrain.zip` and `train_labels.zip` are not."""
    words = re.findall(r"[A-Z]?[a-z]+|[A-Z]+|\d+", stem(name))
    if words and words[0].isdigit():
        # `01_train` and `02_test`: the number only orders them
        del words[0]
    lower = [word.lower() for word in words]
    meant = [word for word in lower if word not in NO_MEANING]
    if "".join(meant) in KINDS:
        return KINDS["".join(meant)], ""
    if is_zip(name):
        *_, last = ["", *(word for word in meant if word.isalpha())]
        return KINDS.get(last, ""), ""
    kinds = [word for word in meant if word in KINDS]
    if len(kinds) != 1:
        return "", ""
    return KINDS[kinds[0]], " ".join(word for word in lower if word != kinds[0])


def is_zip(name: str) -> bool:
    return name.lower().endswith(".zip")


def stem(name: str) -> str:
    return name[:-4] if is_zip(name) else name


def is_exact(name: str) -> bool:
    """Whether a name is that of a split, and not one that contains it."""
    return stem(name).lower() in KINDS
