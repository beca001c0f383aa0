"""The manifest of a shard folder: one row per image in a fixed order, cut into shards.

Shards never change once they are there: late images get new ones. Each shard is one row group of
the file, so that a process that encodes a shard reads that shard's rows only.
"""

from __future__ import annotations

import hashlib
import os
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import asdict, dataclass, replace
from functools import cached_property
from pathlib import Path
from typing import Any

from ilk.core.errors import ArtifactError, InputError
from ilk.images.rows import Images, Row, escape_path
from ilk.images.rows.addresses import is_address
from ilk.images.sources.ilk_folders import is_shard_folder as is_shard_folder
from ilk.shards.changes import find_late_rows
from ilk.shards.parquet_files import (
    FORMAT,
    from_text,
    import_arrow,
    make_folder,
    make_schema,
    open_parquet,
    read_metadata,
    write_parquet,
)
from ilk.shards.reading import open_rows
from ilk.shards.row_columns import (
    ENCODED,
    Columns,
    check_paths,
    digest_columns,
    get_types,
    list_columns,
    make_rows,
)

FILE_NAME = "manifest.parquet"
SHARD_SIZE = 5000  # images: a part of 768 features is 15 MB, and a kill loses no more work
REMEDY = "restore it from a copy, or encode into another folder"


def check_local(folder: str | os.PathLike[str]) -> None:
    """Raise InputError if a shard folder is an address in a bucket, where nothing is renamed."""
    if is_address(folder):
        raise InputError(
            f"{escape_path(folder)} is an address in a bucket; a shard folder lies on a disk, "
            "which all jobs may share over a network: name a folder, and copy it later"
        )


@dataclass(frozen=True)
class ShardEntry:
    """What the manifest says of one shard.

    Attributes:
        start: Position of its first row in the manifest.
        n: Number of rows.
        digest: SHA-256 of its rows, hex.
        source: SHA-256 of what features depend on in them, hex: all but labels, splits and groups.
    """

    start: int
    n: int
    digest: str
    source: str


