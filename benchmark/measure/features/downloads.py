"""Weights of extractors come from the network only where downloads are allowed."""

from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any

import torch

from variants.datasets import why_no_download


@contextmanager
def downloads_as_allowed() -> Iterator[None]:
    """Within the block torch.hub, which torch-fidelity downloads with, raises OSError where
    downloads are forbidden. It still reads weights that are on this machine."""
    original = torch.hub.download_url_to_file

    def checked(*arguments: Any, **options: Any) -> None:
        reason = why_no_download()
        if reason:
            raise OSError(reason)
        original(*arguments, **options)

    torch.hub.download_url_to_file = checked
    try:
        yield
    finally:
        torch.hub.download_url_to_file = original
