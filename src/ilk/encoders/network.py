"""The common part of encoders with a network: feature space and loading on first use.

A run whose features are all stored needs only the space, so it is computed from files: torch, timm
and transformers are not imported until an image has to be encoded.
"""

from __future__ import annotations

import copy
import threading
from abc import abstractmethod
from functools import cached_property
from pathlib import Path
from typing import TYPE_CHECKING, Any, ClassVar, Protocol

from PIL import Image

from ilk.core import device as devices
from ilk.core.capabilities import ResizeMode
from ilk.core.data import Features
from ilk.core.errors import InputError
from ilk.core.fingerprint import compute_key, hash_file
from ilk.core.space import FeatureSpace
from ilk.encoders import runtime as runtimes
from ilk.hub.preprocessing import PixelArray, Preprocess

if TYPE_CHECKING:
    from torch.nn import Module


class Checkpoint(Protocol):
    """The files of a network in a folder: what a family of network encoders provides."""

    family: str
    folder: Path

    @property
    def preprocess(self) -> Preprocess: ...

    @property
    def dim(self) -> int:
        """Number of features, read from the files."""
        ...

    def digest_files(self) -> dict[str, str]:
        """Return the digests of its files, by role: part of the key of its features."""
        ...

    @abstractmethod
    def build_network(self) -> Module:
        """Build the network in float32 on the CPU: normalized `[b, 3, h, w]` to `[b, d]`."""
        ...


def digest_folder(folder: Path) -> dict[str, str]:
    """Return the digests of a checkpoint's configuration and weights in the hub's format.

    Raises:
        Unavailable: A file cannot be read.
    """
    return {
        "config": hash_file(folder / "config.json"),
        "weights": hash_file(folder / "model.safetensors"),
    }


class NetworkEncoder:
    """An encoder whose features come from a network, of torch unless `has_torch_network` is false.

    Args:
        name: Its name, as after `--encoder`.
        device: `auto`, `cpu`, `cuda`, `cuda:N` or `mps`.
        runtime: One of `ilk.encoders.runtime.RUNTIMES`.
        precision: `float32` or `bfloat16`.

    Raises:
        InputError, Unavailable: As `check_runtime` and `check_device`.
    """

    has_torch_network: ClassVar[bool] = True
    """Whether `checkpoint.build_network` gives a network, whose gradients can be computed."""

    def __init__(
        self, name: str, checkpoint: Checkpoint, device: str, runtime: str, precision: str
    ) -> None:
        runtimes.check_runtime(runtime, precision, device)
        devices.check_device(device)
        self.name, self.checkpoint = name, checkpoint
        self.device, self.runtime, self.precision = device, runtime, precision
        self.preprocess = checkpoint.preprocess
        self._load_lock = threading.Lock()
        self._runner: runtimes.Runner | None = None
        self._original: NetworkEncoder | None = None  # has the same network

    @property
    def batch_size(self) -> int:
        """Best batch size for `embed`."""
        return self._runner.batch_size if self._runner else runtimes.CPU_BATCH_SIZE

    @property
    def runtime_note(self) -> str:
        """What the loaded network runs on, such as "OpenVINO"; "" before."""
        return self._runner.note if self._runner else ""

    @property
    def resize(self) -> ResizeMode:
        """How images of other shapes than the input are treated."""
        return self.preprocess.resize

    def with_resize(self, mode: ResizeMode) -> NetworkEncoder:
        """Return the encoder with images resized in another way; the network is shared."""
        original = self._original or self
        if mode == original.resize:
            return original
        other = copy.copy(original)
        other.__dict__.pop("space", None)  # the cached one
        other.name = f"{original.name}@resize={mode}"
        other.preprocess = original.preprocess.with_resize(mode)
        other._original, other._load_lock = original, threading.Lock()
        return other

    @cached_property
    def space(self) -> FeatureSpace:
        return FeatureSpace(compute_key(self._key_parts()), self.name, self.checkpoint.dim)

    def _key_parts(self) -> dict[str, Any]:
        return {
            "family": self.checkpoint.family,
            **self.checkpoint.digest_files(),
            "preprocess": self.preprocess.to_json(),
            "precision": self.precision,
        }

    def describe(self) -> dict[str, Any]:
        return {
            "name": self.name,
            "key": self.space.key,
            **self._key_parts(),
            "folder": str(self.checkpoint.folder.absolute()),
        }

    def load(self) -> None:
        """Load the weights, if not loaded yet. Takes seconds.

        Raises:
            InputError: The files do not define a network.
        """
        self.get_runner()

    def get_runner(self) -> runtimes.Runner:
        """Return the network, ready to run; raises what `load` raises."""
        with self._load_lock:
            if self._runner is None:
                original = self._original
                self._runner = original.get_runner() if original else self._build_runner()
            return self._runner

    def _build_runner(self) -> runtimes.Runner:
        runs_on_cpu = self.device == "auto" and self.runtime in runtimes.ENGINE_NAMES
        return runtimes.open_runner(
            self.space.key,
            self.preprocess,
            self.checkpoint.build_network,
            device="cpu" if runs_on_cpu else devices.pick_device(self.device),
            runtime=self.runtime,
            precision=self.precision,
        )

    def prepare(self, image: Image.Image) -> PixelArray:
        """Preprocess an RGB image to `[c, h, w]` uint8."""
        return self.preprocess.prepare(image)

    def embed(self, batch: PixelArray) -> Features:
        """Return features `[b, d]` of prepared images `[b, c, h, w]`.

        Raises:
            InputError: The network cannot run, or its output width differs from that in its files.
        """
        features = self.get_runner()(batch)
        if features.shape != (len(batch), self.space.dim):
            raise InputError(
                f"{self.name} returned features of shape {features.shape[1:]}, its files say "
                f"{self.space.dim}; ilk does not support this network"
            )
        return features
