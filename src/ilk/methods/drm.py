"""Domain-specific risk minimization: an output layer per domain, mixed by how well each fits.

Yi-Fan Zhang, Jindong Wang, Jian Liang, Zhang Zhang, Baosheng Yu, Liang Wang, Dacheng Tao, Xing Xie,
2023, Domain-Specific Risk Minimization for Out-of-Distribution Generalization, arXiv 2208.08661.
Domains are those of `Data.domain`. With hidden units h, output layers g_1 ... g_D of one domain
each and a pooled one g_0,

    loss = mean over domains d of [CE(g_d(h), y) + CE(g_0(h), y)] / 2   on the rows of d
    p(c | x) = sum_d w_d softmax(g_d(h))_c,   w_d proportional to gap_d^-gamma
    gap_d = entropy of softmax(g_d(h)),   or 1 - cos(h, mean h of domain d)

Departures: the gap is of one row alone, where the authors' program averages the entropy over a
batch; with the cosine, it prefers the most similar domain, where their program prefers the least
similar. Probabilities are mixed, not logits. With a single domain the pooled layer predicts. The
steps of entropy minimization or pseudo-labels at test time are left out.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any, ClassVar

import numpy as np
from numpy.typing import NDArray

from ilk.core.contracts import MethodTags, labelled_features
from ilk.core.data import Data, Features, Labels, Logits
from ilk.core.linear_models import MLP, apply_affine, normalize_rows
from ilk.core.metrics import log_softmax, softmax

MIN_GAP = 1e-6  # a gap of 0 would have infinite weight


@dataclass(frozen=True, eq=False)
class DomainHeads:
    """A hidden layer with a pooled output layer and one per domain.

    Attributes:
        centre: Mean of the features, `[d]` float32.
        scale: Standard deviation of the features, `[d]` float32.
        hidden_weight: Weights of the hidden layer, `[h, d]` float32.
        hidden_bias: Biases of the hidden layer, `[h]` float32.
        weight: `[1 + D, k, h]` float32; the pooled layer first. D is 0 if there is one domain.
        bias: `[1 + D, k]` float32; `-inf` for classes without labelled rows.
        means: Mean hidden units of each domain, `[D, h]` float32.
        gamma: Exponent of the gaps.
        use_distance: Whether the gap is the distance instead of the entropy.
    """

    kind: ClassVar[str] = "domain_heads"
    shapes: ClassVar[dict[str, str]] = {
        "centre": "d",
        "scale": "d",
        "hidden_weight": "h d",
        "hidden_bias": "h",
        "weight": "p k h",
        "bias": "p k",
        "means": "q h",
    }

    centre: Features
    scale: Features
    hidden_weight: Features
    hidden_bias: Features
    weight: Features
    bias: Features
    means: Features
    gamma: float
    use_distance: bool

    def logits(self, x: Features) -> Logits:
        """Return log-probabilities `[n, k]` of features `[n, d]`; `-inf` for unseen classes."""
        h, log_proba = self._forward(x)
        if len(log_proba) == 1:
            return np.asarray(log_proba[0])
        domain_log_proba = log_proba[1:]
        weight = softmax(
            -self.gamma * np.log(np.maximum(self._compute_gaps(h, domain_log_proba), MIN_GAP)),
            axis=0,
        )
        probabilities = np.einsum("dn,dnk->nk", weight, np.exp(domain_log_proba))
        mixed_logits = np.log(np.maximum(probabilities, 1e-300))
        return np.where(np.isfinite(self.bias[0]), mixed_logits, -np.inf)

    def compute_head_log_proba(self, x: Features) -> Logits:
        """Return log-probabilities of each output layer, `[1 + D, n, k]`, of features `[n, d]`."""
        return self._forward(x)[1]

    def _forward(self, x: Features) -> tuple[NDArray[np.float64], Logits]:
        pooled_head = MLP(
            self.centre,
            self.scale,
            self.hidden_weight,
            self.hidden_bias,
            self.weight[0],
            self.bias[0],
        )
        h = pooled_head.compute_hidden(x)
        head_logits = [apply_affine(h, w, b) for w, b in zip(self.weight, self.bias, strict=True)]
        return h, np.asarray(log_softmax(np.stack(head_logits), axis=2))

    def _compute_gaps(
        self, h: NDArray[np.float64], domain_log_proba: Logits
    ) -> NDArray[np.float64]:
        if self.use_distance:
            return np.asarray(1 - normalize_rows(self.means) @ normalize_rows(h).T)
        domain_log_proba = domain_log_proba[:, :, np.isfinite(self.bias[0])]
        return np.asarray(-np.sum(np.exp(domain_log_proba) * domain_log_proba, axis=2))


@dataclass(frozen=True)
class DRM(MethodTags):
    """Domain-specific risk minimization on frozen features.

    Attributes:
        gamma: Exponent of the gaps, >= 0; 0 weights all domains equally.
        use_distance: Weight domains by the distance to their mean instead of by entropy.
        hidden: Number of hidden units, >= 1.
        epochs: Passes over the labelled rows, > 0.
        weight_decay: Weight decay, >= 0.
        seed: Seed of weights and order.
    """

    weighted_loss = True
    uses_domains = True

    gamma: float = 1.0
    use_distance: bool = False
    hidden: int = 128
    epochs: float = 30.0
    weight_decay: float = 0.1
    seed: int = 0

    def __post_init__(self) -> None:
        if not (0 <= self.gamma < np.inf and 0 <= self.weight_decay < np.inf):
            raise ValueError(
                f"gamma is {self.gamma}, weight_decay {self.weight_decay}; "
                "both must be finite and at least 0"
            )
        if self.hidden < 1 or not 0 < self.epochs < np.inf:
            raise ValueError(f"hidden is {self.hidden}, epochs {self.epochs}; both must be above 0")

    def fit(self, data: Data) -> DomainHeads:
        import torch

        from ilk.training.heads import BATCH_SIZE, Head, count_steps, fit_head
        from ilk.training.objectives.domain_specific_risk import (
            DomainSpecificRisk,
            add_domain_layers,
        )
        from ilk.training.recipe import Recipe

        known = labelled_features(data, self)
        domain_ids, domain = np.unique(known.domain, return_inverse=True)
        n_domains = len(domain_ids) if len(domain_ids) > 1 else 0
        net = Head.from_data(known, self.hidden, self.seed)
        add_domain_layers(net, n_domains)
        objective = DomainSpecificRisk(torch.from_numpy(np.array(domain)), n_domains)
        recipe = Recipe(
            count_steps(len(known), self.epochs),
            min(BATCH_SIZE, len(known)),
            4e-3,
            20,
            self.weight_decay,
            seed=self.seed,
        )
        net = fit_head(net, known, objective, recipe)
        return self._make_model(net, known, domain, n_domains)

    def _make_model(self, net: Any, known: Data, domain: Labels, n_domains: int) -> DomainHeads:
        pooled = net.to_model()
        h, present = pooled.compute_hidden(known.x), np.isfinite(pooled.bias)
        weight, bias = pooled.weight[None], pooled.bias[None]
        if n_domains:
            shape = (n_domains, known.k, self.hidden)
            domain_weight = net.domain_heads.weight.detach().numpy().reshape(shape)
            weight = np.concatenate(
                [weight, np.where(present[:, None], domain_weight, np.float32(0))]
            )
            domain_bias = net.domain_heads.bias.detach().numpy().reshape(shape[:2])
            bias = np.concatenate([bias, np.where(present, domain_bias, np.float32(-np.inf))])
        means = np.array([h[domain == d].mean(0) for d in range(n_domains)])
        return DomainHeads(
            pooled.centre,
            pooled.scale,
            pooled.hidden_weight,
            pooled.hidden_bias,
            weight.astype(np.float32),
            bias.astype(np.float32),
            means.reshape(n_domains, self.hidden).astype(np.float32),
            self.gamma,
            self.use_distance,
        )
