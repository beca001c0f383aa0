"""Metrix: pairs of an anchor and a mixed example, whose label is mixed as well.

Shashanka Venkataramanan, Bill Psomas, Ewa Kijak, Laurent Amsaleg, Konstantinos Karantzalos, Yannis
Avrithis, 2022, It Takes Two to Tango: Mixup for Deep Metric Learning, arXiv 2106.04990, equations
6 to 13. A mixed example `v = lam x + (1 - lam) x'` of a positive x (or the anchor itself) and a
negative x' has the label lam for that anchor, and with the terms of the metric loss

    l(a) = sigma+( sum_v lam rho+(s_av) ) + sigma-( sum_v (1 - lam) rho-(s_av) )

in which rho and sigma are the identity and a margin for the contrastive loss, exponential and
logarithm for multi-similarity and proxy-anchor (whose anchors are proxies). lam is drawn from
Beta(alpha, alpha) for each mixed example, and the positive is the anchor itself in every other
update, as in the authors' code, by a draw. The total is `clean + weight mixed`.
"""

from __future__ import annotations

from typing import Any, ClassVar, cast

import torch
from torch import Tensor, nn
from torch.nn import functional

from ilk.core.errors import UnknownName
from ilk.training.batch import Batch
from ilk.training.metric_objective import EPSILON, ProxyObjective, WrappingObjective, embed
from ilk.training.objective import TrainingStep, unwrap
from ilk.training.objectives.contrastive_pairs import ContrastivePairs
from ilk.training.objectives.multi_similarity import MultiSimilarity
from ilk.training.objectives.proxy_anchor import ProxyAnchor

LEVELS = ("input", "feature", "embedding")
Paired = ContrastivePairs | MultiSimilarity | ProxyAnchor


