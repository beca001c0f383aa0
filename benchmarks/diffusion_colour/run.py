"""How does one diffusion model compare with trained classifiers on CIFAR-10 at 32 x 32?

The same table as diffusion_fashion on CIFAR-10 recompressed as JPEG, so that no figure is
comparable with published ones. 48,000 training images, 2,000 held out for every choice, 1,000 fixed
test images (the first 100 of each class by name). One U-Net of 2.5 million weights on patches of 4
x 4, pretrained once with mirrored images (6,000 steps of 128, 16 epochs: an hour on one CPU core,
minutes on a GPU; the machine is named above the figures); three seeds of the noise used for
classification. Everything else is as in diffusion_fashion. Finished parts are cached, so the total
time is that of the last command.
"""

from __future__ import annotations

from dataclasses import replace
from typing import Any

from benchmarks.diffusion_fashion.run import make_table
from benchmarks.diffusion_setup import load_cifar_images, make_fashion_config


def run(small: bool = False) -> dict[str, Any]:
    """Return the table; `small` trains for two steps and tests ten images."""
    name, steps = ("cifar-small", 2) if small else ("cifar-0", 6_000)
    config = replace(make_fashion_config(0, steps), random_flip=True)
    return make_table(load_cifar_images(), config, name, small=small)
