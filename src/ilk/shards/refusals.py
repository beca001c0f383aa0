"""Which rows of a shard folder are not used, and why: as `ilk fit` on the images decides it.

What compares rows (the same bytes or pixels twice, a group in train and test) looks only at rows
that share something, so that a million rows do not become a million objects.
"""

from __future__ import annotations

from collections import Counter
from typing import Any, Literal

import numpy as np
from numpy.typing import NDArray

from ilk.images.annotations.groups import SPLIT_REASON
from ilk.images.duplicates.same_content import refuse_duplicates
from ilk.images.rows import Row
from ilk.shards.manifest import Manifest, get_place
from ilk.shards.parquet_files import from_text, import_arrow
from ilk.shards.parts import read_outcomes
from ilk.shards.spaces import ShardSpace

PREFIX = 16  # hexadecimal digits of a digest by which likely copies are found


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
    pa, _ = import_arrow()
    table = manifest.read_all(["digest", "reason"])
    reasons = np.array([reason or None for reason in table.column("reason").to_pylist()], object)
    _refuse_copies(reasons, manifest, table.column("digest"), "bytes")
    _refuse_groups(reasons, manifest)
    pixels = []
    for i, shard in enumerate(manifest.shards):
        outcomes = read_outcomes(space, i, ["reason", "pixel_digest"])
        for row, reason in enumerate(outcomes["reason"], shard.start):
            if reason is not None and reasons[row] is None:
                reasons[row] = reason
        pixels.append(pa.array(outcomes["pixel_digest"], pa.string()))
    _refuse_copies(reasons, manifest, pa.chunked_array(pixels, pa.string()), "pixels")
    return reasons


def _refuse_copies(
    reasons: NDArray[np.object_], manifest: Manifest, keys: Any, same: Literal["bytes", "pixels"]
) -> None:
    """Refuse rows whose content must not be used twice, in place.

    Args:
        reasons: Reason of each row, `[n]`.
        manifest: The manifest.
        keys: An Arrow column of what is the same for equal contents, null or "" where unknown.
        same: What the keys are digests of.
    """
    likely = _find_likely_copies(keys)
    if not len(likely):
        return
    key = dict(zip(likely.tolist(), keys.take(likely).to_pylist(), strict=True))
    used = [i for i in key if reasons[i] is None and key[i]]
    counts = Counter(key[i] for i in used)
    is_shared = {i for i in used if counts[key[i]] > 1}
    if not is_shared:
        return
    shared = [i for i in find_order(manifest).tolist() if i in is_shared]
    table = manifest.read_all(["path", "label", "split", "digest"]).take(shared)
    columns = (column.to_pylist() for column in table.columns)
    rows = [
        Row(path, label, split, digest=digest, pixel_digest=key[i] if same == "pixels" else "")
        for i, path, label, split, digest in zip(shared, *columns, strict=True)
    ]
    for i, row in zip(shared, refuse_duplicates(rows, same), strict=True):
        reasons[i] = row.reason or None


def _find_likely_copies(keys: Any) -> NDArray[np.int64]:
    """Return the positions of rows whose key begins as another's does, `[m]`, ascending.

    A million digests as Python's strings would take 100 MB; their beginnings in Arrow take 16.
    """
    from pyarrow import compute

    prefix = compute.utf8_slice_codeunits(keys, 0, PREFIX)
    counted = compute.value_counts(prefix)
    repeated = counted.field("values").filter(compute.greater(counted.field("counts"), 1))
    repeated = repeated.drop_null()
    return np.flatnonzero(compute.is_in(prefix, value_set=repeated).to_numpy())


def _refuse_groups(reasons: NDArray[np.object_], manifest: Manifest) -> None:
    """Refuse training rows of groups that have test images, in place."""
    table = manifest.read_all(["split", "group"])
    if table.column("group").null_count == len(table):
        return
    split = table.column("split").to_pylist()
    group = [from_text(name) for name in table.column("group").to_pylist()]
    used = [i for i, reason in enumerate(reasons) if reason is None]
    test = "test" if any(split[i] == "test" for i in used) else "val"
    tested = {group[i] for i in used if split[i] == test} - {None, ""}
    for i in used:
        if split[i] != test and group[i] in tested:
            reasons[i] = SPLIT_REASON
