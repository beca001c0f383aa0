"""Samplers: which rows make up the batch of a step, from the seed and the step alone.

A resumed run therefore draws the same batches. A sampler draws the batch of all processes;
each process takes its own part of it.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Protocol

import torch
from torch import Tensor

from ilk.core.errors import InputError
from ilk.training.rng import draw_batch_rows, mix_seeds, permute_rows


class Sampler(Protocol):
    """Draws positions of rows."""

    def draw(self, step: int, batch_size: int, seed: int) -> Tensor:
        """Return the rows of update `step` (from 0), `[batch_size]` int64."""
        ...


@dataclass(frozen=True)
class ShuffledSampler:
    """Every row once per epoch, in a new order each epoch.

    Attributes:
        n: Number of rows, >= 1.
    """

    n: int

    def draw(self, step: int, batch_size: int, seed: int) -> Tensor:
        """Return the rows of update `step`, `[batch_size]`."""
        return draw_batch_rows(step, batch_size, self.n, seed)


class BalancedSampler:
    """Equally many rows of each group: classes, or domains.

    A batch goes round the groups; within a group, every row comes once before any comes again.

    Args:
        groups: Group of each row, `[n]` int64; rows of -1 are never drawn.

    Raises:
        InputError: No row belongs to a group.
    """

    def __init__(self, groups: Tensor) -> None:
        names = torch.unique(groups[groups >= 0])
        if not len(names):
            raise InputError("no row has a group (a label, or a domain) to balance; give some")
        self.rows = [torch.nonzero(groups == name)[:, 0] for name in names]

    def draw(self, step: int, batch_size: int, seed: int) -> Tensor:
        """Return the rows of update `step`, `[batch_size]`."""
        positions = torch.arange(step * batch_size, (step + 1) * batch_size)
        group, place = positions % len(self.rows), positions // len(self.rows)
        out = torch.empty(batch_size, dtype=torch.int64)
        for g, rows in enumerate(self.rows):
            mine = torch.nonzero(group == g)[:, 0]
            epochs, offsets = place[mine] // len(rows), place[mine] % len(rows)
            for epoch in torch.unique(epochs).tolist():
                order = rows[permute_rows(len(rows), mix_seeds(seed, 3, g), epoch)]
                out[mine[epochs == epoch]] = order[offsets[epochs == epoch]]
        return out


class EpisodicSampler:
    """Episodes of few-shot learning: `n_way` classes drawn per step, equally many rows of each.

    Args:
        y: Class of each row, `[n]` int64; rows of -1 are never drawn.
        n_way: Classes per episode, >= 1.

    Raises:
        InputError: Fewer than `n_way` classes have two rows.
    """

    def __init__(self, y: Tensor, n_way: int = 5) -> None:
        classes, counts = torch.unique(y[y >= 0], return_counts=True)
        self.rows = [torch.nonzero(y == c)[:, 0] for c in classes[counts > 1]]
        self.n_way = n_way
        if not 1 <= n_way <= len(self.rows):
            raise InputError(
                f"an episode of {n_way} classes cannot be drawn: {len(self.rows)} classes have two "
                "rows or more; lower n_way or label more images"
            )

    def draw(self, step: int, batch_size: int, seed: int) -> Tensor:
        """Return the rows of update `step`, `[batch_size]`, class after class.

        A class with fewer rows than its share of the batch is drawn with replacement.

        Raises:
            InputError: `batch_size` is not a multiple of `n_way`.
        """
        if batch_size % self.n_way:
            raise InputError(f"batch size {batch_size} is not a multiple of n_way {self.n_way}")
        generator = torch.Generator().manual_seed(mix_seeds(seed, step, 4))
        per_class, parts = batch_size // self.n_way, list[Tensor]()
        for c in torch.randperm(len(self.rows), generator=generator)[: self.n_way].tolist():
            rows = self.rows[c]
            if len(rows) >= per_class:
                parts.append(rows[torch.randperm(len(rows), generator=generator)[:per_class]])
            else:
                parts.append(rows[torch.randint(len(rows), (per_class,), generator=generator)])
        return torch.cat(parts)
