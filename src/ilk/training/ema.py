"""The average of a network's weights over training.

It has the power-function profile of Tero Karras and others, 2024, Analyzing and Improving the
Training Dynamics of Diffusion Models, arXiv 2312.02696, eq. 2 and 3: its width is relative to the
length of the run so far, so that one setting suits short and long runs.
"""

from __future__ import annotations

import math
from functools import lru_cache

import torch
from torch import nn


def compute_decay(step: int, width: float) -> float:
    """Return the decay of the average at update `step`: `(1 - 1 / t)^(g + 1)` with t = step + 1."""
    return (1 - 1 / (step + 1)) ** (solve_exponent(width) + 1) if width else 0.0


@lru_cache(maxsize=8)
def solve_exponent(width: float) -> float:
    """Return the g whose profile `t^g` has standard deviation `width`, relative to the run.

    The deviation is `(g+1)^1/2 / ((g+2) (g+3)^1/2)`.
    """
    from scipy.optimize import brentq

    def residual(g: float) -> float:
        return math.sqrt((g + 1) / (g + 3)) / (g + 2) - width

    return float(brentq(residual, 0.0, 1e6))


@torch.no_grad()
def update_ema(ema: nn.Module, network: nn.Module, decay: float) -> None:
    """Update the average: `ema <- decay ema + (1 - decay) network`; buffers are those of `network`.

    So the statistics of batch normalization are the latest, not those of the first step.
    """
    torch._foreach_lerp_(list(ema.parameters()), list(network.parameters()), 1 - decay)
    for average, buffer in zip(ema.buffers(), network.buffers(), strict=True):
        average.copy_(buffer)


@torch.no_grad()
def copy_state(target: nn.Module, source: nn.Module) -> None:
    """Copy all parameters and buffers of `source` into `target`, a network of the same kind."""
    pairs = zip(
        (*target.parameters(), *target.buffers()),
        (*source.parameters(), *source.buffers()),
        strict=True,
    )
    for old, new in pairs:
        old.copy_(new)
