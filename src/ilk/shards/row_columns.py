"""Rows of intake as columns of the manifest, and back.

What a row says by itself is kept: what it says in comparison with others (the same content twice, a
group in train and test) is found anew when the manifest is read, because late images change it.
"""

from __future__ import annotations

import hashlib
import json
from collections.abc import Mapping, Sequence
from dataclasses import replace
from typing import Any

from ilk.core.errors import InputError
from ilk.images.inspection.contents import to_content_map
from ilk.images.inspection.members import Member
from ilk.images.rows import Images, Row, escape_path
from ilk.images.rows.row import COMPARED
from ilk.shards.parquet_files import from_text, import_arrow, to_text

TEXTS = ("path", "digest", "label", "split", "group", "archive", "member", "origin")
MORE_TEXTS = ("status", "reason", "detail", "mode", "format", "taken", "camera")
NULLABLE = {"label", "group", "archive", "member", "origin"}
NUMBERS = {"width": "int32", "height": "int32", "page": "int32", "n_pages": "int32"}
ENCODED = ("path", "digest", "archive", "member", "origin", "status", "page", "value_range")
"""Columns that features depend on."""

Columns = dict[str, list[Any]]


def get_types() -> dict[str, Any]:
    """Return the Arrow type of every column of the manifest, in order."""
    pa, _ = import_arrow()
    contract = ("path", "size", "digest", "label", "split", "group", "shard")
    types: dict[str, Any] = {name: pa.string() for name in contract}
    types |= {"size": pa.int64(), "shard": pa.int32()}
    types |= {name: pa.string() for name in (*TEXTS, *MORE_TEXTS) if name not in types}
    types |= {name: getattr(pa, kind)() for name, kind in NUMBERS.items()}
    return types | {"labels": pa.list_(pa.string()), "value_range": pa.list_(pa.float64())}


def list_columns(images: Images, rows: Sequence[Row]) -> Columns:
    """Return rows of `images` as columns, `shard` left out.

    Raises:
        InputError: An image is in memory, where no other process can read it.
    """
    held = to_content_map(images.contents)
    columns: Columns = {name: [] for name in get_types() if name != "shard"}
    for row in rows:
        item = held.find_item(row.digest) if row.digest else None
        if item is not None and not isinstance(item, Member):
            raise InputError(
                f"{escape_path(row.path)} is in memory; shards are made of files, archives and "
                "addresses, which every process can read: save the images first"
            )
        if row.reason in COMPARED:
            row = replace(row, status="used", reason="", detail="")
        source = item.locate() if item is not None else ("", "")
        origin = held.find_origin(row.digest) if item is not None else row.digest
        place = {
            "archive": to_text(source[0]) or None,
            "member": to_text(source[1]) or None,
            "origin": None if origin == row.digest else origin,
            "labels": None if row.labels is None else [to_text(name) for name in row.labels],
            "value_range": None if row.value_range is None else list(row.value_range),
        }
        for name, values in columns.items():
            if name in place:
                values.append(place[name])
            else:
                value = getattr(row, name)
                values.append(to_text(value) if isinstance(value, str) else value)
    return columns


def make_rows(columns: Mapping[str, Sequence[Any]]) -> list[Row]:
    """Return the rows of columns of the manifest."""
    rows = []
    names = [name for name in columns if name not in ("shard", "archive", "member", "origin")]
    for values in zip(*(columns[name] for name in names), strict=True):
        fields: dict[str, Any] = {
            name: from_text(value) if isinstance(value, str) else value
            for name, value in zip(names, values, strict=True)
        }
        labels, ranges = fields["labels"], fields["value_range"]
        fields["labels"] = None if labels is None else tuple(from_text(t) or "" for t in labels)
        fields["value_range"] = None if ranges is None else (ranges[0], ranges[1])
        rows.append(Row(**fields))
    return rows


def digest_columns(columns: Mapping[str, Sequence[Any]]) -> str:
    """Return the SHA-256 of rows, hex: of all columns but the shard, sorted by name."""
    digest = hashlib.sha256()
    for name in sorted(set(columns) - {"shard"}):
        values = json.dumps([name, list(columns[name])], separators=(",", ":"))
        digest.update(values.encode() + b"\n")
    return digest.hexdigest()


def check_paths(paths: Sequence[str]) -> None:
    """Raise InputError if a path is there twice; the message says where."""
    seen: dict[str, int] = {}
    for i, path in enumerate(paths):
        if seen.setdefault(path, i) != i:
            raise InputError(
                f"{escape_path(path)} is listed twice, as images {seen[path] + 1} and {i + 1}; "
                "a manifest names each image once: delete one of the two lines"
            )
