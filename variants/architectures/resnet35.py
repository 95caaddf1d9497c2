"""35-layer ResNet of bottleneck blocks: a shallower sibling of `resnet101`."""

from variants.architectures import _bottleneck


class Generator(_bottleneck.Generator):
    """Bottleneck ResNet generator of 11 blocks, 3 × 11 + 2 layers; 4,571,155 parameters at
    64×64."""

    layers = 35


class Discriminator(_bottleneck.Discriminator):
    """Bottleneck ResNet critic of 11 blocks, 3 × 11 + 2 layers; 3,000,369 parameters at 64×64."""

    layers = 35
