"""A head under a random convex loss in every update, each of them one that learns the right rule.

Ben Dai, 2024, EnsLoss: Stochastic Calibrated Loss Ensembles for Preventing Overfitting in
Classification, arXiv 2409.00908. A gradient step needs no loss, only its derivative g at each
margin z of the batch, so a derivative is drawn:

    g = -(1 + power e)_+ ^ (1 / power), e ~ N(0, 1)   (power 0: -exp e): drawn, then sorted so that
    the smallest margin has the most negative one    (non-decreasing: a convex loss)
    g < 0 everywhere, at 0 too                       (with convexity: calibrated for the 0-1 loss)
    g <- g / z^2 where z > 1                         (the loss of a large margin stays bounded)

The paper is binary. With k classes the margins are z = f_y - f_c for every other class c, which for
two is the binary one; Zhang, 2004, Statistical Analysis of Some Multi-Category Large Margin
Classification Methods, shows that such a sum of decreasing convex losses of pairs is consistent.
Derivatives are scaled to a mean of -1 in each batch, which no convexity or calibration hangs on and
which keeps the step's length; the exponent of the tail is ours. A head that was trained under no
single loss says nothing of odds, so its scores are brought to probabilities by one factor, from a
twin that a fifth of the rows was held out of.

On small heads (`ilk bench losses`) it beats the hinge loss and ties or trails the logistic and the
exponential one; weights in no order do as well, so that what helps there is not the ensemble of
convex losses: the average over a run leaves a single hidden layer little noise to gain from.
"""

from __future__ import annotations

from dataclasses import dataclass, replace
from typing import TYPE_CHECKING, cast

import numpy as np

from ilk.data import Data
from ilk.maths import folds
from ilk.maths.sharpness import sharpness
from ilk.models import Facts, Perceptron, learnable

if TYPE_CHECKING:
    from torch import Generator, Tensor, nn

    from ilk.training.heads import Head
    from ilk.training.loop import Batch, Recipe

LEAST = 1e-3  # of the mean, the derivative that a draw of 0 is taken for: strictly negative
PASSES = 40
PARTS = 5


@dataclass(frozen=True)
class EnsLoss(Facts):
    """One hidden layer under losses drawn anew for every batch.

    Attributes:
        power: Of the Box-Cox transform whose inverse makes the draws positive, in [0, 1]: 0 gives
            long tails like the exponential loss, 1 short ones like the hinge.
        ordered: Larger margins get smaller pulls; otherwise the same numbers come in any order,
            which is no convex loss, as a control.
        hidden: Units of the hidden layer, >= 1.
        seed: Draws weights, order and losses.
    """

    power: float = 0.0
    ordered: bool = True
    hidden: int = 256
    seed: int = 0

    def __post_init__(self) -> None:
        if not 0 <= self.power <= 1:
            raise ValueError(f"power is {self.power}; it must lie between 0 and 1")
        if self.hidden < 1:
            raise ValueError(f"hidden is {self.hidden}; at least 1 unit is needed")

    def fit(self, data: Data) -> Perceptron:
        known = learnable(data, self)
        made, factor = self._learnt(known), self._sharpness(known)
        return replace(
            made,
            weight=(factor * made.weight).astype(np.float32),
            bias=(factor * made.bias).astype(np.float32),
        )

    def objective(self, network: nn.Module, batch: Batch, generator: Generator) -> Tensor:
        """The margins of a batch times derivatives drawn for it: its gradient is what is wanted."""
        seen = cast("Head", network).seen
        z = margins(network(batch.x)[:, seen], seen.cumsum(0)[batch.y] - 1)
        return (drawn(z.detach(), generator, self.power, self.ordered) * z).sum() / len(batch)

    def _learnt(self, known: Data) -> Perceptron:
        from ilk.training.heads import Head, fitted

        net = Head.of(known, self.hidden, self.seed)
        for part in net.outer.parameters():
            part.data.zero_()  # no class is drawn for, so one without a row changes nothing
        return fitted(net, known, self.objective, recipe(len(known), self.seed)).model()

    def _sharpness(self, known: Data) -> float:
        """What makes probabilities of the scores, from rows held out; 1 where there are none."""
        made = folds.count(known.y, PARTS)
        if made < 2 or np.sum(known.counts() > 0) < 2:
            return 1.0
        out = folds.stratified(known.y, made, self.seed) == 0
        scores = self._learnt(known.rows(~out)).logits(known.x[out])
        seen = np.flatnonzero(np.isfinite(scores[0]))
        rows = np.isin(known.y[out], seen)
        return sharpness(scores[rows][:, seen], np.searchsorted(seen, known.y[out][rows]))


def recipe(n: int, seed: int) -> Recipe:
    """How a head on `n` rows is trained."""
    from ilk.training.heads import BATCH, steps
    from ilk.training.loop import Recipe

    return Recipe(steps(n, PASSES), min(BATCH // 2, n), 4e-3, 20, seed=seed)


def margins(logits: Tensor, y: Tensor) -> Tensor:
    """How far the true class is ahead of each other one, `[n (k - 1)]`, of logits `[n, k]`."""
    import torch

    own = logits.gather(1, y[:, None])
    other = torch.ones_like(logits, dtype=torch.bool).scatter(1, y[:, None], False)
    return (own - logits)[other]


def drawn(z: Tensor, generator: Generator, power: float = 0.0, ordered: bool = True) -> Tensor:
    """A derivative of a convex calibrated loss at each of the margins `z [m]`, `[m]`, below 0."""
    import torch

    if not len(z):  # a single class: nothing to tell apart
        return z

    e = torch.randn(z.shape, generator=generator, dtype=torch.float64)
    pull = (1 + power * e).clamp(min=0) ** (1 / power) if power else e.exp()
    pull = pull + LEAST
    if ordered:
        pull = torch.empty_like(pull).scatter(0, z.argsort(), pull.sort(descending=True).values)
    pull = pull / z.double().clamp(min=1) ** 2
    return -(pull / pull.mean()).to(z.dtype)
