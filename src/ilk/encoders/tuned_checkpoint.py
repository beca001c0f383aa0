"""The encoder `tuned:PATH` where the folder holds a tuned network."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np
from numpy.typing import NDArray

from ilk.core.errors import ArtifactError, Unavailable
from ilk.encoders.network import Checkpoint, NetworkEncoder
from ilk.encoders.options import EncoderOptions
from ilk.encoders.tuned_files import KeepsTrainingDigests
from ilk.encoders.tuned_network import STUDENT, TunedNetwork, read_tuned_network
from ilk.hub.preprocessing import Preprocess

if TYPE_CHECKING:
    from torch.nn import Module

VERSION = 1  # increment when the same weights and images give other features


class TunedCheckpoint:
    """The network of a tuned folder.

    Args:
        folder: The folder.
        tuned: What it holds.
        base: The files of the network that was tuned; None for a student.
    """

    family = f"tuned network, version {VERSION}"

    def __init__(self, folder: Path, tuned: TunedNetwork, base: Checkpoint | None) -> None:
        self.folder, self.tuned, self.base = folder, tuned, base

    @property
    def preprocess(self) -> Preprocess:
        return self.tuned.preprocess

    @property
    def dim(self) -> int:
        return self.tuned.width

    def digest_files(self) -> dict[str, str]:
        """Return the digests of the tuned weights and of those they are added to."""
        base = {} if self.tuned.base is None else {"base": str(self.tuned.base.get("key", ""))}
        return {"weights": self.tuned.digest_weights(), **base}

    def build_network(self) -> Module:
        return self.tuned.build_network(None if self.base is None else self.base.build_network())


class TunedNetworkEncoder(KeepsTrainingDigests, NetworkEncoder):
    """A tuned network; it knows the images that it was trained on."""

    checkpoint: TunedCheckpoint

    def get_model_files(self) -> Mapping[str, bytes]:
        """Return the contents of its folder by file name: a model folder holds them."""
        return self.checkpoint.tuned.to_files()

    @property
    def trained_on(self) -> NDArray[np.uint8]:
        """SHA-256 of each training image, `[n, 32]`."""
        return self.checkpoint.tuned.trained_on


def make_student_encoder(
    tuned: TunedNetwork, folder: Path, options: EncoderOptions, name: str = ""
) -> TunedNetworkEncoder:
    """Return the encoder of a student; its folder need not be written yet.

    Args:
        tuned: The network.
        folder: Where it is, or will be.
        options: Device, runtime and precision.
        name: Its name, as after `--encoder`; "" is that of the folder.
    """
    checkpoint, name = TunedCheckpoint(folder, tuned, None), name or f"tuned:{folder}"
    return TunedNetworkEncoder(name, checkpoint, options.device, options.runtime, options.precision)


def open_tuned_network(name: str, folder: Path, options: EncoderOptions) -> TunedNetworkEncoder:
    """Open a tuned network; its weights are read, those of its base are not.

    Raises:
        Unavailable: The base encoder cannot be opened, or is another.
        ArtifactError: A file is damaged.
    """
    tuned = read_tuned_network(folder)
    if tuned.kind == STUDENT:
        return make_student_encoder(tuned, folder, options, name)
    base = None if tuned.base is None else _open_base(name, folder, tuned.base)
    checkpoint = TunedCheckpoint(folder, tuned, base)
    return TunedNetworkEncoder(name, checkpoint, options.device, options.runtime, options.precision)


def _open_base(name: str, folder: Path, description: Mapping[str, Any]) -> Checkpoint:
    from ilk.encoders.registry import restore_base

    base_name = str(description.get("name", ""))
    try:
        base = restore_base(description)
    except Unavailable as error:
        raise Unavailable(f"{name} is the network of {base_name}, tuned, and {error}") from None
    except (KeyError, RecursionError):  # a folder that leads back to itself
        raise ArtifactError(
            f"{folder} names no encoder whose network was tuned; tune it again"
        ) from None
    if base.space.key != description.get("key"):
        raise Unavailable(
            f"{name} was tuned from {base_name}, and that encoder is a different one on this "
            "machine: its "
            "weights, preprocessing or version differ; restore the same files, or run ilk finetune "
            "again"
        )
    if not isinstance(base, NetworkEncoder):
        raise ArtifactError(f"{folder} names {base_name}, which has no network; tune it again")
    return base.checkpoint
