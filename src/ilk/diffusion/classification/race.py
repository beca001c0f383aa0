"""The diffusion classifier that eliminates a class as soon as the data show that it has lost.

All classes of an image share their noise, so at each level the paired difference of two errors is
due to the class, and their running sum soon shows which class leads. Increments differ too much
between levels for a test of independent, equal increments (and thus for a bandit algorithm: Li et
al. 2023, arXiv 2303.16203). There are two rules instead; both bound how often stopping changes the
answer that all levels would give.

Calibrated (`ilk.diffusion.classification.stopping_bound`): the largest lag of the final winner on
other images, in standard deviations of the sum so far, is exceeded on at most `error_rate` of
images, whatever the distribution.

Uncalibrated: the m levels so far are treated as a random sample, without replacement, of all L,
which holds approximately if every prefix of the levels is even (`Levels.log_spaced`). The mean of
the paired differences d is tested by (William G. Cochran, 1977, Sampling Techniques, section 2.8)

    t = mean(d) / (std(d) sqrt(1/m - 1/L))      against Student's t with m - 1 degrees of freedom

at level `error_rate / (k - 1)`. The test is a normal approximation without correction for repeated
looks, which share their levels (tests/diffusion/test_race.py checks the rate).
"""

from __future__ import annotations

from dataclasses import dataclass

import torch
from scipy.stats import t as student
from torch import Tensor

from ilk.core.errors import InputError
from ilk.diffusion.classification.stopping_bound import StoppingBound
from ilk.diffusion.classification.strategy import Ledger, Strategy, select_lowest
from ilk.diffusion.errors.levels import Levels


@dataclass(frozen=True)
class Race(Strategy):
    """Evaluate level after level, for the classes that are not yet eliminated.

    Attributes:
        error_rate: Proportion of images whose answer may differ from that of the exhaustive
            strategy, in [0, 1); 0 eliminates nothing.
        min_levels: Levels before an uncalibrated race eliminates a class, >= 2.
        bound: The bound of a calibrated race; None for an uncalibrated one.

    Raises:
        InputError: A number is out of range.
    """

    error_rate: float = 0.01
    min_levels: int = 8
    bound: StoppingBound | None = None

    def __post_init__(self) -> None:
        if not 0 <= self.error_rate < 1:
            raise InputError(f"error rate {self.error_rate} must be at least 0 and below 1")
        if self.min_levels < 2:
            raise InputError(
                f"min_levels {self.min_levels} must be at least 2 to estimate a standard deviation"
            )

    @classmethod
    def calibrate(
        cls,
        errors: Tensor,
        levels: Levels,
        error_rate: float = 0.01,
        error_levels: Levels | None = None,
    ) -> Race:
        """Return a race that keeps `error_rate` on images exchangeable with the given ones.

        Args:
            errors: `[n, k, levels]`, of images that the network was not trained on, with the noise
                and distance used later. No labels needed. The rate is exact for images that the
                levels were not learned from.
            levels: Levels of the race, in order.
            error_rate: In [0, 1). Requires `stopping_bound.count_min_images(error_rate)` images:
                131 for 0.01, 383 for 0.003.
            error_levels: Levels of `errors`, in order, if they differ from `levels`.

        Raises:
            InputError: Shapes do not match, an error is not finite, or there are too few images.
        """
        cls(error_rate)
        if error_levels is not None:
            if errors.dim() != 3 or errors.shape[2] != len(error_levels):
                raise InputError(
                    f"errors of shape {tuple(errors.shape)} are not of {len(error_levels)} "
                    "noise levels"
                )
            errors = errors[:, :, levels.find_indices(error_levels)]
        return cls(error_rate, bound=StoppingBound.from_errors(errors, levels, error_rate))

    def check(self, levels: Levels, n: int, k: int) -> None:
        """Check that the levels are those of the calibration.

        Raises:
            InputError: They are not.
        """
        if self.bound and self.bound.levels != levels:
            raise InputError(
                "this race was calibrated on other noise levels; use those, or calibrate again"
            )

    def find_winners(self, ledger: Ledger) -> Tensor:
        """Run the race and return the winners `[n]`."""
        live, last = ledger.live.clone(), len(ledger.levels)
        sums = torch.zeros(live.shape, dtype=torch.float64)
        for m in range(1, last + 1):
            undecided = live.sum(1) > 1
            if not bool(undecided.any()):
                break
            ledger.evaluate(live & undecided[:, None], [m - 1])
            sums += torch.nan_to_num(ledger.errors[:, :, m - 1])
            if m == last:
                break
            if self.bound:
                live[undecided] &= ~self.bound.find_eliminated(sums[undecided], live[undecided], m)
            elif m >= self.min_levels:
                live[undecided] &= ~self.find_eliminated(
                    ledger.errors[undecided, :, :m], live[undecided], last
                )
        return select_lowest(sums, live)

    def find_eliminated(self, errors: Tensor, live: Tensor, n_levels: int) -> Tensor:
        """Return which classes `[n, k]` are eliminated by the t-test.

        Args:
            errors: Weighted errors `[n, k, m]` of the first m levels.
            live: Classes `[n, k]` that are still in the race.
            n_levels: Total number of levels.
        """
        (n, k), m = live.shape, errors.shape[2]
        leader = errors[torch.arange(n), select_lowest(errors.sum(2), live)]
        gaps = errors - leader[:, None]
        standard_error = gaps.std(2) * (1 / m - 1 / n_levels) ** 0.5
        critical_value = float(student.ppf(1 - self.error_rate / max(1, k - 1), m - 1))
        eliminated: Tensor = (
            live & (gaps.mean(2) > 0) & (gaps.mean(2) > critical_value * standard_error)
        )
        return eliminated

    def get_extrapolation(self, n_levels: int) -> Tensor:
        """Return the extrapolation factors `[levels + 1]` of the bound, if calibrated."""
        if not self.bound:
            return super().get_extrapolation(n_levels)
        return torch.tensor(self.bound.extrapolation, dtype=torch.float64)
