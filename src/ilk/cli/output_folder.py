"""The folder that a command writes to: held from its first check until the command ends."""

from __future__ import annotations

import os
import shlex
from collections.abc import Callable
from functools import partial
from pathlib import Path
from time import strftime

import click

from ilk.artifacts.model_folder import CLASSIFIER, DESCRIPTION_FILE, SAVE_SECONDS, FolderKind
from ilk.artifacts.overwrite_guard import check_writable, hold_folder
from ilk.core.folder_transaction import lock_folder
from ilk.core.leftovers import get_host


def hold_output_folder(
    folder: Path, kind: FolderKind = CLASSIFIER, source_model: Path | None = None
) -> Path:
    """Check that a model can be written to `folder`, and keep others from it during the command.

    Args:
        folder: Folder to write to.
        kind: Type of model that may be replaced.
        source_model: Folder of the model that the new one is derived from, if any.

    Raises:
        OutputError: The folder cannot be written, contains something else, or another process is
            writing to it; the message says which.
    """
    return hold(folder, partial(check_writable, kind=kind, source_model=source_model))


def hold(folder: Path, check: Callable[[Path], Path]) -> Path:
    """As `hold_output_folder`, for a folder that holds no model; raises what `check` raises."""
    context = click.get_current_context()
    return context.with_resource(hold_folder(folder, check, holder=describe_process()))


def hold_model(folder: Path, description: str = DESCRIPTION_FILE) -> None:
    """Keep others from changing the model in `folder` while this command reads and changes it.

    Another command that changes it is waited for, for some seconds, so that both changes last. A
    folder without a model is left alone.

    Args:
        folder: The model folder.
        description: Name of the file that every such folder has.

    Raises:
        OutputError: As in `hold_output_folder`.
    """
    if (folder / description).is_file():
        lock = lock_folder(folder, wait=SAVE_SECONDS, holder=describe_process())
        click.get_current_context().with_resource(lock)


def is_same_folder(out: str, folder: Path) -> bool:
    """Whether a command writes to the folder that it reads."""
    return os.path.exists(out) and folder.exists() and os.path.samefile(out, folder)


def describe_process() -> str:
    """Return what another process is told about this one."""
    arguments = click.get_current_context().obj or ()
    command = shlex.join(("ilk", *map(str, arguments)))
    return f"process {os.getpid()} on {get_host()}, since {strftime('%H:%M:%S')}: {command}"
