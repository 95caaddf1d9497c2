"""Batches of real data: drawn where the data lies on the device, or fetched ahead of the training
from host memory."""

from collections.abc import Callable, Iterator
from concurrent.futures import Future, ThreadPoolExecutor
from contextlib import contextmanager
from dataclasses import dataclass
from functools import lru_cache
from typing import Any

import torch
from torch import Tensor

import variants
from benchmark.matrix.cell import Choice
from benchmark.matrix.options import Training

# The share of a GPU's free memory that a dataset may take: several cells may share the GPU
SHARE = 0.25
Draw = Callable[[torch.Generator, int], Tensor]


@lru_cache(maxsize=4)
def make_dataset(choice: Choice) -> Any:
    """The dataset, loaded at most once per process."""
    return variants.load("datasets", choice.name).Dataset(**choice.params, **choice.where)


def memory_format(training: Training) -> torch.memory_format:
    """Memory format of images and convolution weights, from training.layout."""
    return torch.channels_last if training.layout == "channels_last" else torch.contiguous_format


@contextmanager
def open_batches(
    dataset: Any,
    batch_size: int,
    device: str,
    layout: torch.memory_format = torch.contiguous_format,
) -> Iterator[Draw]:
    """A function draw(generator, following) → float32 batch (batch_size, *shape) on the device; a
    `Resident` if the data lies on the device.

    The seed of the generator, just set, decides the batch: its index is the first thing drawn.
    `following` is the seed of the next batch: from host memory that batch is fetched ahead, by a
    thread that ends with the context. Where the data lies changes no number, neither of the batches
    nor of what the generator gives afterwards."""
    data = device_data(dataset, device)
    if data is not None:
        yield Resident(data, batch_size, layout)
    else:
        with ThreadPoolExecutor(1, "prefetch", lambda: _set_device(device)) as thread:
            fetch = Prefetch(thread, dataset.train(), batch_size, device)
            yield lambda generator, following: as_floats(fetch(generator, following), layout)


def _set_device(device: str) -> None:
    """New threads start on CUDA device 0."""
    if torch.device(device).type == "cuda":
        torch.cuda.set_device(device)


def device_data(dataset: Any, device: str) -> Tensor | None:
    """The training split on the device: images as uint8 (n, C, H, W), points as float32 (n, 2).
    None if the data would take more than SHARE of the free memory of a GPU. Not kept between
    cells: the next cell's memory would include it."""
    data = dataset.train()
    if torch.device(device).type == "cuda":
        free, _ = torch.cuda.mem_get_info(device)
        if data.nbytes > SHARE * free:
            return None
    return data.to(device)


@dataclass(frozen=True)
class Resident:
    """Batches of data on the device."""

    data: Tensor
    batch_size: int
    layout: torch.memory_format

    def __call__(self, generator: torch.Generator, following: int) -> Tensor:
        return draw_batch(self.data, self.batch_size, generator, self.layout)

    def index(self, generator: torch.Generator) -> Tensor:
        """The samples of the batch that a call would return, (batch,)."""
        return draw_index(len(self.data), self.batch_size, generator)

    def gather(self, indices: list[Tensor]) -> Tensor:
        """Several batches (n, batch, *shape) by their samples, in one pass."""
        batch = as_floats(self.data.index_select(0, torch.cat(indices)), self.layout)
        return batch.unflatten(0, (len(indices), self.batch_size))


def draw_batch(
    data: Tensor,
    batch_size: int,
    generator: torch.Generator,
    layout: torch.memory_format = torch.contiguous_format,
) -> Tensor:
    """A batch drawn with replacement on the data's device, as float32 (batch, *shape), images in
    [−1, 1]."""
    return as_floats(data.index_select(0, draw_index(len(data), batch_size, generator)), layout)


def draw_index(n: int, batch_size: int, generator: torch.Generator) -> Tensor:
    """The samples of a batch, (batch,), on the generator's device."""
    return torch.randint(n, (batch_size,), device=generator.device, generator=generator)


def as_floats(batch: Tensor, layout: torch.memory_format) -> Tensor:
    """A batch as float32, images in the layout, uint8 as [−1, 1]."""
    floats = batch.to(torch.float32, memory_format=layout) if batch.dim() == 4 else batch.float()
    return floats.div_(127.5).sub_(1) if batch.dtype == torch.uint8 else floats


class Prefetch:
    """Batches of data in host memory. While the device works on a batch, a thread gathers the next
    one into pinned memory and copies it on a stream of its own.

    Every batch gets its own pinned buffer from torch's caching host allocator. The allocator reuses
    a buffer only after the copies from it have ended, so no buffer is overwritten in flight, and
    after two or three batches nothing new is allocated."""

    def __init__(
        self, thread: ThreadPoolExecutor, data: Tensor, batch_size: int, device: str
    ) -> None:
        self.thread, self.data, self.batch_size = thread, data, batch_size
        self.device = torch.device(device)
        self.stream = torch.cuda.Stream(self.device) if self.device.type == "cuda" else None
        self.ahead: dict[int, Future[Any]] = {}  # the batch fetched ahead, by its seed

    def __call__(self, generator: torch.Generator, following: int) -> Tensor:
        """The batch of the generator's seed; the batch of seed `following` is begun. Raises what
        the thread raised."""
        seed = generator.initial_seed()
        # The thread draws with another generator; this draw moves the caller's as far
        draw_index(len(self.data), self.batch_size, generator)
        # Nothing was fetched ahead for the first batch, nor after a warm-up
        fetched = self.ahead.get(seed) or self.thread.submit(self._fetch, seed)
        batch, copied = fetched.result()
        self.ahead = {following: self.thread.submit(self._fetch, following)}
        if copied is not None:
            current = torch.cuda.current_stream(self.device)
            current.wait_event(copied)
            # The batch was allocated on the other stream: keep it until this stream has used it
            batch.record_stream(current)
        return batch

    def _fetch(self, seed: int) -> tuple[Tensor, torch.cuda.Event | None]:
        generator = torch.Generator(self.device).manual_seed(seed)
        # The stream waits for nothing that the training has queued; on a CPU there is none
        with torch.cuda.stream(self.stream):
            index = draw_index(len(self.data), self.batch_size, generator).cpu()
            shape = (self.batch_size, *self.data.shape[1:])
            buffer = torch.empty(shape, dtype=self.data.dtype, pin_memory=self.stream is not None)
            torch.index_select(self.data, 0, index, out=buffer)
            batch = buffer.to(self.device, non_blocking=True)
            return batch, None if self.stream is None else self.stream.record_event()
