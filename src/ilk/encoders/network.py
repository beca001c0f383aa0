"""What encoders with a network share: their address, and the network on its way to the first image.

A warm run asks for the address only, so it is computed from files: no torch, no timm, no
transformers is imported until an image has to be encoded.
"""

from __future__ import annotations

import threading
from abc import abstractmethod
from functools import cached_property
from pathlib import Path
from typing import TYPE_CHECKING, Any, Protocol

from PIL import Image

from ilk.data import Features
from ilk.encoders import device as devices
from ilk.encoders import runtime as runtimes
from ilk.encoders.address import file_digest, key
from ilk.encoders.preprocess import Pixels, Preprocess
from ilk.errors import InputError
from ilk.store import Space

if TYPE_CHECKING:
    from torch.nn import Module


class Checkpoint(Protocol):
    """A family's part: which network lies in a folder, and what it wants to see."""

    family: str
    folder: Path

    @property
    def preprocess(self) -> Preprocess: ...

    @property
    def dim(self) -> int:
        """Width of a row of features, read from the files."""
        ...

    @abstractmethod
    def network(self) -> Module:
        """The network in float32 on the CPU: normalised images `[b, 3, h, w]` to `[b, d]`."""
        ...


class Network:
    """An encoder whose features come from a torch network.

    Args:
        name: What was asked for, as it can be asked for again.
        device: `auto`, `cpu`, `cuda`, `cuda:N` or `mps`.
        runtime: One of `ilk.encoders.runtime.RUNTIMES`.
        precision: `float32` or `bfloat16`.

    Raises:
        InputError, Unavailable: As `runtime.check` and `device.check` say.
    """

    def __init__(
        self, name: str, checkpoint: Checkpoint, device: str, runtime: str, precision: str
    ) -> None:
        runtimes.check(runtime, precision, device)
        devices.check(device)
        self.name, self.checkpoint = name, checkpoint
        self.device, self.runtime, self.precision = device, runtime, precision
        self.preprocess = checkpoint.preprocess
        self._loading = threading.Lock()
        self._runner: runtimes.Runner | None = None

    @property
    def batch(self) -> int:
        """Images that `embed` takes best at once."""
        return self._runner.batch if self._runner else runtimes.CPU_BATCH

    @cached_property
    def space(self) -> Space:
        return Space(key(self._parts()), self.name, self.checkpoint.dim)

    def _parts(self) -> dict[str, Any]:
        return {
            "family": self.checkpoint.family,
            "config": file_digest(self.checkpoint.folder / "config.json"),
            "weights": file_digest(self.checkpoint.folder / "model.safetensors"),
            "preprocess": self.preprocess.to_json(),
            "precision": self.precision,
        }

    def describe(self) -> dict[str, Any]:
        return {
            "name": self.name,
            "key": self.space.key,
            **self._parts(),
            "folder": str(self.checkpoint.folder.absolute()),
        }

    def load(self) -> None:
        """Read the weights, if they are not read yet. Takes seconds.

        Raises:
            InputError: The files do not make a network.
        """
        self.runner()

    def runner(self) -> runtimes.Runner:
        """The network, ready to run; raises what `load` raises."""
        with self._loading:
            if self._runner is None:
                self._runner = self._made()
            return self._runner

    def _made(self) -> runtimes.Runner:
        network = self.checkpoint.network()
        where = devices.pick(self.device)
        return runtimes.Runner(network, self.preprocess, where, self.runtime, self.precision)

    def prepare(self, image: Image.Image) -> Pixels:
        return self.preprocess.prepare(image)

    def embed(self, batch: Pixels) -> Features:
        features = self.runner()(batch)
        if features.shape != (len(batch), self.space.dim):
            raise InputError(
                f"{self.name} gives features of shape {features.shape[1:]}, its files say "
                f"{self.space.dim} numbers; it is not a network that ilk can read"
            )
        return features
