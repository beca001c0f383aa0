"""Self-Bench on pairs: does a diffusion classifier understand which digit has which colour?

Entry diffusion-clf-compositionality. Images of 16 x 16 pixels show two of the digits 0 to 5 of
scikit-learn side by side, each in another of four colours, on a dark or a grey ground; one of 360
captions describes each. A U-Net is pretrained on 4,000 images of training digits for either ground,
conditioned on captions through an embedding of objects. The control, two towers that are trained
contrastively on the images with dark ground, has the same trunk and embedding and the same
processor time. Every image is scored under its true caption and under one wrong caption per task:
another digit, another colour, exchanged colours (binding), exchanged objects (position); guessing
is right for half. Images are real ones of test digits on both grounds, and those that each network
drew and that a judge on nearest real digits accepts: in-domain for that network, cross-domain for
the other. Half of the images are tested, under the plain mean of errors, exp(-7t), and level
weights learned from the other half. Seeds 4 to 6. Finished parts are cached, so the total time is
that of the last command.
"""

from __future__ import annotations

from functools import partial
from typing import Any

from benchmarks.diffusion_self.pairs import Sizes, evaluate_seed, plot_levels, summarize_seeds
from benchmarks.diffusion_setup import load_or_compute

SEEDS = (4, 5, 6)
FULL, SMALL = Sizes(), Sizes(3, 64, 12, 8)


def run(small: bool = False) -> dict[str, Any]:
    """Return accuracy by classifier, set of images and task."""
    sizes = SMALL if small else FULL
    seeds = [
        load_or_compute(f"pairs-{seed}-{sizes.steps}", partial(evaluate_seed, seed, sizes))
        for seed in SEEDS[: 1 if small else None]
    ]
    return {**summarize_seeds(seeds), "seeds": len(seeds), "plots": [plot_levels(seeds)]}
