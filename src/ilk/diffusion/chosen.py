"""Some of a network's classes, in an order of one's own."""

from __future__ import annotations

from collections.abc import Sequence

import torch
from torch import Tensor

from ilk.diffusion.contract import Denoises
from ilk.errors import InputError

SHOWN = 5


class Chosen:
    """`network` as if it knew `classes` and no others.

    Raises:
        InputError: It does not know one of them.
    """

    def __init__(self, network: Denoises, classes: Sequence[str]) -> None:
        check(network.classes, classes)
        known = {name: i for i, name in enumerate(network.classes)}
        self.network, self.classes = network, tuple(classes)
        self.index = torch.tensor([known[name] for name in classes], dtype=torch.int64)

    @property
    def shape(self) -> tuple[int, int, int]:
        return self.network.shape

    @property
    def sigmas(self) -> tuple[float, float]:
        return self.network.sigmas

    @property
    def spread(self) -> float:
        """Standard deviation of the data, where the network tells it."""
        return float(getattr(self.network, "spread", 0.5))

    def condition(self, classes: Tensor) -> Tensor:
        inner = self.index[classes.clamp(min=0)] if len(self.index) else classes
        return self.network.condition(torch.where(classes < 0, classes, inner))

    def denoise(self, noisy: Tensor, sigma: Tensor, condition: Tensor) -> Tensor:
        return self.network.denoise(noisy, sigma, condition)


def check(known: Sequence[str], classes: Sequence[str]) -> None:
    """Refuse classes that are not known.

    Raises:
        InputError: Names them.
    """
    if missing := [name for name in classes if name not in set(known)]:
        raise InputError(
            f"the diffusion model knows {len(known)} classes ({_few(known)}) and not "
            f"{_few(missing)}; pretrain it on labelled images of every class, "
            "or leave these classes out"
        )


def chosen(network: Denoises, classes: Sequence[str] | None) -> Denoises:
    """`network` limited to `classes`; as it is where they are None or its own."""
    if classes is None or tuple(classes) == tuple(network.classes):
        return network
    return Chosen(network, classes)


def _few(names: Sequence[str]) -> str:
    return ", ".join(map(repr, names[:SHOWN])) + (", …" if len(names) > SHOWN else "")
