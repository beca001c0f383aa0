"""Write images as an ordinary image folder, with a record of what they are.

few/cat/0001.png      one folder per class, as `ilk fit` reads it
few/metadata.csv      only where a folder cannot have the name of its class
few/selection.csv     from `ilk select`: the rank of every image, and why it is not kept
few/selection.json    for each image: its class, whether it is synthetic, and its source; what
                      was kept and what it costs
"""

from __future__ import annotations

import os
from collections.abc import Callable, Mapping, Sequence
from contextlib import suppress
from dataclasses import asdict, dataclass
from functools import partial
from pathlib import Path
from typing import Any

from ilk.core.csv_cells import CsvFormatter
from ilk.core.digested_json import check_digest, encode_digested, parse_json
from ilk.core.errors import ArtifactError, IlkError, OutputError
from ilk.core.folder_transaction import FolderTransaction, lock_folder
from ilk.core.leftovers import is_leftover
from ilk.core.portable_names import make_unique, name_file, name_folders
from ilk.core.progress import Progress, silent_progress
from ilk.core.regular_file import read_regular_file
from ilk.images import Images, Row, escape_path
from ilk.images.annotations.splits import UNLABELLED_FOLDERS, parse_split
from ilk.images.original_content import read_original
from ilk.images.sources.layout import is_system

FORMAT = "ilk selection 1"
RECORD, TABLE, LISTING = "selection.json", "metadata.csv", "selection.csv"
UNLABELLED = "unlabelled"  # which intake reads as the folder of images without a label


@dataclass(frozen=True)
class FolderImage:
    """One image of the folder.

    Attributes:
        label: Its class; None if unknown, which puts it into the folder `unlabelled`.
        name: Name of its file, such as `0001.png`; the folder of the class is added, and a number
            where two are the same.
        read: Returns the bytes of its file.
        synthetic: Whether it was made, and not taken from the source.
        source: Path of the image that it is, or that it was made from; "" if there is none.
        digest: SHA-256 of that image; "" if there is none.
        link: File to make a hard link of, where the file system can; None writes the bytes.
    """

    label: str | None
    name: str
    read: Callable[[], bytes]
    synthetic: bool = False
    source: str = ""
    digest: str = ""
    link: Path | None = None

    @classmethod
    def from_row(cls, images: Images, row: Row) -> FolderImage:
        """Return an image of a source as it is: the bytes of its file."""
        shown = str(images.shown_path_of(row))
        source = images.source_of(row)
        is_file = isinstance(source, Path | bytes) and not row.page
        name = name_file(row.file_path)
        if not is_file or not Path(name).suffix:
            name = f"{Path(name).stem}.{row.format.lower() if is_file and row.format else 'png'}"
        read = partial(read_original, images, row)
        return cls(row.label, name, read, False, shown, row.digest)


@dataclass(frozen=True)
class Selection:
    """The record of a folder that `write_image_folder` wrote.

    Attributes:
        command: `condense` or `select`.
        images: For each image `file`, `label`, `synthetic`, `source` and `digest`.
        facts: What else the command says, such as accuracies.
        tables: Names of the tables that were written beside the images.
    """

    command: str
    images: tuple[dict[str, Any], ...]
    facts: Mapping[str, Any]
    tables: tuple[str, ...] = ()

    @property
    def files(self) -> list[str]:
        """Paths of the images, relative to the folder."""
        return [str(image["file"]) for image in self.images]

    @property
    def own_files(self) -> list[str]:
        """Paths of all files that were written but the record, relative to the folder."""
        return [*self.files, *self.tables]


def check_image_folder(folder: Path) -> Path:
    """Return `folder` if images can be written there: it is new, empty, or was written before.

    Raises:
        OutputError: It is a file, cannot be read, or holds files of others.
    """
    try:
        names = (
            {
                p.relative_to(folder).as_posix()
                for p in folder.rglob("*")
                if p.is_symlink() or not p.is_dir()  # through a link, files of others are replaced
            }
            if folder.is_dir()
            else set()
        )
    except OSError as error:
        raise OutputError(
            f"cannot write to {escape_path(folder)}: {error.strerror}; choose another folder with "
            "--out"
        ) from error
    if folder.exists() and not folder.is_dir():
        raise OutputError(f"{escape_path(folder)} is a file; choose another folder with --out")
    own = set[str]()
    with suppress(ArtifactError):
        own = {RECORD, *read_selection(folder).own_files}
    strangers = sorted(n for n in names - own if not is_leftover(n.rsplit("/", 1)[-1]))
    if strangers:
        raise OutputError(
            f"{escape_path(folder)} contains files that were not written by ilk condense or ilk "
            f"select, such as {escape_path(strangers[0])}; choose an empty folder with --out"
        )
    return folder


