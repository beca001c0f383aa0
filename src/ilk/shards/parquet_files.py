"""Parquet files of a shard folder: written whole or not at all, every page with a checksum."""

from __future__ import annotations

import json
import re
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager
from pathlib import Path
from typing import Any

from ilk.core.atomic_write import replace_atomically
from ilk.core.errors import ArtifactError, OutputError, Unavailable
from ilk.core.regular_file import check_regular_file
from ilk.images.rows import escape_path

FORMAT = 1
METADATA_KEY = b"ilk"
ADVICE = "delete it and run the same `ilk encode` again"
_SURROGATE = re.compile("[\udc80-\udcff]")
_ESCAPED = re.compile("\0([0-9a-f]{2})")


def import_arrow() -> tuple[Any, Any]:
    """Return `pyarrow` and `pyarrow.parquet`.

    Raises:
        Unavailable: pyarrow is not installed.
    """
    try:
        import pyarrow
        from pyarrow import parquet
    except ImportError:
        raise Unavailable(
            "shards are Parquet files, which need pyarrow; run: pip install 'ilk[shards]'"
        ) from None
    return pyarrow, parquet


def to_text(name: str | None) -> str | None:
    """Return a name that UTF-8 can hold: bytes that are not UTF-8 become NUL and two hex digits.

    >>> to_text("caf\\udce9")
    'caf\\x00e9'
    """
    if name is None or name.isascii():
        return name
    return _SURROGATE.sub(lambda match: f"\0{ord(match[0]) - 0xDC00:02x}", name)


def from_text(text: str | None) -> str | None:
    """Return the name that `to_text` was given."""
    if text is None or "\0" not in text:
        return text
    return _ESCAPED.sub(lambda match: chr(0xDC00 + int(match[1], 16)), text)


def make_schema(columns: Mapping[str, Any], metadata: Mapping[str, Any]) -> Any:
    """Return an Arrow schema of columns (name to type) with plain values as its metadata."""
    pa, _ = import_arrow()
    return pa.schema(list(columns.items()), {METADATA_KEY: json.dumps(metadata)})


def write_parquet(
    path: Path, schema: Any, tables: Callable[[], Iterator[Any]], *, plain: tuple[str, ...] = ()
) -> None:
    """Write a file of one row group per table, beside its path, and rename it when it is whole.

    Args:
        path: The file; its folder must exist.
        schema: Columns and metadata.
        tables: Called for the tables.
        plain: Columns of numbers that no compression makes smaller.

    Raises:
        OutputError: The folder cannot be written or the disk is full; the old file is intact.
    """
    pa, pq = import_arrow()
    names = [field.name for field in schema]

    def write(temporary: Path) -> None:
        try:
            with pq.ParquetWriter(
                temporary,
                schema,
                use_dictionary=False,
                write_page_checksum=True,
                write_statistics=False,
                compression={name: "none" if name in plain else "zstd" for name in names},
            ) as writer:
                for table in tables():
                    writer.write_table(table, row_group_size=max(len(table), 1))
        except pa.ArrowException as error:
            raise OSError(None, str(error)) from error

    replace_atomically(path, write)


@contextmanager
def open_parquet(path: Path, remedy: str = ADVICE) -> Iterator[Any]:
    """Open a Parquet file; every page is checked against its checksum when it is read.

    Args:
        path: The file.
        remedy: What to do if it is damaged.

    Raises:
        ArtifactError: It cannot be read, or is damaged.
    """
    pa, pq = import_arrow()
    try:
        check_regular_file(path)
        with pq.ParquetFile(path, page_checksum_verification=True) as file:
            yield file
    except FileNotFoundError:
        raise ArtifactError(f"{escape_path(path)} is missing; {remedy}") from None
    except (pa.ArrowException, OSError) as error:
        text = str(error).splitlines()[0] if str(error) else type(error).__name__
        raise ArtifactError(
            f"{escape_path(path)} is cut off or damaged ({text}); {remedy}"
        ) from None


def read_metadata(file: Any, path: Path, kind: str) -> dict[str, Any]:
    """Return what `make_schema` was given as metadata.

    Raises:
        ArtifactError: It is a file of something else, or of a newer version of ilk.
    """
    raw = (file.schema_arrow.metadata or {}).get(METADATA_KEY)
    try:
        metadata = json.loads(raw) if raw else {}
    except ValueError:
        metadata = {}
    if not isinstance(metadata, dict) or metadata.get("kind") != kind:
        raise ArtifactError(f"{escape_path(path)} is no {kind} of a shard folder of ilk")
    if metadata.get("format") != FORMAT:
        raise ArtifactError(
            f"{escape_path(path)} has format {metadata.get('format')}, and this version of ilk "
            f"reads format {FORMAT}; update ilk"
        )
    return metadata


def make_folder(path: Path) -> Path:
    """Create a folder and those above it.

    Raises:
        OutputError: It cannot be created.
    """
    try:
        path.mkdir(parents=True, exist_ok=True)
    except OSError as error:
        raise OutputError(
            f"cannot create the folder {escape_path(path)}: {error.strerror or error}; choose "
            "another with --out"
        ) from error
    return path
