"""The diffusion classifier that stops a class as soon as the data say that it has lost.

All classes of an image share their noise, so at each level the paired difference of two errors is
what the class makes, and their running sum soon says which is ahead. Levels differ far too much
for a test of independent, equal increments (so no bandit: Li et al. 2023, arXiv 2303.16203). Two
rules are offered in its place; both are about one question, whether stopping changes the answer
that all levels would give.

Calibrated (`ilk.diffusion.pace`): the furthest that the final winner ever lags on other images, in
deviations of the sum so far, is not exceeded on more than `error_rate` of images, whatever the
distribution.

Uncalibrated: the m levels so far are taken for a random sample, without replacement, of all L, as
they nearly are where every beginning of the levels is even (`Levels.even`). The sum of all paired
differences d is then judged by (William G. Cochran, 1977, Sampling Techniques, section 2.8)

    t = mean(d) / (std(d) sqrt(1/m - 1/L))      against Student's t with m - 1 degrees of freedom

at `error_rate / (k - 1)`. It asks for no equal increments, and for nothing to be left once all
levels are seen; it is a normal approximation, and not corrected for being looked at often, which
the levels shared by all looks make up for (tests/test_diffusion_race.py).
"""

from __future__ import annotations

from dataclasses import dataclass

import torch
from scipy.stats import t as student
from torch import Tensor

from ilk.diffusion.levels import Levels
from ilk.diffusion.pace import Pace
from ilk.diffusion.strategy import Ledger, Strategy, lowest
from ilk.errors import InputError


@dataclass(frozen=True)
class Race(Strategy):
    """Levels one after the other, for the classes that are still in it.

    Attributes:
        error_rate: Share of images whose answer may differ from that of all classes at all levels,
            in [0, 1); 0 stops nothing.
        least: Levels before an uncalibrated race stops any class, >= 2.
        pace: What `calibrated` learned; None races uncalibrated.
    """

    error_rate: float = 0.01
    least: int = 8
    pace: Pace | None = None

    def __post_init__(self) -> None:
        if not 0 <= self.error_rate < 1:
            raise InputError(f"error rate {self.error_rate} must be at least 0 and below 1")
        if self.least < 2:
            raise InputError(f"{self.least} levels say nothing of their spread; give at least 2")

    @classmethod
    def calibrated(
        cls,
        errors: Tensor,
        levels: Levels,
        error_rate: float = 0.01,
        among: Levels | None = None,
    ) -> Race:
        """A race that keeps to `error_rate` on images like these.

        Args:
            errors: `[n, k, levels]` of images that the network did not learn from, with the noise
                and distance that will be judged with. No labels needed. To be exact the rate wants
                images that the levels were not learned from.
            levels: What will be judged at, in order.
            error_rate: In [0, 1). It takes `ilk.diffusion.pace.fewest` images: 131 for 0.01, 383
                for 0.003.
            among: The levels of `errors`, in their order, where those are not `levels`: such as
                those that `levels` were learned from.

        Raises:
            InputError: Shapes do not go together, an error is not finite, or there are too few
                images for so low a rate.
        """
        cls(error_rate)
        if among is not None:
            if errors.dim() != 3 or errors.shape[2] != len(among):
                raise InputError(
                    f"errors of shape {tuple(errors.shape)} are not of {len(among)} noise levels"
                )
            errors = errors[:, :, levels.places(among)]
        return cls(error_rate, pace=Pace.of(errors, levels, error_rate))

    def check(self, levels: Levels, n: int, k: int) -> None:
        if self.pace and self.pace.levels != levels:
            raise InputError(
                "this race was calibrated on other noise levels; judge at those, or calibrate anew"
            )

    def settle(self, ledger: Ledger) -> Tensor:
        live, last = ledger.live.clone(), len(ledger.levels)
        sums = torch.zeros(live.shape, dtype=torch.float64)
        for m in range(1, last + 1):
            racing = live.sum(1) > 1
            if not bool(racing.any()):
                break
            ledger.ask(live & racing[:, None], [m - 1])
            sums += torch.nan_to_num(ledger.found[:, :, m - 1])
            if m == last:
                break
            if self.pace:
                live[racing] &= ~self.pace.lost(sums[racing], live[racing], m)
            elif m >= self.least:
                live[racing] &= ~self.behind(ledger.found[racing, :, :m], live[racing], last)
        return lowest(sums, live)

    def behind(self, found: Tensor, live: Tensor, levels: int) -> Tensor:
        """Which classes `[n, k]` have lost, by weighted errors `[n, k, m]` of `levels` in all."""
        (n, k), m = live.shape, found.shape[2]
        leader = found[torch.arange(n), lowest(found.sum(2), live)]
        behind = found - leader[:, None]
        error = behind.std(2) * (1 / m - 1 / levels) ** 0.5
        limit = float(student.ppf(1 - self.error_rate / max(1, k - 1), m - 1))
        lost: Tensor = live & (behind.mean(2) > 0) & (behind.mean(2) > limit * error)
        return lost

    def growth(self, levels: int) -> Tensor:
        if not self.pace:
            return super().growth(levels)
        return torch.tensor(self.pace.growth, dtype=torch.float64)
