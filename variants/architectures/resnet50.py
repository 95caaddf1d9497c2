"""50-layer ResNet of bottleneck blocks: a shallower sibling of `resnet101`."""

from variants.architectures import _bottleneck


class Generator(_bottleneck.Generator):
    """Bottleneck ResNet generator of 16 blocks, 3 × 16 + 2 layers; 5,708,979 parameters at
    64×64."""

    layers = 50


class Discriminator(_bottleneck.Discriminator):
    """Bottleneck ResNet critic of 16 blocks, 3 × 16 + 2 layers; 4,138,193 parameters at 64×64."""

    layers = 50
