"""Freezes the rules of the leaderboard of the present version.

`python -m tests.studies.leaderboard_rules FOLDER ...` writes results/submissions/VERSION/rules.json
from result sets of whole matrices, such as results/reference/quick. It is run once, when a
Major.Minor is released; a file that exists is kept.
"""

import sys
from pathlib import Path

from benchmark import __version__
from benchmark.analysis.tables import load
from benchmark.check.submission.rules import Rules, frozen, major_minor, rules_file
from benchmark.store.files import write_record


def rules_of(folders: list[Path]) -> Rules:
    matrices = {folder.name: frozen(load(folder)) for folder in folders}
    return Rules(version=major_minor(__version__), matrices=matrices)


def main(folders: list[str]) -> None:
    file = rules_file()
    if file.exists():
        sys.exit(f"{file} is frozen: it is kept")
    file.parent.mkdir(parents=True, exist_ok=True)
    write_record(file, rules_of([Path(folder) for folder in folders]))
    print(file)


if __name__ == "__main__":
    main(sys.argv[1:])
