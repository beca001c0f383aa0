"""What the classifier that an encoder was pretrained with says of features."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path
from typing import Any

import numpy as np

from ilk.data import Features
from ilk.encoders import Embeds
from ilk.encoders.checkpoint import shapes
from ilk.encoders.configs import read_json
from ilk.encoders.network import Network
from ilk.metrics import Probabilities, softmax
from ilk.models import affine


def source_probabilities(encoder: Embeds, x: Features) -> Probabilities | None:
    """Probabilities `[n, z]` of its own classes for features `x [n, d]` of `encoder`.

    None where its files hold no classifier of those features: networks in timm's form have one
    (their last layer), the others here do not.
    """
    if not isinstance(encoder, Network) or encoder.checkpoint.family != "timm":
        return None
    folder = encoder.checkpoint.folder
    head = _head(folder, x.shape[1])
    if head is None:
        return None
    weight, bias = _read(folder / "model.safetensors", head)
    return np.asarray(softmax(affine(x, weight, bias), axis=1), np.float64)


def _head(folder: Path, width: int) -> str | None:
    """Name of the one linear layer, of more than one class, that reads `width` features."""
    config = read_json(folder / "config.json")
    told: Mapping[str, Any] = config.get("pretrained_cfg", config)
    name = told.get("classifier")
    shape = shapes(folder / "model.safetensors").get(f"{name}.weight", ())
    fits = len(shape) >= 2 and shape[0] > 1 and shape[1:] == (width,) + (1,) * (len(shape) - 2)
    return str(name) if isinstance(name, str) and fits else None


def _read(path: Path, head: str) -> tuple[Features, Features]:
    """Weight `[z, d]` and bias `[z]`; 0 where the layer has none."""
    from safetensors import safe_open

    with safe_open(path, "pt") as file:  # numpy knows no bfloat16
        weight = file.get_tensor(f"{head}.weight").float().numpy()
        has_bias = f"{head}.bias" in set(file.keys())
        bias = file.get_tensor(f"{head}.bias").float().numpy() if has_bias else None
    none = np.zeros(len(weight), np.float32)
    return weight.reshape(len(weight), -1), none if bias is None else bias
