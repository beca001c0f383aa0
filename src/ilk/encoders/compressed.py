"""`compressed:PATH`: a network that `ilk compress` pruned, or put in 8 bits, or both.

It is an ONNX model, which OpenVINO or ONNX Runtime runs on the processor; there is no torch network
behind it, so nothing that needs gradients works with it.
"""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path
from typing import NoReturn

import numpy as np
from numpy.typing import NDArray

from ilk.core.errors import InputError, Unavailable
from ilk.encoders import runtime as runtimes
from ilk.encoders.compressed_folder import CompressedNetwork, read_compressed
from ilk.encoders.network import NetworkEncoder
from ilk.encoders.onnx_network import open_onnx_runner
from ilk.encoders.options import EncoderOptions
from ilk.encoders.tuned_files import KeepsTrainingDigests
from ilk.hub.preprocessing import Preprocess

FORM = "compressed:PATH"
FAMILY = "compressed"


class CompressedCheckpoint:
    """The files of a compressed network.

    Args:
        folder: The folder that they are in, or will be.
        network: What they hold.
    """

    family = FAMILY

    def __init__(self, folder: Path, network: CompressedNetwork) -> None:
        self.folder, self.network = folder, network

    @property
    def preprocess(self) -> Preprocess:
        return self.network.preprocess

    @property
    def dim(self) -> int:
        """Number of features."""
        return self.network.width

    def digest_files(self) -> dict[str, str]:
        """Return the digest of the ONNX model."""
        return {"network": self.network.digest}

    def build_network(self) -> NoReturn:
        """There is no torch network.

        Raises:
            Unavailable: Always.
        """
        raise Unavailable(
            f"{self.folder} holds a compressed network, which torch does not run; use the model "
            "that it was made from"
        )


class CompressedEncoder(NetworkEncoder):
    """Features of a compressed network, computed by OpenVINO or ONNX Runtime on the processor."""

    has_torch_network = False
    checkpoint: CompressedCheckpoint

    def get_model_files(self) -> Mapping[str, bytes]:
        """Return the contents of its folder by file name: a model folder holds them."""
        return self.checkpoint.network.to_files()

    def _build_runner(self) -> runtimes.Runner:
        return open_onnx_runner(
            self.checkpoint.network.content,
            self.space.key,
            self.preprocess,
            runtime=self.runtime,
            name=self.name,
        )


class CompressedTrainedEncoder(KeepsTrainingDigests, CompressedEncoder):
    """The same of a network that was trained with labels on images of the user."""

    @property
    def trained_on(self) -> NDArray[np.uint8]:
        """SHA-256 of each training image, `[n, 32]`."""
        trained_on = self.checkpoint.network.trained_on
        assert trained_on is not None, "CompressedEncoder is for networks of which none is known"
        return trained_on


def make_encoder(
    name: str, folder: Path, network: CompressedNetwork, device: str = "auto", runtime: str = "auto"
) -> CompressedEncoder:
    """Return the encoder of a compressed network, whose folder need not be written yet.

    Raises:
        InputError: The device is not a processor, or the runtime is torch.
        Unavailable: The runtime is not installed.
    """
    if runtime == "torch" or device not in ("auto", "cpu"):
        raise InputError(
            f"{name} is a compressed network, which OpenVINO or ONNX Runtime runs on the "
            "processor; leave --runtime and --device out"
        )
    kind = CompressedEncoder if network.trained_on is None else CompressedTrainedEncoder
    return kind(name, CompressedCheckpoint(folder, network), "cpu", runtime, "float32")


def open_encoder(name: str, options: EncoderOptions) -> CompressedEncoder:
    """Open `compressed:PATH`.

    Raises:
        Unavailable: There is no such folder, or no engine is installed.
        ArtifactError: A file is damaged.
        InputError: The device is not a processor, or the runtime is torch.
    """
    folder = Path(name.partition(":")[2]).expanduser()
    return make_encoder(name, folder, read_compressed(folder), options.device, options.runtime)
