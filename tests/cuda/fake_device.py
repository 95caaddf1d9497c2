"""A GPU that computes nothing: its tensors have a shape, a type and a device, and every operation
checks them as on a GPU. What would wait for the device, or copy from or to it, raises.

Made of torch's fake tensors on a backend in Python. Autocast follows the rules that torch's own
header lists for CUDA."""

import re
from collections import Counter
from collections.abc import Callable, Iterator
from contextlib import AbstractContextManager, contextmanager
from functools import cache
from pathlib import Path
from typing import Any, ClassVar

import numpy as np
import pytest
import torch
from torch import Tensor, nn
from torch._C import DispatchKey, DispatchKeySet, _ExcludeDispatchKeyGuard
from torch._subclasses.fake_tensor import FakeTensor, FakeTensorMode
from torch.utils import backend_registration
from torch.utils._python_dispatch import TorchDispatchMode
from torch.utils._pytree import tree_leaves, tree_map
from torch.utils.flop_counter import flop_registry

NAME = "fakegpu"
HEADER = Path(torch.__file__).parent / "include/ATen/autocast_mode.h"
AUTOCAST = DispatchKeySet(DispatchKey.AutocastPrivateUse1)
ATEN = torch.ops.aten
READ = 0.5  # what the host reads of a tensor that has no values


class HostAccess(RuntimeError):
    """An operation that waits for the device, or copies between the device and the host."""


class Generator(torch.Generator):
    """A generator of the fake device, or a real one of another device."""

    on_device: ClassVar[set[int]] = set()
    """The addresses by which operations know the generators of the fake device."""

    def __new__(cls, device: Any = "cpu") -> Any:
        if torch.device(device).type != NAME:
            return REAL_GENERATOR(device)
        generator = super().__new__(cls)
        cls.on_device.add(generator._cdata)
        return generator

    def __init__(self, device: Any = NAME) -> None:
        pass

    @property
    def device(self) -> torch.device:
        return torch.device(NAME, 0)


REAL_GENERATOR, REAL_TENSOR = torch.Generator, torch.tensor


class Watch(TorchDispatchMode):
    """Inside `step`, raises HostAccess for what a step must not do. Elsewhere it is counted in
    `accesses`, by the place that `at` names."""

    def __init__(self, fake: FakeTensorMode) -> None:
        super().__init__()
        self.fake = fake
        self.accesses: Counter[str] = Counter()
        self.products: Counter[torch.dtype] = Counter()
        """Matrix products and convolutions by the type of their result."""
        self.operations: list[tuple[Any, list[str]]] = []
        """Of steps: every operation, and as text its arguments that are no tensors."""
        self._place = "start"

    def step(self) -> AbstractContextManager[None]:
        return self.at("")

    @contextmanager
    def at(self, place: str) -> Iterator[None]:
        former, self._place = self._place, place
        try:
            yield
        finally:
            self._place = former

    def __torch_dispatch__(self, func: Any, types: Any, args: Any = (), kwargs: Any = None) -> Any:
        if func is torch.ops.prim.device.default:
            return func(*args)
        args, options = tree_map(self._fake, (args, kwargs or {}))
        leaves = tree_leaves((args, options))
        given = {kind_of(leaf) for leaf in leaves if is_tensor(leaf)}
        if not self._place and func.namespace == "aten":
            self.operations.append((func, [repr(leaf) for leaf in leaves if not is_tensor(leaf)]))
        _check_generator(options)
        if NAME in given and (func in ANSWERS or "cpu" in given):
            self._note(f"{func} waits for the device, or takes a tensor of the host")
        if func in ANSWERS:
            return ANSWERS[func](args[0])
        if func is CAPTURABLE_ADAM:
            return None
        out = func(*args, **options)
        outputs = [leaf for leaf in tree_leaves(out) if is_tensor(leaf)]
        if {NAME, "cpu"} <= given | set(map(kind_of, outputs)):
            self._note(f"{func} copies between the device and the host")
        if func._overloadpacket in flop_registry:
            self.products[outputs[0].dtype] += 1
        if func is ATEN._to_copy.default and not given:
            out.is_number = True
        return out

    def _fake(self, value: Any) -> Any:
        """Data of the host, which has values, as a fake tensor."""
        is_real = isinstance(value, Tensor) and not isinstance(value, FakeTensor)
        return self.fake.from_tensor(value) if is_real else value

    def _note(self, access: str) -> None:
        if not self._place:
            raise HostAccess(access)
        self.accesses[self._place] += 1


def kind_of(tensor: Tensor) -> str:
    """Kind of the device that a tensor lies on."""
    # quicker than `device`, which is an operation of its own
    device = tensor.fake_device if isinstance(tensor, FakeTensor) else tensor.device
    return device.type if device is not None else ""


def is_on_device(tensor: Tensor) -> bool:
    return kind_of(tensor) == NAME


def is_tensor(value: Any) -> bool:
    """Whether a value is a tensor, and no number of Python's, of which vmap makes a tensor."""
    return isinstance(value, Tensor) and not getattr(value, "is_number", False)


