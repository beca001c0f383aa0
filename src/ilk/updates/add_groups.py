"""Groups of added images: those of the model's own images, and classes of a single group."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import replace

import numpy as np

from ilk.core.data import Data
from ilk.images import Images, Row, escape_path
from ilk.images.annotations.groups import SPLIT_REASON
from ilk.maths.folds import count_groups, has_shared_groups


def refuse_tested_groups(images: Images, known_rows: Mapping[str, Row]) -> tuple[Images, str]:
    """Refuse images of groups that the model is tested on; note those that it learned from.

    Args:
        images: The images to add.
        known_rows: The images that the model was fitted or evaluated on, by digest.

    Returns:
        The images, and a note on groups with images that the model learned from, or "".
    """
    known = {row.group: row for row in known_rows.values() if row.group and row.split != "test"}
    tested = {row.group: row for row in known_rows.values() if row.group and row.split == "test"}
    rows = tuple(
        replace(
            row,
            status="refused",
            reason=SPLIT_REASON,
            detail=f"group {row.group}, also {tested[row.group].path}",
        )
        if row.status == "used" and row.group in tested
        else row
        for row in images.rows
    )
    shared = sorted({str(row.group) for row in rows if row.status == "used" and row.group in known})
    note = ""
    if shared:
        note = (
            f"the model learned from images of {len(shared):,} of these groups already, such as "
            f"{escape_path(shared[0])}: if such a group gains images of a class that it has, the "
            "figures for that class are optimistic; fit again with all images for a fair estimate"
        )
    return replace(images, rows=rows), note


def describe_single_groups(added: Data) -> list[str]:
    """Return a note on classes with several images of a single group, which nothing holds out."""
    if not has_shared_groups(added.group):
        return []
    is_single = (count_groups(added.y, added.group) == 1) & (np.bincount(added.y) > 1)
    names = [added.classes[c] for c in np.flatnonzero(is_single)]
    if not names:
        return []
    shown = ", ".join(map(repr, names[:5]))
    note = (
        f"all images of {shown} are of one group, so none can be held out: recall and prediction "
        "sets are measured without them; add another group"
    )
    return [note]
