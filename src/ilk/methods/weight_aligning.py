"""Weight aligning: after each task, new classes' weights are scaled to the norm of old ones.

Bowen Zhao, Xi Xiao, Guojun Gan, Bin Zhang, Shu-Tao Xia, 2020, Maintaining Discrimination and
Fairness in Class Incremental Learning, arXiv 1911.07053.

    rows        the new ones and herded exemplars of the old classes
    minimize    (1 - l) CE(f(x), y) + l KD(f_old(x), f(x)),  l = old classes / all classes, T = 2
    then        W_new <- gamma W_new,  gamma = mean |w| of the old rows / mean |w| of the new rows

gamma corrects the bias towards new classes, whose weights are larger where old classes have few
exemplars. Where they are smaller (many exemplars, or new classes that are easy to tell apart),
there is no such bias and gamma is 1, because enlarging them would make one. Biases are not scaled.
As in the paper, output weights are kept at 0 or above during training, like the hidden units, so
that the norm of a row reflects the logits of its class.
"""

from __future__ import annotations

from dataclasses import dataclass, replace
from typing import TYPE_CHECKING

import numpy as np
from numpy.typing import NDArray

from ilk.core.contracts import MethodTags, labelled_features
from ilk.core.data import Data, Features, Labels
from ilk.core.exemplar_mlp import ExemplarMLP
from ilk.core.linear_models import MLP
from ilk.training.class_incremental_head import (
    IncrementalHead,
    check_sizes,
    make_incremental_head,
    train_incremental,
)
from ilk.training.continual import (
    append_exemplars,
    attach_exemplars,
    select_update_rows,
    update_exemplars,
)

if TYPE_CHECKING:
    from ilk.training.objective import Objective


@dataclass(frozen=True)
class WeightAligning(MethodTags):
    """An incremental head with exemplars and distillation.

    Attributes:
        exemplars: Total number of exemplars, >= 0.
        align: Scale new weights that are larger than the old ones down to them; otherwise there is
            only distillation.
        clip: Keep the output weights at 0 or above.
        hidden: Number of hidden units, >= 1.
        steps: Number of updates per task, >= 1.
        seed: Seed of weights and batches.
    """

    weighted_loss = True

    exemplars: int = 200
    align: bool = True
    clip: bool = True
    hidden: int = 64
    steps: int = 300
    seed: int = 0

    def __post_init__(self) -> None:
        check_sizes(self.hidden, self.steps, self.exemplars)

    def fit(self, data: Data) -> ExemplarMLP:
        from ilk.training.objectives.cross_entropy import CrossEntropy

        rows = labelled_features(data, self)
        increment = make_incremental_head(rows, None, self.hidden, self.seed)
        head = self._train(increment, CrossEntropy())
        return attach_exemplars(head, *update_exemplars(head, rows, self.exemplars))

    def update(self, model: ExemplarMLP, data: Data) -> ExemplarMLP:
        """Return the model updated with the labelled rows of `data`, or `model` if there are none.

        Raises:
            ValueError: `data` has another number of classes than `model`.
        """
        from ilk.training.objectives.distillation import make_distillation

        rows = select_update_rows(len(model.bias), data, self)
        if rows is None:
            return model
        increment = make_incremental_head(
            append_exemplars(rows, model), model, self.hidden, self.seed
        )
        old_fraction = float(np.mean(increment.is_old)) if not increment.is_old.all() else 0.5
        weights = (1 - old_fraction, old_fraction)
        head = self._train(increment, make_distillation(increment, weights))
        old, new = increment.class_ids[increment.is_old], increment.class_ids[~increment.is_old]
        if self.align and len(new):
            head = replace(head, weight=align_weights(head.weight, new, old))
        return attach_exemplars(head, *update_exemplars(head, rows, self.exemplars, model))

    def _train(self, increment: IncrementalHead, objective: Objective) -> MLP:
        """The head after training; its output weights at 0 or above if they are clipped."""
        from ilk.training.objectives.nonnegative_output import NonNegativeOutput

        if not self.clip:
            return train_incremental(increment, objective, self.steps, self.seed)
        head = train_incremental(increment, NonNegativeOutput(objective), self.steps, self.seed)
        return replace(head, weight=np.maximum(head.weight, np.float32(0)))


def align_weights(weight: Features, new: Labels, old: Labels) -> Features:
    """Return `weight [k, h]` with its rows `new` scaled down to the mean norm of its rows `old`.

    New rows whose mean norm is at most that of the old ones stay as they are.
    """
    aligned = weight.copy()
    aligned[new] /= np.float32(max(1.0, compute_norm_ratio(weight[new], weight[old])))
    return aligned


def compute_norm_ratio(
    new: Features | NDArray[np.float64], old: Features | NDArray[np.float64]
) -> float:
    """Return the mean norm of the rows of `new [m, h]` over that of `old [n, h]`; 1 if one is 0."""
    new_norm, old_norm = (float(np.linalg.norm(w, axis=1).mean()) for w in (new, old))
    return new_norm / old_norm if new_norm > 0 and old_norm > 0 else 1.0