def read_selection(folder: Path) -> Selection:
    """Read the record of a folder.

    Raises:
        ArtifactError: There is none, or it was altered.
    """
    path = folder / RECORD
    try:
        fields = parse_json(read_regular_file(path), path)
    except OSError as error:
        raise ArtifactError(f"{escape_path(path)} cannot be read: {error.strerror}") from None
    check_digest(fields, path)
    images, tables = fields.pop("images", None), fields.pop("tables", [])
    is_known = fields.pop("format", None) == FORMAT and isinstance(images, list)
    is_known = is_known and isinstance(tables, list) and {*map(str, tables)} <= {TABLE, LISTING}
    if not is_known or not all(isinstance(x, dict) and "file" in x for x in images):
        raise ArtifactError(f"{escape_path(path)} is not a record of images that ilk selected")
    fields.pop("digest", None)
    return Selection(str(fields.pop("command", "")), tuple(images), fields, tuple(tables))


def write_image_folder(
    folder: Path,
    images: Sequence[FolderImage],
    command: str,
    facts: Mapping[str, Any],
    progress: Progress = silent_progress,
    *,
    listing: bytes | None = None,
) -> Selection:
    """Write images to a folder in one step, in place of those that an earlier run wrote.

    Args:
        folder: Where to write; see `check_image_folder`.
        images: The images; each is read when it is written.
        command: `condense` or `select`.
        facts: What else to record, as JSON.
        progress: Reports each image.
        listing: Content of `selection.csv`; None writes none.

    Returns:
        The record that was written.

    Raises:
        InputError: An image of the source is gone or changed; nothing is written.
        OutputError: The disk is full, or the folder cannot be written; it is as it was before.
    """
    labels = {image.label for image in images if image.label is not None}
    folders: dict[str | None, str] = {None: UNLABELLED}
    folders.update(name_class_folders(sorted(labels)).items())
    files = make_unique([f"{folders[image.label]}/{image.name}" for image in images])
    entries = [
        {"file": file, **asdict(_Entry.of(image))}
        for file, image in zip(files, images, strict=True)
    ]
    needs_table = any(folders[label] != label for label in labels)
    tables = [TABLE] * needs_table + [LISTING] * (listing is not None)
    record = {"format": FORMAT, "command": command, "images": entries, "tables": tables, **facts}
    content = encode_digested(record)
    with lock_folder(folder):
        check_image_folder(folder)
        old = set[str]()
        with suppress(ArtifactError):
            old = set(read_selection(folder).own_files)
        try:
            change = FolderTransaction(folder)
            with progress("writing", len(images)) as advance:
                for file, image in zip(files, images, strict=True):
                    if image.link is None:
                        change.write(file, image.read())
                    else:
                        change.write_with(file, partial(_link_image, image))
                    advance(1)
            if needs_table:
                change.write(TABLE, _format_table(files, images))
            if listing is not None:
                change.write(LISTING, listing)
            change.write(RECORD, content)
            for name in sorted(old - {*files, *tables}):
                change.delete(name)
            change.commit()
        except IlkError:
            with suppress(IlkError):
                FolderTransaction(folder)  # deletes what was written beside
            raise
        _remove_empty_folders(folder, old)
    return read_selection(folder)


def _link_image(image: FolderImage, path: Path) -> None:
    """Make `path` a hard link of the file of an image, or a copy where that is not possible."""
    content = image.read()  # checks that the file has not changed
    assert image.link is not None
    try:
        os.link(image.link, path)
    except OSError:  # another file system, or one without links
        path.write_bytes(content)


def name_class_folders(classes: Sequence[str]) -> dict[str, str]:
    """Return the folder of each class: its name, where that can be one of a folder of images.

    >>> name_class_folders(["cat", "a/b", "test"])
    {'cat': 'cat', 'a/b': 'a_b', 'test': 'test_'}
    """
    names = {
        label: f"{name}_" if _has_meaning(name) else name
        for label, name in name_folders(classes).items()
    }
    return dict(zip(names, make_unique(list(names.values())), strict=True))


def _has_meaning(name: str) -> bool:
    """Whether a folder of this name is not a class for intake, or in the way of a table."""
    return (
        parse_split(name) is not None
        or name.casefold() in UNLABELLED_FOLDERS
        or is_system(f"{name}/a.png")
        or name.casefold() in (RECORD, TABLE, LISTING)
    )


@dataclass(frozen=True)
class _Entry:
    label: str | None
    synthetic: bool
    source: str
    digest: str

    @classmethod
    def of(cls, image: FolderImage) -> _Entry:
        source = image.source.encode("utf-8", "replace").decode()
        return cls(image.label, image.synthetic, source, image.digest)


def _format_table(files: Sequence[str], images: Sequence[FolderImage]) -> bytes:
    format_line = CsvFormatter().format
    lines = [format_line(("file_name", "label"))]
    lines += [format_line((f, image.label or "")) for f, image in zip(files, images, strict=True)]
    return "".join(lines).encode("utf-8", "surrogateescape")


def _remove_empty_folders(folder: Path, files: set[str]) -> None:
    """Remove the folders of classes that are no more."""
    for parent in {(folder / name).parent for name in files} - {folder}:
        with suppress(OSError):
            parent.rmdir()
