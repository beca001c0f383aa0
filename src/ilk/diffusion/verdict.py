"""What a diffusion classifier says of images, and what it cost."""

from __future__ import annotations

from dataclasses import dataclass

import torch
from torch import Tensor


@dataclass(frozen=True, eq=False)
class Verdict:
    """Scores and their price.

    Attributes:
        scores: `[n, k]` float32, higher is likelier; minus the weighted mean of the errors over all
            levels, estimated where a class or an image stopped early. The highest is the answer.
        calls: Calls of the network spent on each image, `[n]` int64.
    """

    scores: Tensor
    calls: Tensor

    @classmethod
    def join(cls, parts: list[Verdict]) -> Verdict:
        """Those of several lots of images, at least one, as one."""
        return cls(torch.cat([p.scores for p in parts]), torch.cat([p.calls for p in parts]))


def estimated(found: Tensor, winner: Tensor, growth: Tensor) -> Tensor:
    """Scores `[n, k]` float32 from the errors that were asked for; -inf for classes never asked.

    A class is compared with the winner over the levels that both were asked at, and what lies
    between them is scaled to all levels: errors differ so much from level to level that means over
    different levels would say nothing.

    Args:
        found: Weighted errors `[n, k, levels]` float64, NaN where not asked.
        winner: The answers `[n]`; each was asked wherever any other class of its image was.
        growth: `[levels + 1]`: how many times the difference after m levels that after all is.
    """
    seen, rows = ~found.isnan(), torch.arange(len(found))
    best, count = found[rows, winner], seen.sum(2)
    gap = torch.nansum(found - best[:, None], 2) * growth[count] / found.shape[2]
    top = -torch.nan_to_num(best.nanmean(1))
    scores = (top[:, None] - gap.clamp(min=0)).float()
    under = torch.nextafter(top.float(), torch.tensor(-torch.inf))[:, None]
    scores = torch.minimum(scores, under)  # a tie in float32 is no tie: the winner is known
    scores = scores.masked_fill(count == 0, -torch.inf)
    scores[rows, winner] = top.float()
    return scores


def ranked_below(scores: Tensor, cheap: Tensor) -> Tensor:
    """`scores` `[n, k]` with every -inf put below the rest of its row, in the order of `cheap`.

    They begin as far below as the row's finite scores lie apart, and reach as far again.
    """
    left = scores == -torch.inf
    low = torch.where(left, torch.inf, scores).amin(1, keepdim=True)
    high = scores.amax(1, keepdim=True)
    apart = torch.maximum(high - low, 1e-3 * high.abs().clamp(min=1e-3))
    place = torch.where(left, cheap, torch.inf).argsort(1, descending=True).argsort(1)
    return torch.where(left, low - apart * (1 + place / scores.shape[1]), scores)
