"""How far the final winner of a race may lag on its way: learned from images, not from labels.

Let S_m(c) be the weighted errors of class c summed over the first m levels, and c* the class of
least S_L. On its way the winner lags behind the leader by

    lag_m = S_m(c*) - min_c S_m(c)  >= 0           ratio = max_{m < L} lag_m / noise_m

with noise_m any fixed yardstick. A race that drops a class once its lag exceeds `limit * noise_m`
can only change the answer of an image whose ratio exceeds `limit`: until it drops c*, the leader of
the live classes is no better than that of all. With `limit` the r-th least ratio of n images,
r = ceil((1 - error_rate)(n + 1)), one more image like them exceeds it with probability at most
error_rate (Vladimir Vovk and others, 2005, Algorithmic Learning in a Random World, chapter 2).
One limit serves all levels, so nothing is lost to looking often.

The yardstick is the root of the summed squares of the differences between winner and runner-up, a
random walk's spread; it comes from images of its own, so that the bound is exact.
"""

from __future__ import annotations

import math
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

import numpy as np
import torch
from torch import Tensor

from ilk.diffusion.levels import Levels
from ilk.errors import ArtefactError, InputError

YARDSTICK = 50  # images that the yardstick is made from, but never more than a quarter


@dataclass(frozen=True)
class Pace:
    """What a race needs to know of the levels that it runs over.

    Attributes:
        levels: These.
        noise: Spread of the sum of paired differences after 1, 2, … levels, `[levels]`.
        growth: How many times the difference after m levels that after all is, `[levels + 1]`.
        limit: The largest lag of a class still in the race, in noises; may be infinite.
    """

    levels: Levels
    noise: tuple[float, ...]
    growth: tuple[float, ...]
    limit: float

    @classmethod
    def of(cls, errors: Tensor, levels: Levels, error_rate: float) -> Pace:
        """From errors `[n, k, levels]`; see `Race.calibrated`.

        Raises:
            InputError: Shapes do not go together, an error is not finite, or there are too few
                images for so low a rate.
        """
        n = len(errors)
        if errors.dim() != 3 or errors.shape[2] != len(levels) or errors.shape[1] < 2:
            raise InputError(
                f"errors of shape {tuple(errors.shape)} do not calibrate {len(levels)} noise "
                "levels; give [images, classes, levels] of at least 2 classes"
            )
        if not bool(torch.isfinite(errors).all()):
            raise InputError("a denoising error is not finite; the network or an image is damaged")
        mixed = torch.from_numpy(np.random.default_rng(0).permutation(n))  # images may be sorted
        kept = min(YARDSTICK, n // 4)
        if kept < 1 or (rank(n - kept, error_rate) > n - kept and error_rate):
            raise InputError(
                f"{n} images are too few to keep an error rate of {error_rate}; give at least "
                f"{fewest(error_rate)}, or ask for {math.ceil(1e4 / (n - kept + 1)) / 1e4:g} "
                "or more"
            )
        weighted = errors.double() * torch.tensor(levels.weights, dtype=torch.float64)
        noise, growth = yardstick(weighted[mixed[:kept]])
        ratio = (lag(weighted[mixed[kept:]]) / noise)[:, :-1].amax(1) if len(levels) > 1 else None
        limit = math.inf
        if error_rate and ratio is not None:
            limit = float(ratio.sort().values[rank(len(ratio), error_rate) - 1])
        return cls(levels, tuple(noise.tolist()), tuple(growth.tolist()), limit)

    def lost(self, sums: Tensor, live: Tensor, m: int) -> Tensor:
        """Which classes `[n, k]` have lost after m levels, by their weighted sums of errors."""
        lead = torch.where(live, sums, torch.inf).amin(1, keepdim=True)
        return live & ((sums - lead) / self.noise[m - 1] > self.limit)

    def to_json(self) -> dict[str, Any]:
        """As plain JSON."""
        limit = self.limit if math.isfinite(self.limit) else None
        told = {"noise": list(self.noise), "growth": list(self.growth), "limit": limit}
        return {"levels": self.levels.to_json(), **told}

    @classmethod
    def from_json(cls, data: Mapping[str, Any]) -> Pace:
        """What `to_json` gave, read back.

        Raises:
            ArtefactError: It is something else.
        """
        try:
            levels = Levels.from_json(data["levels"])
            noise, growth = (tuple(map(float, data[name])) for name in ("noise", "growth"))
            if (len(noise), len(growth)) != (len(levels), len(levels) + 1):
                raise ValueError("lengths differ")
            limit = math.inf if data["limit"] is None else float(data["limit"])
        except (KeyError, TypeError, ValueError, AttributeError) as error:
            raise ArtefactError(f"a race's pace cannot be read: {error!r}; tune it anew") from None
        return cls(levels, noise, growth, limit)


def rank(n: int, error_rate: float) -> int:
    """Which of n sorted ratios the limit is, from 1; beyond n there are too few."""
    return math.ceil((1 - error_rate) * (n + 1) - 1e-9)


def fewest(error_rate: float) -> int:
    """The least number of images that can keep `error_rate`."""
    n = 4
    while rank(n - min(YARDSTICK, n // 4), error_rate) > n - min(YARDSTICK, n // 4):
        n += 1
    return n


def lag(weighted: Tensor) -> Tensor:
    """How far the final winner lies behind the leader after each level, `[n, levels]`."""
    sums = weighted.cumsum(2)
    winner = sums[:, :, -1].argmin(1)
    return sums[torch.arange(len(sums)), winner] - sums.amin(1)


def yardstick(weighted: Tensor) -> tuple[Tensor, Tensor]:
    """Spread of the sum after each level `[levels]`, and growth `[levels + 1]`."""
    rows, total = torch.arange(len(weighted)), weighted.sum(2)
    first, second = total.topk(2, 1, largest=False).indices.unbind(1)
    steps = (weighted[rows, second] - weighted[rows, first]).square().mean(0)
    noise = steps.cumsum(0).sqrt().clamp(min=1e-300)
    apart = (weighted - weighted[rows, first][:, None]).mean((0, 1)).cumsum(0)
    growth = torch.where(apart > 0, apart[-1] / apart, 1.0).clamp(min=1.0)
    return noise, torch.cat([growth[:1], growth])
