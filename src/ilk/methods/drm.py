"""Domain-specific risk minimization: an output layer per domain, mixed by how well each fits.

Yi-Fan Zhang, Jindong Wang, Jian Liang, Zhang Zhang, Baosheng Yu, Liang Wang, Dacheng Tao, Xing Xie,
2023, Domain-Specific Risk Minimization for Out-of-Distribution Generalization, arXiv 2208.08661.
Domains are those of `Data.domain`. With hidden units h, output layers g_1 ... g_D of one domain
each and a pooled one g_0,

    loss = mean over domains d of [CE(g_d(h), y) + CE(g_0(h), y)] / 2   on the rows of d
    p(c | x) = sum_d w_d softmax(g_d(h))_c,   w_d proportional to trust_d gap_d^-gamma
    gap_d = entropy of softmax(g_d(h)),   or 1 - cos(h, mean h of domain d)
    trust_d = rows of d * (accuracy of g_d on held-out rows of d, minus that of chance)

In the paper trust_d is 1. A head trained on a few rows has low entropy everywhere, because it never
saw anything else; without the trust it would answer for all. With domains of equal size that
are equally difficult, the rule is the paper's. To measure the trust, the network is trained once
more, without a third of the rows: twice the time.

Further departures: the gap is of one row alone, where the authors' program averages the entropy
over a batch; with the cosine, it prefers the most similar domain, where their program prefers the
least similar. Probabilities are mixed, not logits. With a single domain the pooled layer predicts.
The steps of entropy minimization or pseudo-labels at test time are left out.
"""

from __future__ import annotations

from dataclasses import dataclass, replace
from typing import Any, ClassVar

import numpy as np
from numpy.typing import NDArray

from ilk.core.contracts import MethodTags, labelled_features
from ilk.core.data import Data, Features, Labels, Logits
from ilk.core.linear_models import MLP, apply_affine, normalize_rows
from ilk.core.metrics import log_softmax, softmax
from ilk.core.part_bounds import POSITIVE, Bounds
from ilk.maths.folds import assign_folds

MIN_GAP = 1e-6  # a gap of 0 would have infinite weight
MIN_TRUST = 1e-6  # fraction of the largest trust; of heads that are no better than chance
TRUST_FOLDS = 3  # one of them measures the trust


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
        trust: How much each domain's layer is trusted, `[D]`, > 0; the sum does not matter. None
            trusts all equally.
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
        "trust": "q",
    }
    bounds: ClassVar[dict[str, Bounds]] = {"trust": POSITIVE}

    centre: Features
    scale: Features
    hidden_weight: Features
    hidden_bias: Features
    weight: Features
    bias: Features
    means: Features
    gamma: float
    use_distance: bool
    trust: NDArray[np.float64] | None = None

    def logits(self, x: Features) -> Logits:
        """Return log-probabilities `[n, k]` of features `[n, d]`; `-inf` for unseen classes."""
        h, log_proba = self._forward(x)
        if len(log_proba) == 1:
            return np.asarray(log_proba[0])
        domain_log_proba = log_proba[1:]
        gaps = np.maximum(self._compute_gaps(h, domain_log_proba), MIN_GAP)
        log_trust = 0.0 if self.trust is None else np.log(self.trust)[:, None]
        weight = softmax(log_trust - self.gamma * np.log(gaps), axis=0)
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
        gamma: Exponent of the gaps, >= 0; 0 weights the domains by their trust alone.
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
        known = labelled_features(data, self)
        model = self._train(known)
        if len(model.means) < 2 or len(known) < TRUST_FOLDS:
            return model
        domain = np.unique(known.domain, return_inverse=True)[1]
        fold = assign_folds(domain * known.k + known.y, TRUST_FOLDS, self.seed, known.group)
        is_correct = np.zeros(len(known))
        if (fold != 0).any():
            rest = known.take(fold != 0)
            is_correct[fold == 0] = _score_own_heads(
                self._train(rest), np.unique(rest.domain), known.take(fold == 0)
            )
        trust = compute_trust(domain, is_correct, fold == 0, known.weight, known.k)
        return replace(model, trust=trust)

    def _train(self, known: Data) -> DomainHeads:
        """The layers after training on all rows of `known`, all trusted equally."""
        import torch

        from ilk.training.heads import BATCH_SIZE, Head, count_steps, fit_head
        from ilk.training.objectives.domain_specific_risk import (
            DomainSpecificRisk,
            add_domain_layers,
        )
        from ilk.training.recipe import Recipe

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


def _score_own_heads(model: DomainHeads, domain_ids: Labels, held_out: Data) -> NDArray[np.float64]:
    """Return 1 where the layer of a row's own domain is right and 0 where it is not, `[n]`.

    A row whose domain has no layer counts as wrong.

    Args:
        model: Layers of the domains `domain_ids [q]`, or a pooled one alone if there is one domain.
        domain_ids: Sorted.
        held_out: Rows that the layers were not trained on.
    """
    predicted = model.compute_head_log_proba(held_out.x).argmax(2)
    position = np.searchsorted(domain_ids, held_out.domain).clip(max=len(domain_ids) - 1)
    layer = position + 1 if len(predicted) > 1 else 0 * position
    is_own = domain_ids[position] == held_out.domain
    return np.asarray(is_own & (predicted[layer, np.arange(len(held_out))] == held_out.y), float)


def compute_trust(
    domain: Labels,
    is_correct: NDArray[np.float64],
    is_held_out: NDArray[np.bool_],
    weight: NDArray[np.float64],
    n_classes: int,
) -> NDArray[np.float64]:
    """Return how much each of q domains is trusted, `[q]`, in (0, 1]; the most trusted has 1.

    It is proportional to the rows of the domain times how far its accuracy on held-out rows exceeds
    chance. The accuracy is that of the held-out rows and `n_classes` more of which one is right, as
    chance has it, so that an accuracy of one row counts little.

    Args:
        domain: Domain of each row, `[n]`, 0 to q - 1.
        is_correct: 1 where the prediction of a held-out row is right, `[n]`.
        is_held_out: Whether the row was held out, `[n]`.
        weight: How many times each row counts, `[n]`.
        n_classes: Number of classes.
    """
    held_out = np.bincount(domain, weight * is_held_out)
    correct = np.bincount(domain, weight * is_held_out * is_correct)
    accuracy = (correct + 1) / (held_out + n_classes)
    trust = np.bincount(domain, weight) * np.maximum(accuracy - 1 / n_classes, 0.0)
    if not trust.max() > 0:
        return np.ones(len(trust))
    return np.asarray(np.maximum(trust / trust.max(), MIN_TRUST))
