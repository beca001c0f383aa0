"""Encoders: from an image to a row of features, by name.

| name | network |
|---|---|
| `pixels`, `pixels/8x8x1` | none: the picture itself, shrunk |
| `hog`, `hog/32` | none: histograms of oriented gradients |
| `timm/NAME` | a network that timm knows, from the hub or its cache |
| `hf-hub:ORG/NAME` | any hub repository that holds a timm network |
| `local-dir:PATH` | a folder that holds one (`config.json`, `model.safetensors`) |
| `clip/ORG/NAME`, `clip/local-dir:PATH` | CLIP or SigLIP, with its text side |
| `diffusion:PATH`, `diffusion:PATH@block=5,sigma=0.4,pool=2` | layers of a diffusion model |
| `diffusion-classifier:PATH` | one score a class, of a diffusion model as a classifier |

Preprocessing comes from the network's own configuration.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

from ilk.encoders.capabilities import Embeds, EmbedsText, Explains, ScoresClasses
from ilk.encoders.names import resolve, restore

if TYPE_CHECKING:
    from ilk.images import Images

__all__ = ["Embeds", "EmbedsText", "Explains", "ScoresClasses", "defaults", "resolve", "restore"]


def defaults(
    images: Images, *, device: str = "auto", runtime: str = "torch", precision: str = "float32"
) -> tuple[list[Embeds], str]:
    """Good encoders that are on this machine or can be had, and one line that says which.

    `pixels` and `hog` always; a CLIP and an ImageNet network where their files are here, or where
    the hub answers within 3 seconds (it is asked once at most, never with `HF_HUB_OFFLINE`).
    """
    from ilk.encoders.choice import choose

    return choose(images, device, runtime, precision)
