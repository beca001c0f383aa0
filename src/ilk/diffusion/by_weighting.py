"""Accuracy of a diffusion classifier under each weighting of its noise levels, on held-out images.

`uniform` is the plain mean of the errors of epsilon, `exp(-7t)` lets them fall with time (Kevin
Clark and Priyank Jaini, 2023, arXiv 2303.15233), `learned` is fitted to the images that are not
held out, cross-validated within them (Yujin Jeong and others, 2025, arXiv 2505.17955, section 5.4).
"""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import Any

import numpy as np
import torch
from torch import Tensor

from ilk.diffusion.calls import Measure
from ilk.diffusion.classify import errors, scores
from ilk.diffusion.contract import Denoises
from ilk.diffusion.levels import Levels
from ilk.diffusion.sample import Sampler
from ilk.errors import InputError
from ilk.metrics import wilson
from ilk.progress import Progress

RULES = {"uniform": "likelihood", "exp(-7t)": "fading"}  # in terms of the clean image's errors


@dataclass(frozen=True)
class Settings:
    """How a self-made test is drawn and judged.

    Attributes:
        each: Images drawn of every class, >= 1.
        sampler: How they are drawn; its guidance pushes them into their class.
        levels: Noise levels they are judged at.
        seed: Of the split and of the noise they are judged with.
        measure: Distance, calls at once, precision, device.
    """

    each: int = 40
    sampler: Sampler = field(default_factory=Sampler)
    levels: int = 16
    seed: int = 0
    measure: Measure = field(default_factory=Measure)

    def __post_init__(self) -> None:
        if self.each < 1:
            raise InputError(f"{self.each} images of every class test nothing; draw at least 1")


def judged_by(
    network: Denoises,
    x: Tensor,
    y: Tensor,
    held: Tensor,
    settings: Settings,
    progress: Progress,
) -> tuple[dict[str, Tensor], dict[str, Any]]:
    """Hits on the images `held` out under each weighting, and what single levels tell of them."""
    measure, m = settings.measure, settings.levels
    rules = {
        name: Levels.even(network, m, weights=rule, distance=measure.distance)
        for name, rule in RULES.items()
    }
    even = rules["uniform"]
    noise, sigmas = even.noise(network, settings.seed), torch.tensor(even.sigmas)
    made = errors(network, x, sigmas, noise, measure, progress)
    learned = Levels.learned(made[~held], y[~held], even, distance=measure.distance)
    at = torch.tensor([even.draws.index(d) for d in learned.draws])
    accurate = {
        name: hits(scores(made[held], torch.tensor(levels.weights)), y[held])
        for name, levels in rules.items()
    }
    weights = torch.tensor(learned.weights)
    accurate["learned"] = hits(scores(made[held][:, :, at], weights), y[held])
    single = [hits(-made[held][:, :, j], y[held]).double().mean().item() for j in range(m)]
    alone = dict(zip(even.sigmas, single, strict=True))
    return accurate, {
        "weights": learned.to_json(),
        "one level alone": [{"sigma": s, "accuracy": alone[s]} for s in sorted(alone)],
    }


def hits(scores: Tensor, y: Tensor) -> Tensor:
    """Whether the true class beats every other, `[n]`; a tie is no hit."""
    true = scores.gather(1, y[:, None])
    others = scores.scatter(1, y[:, None], -torch.inf)
    return true[:, 0] > others.amax(1)


def interval(hit: Tensor) -> dict[str, float]:
    """How many, of how many, the share and its Wilson interval."""
    found = wilson(int(hit.sum()), len(hit))
    return {"hits": int(hit.sum()), "of": len(hit), "value": found.value,
            "low": found.low, "high": found.high}  # fmt: skip


def apart(own: Tensor, other: Tensor) -> dict[str, float]:
    """Own accuracy less the other's on the same images, with a 95 % interval (paired, normal)."""
    gain = own.double().numpy() - other.double().numpy()
    half = 1.96 * float(np.std(gain)) / len(gain) ** 0.5
    mean = float(np.mean(gain))
    return {"value": mean, "low": mean - half, "high": mean + half}