class Metrix(WrappingObjective):
    """A metric loss on the batch, and `weight` times the same loss on mixed examples.

    Args:
        metric: The loss; None takes `MultiSimilarity()`.
        level: What is mixed: `input`, `feature` (the network's `forward_features`, before its
            `project`) or `embedding`, which is scaled to unit length again.
        weight: Weight of the mixed loss, >= 0.
        alpha: Of the Beta distribution of lam, > 0; None takes lam = 0.5.
    """

    TUNED: ClassVar = ("weight", (0.1, 0.4, 1.0))

    def __init__(
        self,
        metric: Paired | None = None,
        level: str = "embedding",
        weight: float = 0.4,
        alpha: float | None = 2.0,
    ) -> None:
        super().__init__()
        if level not in LEVELS:
            raise UnknownName("level of mixing", level, LEVELS)
        self.metric: Paired = MultiSimilarity() if metric is None else metric
        self.level, self.weight, self.alpha = level, weight, alpha

    def forward(self, network: nn.Module, batch: Batch, step: TrainingStep) -> Tensor:
        known = batch.y >= 0
        x, y = batch.x[known], batch.y[known]
        z = embed(network, x)
        clean = self.metric.compute_loss(z, y, step)
        partner, lam = self.draw_partners(y, step.generator)
        if not len(partner):
            return clean
        mixed = self._mix(network, x, z, partner, lam)
        label = self._label_pairs(y, partner, lam, step.generator)
        return clean + self.weight * self.compute_mixed_loss(z, mixed, label)

    def draw_partners(self, y: Tensor, generator: torch.Generator) -> tuple[Tensor, Tensor]:
        """Draw a row of another class for each row, `[b]`, and the share of the row, `[b, 1]`.

        Both are empty where all rows are of one class.
        """
        other = (y[:, None] != y).float()
        if not len(y) or not bool(other.any(1).all()):
            return torch.empty(0, dtype=torch.int64), torch.empty(0, 1)
        partner = torch.multinomial(other, 1, generator=generator)[:, 0]
        if self.alpha is None:
            return partner, torch.full((len(y), 1), 0.5, device=y.device)
        # Beta(a, a) as the share of two gamma variables, from the generator of the step alone
        shape = torch.full((2, len(y), 1), self.alpha, device=y.device)
        gamma = torch._standard_gamma(shape, generator=generator)
        return partner, gamma[0] / gamma.sum(0)

    def compute_mixed_loss(self, z: Tensor, mixed: Tensor, label: Tensor) -> Tensor:
        """Return the loss on mixed examples, a scalar.

        Args:
            z: Anchors at unit length, `[b, e]`; those of proxy-anchor are its proxies instead.
            mixed: Mixed examples at unit length, `[m, e]`.
            label: Label of each for each anchor, `[b or k, m]` in [0, 1]; -1 for no pair.
        """
        metric, is_pair = self.metric, label >= 0
        if isinstance(metric, ProxyObjective):
            cosines = metric.compute_cosines(mixed).T
        else:
            cosines = z @ mixed.T
        label = label.clamp(min=0)
        if isinstance(metric, ContrastivePairs):
            distances = (2 - 2 * cosines).clamp(min=1e-8).sqrt()
            push = functional.relu(metric.margin - distances)
            terms = label * distances + (1 - label) * push
            return (terms * is_pair).sum() / is_pair.sum().clamp(min=1)
        margins, alpha, beta = _read_exponents(metric)
        pull = _log_one_plus(-alpha * (cosines - margins[0]), label, is_pair) / alpha
        push = _log_one_plus(beta * (cosines - margins[1]), 1 - label, is_pair) / beta
        scale = alpha if isinstance(metric, ProxyObjective) else 1.0
        return scale * (pull + push).sum() / is_pair.any(1).sum().clamp(min=1)

    def _mix(
        self, network: nn.Module, x: Tensor, z: Tensor, partner: Tensor, lam: Tensor
    ) -> Tensor:
        """Return mixed examples at unit length, `[b, e]`."""
        if self.level == "embedding":
            mixed = lam * z + (1 - lam) * z[partner]
        elif self.level == "input":
            share = lam.reshape(-1, *(1,) * (x.dim() - 1))
            mixed = network(share * x + (1 - share) * x[partner])
        else:
            inner = cast(Any, unwrap(network))
            u = inner.forward_features(x)
            mixed = inner.project(lam * u + (1 - lam) * u[partner])
        return functional.normalize(mixed, dim=1, eps=EPSILON)

    def _label_pairs(
        self, y: Tensor, partner: Tensor, lam: Tensor, generator: torch.Generator
    ) -> Tensor:
        """Return the label of each mixed example for each anchor, `[b or k, b]`; -1 for no pair."""
        share = lam[:, 0]
        if isinstance(self.metric, ProxyObjective):
            k = torch.arange(len(self.metric.proxies), device=y.device)[:, None]
            label = share * (k == y) + (1 - share) * (k == y[partner])
            return torch.where((k == y) | (k == y[partner]), label, -1.0)
        anchor = torch.arange(len(y), device=y.device)
        itself = anchor[:, None] == anchor
        uses_anchor = torch.rand((), generator=generator, device=generator.device) < 0.5
        allowed = itself if bool(uses_anchor) else (y[:, None] == y) & ~itself
        return torch.where(allowed, share.expand(len(y), -1), -1.0)


def _read_exponents(
    metric: MultiSimilarity | ProxyAnchor,
) -> tuple[tuple[float, float], float, float]:
    """Return the margins of positive and negative pairs, and the factors in the exponents."""
    if isinstance(metric, MultiSimilarity):
        return (metric.base, metric.base), metric.alpha, metric.beta
    return (metric.margin, -metric.margin), metric.scale, metric.scale


def _log_one_plus(values: Tensor, share: Tensor, selected: Tensor) -> Tensor:
    """Return `log(1 + sum over selected of share e^value)` of each row, `[n]`."""
    counts = selected & (share > 0)
    weighted = values + torch.where(counts, share, 1.0).log()
    masked = weighted.masked_fill(~counts, -torch.inf)
    return torch.logsumexp(functional.pad(masked, (0, 1)), 1)
