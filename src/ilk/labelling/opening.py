"""Open a session: read the folder, encode it, and see whether the log is its own."""

from __future__ import annotations

import json
import os
from collections.abc import Collection, Mapping, Sequence
from pathlib import Path
from typing import Any

import numpy as np

from ilk.core.capabilities import Embeds
from ilk.core.data import Features, Labels
from ilk.core.errors import IlkError, InputError, NoImages
from ilk.core.progress import Progress
from ilk.encode import encode_and_refuse
from ilk.encoders import choose_encoders, resolve_encoder
from ilk.fitting.leakage import check_unseen
from ilk.images import Images, escape_path, list_sources, read_images
from ilk.labelling.events import OPEN, UNDO, Event
from ilk.store import Store
from ilk.updates.group_names import suggest_group_names
from ilk.vocabulary.group_names import NameSuggestion

INSTALLED_ENCODER = "efficientnet-lite0"
LOG_SUFFIX = ".labels.sqlite"


def get_log_path(source: str | os.PathLike[str]) -> Path:
    """Return where the log of a folder lies by default: beside it, under its name."""
    path = Path(os.path.abspath(source))
    return path.with_name((path.name or "images") + LOG_SUFFIX)


def read_source(
    source: Any, store: Store, progress: Progress, *, read_labels: bool = True, **intake: Any
) -> Images:
    """Return the images of a source; without `read_labels`, names of folders are not classes.

    Raises:
        InputError: It cannot be read, holds no image, or gives images several labels.
    """
    if not read_labels and isinstance(source, str | os.PathLike):
        listed = list_sources([os.fspath(source)])
        images = read_images(
            listed,
            verify=False,
            store=store,
            progress=progress,
            source_name=escape_path(source),
            **intake,
        )
    else:
        images = read_images(source, verify=False, store=store, progress=progress, **intake)
    if images.is_multi_label:
        raise InputError("these images have sets of labels; labelling is for one class per image")
    return images


def encode_source(
    images: Images, name: str, store: Store, progress: Progress
) -> tuple[Images, Embeds, Features]:
    """Return the images that can be used, the encoder, and the features `[n, d]` of these images.

    Args:
        images: The images.
        name: Name of the encoder; "default" is the network that is installed with ilk, or another
            default encoder where it is missing.
        store: Feature store.
        progress: Reports the progress.

    Raises:
        NoImages: No image can be decoded.
        InputError: The encoder was trained on some of the images with their labels.
    """
    encoder = _open_default(images) if name == "default" else resolve_encoder(name, images=images)
    images = encode_and_refuse(images, [encoder], store, progress=progress)
    if not images.used:
        raise NoImages("none of the images can be decoded, so there is nothing to label")
    check_unseen([encoder], images.used, "the accuracy that is shown would be too high")
    return images, encoder, store.get(encoder.space, [row.digest for row in images.used])


def _open_default(images: Images) -> Embeds:
    try:
        return resolve_encoder(INSTALLED_ENCODER, images=images)
    except IlkError:
        return choose_encoders(images)[0][-1]


def check_log_is_of(
    path: Path, events: Sequence[Event], known: Collection[str], images: Images
) -> None:
    """Refuse a log all of whose answers are for other images than those of the folder.

    Raises:
        InputError: The log has answers, and none of their images is in the folder.
    """
    answered = {d for e in events if e.kind != UNDO for d in e.digests}
    if not answered or any(d in known for d in answered):
        return
    opened = [json.loads(e.detail)["source"] for e in events if e.kind == OPEN and e.detail]
    of = f" (it was begun for {escape_path(opened[0])})" if opened and opened[0] else ""
    shown = escape_path(images.root) if images.root is not None else "the source"
    raise InputError(
        f"the log {escape_path(path)} is of other images than {shown}{of}: none of the "
        f"{len(answered):,} that it has answers for is there; name another log, or that folder"
    )


def name_groups(
    encoder: Embeds | None,
    images: Images,
    groups: Sequence[Labels],
    known_names: Sequence[str],
    store: Store | None,
) -> Mapping[int, NameSuggestion]:
    """Return suggested names of groups, by number from 1; none where no encoder knows words.

    Args:
        encoder: Encoder of the session.
        images: The images.
        groups: Positions of the members of each group among the used images, `[m]` each.
        known_names: Names of the known classes, which are not suggested.
        store: Feature store.
    """
    if encoder is None or store is None or not groups:
        return {}
    group_ids = np.zeros(len(images.used), np.int64)
    for number, rows in enumerate(groups, 1):
        group_ids[rows] = number
    try:
        return suggest_group_names(encoder, images, group_ids, known_names, store)[0]
    except IlkError:  # the folder vanished: groups without names are still of use
        return {}
