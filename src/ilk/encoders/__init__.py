"""Encoders turn images into rows of features; each has a name.

| name | network |
|---|---|
| `pixels`, `pixels/8x8x1` | none: the image itself, resized |
| `hog`, `hog/32` | none: histograms of oriented gradients |
| `timm/NAME` | a network that timm knows, from the hub or its cache |
| `hf-hub:ORG/NAME` | any hub repository that holds a timm network |
| `local-dir:PATH` | a folder that holds one (`config.json`, `model.safetensors`) |
| `clip/ORG/NAME`, `clip/local-dir:PATH` | CLIP or SigLIP, with its text side |
| `diffusion:PATH`, `diffusion:PATH@block=5,sigma=0.4,pool=2` | layers of a diffusion model |
| `diffusion-classifier:PATH` | one score per class, from a diffusion model used as a classifier |

Preprocessing is read from the network's own configuration. `@resize=squash` (or `crop`,
`letterbox`) behind a name changes how images of another shape are brought to the input size,
`@views=6` averages the features over flips and crops, `@resize=squash,views=6` does both. Encoders
of diffusion models have one way to resize.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

from ilk.core.capabilities import Embeds
from ilk.encoders.registry import resolve_encoder, restore_encoder

if TYPE_CHECKING:
    from ilk.images import Images

__all__ = ["choose_encoders", "resolve_encoder", "restore_encoder"]


def choose_encoders(
    images: Images, *, device: str = "auto", runtime: str = "auto", precision: str = "float32"
) -> tuple[list[Embeds], str]:
    """Open the default encoders that are available, and return one line that lists them.

    `pixels` and `hog` always; a CLIP and an ImageNet network if their files are on this machine or
    the hub answers within 3 seconds (contacted at most once, never with `HF_HUB_OFFLINE`).
    """
    from ilk.encoders.default_encoders import choose_default_encoders

    return choose_default_encoders(images, device, runtime, precision)
