"""What docs/ says can be typed: shell blocks parse, YAML is YAML, and the flags of ganbench are
there."""

import re
import subprocess

import pytest
import typer

from benchmark.cli.main import app
from benchmark.store.code import ROOT

BLOCK = re.compile(r"^```(\w+)\n(.*?)^```$", re.M | re.S)
BLOCKS = [
    pytest.param(language, text, id=f"{path.stem}-{number}-{language}")
    for path in sorted((ROOT / "docs").glob("*.md"))
    for number, (language, text) in enumerate(BLOCK.findall(path.read_text()))
]


@pytest.mark.parametrize(("language", "text"), BLOCKS)
def test_a_block_parses_and_its_flags_are_there(language: str, text: str) -> None:
    if language == "bash":
        subprocess.run(["bash", "-n"], input=text, text=True, check=True)
    else:
        assert language == "yaml"
        assert isinstance(pytest.importorskip("yaml").safe_load(text), dict)
    commands = typer.main.get_command(app).commands  # type: ignore[attr-defined]
    joined = re.sub(r"\\?\n +", " ", text)
    for verb, rest in re.findall(r"ganbench (\w+) (.*)", joined):
        known = {option for parameter in commands[verb].params for option in parameter.opts}
        assert set(re.findall(r"--[a-z-]+", rest)) <= known
