"""A Ray cluster: connecting to it, and what its nodes have room for. Imported once Ray is known to
be there."""

import json
import logging
import os
import shutil
import socket
from pathlib import Path
from urllib.parse import urlsplit

import ray
from ray import exceptions

from benchmark.errors import UserError
from benchmark.machine.environment import git_facts
from benchmark.store.code import ROOT
from benchmark.text import one_line


def connect(address: str, code: Path) -> None:
    """Connect to a Ray cluster (`local`: start one here) whose workers run a copy of this code."""
    if address.startswith("ray://"):
        raise UserError(
            f"--address {address}: Ray Client hands no results back as they come; run it on the cluster instead: "
            "ray job submit --address http://HEAD:8265 -- ganbench run --engine ray --address auto"
        )
    if address not in ("auto", "local"):
        answers(address)
    for package in ("benchmark", "variants"):
        shutil.copytree(
            ROOT / package, code / package, ignore=shutil.ignore_patterns("__pycache__")
        )
    variables = {"GANBENCH_GIT": json.dumps(git_facts())}
    if os.environ.get("GANBENCH_OFFLINE"):
        variables["GANBENCH_OFFLINE"] = os.environ["GANBENCH_OFFLINE"]
    try:
        ray.init(
            address,
            runtime_env={"working_dir": str(code), "env_vars": variables},
            include_dashboard=False if address == "local" else None,
            log_to_driver=False,
            logging_level=logging.ERROR,
        )
    except (ConnectionError, RuntimeError, ValueError, exceptions.RayError) as error:
        token = (
            ""
            if address in ("auto", "local")
            else " (a cluster that asks for a token: set RAY_AUTH_MODE=token)"
        )
        raise UserError(f"--address {address}: {one_line(error)}{token}") from error


def answers(address: str) -> None:
    """Raises UserError where nothing answers at HOST:PORT: Ray itself would try for minutes."""
    try:
        there = urlsplit(f"//{address}")
        socket.create_connection((there.hostname or "", there.port or 0), timeout=10).close()
    except (OSError, ValueError) as error:
        message = f"no Ray cluster answers there ({error}); valid: auto (on one of its nodes), or its head's HOST:PORT"
        raise UserError(f"--address {address}: {message}") from error


def slots(resources: dict[str, float], cpus: float, gpus: float) -> int:
    """How many cells a node's resources have room for: no cell has parts of two GPUs."""
    room = resources.get("CPU", 0) / cpus
    if gpus:
        room = min(room, int(resources.get("GPU", 0)) * int(1 / gpus + 1e-6))
    return int(room + 1e-6)
