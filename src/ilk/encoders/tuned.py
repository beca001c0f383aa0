"""`tuned:PATH`: a network that `ilk finetune` tuned, or an embedding learned by `ilk learn-metric`.

An embedding is computed from the features of its base encoder; a network reads images.
"""

from __future__ import annotations

import threading
from functools import cached_property
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np
from numpy.typing import NDArray
from PIL import Image

from ilk.core.capabilities import Embeds
from ilk.core.data import Features
from ilk.core.errors import ArtifactError, Unavailable
from ilk.core.fingerprint import compute_key
from ilk.core.space import FeatureSpace
from ilk.encoders.options import EncoderOptions
from ilk.encoders.tuned_checkpoint import TunedNetworkEncoder, open_tuned_network
from ilk.encoders.tuned_files import KeepsTrainingDigests, read_entries
from ilk.encoders.tuned_folder import TunedEmbedding, read_tuned

if TYPE_CHECKING:
    from torch import nn

FORM = "tuned:PATH"
FAMILY = "tuned"
NETWORK_FORMAT = "ilk tuned network"  # whatever its version
VERSION = 1  # increment when the same weights and features give another embedding
BLOCK = 4096  # rows at a time


class TunedEncoder(KeepsTrainingDigests):
    """The embedding of the features of a base encoder, of unit length.

    Args:
        name: Its name, as after `--encoder`.
        folder: The tuned folder.
        embedding: What the folder holds.
        base: The encoder whose features the embedding reads.
    """

    def __init__(self, name: str, folder: Path, embedding: TunedEmbedding, base: Embeds) -> None:
        self.name, self.folder, self.embedding, self.base = name, folder, embedding, base
        self._lock = threading.Lock()
        self._network: nn.Module | None = None

    @property
    def batch_size(self) -> int:
        """Best batch size for `embed`: that of the base."""
        return self.base.batch_size

    @property
    def runtime_note(self) -> str:
        """What the network of the base runs on."""
        return str(getattr(self.base, "runtime_note", ""))

    @property
    def compatible_with(self) -> tuple[str, ...]:
        """Keys of feature spaces whose stored vectors can be compared with these."""
        return self.embedding.compatible_with

    @cached_property
    def space(self) -> FeatureSpace:
        key = compute_key(self._describe_space())
        return FeatureSpace(key, self.name, self.embedding.width)

    def _describe_space(self) -> dict[str, Any]:
        return {
            "family": FAMILY,
            "version": VERSION,
            "base": self.base.space.key,
            "weights": self.embedding.digest_weights(),
        }

    def describe(self) -> dict[str, Any]:
        precision = str(self.embedding.base.get("precision", "float32"))
        return {
            "name": self.name,
            "key": self.space.key,
            **self._describe_space(),
            "precision": precision,
            "folder": str(self.folder.absolute()),
        }

    def load(self) -> None:
        """Load the weights of the base; those of the embedding are loaded when it is opened."""
        self.base.load()

    def prepare(self, image: Image.Image) -> NDArray[np.uint8]:
        """Preprocess an RGB image to `[c, h, w]` uint8, as the base does."""
        return self.base.prepare(image)

    def embed(self, batch: NDArray[np.uint8]) -> Features:
        """Return embeddings `[b, width]` of prepared images `[b, c, h, w]`."""
        return self.transform(self.base.embed(batch))

    def transform(self, features: Features) -> Features:
        """Return embeddings `[n, width]` of features of the base, `[n, d]`."""
        import torch

        with self._lock:
            if self._network is None:
                self._network = self.embedding.build_network()
        blocks = range(0, len(features), BLOCK)
        with torch.inference_mode():
            parts = [
                self._network(torch.from_numpy(np.array(features[at : at + BLOCK], np.float32)))
                for at in blocks
            ]
        width = self.embedding.width
        return np.concatenate([np.zeros((0, width), np.float32), *(p.numpy() for p in parts)])

    @property
    def trained_on(self) -> NDArray[np.uint8]:
        """SHA-256 of each training image, `[n, 32]`."""
        return self.embedding.trained_on


def open_encoder(name: str, options: EncoderOptions) -> TunedEncoder | TunedNetworkEncoder:
    """Open `tuned:PATH`, a tuned network or a learned embedding.

    The base of an embedding has the precision that it was learned with.

    Raises:
        Unavailable: There is no such folder, or the base encoder cannot be opened or is another.
        ArtifactError: A file is damaged.
    """
    from ilk.encoders.registry import resolve_encoder

    folder = Path(name.partition(":")[2]).expanduser()
    if str(read_entries(folder).get("format", "")).startswith(NETWORK_FORMAT):
        return open_tuned_network(name, folder, options)
    embedding = read_tuned(folder)
    base_name = str(embedding.base.get("name", ""))
    if base_name.startswith(f"{FAMILY}:") or not base_name:
        raise ArtifactError(f"{folder} names no encoder whose features it reads; learn it again")
    try:
        base = resolve_encoder(
            base_name,
            device=options.device,
            runtime=options.runtime,
            precision=str(embedding.base.get("precision", "float32")),
        )
    except Unavailable as error:
        raise Unavailable(f"{name} reads features of {base_name}, and {error}") from None
    if base.space.key != embedding.base.get("key"):
        raise Unavailable(
            f"{name} was learned on features of {base_name}, and that encoder is a different one "
            "on this "
            "machine: its weights, preprocessing or version differ; restore the same files, or "
            "run ilk learn-metric again"
        )
    return TunedEncoder(name, folder, embedding, base)
