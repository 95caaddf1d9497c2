"""The names of the ways to execute an iteration."""

MODES = ("eager", "compiled", "graphed", "compiled_graphed")
# What `--execution auto` stands for, by kind of device
AUTO = {"cpu": "eager", "cuda": "graphed"}


def resolve(execution: str, device: str) -> str:
    """The mode that a value of `--execution` stands for on a device."""
    if execution != "auto":
        return execution
    kind = device.partition(":")[0]
    return AUTO.get(kind, "eager")
