"""The rows of a manifest as intake would return them: compared with each other, nothing decoded."""

from __future__ import annotations

from pathlib import Path
from typing import Any

from ilk.images.annotations.groups import refuse_split_groups
from ilk.images.duplicates.same_content import refuse_duplicates
from ilk.images.inspection.contents import ContentMap
from ilk.images.rows import Images, Row
from ilk.shards.manifest import Manifest, get_place


def load_listing(manifest: Manifest, *, with_contents: bool = True) -> Images:
    """Return what `ilk.images.read_images` returned for the source, without `verify`.

    Rows of a folder are sorted by path, also where late images got new shards; those of a table
    that is not sorted are in the order of the manifest. Every row is an object: this is for what
    fits in memory.

    Args:
        manifest: The manifest.
        with_contents: Open the archives and buckets that images lie in; False where nothing is
            going to be decoded.

    Raises:
        ArtifactError: The manifest has changed since it was written.
        InputError: An archive is gone, or no labelled training row would be left.
    """
    rows: list[Row] = []
    items: dict[str, Any] = {}
    origins: dict[str, str] = {}
    for i in range(manifest.n_shards):
        if with_contents:
            images = manifest.open_shard(i)
            rows += images.rows
            if isinstance(images.contents, ContentMap):
                items |= {d: images.contents.find_item(d) for d in images.contents}
                origins |= {d: images.contents.find_origin(d) for d in images.contents}
        else:
            rows += manifest.rows(i)
    if manifest.is_sorted:
        rows.sort(key=get_place)
    root = None if manifest.root is None else Path(manifest.root)
    return Images(
        root,
        tuple(refuse_split_groups(refuse_duplicates(rows))),
        ContentMap(items, origins),
        notes=manifest.notes,
        value_ranges=dict(manifest.value_ranges or {}),
        folders=tuple(map(Path, manifest.folders)),
    )
