"""Rows that a network is tuned on: stored activations of what is frozen, or pixels."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, replace

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

from ilk.core.capabilities import Embeds
from ilk.core.progress import Progress, silent_progress
from ilk.encode.encode_task import prepare_row
from ilk.images import MAX_PIXELS, Images, Row
from ilk.store import Store
from ilk.training.batch import Batch
from ilk.training.sources import MAX_BYTES, DecodedSource, Source, read_decoded

N_READ = 512  # rows at a time


@dataclass(frozen=True, eq=False)
class StoredActivations:
    """Stored activations of images and of their mirror images: rows `[v, ...]` of v views.

    Attributes:
        store: Where they are.
        views: Their encoders.
        digests: Images, n.
        y: Class of each image, `[n]` int64.
        shape: Shape of the activations of one image.
    """

    store: Store
    views: Sequence[Embeds]
    digests: Sequence[str]
    y: Tensor
    shape: tuple[int, ...]

    def __len__(self) -> int:
        return len(self.digests)

    @property
    def n_bytes(self) -> int:
        """Size in memory."""
        return 4 * len(self) * len(self.views) * int(np.prod(self.shape))

    def take(self, rows: Tensor, device: str) -> Batch:
        """Return the rows at positions `rows [m]`, `[m, v, ...]`, on `device`."""
        digests = [self.digests[i] for i in rows.tolist()]
        x = np.stack([self.store.get(view.space, digests) for view in self.views], 1)
        return Batch(
            torch.from_numpy(x).view(len(digests), len(self.views), *self.shape), self.y[rows], rows
        ).to(device)


def open_activations(
    store: Store,
    views: Sequence[Embeds],
    digests: Sequence[str],
    y: NDArray[np.int64],
    shape: tuple[int, ...],
) -> Source:
    """Return stored activations, in memory where they are few.

    Args:
        store: Where they are.
        views: Encoders of images and of their mirror images.
        digests: Images.
        y: Class of each, `[n]`.
        shape: Shape of the activations of one image.
    """
    source = StoredActivations(store, views, digests, torch.from_numpy(np.array(y)), shape)
    if source.n_bytes > MAX_BYTES:
        return source
    parts = torch.split(torch.arange(len(source)), N_READ)
    return Batch(torch.cat([source.take(rows, "cpu").x for rows in parts]), source.y)


def open_pixels(
    images: Images,
    rows: Sequence[Row],
    encoder: Embeds,
    y: NDArray[np.int64],
    progress: Progress = silent_progress,
) -> Source:
    """Return prepared images `[n, 3, h, w]` uint8, in memory where they are few.

    Args:
        images: Where they are read from.
        rows: The images.
        encoder: Prepares them.
        y: Class of each, `[n]`.
        progress: Reports each image that is read.
    """

    def decode(row: Row) -> NDArray[np.uint8]:
        prepared = prepare_row(images, row, (encoder,), MAX_PIXELS, summarize=False)
        return np.ascontiguousarray(prepared.arrays[0])

    return read_decoded(DecodedSource(list(rows), np.array(y), decode), progress)


def pick_view(batch: Batch, generator: torch.Generator) -> Batch:
    """Return a batch of views `[n, v, ...]` with one of them drawn for each row, `[n, ...]`."""
    n, v = batch.x.shape[:2]
    chosen = torch.randint(v, (n,), generator=generator, device=batch.x.device)
    return replace(batch, x=batch.x[torch.arange(n, device=batch.x.device), chosen])
