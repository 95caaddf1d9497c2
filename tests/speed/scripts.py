"""Two well-known scripts, WGAN-GP on an MLP and DCGAN, written from a description of what they do,
to tell whether the textbook loop is as fast as they are.

Unlike the textbook loop, they are plain code at the top of a file: one pass over a DataLoader of
torchvision's MNIST class, whose last batch is small; tensors made by the type `FloatTensor` and
wrapped as `Variable`; WGAN-GP's generator learns in every fifth pass of the one loop, and the
gradients that it leaves in the critic are cleared in the next one; DCGAN's critic ends with a
sigmoid before `BCELoss`, and its labels have the shape (batch, 1); losses are printed."""

import os
from collections.abc import Callable, Iterator
from typing import Any

import numpy as np
import torch
from torch import Tensor, nn
from torch.autograd import Variable, grad
from torch.utils.data import DataLoader
from torchvision import transforms
from torchvision.datasets import MNIST

from tests.speed.textbook import SHAPES, networks, raw_images

FloatTensor = torch.FloatTensor
OBJECTIVES = {"script_mlp": "wgan_gp", "script_dcgan": "nonsaturating"}
NUM_BATCHES = 2**30  # of the only epoch's count in what is printed


def iteration(
    architecture: str, objective: str, batch_size: int, device: str
) -> Callable[[], None]:
    """The batches of one generator step of a script per call."""
    assert (OBJECTIVES[architecture], device) == (objective, "cpu")
    images = _passes(SHAPES[architecture][1], batch_size)
    G, D = networks(architecture, objective, textbook=True)
    with_betas = {"lr": 2e-4, "betas": (0.5, 0.999)}
    optimizer_G = torch.optim.Adam(G.parameters(), **with_betas)
    optimizer_D = torch.optim.Adam(D.parameters(), **with_betas)
    # Held open for the life of the process, as a terminal is
    screen = open(os.devnull, "w")  # noqa: SIM115
    train = _dcgan if architecture == "script_dcgan" else _wgan_gp
    steps = train(images, G, D, optimizer_G, optimizer_D, screen)
    return lambda: next(steps)


def _passes(size: int, batch_size: int) -> Iterator[Tensor]:
    """The images of a DataLoader, epoch after epoch."""
    # The class reads files in its constructor
    data = MNIST.__new__(MNIST)
    data.data = raw_images().squeeze(1)
    data.targets = torch.zeros(len(data.data), dtype=torch.long)
    data.target_transform = None
    steps = [transforms.Resize(size), transforms.ToTensor(), transforms.Normalize([0.5], [0.5])]
    data.transform = transforms.Compose(steps)
    loader = DataLoader(data, batch_size=batch_size, shuffle=True)
    while True:
        for images, _ in loader:
            yield images


def _wgan_gp(
    images: Iterator[Tensor], G: Any, D: Any, optimizer_G: Any, optimizer_D: Any, screen: Any
) -> Iterator[None]:
    for i, batch in enumerate(images, start=1):
        real = Variable(batch.type(FloatTensor))
        optimizer_D.zero_grad()
        z = Variable(FloatTensor(np.random.normal(0, 1, (batch.shape[0], 100))))  # noqa: NPY002
        fake = G(z)
        real_validity = D(real)
        fake_validity = D(fake)
        penalty = _penalty(D, real.data, fake.data)
        d_loss = -torch.mean(real_validity) + torch.mean(fake_validity) + 10 * penalty
        d_loss.backward()
        optimizer_D.step()
        optimizer_G.zero_grad()
        if i % 5 == 0:
            g_loss = -torch.mean(D(G(z)))
            g_loss.backward()
            optimizer_G.step()
            print(_line(i, d_loss, g_loss), file=screen)
            yield


def _penalty(D: Any, real: Tensor, fake: Tensor) -> Tensor:
    alpha = FloatTensor(np.random.random((real.size(0), 1, 1, 1)))  # noqa: NPY002
    between = (alpha * real + ((1 - alpha) * fake)).requires_grad_(True)
    validity = D(between)
    ones = Variable(FloatTensor(real.shape[0]).fill_(1.0), requires_grad=False)
    gradients = grad(
        outputs=validity,
        inputs=between,
        grad_outputs=ones,
        create_graph=True,
        retain_graph=True,
        only_inputs=True,
    )[0]
    gradients = gradients.view(gradients.size(0), -1)
    return ((gradients.norm(2, dim=1) - 1) ** 2).mean()


def _dcgan(
    images: Iterator[Tensor], G: Any, D: Any, optimizer_G: Any, optimizer_D: Any, screen: Any
) -> Iterator[None]:
    criterion = nn.BCELoss()

    def judge(x: Tensor) -> Tensor:
        return torch.sigmoid(D(x)).view(-1, 1)

    for i, batch in enumerate(images, start=1):
        valid = Variable(FloatTensor(batch.shape[0], 1).fill_(1.0), requires_grad=False)
        invalid = Variable(FloatTensor(batch.shape[0], 1).fill_(0.0), requires_grad=False)
        real = Variable(batch.type(FloatTensor))
        optimizer_G.zero_grad()
        z = Variable(FloatTensor(np.random.normal(0, 1, (batch.shape[0], 100))))  # noqa: NPY002
        fake = G(z)
        g_loss = criterion(judge(fake), valid)
        g_loss.backward()
        optimizer_G.step()
        optimizer_D.zero_grad()
        real_loss = criterion(judge(real), valid)
        fake_loss = criterion(judge(fake.detach()), invalid)
        d_loss = (real_loss + fake_loss) / 2
        d_loss.backward()
        optimizer_D.step()
        print(_line(i, d_loss, g_loss), file=screen)
        yield


def _line(i: int, d_loss: Tensor, g_loss: Tensor) -> str:
    losses = f"[D loss: {d_loss.item():f}] [G loss: {g_loss.item():f}]"
    return f"[Epoch 0/200] [Batch {i}/{NUM_BATCHES}] {losses}"
