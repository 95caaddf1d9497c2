"""Display names: how pages call a variant, and no part of a cell."""

from collections.abc import Callable
from pathlib import Path

import pytest

from benchmark.errors import UserError
from benchmark.matrix import files
from benchmark.matrix.cell import Cell
from benchmark.matrix.expand import expand
from benchmark.matrix.labels import unlabelled
from benchmark.run import prepare
from benchmark.store.files import write_record
from benchmark.store.layout import ResultSet
from benchmark.store.origin import check_same
from benchmark.store.schema import Command

PEARSON = '{ name = "lsgan", a = -1, c = 0, label = "LSGAN (Pearson)" }'


def test_a_label_changes_no_cell(cells: Callable[..., list[Cell]]) -> None:
    plain = cells(objectives='objectives = [{ name = "lsgan", a = -1, c = 0 }]')
    named = cells(objectives=f"objectives = [{PEARSON}]")
    assert [cell.key for cell in named] == [cell.key for cell in plain]
    assert named == plain


def test_the_record_of_a_matrix_has_labels_apart(matrix_file: Callable[..., Path]) -> None:
    text = (
        f'objectives = ["wgan", {PEARSON}]\nreference = "LSGAN (Pearson)"\n'
        'exclude = [{ objective = "wgan | LSGAN (Pearson)", seed = 1 }]\n'
        'targets = { "Eight modes" = 0.5 }'
    )
    datasets = 'datasets = [{ name = "gaussians8", label = "Eight modes" }]'
    path = matrix_file(objectives=text, datasets=datasets, seeds="seeds = 2")
    matrix, names = unlabelled(files.read(path).matrix)
    label = "lsgan[a=-1.0,c=0.0]"
    assert names == {
        "objective": {label: "LSGAN (Pearson)"},
        "dataset": {"gaussians8": "Eight modes"},
    }
    assert matrix.objectives[1] == {"name": "lsgan", "a": -1, "c": 0}
    assert matrix.reference == label
    assert matrix.exclude == [{"objective": f"wgan|{label}", "seed": 1}]
    assert matrix.targets == {"gaussians8": 0.5}
    assert unlabelled(matrix) == (matrix, {})


def test_every_variant_of_a_sweep_has_its_own_label(matrix_file: Callable[..., Path]) -> None:
    sweep = '{ name = "wgan_gp", penalty_weight = [1, 10], label = "GP, λ {penalty_weight}" }'
    path = matrix_file(objectives=f"objectives = [{sweep}]")
    _, names = unlabelled(files.read(path).matrix)
    assert names["objective"] == {
        "wgan_gp[penalty_weight=1.0]": "GP, λ 1",
        "wgan_gp": "GP, λ 10",
    }


def test_only_takes_a_label_with_blanks(cells: Callable[..., list[Cell]]) -> None:
    parts = {"objectives": f'objectives = ["wgan", "lsgan", {PEARSON}]', "seeds": "seeds = 2"}
    (cell,) = cells("objective=LSGAN (Pearson) seed=1", **parts)
    assert cell.objective.label == "lsgan[a=-1.0,c=0.0]"
    assert cells("seed=1 objective=lsgan[a=-1.0,c=0.0]", **parts) == [cell]
    assert len(cells("objective=LSGAN (Pearson)|wgan", **parts)) == 4
    with pytest.raises(UserError, match=r"did you mean 'LSGAN \(Pearson\)'"):
        cells("objective=LSGAN (Pearsn)", **parts)


