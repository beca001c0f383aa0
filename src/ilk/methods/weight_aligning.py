"""Weight aligning: after each increment the new classes' weights are brought to the old ones' size.

Bowen Zhao, Xi Xiao, Guojun Gan, Bin Zhang, Shu-Tao Xia, 2020, Maintaining Discrimination and
Fairness in Class Incremental Learning, arXiv 1911.07053.

    rows        the new ones and herded exemplars of the old
    minimise    (1 - l) CE(f(x), y) + l KD(f_old(x), f(x)),  l = old classes / all classes, T = 2
    then        W_new <- gamma W_new,  gamma = mean |w| of the old rows / mean |w| of the new

Biases stay as they are; the last weights are kept at 0 or above while training, as are the hidden
units, so that a row's length speaks for its class. That is no detail: without it new rows are the
shorter ones under an adaptive optimiser (they have had fewer updates), though the head leans to new
classes all the same, and aligning makes it lean more. With many small tasks new rows are the
shorter ones even so, and distillation alone is better (`ilk bench growing`).
"""

from __future__ import annotations

from dataclasses import dataclass, replace
from typing import TYPE_CHECKING, Any

import numpy as np
from numpy.typing import NDArray

from ilk.data import Data, Features
from ilk.models import Facts, Perceptron, learnable
from ilk.training.arriving import Arrival, arrival, checked, distilling, over_all, taught
from ilk.training.continual import Remembering, recalled, remembered, remembering, to_learn

if TYPE_CHECKING:
    import torch

    from ilk.training.loop import Batch, Objective


@dataclass(frozen=True)
class WeightAligning(Facts):
    """A head that goes on with exemplars and distillation.

    Attributes:
        exemplars: Rows kept in all, >= 0.
        align: Bring the new weights to the old ones' size; without, distillation is alone.
        clip: Keep the last weights at 0 or above.
        hidden: Units of the hidden layer, >= 1.
        steps: Updates each time that classes come, >= 1.
        seed: Draws weights and batches.
    """

    exemplars: int = 200
    align: bool = True
    clip: bool = True
    hidden: int = 64
    steps: int = 300
    seed: int = 0

    def __post_init__(self) -> None:
        checked(self.hidden, self.steps, self.exemplars)

    def fit(self, data: Data) -> Remembering:
        from ilk.training.heads import cross_entropy

        rows = learnable(data, self)
        head = self._taught(arrival(rows, None, self.hidden, self.seed), cross_entropy)
        return remembered(head, *remembering(head, rows, self.exemplars))

    def update(self, model: Remembering, data: Data) -> Remembering:
        """The head after learning the labelled rows of `data`, if there are any.

        Raises:
            ValueError: The two do not have the same number of classes.
        """
        rows = to_learn(len(model.bias), data, self)
        if rows is None:
            return model
        grown = arrival(recalled(rows, model), model, self.hidden, self.seed)
        share = float(np.mean(grown.old)) if not grown.old.all() else 0.5  # labels count too
        blend = distilling(grown, lambda new, old: (1 - share) * new + share * old, over_all)
        head = self._taught(grown, blend)
        old, new = grown.seen[grown.old], grown.seen[~grown.old]
        if self.align and len(new):
            weight = head.weight.copy()
            weight[new] /= np.float32(norm_ratio(weight[new], weight[old]))
            head = replace(head, weight=weight)
        return remembered(head, *remembering(head, rows, self.exemplars, model))

    def _taught(self, grown: Arrival, objective: Objective) -> Perceptron:
        """The head after `objective`; where clipped, each update starts from weights of 0 up."""
        from torch import no_grad

        def clipped(net: Any, batch: Batch, generator: torch.Generator) -> torch.Tensor:
            with no_grad():
                net.outer.weight.clamp_(min=0)
            return objective(net, batch, generator)

        if not self.clip:
            return taught(grown, objective, self.steps, self.seed)
        head = taught(grown, clipped, self.steps, self.seed)
        return replace(head, weight=np.maximum(head.weight, np.float32(0)))


def norm_ratio(new: Features | NDArray[np.float64], old: Features | NDArray[np.float64]) -> float:
    """Mean length of the rows of `new` over that of the rows of `old`; 1 where either has none."""
    ours, theirs = (float(np.linalg.norm(w, axis=1).mean()) for w in (new, old))
    return ours / theirs if ours > 0 and theirs > 0 else 1.0
