"""Scores of a diffusion classifier and their cost."""

from __future__ import annotations

from dataclasses import dataclass

import torch
from torch import Tensor


@dataclass(frozen=True, eq=False)
class ClassificationResult:
    """Scores and their cost.

    Attributes:
        scores: `[n, k]` float32: minus the weighted mean of the errors over all levels,
            extrapolated where a class or an image stopped early. The highest is the answer.
        n_calls: Network calls spent on each image, `[n]` int64.
    """

    scores: Tensor
    n_calls: Tensor

    @classmethod
    def concatenate(cls, parts: list[ClassificationResult]) -> ClassificationResult:
        """Concatenate the results of one or more chunks of images."""
        return cls(torch.cat([p.scores for p in parts]), torch.cat([p.n_calls for p in parts]))


def estimate_scores(errors: Tensor, winners: Tensor, extrapolation: Tensor) -> Tensor:
    """Return scores `[n, k]` float32 from partial errors; -inf for classes without an evaluation.

    A class is compared with the winner over the levels at which both were evaluated, and the
    difference is scaled to all levels: errors vary so much between levels that means over different
    levels are not comparable.

    Args:
        errors: Weighted errors `[n, k, levels]` float64, NaN where not evaluated.
        winners: Answers `[n]`, evaluated wherever another class of the image was.
        extrapolation: `[levels + 1]`, factors that scale the difference after m levels to all
            levels.
    """
    evaluated, rows = ~errors.isnan(), torch.arange(len(errors))
    winner_errors, count = errors[rows, winners], evaluated.sum(2)
    gap = torch.nansum(errors - winner_errors[:, None], 2) * extrapolation[count] / errors.shape[2]
    top = -torch.nan_to_num(winner_errors.nanmean(1))
    scores = (top[:, None] - gap.clamp(min=0)).float()
    upper_bound = torch.nextafter(top.float(), torch.tensor(-torch.inf))[:, None]
    scores = torch.minimum(scores, upper_bound)  # a tie in float32 is no tie: the winner is known
    scores = scores.masked_fill(count == 0, -torch.inf)
    scores[rows, winners] = top.float()
    return scores


def rank_unevaluated_last(scores: Tensor, fallback_scores: Tensor) -> Tensor:
    """Replace -inf in `scores` `[n, k]` by values below the rest of the row, ordered by
    `fallback_scores`.

    The values start one span of the row's finite scores below them and cover another span.
    """
    is_missing = scores == -torch.inf
    low = torch.where(is_missing, torch.inf, scores).amin(1, keepdim=True)
    high = scores.amax(1, keepdim=True)
    span = torch.maximum(high - low, 1e-3 * high.abs().clamp(min=1e-3))
    position = (
        torch.where(is_missing, fallback_scores, torch.inf).argsort(1, descending=True).argsort(1)
    )
    return torch.where(is_missing, low - span * (1 + position / scores.shape[1]), scores)
