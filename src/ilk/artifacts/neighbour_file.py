"""The training images that are kept beside a model, as a further file of its folder."""

from __future__ import annotations

import hashlib
from collections.abc import Callable, Mapping
from functools import partial
from pathlib import Path
from typing import TYPE_CHECKING, Any

from ilk.explain.neighbours import ENTRY, FILE, load_index

if TYPE_CHECKING:
    from ilk.explain.neighbours import NeighbourIndex

Loader = Callable[[], "NeighbourIndex | None"]


def add_neighbours(
    metadata: Mapping[str, Any], neighbours: Loader | None, side_files: dict[str, bytes]
) -> dict[str, Any]:
    """Return the metadata of a model with the digest of the file, which is added to `side_files`.

    Without training images there is no entry, so that a file of an earlier model is not believed.
    """
    described = {key: value for key, value in metadata.items() if key != ENTRY}
    index = neighbours() if neighbours is not None else None
    if index is not None:
        content = index.to_bytes()
        side_files[FILE] = content
        described[ENTRY] = {"sha256": hashlib.sha256(content).hexdigest()}
    return described


def make_loader(folder: Path, metadata: Mapping[str, Any]) -> Loader | None:
    """Return what reads the training images of a model on first use; None if it keeps none."""
    entry = metadata.get(ENTRY)
    if not entry:
        return None
    return partial(load_index, str(folder.absolute()), str(entry["sha256"]))
