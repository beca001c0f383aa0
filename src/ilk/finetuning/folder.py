"""The folder that a tuned network is written to."""

from __future__ import annotations

from pathlib import Path
from typing import Any

from ilk.core.errors import InputError
from ilk.encoders import tuned_files
from ilk.encoders.network import NetworkEncoder
from ilk.encoders.tuned_network import FORMAT
from ilk.finetuning.from_images import WORK


def check_network_folder(folder: Path) -> Path:
    """Return `folder` if a tuned network can be written there: it is new, empty, or holds another.

    Raises:
        OutputError: It holds other files, or cannot be read.
    """
    return tuned_files.check_tuned_folder(folder, FORMAT, "tuned network", (WORK,))


def check_keeps_base(folder: Path, encoder: object) -> None:
    """Check that writing a tuned network to `folder` leaves the network that is tuned as it is.

    Args:
        folder: Folder to write to.
        encoder: The encoder that is tuned, or that a run starts from; only networks have files.

    Raises:
        InputError: The folder holds this network, or one that it was made from.
    """
    checkpoint: Any = encoder.checkpoint if isinstance(encoder, NetworkEncoder) else None
    while checkpoint is not None:
        if Path(checkpoint.folder).resolve() == folder.resolve():
            raise InputError(
                f"{folder} holds the network that is tuned, or one that it was made from, and the "
                "result reads it; choose another folder with --out"
            )
        checkpoint = getattr(checkpoint, "base", None)
