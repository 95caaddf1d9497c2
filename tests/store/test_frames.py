"""Frames as CSV."""

from pathlib import Path

import pandas as pd

from benchmark.store.frames import without_formulas, write_csv


def test_no_text_of_a_csv_is_a_formula(tmp_path: Path) -> None:
    frame = pd.DataFrame(
        {
            "text": ["=1+1", "plain", None, "\tx"],
            "category": pd.Categorical(["-x", "@y", "-x", "z"]),
            "+head": ["a-b", "−2", "1", "+3"],
            "number": [-1.5, float("nan"), 2.0, float("-inf")],
        }
    )
    write_csv(frame, tmp_path / "t.csv")
    assert (tmp_path / "t.csv").read_text(encoding="utf-8").splitlines() == [
        "text,category,'+head,number",
        "'=1+1,'-x,a-b,-1.5",
        "plain,'@y,−2,",
        ",'-x,1,2.0",
        "'\tx,z,'+3,-inf",
    ]


def test_categories_stay_categories() -> None:
    frame = pd.DataFrame({"cell": pd.Categorical(["=a", "b", "=a"])})
    safe = without_formulas(frame)["cell"]
    assert isinstance(safe.dtype, pd.CategoricalDtype)
    assert list(safe) == ["'=a", "b", "'=a"]
