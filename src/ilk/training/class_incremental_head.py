"""A head for class-incremental learning: new outputs beside the previous model's weights.

incremental = make_incremental_head(rows, previous, hidden, seed)
objective = make_distillation(incremental, (1.0, 3.0))  # ilk.training.objectives.distillation
model = train_incremental(incremental, objective, steps, seed)
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from typing import TYPE_CHECKING, Protocol

import numpy as np
from numpy.typing import NDArray

from ilk.core.data import Data, Labels
from ilk.core.linear_models import MLP

if TYPE_CHECKING:
    from torch import Tensor

    from ilk.architectures.head import Head
    from ilk.training.objective import LossFunction, Objective

    Loss = Callable[[Tensor, Tensor, Tensor | None], Tensor]

MIN_SCALE_RATIO = 1.0  # of the mean standard deviation: features may vary more in later classes
BATCH_SIZE, WARMUP, LEARNING_RATE, WEIGHT_DECAY = 128, 20, 4e-3, 0.01


class HeadMethod(Protocol):
    """A method that trains a head: its size, the number of updates and the seed."""

    @property
    def hidden(self) -> int: ...
    @property
    def steps(self) -> int: ...
    @property
    def seed(self) -> int: ...


@dataclass(frozen=True, eq=False)
class IncrementalHead:
    """A head before training, for the classes that have occurred so far.

    Attributes:
        head: The head, with the weights of the previous model if there is one.
        data: Training rows, their classes numbered as in the head.
        class_ids: Positions of these classes in the full list, `[s]` int64, increasing.
        is_old: Which of them the previous model knew, `[s]`.
        n_classes: Length of the full list.
        previous: The previous model.
    """

    head: Head
    data: Data
    class_ids: Labels
    is_old: NDArray[np.bool_]
    n_classes: int
    previous: MLP | None

    def compute_old_logits(self) -> Tensor:
        """Return the previous model's logits of the rows, `[n, old]`.

        Raises:
            ValueError: There is no previous model.
        """
        import torch

        if self.previous is None:
            raise ValueError("there is no previous model")
        scores = self.previous.logits(self.data.x)[:, self.class_ids[self.is_old]]
        return torch.from_numpy(scores.astype(np.float32))


def make_incremental_head(
    rows: Data, previous: MLP | None, hidden: int, seed: int
) -> IncrementalHead:
    """Return a head for the classes of `rows` and those that `previous` knew.

    Features are standardized over the first rows. New classes start from random weights.

    Args:
        rows: Labelled features.
        previous: The model to continue from, or None.
        hidden: Hidden units, where there is no previous model.
        seed: Seed of the weights, together with the number of classes.
    """
    from ilk.architectures.head import Head

    is_old = np.zeros(rows.k, bool) if previous is None else np.isfinite(previous.bias)
    class_ids = np.flatnonzero(is_old | (rows.count_labels() > 0))
    names = tuple(rows.classes[c] for c in class_ids)
    data = Data(rows.x, np.searchsorted(class_ids, rows.y), names, weight=rows.weight)
    width = hidden if previous is None else len(previous.hidden_weight)
    net = Head.from_data(data, width, seed + len(class_ids))
    net.present.fill_(True)
    if previous is None:
        net.scale.clamp_(min=MIN_SCALE_RATIO * float(data.x.std(0, dtype=np.float64).mean()))
    else:
        _copy_weights(net, previous, is_old[class_ids], class_ids)
    return IncrementalHead(net, data, class_ids, is_old[class_ids], rows.k, previous)


def _copy_weights(net: Head, previous: MLP, is_old: NDArray[np.bool_], class_ids: Labels) -> None:
    """Copy the weights of the previous model into `net`, for the classes that it knew."""
    import torch

    positions = torch.from_numpy(np.flatnonzero(is_old))
    with torch.no_grad():
        for buffer, name in ((net.centre, "centre"), (net.scale, "scale")):
            buffer.copy_(torch.from_numpy(np.array(getattr(previous, name))))
        net.hidden_layer.weight.copy_(torch.from_numpy(np.array(previous.hidden_weight)))
        net.hidden_layer.bias.copy_(torch.from_numpy(np.array(previous.hidden_bias)))
        net.output_layer.weight[positions] = torch.from_numpy(previous.weight[class_ids[is_old]])
        net.output_layer.bias[positions] = torch.from_numpy(previous.bias[class_ids[is_old]])


def train_incremental(
    incremental: IncrementalHead, objective: Objective | LossFunction, steps: int, seed: int
) -> MLP:
    """Train the head; return it as a model of the full list of classes."""
    from ilk.training.heads import fit_head
    from ilk.training.trainer import Recipe

    batch_size = min(BATCH_SIZE, len(incremental.data))
    recipe = Recipe(
        steps,
        batch_size,
        LEARNING_RATE,
        WARMUP,
        WEIGHT_DECAY,
        seed=seed + len(incremental.class_ids),
    )
    head = fit_head(incremental.head, incremental.data, objective, recipe).to_model()
    weight = np.zeros((incremental.n_classes, head.weight.shape[1]), np.float32)
    bias = np.full(incremental.n_classes, -np.inf, np.float32)
    weight[incremental.class_ids], bias[incremental.class_ids] = head.weight, head.bias
    return MLP(head.centre, head.scale, head.hidden_weight, head.hidden_bias, weight, bias)


def train_by_cross_entropy(rows: Data, previous: MLP | None, method: HeadMethod) -> MLP:
    """Return a head trained on labelled `rows` by cross-entropy over all classes seen.

    Args:
        rows: Labelled features.
        previous: The model to continue from; None starts a new head.
        method: Gives the size of the head, the number of updates and the seed.
    """
    from ilk.training.losses import cross_entropy

    incremental = make_incremental_head(rows, previous, method.hidden, method.seed)
    return train_incremental(incremental, cross_entropy, method.steps, method.seed)


def make_new_class_loss(incremental: IncrementalHead) -> Loss:
    """Return the cross-entropy over the new classes alone: their rows say nothing of the old ones.

    It is over all classes where there is a single new class, or where rows of old ones are learned
    too.
    """
    import torch

    from ilk.training.losses import mean_cross_entropy

    new_classes = np.flatnonzero(~incremental.is_old)
    if len(new_classes) < 2 or not np.isin(incremental.data.y, new_classes).all():
        return mean_cross_entropy
    columns = torch.from_numpy(new_classes)
    position = torch.from_numpy(np.cumsum(~incremental.is_old) - 1)

    def new_class_loss(scores: Tensor, y: Tensor, weight: Tensor | None = None) -> Tensor:
        return mean_cross_entropy(scores[:, columns], position[y], weight)

    return new_class_loss


def check_sizes(hidden: int, steps: int, exemplars: int = 0, strength: float = 0.0) -> None:
    """Check the hyperparameters of a head.

    Raises:
        ValueError: One is out of range, naming the range.
    """
    if hidden < 1 or steps < 1 or exemplars < 0:
        raise ValueError(
            f"hidden is {hidden}, steps {steps}, exemplars {exemplars}; "
            "the first two must be at least 1, the last at least 0"
        )
    if not strength >= 0:
        raise ValueError(f"strength is {strength}; it must be at least 0")
