"""One head a source domain on shared hidden units; each row is answered by the heads that fit it.

Yi-Fan Zhang, Jindong Wang, Jian Liang, Zhang Zhang, Baosheng Yu, Liang Wang, Dacheng Tao, Xing Xie,
2023, Domain-Specific Risk Minimization for Out-of-Distribution Generalization, arXiv 2208.08661.
Domains are those of `Data.domain`. With h the hidden units, heads g_1 … g_D of a domain each and a
pooled head g_0,

    loss = mean over domains d of [CE(g_d(h), y) + CE(g_0(h), y)] / 2   on the rows of d
    p(c | x) = sum_d w_d softmax(g_d(h))_c,   w_d proportional to gap_d^-gamma
    gap_d = entropy of softmax(g_d(h)),   or 1 - cos(h, mean h of domain d)

of one row alone: the authors' program takes the entropy's mean over a batch, and with the cosine it
prefers the least similar domain. Heads' probabilities are mixed here, not their logits. One domain
leaves nothing to mix: the pooled head answers. The steps of entropy or pseudo-labels at test time
are left out.

In `ilk bench changed_world` the heads are level with pooled training where styles of pictures
differ, and their plain mean does as well as the weighing; on turned digits the weighing beats the
mean, and pooled training beats both: a head that saw one angle knows too little there.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

import numpy as np
from numpy.typing import NDArray

from ilk.data import Data, Features, Labels, Logits
from ilk.metrics import log_softmax, softmax
from ilk.models import Facts, Perceptron, affine, learnable, unit_rows

if TYPE_CHECKING:
    from torch import Generator, Tensor

    from ilk.training.loop import Batch, Objective

LEAST = 1e-6  # a gap of 0 would be all the weight there is


@dataclass(frozen=True, eq=False)
class DomainHeads:
    """A hidden layer, the pooled head and the heads of the domains.

    Attributes:
        centre, scale: How features are standardised, `[d]` float32.
        inner, threshold: The hidden layer, `[h, d]` and `[h]` float32.
        weight: `[1 + D, k, h]` float32; the pooled head first. D is 0 where there was one domain.
        bias: `[1 + D, k]` float32; `-inf` for a class never seen.
        means: Mean hidden units of each domain, `[D, h]` float32.
        gamma: How much a smaller gap counts.
        distance: Whether the gap is the distance, rather than the entropy.
    """

    centre: Features
    scale: Features
    inner: Features
    threshold: Features
    weight: Features
    bias: Features
    means: Features
    gamma: float
    distance: bool

    def logits(self, x: Features) -> Logits:
        """Log of the mixed probabilities, `[n, k]` float64; `-inf` where never seen."""
        h, told = self._told(x)
        if len(told) == 1:
            return np.asarray(told[0])
        own = told[1:]
        weight = softmax(-self.gamma * np.log(np.maximum(self._gaps(h, own), LEAST)), axis=0)
        shares = np.einsum("dn,dnk->nk", weight, np.exp(own))
        mixed = np.log(np.maximum(shares, 1e-300))
        return np.where(np.isfinite(self.bias[0]), mixed, -np.inf)

    def heads(self, x: Features) -> Logits:
        """Log probabilities of every head, `[1 + D, n, k]`; the pooled one first."""
        return self._told(x)[1]

    def _told(self, x: Features) -> tuple[NDArray[np.float64], Logits]:
        first = Perceptron(
            self.centre, self.scale, self.inner, self.threshold, self.weight[0], self.bias[0]
        )
        h = first.hidden(x)
        told = [affine(h, w, b) for w, b in zip(self.weight, self.bias, strict=True)]
        return h, np.asarray(log_softmax(np.stack(told), axis=2))

    def _gaps(self, h: NDArray[np.float64], own: Logits) -> NDArray[np.float64]:
        if self.distance:
            return np.asarray(1 - unit_rows(self.means) @ unit_rows(h).T)
        own = own[:, :, np.isfinite(self.bias[0])]
        return np.asarray(-np.sum(np.exp(own) * own, axis=2))


@dataclass(frozen=True)
class DRM(Facts):
    """Domain-specific risk minimisation on frozen features.

    Attributes:
        gamma: How much heads with a smaller gap count, >= 0; 0 is their mean.
        distance: Weigh heads by the distance to their domain's mean, rather than by entropy.
        hidden: Hidden units, >= 1.
        passes: Over the labelled rows, > 0.
        decay: Weight decay, >= 0.
        seed: Draws weights and order.
    """

    uses_domains = True

    gamma: float = 1.0
    distance: bool = False
    hidden: int = 128
    passes: float = 30.0
    decay: float = 0.1
    seed: int = 0

    def __post_init__(self) -> None:
        if not (0 <= self.gamma < np.inf and 0 <= self.decay < np.inf):
            raise ValueError(
                f"gamma is {self.gamma}, decay {self.decay}; both must be finite, at least 0"
            )
        if self.hidden < 1 or not 0 < self.passes < np.inf:
            raise ValueError(f"hidden is {self.hidden}, passes {self.passes}; both must be above 0")

    def fit(self, data: Data) -> DomainHeads:
        from ilk.training.heads import BATCH, Head, fitted, steps
        from ilk.training.loop import Recipe

        known = learnable(data, self)
        names, domain = np.unique(known.domain, return_inverse=True)
        many = len(names) if len(names) > 1 else 0
        net = Head.of(known, self.hidden, self.seed)
        _branches(net, many)
        recipe = Recipe(
            steps(len(known), self.passes),
            min(BATCH, len(known)),
            4e-3,
            20,
            self.decay,
            seed=self.seed,
        )
        net = fitted(net, known, _objective(domain, many), recipe)
        return self._model(net, known, domain, many)

    def _model(self, net: Any, known: Data, domain: Labels, many: int) -> DomainHeads:
        pooled = net.model()
        h, seen = pooled.hidden(known.x), np.isfinite(pooled.bias)
        weight, bias = pooled.weight[None], pooled.bias[None]
        if many:
            shape = (many, known.k, self.hidden)
            own = net.own.weight.detach().numpy().reshape(shape)
            weight = np.concatenate([weight, np.where(seen[:, None], own, np.float32(0))])
            shift = net.own.bias.detach().numpy().reshape(shape[:2])
            bias = np.concatenate([bias, np.where(seen, shift, np.float32(-np.inf))])
        means = np.array([h[domain == d].mean(0) for d in range(many)])
        return DomainHeads(
            pooled.centre,
            pooled.scale,
            pooled.inner,
            pooled.threshold,
            weight.astype(np.float32),
            bias.astype(np.float32),
            means.reshape(many, self.hidden).astype(np.float32),
            self.gamma,
            self.distance,
        )


def _branches(net: Any, many: int) -> None:
    """Give `net` a head for each of `many` domains, `net.own`; none of 0."""
    from torch import nn

    if many:
        net.own = nn.Linear(net.outer.in_features, many * net.outer.out_features)
    for part in (net.outer, *((net.own,) if many else ())):
        nn.init.zeros_(part.weight)  # no class is drawn for, so one without a row changes nothing
        nn.init.zeros_(part.bias)


def _objective(domain: Labels, many: int) -> Objective:
    """The loss for the training loop, of rows that come from `domain [n]`, one of `many`."""
    import torch
    from torch.nn import functional

    where = torch.from_numpy(np.array(domain))

    def loss(net: Any, batch: Batch, _generator: Generator) -> Tensor:
        assert batch.at is not None, "a domain belongs to a row of the set, not of the batch"
        at, h = where[batch.at], net.hidden(batch.x)
        counts = torch.bincount(at)
        weight = 1 / (counts[at] * (counts > 0).sum())  # the mean over domains of their means
        lost = functional.cross_entropy(net.logits(h), batch.y, reduction="none")
        if many:
            own = net.own(h).view(len(h), many, -1)[torch.arange(len(h)), at]
            own = own.masked_fill(~net.seen, -1e4)
            lost = (lost + functional.cross_entropy(own, batch.y, reduction="none")) / 2
        return (weight * lost).sum()

    return loss
