"""Parts: the features of one shard by one encoder, in the order of the manifest.

A part is done when its footer says that it has as many rows as the shard, belongs to these rows and
holds features of this encoder. A part that is cut off has no footer, and is encoded again.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, Literal

import numpy as np
from numpy.typing import NDArray

from ilk.core.errors import ArtifactError
from ilk.images.rows import escape_path
from ilk.shards.manifest import Manifest
from ilk.shards.parquet_files import (
    FORMAT,
    import_arrow,
    make_schema,
    open_parquet,
    read_metadata,
    write_parquet,
)
from ilk.shards.spaces import ShardSpace

State = Literal["done", "missing", "damaged"]


@dataclass(frozen=True)
class Part:
    """A part that is done.

    Attributes:
        path: Its file.
        shard: Number of its shard.
        n: Number of rows, those without features included.
        n_refused: Number of rows without features.
        n_transient: Number of those that may be readable another time.
        is_new: Whether this call has written it.
        seconds: Busy seconds of all threads by kind of work (reading, decoding, network, writing);
            empty if it was there.
    """

    path: Path
    shard: int
    n: int
    n_refused: int = 0
    n_transient: int = 0
    is_new: bool = False
    seconds: Mapping[str, float] = field(default_factory=dict, compare=False)


@dataclass(frozen=True, eq=False)
class PartRows:
    """The rows of a part.

    Attributes:
        digest: Digest of each image, as in the manifest.
        reason: Why it has no features, one of `ilk.images.REASONS`; None if it has.
        detail: Details, None without.
        features: `[n, d]`, 0 where there are none.
        pixel_digest: Digest of the decoded pixels, None if unknown.
        thumbnail: Thumbnail of `ilk.images.inspection.pixel_summary`, None if unknown.
        contrast: Deviation and grey levels of near-constant images, else None.
    """

    digest: list[str]
    reason: list[str | None]
    detail: list[str | None]
    features: NDArray[Any]
    pixel_digest: list[str | None]
    thumbnail: list[bytes | None]
    contrast: list[tuple[float, float] | None]


def check_part(manifest: Manifest, space: ShardSpace, i: int) -> tuple[State, Part | None]:
    """Return whether the part of shard `i` is done, missing or damaged; and the part if done.

    Raises:
        ArtifactError: It is whole, and belongs to other images or another encoder.
    """
    path = space.part_path(i)
    if not path.exists():
        return "missing", None
    try:
        with open_parquet(path) as file:
            head, n = read_metadata(file, path, "part"), int(file.metadata.num_rows)
    except ArtifactError as error:
        if "cut off or damaged" in str(error):
            return "damaged", None
        raise
    shard, remedy = manifest.shards[i], "move it away, or encode into another folder"
    if head.get("space") != space.key:
        raise ArtifactError(
            f"{escape_path(path)} holds features of different weights than "
            f"{escape_path(space.home)} says ({head.get('encoder')}); {remedy}"
        )
    if head.get("rows_digest") != shard.source or n != shard.n:
        raise ArtifactError(
            f"{escape_path(path)} belongs to a different manifest than "
            f"{escape_path(manifest.path)}; {remedy}"
        )
    if (head.get("dtype"), head.get("d")) != (space.dtype, space.d):
        raise ArtifactError(
            f"{escape_path(path)} holds {head.get('d')} features as {head.get('dtype')}, not "
            f"{space.d} as {space.dtype}; {remedy}"
        )
    return "done", Part(path, i, n, int(head["n_refused"]), int(head["n_transient"]))


def write_part(
    manifest: Manifest, space: ShardSpace, i: int, rows: PartRows, n_transient: int = 0
) -> Part:
    """Write the part of shard `i`, and rename it when it is whole.

    Equal rows give equal bytes, so that two processes that write one part do no harm.

    Raises:
        OutputError: The folder cannot be written or the disk is full.
    """
    pa, _ = import_arrow()
    shard = manifest.shards[i]
    is_encoded = np.array([reason is None for reason in rows.reason], bool)
    n_refused = int((~is_encoded).sum())
    values = np.ascontiguousarray(rows.features, space.dtype)
    value_type = pa.float16() if space.dtype == "float16" else pa.float32()
    features = pa.FixedSizeListArray.from_arrays(
        pa.array(values.reshape(-1), value_type), space.d, mask=pa.array(~is_encoded)
    )
    schema = make_schema(
        {
            "row": pa.int64(),
            "digest": pa.string(),
            "reason": pa.string(),
            "detail": pa.string(),
            "features": pa.list_(value_type, space.d),
            "pixel_digest": pa.string(),
            "thumbnail": pa.binary(),
            "deviation": pa.float64(),
            "levels": pa.float64(),
        },
        {
            "kind": "part",
            "format": FORMAT,
            "shard": i,
            "n": shard.n,
            "rows_digest": shard.source,
            "encoder": space.name,
            "space": space.key,
            "dtype": space.dtype,
            "d": space.d,
            "n_refused": n_refused,
            "n_transient": n_transient,
        },
    )
    columns = [
        pa.array(np.arange(shard.start, shard.start + shard.n), pa.int64()),
        pa.array(rows.digest, pa.string()),
        pa.array(rows.reason, pa.string()),
        pa.array(rows.detail, pa.string()),
        features,
        pa.array(rows.pixel_digest, pa.string()),
        pa.array(rows.thumbnail, pa.binary()),
        pa.array([c and c[0] for c in rows.contrast], pa.float64()),
        pa.array([c and c[1] for c in rows.contrast], pa.float64()),
    ]
    path = space.part_path(i)
    table = pa.Table.from_arrays(columns, schema=schema)
    write_parquet(path, schema, lambda: iter([table]), plain=("features",))
    return Part(path, i, shard.n, n_refused, n_transient, is_new=True)


def read_features(space: ShardSpace, i: int) -> NDArray[Any]:
    """Return the features of the part of shard `i`, `[n, d]` as stored; 0 where there are none.

    Raises:
        ArtifactError: The part is damaged.
    """
    with open_parquet(space.part_path(i)) as file:
        column = file.read(columns=["features"]).column(0).combine_chunks()
        return to_matrix(column, space.d)


def to_matrix(column: Any, d: int) -> NDArray[Any]:
    """Return a column of lists of `d` numbers as an array `[n, d]`, 0 for empty cells."""
    column = column.chunk(0) if hasattr(column, "chunk") else column
    values = column.values.slice(column.offset * d, len(column) * d)
    if column.null_count == 0 and values.null_count == 0:
        return np.asarray(values.to_numpy(zero_copy_only=True).reshape(-1, d))
    matrix = np.array(values.to_numpy(zero_copy_only=False)).reshape(-1, d)
    matrix[np.asarray(column.is_null())] = 0
    return matrix


def read_outcomes(space: ShardSpace, i: int, names: Sequence[str]) -> dict[str, list[Any]]:
    """Return columns of the part of shard `i` by name, such as `reason` and `pixel_digest`.

    Raises:
        ArtifactError: The part is damaged.
    """
    with open_parquet(space.part_path(i)) as file:
        columns: dict[str, list[Any]] = file.read(columns=list(names)).to_pydict()
        return columns
