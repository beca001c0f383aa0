"""Probabilities of the classifier that an encoder was pretrained with."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path
from typing import Any

import numpy as np

from ilk.core.capabilities import Embeds
from ilk.core.data import Features
from ilk.core.linear_models import apply_affine
from ilk.core.metrics import Probabilities, softmax
from ilk.encoders.network import NetworkEncoder
from ilk.encoders.timm import TimmCheckpoint
from ilk.hub.configs import read_json
from ilk.hub.safetensors_header import read_shapes


def predict_source_proba(encoder: Embeds, x: Features) -> Probabilities | None:
    """Return probabilities `[n, z]` of the source classes for features `x [n, d]`.

    None if the encoder's files hold no classifier of those features: timm checkpoints have one
    (their last layer), the others do not.
    """
    if not isinstance(encoder, NetworkEncoder) or not isinstance(
        encoder.checkpoint, TimmCheckpoint
    ):
        return None
    folder = encoder.checkpoint.folder
    head = _find_head(folder, x.shape[1])
    if head is None:
        return None
    weight, bias = _read_head(folder / "model.safetensors", head)
    return np.asarray(softmax(apply_affine(x, weight, bias), axis=1), np.float64)


def _find_head(folder: Path, width: int) -> str | None:
    """Return the name of the only linear layer of several classes with `width` inputs."""
    config = read_json(folder / "config.json")
    pretrained_config: Mapping[str, Any] = config.get("pretrained_cfg", config)
    name = pretrained_config.get("classifier")
    shape = read_shapes(folder / "model.safetensors").get(f"{name}.weight", ())
    is_classifier = (
        len(shape) >= 2 and shape[0] > 1 and shape[1:] == (width,) + (1,) * (len(shape) - 2)
    )
    return str(name) if isinstance(name, str) and is_classifier else None


def _read_head(path: Path, head: str) -> tuple[Features, Features]:
    """Return weight `[z, d]` and bias `[z]`, zeros if the layer has none."""
    from safetensors import safe_open

    with safe_open(path, "pt") as file:  # numpy knows no bfloat16
        weight = file.get_tensor(f"{head}.weight").float().numpy()
        has_bias = f"{head}.bias" in set(file.keys())
        bias = file.get_tensor(f"{head}.bias").float().numpy() if has_bias else None
    zeros = np.zeros(len(weight), np.float32)
    return weight.reshape(len(weight), -1), zeros if bias is None else bias
