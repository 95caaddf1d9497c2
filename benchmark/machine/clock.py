"""…"""

import time

import torch


def synchronised_time(device: str) -> float:
    """A monotonic clock in seconds, read once the device has finished its work."""
    if device != "cpu":
        torch.accelerator.synchronize(device)
    return time.perf_counter()
