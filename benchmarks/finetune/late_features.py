"""Features of a tuned network from the stored activations of what it shares with its base."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import torch
from numpy.typing import NDArray

from benchmarks.finetune.image_sets import ImageSet
from ilk.encode import encode_images
from ilk.encoders.network import NetworkEncoder
from ilk.encoders.tuned_network import read_tuned_network
from ilk.finetuning.base import open_splitter, open_trainable
from ilk.finetuning.config import DEFAULT_LAYERS
from ilk.finetuning.frozen_encoder import open_frozen
from ilk.finetuning.splitting import LatePart
from ilk.store import Store

ENCODER = "efficientnet-lite0"
BLOCK = 64  # rows at a time


class LateFeatures:
    """Features of the embedded network, frozen or with its last blocks tuned.

    Args:
        data: The images.
        store: Keeps the activations in front of the last blocks.
    """

    def __init__(self, data: ImageSet, store: Store) -> None:
        self.data, self.store = data, store
        self.base: NetworkEncoder = open_trainable(ENCODER, data.images, "cpu", "auto")
        self.split = open_splitter(self.base).split(int(DEFAULT_LAYERS[0]))
        self.front = open_frozen(self.base, self.split)
        encode_images(data.images, [self.front], store)

    def embed_frozen(self, rows: NDArray[np.int64]) -> NDArray[np.float32]:
        """Return features `[m, d]` of the network as it is, for images at positions `rows [m]`."""
        return self._embed(self.split.late, rows)

    def embed_tuned(self, folder: Path, rows: NDArray[np.int64]) -> NDArray[np.float32]:
        """Return features `[m, d]` of the tuned network in a folder, likewise."""
        tuned = read_tuned_network(folder)
        late = open_splitter(self.base).split(int(DEFAULT_LAYERS[0])).late
        with torch.no_grad():
            for name, parameter in late.network.named_parameters():
                parameter.copy_(torch.from_numpy(np.array(tuned.arrays[name])))
        return self._embed(late, rows)

    def _embed(self, late: LatePart, rows: NDArray[np.int64]) -> NDArray[np.float32]:
        parts = []
        with torch.inference_mode():
            for start in range(0, len(rows), BLOCK):
                digests = [
                    self.data.images.rows[i].digest for i in rows[start : start + BLOCK].tolist()
                ]
                x = torch.from_numpy(self.store.get(self.front.space, digests))
                parts.append(late(x.view(len(x), *self.split.shape)).numpy())
        return np.concatenate(parts)
