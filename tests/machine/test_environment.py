"""The surroundings that are written next to every cell: versions, flags, driver and commit."""

import getpass
import json
import os
import socket
import subprocess
from pathlib import Path

import pytest

from benchmark.machine import environment
from benchmark.store.code import ROOT
from benchmark.store.schema import Surroundings


def test_a_snapshot_of_the_environment_names_versions_flags_and_nothing_private(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    import torch

    monkeypatch.delenv("GANBENCH_GIT", raising=False)
    before = environment.environment("cpu").plain()
    text = json.dumps(before).lower()
    private = {socket.gethostname(), os.environ.get("HOSTNAME", "")}
    private |= {str(Path.home()), str(ROOT), os.getcwd()}
    if getpass.getuser() != "root":  # too short and common a word to look for
        private.add(getpass.getuser())
    assert [name for name in private if len(name) > 3 and name.lower() in text] == []
    versions = before["versions"]
    assert not any("/" in str(value) for value in [*before.values(), *versions.values()])
    packages = {"torch", "torchvision", "torch-fidelity", "numpy", "scipy"}
    assert set(versions) == {"ganbench"} | packages
    assert None not in versions.values()
    assert (before["threads"], before["deterministic"]) == (1, False)
    assert (before["num_gpus"], before["driver"]) == (0, None)
    benchmark = torch.backends.cudnn.benchmark
    try:
        torch.use_deterministic_algorithms(True, warn_only=True)
        torch.backends.cudnn.benchmark = not benchmark
        changed = environment.environment("cpu").plain()
    finally:
        torch.use_deterministic_algorithms(False)
        torch.backends.cudnn.benchmark = benchmark
    differing = {name for name in before if before[name] != changed[name]}
    assert differing == {"deterministic", "deterministic_warn_only", "cudnn_benchmark"}


def test_what_the_last_digits_depend_on_names_processor_limits_and_torch(
    monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    for name in environment.LIMITS:
        monkeypatch.delenv(name, raising=False)
    info = "vendor_id : Some\ncpu family : 6\nmodel : 207\nmodel name : A CPU\nstepping : 2\n"
    (tmp_path / "cpuinfo").write_text(info + "flags : avx2 fma\n")
    monkeypatch.setattr(environment, "CPUINFO", tmp_path / "cpuinfo")
    for name in ("_processor", "_processor_version", "_instruction_sets"):
        monkeypatch.setattr(environment, name, getattr(environment, name).__wrapped__)
    plain = environment.environment("cpu")
    assert plain.processor_version == "Some 6-207-2"
    assert plain.instruction_limits == {}
    monkeypatch.setenv("ONEDNN_MAX_CPU_ISA", "AVX2")
    limited = environment.environment("cpu")
    assert limited.instruction_limits == {"ONEDNN_MAX_CPU_ISA": "AVX2"}
    assert str(plain.arithmetic("eager")).startswith("A CPU, Some 6-207-2, ")
    assert limited.arithmetic("eager") != plain.arithmetic("eager")
    assert Surroundings().arithmetic("eager") is None
    gpu = plain.model_copy(update={"device": "A GPU", "num_gpus": 1, "cuda": "12.8"})
    assert str(gpu.arithmetic("eager")).startswith("A GPU, CUDA 12.8, ")


def test_the_last_digits_of_compiled_steps_depend_on_the_compiler(
    monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    monkeypatch.setattr(environment, "_compiler", environment._compiler.__wrapped__)
    monkeypatch.setenv("CXX", str(write_compiler(tmp_path / "one", "g++ (Some) 12.2.0")))
    first = environment.environment("cpu")
    assert first.compiler == "g++ (Some) 12.2.0"
    monkeypatch.setenv("CXX", str(write_compiler(tmp_path / "two", "g++ (Some) 13.1.0")))
    second = environment.environment("cpu")
    assert first.arithmetic("eager") == second.arithmetic("eager")
    for way in ("compiled", "compiled, stack of 5"):
        assert first.arithmetic(way) != second.arithmetic(way)
    monkeypatch.setenv("CXX", str(tmp_path / "none"))
    none = environment.environment("cpu")
    assert none.compiler is None
    assert none.arithmetic("compiled") is None


def write_compiler(path: Path, version: str) -> Path:
    """A compiler that says its version and compiles nothing."""
    path.write_text(f"#!/bin/sh\necho '{version}'\necho 'Free software'\n")
    path.chmod(0o755)
    return path


DRIVERS = {
    "NVRM version: NVIDIA UNIX x86_64 Kernel Module  535.104.05  Sat Aug 19 01:15:15 UTC 2023\n"
    "GCC version:  gcc version 12.2.0 (Debian 12.2.0-14)\n": "535.104.05",
    "NVRM version: NVIDIA UNIX Open Kernel Module for x86_64  570.86  Release Build  "
    "(someone@builder)\n": "570.86",
    "nothing of it\n": None,
}


@pytest.mark.parametrize("text", DRIVERS)
def test_the_drivers_version(text: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(environment, "DRIVER", tmp_path / "version")
    assert environment._driver.__wrapped__() is None
    (tmp_path / "version").write_text(text)
    assert environment._driver.__wrapped__() == DRIVERS[text]


def test_what_is_not_committed_changes_the_hash(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.delenv("GANBENCH_GIT", raising=False)
    monkeypatch.setattr(environment, "ROOT", tmp_path)
    monkeypatch.setenv("GIT_CEILING_DIRECTORIES", str(tmp_path.parent))
    facts = environment.git_facts.__wrapped__

    def git(*arguments: str) -> None:
        who = ["-c", "user.name=a", "-c", "user.email=a@example.org", "-c", "commit.gpgsign=false"]
        subprocess.run(["git", *who, *arguments], cwd=tmp_path, check=True, capture_output=True)

    def put(name: str, text: str) -> None:
        (tmp_path / name).parent.mkdir(parents=True, exist_ok=True)
        (tmp_path / name).write_text(text)

    put("notes/a.txt", "x")
    assert facts() is None
    git("init")
    git("add", ".")
    git("commit", "-m", "of something else")
    put("benchmark/cell.py", "a = 1\n")
    assert facts() is None  # installed within the checkout of something else
    put(".gitignore", "ignored.py\n")
    git("add", ".")
    git("commit", "-m", "first")
    clean = facts()
    assert clean is not None
    assert (len(clean.commit or ""), clean.dirty) == (40, None)
    put("benchmark/ignored.py", "")
    put("notes/b.txt", "")
    assert facts() == clean
    seen = {None}
    for name, text in (
        ("benchmark/cell.py", "a = 2\n"),
        ("variants/objectives/new.py", ""),
        ("variants/objectives/new.py", "b = 1\n"),
        ("variants/objectives/other.py", "b = 1\n"),
    ):
        put(name, text)
        now = facts()
        assert now is not None
        assert now.commit == clean.commit
        assert now.dirty not in seen
        seen.add(now.dirty)


def test_a_worker_without_a_checkout_is_told_its_commit(monkeypatch: pytest.MonkeyPatch) -> None:
    told = {"commit": "c" * 40, "dirty": None}
    monkeypatch.setattr(environment, "git_facts", environment.git_facts.__wrapped__)
    monkeypatch.setenv("GANBENCH_GIT", json.dumps(told))
    assert environment.environment("cpu").plain()["git"] == told
    monkeypatch.setenv("GANBENCH_GIT", json.dumps(None))
    assert environment.environment("cpu").git is None
