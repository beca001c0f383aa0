"""DiffROAR: do the pixels that an attribution ranks first tell the class better than the last?

Harshay Shah, Prateek Jain, Praneeth Netrapalli, 2021, Do Input Gradients Highlight Discriminative
Features?, arXiv 2102.12781, section 3.

    predictive power(A, k, side) = test accuracy of a network that is trained anew on images that
        keep only the first (top) or last (bottom) share k by attribution A; the rest is filled
    DiffROAR(A, k) = predictive power(A, k, top) - predictive power(A, k, bottom)

It is 0 in expectation for random attributions; an attribution that highlights what tells the class
is above 0 at every k. Both sides leak the shape of the mask, which their difference cancels.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING, Literal

import numpy as np
from numpy.typing import NDArray

from ilk.core.errors import InputError

if TYPE_CHECKING:
    from torch.nn import Module

Side = Literal["top", "bottom"]
Values = NDArray[np.floating]
Classes = NDArray[np.int64]
Retrain = Callable[[Values, Classes, Values, Classes], float]
"""`(x, y, test x, test y) -> accuracy in [0, 1]` of a network that is trained anew on `x`."""
LEVELS = (0.05, 0.1, 0.2, 0.4)  # shares of the pixels that are kept


@dataclass(frozen=True)
class PredictivePower:
    """Accuracy after training on a share of the pixels.

    Attributes:
        level: Share that is kept, in (0, 1).
        top: Accuracy with the pixels that are ranked first, in [0, 1].
        bottom: Accuracy with those that are ranked last.
    """

    level: float
    top: float
    bottom: float

    @property
    def difference(self) -> float:
        """DiffROAR, in [-1, 1]: above 0 if the attribution highlights what tells the class."""
        return self.top - self.bottom


def measure_diffroar(
    x: Values,
    y: Classes,
    attributions: Values,
    test_x: Values,
    test_y: Classes,
    test_attributions: Values,
    retrain: Retrain,
    levels: Sequence[float] = LEVELS,
) -> list[PredictivePower]:
    """Return the predictive power of any attributions at each level; trains `2 len(levels)` times.

    Args:
        x: Training images or rows `[n, ...]`.
        y: Their classes, `[n]`.
        attributions: One value per entry of `x`: larger is more important.
        test_x: Test images or rows.
        test_y: Their classes.
        test_attributions: One value per entry of `test_x`. Gradients of the loss at the true label
            leak it through the shape of the mask; take the predicted label to see how much.
        retrain: Trains from scratch and returns the test accuracy.
        levels: Shares of the entries that are kept, each in (0, 1).

    Raises:
        InputError: Attributions have another shape than the rows, or a level is out of range.
    """
    fill = float(np.mean(x))
    out = []
    for level in levels:
        power = {}
        for side in ("top", "bottom"):
            kept = keep_ranked(x, attributions, level, side, fill)
            test_kept = keep_ranked(test_x, test_attributions, level, side, fill)
            power[side] = retrain(kept, y, test_kept, test_y)
        out.append(PredictivePower(level, power["top"], power["bottom"]))
    return out


def keep_ranked(
    x: Values, attributions: Values, share: float, side: Side, fill: float
) -> NDArray[np.float32]:
    """Return rows `[n, ...]` with all but a share of the entries of each row set to `fill`.

    Args:
        x: Rows.
        attributions: One value per entry; equal ones are ordered at random, the same in every row.
        share: Share of the entries that is kept, in (0, 1).
        side: Whether the largest or the smallest values are kept.
        fill: What takes the place of the others: the mean of the training rows.

    Raises:
        InputError: Shapes differ, or the share is out of range.
    """
    if x.shape != attributions.shape:
        raise InputError(
            f"attributions have the shape {list(attributions.shape)} for rows of shape "
            f"{list(x.shape)}; give one value per entry"
        )
    if not 0 < share < 1:
        raise InputError(f"a share of {share:g} of the pixels cannot be kept; it lies in (0, 1)")
    flat = attributions.reshape(len(x), -1)
    shuffled = np.random.default_rng(0).permutation(flat.shape[1])
    order = shuffled[np.argsort(flat[:, shuffled], axis=1, kind="stable")]
    n = max(1, round(share * flat.shape[1]))
    kept = order[:, -n:] if side == "top" else order[:, :n]
    out = np.full(flat.shape, fill, np.float32)
    np.put_along_axis(out, kept, np.take_along_axis(x.reshape(flat.shape), kept, 1), 1)
    return out.reshape(x.shape)


def compute_input_gradients(network: Module, x: Values, y: Classes | None = None) -> Values:
    """Return the size of the gradient of the loss at every entry of rows `[n, ...]`.

    Args:
        network: Gives logits `[n, k]`.
        x: Rows as the network takes them.
        y: Classes whose loss is taken, `[n]`; None takes those that the network predicts.
    """
    import torch
    from torch.nn import functional

    rows = torch.from_numpy(np.array(x, np.float32)).requires_grad_()
    with torch.enable_grad():
        logits = network(rows)
        classes = logits.detach().argmax(1) if y is None else torch.from_numpy(np.asarray(y))
        [gradient] = torch.autograd.grad(
            functional.cross_entropy(logits, classes, reduction="sum"), rows
        )
    return np.asarray(np.abs(gradient.numpy()))


def measure_mass_inside(attributions: Values, inside: NDArray[np.bool_], share: float) -> float:
    """Return which part of the entries that are ranked first lies inside known places, in [0, 1].

    Args:
        attributions: One value per entry, `[n, ...]`.
        inside: Where the signal is known to lie, of the same shape.
        share: Share of each row's entries that counts as first, in (0, 1).
    """
    kept = keep_ranked(inside.astype(np.float32), attributions, share, "top", -1.0)
    return float((kept == 1).sum() / (kept >= 0).sum())
