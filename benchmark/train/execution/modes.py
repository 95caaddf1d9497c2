"""The modes in which an iteration is executed."""

MODES = ("eager", "compiled", "graphed", "compiled_graphed")  # how an iteration is executed
AUTO = {"cpu": "eager", "cuda": "graphed"}  # what `--execution auto` stands for, by kind of device


def resolve(execution: str, device: str) -> str:
    """The mode that a value of `--execution` stands for on a device."""
    return AUTO.get(device.partition(":")[0], "eager") if execution == "auto" else execution
