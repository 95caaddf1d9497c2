"""The textbook loop and its networks: a GAN in PyTorch as well-known scripts train it, rewritten
from a description of what they do.

The loop does what the scripts do: images are decoded and transformed one by one through PIL in a
DataLoader; latents and α are drawn by NumPy and moved to the device; fakes are built with gradient
also where the critic learns (the Wasserstein losses differentiate them, too); real and fake samples
pass the critic separately; the penalty is torch.autograd.grad with create_graph; optimisers are as
their constructors make them; losses are read with .item()."""

from collections.abc import Callable, Iterator
from itertools import pairwise
from typing import Any

import numpy as np
import torch
from PIL import Image
from torch import Tensor, nn
from torch.utils.data import DataLoader, Dataset, TensorDataset

import variants
from benchmark.matrix.cell import Choice
from variants.architectures import BatchNorm, build

# of the samples that a network is timed on; the suite's MLP learns points
SHAPES: dict[str, tuple[int, ...]] = {
    "script_mlp": (1, 28, 28),
    "script_dcgan": (1, 32, 32),
    "mlp": (2,),
    "dcgan": (1, 32, 32),
    "resnet": (1, 32, 32),
    "resnet101": (1, 64, 64),
}
CLIP = 0.01
PENALTY_WEIGHT = 10.0
CRITIC_STEPS = 5


# The scripts' networks


class PlainBatchNorm(BatchNorm):
    """torch's batch norm as functions may be differentiated through: see `BatchNorm`."""

    def __init__(self, channels: int, eps: float = 1e-5) -> None:
        super().__init__(channels)
        self.eps = eps

    def forward(self, x: Tensor) -> Tensor:
        mean, var = (
            (self.mean, self.var) if torch.is_grad_enabled() or not self.training else (None, None)
        )
        return nn.functional.batch_norm(
            x, mean, var, self.weight, self.bias, self.training, momentum=0.1, eps=self.eps
        )


class MLPGenerator(nn.Module):
    """100-128-256-512-1024-784, LeakyReLU, batch norm from the second layer on, tanh."""

    latent_dim = 100

    def __init__(self, norm: Callable[..., nn.Module]) -> None:
        super().__init__()
        widths, layers = (100, 128, 256, 512, 1024), list[nn.Module]()
        for i, (n_in, n_out) in enumerate(pairwise(widths)):
            layers += [
                nn.Linear(n_in, n_out),
                *([norm(n_out, eps=0.8)] if i else []),
                nn.LeakyReLU(0.2, inplace=True),
            ]
        self.body = nn.Sequential(*layers, nn.Linear(1024, 784), nn.Tanh())

    def forward(self, z: Tensor) -> Tensor:
        return self.body(z).view(-1, 1, 28, 28)


class MLPCritic(nn.Module):
    """784-512-256-1, LeakyReLU."""

    def __init__(self, norm: Callable[..., nn.Module]) -> None:
        super().__init__()
        widths = ((784, 512), (512, 256))
        layers = [
            layer
            for sizes in widths
            for layer in (nn.Linear(*sizes), nn.LeakyReLU(0.2, inplace=True))
        ]
        self.body = nn.Sequential(*layers, nn.Linear(256, 1))

    def forward(self, x: Tensor) -> Tensor:
        return self.body(x.flatten(1)).squeeze(1)


class ConvGenerator(nn.Module):
    """Linear to 128×8×8, batch norm, twice upsampling, 3×3 convolution, batch norm and LeakyReLU,
    3×3 convolution, tanh."""

    latent_dim = 100

    def __init__(self, norm: Callable[..., nn.Module]) -> None:
        super().__init__()
        self.linear = nn.Linear(100, 128 * 8 * 8)
        layers: list[nn.Module] = [norm(128)]
        for n_in, n_out in ((128, 128), (128, 64)):
            layers += [
                nn.Upsample(scale_factor=2),
                nn.Conv2d(n_in, n_out, 3, padding=1),
                norm(n_out, eps=0.8),
            ]
            layers += [nn.LeakyReLU(0.2, inplace=True)]
        self.body = nn.Sequential(*layers, nn.Conv2d(64, 1, 3, padding=1), nn.Tanh())

    def forward(self, z: Tensor) -> Tensor:
        return self.body(self.linear(z).view(-1, 128, 8, 8))