@pytest.mark.parametrize(
    ("values", "reasons"),
    [
        ('{ name = "wgan", label = 3 }', ["'wgan'", "a string, not 3"]),
        ('{ name = "wgan", label = "" }', ["1 to 60", "not ''"]),
        ('{ name = "wgan", label = "a\\u0007" }', ["printable", r"'a\x07'"]),
        (f'{{ name = "wgan", label = "{"x" * 61}" }}', ["1 to 60 printable characters"]),
        ('{ name = "wgan", label = "a|b" }', ["'a|b'", "--only"]),
        ('{ name = "wgan", label = "WGAN lr=1" }', ["'WGAN lr=1'", "--only"]),
        ('{ name = "wgan", label = "lsgan" }', ["'lsgan'", "the name of a variant"]),
        (
            '{ name = "wgan", clip = [0.1, 0.2], label = "W" }',
            ["'W'", "2 variants, such as wgan[clip=0.1], wgan[clip=0.2]", "in braces"],
        ),
        (
            '{ name = "wgan", label = "W" }, { name = "lsgan", label = "W" }',
            ["'W'", "such as wgan, lsgan"],
        ),
        (
            '{ name = "wgan", label = "c {clipp}" }',
            ["label of objective 'wgan' 'clipp'", "did you mean 'clip'", "lr"],
        ),
        ('{ name = "wgan", label = "GP {" }', ["'GP {' has a brace", "{parameter}", "clip"]),
        ('{ name = "wgan", label = "GP }" }', ["'GP }' has a brace"]),
        ('{ name = "wgan", label = "c {clip" }', ["'c {clip' has a brace"]),
        ('{ name = "wgan", label = "c {{clip}}" }', ["'c {{clip}}' has a brace"]),
        ('{ name = "wgan", label = "c {}" }', ["'c {}' has a brace"]),
        ('{ name = "wgan", label = "c {clip:.2f}" }', ["'c {clip:.2f}' has a brace"]),
        (f'{{ name = "wgan", label = "{"x" * 300}" }}', ["1 to 60", f"not '{'x' * 59}…"]),
        (f'{{ name = "wgan", label = "{{{"x" * 300}}}" }}', [f"'wgan' '{'x' * 60}'; valid"]),
        (f'{{ name = "wgan", label = ["{"x" * 300}"] }}', ["a string", f"['{'x' * 58}…"]),
        ('{ name = "wgan", labl = "W" }', ["'labl'", "did you mean 'label'"]),
    ],
)
def test_a_label_that_is_none_is_one_line(
    cells: Callable[..., list[Cell]], values: str, reasons: list[str]
) -> None:
    with pytest.raises(UserError) as caught:
        cells(objectives=f"objectives = [{values}]")
    message = str(caught.value)
    assert "\n" not in message
    assert len(message) < 300
    for reason in reasons:
        assert reason in message


def test_one_variant_has_one_label(cells: Callable[..., list[Cell]]) -> None:
    rules = (
        '[[include]]\nobjective = { name = "lsgan", a = -1, c = 0, label = "Other" }\n'
        'architecture = "mlp"\ndataset = "swissroll"'
    )
    with pytest.raises(UserError, match=r"two labels, 'LSGAN \(Pearson\)' and 'Other'"):
        cells(objectives=f"objectives = [{PEARSON}]", rules=rules)


def test_results_stay_those_of_their_matrix_under_other_labels(
    matrix_file: Callable[..., Path], tmp_path: Path
) -> None:
    """Another label neither makes a cell stale nor a result set one of another matrix."""
    plain = files.read(matrix_file(objectives=f"objectives = [{PEARSON.split(', label')[0]} }}]"))
    named = files.read(matrix_file(objectives=f"objectives = [{PEARSON}]"))
    other = files.read(matrix_file(objectives='objectives = ["lsgan"]'))
    records = []
    for matrix in (plain.matrix, named.matrix):
        command = Command(file="elsewhere.toml")
        records.append(prepare.matrix_file("m", "", matrix, expand(matrix), command))
    first, second = records
    assert first.display_names == {}
    assert second.display_names == {"objective": {"lsgan[a=-1.0,c=0.0]": "LSGAN (Pearson)"}}
    assert first == second.model_copy(update={"display_names": {}})
    results = ResultSet(tmp_path / "m")
    results.path.mkdir()
    write_record(results.matrix_file, first)
    check_same(results, tmp_path / "mine.toml", named.matrix)
    with pytest.raises(UserError, match="holds the results of"):
        check_same(results, tmp_path / "mine.toml", other.matrix)
