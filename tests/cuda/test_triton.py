"""Every Triton kernel of compiled iterations can be generated and assembled for sm_90."""

import re
from pathlib import Path
from time import process_time

import pytest
import torch

pytest.importorskip("triton", reason="torch has no Triton here")

from benchmark.matrix.cell import Choice
from tests.cuda.sm90 import Place, assemble, generate, graphs
from variants.objectives import lsgan

pytestmark = pytest.mark.skipif(torch.cuda.is_available(), reason="the GPU's kernels are tested")

MLP = Place(Choice("mlp"), Choice("gaussians8"))
DCGAN = Place(Choice("dcgan"), Choice("cifar10"))
RESNET20 = Place(Choice("resnet20"), Choice("cifar10"))
RESNET = Place(Choice("resnet"), Choice("cifar10"))
LSGAN = Choice("lsgan")
# What Inductor leaves to cuBLAS and cuDNN
PRODUCTS = {f"extern_kernels.{name}" for name in ("mm", "bmm", "addmm", "baddbmm", "convolution")}
LIBRARIES = {*PRODUCTS, "torch.ops.aten.convolution_backward"}


@pytest.fixture(autouse=True)
def empty_caches(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    for cache in ("TORCHINDUCTOR_CACHE_DIR", "TRITON_CACHE_DIR"):
        monkeypatch.setenv(cache, str(tmp_path / cache))


def check(
    objective: Choice, place: Place, precision: str = "float32", num_seeds: int = 1
) -> tuple[int, int]:
    """Assemble all kernels of an iteration. Returns how many there are, in how many
    configurations."""
    num_kernels = num_binaries = 0
    functions = graphs(objective, place, precision, num_seeds)
    assert set(functions) == {"critic", "generator", "fakes"}
    for graph in functions.values():
        generated = generate(graph)
        assert generated.kernels
        assert generated.calls <= LIBRARIES
        num_kernels += len(generated.kernels)
        for source, name in generated.kernels.items():
            num_binaries += assemble(name, source)
    return num_kernels, num_binaries


@pytest.mark.slow
def test_a_small_iteration_is_assembled() -> None:
    num_kernels, num_binaries = check(Choice("wgan_gp"), MLP)
    assert num_binaries >= num_kernels > 20


@pytest.mark.slow
def test_the_iteration_of_a_stack_is_assembled() -> None:
    check(Choice("wgan_gp"), MLP, num_seeds=3)


CASES = {
    "mlp, jvp": (Choice("wgan_gp", {"method": "jvp"}), MLP, "float32"),
    "mlp, bf16": (Choice("wgan_gp"), MLP, "bf16"),
    "dcgan": (Choice("nonsaturating"), DCGAN, "float32"),
    "dcgan, penalty": (Choice("wgan_gp"), DCGAN, "float32"),
    "dcgan, penalty, bf16": (Choice("wgan_gp"), DCGAN, "bf16"),
    "resnet20, penalty": (Choice("wgan_gp"), RESNET20, "float32"),
    "resnet, differences": (Choice("wgan_fdgp"), RESNET, "float32"),
}


@pytest.mark.slow
@pytest.mark.parametrize("name", CASES)
def test_a_larger_iteration_is_assembled(name: str) -> None:
    """Prints what docs/speed.md says."""
    start = process_time()
    num_kernels, num_binaries = check(*CASES[name])
    seconds = process_time() - start
    print(f"\n{name}: {num_kernels} kernels, {num_binaries} configurations, {seconds:.0f} s")


# Planted faults


def test_a_kernel_that_cannot_be_assembled_is_seen() -> None:
    generated = generate(graphs(LSGAN, MLP, batch_size=4)["fakes"])
    source, name = next(iter(generated.kernels.items()))
    assert assemble(name, source) > 0
    nonsense = "'no_instruction $0, $1;', '=f,f', [0.0], tl.float32, True, 1"
    fault = f"tmp0 = tmp0 + tl.inline_asm_elementwise({nonsense})"
    planted = re.sub(r"\n( +)(tmp0 = .*)", rf"\n\1\2\n\1{fault}", source, count=1)
    assert planted != source
    with pytest.raises(Exception, match="ptxas"):
        assemble(name, planted)


def test_an_operator_without_a_kernel_is_seen(monkeypatch: pytest.MonkeyPatch) -> None:
    d_loss = lsgan.Objective.d_loss
    monkeypatch.setattr(
        lsgan.Objective,
        "d_loss",
        lambda *args: torch.linalg.matrix_exp(d_loss(*args).view(1, 1)).sum(),
    )
    generated = generate(graphs(LSGAN, MLP, batch_size=4)["critic"])
    assert any("matrix_exp" in call for call in generated.calls - LIBRARIES)
