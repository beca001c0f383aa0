"""The average of a network over its training.

The power profile of Tero Karras and others, 2024, Analyzing and Improving the Training Dynamics of
Diffusion Models, arXiv 2312.02696, eq. 2 and 3: it forgets in proportion to how long the run has
been, so that one setting suits short runs and long ones.
"""

from __future__ import annotations

import math
from functools import lru_cache

import torch
from torch import nn


def kept(step: int, width: float) -> float:
    """How much of the average the update `step` leaves: `(1 - 1 / t)^(g + 1)`, t counted from 1."""
    return (1 - 1 / (step + 1)) ** (exponent(width) + 1) if width else 0.0


@lru_cache(maxsize=8)
def exponent(width: float) -> float:
    """The g whose profile `t^g` has deviation `width`: `(g+1)^1/2 / ((g+2) (g+3)^1/2)` is it."""
    from scipy.optimize import brentq

    def miss(g: float) -> float:
        return math.sqrt((g + 1) / (g + 3)) / (g + 2) - width

    return float(brentq(miss, 0.0, 1e6))


@torch.no_grad()
def blend(average: nn.Module, network: nn.Module, share: float) -> None:
    """Move `average` towards `network`, keeping `share` of it."""
    torch._foreach_lerp_(list(average.parameters()), list(network.parameters()), 1 - share)
