"""The folder that a tuned network is written to."""

from __future__ import annotations

from pathlib import Path
from typing import Any

from ilk.core.errors import InputError, OutputError
from ilk.encoders.network import NetworkEncoder
from ilk.encoders.tuned_files import DESCRIPTION, WEIGHTS, check_is_no_part
from ilk.encoders.tuned_network import FORMAT
from ilk.finetuning.from_images import WORK
from ilk.images.sources.ilk_folders import read_format


def check_network_folder(folder: Path) -> Path:
    """Return `folder` if a tuned network can be written there: it is new, empty, or holds another.

    Raises:
        OutputError: It holds other files, or cannot be read.
    """
    try:
        names = {path.name for path in folder.iterdir()} if folder.exists() else set()
    except OSError as error:
        raise OutputError(
            f"cannot write to {folder}: {error.strerror}; choose another folder with --out"
        ) from error
    strangers = {n for n in names - {DESCRIPTION, WEIGHTS, WORK} if not _is_leftover(n)}
    is_tuned = read_format(folder / DESCRIPTION, unreadable=FORMAT) == FORMAT
    if (strangers or names & {DESCRIPTION, WEIGHTS}) and not is_tuned:
        raise OutputError(
            f"{folder} contains files that are no tuned network; choose an empty folder with --out"
        )
    check_is_no_part(folder)
    return folder


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


def _is_leftover(name: str) -> bool:
    return name.startswith(".ilk.") or name.endswith((".part", ".ilk-new"))
