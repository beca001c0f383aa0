"""Domain-specific risk: a pooled output layer and one per domain on shared hidden units.

Yi-Fan Zhang and others, 2023, Domain-Specific Risk Minimization for Out-of-Distribution
Generalization, arXiv 2208.08661. With hidden units h, output layers g_1 ... g_D of one domain each
and a pooled one g_0,

    loss = mean over domains d of [CE(g_d(h), y) + CE(g_0(h), y)] / 2   on the rows of d
"""

from __future__ import annotations

from typing import cast

import torch
from torch import Tensor, nn
from torch.nn import functional

from ilk.architectures.head import Head
from ilk.training.batch import Batch
from ilk.training.objective import Objective, TrainingStep, unwrap
from ilk.training.sources import Source


def add_domain_layers(head: Head, n_domains: int) -> None:
    """Give `head` an output layer per domain, `head.domain_heads`; all start at zero.

    With 0 domains there is the pooled output layer alone.
    """
    if n_domains:
        layer = head.output_layer
        head.domain_heads = nn.Linear(layer.in_features, n_domains * layer.out_features)
    for part in (head.output_layer, *((head.domain_heads,) if n_domains else ())):
        part = cast(nn.Linear, part)
        nn.init.zeros_(part.weight)  # so that a class without rows does not affect the others
        nn.init.zeros_(part.bias)


class DomainSpecificRisk(Objective):
    """The loss of a `Head` prepared by `add_domain_layers`; all rows are labelled.

    Args:
        domain: Domain of each row of the training set, `[n]` int64, numbered from 0; None if all
            come from one domain.
        n_domains: Number of domains with an output layer; 0 for the pooled layer alone.
    """

    domain: Tensor

    def __init__(self, domain: Tensor | None = None, n_domains: int = 0) -> None:
        super().__init__()
        self.n_domains = n_domains
        if domain is not None:
            self.register_buffer("domain", domain)

    def setup(self, network: nn.Module, data: Source) -> None:
        if not hasattr(self, "domain"):
            self.register_buffer("domain", torch.zeros(len(data), dtype=torch.int64))

    def forward(self, network: nn.Module, batch: Batch, step: TrainingStep) -> Tensor:
        if batch.indices is None:
            raise ValueError("DomainSpecificRisk knows the domain of each row by `batch.indices`")
        head = unwrap(network, Head)
        domain, hidden = self.domain[batch.indices], head.compute_hidden(batch.x)
        row_weight = torch.ones_like(hidden[:, 0]) if batch.weight is None else batch.weight
        counts = torch.bincount(domain, row_weight).to(hidden.dtype)
        weight = row_weight / (counts[domain] * (counts > 0).sum())  # mean over domains of means
        losses = functional.cross_entropy(head.compute_logits(hidden), batch.y, reduction="none")
        if self.n_domains:
            layers = cast(nn.Linear, head.domain_heads)
            logits = layers(hidden).view(len(hidden), self.n_domains, -1)
            logits = logits[torch.arange(len(hidden), device=hidden.device), domain]
            logits = logits.masked_fill(~head.present, -1e4)
            losses = (losses + functional.cross_entropy(logits, batch.y, reduction="none")) / 2
        return (weight * losses).sum()
