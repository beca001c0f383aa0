"""EnsLoss: a head trained under a random convex calibrated loss in every update.

Ben Dai, 2024, EnsLoss: Stochastic Calibrated Loss Ensembles for Preventing Overfitting in
Classification, arXiv 2409.00908. A gradient step needs no loss, only its derivative g at each
margin z of the batch, so derivatives are drawn (`ilk.training.objectives.convex_ensemble`):

    g = -min((1 + power e)_+ ^ (1 / power), 1)    e ~ N(0, 1)   (power 0: -min(exp e, 1)), sorted so
                                                  that the smallest margin has the most negative one
                                                  (non-decreasing: a convex loss)
    g <- g - 1e-6                                 (g < 0, at 0 too; with convexity: calibrated)
    g <- g / z^2 where z > 1                      (bounded for large margins)

The power is 0 for ten epochs, then drawn from [-1, 1] every ten. The paper is binary. With k
classes the margins are z = f_y - f_c for every other class c, which for two is the binary one;
Zhang, 2004, Statistical Analysis of Some Multi-Category Large Margin Classification Methods, shows
that such a sum of decreasing convex losses of pairs is consistent. A head trained under many losses
has no calibrated probabilities, so its logits are multiplied by one factor, fitted on the held-out
fifth of the rows of a second head.
"""

from __future__ import annotations

from dataclasses import dataclass, replace
from typing import TYPE_CHECKING

import numpy as np

from ilk.core.contracts import MethodTags, labelled_features
from ilk.core.data import Data
from ilk.core.linear_models import MLP
from ilk.maths import folds
from ilk.maths.inverse_temperature import fit_inverse_temperature

if TYPE_CHECKING:
    from ilk.training.objective import Objective
    from ilk.training.recipe import Recipe

EPOCHS = 40
MAX_FOLDS = 5
EPOCHS_PER_POWER = 10


@dataclass(frozen=True)
class EnsLoss(MethodTags):
    """A head of one hidden layer under a random loss for every batch.

    Attributes:
        power: Power of the Box-Cox transform whose inverse makes the draws positive, in [-1, 1].
            Half of the derivatives are at their bound of -1 whatever it is; the smaller it is, the
            further the others are from 0. None draws it anew every ten epochs.
        ordered: Sort the derivatives by margin; otherwise their order is random and the loss is not
            convex, as a control.
        hidden: Number of hidden units, >= 1.
        seed: Seed of weights, order and losses.
    """

    weighted_loss = True

    power: float | None = None
    ordered: bool = True
    hidden: int = 256
    seed: int = 0

    def __post_init__(self) -> None:
        if self.power is not None and not -1 <= self.power <= 1:
            raise ValueError(f"power is {self.power}; it must lie between -1 and 1")
        if self.hidden < 1:
            raise ValueError(f"hidden is {self.hidden}; at least 1 unit is needed")

    def fit(self, data: Data) -> MLP:
        known = labelled_features(data, self)
        model, factor = self._train(known), self._calibrate(known)
        return replace(
            model,
            weight=(factor * model.weight).astype(np.float32),
            bias=(factor * model.bias).astype(np.float32),
        )

    def _train(self, known: Data) -> MLP:
        from ilk.training.heads import Head, fit_head

        net = Head.from_data(known, self.hidden, self.seed)
        for part in net.output_layer.parameters():
            part.data.zero_()  # so that a class without rows does not affect the others
        recipe = make_recipe(len(known), self.seed)
        return fit_head(net, known, self.make_objective(len(known)), recipe).to_model()

    def make_objective(self, n: int) -> Objective:
        """Return the loss that training on `n` rows minimizes."""
        from ilk.training.objectives.convex_ensemble import ConvexEnsemble

        updates_per_epoch = max(1, n // make_recipe(n, self.seed).batch_size)
        return ConvexEnsemble(self.power, self.ordered, EPOCHS_PER_POWER * updates_per_epoch)

    def _calibrate(self, known: Data) -> float:
        """The factor that calibrates the logits, from held-out rows; 1 if there are none."""
        n_folds = folds.count_folds(known.y, MAX_FOLDS, known.group)
        if n_folds < 2 or np.sum(known.count_labels() > 0) < 2:
            return 1.0
        is_held_out = folds.assign_folds(known.y, n_folds, self.seed, known.group) == 0
        scores = self._train(known.take(~is_held_out)).logits(known.x[is_held_out])
        present = np.flatnonzero(np.isfinite(scores[0]))
        rows = np.isin(known.y[is_held_out], present)
        return fit_inverse_temperature(
            scores[rows][:, present], np.searchsorted(present, known.y[is_held_out][rows])
        )


def make_recipe(n: int, seed: int) -> Recipe:
    """Return the hyperparameters of training a head on `n` rows."""
    from ilk.training.heads import BATCH_SIZE, count_steps
    from ilk.training.recipe import Recipe

    return Recipe(count_steps(n, EPOCHS), min(BATCH_SIZE // 2, n), 4e-3, 20, seed=seed)
