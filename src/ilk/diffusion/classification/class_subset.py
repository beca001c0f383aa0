"""Restrict a network to some of its classes, in a given order."""

from __future__ import annotations

from collections.abc import Sequence

import torch
from torch import Tensor

from ilk.core.errors import InputError
from ilk.diffusion.denoiser.protocol import Denoises

MAX_LISTED = 5


class ClassSubset:
    """`network` restricted to `classes`.

    Raises:
        InputError: The network does not know one of them.
    """

    def __init__(self, network: Denoises, classes: Sequence[str]) -> None:
        check_classes(network.classes, classes)
        class_to_index = {name: i for i, name in enumerate(network.classes)}
        self.network, self.classes = network, tuple(classes)
        self.class_indices = torch.tensor(
            [class_to_index[name] for name in classes], dtype=torch.int64
        )

    @property
    def shape(self) -> tuple[int, int, int]:
        return self.network.shape

    @property
    def sigmas(self) -> tuple[float, float]:
        return self.network.sigmas

    @property
    def sigma_data(self) -> float:
        """Standard deviation of the data; 0.5 if the network does not state it."""
        return float(getattr(self.network, "sigma_data", 0.5))

    @property
    def shares_passes(self) -> bool:
        """Whether all classes of an image cost little more than one."""
        return bool(getattr(self.network, "shares_passes", False))

    def condition(self, classes: Tensor) -> Tensor:
        """Return the conditions `[b, ...]` of class indices `[b]` (-1: unconditional)."""
        network_classes = (
            self.class_indices[classes.clamp(min=0)] if len(self.class_indices) else classes
        )
        return self.network.condition(torch.where(classes < 0, classes, network_classes))

    def denoise(self, noisy: Tensor, sigma: Tensor, condition: Tensor) -> Tensor:
        """Return the clean images `[b, c, h, w]` given `noisy` `[b, c, h, w]` and `sigma` `[b]`."""
        return self.network.denoise(noisy, sigma, condition)


def check_classes(known_classes: Sequence[str], classes: Sequence[str]) -> None:
    """Check that all `classes` are known.

    Raises:
        InputError: Some are not; the message names them.
    """
    if missing := [name for name in classes if name not in set(known_classes)]:
        raise InputError(
            f"the diffusion model knows {len(known_classes)} classes "
            f"({_format_names(known_classes)}) and not {_format_names(missing)}; "
            "pretrain it on labelled images of every class, or leave these classes out"
        )


def select_classes(network: Denoises, classes: Sequence[str] | None) -> Denoises:
    """Restrict `network` to `classes`; return it unchanged if they are None or its own."""
    if classes is None or tuple(classes) == tuple(network.classes):
        return network
    return ClassSubset(network, classes)


def _format_names(names: Sequence[str]) -> str:
    return ", ".join(map(repr, names[:MAX_LISTED])) + (", …" if len(names) > MAX_LISTED else "")
