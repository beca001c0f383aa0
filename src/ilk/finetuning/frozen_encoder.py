"""What is frozen, as an encoder: its activations are computed once per image and stored.

It is an encoder like any other, so an inference engine runs it, the store keeps its rows, and an
interrupted run continues where it stopped. Mirrored images are the rows of a second encoder, which
shares the network.
"""

from __future__ import annotations

import copy
import threading
from typing import TYPE_CHECKING, Any

import numpy as np
from PIL import Image

from ilk.encoders.network import Checkpoint, NetworkEncoder
from ilk.finetuning.splitting import SplitNetwork
from ilk.hub.preprocessing import PixelArray, Preprocess

if TYPE_CHECKING:
    from torch.nn import Module

VERSION = 1  # increment when the same network and images give other activations


class FrozenCheckpoint:
    """The front of a network.

    Args:
        base: The files of the network.
        preprocess: How images become its input.
        split: The network, divided; its front is not None.
        settings: What its activations depend on besides the base and the place of the division.
    """

    family = f"front of a network, version {VERSION}"

    def __init__(
        self, base: Checkpoint, preprocess: Preprocess, split: SplitNetwork, settings: str
    ) -> None:
        self.base, self.folder, self.split, self.settings = base, base.folder, split, settings
        self._preprocess = preprocess

    @property
    def preprocess(self) -> Preprocess:
        return self._preprocess

    @property
    def dim(self) -> int:
        """Number of values of the activations of one image."""
        return int(np.prod(self.split.shape))

    def digest_files(self) -> dict[str, str]:
        """Return the digests of the network's files, and where it is divided."""
        place = {"blocks": str(self.split.n_blocks - self.split.n_trained)}
        return {**self.base.digest_files(), **place, "settings": self.settings}

    def build_network(self) -> Module:
        assert self.split.frozen is not None, "as the constructor requires"
        return self.split.frozen


class FrozenEncoder(NetworkEncoder):
    """The activations of an image, or of its mirror image."""

    is_mirrored = False

    def _key_parts(self) -> dict[str, Any]:
        return {**super()._key_parts(), "mirrored": self.is_mirrored}

    def prepare(self, image: Image.Image) -> PixelArray:
        """Preprocess an RGB image to `[c, h, w]` uint8."""
        pixels = super().prepare(image)
        return np.ascontiguousarray(pixels[..., ::-1]) if self.is_mirrored else pixels

    def mirror(self) -> FrozenEncoder:
        """Return the encoder of mirrored images; the network is shared."""
        other = copy.copy(self)
        other.__dict__.pop("space", None)  # the cached one
        other.name, other.is_mirrored = f"{self.name}, mirrored", True
        other._original, other._load_lock = self, threading.Lock()
        return other


def open_frozen(base: NetworkEncoder, split: SplitNetwork, settings: str = "") -> FrozenEncoder:
    """Return the encoder of the front of a divided network, on the device of its base.

    Args:
        base: The encoder of the whole network.
        split: The network, divided.
        settings: What else its activations depend on.
    """
    checkpoint = FrozenCheckpoint(base.checkpoint, base.preprocess, split, settings)
    name = f"{base.name} (first {split.n_blocks - split.n_trained} blocks)"
    return FrozenEncoder(name, checkpoint, base.device, base.runtime, base.precision)
