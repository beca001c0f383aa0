"""The folder that an embedding is written to."""

from __future__ import annotations

from pathlib import Path

from ilk.encoders import tuned_files
from ilk.encoders.tuned_folder import FORMAT
from ilk.metric_learning.ledger import NAME


def check_tuned_folder(folder: Path) -> Path:
    """Return `folder` if an embedding can be written there: it is new, empty, or holds another one.

    Raises:
        OutputError: It holds other files, or cannot be read.
    """
    return tuned_files.check_tuned_folder(folder, FORMAT, "learned embedding", (NAME,))
