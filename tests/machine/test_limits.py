"""Cores and memory by CPU affinity and by cgroups of both versions, and a home without one."""

import os
from pathlib import Path

import pytest

from benchmark.machine import home, limits
from benchmark.machine.devices import devices_of


def cgroups(tmp_path: Path, monkeypatch: pytest.MonkeyPatch, mounts: str, mine: str) -> Path:
    """A folder of cgroups; `mounts` and `mine` are what /proc says of them."""
    proc = tmp_path / "proc"
    (proc / "self").mkdir(parents=True)
    (proc / "mounts").write_text(mounts.format(root=tmp_path), encoding="utf-8")
    (proc / "self/cgroup").write_text(mine, encoding="utf-8")
    monkeypatch.setattr(limits, "PROC", proc)
    monkeypatch.setattr(os, "cpu_count", lambda: 16)
    monkeypatch.setattr(os, "sched_getaffinity", lambda pid: set(range(12)), raising=False)
    return tmp_path


def write(path: Path, text: str) -> None:
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_text(text, encoding="utf-8")


def test_version_2_takes_the_lowest_limit_of_all_cgroups_around(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    root = cgroups(tmp_path, monkeypatch, "cgroup2 {root} cgroup2 rw 0 0\n", "0::/job/step\n")
    assert limits.available_cores() == 12, "the affinity alone"
    write(root / "job/cpu.max", "350000 100000\n")
    write(root / "job/step/cpu.max", "max 100000\n")
    assert limits.available_cores() == 3
    assert devices_of("cpu", 0) == ["cpu"] * 3
    write(root / "job/step/cpu.max", "50000 100000\n")
    assert limits.available_cores() == 1
    assert limits.memory_limit() is None
    write(root / "job/memory.max", f"{2**31}\n")
    write(root / "job/memory.current", f"{2**30}\n")
    write(root / "job/memory.stat", f"anon 5\ninactive_file {2**29}\n")
    assert limits.memory_limit() == (2**31, 2**29)


def test_version_1_has_a_folder_per_controller(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    mounts = (
        "cgroup {root}/cpu cgroup rw,cpuacct,cpu 0 0\ncgroup {root}/memory cgroup rw,memory 0 0\n"
    )
    mine = "4:memory:/docker/ab\n3:cpuset:/\n2:cpuacct,cpu:/docker/ab\n"
    root = cgroups(tmp_path, monkeypatch, mounts, mine)
    # In a container only the root of the mount is there
    write(root / "cpu/cpu.cfs_quota_us", "-1\n")
    write(root / "cpu/cpu.cfs_period_us", "100000\n")
    write(root / "memory/memory.limit_in_bytes", f"{2**63 - 4096}\n")
    write(root / "memory/memory.usage_in_bytes", "5\n")
    assert (limits.available_cores(), limits.memory_limit()) == (12, None)
    write(root / "cpu/cpu.cfs_quota_us", "200000\n")
    write(root / "memory/memory.limit_in_bytes", f"{2**30}\n")
    assert (limits.available_cores(), limits.memory_limit()) == (2, (2**30, 5))


@pytest.mark.parametrize("value", ["", "relative", "/nonexistent"])
def test_a_process_without_a_home_gets_one(
    value: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("HOME", value)
    monkeypatch.setenv("GANBENCH_CACHE", str(tmp_path / "cache"))

    def no_account(uid: int) -> None:
        raise KeyError(uid)

    monkeypatch.setattr("pwd.getpwuid", no_account)
    for name in ("LOGNAME", "USER", "LNAME", "USERNAME"):
        monkeypatch.setenv(name, "")
    home.provide_home()
    assert Path.home() == tmp_path / "cache/home"
    assert Path.home().is_dir()
    assert os.environ["LOGNAME"] == f"uid{os.getuid()}"


def test_a_home_that_is_there_stays(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("HOME", str(tmp_path))
    home.provide_home()
    assert Path.home() == tmp_path
