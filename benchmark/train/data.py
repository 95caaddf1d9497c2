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

SHARE = 0.25  # of a GPU's free memory that a dataset may take, for several cells may share the GPU
Draw = Callable[[torch.Generator, int], Tensor]


@lru_cache(maxsize=4)
def make_dataset(choice: Choice) -> Any:
    """The dataset, loaded at most once per process."""
    return variants.load("datasets", choice.name).Dataset(**choice.params, **choice.where)


def memory_format(training: Training) -> torch.memory_format:
    """That of images and convolution weights, by training.layout."""
    return torch.channels_last if training.layout == "channels_last" else torch.contiguous_format


@contextmanager
def open_batches(
    choice: Choice,
    batch_size: int,
    device: str,
    layout: torch.memory_format = torch.contiguous_format,
) -> Iterator[Draw]:
    """A function draw(generator, following) -> float32 batch (batch_size, *shape) on the device;
    `Resident` where the data lies there.

    The batch is that of the seed the generator has just been set to; its index is the first thing
    drawn. `following` is the seed of the next batch, which data in host memory is asked for ahead,
    by a thread that ends with the context. Where the data lies changes no number, of the batches or
    of what the generator gives afterwards."""
    data = device_data(choice, device)
    if data is not None:
        yield Resident(data, batch_size, layout)
    else:
        with ThreadPoolExecutor(1, "prefetch", lambda: _enter(device)) as thread:
            fetch = Prefetch(thread, make_dataset(choice).train(), batch_size, device)
            yield lambda generator, following: as_floats(fetch(generator, following), layout)


def _enter(device: str) -> None:
    """A thread's own CUDA device is the first one until it is set."""
    if torch.device(device).type == "cuda":
        torch.cuda.set_device(device)


def device_data(choice: Choice, device: str) -> Tensor | None:
    """The training split on the device, images as uint8 (n, C, H, W), points as float32 (n, 2);
    None where it would take more than SHARE of a GPU's free memory. Not kept between cells: there
    it would count as the next one's."""
    data = make_dataset(choice).train()
    if (
        torch.device(device).type == "cuda"
        and data.nbytes > SHARE * torch.cuda.mem_get_info(device)[0]
    ):
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
    """Batches of data in host memory: while the device works on one, a thread gathers the next into
    pinned memory and copies it on a stream of its own.

    Every batch gets a pinned buffer of its own from torch's caching host allocator: that hands a
    buffer out again only once the copies from it have ended, so none is overwritten in flight, and
    after two or three batches nothing new is allocated."""

    def __init__(
        self, thread: ThreadPoolExecutor, data: Tensor, batch_size: int, device: str
    ) -> None:
        self.thread, self.data, self.batch_size, self.device = (
            thread,
            data,
            batch_size,
            torch.device(device),
        )
        self.stream = torch.cuda.Stream(self.device) if self.device.type == "cuda" else None
        self.coming: dict[int, Future[Any]] = {}  # the batch asked for ahead, by its seed

    def __call__(self, generator: torch.Generator, following: int) -> Tensor:
        """The batch of the generator's seed; that of seed `following` is begun. Raises what the
        thread raised."""
        seed = generator.initial_seed()
        draw_index(
            len(self.data), self.batch_size, generator
        )  # the thread has its own: here only to move on as far
        asked = self.coming.get(seed) or self.thread.submit(
            self._fetch, seed
        )  # none: the first, or after a warm-up
        batch, copied = asked.result()
        self.coming = {following: self.thread.submit(self._fetch, following)}
        if copied is not None:
            current = torch.cuda.current_stream(self.device)
            current.wait_event(copied)
            batch.record_stream(
                current
            )  # allocated on the other stream: kept until this one has used it
        return batch

    def _fetch(self, seed: int) -> tuple[Tensor, torch.cuda.Event | None]:
        generator = torch.Generator(self.device).manual_seed(seed)
        with torch.cuda.stream(
            self.stream
        ):  # waits for nothing the training has queued; no stream on a CPU
            index = draw_index(len(self.data), self.batch_size, generator).cpu()
            shape = (self.batch_size, *self.data.shape[1:])
            buffer = torch.empty(shape, dtype=self.data.dtype, pin_memory=self.stream is not None)
            torch.index_select(self.data, 0, index, out=buffer)
            batch = buffer.to(self.device, non_blocking=True)
            return batch, None if self.stream is None else self.stream.record_event()
