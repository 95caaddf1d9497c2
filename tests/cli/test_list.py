"""`ganbench list`: what the sources say of every name, and lines that can be pasted."""

import json
import re
import tomllib
from collections.abc import Callable
from pathlib import Path

import pytest

import variants
from benchmark.matrix.catalogue import KINDS, OPTIONS, names
from benchmark.matrix.cell import AXES
from benchmark.matrix.description import find
from benchmark.matrix.options import Evaluation, Matrix, validated
from benchmark.matrix.values import choices
from benchmark.metrics import METRICS
from tests.conftest import Ended

VARIANTS = [(axis, name) for axis in variants.AXES for name in variants.names(axis)]


@pytest.mark.parametrize(("axis", "name"), VARIANTS)
def test_every_parameter_has_a_meaning_and_the_lines_set_the_defaults(axis: str, name: str) -> None:
    (entry,) = [entry for entry in find(name) if entry.kind == axis]
    assert [p.name for p in entry.parameters if not (p.meaning and p.values)] == []
    (pasted,) = tomllib.loads(entry.toml)[axis]
    singular = AXES[variants.AXES.index(axis)]
    (default,) = choices(singular, name)
    assert [value.choice for value in choices(singular, pasted)] == [default.choice]


def test_an_objective_says_its_equation_its_paper_and_its_parameters(
    ganbench: Callable[..., Ended],
) -> None:
    for name in variants.names("objectives"):
        (entry,) = find(name)
        assert entry.equation.startswith("min over D: "), name
        assert "\nmin over G: " in entry.equation, name
        assert entry.papers, name
    ended = ganbench("list", "wgan_gp")
    assert (ended.code, ended.err) == (0, "")
    for text in (
        "Gulrajani et al. 2017 (arXiv:1704.00028), eq. 3",
        "λ E(‖∇D(x̂)‖₂ − K)²",
        "λ: weight of the penalty.",
        "two | one | linear",
        "Critic steps per generator step.",
        "paper: https://arxiv.org/abs/1704.00028\n",
        'objectives = [{ name = "wgan_gp", penalty_weight = 10.0, target = 1.0, sided = "two", ',
    ):
        assert text in ended.out.replace(",\neq. 3", ", eq. 3"), text


@pytest.mark.parametrize("name", OPTIONS)
def test_options_have_meanings_and_lines_that_are_the_defaults(name: str) -> None:
    (entry,) = [entry for entry in find(name) if entry.kind == "options"]
    assert [p.name for p in entry.parameters if not (p.meaning and p.values)] == []
    table = tomllib.loads(entry.toml)
    for part in name.split("."):
        table = table[part]
    read = validated(OPTIONS[name], table, name)
    given = {"steps": 1000} if name == "training" else {}
    assert read == OPTIONS[name](**given)


@pytest.mark.parametrize("name", METRICS)
def test_a_metric_says_how_it_is_computed(name: str) -> None:
    (entry,) = find(name)
    assert len(entry.description) > 20
    assert entry.facts["column"].startswith(f"{name}_")
    assert Evaluation.model_validate(tomllib.loads(entry.toml)["evaluation"]).metrics == [name]


@pytest.mark.parametrize("name", ["quick", "text_paper"])
def test_a_matrix_says_what_it_holds(name: str) -> None:
    (entry,) = [entry for entry in find(name) if entry.kind == "matrices"]
    assert "Cost: " in entry.description
    assert set(entry.facts) == {"objectives", "architectures", "datasets", "cells"}
    axes = tomllib.loads(entry.toml)
    assert Matrix(**axes).objectives == axes["objectives"]


def test_a_metric_is_called_by_its_protocol_and_a_variant_by_its_label(
    ganbench: Callable[..., Ended],
) -> None:
    assert ganbench("list", "fid").out.startswith("fid (metrics): EXTRACTOR-FID (N)\n")
    assert find("fid")[0].facts["column"] == "fid_EXTRACTOR_N (N: number of samples)"
    assert (
        find("modes_covered")[0]
        .facts["column"]
        .startswith("modes_covered_N, modes_covered_EXTRACTOR_N (")
    )
    assert not re.search(r"\bFID\b", ganbench("list", "metrics").out.replace("EXTRACTOR-FID", ""))
    facts = find("text")[1].facts
    assert "; wgan (shared); wgan_gp (shared); wgan_fdgp gradient (shared); " in facts["objectives"]
    assert "[" not in facts["objectives"]


def test_names_are_found_in_every_kind_and_by_the_column_of_a_metric() -> None:
    assert [entry.kind for entry in find("text")] == ["datasets", "matrices"]
    assert [entry.name for entry in find("fid_classifier_750")] == ["fid"]


def test_kinds_are_listed_alone(ganbench: Callable[..., Ended]) -> None:
    for kind in KINDS:
        out = ganbench("list", kind).out
        assert [other for other in KINDS if f"{other}" in out.splitlines()[0]] == [kind]
        assert [name for name in names(kind) if f" {name} " not in out] == []
    assert "wgan_gp" not in ganbench("list", "metrics").out


def test_json_holds_the_same(ganbench: Callable[..., Ended]) -> None:
    every = json.loads(ganbench("list", "--json").out)
    assert {(entry["kind"], entry["name"]) for entry in every} == {
        (kind, name) for kind in KINDS for name in names(kind)
    }
    (entry,) = json.loads(ganbench("list", "lsgan", "--json").out)
    by_name = {parameter["name"]: parameter for parameter in entry["parameters"]}
    assert by_name["a"] == {
        "name": "a",
        "default": 0.0,
        "values": "number",
        "meaning": "The critic's label of generated samples.",
    }


@pytest.mark.parametrize("name", ["wgan_pg", "objective", "trainin"])
def test_an_unknown_name_has_a_nearest_match(name: str, ganbench: Callable[..., Ended]) -> None:
    near = {"wgan_pg": "wgan_gp", "objective": "objectives", "trainin": "training"}[name]
    ended = ganbench("list", name)
    assert (ended.code, ended.out, ended.err.count("\n")) == (2, "", 1)
    assert ended.err.startswith(f"ganbench: nothing is called {name!r} (did you mean {near!r}?)")


def test_a_variant_of_ones_own_is_described_from_its_file(
    ganbench: Callable[..., Ended], tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("GANBENCH_VARIANTS", "")
    folder = tmp_path / "mine"
    ganbench("new", "objective", "own_objective", "--variants", folder)
    ganbench("new", "architecture", "own_architecture", "--variants", folder)
    (entry,) = json.loads(ganbench("list", "own_objective", "--json", "--variants", folder).out)
    assert (
        entry["parameters"][0]["meaning"]
        == "m: the margin, which is added to both losses' arguments."
    )
    assert entry["toml"] == 'objectives = [{ name = "own_objective", margin = 0.0 }]'
    (entry,) = json.loads(ganbench("list", "own_architecture", "--json", "--variants", folder).out)
    assert [p["name"] for p in entry["parameters"] if not p["meaning"]] == []
