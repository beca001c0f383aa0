"""The noise levels a diffusion classifier judges at: how much each counts, which comes first."""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from dataclasses import asdict, dataclass
from typing import Any

import numpy as np
from torch import Tensor

from ilk.diffusion.classify import noises
from ilk.diffusion.contract import Denoises
from ilk.diffusion.noise import grid
from ilk.diffusion.order import labelled, spread_out, telling
from ilk.diffusion.weighting import Array, Fit, weighting
from ilk.errors import ArtefactError, InputError

LOW, HIGH = 1 / 6, 10.0  # of the data's spread: below and above, classes look alike (trial, digits)
SPREAD = 0.5  # of data in [-1, 1] whose network does not tell (Karras et al. 2022, table 1)


@dataclass(frozen=True)
class Levels:
    """Noise levels in order of evaluation, most telling first.

    Attributes:
        sigmas: Standard deviations, > 0; one may stand several times, each with its own noise.
        weights: Factors of the errors of the clean image, mean 1.
        draws: Which noise of a seed each level takes, so that a level keeps its noise when the
            order changes. Empty for 0, 1, 2, …

    Raises:
        InputError: There are none, or their numbers cannot be.
    """

    sigmas: tuple[float, ...]
    weights: tuple[float, ...]
    draws: tuple[int, ...] = ()

    def __post_init__(self) -> None:
        if not self.draws:
            object.__setattr__(self, "draws", tuple(range(len(self.sigmas))))
        if not len(self.sigmas) == len(self.weights) == len(self.draws) > 0:
            raise InputError(
                f"{len(self.sigmas)} noise levels, {len(self.weights)} weights and "
                f"{len(self.draws)} draws do not go together; give as many of each, at least one"
            )
        if not all(0 < s < math.inf for s in self.sigmas):
            raise InputError(f"noise levels must be above 0 and finite; one is {min(self.sigmas)}")
        if not abs(math.fsum(self.weights) / len(self.weights) - 1) < 1e-4:
            raise InputError("the weights of noise levels must be finite and 1 on average")
        if len(set(self.draws)) < len(self.draws) or min(self.draws) < 0:
            raise InputError("each noise level takes a noise of its own, counted from 0")

    def __len__(self) -> int:
        return len(self.sigmas)

    def noise(self, network: Denoises, seed: int = 0) -> Tensor:
        """The noise of each level, `[levels, c, h, w]`."""
        return noises(network, max(self.draws) + 1, seed)[list(self.draws)]

    def take(self, at: Sequence[int]) -> Levels:
        """The levels at these places, in that order; weights are of mean 1 again."""
        kept = np.array([self.weights[i] for i in at])
        if not kept.sum() > 0:
            raise InputError("the levels taken have no weight between them; take others as well")
        weights = tuple(map(float, kept / kept.mean()))
        return Levels(tuple(self.sigmas[i] for i in at), weights, tuple(self.draws[i] for i in at))

    def rising(self) -> Levels:
        """The same levels by sigma, lowest first, as the paper's time runs."""
        return self.take(sorted(range(len(self)), key=lambda i: (self.sigmas[i], self.draws[i])))

    def places(self, among: Levels) -> list[int]:
        """Where each of these levels stands among others, to pick its errors from theirs.

        Raises:
            InputError: One is not there with the same noise.
        """
        there = {pair: i for i, pair in enumerate(zip(among.sigmas, among.draws, strict=True))}
        try:
            return [there[pair] for pair in zip(self.sigmas, self.draws, strict=True)]
        except KeyError as missing:
            level = f"noise level {missing.args[0][0]:.4g} is not among the others with its noise"
            raise InputError(f"{level}; take levels that were learned from those") from None

    @classmethod
    def even(
        cls,
        network: Denoises,
        count: int = 32,
        low: float | None = None,
        high: float | None = None,
        weights: str = "likelihood",
        distance: str = "l2",
    ) -> Levels:
        """Evenly spaced in ln sigma, in an order of which every beginning covers the range.

        Args:
            network: Told levels outside its own are not asked for.
            count: How many, >= 1.
            low: Lowest; None takes a sixth of the data's spread.
            high: Highest; None takes ten times the data's spread.
            weights: `uniform`, `likelihood` or `fading` (`ilk.diffusion.weighting`).
            distance: Of the errors that are weighed: `l2`, `l1` or `huber`.

        Raises:
            InputError: There are no levels between, inside the network's own.
            UnknownName: No weighting is called so.
        """
        spread = float(getattr(network, "spread", SPREAD))
        ends = (spread * LOW if low is None else low, spread * HIGH if high is None else high)
        least, most = network.sigmas
        sigmas = grid((max(ends[0], least), min(ends[1], most)), count).double().numpy()
        order = spread_out(count)
        return cls(_floats(sigmas[order]), _floats(weighting(weights)(sigmas, distance)[order]))

    @classmethod
    def steps(
        cls, network: Denoises, count: int, weights: str = "likelihood", distance: str = "l2"
    ) -> Levels:
        """The paper's grid, lowest level first, weighed as plain errors of epsilon.

        Of a network trained in T steps they are steps `floor(s/2) + j s`, `s = floor(T/count)`, by
        their ratio of signal to noise (Li et al. 2023, arXiv 2303.16203); of any other, levels
        evenly spaced in ln sigma.

        Raises:
            InputError: The network has fewer steps than `count`.
            UnknownName: No weighting is called so.
        """
        schedule = getattr(getattr(network, "convention", None), "schedule", None)
        if schedule is None:
            found = cls.even(network, count, weights=weights, distance=distance).rising()
            return cls(found.sigmas, found.weights)
        total = len(schedule.sigmas)
        if not 1 <= count <= total:
            raise InputError(f"{count} levels of a network of {total} steps; give 1 to {total}")
        stride = total // count
        sigmas = schedule.sigmas[stride // 2 :: stride][:count].double().cpu().numpy()
        return cls(_floats(sigmas), _floats(weighting(weights)(sigmas, distance)))

    @classmethod
    def learned(
        cls,
        errors: Tensor,
        y: Tensor,
        levels: Levels | Sequence[float],
        fit: Fit = Fit(),  # noqa: B008  (frozen)
        distance: str = "l2",
        keep: int | None = None,
    ) -> Levels:
        """Weighed and ordered by how much they tell of a few labelled images.

        A level that repeats what those before it told comes late, however well it does alone.

        Args:
            errors: `[n, k, levels]`, of images that the network did not learn from.
            y: Class indices `[n]`; rows of -1 are left out.
            levels: What the errors are of, in their order: `Levels`, or sigmas with draws 0, 1, ….
            fit: How weights are learned.
            distance: Of the errors.
            keep: The first so many of the order; None keeps all.

        Raises:
            InputError: Shapes do not go together, an error is not finite or a label of no class.
            NoLabels: No image has a label.
        """
        given = levels.sigmas if isinstance(levels, Levels) else tuple(map(float, levels))
        draws = levels.draws if isinstance(levels, Levels) else ()
        known, label = labelled(errors, y, len(given))
        weights = fit.weights(known, label, np.array(given), distance)
        order = telling(known, label, weights)
        return cls(given, _floats(weights), draws).take(order[:keep])

    def to_json(self) -> dict[str, Any]:
        """As plain JSON."""
        return {name: list(values) for name, values in asdict(self).items()}

    @classmethod
    def from_json(cls, data: Mapping[str, Any]) -> Levels:
        """What `to_json` gave, read back.

        Raises:
            ArtefactError: It is something else.
        """
        try:
            return cls(
                tuple(map(float, data["sigmas"])),
                tuple(map(float, data["weights"])),
                tuple(map(int, data.get("draws", ()))),
            )
        except (KeyError, TypeError, ValueError, AttributeError, InputError) as error:
            raise ArtefactError(f"noise levels cannot be read: {error!r}; tune them anew") from None


def _floats(values: Array) -> tuple[float, ...]:
    return tuple(map(float, values))