@dataclass(frozen=True)
class Manifest:
    """The rows of all images of a shard folder.

    Attributes:
        folder: The shard folder.
        shard_size: Rows of a shard; the last one of each listing may have fewer.
        shards: One entry per shard.
        base: Absolute folder that paths are relative to.
        root: `Images.root` of the source: None if paths were given, not found.
        notes: `Images.notes` of the source.
        value_ranges: `Images.value_ranges` of the source.
        is_sorted: Whether the source lists its images by path, as a folder does.
        folders: `Images.folders` of the source: those whose files it stands for, absolute.
    """

    folder: Path
    shard_size: int
    shards: tuple[ShardEntry, ...]
    base: str
    root: str | None
    notes: tuple[str, ...] = ()
    value_ranges: Mapping[str, tuple[float, float]] | None = None
    is_sorted: bool = False
    folders: tuple[str, ...] = ()

    @property
    def path(self) -> Path:
        """Path of the file."""
        return self.folder / FILE_NAME

    @property
    def n_rows(self) -> int:
        """Number of images, refused ones included."""
        return self.shards[-1].start + self.shards[-1].n if self.shards else 0

    @property
    def n_shards(self) -> int:
        """Number of shards."""
        return len(self.shards)

    @cached_property
    def digest(self) -> str:
        """SHA-256 of all rows, hex; that of the file's bytes is another."""
        return hashlib.sha256("".join(s.digest for s in self.shards).encode()).hexdigest()

    @classmethod
    def read(cls, folder: str | os.PathLike[str]) -> Manifest:
        """Read the head of the manifest of a shard folder; its rows are read when asked for.

        Raises:
            InputError: There is none.
            ArtifactError: It is damaged, or of a newer version of ilk.
        """
        check_local(folder)
        home = Path(folder)
        if not is_shard_folder(home):
            raise InputError(
                f"{escape_path(home)} is not a shard folder: it has no {FILE_NAME}; make one with "
                "`ilk encode DIR --out SHARDS`"
            )
        path = home / FILE_NAME
        with open_parquet(path, REMEDY) as file:
            head = read_metadata(file, path, "manifest")
            n_rows, n_groups = file.metadata.num_rows, file.metadata.num_row_groups
        try:
            manifest = cls(
                home,
                int(head["shard_size"]),
                tuple(ShardEntry(**entry) for entry in head["shards"]),
                str(head["base"]),
                None if head["root"] is None else str(head["root"]),
                tuple(map(str, head["notes"])),
                {str(k): (float(a), float(b)) for k, (a, b) in head["value_ranges"].items()},
                bool(head["is_sorted"]),
                tuple(map(str, head.get("folders", ()))),
            )
        except (KeyError, TypeError, ValueError, AttributeError) as error:
            raise ArtifactError(f"{escape_path(path)} is damaged ({error}); {REMEDY}") from None
        if (n_rows, n_groups) != (manifest.n_rows, manifest.n_shards):
            raise ArtifactError(
                f"{escape_path(path)} has {n_rows:,} rows in {n_groups:,} shards, and says "
                f"{manifest.n_rows:,} in {manifest.n_shards:,}; {REMEDY}"
            )
        return manifest

    @classmethod
    def write(
        cls, folder: str | os.PathLike[str], images: Images, *, shard_size: int = SHARD_SIZE
    ) -> Manifest:
        """Write the manifest of `images` into a folder that has none.

        Args:
            folder: The shard folder, created if missing.
            images: What `ilk.images.read_images` returns; they need not be verified.
            shard_size: Rows per shard, at least 1.

        Raises:
            InputError: A path is there twice, or an image is in memory.
            OutputError: The folder cannot be written.
        """
        check_local(folder)
        if shard_size < 1:
            raise InputError(f"a shard holds at least 1 image, not {shard_size}")
        return cls(Path(folder), shard_size, (), "", None)._append(images, images.rows)

    def extend(self, images: Images, *, relabel: bool = False) -> Manifest:
        """Append the rows that are new in a later listing of the same source, as new shards.

        The source may have moved to another folder as a whole.

        Args:
            images: The listing; every image of the manifest must be there, unchanged.
            relabel: Take labels, splits and groups from `images`, also those of old rows.

        Raises:
            InputError: An image of the manifest has changed or is missing; the message names it.
            OutputError: The folder cannot be written.
        """
        late, columns = find_late_rows(
            self.path, map(self.read_columns, range(self.n_shards)), images, relabel
        )
        is_moved = find_base(images) != self.base
        return self._append(images, late, columns) if late or relabel or is_moved else self

    def _append(self, images: Images, rows: Sequence[Row], old: Sequence[Columns] = ()) -> Manifest:
        """Write the shards `old` and, cut into shards, `rows`."""
        check_paths([row.path for row in rows])
        size = self.shard_size
        starts = range(0, len(rows), size)
        new = [list_columns(images, rows[start : start + size]) for start in starts]
        places = [get_place(row) for row in images.rows]
        return replace(
            self,
            notes=images.notes,
            value_ranges=dict(images.value_ranges),
            is_sorted=places == sorted(places),
            base=find_base(images),
            root=None if images.root is None else os.path.abspath(images.root),
            folders=tuple(os.path.abspath(folder) for folder in images.folders),
        ).write_columns([*old, *new])

    def write_columns(self, shards: Sequence[Columns]) -> Manifest:
        """Write the manifest with the columns of each shard, and return it.

        Raises:
            OutputError: The folder cannot be written.
        """
        pa, _ = import_arrow()
        entries: list[ShardEntry] = []
        start = 0
        for columns in shards:
            n = len(columns["path"])
            source = digest_columns({name: columns[name] for name in ENCODED})
            entries.append(ShardEntry(start, n, digest_columns(columns), source))
            start += n
        manifest = replace(self, shards=tuple(entries))
        schema = make_schema(get_types(), manifest._make_head())

        def tables() -> Iterator[Any]:
            for i, columns in enumerate(shards):
                shard = [i] * len(columns["path"])
                yield pa.Table.from_pydict({**columns, "shard": shard}, schema=schema)

        make_folder(self.folder)
        write_parquet(self.path, schema, tables)
        return manifest

    def _make_head(self) -> dict[str, Any]:
        return {
            "kind": "manifest",
            "format": FORMAT,
            "shard_size": self.shard_size,
            "digest": self.digest,
            "base": self.base,
            "root": self.root,
            "notes": list(self.notes),
            "value_ranges": dict(self.value_ranges or {}),
            "is_sorted": self.is_sorted,
            "folders": list(self.folders),
            "shards": [asdict(entry) for entry in self.shards],
        }

    def read_columns(self, i: int) -> Columns:
        """Return the columns of shard `i` as they are in the file, checked by their digest.

        Raises:
            ArtifactError: The manifest has changed since it was written.
        """
        with open_parquet(self.path, REMEDY) as file:
            columns: Columns = file.read_row_group(i).to_pydict()
        if digest_columns(columns) != self.shards[i].digest:
            raise ArtifactError(
                f"shard {i} of {escape_path(self.path)} has changed since it was written; {REMEDY}"
            )
        return columns

    def rows(self, i: int) -> list[Row]:
        """Return the rows of shard `i`, in order, with what each says by itself.

        Raises:
            ArtifactError: The manifest has changed since it was written.
        """
        return make_rows(self.read_columns(i))

    def open_shard(self, i: int) -> Images:
        """Return the rows of shard `i` as images that can be decoded."""
        columns = self.read_columns(i)
        return open_rows(Path(self.base), make_rows(columns), columns)

    def read_all(self, names: Sequence[str]) -> Any:
        """Return columns of all rows as an Arrow table; names are as in the file."""
        with open_parquet(self.path, REMEDY) as file:
            return file.read(columns=list(names)).combine_chunks()


def find_base(images: Images) -> str:
    """Return the absolute folder that the paths of rows are relative to, "" if they are whole."""
    if images.root is not None:
        return os.path.abspath(images.root)
    is_whole = all(os.path.isabs(row.path) or is_address(row.path) for row in images.rows)
    return "" if is_whole else os.getcwd()


def get_place(row: Row) -> tuple[str, int]:
    """Return what the rows of a folder are sorted by."""
    return row.file_path, row.page


def join_path(base: str, path: str) -> str:
    """Return the whole path of a row of the manifest: an address stays as it is."""
    name = from_text(path) or ""
    return name if is_address(name) or not base else os.path.join(base, name)
