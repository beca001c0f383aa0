"""The features of a student: what a second head of a distillation loss reads."""

from __future__ import annotations

from typing import cast

import torch
from torch import Tensor, nn

from ilk.core.errors import InputError
from ilk.training.objective import unwrap


def compute_features(network: nn.Module, x: Tensor) -> tuple[Tensor, Tensor]:
    """Return features `[n, f]` and logits `[n, k]` of rows `x [n, ...]`.

    Args:
        network: A student, possibly wrapped: `forward_features(x)` and its linear head `fc`.

    Raises:
        InputError: The network does not say which features its head reads.
    """
    student, head = unwrap(network), find_head(network)
    features = cast(Tensor, student.forward_features(x))  # type: ignore[operator]
    return features, head(features)


def find_head(network: nn.Module) -> nn.Linear:
    """Return the linear head of a student; see `compute_features`.

    Raises:
        InputError: There is none.
    """
    student = unwrap(network)
    head = getattr(student, "fc", None)
    if not isinstance(head, nn.Linear) or not hasattr(student, "forward_features"):
        raise InputError(
            f"{type(student).__name__} has no linear head `fc` on `forward_features`, beside which "
            "this loss needs a head of its own; take another loss or student"
        )
    return head


def make_linear(inputs: int, outputs: int, like: Tensor, seed: int) -> nn.Linear:
    """Return a linear layer with weights drawn from `seed`, on the device of `like`."""
    with torch.random.fork_rng(devices=[]):
        torch.manual_seed(seed)
        return nn.Linear(inputs, outputs).to(like.device)


class RowStudent(nn.Module):
    """A student of rows `[n, d]`: one layer of rectified features, and a linear head.

    Args:
        d: Length of a row.
        hidden: Number of features.
        k: Number of classes.
    """

    def __init__(self, d: int, hidden: int, k: int) -> None:
        super().__init__()
        self.inner, self.fc = nn.Linear(d, hidden), nn.Linear(hidden, k)

    def forward_features(self, x: Tensor) -> Tensor:
        """Return features `[n, hidden]`."""
        return self.inner(x).relu()  # type: ignore[no-any-return]

    def forward(self, x: Tensor) -> Tensor:
        """Return logits `[n, k]`."""
        return self.fc(self.forward_features(x))  # type: ignore[no-any-return]
