"""The classes that an image is compared under while a network or a noise learns."""

from __future__ import annotations

import torch
from torch import Tensor


def draw_candidates(y: Tensor, k: int, m: int, generator: torch.Generator) -> Tensor:
    """Return class indices to compare, `[n, min(m, k)]`: the label first, then others.

    Args:
        y: Labels `[n]`, -1 where unknown; the first candidate is then the null class, k.
        k: Number of classes.
        m: Number of candidates, at least 1; k or more compare all classes.
        generator: Draws the others, all different, where not all are compared.
    """
    others = torch.arange(1, k, device=y.device).expand(len(y), -1)
    if m < k:
        order = torch.rand(len(y), k - 1, generator=generator, device=y.device).argsort(1)
        others = others.gather(1, order[:, : m - 1])
    label = y.clamp(min=0)[:, None]
    candidates = torch.cat([label, (label + others) % k], 1)
    candidates[:, 0] = torch.where(y < 0, k, candidates[:, 0])
    return candidates
