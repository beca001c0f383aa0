"""The folder that a tuned network is written to."""

from __future__ import annotations

from pathlib import Path

from ilk.encoders import tuned_files
from ilk.encoders.tuned_network import FORMAT
from ilk.finetuning.from_images import WORK


def check_network_folder(folder: Path) -> Path:
    """Return `folder` if a tuned network can be written there: it is new, empty, or holds another.

    Raises:
        OutputError: It holds other files, or cannot be read.
    """
    return tuned_files.check_tuned_folder(folder, FORMAT, "tuned network", (WORK,))
