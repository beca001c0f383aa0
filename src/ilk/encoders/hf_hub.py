"""`hf-hub:ORG/NAME`: any hub repository that holds a timm network; `@REVISION` may follow."""

from __future__ import annotations

from ilk.encoders.network import NetworkEncoder
from ilk.encoders.options import EncoderOptions
from ilk.encoders.timm import CHECKPOINT_FILES, TimmCheckpoint
from ilk.hub import client as hub

FORM = "hf-hub:ORG/NAME"


def open_encoder(name: str, options: EncoderOptions) -> NetworkEncoder:
    """Open `hf-hub:ORG/NAME`.

    Raises:
        Unavailable: timm is not installed, or the files are neither cached nor downloadable.
    """
    hub.require_package("timm", "timm")
    checkpoint = TimmCheckpoint(hub.fetch(name.partition(":")[2], CHECKPOINT_FILES))
    return NetworkEncoder(name, checkpoint, options.device, options.runtime, options.precision)
