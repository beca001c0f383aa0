"""A bound on the lag of the final winner of a race, learned from images without labels.

Let S_m(c) be the weighted errors of class c summed over the first m levels, and c* the class with
the lowest S_L. On its way the winner lags behind the leader by

    lag_m = S_m(c*) - min_c S_m(c)  >= 0           ratio = max_{m < L} lag_m / scale_m

with scale_m any fixed scale. A race that drops a class once its lag exceeds `limit * scale_m` can
only change the answer of an image whose ratio exceeds `limit`: until it drops c*, the leader of the
live classes is no better than that of all. With `limit` the r-th smallest ratio of n images,
r = ceil((1 - error_rate)(n + 1)), one more exchangeable image exceeds it with probability at most
error_rate (Vladimir Vovk and others, 2005, Algorithmic Learning in a Random World, chapter 2).
One limit serves all levels, so repeated looks cost nothing.

The scale is the root of the summed squares of the differences between winner and runner-up, the
standard deviation of a random walk; it is estimated on separate images, so that the bound is exact.
"""

from __future__ import annotations

import math
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

import numpy as np
import torch
from torch import Tensor

from ilk.core.errors import ArtifactError, InputError
from ilk.diffusion.errors.levels import Levels

MAX_SCALE_IMAGES = 50  # for the scale; at most a quarter of the images


@dataclass(frozen=True)
class StoppingBound:
    """The stopping rule of a calibrated race.

    Attributes:
        levels: Levels that it holds for.
        lag_scale: Standard deviation of the sum of paired differences after 1, 2, ... levels,
            `[levels]`.
        extrapolation: Factors that scale the difference after m levels to all levels, `[levels +
            1]`.
        max_lag_ratio: Largest lag of a live class, in units of `lag_scale`; may be infinite.
    """

    levels: Levels
    lag_scale: tuple[float, ...]
    extrapolation: tuple[float, ...]
    max_lag_ratio: float

    @classmethod
    def from_errors(cls, errors: Tensor, levels: Levels, error_rate: float) -> StoppingBound:
        """Estimate the bound from errors `[n, k, levels]`; see `Race.calibrate`.

        Raises:
            InputError: Shapes do not match, an error is not finite, or there are too few images.
        """
        n = len(errors)
        if errors.dim() != 3 or errors.shape[2] != len(levels) or errors.shape[1] < 2:
            raise InputError(
                f"errors of shape {tuple(errors.shape)} do not calibrate {len(levels)} noise "
                "levels; give [images, classes, levels] of at least 2 classes"
            )
        if not bool(torch.isfinite(errors).all()):
            raise InputError("a denoising error is not finite; the network or an image is damaged")
        permutation = torch.from_numpy(
            np.random.default_rng(0).permutation(n)
        )  # images may be sorted
        n_scale = min(MAX_SCALE_IMAGES, n // 4)
        if n_scale < 1 or (
            compute_quantile_rank(n - n_scale, error_rate) > n - n_scale and error_rate
        ):
            raise InputError(
                f"{n} images are too few to keep an error rate of {error_rate}; give at least "
                f"{count_min_images(error_rate)}, or an error rate of at least "
                f"{math.ceil(1e4 / (n - n_scale + 1)) / 1e4:g}"
            )
        weighted = errors.double() * torch.tensor(levels.weights, dtype=torch.float64)
        lag_scale, extrapolation = estimate_lag_scale(weighted[permutation[:n_scale]])
        ratio = (
            (compute_lag(weighted[permutation[n_scale:]]) / lag_scale)[:, :-1].amax(1)
            if len(levels) > 1
            else None
        )
        max_lag_ratio = math.inf
        if error_rate and ratio is not None:
            max_lag_ratio = float(
                ratio.sort().values[compute_quantile_rank(len(ratio), error_rate) - 1]
            )
        return cls(levels, tuple(lag_scale.tolist()), tuple(extrapolation.tolist()), max_lag_ratio)

    def find_eliminated(self, sums: Tensor, live: Tensor, m: int) -> Tensor:
        """Return which classes `[n, k]` are eliminated after m levels, given sums of errors `[n,
        k]`.
        """
        lowest = torch.where(live, sums, torch.inf).amin(1, keepdim=True)
        return live & ((sums - lowest) / self.lag_scale[m - 1] > self.max_lag_ratio)

    def to_json(self) -> dict[str, Any]:
        """Return the bound as plain JSON."""
        max_lag_ratio = self.max_lag_ratio if math.isfinite(self.max_lag_ratio) else None
        fields = {
            "lag_scale": list(self.lag_scale),
            "extrapolation": list(self.extrapolation),
            "max_lag_ratio": max_lag_ratio,
        }
        return {"levels": self.levels.to_json(), **fields}

    @classmethod
    def from_json(cls, data: Mapping[str, Any]) -> StoppingBound:
        """Read the bound from the result of `to_json`.

        Raises:
            ArtifactError: The data are invalid.
        """
        try:
            levels = Levels.from_json(data["levels"])
            lag_scale, extrapolation = (
                tuple(map(float, data[name])) for name in ("lag_scale", "extrapolation")
            )
            if (len(lag_scale), len(extrapolation)) != (len(levels), len(levels) + 1):
                raise ValueError("lengths differ")
            max_lag_ratio = (
                math.inf if data["max_lag_ratio"] is None else float(data["max_lag_ratio"])
            )
        except (KeyError, TypeError, ValueError, AttributeError) as error:
            raise ArtifactError(
                f"the bound of a race cannot be read: {error!r}; tune again"
            ) from None
        return cls(levels, lag_scale, extrapolation, max_lag_ratio)


def compute_quantile_rank(n: int, error_rate: float) -> int:
    """Return the rank, from 1, of the limit among n sorted ratios; above n there are too few."""
    return math.ceil((1 - error_rate) * (n + 1) - 1e-9)


def count_min_images(error_rate: float) -> int:
    """Return the minimum number of images that can guarantee `error_rate`."""
    n = 4
    while compute_quantile_rank(n - min(MAX_SCALE_IMAGES, n // 4), error_rate) > n - min(
        MAX_SCALE_IMAGES, n // 4
    ):
        n += 1
    return n


def compute_lag(weighted: Tensor) -> Tensor:
    """Return the lag of the final winner after each level, `[n, levels]`, of `[n, k, levels]`."""
    sums = weighted.cumsum(2)
    winner = sums[:, :, -1].argmin(1)
    return sums[torch.arange(len(sums)), winner] - sums.amin(1)


def estimate_lag_scale(weighted: Tensor) -> tuple[Tensor, Tensor]:
    """Return lag scale `[levels]` and extrapolation `[levels + 1]` of errors `[n, k, levels]`."""
    rows, total = torch.arange(len(weighted)), weighted.sum(2)
    first, second = total.topk(2, 1, largest=False).indices.unbind(1)
    steps = (weighted[rows, second] - weighted[rows, first]).square().mean(0)
    lag_scale = steps.cumsum(0).sqrt().clamp(min=1e-300)
    gaps = (weighted - weighted[rows, first][:, None]).mean((0, 1)).cumsum(0)
    extrapolation = torch.where(gaps > 0, gaps[-1] / gaps, 1.0).clamp(min=1.0)
    return lag_scale, torch.cat([extrapolation[:1], extrapolation])
