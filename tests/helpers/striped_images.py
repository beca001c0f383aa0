"""Pictures of stripes, and a small network with random weights, for tests of tuned networks."""

from __future__ import annotations

from pathlib import Path

import numpy as np
from PIL import Image

from ilk.encoders.tuned_network import (
    STUDENT,
    TunedNetwork,
    build_student,
    take_state,
    write_tuned_network,
)
from ilk.hub.preprocessing import Preprocess

SIDE = 16
PREPROCESS = Preprocess(
    (SIDE, SIDE), (SIDE, SIDE), "squash", "bilinear", mean=(0.5,) * 3, std=(0.25,) * 3
)
SETTINGS = {"channels": 3, "size": [SIDE, SIDE]}


def write_stripes(folder: Path, per_class: int = 60, contrast: float = 40.0, seed: int = 0) -> Path:
    """A folder of level and upright stripes in noise, one folder per class."""
    rng = np.random.default_rng(seed)
    for label in ("level", "upright"):
        (folder / label).mkdir(parents=True)
        for i in range(per_class):
            wave = contrast * np.sin(np.arange(SIDE) * np.pi / 2 + rng.uniform(0, 2 * np.pi))
            image = np.tile(wave[:, None, None], (1, SIDE, 3)) + rng.normal(
                128, 40, (SIDE, SIDE, 3)
            )
            image = image if label == "level" else image.swapaxes(0, 1)
            pixels = np.clip(image, 0, 255).astype(np.uint8)
            Image.fromarray(pixels).save(folder / label / f"{i}.png")
    return folder


def write_network(folder: Path, seed: int = 0) -> str:
    """Write an untrained network; return the name that opens it."""
    import torch

    network = build_student("cnn-15k", SETTINGS)
    with torch.no_grad():
        next(network.parameters()).add_(0.01 * seed)
        width = network(torch.zeros(1, 3, SIDE, SIDE)).shape[1]
    tuned = TunedNetwork(STUDENT, PREPROCESS, width, take_state(network), None, "cnn-15k", SETTINGS)
    write_tuned_network(folder, tuned)
    return f"tuned:{folder}"
