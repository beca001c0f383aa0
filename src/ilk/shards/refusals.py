"""Which rows of a shard folder are not used, and why: as `ilk fit` on the images decides it.

What compares rows (the same bytes or pixels twice, a group in train and test) looks only at rows
that share something, so that a million rows do not become a million objects.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Sequence
from typing import Any, Literal

import numpy as np
from numpy.typing import NDArray

from ilk.images.annotations.groups import SPLIT_REASON
from ilk.images.duplicates.same_content import refuse_duplicates
from ilk.images.rows import Row
from ilk.shards.manifest import Manifest, get_place
from ilk.shards.parquet_files import from_text
from ilk.shards.parts import read_outcomes
from ilk.shards.spaces import ShardSpace

COLUMNS = ("path", "label", "split", "group", "digest", "reason")


def find_order(manifest: Manifest) -> NDArray[np.int64]:
    """Return the positions of all rows, `[n]`, in the order in which the source lists them.

    It differs from that of the manifest where late images of a folder got new shards.
    """
    order = range(manifest.n_rows)
    if manifest.is_sorted:
        table = manifest.read_all(["path", "page"])
        paths, pages = (column.to_pylist() for column in table.columns)
        places = [
            get_place(Row(from_text(path) or "", page=page))
            for path, page in zip(paths, pages, strict=True)
        ]
        return np.array(sorted(order, key=places.__getitem__), np.int64)
    return np.array(order, np.int64)


def find_refused(manifest: Manifest, space: ShardSpace) -> NDArray[np.object_]:
    """Return the reason of each row that is not used, `[n]`; None where it is used."""
    table = manifest.read_all(COLUMNS)
    columns = {name: table.column(name).to_pylist() for name in COLUMNS}
    reasons = np.array([reason or None for reason in columns["reason"]], object)
    order = find_order(manifest)
    _refuse_copies(reasons, columns, order, columns["digest"], "bytes")
    _refuse_groups(reasons, columns)
    pixels: list[str | None] = []
    for i, shard in enumerate(manifest.shards):
        outcomes = read_outcomes(space, i, ["reason", "pixel_digest"])
        for row, reason in enumerate(outcomes["reason"], shard.start):
            if reason is not None and reasons[row] is None:
                reasons[row] = reason
        pixels += outcomes["pixel_digest"]
    _refuse_copies(reasons, columns, order, pixels, "pixels")
    return reasons


def _refuse_copies(
    reasons: NDArray[np.object_],
    columns: dict[str, list[Any]],
    order: NDArray[np.int64],
    keys: Sequence[str | None],
    same: Literal["bytes", "pixels"],
) -> None:
    """Refuse rows whose content must not be used twice, in place."""
    used = [i for i in order.tolist() if reasons[i] is None and keys[i]]
    counts = Counter(keys[i] for i in used)
    shared = [i for i in used if counts[keys[i]] > 1]
    rows = [
        Row(
            columns["path"][i],
            columns["label"][i],
            columns["split"][i],
            digest=columns["digest"][i],
            pixel_digest=(keys[i] or "") if same == "pixels" else "",
        )
        for i in shared
    ]
    for i, row in zip(shared, refuse_duplicates(rows, same), strict=True):
        reasons[i] = row.reason or None


def _refuse_groups(reasons: NDArray[np.object_], columns: dict[str, list[Any]]) -> None:
    """Refuse training rows of groups that have test images, in place."""
    split, group = columns["split"], [from_text(name) for name in columns["group"]]
    used = [i for i, reason in enumerate(reasons) if reason is None]
    test = "test" if any(split[i] == "test" for i in used) else "val"
    tested = {group[i] for i in used if split[i] == test} - {None, ""}
    for i in used:
        if split[i] != test and group[i] in tested:
            reasons[i] = SPLIT_REASON