class ConvCritic(nn.Module):
    """Four 3×3 convolutions of stride 2, each with LeakyReLU, dropout of whole channels and, but
    for the first, batch norm; linear."""

    def __init__(self, norm: Callable[..., nn.Module]) -> None:
        super().__init__()
        layers: list[nn.Module] = []
        for n_in, n_out in ((1, 16), (16, 32), (32, 64), (64, 128)):
            layers += [
                nn.Conv2d(n_in, n_out, 3, 2, 1),
                nn.LeakyReLU(0.2, inplace=True),
                nn.Dropout2d(0.25),
            ]
            layers += [norm(n_out, eps=0.8)] if n_in > 1 else []
        self.body, self.linear = nn.Sequential(*layers), nn.Linear(128 * 2 * 2, 1)

    def forward(self, x: Tensor) -> Tensor:
        return self.linear(self.body(x).flatten(1)).squeeze(1)


def networks(architecture: str, objective: str, textbook: bool) -> tuple[Any, nn.Module]:
    """Generator and critic, the same weights for both sides: one of the scripts' pairs, or one of
    the suite's with the critic's norm that the suite takes under the objective."""
    torch.manual_seed(0)
    if architecture == "script_mlp":
        norm = nn.BatchNorm1d if textbook else PlainBatchNorm
        return MLPGenerator(norm), MLPCritic(norm)
    if architecture == "script_dcgan":
        norm = nn.BatchNorm2d if textbook else PlainBatchNorm
        return ConvGenerator(norm), ConvCritic(norm)
    rules = variants.load("objectives", objective).Objective
    paper_norm = variants.load("architectures", architecture).Discriminator.paper_norm
    norm_name = rules.critic_norm or paper_norm
    if rules.per_sample_penalty and paper_norm == "batch":
        norm_name = "layer"
    return build(Choice(architecture), SHAPES[architecture], norm_name)


# Data: Fashion-MNIST's images where they are, else scikit-learn's digits, made larger


def raw_images() -> Tensor:
    """All training images, uint8 (n, 1, H, W)."""
    try:
        return variants.load("datasets", "fashion_mnist").Dataset().train()
    except OSError:
        return variants.load("datasets", "digits").Dataset().train()


def points() -> Tensor:
    """Training points, (n, 2)."""
    return variants.load("datasets", "gaussians8").Dataset().train()


class Pictures(Dataset):
    """Images one by one through PIL, as torchvision's dataset classes give them."""

    def __init__(self, size: int) -> None:
        from torchvision import transforms

        self.images = raw_images().squeeze(1)
        self.transform = transforms.Compose(
            [
                transforms.Resize((size, size)),
                transforms.ToTensor(),
                transforms.Normalize([0.5], [0.5]),
            ]
        )

    def __len__(self) -> int:
        return len(self.images)

    def __getitem__(self, i: int) -> tuple[Tensor, int]:
        return self.transform(Image.fromarray(self.images[i].numpy(), mode="L")), 0


def _batches(architecture: str, batch_size: int) -> Iterator[Tensor]:
    shape = SHAPES[architecture]
    data: Dataset = (
        Pictures(shape[1])
        if len(shape) == 3
        else TensorDataset(points(), torch.zeros(len(points())))
    )
    while True:
        for batch, _ in DataLoader(data, batch_size=batch_size, shuffle=True, drop_last=True):
            yield batch


# The loop


def iteration(
    architecture: str, objective: str, batch_size: int, device: str
) -> Callable[[], None]:
    """One iteration of the textbook loop per call: the critic steps and the generator step."""
    G, D = (network.to(device) for network in networks(architecture, objective, textbook=True))
    loader = _batches(architecture, batch_size)
    optimizer_G, optimizer_D = (_optimizer(objective, network) for network in (G, D))
    if objective in ("wgan", "wgan_gp"):
        return lambda: _wasserstein(
            G, D, optimizer_G, optimizer_D, loader, objective == "wgan_gp", device
        )
    criterion = nn.MSELoss() if objective == "lsgan" else nn.BCEWithLogitsLoss()
    return lambda: _classifying(
        G, D, optimizer_G, optimizer_D, loader, criterion, objective == "minimax", device
    )


