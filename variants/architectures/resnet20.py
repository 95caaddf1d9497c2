"""20-layer ResNet of bottleneck blocks: a shallower sibling of `resnet101`."""

from variants.architectures import _bottleneck


class Generator(_bottleneck.Generator):
    """Bottleneck ResNet generator of 6 blocks, 3 × 6 + 2 layers; 3,433,331 parameters at 64×64."""

    layers = 20


class Discriminator(_bottleneck.Discriminator):
    """Bottleneck ResNet critic of 6 blocks, 3 × 6 + 2 layers; 1,862,545 parameters at 64×64."""

    layers = 20
