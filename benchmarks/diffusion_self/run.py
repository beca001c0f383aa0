"""Self-Bench on pairs: does a diffusion classifier understand which digit has which colour?

Entry diffusion-clf-compositionality. Images of 16 x 16 pixels show two of scikit-learn's digits
side by side, each in another of four colours, at any height; one of 1,080 captions describes each.
A U-Net and a small DiT are pretrained on 5,000 images of training digits, conditioned on captions
through an embedding of objects. Two controls have the trunk and the caption embedding of the U-Net
and its processor time: two towers trained contrastively on the same images, without and with the
caption with exchanged colours as one more negative. Every image is scored under its true caption
and under one wrong caption per task: another digit, another colour, exchanged colours (binding),
exchanged objects (position); guessing is right for half. Images are real ones of test digits, and
those that each network drew for the same captions and that a judge on nearest real digits accepts:
in-domain for that network, cross-domain for the other. Half of the images are tested, under the
plain mean of errors, exp(-7t), and level weights learned from the other half. Seeds 3 to 5.
Finished parts are cached, so the total time is that of the last command.
"""

from __future__ import annotations

from functools import partial
from typing import Any

from benchmarks.diffusion_self.pairs import Sizes, evaluate_seed, plot_levels, summarize_seeds
from benchmarks.diffusion_setup import load_or_compute

SEEDS = (3, 4, 5)
FULL, SMALL = Sizes(), Sizes(3, 64, 12, 8)


def run(small: bool = False) -> dict[str, Any]:
    """Return accuracy by classifier, set of images and task."""
    sizes = SMALL if small else FULL
    seeds = [
        load_or_compute(f"pairs-{seed}-{sizes.steps}", partial(evaluate_seed, seed, sizes))
        for seed in SEEDS[: 1 if small else None]
    ]
    return {**summarize_seeds(seeds), "seeds": len(seeds), "plots": [plot_levels(seeds)]}