def _optimizer(objective: str, network: nn.Module) -> torch.optim.Optimizer:
    """RMSprop for WGAN with clipping, Adam for all others."""
    if objective == "wgan":
        return torch.optim.RMSprop(network.parameters(), lr=5e-5)
    return torch.optim.Adam(network.parameters(), lr=2e-4, betas=(0.5, 0.999))


def _latents(n: int, dim: int, device: str) -> Tensor:
    return torch.tensor(np.random.normal(0, 1, (n, dim)), dtype=torch.float32).to(device)  # noqa: NPY002


def _classifying(
    G: Any,
    D: Any,
    optimizer_G: Any,
    optimizer_D: Any,
    loader: Any,
    criterion: Any,
    saturating: bool,
    device: str,
) -> None:
    """Minimax, non-saturating and least-squares GANs: the generator first, its fakes again for the
    critic."""
    real = next(loader).to(device)
    valid, invalid = torch.ones(len(real), device=device), torch.zeros(len(real), device=device)

    optimizer_G.zero_grad()
    fake = G(_latents(len(real), G.latent_dim, device))
    g_loss = -criterion(D(fake), invalid) if saturating else criterion(D(fake), valid)
    g_loss.backward()
    optimizer_G.step()

    optimizer_D.zero_grad()
    real_loss = criterion(D(real), valid)
    fake_loss = criterion(D(fake.detach()), invalid)
    d_loss = (real_loss + fake_loss) / 2
    d_loss.backward()
    optimizer_D.step()
    f"[D loss: {d_loss.item():f}] [G loss: {g_loss.item():f}]"


def _wasserstein(
    G: Any, D: Any, optimizer_G: Any, optimizer_D: Any, loader: Any, penalised: bool, device: str
) -> None:
    """WGAN, its weights clipped after every critic step, or WGAN-GP."""
    for _ in range(CRITIC_STEPS):
        real = next(loader).to(device)
        optimizer_D.zero_grad()
        z = _latents(len(real), G.latent_dim, device)
        fake = G(z) if penalised else G(z).detach()
        d_loss = -torch.mean(D(real)) + torch.mean(D(fake))
        if penalised:
            d_loss = d_loss + PENALTY_WEIGHT * gradient_penalty(D, real.data, fake.data, device)
        d_loss.backward()
        optimizer_D.step()
        if not penalised:
            for p in D.parameters():
                p.data.clamp_(-CLIP, CLIP)
        f"[D loss: {d_loss.item():f}]"

    optimizer_G.zero_grad()
    g_loss = -torch.mean(D(G(z)))
    g_loss.backward()
    optimizer_G.step()
    f"[G loss: {g_loss.item():f}]"


def gradient_penalty(D: Any, real: Tensor, fake: Tensor, device: str) -> Tensor:
    """The mean of (‖∇D(x̂)‖ − 1)², before its weight."""
    shape = (len(real), *[1] * (real.dim() - 1))
    alpha = torch.tensor(np.random.random(shape), dtype=torch.float32).to(device)  # noqa: NPY002
    between = (alpha * real + (1 - alpha) * fake).requires_grad_(True)
    scores = D(between)
    (gradients,) = torch.autograd.grad(
        outputs=scores,
        inputs=between,
        grad_outputs=torch.ones(scores.size(), device=device),
        create_graph=True,
        retain_graph=True,
        only_inputs=True,
    )
    return ((gradients.view(len(real), -1).norm(2, dim=1) - 1) ** 2).mean()


# Around the loop


def sampling(device: str, n: int = 1000, batch_size: int = 64) -> Callable[[], Any]:
    """n samples as uint8 images in memory, batch by batch."""
    G = networks("script_dcgan", "nonsaturating", textbook=True)[0].to(device)

    def sample() -> np.ndarray:
        found = []
        for start in range(0, n, batch_size):
            fake = (
                G(_latents(min(batch_size, n - start), G.latent_dim, device)).detach().cpu().numpy()
            )
            found.append(((fake + 1) * 127.5).round().clip(0, 255).astype(np.uint8))
        return np.concatenate(found)

    return sample


def batches(device: str, batch_size: int = 64) -> Callable[[], Any]:
    """A batch on the device."""
    loader = _batches("script_dcgan", batch_size)
    return lambda: next(loader).to(device)
