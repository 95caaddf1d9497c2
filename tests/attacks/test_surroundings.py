"""A bare environment, and the ports of a local Ray cluster."""

import os
import subprocess
import sys
from pathlib import Path

import pytest

from benchmark.store.code import ROOT
from tests.conftest import matrix_text

pytestmark = pytest.mark.slow

LISTENING = """
import os, sys
from pathlib import Path
import ray
from benchmark.run.engines.ray_cluster import connect

if __name__ == "__main__":
    connect("local", Path(sys.argv[1]))
    psutil = __import__("psutil")  # Ray brings it along
    me = psutil.Process()
    mine = {process.pid for process in [me, *me.children(recursive=True)]}
    for port in psutil.net_connections("inet"):
        if port.status == "LISTEN" and port.pid in mine:
            print(port.laddr.ip)
"""


def ended(
    arguments: list[str], cwd: Path, variables: dict[str, str]
) -> subprocess.CompletedProcess[str]:
    bare = {"PATH": os.environ["PATH"], "PYTHONPATH": str(ROOT), "OMP_NUM_THREADS": "1"}
    return subprocess.run(
        [sys.executable, *arguments],
        cwd=cwd,
        env=bare | variables,
        capture_output=True,
        text=True,
        timeout=300,
    )


def test_a_local_ray_cluster_listens_on_loopback_alone(tmp_path: Path) -> None:
    pytest.importorskip("ray")
    script = tmp_path / "listening.py"
    script.write_text(LISTENING, encoding="utf-8")
    code = tmp_path / "code"
    code.mkdir()
    listening = ended([str(script), str(code)], tmp_path, {"HOME": str(tmp_path)})
    assert listening.returncode == 0, listening.stderr
    addresses = {line.removeprefix("::ffff:") for line in listening.stdout.splitlines()}
    assert addresses == {"127.0.0.1"}


@pytest.mark.parametrize("home", [None, "", "/nonexistent", "/"], ids=repr)
def test_every_verb_works_in_a_bare_environment(home: str | None, tmp_path: Path) -> None:
    """Without HOME, USER and LOGNAME."""
    variables = {"GANBENCH_CACHE": str(tmp_path / "cache")}
    if home is not None:
        variables["HOME"] = home
    (tmp_path / "tiny.toml").write_text(matrix_text(), encoding="utf-8")
    of_tiny = ["--matrix", "tiny.toml"]
    verbs = [
        ["run", *of_tiny, "--jobs", "1"],
        ["report", *of_tiny],
        ["export", "mlflow", *of_tiny],
        ["export", "wandb", *of_tiny],
        ["run", *of_tiny, "--engine", "ray", "--device", "cpu", "--results", "ray"],
    ]
    for verb in verbs:
        one = ended(["-m", "benchmark", *verb], tmp_path, variables)
        assert one.returncode == 0, one.stderr
        assert "Matplotlib" not in one.stderr
    assert not (tmp_path / "~").exists()
