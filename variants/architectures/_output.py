"""What ends a generator of images, by the range of the images."""

from typing import Literal

from torch import Tensor, nn

Ending = Literal["auto", "linear"]
Range = Literal["signed", "unit"]  # of images: [−1, 1] or [0, 1]


class Output(nn.Module):
    """What ends a generator of images: tanh for images in [−1, 1], sigmoid for images in [0, 1], or
    nothing under "linear". `build` sets the range."""

    range: Range = "signed"

    def __init__(self, ending: Ending = "auto") -> None:
        super().__init__()
        self.ending = ending

    def forward(self, x: Tensor) -> Tensor:
        if self.ending == "linear":
            return x
        return x.tanh() if self.range == "signed" else x.sigmoid()


def set_range(name: str, G: nn.Module, images: Range) -> None:
    """Let a generator make images of a range. Raises ValueError for one of an architecture without
    an `Output`."""
    outputs = [module for module in G.modules() if isinstance(module, Output)]
    if images != "signed" and not outputs:
        raise ValueError(f"the generator of {name} makes no images in range = {images}")
    for output in outputs:
        output.range = images
