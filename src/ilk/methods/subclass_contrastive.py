"""Contrastive hidden units with large classes split into subclasses as small as the tail classes.

Chengkai Hou, Jieyu Zhang, Haonan Wang, Tianyi Zhou, 2023, Subclass-balancing Contrastive Learning
for Long-tailed Recognition, arXiv 2306.15925. Every row has two views; with unit hidden vectors z,
v the other view of the anchor i, S the views of the anchor's subclass (v among them), Y those of
its class, A all others (i itself is in none of them):

    m_c = n_c // max(least n, min_subclass_size) subclasses of class c, of equal size, from k-means
    L = - t / t_0 mean_{p in S} log( e(z_i z_p / t) / sum_{a in A} e(z_i z_a / t) )
        - beta mean_{p in Y - S + v} log( e(z_i z_p / t_c) / sum_{a in A - S + v} e(z_i z_a / t_c) )
    t_c = t exp( f_c / mean f ),  f_c = mean |z - mean_c| / log(n_c + 10)

(`ilk.training.objectives.two_level_contrastive`). Then an output layer that balances the classes is
fitted to the hidden units.

Departures: the paper trains an encoder on two crops of an image; here a single layer is trained on
frozen features, and the two views are the features with random ones set to 0. The first epochs
without subclasses are left out, since the given features cluster from the start; the centres of
k-means take the most similar rows first, none more than its quota. A class that is not split is its
own only subclass; in its second term the only positive is the other view.
"""

from __future__ import annotations

from dataclasses import dataclass, replace
from typing import TYPE_CHECKING

import numpy as np

from ilk.core.contracts import MethodTags, labelled_features
from ilk.core.data import Data
from ilk.core.linear_models import MLP, Linear
from ilk.maths.logistic_regression import compute_label_log_prior, fit_regression

if TYPE_CHECKING:
    from ilk.training.heads import Head


@dataclass(frozen=True)
class SubclassContrastive(MethodTags):
    """Contrastive learning of subclasses and classes, then a class-balanced output layer.

    Attributes:
        min_subclass_size: Smallest size of a subclass, >= 1; more than the size of every class
            leaves classes whole, which with `beta` 0 is supervised contrastive learning.
        use_clusters: Subclasses are clusters; otherwise random rows, of the same sizes, as a
            control.
        cluster_every: Updates between clusterings, >= 1.
        temperature: Temperature of the cosines, > 0.
        hidden: Number of hidden units, >= 1.
        steps: Number of updates of the hidden layer, >= 1.
        seed: Seed of weights, order, views and subclasses.
        beta: Weight of the loss of classes, >= 0, beside that of subclasses.
    """

    min_subclass_size: int = 10
    use_clusters: bool = True
    cluster_every: int = 50
    temperature: float = 0.1
    hidden: int = 256
    steps: int = 150
    seed: int = 0
    beta: float = 0.2

    def __post_init__(self) -> None:
        for name in ("min_subclass_size", "cluster_every", "hidden", "steps"):
            if getattr(self, name) < 1:
                raise ValueError(f"{name} is {getattr(self, name)}; it must be at least 1")
        if not 0 < self.temperature < np.inf:
            raise ValueError(f"temperature is {self.temperature}; it must be above 0 and finite")
        if not 0 <= self.beta < np.inf:
            raise ValueError(f"beta is {self.beta}; it must be at least 0 and finite")

    def fit(self, data: Data) -> MLP:
        from ilk.training.heads import BATCH_SIZE, Head, fit_head
        from ilk.training.objectives.two_level_contrastive import TwoLevelContrastive
        from ilk.training.recipe import Recipe

        known = labelled_features(data, self)
        net = Head.from_data(known, self.hidden, self.seed)
        recipe = Recipe(self.steps, min(BATCH_SIZE // 2, len(known)), 4e-3, 20, seed=self.seed)
        objective = TwoLevelContrastive(
            self.min_subclass_size,
            self.use_clusters,
            self.cluster_every,
            self.temperature,
            self.seed,
            self.beta,
        )
        net = fit_head(net, known, objective, recipe)
        return fit_balanced_layer(net, known, self.seed)


def fit_balanced_layer(net: Head, known: Data, seed: int = 0) -> MLP:
    """Return the hidden units of `net` with a class-balanced output layer.

    The layer is a softmax regression on the hidden units `[n, h]`, its penalty chosen by
    cross-validation, with the log-priors of the classes subtracted.
    """
    model = net.to_model()
    h = model.compute_hidden(known.x).astype(np.float32)
    result = fit_regression(replace(known, x=h), seed=seed)
    bias = result.bias - compute_label_log_prior(known)
    layer = Linear.from_centred(result.centre, result.weight, bias)
    return replace(model, weight=layer.weight, bias=layer.bias)
