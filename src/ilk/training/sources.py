"""Data sources: rows of a training set, in memory, memory-mapped, or decoded from files.

A `Batch` is a source held in memory. The others read the rows of one batch at a time, so that a
training set may exceed memory; `stream_batches` reads the next batch while the last one is used.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Protocol

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

from ilk.core.errors import InputError
from ilk.core.progress import Progress, silent_progress
from ilk.core.threaded_map import map_threaded
from ilk.training.batch import Batch
from ilk.training.samplers import Sampler, ShuffledSampler

N_THREADS = 4  # that decode files
MAX_BYTES = 2**30  # of decoded images that are kept in memory


class Source(Protocol):
    """Rows that can be read by position."""

    def __len__(self) -> int: ...

    def take(self, rows: Tensor, device: str) -> Batch:
        """Return the rows at positions `rows [m]`, on `device`, with `indices` set."""
        ...


@dataclass(frozen=True, eq=False)
class ArraySource:
    """Rows of an array that NumPy indexes, such as a memory-mapped file.

    Attributes:
        x: `[n, ...]`; anything that returns an array for integer positions `[m]`.
        y: Class indices, `[n]` int64, -1 where unknown.
    """

    x: Any
    y: NDArray[np.int64]

    def __post_init__(self) -> None:
        if len(self.x) != len(self.y):
            raise InputError(f"{len(self.x)} rows and {len(self.y)} labels; give one label per row")

    @classmethod
    def open(cls, path: Path, y: NDArray[np.int64]) -> ArraySource:
        """Memory-map the array in a `.npy` file of shape `[n, ...]`.

        Raises:
            InputError: The file is not a `.npy` file, or has another number of rows than `y [n]`.
        """
        try:
            return cls(np.load(path, mmap_mode="r"), y)
        except (OSError, ValueError) as error:
            raise InputError(f"{path} is not an array that can be mapped: {error}") from error

    def __len__(self) -> int:
        return len(self.y)

    def take(self, rows: Tensor, device: str) -> Batch:
        """Return the rows at positions `rows [m]`; read in file order."""
        order = torch.argsort(rows)
        values = np.array(self.x[rows[order].numpy()])
        x = torch.from_numpy(values)[torch.argsort(order)]
        return Batch(x, torch.from_numpy(np.array(self.y))[rows], rows).to(device)


@dataclass(frozen=True, eq=False)
class DecodedSource:
    """Images decoded from files as they are needed.

    Attributes:
        files: n files, in whatever form `decode` takes.
        y: Class indices, `[n]` int64, -1 where unknown.
        decode: Returns the pixels `[c, h, w]` of a file, the same shape for all; called in threads.
    """

    files: Sequence[Any]
    y: NDArray[np.int64]
    decode: Callable[[Any], NDArray[Any]]

    def __post_init__(self) -> None:
        if len(self.files) != len(self.y):
            raise InputError(
                f"{len(self.files)} files and {len(self.y)} labels; give one label per file"
            )

    def __len__(self) -> int:
        return len(self.files)

    def take(self, rows: Tensor, device: str) -> Batch:
        """Return the images at positions `rows [m]`, decoded."""
        files = [self.files[i] for i in rows.tolist()]
        with ThreadPoolExecutor(N_THREADS) as pool:
            x = torch.from_numpy(np.stack(list(pool.map(self.decode, files))))
        return Batch(x, torch.from_numpy(np.array(self.y))[rows], rows).to(device)


def read_decoded(source: DecodedSource, progress: Progress = silent_progress) -> Source:
    """Return the images of a source in memory if they take at most `MAX_BYTES`, else the source.

    Args:
        source: The images, at least one.
        progress: Reports each image that is read.
    """
    first = source.decode(source.files[0])
    if len(source) * first.nbytes > MAX_BYTES:
        return source
    x = np.empty((len(source), *first.shape), first.dtype)
    with progress("reading", len(source)) as advance:
        for i, image in enumerate(map_threaded(source.decode, source.files, advance)):
            x[i] = image
    return Batch(torch.from_numpy(x), torch.from_numpy(np.array(source.y)))


@dataclass(frozen=True, eq=False)
class SampledSource:
    """A source with the sampler that draws its batches.

    Attributes:
        rows: The rows.
        sampler: Which of them make up a batch; `ShuffledSampler` is the trainer's default.
    """

    rows: Source
    sampler: Sampler

    def __len__(self) -> int:
        return len(self.rows)

    def take(self, rows: Tensor, device: str) -> Batch:
        """Return the rows at positions `rows [m]`, on `device`."""
        return self.rows.take(rows, device)


def stream_batches(
    data: Source, steps: range, batch_size: int, seed: int, part: slice, device: str
) -> Iterator[Batch]:
    """Yield the batch of each of `steps`, reading one batch ahead.

    Args:
        data: Where rows come from, and how they are drawn if it is a `SampledSource`.
        steps: Numbers of the updates.
        batch_size: Rows per update, over all processes.
        seed: Seed of the draws.
        part: This process's part of a batch.
        device: Where batches are needed.
    """
    sampler = data.sampler if isinstance(data, SampledSource) else ShuffledSampler(len(data))

    def read(step: int) -> Batch:
        return data.take(sampler.draw(step, batch_size, seed)[part], device)

    if type(data) is Batch:  # nothing to wait for
        yield from map(read, steps)
        return
    with ThreadPoolExecutor(1) as pool:
        pending = [pool.submit(read, step) for step in steps[:1]]
        for step in steps:
            batch = pending.pop().result()
            if step + 1 < steps.stop:
                pending.append(pool.submit(read, step + 1))
            yield batch
