"""What tuning an old version of a network taught, added to a new version.

Efficient Model Development through Fine-tuning Transfer, 2025, arXiv 2503.20110: the difference
between the tuned and the untuned weights of the old version is added to those of the new one,
`m_new + (tuned_old - m_old)`, as it is or as the start of further tuning. Both versions must have
the same shapes, and lie in one valley of the loss: the new one must come of the old one by further
training, not of other random weights. `compute_barrier` measures that (Jonathan Frankle and others,
2020, Linear Mode Connectivity and the Lottery Ticket Hypothesis, arXiv 1912.05671, section 2).

States are mappings from names to tensors, as of `state_dict`; nothing is changed in place.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from typing import TYPE_CHECKING

from ilk.core.errors import InputError
from ilk.core.short_lists import list_first

if TYPE_CHECKING:
    from torch import Tensor

State = Mapping[str, "Tensor"]
STATISTICS = ("running_mean", "running_var", "num_batches_tracked")  # of normalization: no weights
MAX_LISTED = 3


def is_weight(name: str, value: Tensor) -> bool:
    """Whether a value `[...]` of a state is a weight, and no count or statistic of inputs."""
    return value.is_floating_point() and name.rpartition(".")[2] not in STATISTICS


def check_same_shapes(first: State, second: State, what: str = "the second") -> None:
    """Check that two states have the same names and shapes.

    Args:
        first: The state that the other must match.
        second: The other.
        what: What the other is called in the message.

    Raises:
        InputError: They differ; the message names up to three differences.
    """
    wrong = [
        f"{name} is {_describe(second, name)} and not {_describe(first, name)}"
        for name in (*first, *(name for name in second if name not in first))
        if name not in first or name not in second or first[name].shape != second[name].shape
    ]
    if wrong:
        raise InputError(
            f"{what} network has different weights ({list_first(wrong, MAX_LISTED, '; ')}); "
            "differences can be carried only between versions of one architecture"
        )


def compute_difference(tuned: State, base: State) -> dict[str, Tensor]:
    """Return `tuned - base` for every weight, each in the same shape.

    Args:
        tuned: State after tuning.
        base: State before it.

    Raises:
        InputError: The states differ in names or shapes.
    """
    check_same_shapes(base, tuned, "the tuned")
    return {k: tuned[k].detach() - v.detach() for k, v in base.items() if is_weight(k, v)}


def add_difference(new: State, difference: State, scale: float = 1.0) -> dict[str, Tensor]:
    """Return `new + scale difference`, in the same shapes; statistics are those of `new`.

    Args:
        new: State of the new version.
        difference: What `compute_difference` returned for the old one.
        scale: Factor of the difference; 1 is the paper's.

    Raises:
        InputError: The states differ in names or shapes, or `scale` is not finite.
    """
    if not abs(scale) < float("inf"):
        raise InputError(f"scale is {scale}; it must be finite")
    check_same_shapes({k: v for k, v in new.items() if is_weight(k, v)}, difference, "the old")
    return {
        name: (value + scale * difference[name].to(value)).to(value.dtype)
        if name in difference
        else value.detach().clone()
        for name, value in new.items()
    }


def transfer_tuning(
    new: State, tuned_old: State, old: State, scale: float = 1.0
) -> dict[str, Tensor]:
    """Return the new version tuned like the old one: `new + scale (tuned_old - old)`.

    All three have values of the same shapes.

    Raises:
        InputError: The three states differ in names or shapes.
    """
    check_same_shapes(old, new, "the new")
    return add_difference(new, compute_difference(tuned_old, old), scale)


def interpolate(first: State, second: State, share: float) -> dict[str, Tensor]:
    """Return `(1 - share) first + share second` for weights; the rest is that of `first`.

    Both have values of the same shapes.

    Raises:
        InputError: The states differ in names or shapes.
    """
    return add_difference(first, compute_difference(second, first), share)


def compute_barrier(
    first: State, second: State, compute_loss: Callable[[State], float], points: int = 9
) -> float:
    """Return how far the loss rises between two networks above the line between their losses.

    `max_a L((1 - a) first + a second) - ((1 - a) L(first) + a L(second))` over `points` values of a
    evenly inside (0, 1) and both ends; near 0 for networks in one valley.

    Args:
        first, second: The states.
        compute_loss: Loss of a state on some fixed rows.
        points: Number of states between the two, >= 1.

    Raises:
        InputError: The states differ in names or shapes, or `points` is less than 1.
    """
    if points < 1:
        raise InputError(f"points is {points}; it must be at least 1")
    check_same_shapes(first, second)
    start, end = compute_loss(first), compute_loss(second)
    shares = [i / (points + 1) for i in range(1, points + 1)]
    rises = [
        compute_loss(interpolate(first, second, a)) - ((1 - a) * start + a * end) for a in shares
    ]
    return max(0.0, *rises)


def _describe(state: State, name: str) -> str:
    return str(list(state[name].shape)) if name in state else "absent"
