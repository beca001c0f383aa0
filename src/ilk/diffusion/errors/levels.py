"""The noise levels of a diffusion classifier, with weights and order of evaluation."""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from dataclasses import asdict, dataclass
from typing import Any

import numpy as np
from torch import Tensor

from ilk.core.errors import ArtifactError, InputError
from ilk.diffusion.denoiser.noise_levels import make_log_grid
from ilk.diffusion.denoiser.protocol import Denoises
from ilk.diffusion.errors.class_errors import draw_level_noise
from ilk.diffusion.errors.level_order import order_evenly, order_greedily, select_labelled
from ilk.diffusion.errors.weighting import Array, WeightEstimator, get_weighting

MIN_SIGMA_RATIO, MAX_SIGMA_RATIO = 1 / 6, 10.0  # to sigma_data; beyond, classes look alike
DEFAULT_SIGMA_DATA = 0.5  # for data in [-1, 1] (Karras et al. 2022, table 1)


@dataclass(frozen=True)
class Levels:
    """Noise levels in order of evaluation, most informative first.

    Attributes:
        sigmas: Standard deviations, > 0; repeated levels each have their own noise.
        weights: Weights of the errors of the clean image, mean 1.
        noise_indices: Index of the noise of each level among those of a seed, so that a level keeps
            its noise when the order changes. Empty for 0, 1, 2, ...

    Raises:
        InputError: There are none, or the lengths or values are invalid.
    """

    sigmas: tuple[float, ...]
    weights: tuple[float, ...]
    noise_indices: tuple[int, ...] = ()

    def __post_init__(self) -> None:
        if not self.noise_indices:
            object.__setattr__(self, "noise_indices", tuple(range(len(self.sigmas))))
        if not len(self.sigmas) == len(self.weights) == len(self.noise_indices) > 0:
            raise InputError(
                f"{len(self.sigmas)} noise levels, {len(self.weights)} weights and "
                f"{len(self.noise_indices)} noise indices differ in number; give one of each per "
                "level, and at least one level"
            )
        if not all(0 < s < math.inf for s in self.sigmas):
            raise InputError(f"noise levels must be above 0 and finite; one is {min(self.sigmas)}")
        if not abs(math.fsum(self.weights) / len(self.weights) - 1) < 1e-4:
            raise InputError("the weights of noise levels must be finite and 1 on average")
        if len(set(self.noise_indices)) < len(self.noise_indices) or min(self.noise_indices) < 0:
            raise InputError("noise indices must be distinct and >= 0")

    def __len__(self) -> int:
        return len(self.sigmas)

    def draw_noise(self, network: Denoises, seed: int = 0) -> Tensor:
        """Draw the noise of each level, `[levels, c, h, w]`."""
        return draw_level_noise(network, max(self.noise_indices) + 1, seed)[
            list(self.noise_indices)
        ]

    def take(self, indices: Sequence[int]) -> Levels:
        """Select levels by position; the weights are rescaled to mean 1.

        Raises:
            InputError: The weights of the selected levels are all 0.
        """
        raw_weights = np.array([self.weights[i] for i in indices])
        if not raw_weights.sum() > 0:
            raise InputError("the levels taken have no weight between them; take others as well")
        weights = tuple(map(float, raw_weights / raw_weights.mean()))
        return Levels(
            tuple(self.sigmas[i] for i in indices),
            weights,
            tuple(self.noise_indices[i] for i in indices),
        )

    def sort_by_sigma(self) -> Levels:
        """Return the same levels sorted by sigma, lowest first."""
        return self.take(
            sorted(range(len(self)), key=lambda i: (self.sigmas[i], self.noise_indices[i]))
        )

    def find_indices(self, other: Levels) -> list[int]:
        """Return the position of each level in `other`, to select its errors from theirs.

        Raises:
            InputError: A level with its noise is not in `other`.
        """
        position = {
            pair: i for i, pair in enumerate(zip(other.sigmas, other.noise_indices, strict=True))
        }
        try:
            return [position[pair] for pair in zip(self.sigmas, self.noise_indices, strict=True)]
        except KeyError as missing:
            level = f"noise level {missing.args[0][0]:.4g} is not among the others with its noise"
            raise InputError(f"{level}; take levels that were learned from those") from None

    @classmethod
    def log_spaced(
        cls,
        network: Denoises,
        count: int = 32,
        low: float | None = None,
        high: float | None = None,
        weights: str = "likelihood",
        distance: str = "l2",
    ) -> Levels:
        """Return levels evenly spaced in ln sigma, ordered so that every prefix covers the range.

        Args:
            network: Levels are limited to its training range.
            count: Number of levels, >= 1.
            low: Lowest level; None is a sixth of the standard deviation of the data.
            high: Highest level; None is ten times the standard deviation of the data.
            weights: `uniform`, `likelihood` or `fading` (`ilk.diffusion.errors.weighting`).
            distance: Distance of the errors: `l2`, `l1` or `huber`.

        Raises:
            InputError: The range is empty.
            UnknownName: The weighting is unknown.
        """
        sigma_data = float(getattr(network, "sigma_data", DEFAULT_SIGMA_DATA))
        ends = (
            sigma_data * MIN_SIGMA_RATIO if low is None else low,
            sigma_data * MAX_SIGMA_RATIO if high is None else high,
        )
        lowest, highest = network.sigmas
        sigmas = (
            make_log_grid((max(ends[0], lowest), min(ends[1], highest)), count).double().numpy()
        )
        order = order_evenly(count)
        return cls(_floats(sigmas[order]), _floats(get_weighting(weights)(sigmas, distance)[order]))

    @classmethod
    def from_schedule(
        cls, network: Denoises, count: int, weights: str = "likelihood", distance: str = "l2"
    ) -> Levels:
        """Return the grid of the paper, lowest level first, weighted as plain epsilon errors.

        For a network with T discrete steps these are `floor(s/2) + j s` with `s = floor(T/count)`
        (Li et al. 2023, arXiv 2303.16203); for any other network, levels evenly spaced in ln sigma.

        Raises:
            InputError: The network has fewer steps than `count`.
            UnknownName: The weighting is unknown.
        """
        schedule = getattr(getattr(network, "parameterization", None), "schedule", None)
        if schedule is None:
            levels = cls.log_spaced(
                network, count, weights=weights, distance=distance
            ).sort_by_sigma()
            return cls(levels.sigmas, levels.weights)
        total = len(schedule.sigmas)
        if not 1 <= count <= total:
            raise InputError(f"{count} levels of a network of {total} steps; give 1 to {total}")
        stride = total // count
        sigmas = schedule.sigmas[stride // 2 :: stride][:count].double().cpu().numpy()
        return cls(_floats(sigmas), _floats(get_weighting(weights)(sigmas, distance)))

    @classmethod
    def learn(
        cls,
        errors: Tensor,
        y: Tensor,
        levels: Levels | Sequence[float],
        estimator: WeightEstimator = WeightEstimator(),  # noqa: B008  (frozen)
        distance: str = "l2",
        max_levels: int | None = None,
    ) -> Levels:
        """Learn weights and order from a few labelled images.

        A level that repeats the information of earlier ones is ordered late, however accurate it is
        alone.

        Args:
            errors: `[n, k, levels]`, of images that the network was not trained on.
            y: Class indices `[n]`; rows of -1 are ignored.
            levels: The levels of the errors: `Levels`, or sigmas with noise indices 0, 1, ...
            estimator: How weights are learned.
            distance: Distance of the errors.
            max_levels: Maximum number of levels to keep; None keeps all.

        Raises:
            InputError: Shapes do not match, an error is not finite, or a label is out of range.
            NoLabels: No image has a label.
        """
        sigmas = levels.sigmas if isinstance(levels, Levels) else tuple(map(float, levels))
        noise_indices = levels.noise_indices if isinstance(levels, Levels) else ()
        labelled_errors, label = select_labelled(errors, y, len(sigmas))
        weights = estimator.fit_weights(labelled_errors, label, np.array(sigmas), distance)
        order = order_greedily(labelled_errors, label, weights)
        return cls(sigmas, _floats(weights), noise_indices).take(order[:max_levels])

    def to_json(self) -> dict[str, Any]:
        """Return the levels as plain JSON."""
        return {name: list(values) for name, values in asdict(self).items()}

    @classmethod
    def from_json(cls, data: Mapping[str, Any]) -> Levels:
        """Read the levels from the result of `to_json`.

        Raises:
            ArtifactError: The data are invalid.
        """
        try:
            return cls(
                tuple(map(float, data["sigmas"])),
                tuple(map(float, data["weights"])),
                tuple(map(int, data.get("noise_indices", ()))),
            )
        except (KeyError, TypeError, ValueError, AttributeError, InputError) as error:
            raise ArtifactError(f"noise levels cannot be read: {error!r}; tune again") from None


def _floats(values: Array) -> tuple[float, ...]:
    return tuple(map(float, values))
