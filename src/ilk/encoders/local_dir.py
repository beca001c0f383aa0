"""`local-dir:PATH`: a folder that holds a timm network (`config.json`, `model.safetensors`)."""

from __future__ import annotations

from ilk.encoders.network import NetworkEncoder
from ilk.encoders.options import EncoderOptions
from ilk.encoders.timm import CHECKPOINT_FILES, TimmCheckpoint
from ilk.hub import client as hub

FORM = "local-dir:PATH"


def open_encoder(name: str, options: EncoderOptions) -> NetworkEncoder:
    """Open `local-dir:PATH`.

    Raises:
        Unavailable: timm is not installed.
        InputError: The folder does not hold the files.
    """
    hub.require_package("timm", "timm")
    checkpoint = TimmCheckpoint(hub.open_local(name.partition(":")[2], CHECKPOINT_FILES))
    return NetworkEncoder(name, checkpoint, options.device, options.runtime, options.precision)
