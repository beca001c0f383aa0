"""Students: networks with features and a linear head, which a model folder keeps apart.

A student is found by file: a file of `ilk.architectures` that defines `STUDENTS`, a literal tuple
of names, and `make_student(name, n_classes, channels, size, seed=0)`, which returns a network with
a linear head `fc` on `forward_features(x) -> [n, f]`; `size` is the side of its images, or their
height and width. A file may define `START`, the name of an encoder with pretrained weights of the
same names, from which its students start, and whose preprocessing they have.
"""

from __future__ import annotations

import copy
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


def remove_head(student: nn.Module) -> nn.Module:
    """Return a copy of a student whose answers are its features: normalized images to `[n, f]`.

    Args:
        student: Normalized images `[n, c, h, w]` to logits `[n, k]`.
    """
    network = copy.deepcopy(student)
    network.fc = nn.Identity()
    return network


def make_linear(inputs: int, outputs: int, like: Tensor, seed: int) -> nn.Linear:
    """Return a layer `[n, inputs]` to `[n, outputs]` drawn from `seed`, on the device of `like`."""
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
