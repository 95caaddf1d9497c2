"""Batches of real data: drawn where the data lies on the device, or fetched ahead of the training
from host memory."""

from collections.abc import Callable, Iterator
from concurrent.futures import Future, ThreadPoolExecutor
from contextlib import contextmanager
from dataclasses import dataclass, replace
from functools import lru_cache, partial
from typing import Any

import torch
from torch import Tensor

import variants
from benchmark.matrix.cell import Choice
from benchmark.matrix.options import Training
from variants.datasets import running_text

# The share of a GPU's free memory that a dataset may take: several cells may share the GPU
SHARE = 0.25
Draw = Callable[[torch.Generator, int], Tensor]
ToFloats = Callable[[Tensor], Tensor]


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
    to_floats = floats_of(dataset, layout)
    if data is not None:
        yield Resident(data, batch_size, to_floats)
    else:
        with ThreadPoolExecutor(1, "prefetch", lambda: _set_device(device)) as thread:
            fetch = Prefetch(thread, dataset.train(), batch_size, device)
            yield lambda generator, following: to_floats(fetch(generator, following))


def _set_device(device: str) -> None:
    """New threads start on CUDA device 0."""
    if torch.device(device).type == "cuda":
        torch.cuda.set_device(device)


def device_data(dataset: Any, device: str) -> Tensor | None:
    """The training split on the device: images as uint8 (n, C, H, W), points as float32 (n, 2),
    codes of text as uint8 (n, L). None if the data would take more than SHARE of the free memory of
    a GPU. Not kept between cells: the next cell's memory would include it."""
    samples = dataset.train()
    # Windows overlap: the text is moved, not every window
    text = running_text(samples)
    data = samples if text is None else text
    if torch.device(device).type == "cuda":
        free, _ = torch.cuda.mem_get_info(device)
        if data.nbytes > SHARE * free:
            return None
    data = data.to(device)
    return data if text is None else data.unfold(0, samples.shape[1], 1)


@dataclass(frozen=True)
class Resident:
    """Batches of data on the device."""

    data: Tensor
    batch_size: int
    to_floats: ToFloats

    def __call__(self, generator: torch.Generator, following: int) -> Tensor:
        return self.to_floats(self.data.index_select(0, self.index(generator)))

    def index(self, generator: torch.Generator) -> Tensor:
        """The samples of the batch that a call would return, (batch,)."""
        return draw_index(len(self.data), self.batch_size, generator)

    def gather(self, indices: list[Tensor]) -> Tensor:
        """Several batches (n, batch, *shape) by their samples, in one pass."""
        batch = self.to_floats(self.data.index_select(0, torch.cat(indices)))
        return batch.unflatten(0, (len(indices), self.batch_size))


def shown_by(critic: Any, draw: Draw) -> Draw:
    """The batches of `draw` as `critic.shown` shows them to a critic that changes while it trains;
    the batches themselves for other critics."""
    shown = getattr(critic, "shown", None)
    if shown is None:
        return draw
    if isinstance(draw, Resident):
        to_floats = draw.to_floats
        return replace(draw, to_floats=lambda samples: shown(to_floats(samples)))
    return lambda generator, following: shown(draw(generator, following))


def draw_index(n: int, batch_size: int, generator: torch.Generator) -> Tensor:
    """The samples of a batch, (batch,), on the generator's device."""
    return torch.randint(n, (batch_size,), device=generator.device, generator=generator)


def floats_of(dataset: Any, layout: torch.memory_format = torch.contiguous_format) -> ToFloats:
    """The function that makes a float32 batch (batch, *shape) of stored samples: images in the
    layout, in the range of the dataset; codes of text one-hot; points as they are."""
    if dataset.modality == "images":
        images = getattr(dataset, "range", "signed")
        return partial(_scaled, layout=layout, images=images)
    if dataset.modality == "text":
        return partial(one_hot, num_characters=dataset.shape[1])
    return Tensor.float


def _scaled(samples: Tensor, layout: torch.memory_format, images: str) -> Tensor:
    """uint8 images (batch, C, H, W) as float32 in [−1, 1] (signed) or in [0, 1] (unit)."""
    floats = samples.to(torch.float32, memory_format=layout)
    return floats.div_(255) if images == "unit" else floats.div_(127.5).sub_(1)


def one_hot(codes: Tensor, num_characters: int) -> Tensor:
    """Codes (batch, L) as float32 (batch, L, num_characters): 1 at the code, 0 elsewhere."""
    vectors = torch.zeros(*codes.shape, num_characters, device=codes.device)
    # torch's one_hot would wait for the device to look for a code out of range
    return vectors.scatter_(-1, codes.long().unsqueeze(-1), 1)


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
