"""Colour: the table of Fashion-MNIST on CIFAR-10, recompressed as JPEG, at 32 x 32.

48,000 training images, 2,000 kept out for every choice, 1,000 fixed test images (the first 100 of
each class by name). The images were recompressed, so no figure here compares with published ones.
One U-Net of 2.5 million weights on patches of 4 x 4, pretrained once with mirrored images (6,000
steps of 128, 16 passes: an hour on one core of a processor, minutes on a GPU; the machine is named
above the figures); three seeds of the noise that it judges with. All else as in diffusion_fashion.
Finished parts are kept and not measured again, so the seconds in all are those of the last command.
"""

from __future__ import annotations

from dataclasses import replace
from typing import Any

from ilk.bench._diffusion import cifar, fashion_plan
from ilk.bench.diffusion_fashion import table


def run(small: bool = False) -> dict[str, Any]:
    """The table; `small` trains for two steps and judges ten images."""
    name, steps = ("cifar-small", 2) if small else ("cifar-0", 6_000)
    plan = replace(fashion_plan(0, steps), flips=True)
    return table(cifar(), plan, name, small=small)
