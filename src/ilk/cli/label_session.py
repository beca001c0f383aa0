"""Open the labelling session that a command line describes."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path
from typing import TYPE_CHECKING

from ilk.cli.intake_options import check_source

if TYPE_CHECKING:
    from ilk.labelling.session import LabellingSession


def open_session(
    source: str,
    log: Path,
    encoder: str,
    classes: Sequence[str],
    seed: int,
    read_labels: bool,
    *,
    read_only: bool,
) -> LabellingSession:
    """Return the session of a folder and its log.

    Raises:
        InputError: The folder cannot be read, or all its images have labels.
        NoImages: It holds no usable image.
        OutputError: Another process labels with the log, or it cannot be written.
        ArtifactError: The log is damaged, or of a newer ilk.
    """
    from ilk.core.errors import InputError, NoImages
    from ilk.core.progress import terminal_progress
    from ilk.images import escape_path
    from ilk.labelling.session import LabellingSession

    shown, folder = escape_path(source), Path(check_source(source))
    if folder.is_dir() and not any(folder.iterdir()):
        raise NoImages(f"{shown} is empty; put the images to label into it")
    session = LabellingSession.open(
        source,
        log,
        encoder=encoder,
        classes=classes,
        seed=seed,
        read_labels=read_labels,
        progress=terminal_progress(),
        read_only=read_only,
    )
    if not read_only and all(item.given_label is not None for item in session.items):
        session.close()
        raise InputError(
            f"all {len(session.items):,} images of {shown} have a label from the name of their "
            "folder, so there is nothing to label; use --no-folder-labels if these names are not "
            "classes"
        )
    return session
