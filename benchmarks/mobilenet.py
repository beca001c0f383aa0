"""Features of photographs: the ImageNet MobileNetV2 of the shared weights."""

from __future__ import annotations

from collections.abc import Sequence
from functools import cache
from typing import Any

import numpy as np
from PIL import Image

from benchmarks.runner import shared_path
from benchmarks.shared_files import Pixels
from ilk.core.data import Features

IMAGE_SIZE = 96  # pixels; photographs are resized to it
BATCH_SIZE = 64


def extract_features(images: Sequence[Image.Image] | Pixels, size: int = IMAGE_SIZE) -> Features:
    """Return MobileNetV2 features `[n, 1280]` of images resized to `size` x `size` pixels."""
    import torch

    network = _load_mobilenet()
    rows = []
    for at in range(0, len(images), BATCH_SIZE):
        part = [_resize_image(image, size) for image in images[at : at + BATCH_SIZE]]
        batch = torch.from_numpy(np.stack(part)).permute(0, 3, 1, 2).float()
        with torch.inference_mode():
            rows.append(network(batch.div(127.5).sub(1)).numpy())
    return np.concatenate(rows)


def _resize_image(image: Image.Image | Pixels, size: int) -> Pixels:
    image = image if isinstance(image, Image.Image) else Image.fromarray(image)
    return np.asarray(image.convert("RGB").resize((size, size), Image.Resampling.BICUBIC))


@cache
def _load_mobilenet() -> Any:
    """Return the network as timm builds it; its mean and standard deviation are 0.5."""
    from ilk.encoders.timm import CHECKPOINT_FILES, TimmCheckpoint
    from ilk.hub import client

    folder = str(shared_path("weights", "mobilenetv2_100.imagenet"))
    checkpoint = TimmCheckpoint(client.open_local(folder, CHECKPOINT_FILES))
    preprocess = checkpoint.preprocess
    assert preprocess.mean == (0.5, 0.5, 0.5) == preprocess.std, "as `extract_features` scales"
    return checkpoint.build_network().eval()
