"""The clock that all training is timed by."""

import time

import torch


def synchronised_time(device: str) -> float:
    """Seconds of a monotonic clock, read after the device has finished its work."""
    if device != "cpu":
        torch.accelerator.synchronize(device)
    return time.perf_counter()