def _check_generator(options: dict[str, Any]) -> None:
    """As on a GPU: what is drawn lies where its generator is."""
    generator, device = options.get("generator"), options.get("device")
    if generator is not None and device is not None:
        assert (generator._cdata in Generator.on_device) == (device.type == NAME), options


def _number(tensor: Tensor) -> bool | int | float:
    if tensor.dtype.is_floating_point:
        return READ
    return tensor.dtype == torch.bool or 1


# What the host is told of tensors without values, by the operations that wait for the device
ANSWERS: dict[Any, Callable[[Tensor], Any]] = {
    ATEN._local_scalar_dense.default: _number,
    ATEN.equal.default: lambda tensor: True,
}
# torch has no rule for its shapes; it changes its arguments in place and returns nothing
CAPTURABLE_ADAM = ATEN._fused_adam_.tensor_lr


@contextmanager
def fake_gpu() -> Iterator[Watch]:
    """Inside, device "fakegpu" exists, and `Tensor.is_cuda` is true of its tensors."""
    register()
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(torch, "Generator", Generator)
        patch.setattr(torch, "tensor", _tensor)
        patch.setattr(FakeTensor, "is_cuda", property(is_on_device), raising=False)
        patch.setattr(FakeTensor, "numpy", _as_numpy, raising=False)
        patch.setattr(FakeTensor, "__deepcopy__", _copied, raising=False)
        patch.setattr(nn.Module, "to", _moved)
        with FakeTensorMode() as fake, Watch(fake) as watch:
            yield watch


def _tensor(value: Any, *, device: Any = None, **options: Any) -> Tensor:
    return REAL_TENSOR(value, **options).to(device)


def _as_numpy(tensor: Tensor, force: bool = False) -> np.ndarray:
    assert force or not is_on_device(tensor)
    dtype = np.dtype(str(tensor.dtype).removeprefix("torch."))
    return np.full(tuple(tensor.shape), READ).astype(dtype)


def _copied(tensor: Tensor, memo: dict[int, Any]) -> Tensor:
    copied = tensor.detach().clone()
    if isinstance(tensor, nn.Parameter):
        copied = nn.Parameter(copied, tensor.requires_grad)
    memo[id(tensor)] = copied
    return copied


def _moved(module: nn.Module, device: str | None = None, **options: Any) -> nn.Module:
    """nn.Module.to, which cannot swap a fake tensor for one on another device."""
    for part in module.modules():
        for name, parameter in part._parameters.items():
            if parameter is not None:
                moved = parameter.detach().to(device, **_of_images(parameter, options))
                part._parameters[name] = nn.Parameter(moved, parameter.requires_grad)
        for name, buffer in part._buffers.items():
            if buffer is not None:
                part._buffers[name] = buffer.to(device, **_of_images(buffer, options))
    return module


def _of_images(tensor: Tensor, options: dict[str, Any]) -> dict[str, Any]:
    return options if tensor.dim() == 4 else {}


class _Module(backend_registration._DummyBackendModule):
    def get_amp_supported_dtype(self) -> list[torch.dtype]:
        return [torch.bfloat16, torch.float32]

    def synchronize(self, device: Any = None) -> None:
        pass


@cache
def register() -> list[torch.library.Library]:
    """The backend and its rules of autocast, once per process: before its first backward pass,
    which counts the devices."""
    backend_registration._setup_privateuseone_for_python_backend(NAME, backend_module=_Module())
    library = torch.library.Library("aten", "IMPL", "AutocastPrivateUse1")
    fallthrough = torch.library.Library("_", "IMPL", "AutocastPrivateUse1")
    fallthrough.fallback(torch.library.fallthrough_kernel)
    for name in _listed("LOWER_PRECISION_FP"):
        _cast(library, name, lambda: torch.get_autocast_dtype(NAME))
    for name in (*_listed("FP32"), *_listed("FP32_SET_OPT_DTYPE")):
        _cast(library, name, lambda: torch.float32)
    return [library, fallthrough]


def _listed(rule: str) -> list[str]:
    """The operators, `sum.dim_IntList`, that autocast has a rule for."""
    text = HEADER.read_text(encoding="utf-8")
    found = re.search(rf"#define AT_FORALL_{rule}\(_\)((?:.*\\\n)*.*\n)", text)
    assert found, rule
    names = []
    for operator, overload in re.findall(r"_\((\w+)(?:, (\w+))?\)", found[1]):
        if overload != "deprecated" and hasattr(ATEN, operator):
            names.append(f"{operator}.{overload}" if overload else operator)
    return names


def _cast(library: Any, name: str, dtype: Callable[[], torch.dtype]) -> None:
    operator, _, overload = name.partition(".")
    function = getattr(getattr(ATEN, operator), overload or "default")

    def kernel(*args: Any, **kwargs: Any) -> Any:
        def cast(value: Any) -> Any:
            if not isinstance(value, Tensor) or not value.is_floating_point():
                return value
            is_cast = value.dtype not in (torch.float64, dtype())
            return ATEN._to_copy(value, dtype=dtype()) if is_cast else value

        with _ExcludeDispatchKeyGuard(AUTOCAST):
            args, kwargs = tree_map(cast, (args, kwargs))
            return function(*args, **kwargs)

    library.impl(name, kernel)
