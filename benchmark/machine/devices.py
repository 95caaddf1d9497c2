"""…"""

import os

from benchmark.errors import UserError, unknown


def devices_of(device: str, jobs: int) -> list[str]:
    """One device per worker, of `--device` and `--jobs`: in turn, so that more jobs than GPUs share
    them evenly, and fewer use the first. MPS is untested and taken only by its name. Raises
    UserError for what is not there, and for named devices that would stay without a worker."""
    import torch

    if jobs < 0:
        raise UserError(f"--jobs must not be negative, not {jobs}")
    gpus = [f"cuda:{index}" for index in range(torch.cuda.device_count())]
    there = ["cpu", *gpus, *(["mps"] if torch.backends.mps.is_available() else [])]
    if device == "auto":
        found = gpus or ["cpu"]
    elif device == "cuda":
        found = gpus
        if not gpus:
            raise UserError(
                f"--device cuda: there is no CUDA device here; valid: auto, {', '.join(there)}"
            )
    else:
        found = device.split(",")
        for name in found:
            if name not in there:
                raise unknown("device", name, ["auto", *there, *(["cuda"] if gpus else [])])
        if 0 < jobs < len(found):
            raise UserError(
                f"--jobs {jobs} leaves {', '.join(found[jobs:])} of --device {device} without a worker; "
                f"name fewer devices, or give at least {len(found)} jobs"
            )
    workers = jobs or (os.cpu_count() or 1 if found == ["cpu"] else len(found))
    return [found[index % len(found)] for index in range(workers)]
