"""A head whose classes keep arriving: new outputs beside the old weights, and what holds those.

grown = arrival(rows, before, hidden, seed)
model = taught(grown, distilling(grown, blend, over_all), steps, seed)
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from typing import TYPE_CHECKING

import numpy as np
from numpy.typing import NDArray

from ilk.data import Data, Labels
from ilk.models import Perceptron

if TYPE_CHECKING:
    import torch
    from torch import Tensor, nn

    from ilk.training.heads import Head
    from ilk.training.loop import Batch, Objective

    Loss = Callable[[Tensor, Tensor], Tensor]

LEAST = 1.0  # of the mean spread: what is still in the first classes may be alive in later ones
BATCH, WARMUP, RATE, DECAY = 128, 20, 4e-3, 0.01


@dataclass(frozen=True, eq=False)
class Arrival:
    """A head about to learn: it has the classes seen alone, so that others leave no trace.

    Attributes:
        net: The head, with the weights of the model before where there was one.
        data: Rows to learn from, their classes numbered as the head has them.
        seen: Which of the whole list these are, `[s]` int64, rising.
        old: Which of them the model before knew, `[s]`.
        classes: Length of the whole list.
        before: The model before.
    """

    net: Head
    data: Data
    seen: Labels
    old: NDArray[np.bool_]
    classes: int
    before: Perceptron | None

    def told(self) -> Tensor:
        """What the model before says of the rows, `[n, old]`."""
        import torch

        if self.before is None:
            raise ValueError("there is no model before")
        scores = self.before.logits(self.data.x)[:, self.seen[self.old]]
        return torch.from_numpy(scores.astype(np.float32))


def arrival(rows: Data, before: Perceptron | None, hidden: int, seed: int) -> Arrival:
    """A head for the classes of labelled `rows` and those that `before` knew.

    Standardising is settled by the first rows; new classes start from weights drawn by `seed` and
    the number of classes seen. `hidden` counts only where there is no model before.
    """
    from ilk.training.heads import Head

    had = np.zeros(rows.k, bool) if before is None else np.isfinite(before.bias)
    seen = np.flatnonzero(had | (rows.counts() > 0))
    names = tuple(rows.classes[c] for c in seen)
    data = Data(rows.x, np.searchsorted(seen, rows.y), names)
    width = hidden if before is None else len(before.inner)
    net = Head.of(data, width, seed + len(seen))
    net.seen.fill_(True)
    if before is None:
        net.scale.clamp_(min=LEAST * float(data.x.std(0, dtype=np.float64).mean()))
    else:
        _take_up(net, before, had[seen], seen)
    return Arrival(net, data, seen, had[seen], rows.k, before)


def _take_up(net: Head, before: Perceptron, old: NDArray[np.bool_], seen: Labels) -> None:
    """Give `net` the weights of the model before, at the classes that it knew."""
    import torch

    places = torch.from_numpy(np.flatnonzero(old))
    with torch.no_grad():
        for held, name in ((net.centre, "centre"), (net.scale, "scale")):
            held.copy_(torch.from_numpy(np.array(getattr(before, name))))
        net.inner.weight.copy_(torch.from_numpy(np.array(before.inner)))
        net.inner.bias.copy_(torch.from_numpy(np.array(before.threshold)))
        net.outer.weight[places] = torch.from_numpy(before.weight[seen[old]])
        net.outer.bias[places] = torch.from_numpy(before.bias[seen[old]])


def taught(grown: Arrival, objective: Objective, steps: int, seed: int) -> Perceptron:
    """The head trained by the one training loop, as a model of the whole list of classes."""
    from ilk.training.heads import fitted
    from ilk.training.loop import Recipe

    size = min(BATCH, len(grown.data))
    recipe = Recipe(steps, size, RATE, WARMUP, DECAY, seed=seed + len(grown.seen))
    head = fitted(grown.net, grown.data, objective, recipe).model()
    weight = np.zeros((grown.classes, head.weight.shape[1]), np.float32)
    bias = np.full(grown.classes, -np.inf, np.float32)
    weight[grown.seen], bias[grown.seen] = head.weight, head.bias
    return Perceptron(head.centre, head.scale, head.inner, head.threshold, weight, bias)


def distilled(logits: Tensor, told: Tensor, temperature: float = 2.0) -> Tensor:
    """Mean cross-entropy of `logits` against what was told, both softened by `temperature`."""
    wanted = (told / temperature).softmax(1)
    return -(wanted * (logits / temperature).log_softmax(1)).sum(1).mean()


def distilling(grown: Arrival, blend: Callable[[Tensor, Tensor], Tensor], loss: Loss) -> Objective:
    """The objective `blend(loss, distillation)`; the old classes' scores are distilled."""
    import torch

    told, old = grown.told(), torch.from_numpy(np.flatnonzero(grown.old))

    def objective(net: nn.Module, batch: Batch, _generator: torch.Generator) -> Tensor:
        scores = net(batch.x)
        return blend(loss(scores, batch.y), distilled(scores[:, old], told[batch.at]))

    return objective


def over_all(scores: Tensor, y: Tensor) -> Tensor:
    """Mean cross-entropy over all classes seen."""
    from torch.nn import functional

    return functional.cross_entropy(scores, y)


def over_new(grown: Arrival) -> Loss:
    """Mean cross-entropy over the new classes alone: rows of these say nothing of the old.

    Over all where there is but one new class, or where rows of old ones are learnt too.
    """
    import torch

    new = np.flatnonzero(~grown.old)
    if len(new) < 2 or not np.isin(grown.data.y, new).all():
        return over_all
    columns, place = torch.from_numpy(new), torch.from_numpy(np.cumsum(~grown.old) - 1)
    return lambda scores, y: over_all(scores[:, columns], place[y])


def checked(hidden: int, steps: int, exemplars: int = 0) -> None:
    """Raise ValueError, with what is allowed, for sizes that make no head."""
    if hidden < 1 or steps < 1 or exemplars < 0:
        raise ValueError(
            f"hidden is {hidden}, steps {steps}, exemplars {exemplars}; "
            "the first two must be at least 1, the last at least 0"
        )
