"""101-layer ResNet of bottleneck blocks: both networks of a row of WGAN-GP's robustness figure."""

from variants.architectures import _bottleneck


class Generator(_bottleneck.Generator):
    """Bottleneck ResNet generator of 33 blocks, 3 × 33 + 2 layers; 9,189,587 parameters at
    64×64."""

    layers = 101


class Discriminator(_bottleneck.Discriminator):
    """Bottleneck ResNet critic of 33 blocks, 3 × 33 + 2 layers; 7,618,801 parameters at 64×64."""

    layers = 101
