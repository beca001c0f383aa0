"""The diffusion classifier: what does an answer cost, and what does it buy?

Accuracy on test images against calls of the network an image: all classes at the first 1 to 64 of
evenly spread levels; the paper's two-stage pruning (50 levels, five classes kept, 500 levels); ours
(a race over learnt levels that stops a class once it has lost, at three error rates); and one
optimised noise. Level weights, races and noises are learnt from images that neither the network nor
the test has: a quarter of the training part of digits (seeds 0 to 2), 2,000 images kept out of
Fashion-MNIST (one network, three seeds of the noise). Seconds are of the same run, one process, and
compare only with each other. Two-stage pruning of Fashion-MNIST runs on a fifth of the test images,
20 of each class, so it stands beside the others on the same fifth.
"""

from __future__ import annotations

import time
from collections.abc import Callable
from typing import Any

import numpy as np
import torch

from ilk.bench import spread
from ilk.bench._diffusion import (
    Pictures,
    accuracy,
    clean,
    digits,
    digits_plan,
    fashion,
    fashion_plan,
    first,
    pretrained,
)
from ilk.diffusion.classify import Measure, errors, scores
from ilk.diffusion.denoiser import Denoiser
from ilk.diffusion.levels import Levels
from ilk.diffusion.race import Race
from ilk.diffusion.single_noise import best_sigma, single_noise_accuracy
from ilk.diffusion.staged import Staged
from ilk.diffusion.trial import Trial
from ilk.diffusion.tuning import Tuning, optimise
from ilk.diffusion.verdict import Verdict
from ilk.errors import Unavailable
from ilk.train import Batch

SEEDS = (0, 1, 2)
COUNTS = (1, 2, 4, 8, 16, 32, 64)
RATES = (0.001, 0.01, 0.05)
NOISES, SHOTS = 50, 8
MEASURE = Measure(batch=512, precision="bfloat16")

Row = dict[str, Any]


def run(small: bool = False) -> dict[str, Any]:
    """Curves of both data sets; Fashion-MNIST is left out where its files are not."""
    if small:
        return _told("digits", [_one(digits(0, 0.25), digits_plan(0, 10), "small", 0, 3)])
    kinds = [
        _told("digits", [_digits(seed) for seed in SEEDS]),
    ]
    try:
        kinds.append(_fashion())
    except Unavailable:
        pass
    plots = [plot for kind in kinds for plot in kind.pop("plots")]
    return {**{k: v for kind in kinds for k, v in kind.items()}, "plots": plots}


def _digits(seed: int) -> list[Row]:
    return _one(digits(seed, 0.25), digits_plan(seed), f"digits-held-{seed}", seed, 0)


def _fashion() -> dict[str, Any]:
    pictures, plan = fashion(), fashion_plan(0)
    return _told("fashion", [_one(pictures, plan, "fashion-0", seed, 200) for seed in SEEDS])


def _one(pictures: Pictures, plan: Any, name: str, seed: int, staged: int) -> list[Row]:
    """One network and one seed of the noise: a row a way of judging."""
    network = pretrained(pictures, plan, name)
    trial = tried(network, first(pictures.held, 400), seed)
    test, part = pictures.test, first(pictures.test, staged) if staged else pictures.test
    rows = _naive(network, test, seed)
    if name in ("small", "fashion-0") and seed or len(part) > len(test):
        part = part
    rows += [_staged(network, part, seed)] + _races(network, trial, test, part, seed)
    return rows + _noise(network, pictures, trial, test, seed)


def tried(network: Denoiser, held: Batch, seed: int) -> Trial:
    """Errors of held-out images at 32 levels."""
    levels = Levels.even(network, 32)
    made = errors(
        network, clean(held), torch.tensor(levels.sigmas), levels.noise(network, seed), MEASURE
    )
    return Trial(made, held.y, levels)
