"""Contrastive hidden units in which large classes are cut into subclasses as small as the tail.

Chengkai Hou, Jieyu Zhang, Haonan Wang, Tianyi Zhou, 2023, Subclass-balancing Contrastive Learning
for Long-tailed Recognition, arXiv 2306.15925. With unit hidden vectors z, S the rows of the
anchor's subclass, Y those of its class (the anchor i itself is in neither), A all others:

    m_c = n_c // max(least n, size) subclasses of class c, of equal size, from k-means on z
    L = - mean_{p in S} log( e(z_i z_p / t) / sum_{a in A} e(z_i z_a / t) )
        - beta mean_{p in Y - S} log( e(z_i z_p / t_c) / sum_{a in A - S} e(z_i z_a / t_c) )
    t_c = t exp( f_c / mean f ),  f_c = mean |z - mean_c| / log(n_c + 10)

then the hidden units stay and a last layer is learnt on them in which all classes are alike.

Where we depart: the paper trains an encoder on two crops of an image; here an encoder is given, a
single layer is trained on its features, and the two views are the features with a share of them
struck out. Its first passes without subclasses are left out, since given features cluster from the
start; the centres of k-means take the most similar rows first, none more than its share.
A class that stays whole is its own only subclass, and has no second line.

On frozen features (`ilk bench unbalanced`) the head beats reweighted cross-entropy on the wider
sets, but subclasses are no better there than whole classes or random ones, and the regression with
the prior taken off serves rare classes as well or better without any head: one layer on given
features has little of the structure of a class left to find.
"""

from __future__ import annotations

from dataclasses import dataclass, replace
from typing import TYPE_CHECKING, Any

import numpy as np
from numpy.typing import NDArray

from ilk.data import Data, Labels
from ilk.maths.even_clusters import subclasses
from ilk.maths.regression import log_shares, regression
from ilk.models import Facts, Linear, Perceptron, learnable

if TYPE_CHECKING:
    from torch import Generator, Tensor, nn

    from ilk.training.heads import Head
    from ilk.training.loop import Batch

STRUCK = 0.2  # share of the features that a view does without
BETA = 0.2


@dataclass(frozen=True)
class SubclassContrastive(Facts):
    """Contrastive learning of subclasses and classes, then a classifier that balances classes.

    Attributes:
        size: Rows that a subclass has at least, >= 1; more than any class has leaves all classes
            whole, which is supervised contrastive learning.
        clustered: Subclasses are clusters; otherwise they are drawn, of the same sizes, as a
            control.
        every: Updates between one clustering and the next, >= 1.
        temperature: Of the cosines, > 0.
        hidden: Units of the layer that is learnt.
        steps: Updates of that layer, >= 1.
        seed: Draws weights, order, views and subclasses.
    """

    size: int = 10
    clustered: bool = True
    every: int = 50
    temperature: float = 0.1
    hidden: int = 256
    steps: int = 150
    seed: int = 0

    def __post_init__(self) -> None:
        for name in ("size", "every", "hidden", "steps"):
            if getattr(self, name) < 1:
                raise ValueError(f"{name} is {getattr(self, name)}; it must be at least 1")
        if not 0 < self.temperature < np.inf:
            raise ValueError(f"temperature is {self.temperature}; it must be above 0 and finite")

    def fit(self, data: Data) -> Perceptron:
        from ilk.training.heads import BATCH, Head, fitted
        from ilk.training.loop import Recipe

        known = learnable(data, self)
        net = Head.of(known, self.hidden, self.seed)
        recipe = Recipe(self.steps, min(BATCH // 2, len(known)), 4e-3, 20, seed=self.seed)
        net = fitted(net, known, _TwoLayers(self, net, known), recipe)
        return balanced(net, known, self.seed)


def balanced(net: Head, known: Data, seed: int = 0) -> Perceptron:
    """The hidden units of `net` under a last layer of their own, in which all classes are alike.

    The layer is a softmax regression on the hidden units, its strength chosen on held-out folds,
    with the log shares of the classes taken off.
    """
    made = net.model()
    h = made.hidden(known.x).astype(np.float32)
    last = regression(h, known.y, known.k, seed=seed)
    bias = last.bias - log_shares(known.y, known.k)
    top = Linear.about(last.centre, last.weight, bias)
    return replace(made, weight=top.weight, bias=top.bias)


class _TwoLayers:
    """The objective; it remembers each row's subclass and makes them anew now and then."""

    def __init__(self, method: SubclassContrastive, net: Head, known: Data) -> None:
        from ilk.training.heads import batch

        self.method, self.net, self.y = method, net, known.y
        self.whole = batch(net, known).x
        self.rng = np.random.default_rng(method.seed)
        self.subclass = np.zeros(0, np.int64)
        self.calls = 0

    def __call__(self, _network: nn.Module, batch: Batch, generator: Generator) -> Tensor:
        import torch

        assert batch.at is not None, "the training loop tells which rows a batch holds"
        if self.calls % self.method.every == 0:
            self._cluster()
        self.calls += 1
        x = torch.cat([batch.x, batch.x])
        kept = torch.rand(x.shape, generator=generator) >= STRUCK
        z = torch.nn.functional.normalize(self.net.hidden(x * kept / (1 - STRUCK)))
        subclass = torch.from_numpy(self.subclass)[batch.at]
        cool = self.method.temperature
        return two_layers(
            z, batch.y.repeat(2), subclass.repeat(2), cool, cool * self.warmth[batch.y].repeat(2)
        )

    def _cluster(self) -> None:
        import torch

        with torch.no_grad():
            z = torch.nn.functional.normalize(self.net.hidden(self.whole)).double().numpy()
        self.subclass = subclasses(z, self.y, self.method.size, self.subclass, self.rng)
        if not self.method.clustered:
            for c in np.unique(self.y):
                rows = self.y == c
                self.subclass[rows] = self.rng.permutation(self.subclass[rows])
        self.warmth = torch.from_numpy(_warmth(z, self.y).astype(np.float32))


def two_layers(z: Tensor, y: Tensor, subclass: Tensor, near: float, far: Tensor) -> Tensor:
    """The loss of unit rows `z [n, h]`; `far [n]` is the temperature of each row's second line.

    A row without a positive on a line adds nothing there.
    """
    import torch

    itself = torch.eye(len(z), dtype=torch.bool)
    same = (subclass[:, None] == subclass) & ~itself
    kin = (y[:, None] == y) & ~itself & ~same
    cosines = z @ z.T
    first = _drawn(cosines / near, same, ~itself)
    second = _drawn(cosines / far[:, None], kin, ~itself & ~same)
    return (first + BETA * second) / len(z)


def _drawn(scores: Tensor, positive: Tensor, among: Tensor) -> Tensor:
    """Sum over rows of minus the mean log share that their positives have among others."""
    log_share = scores - scores.masked_fill(~among, -1e9).logsumexp(1, keepdim=True)
    number = positive.sum(1)
    return -((log_share * positive).sum(1) / number.clamp(min=1)).sum()


def _warmth(z: NDArray[np.float64], y: Labels) -> NDArray[Any]:
    """By what each class's second temperature is more than the first, `[k]`: loose ones most."""
    spread = np.zeros(int(y.max()) + 1)
    for c in np.unique(y):
        own = z[y == c]
        spread[c] = np.linalg.norm(own - own.mean(0), axis=1).mean() / np.log(len(own) + 10)
    mean = spread[np.unique(y)].mean()
    return np.exp(spread / mean) if mean > 0 else np.ones(len(spread))
