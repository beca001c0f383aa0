"""Segments of Segment Anything, through transformers.

Alexander Kirillov and others, 2023, Segment Anything, arXiv 2304.02643. A point inside gives three
masks of different extent, each with an estimate of its quality; the best is taken.
"""

from __future__ import annotations

from dataclasses import dataclass
from functools import lru_cache
from typing import Any

import numpy as np
from numpy.typing import NDArray
from PIL import Image

from ilk.core.errors import InputError
from ilk.explain.segment import Mask, Points
from ilk.explain.transformers_files import open_network
from ilk.hub.client import RequiredFiles

FILES = RequiredFiles(
    (
        (("config.json", "model.safetensors"),),
        (("preprocessor_config.json",), ("processor_config.json",)),
    )
)


@dataclass(frozen=True, eq=False)
class SegmentAnything:
    """A `Segmenter`; safe to call again, always with the same result.

    Attributes:
        network: `SamModel` of transformers.
        processor: `SamProcessor` of transformers.
    """

    network: Any
    processor: Any

    def __call__(self, picture: NDArray[np.uint8], points: Points, background: Mask) -> Mask:
        """Return the segment `[h, w]` of the points; the background is not used."""
        import torch

        inputs = self.processor(
            Image.fromarray(picture),
            input_points=[[[float(x), float(y)] for y, x in points]],
            return_tensors="pt",
        )
        sizes = inputs["original_sizes"], inputs["reshaped_input_sizes"]
        inputs["input_points"] = inputs["input_points"].float()
        with torch.inference_mode():
            found = self.network(**inputs)
        masks = self.processor.image_processor.post_process_masks(found.pred_masks, *sizes)
        best = int(found.iou_scores[0, 0].argmax())
        segment = np.array(masks[0][0, best].numpy(), np.bool_)
        segment[points[:, 0], points[:, 1]] = True
        return segment


@lru_cache(maxsize=1)
def open_segment_anything(name: str) -> SegmentAnything:
    """Open a network from a folder or a hub repository, such as `facebook/sam-vit-base`.

    Raises:
        Unavailable: transformers or a file is missing.
        InputError: It is no Segment Anything network.
    """
    network, processor = open_network(name, FILES, "SamModel")
    if getattr(network.config, "model_type", "") != "sam":
        raise InputError(f"{name} holds a {network.config.model_type} network; name a `sam` one")
    return SegmentAnything(network, processor)
