"""Critics whose gradients are known or smooth, in float64."""

import torch
from torch import nn


class LinearCritic(nn.Module):
    """D(x) = w·x + b: its gradient is w everywhere."""

    def __init__(self, weights, bias=0.0):
        super().__init__()
        self.weight = nn.Parameter(torch.tensor(weights, dtype=torch.float64))
        self.bias = nn.Parameter(torch.tensor(float(bias), dtype=torch.float64))

    def forward(self, x):
        return x.flatten(1) @ self.weight + self.bias


class SmoothCritic(nn.Module):
    """Two hidden layers of tanh or another activation, seeded, float64."""

    def __init__(self, dim, width=32, activation=torch.tanh, seed=0, scale=1.0):
        super().__init__()
        with torch.random.fork_rng(devices=[]):
            torch.manual_seed(seed)
            self.first = nn.Linear(dim, width)
            self.second = nn.Linear(width, width)
            self.last = nn.Linear(width, 1)
        self.activation = activation
        self.double()
        with torch.no_grad():
            for layer in (self.first, self.second, self.last):
                layer.weight.mul_(scale)

    def forward(self, x):
        x = self.activation(self.first(x.flatten(1)))
        return self.last(self.activation(self.second(x))).squeeze(1)
