"""`EncoderOptions`: options for opening an encoder, common to all families."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING

from ilk.diffusion.classification.context import ClassificationContext

if TYPE_CHECKING:
    from ilk.images import Images


@dataclass(frozen=True, eq=False)
class EncoderOptions:
    """Options for opening an encoder; each family uses those that apply to it.

    Attributes:
        images: The images to encode; plain `pixels` fits its size to them.
        device: `auto`, `cpu`, `cuda`, `cuda:N` or `mps`, for encoders that run a network.
        runtime: `auto`, `torch`, `openvino` or `onnxruntime`, likewise.
        precision: `float32` or `bfloat16`, likewise.
        context: The candidate classes, for `diffusion-classifier`.
    """

    images: Images | None = None
    device: str = "auto"
    runtime: str = "auto"
    precision: str = "float32"
    context: ClassificationContext = ClassificationContext()  # noqa: RUF009  (frozen)
