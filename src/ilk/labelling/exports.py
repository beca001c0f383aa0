"""Take the labels along: as a table, or as a folder."""

from __future__ import annotations

import os
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from functools import partial
from pathlib import Path

from ilk.core.atomic_write import write_atomically
from ilk.core.csv_cells import CsvFormatter
from ilk.core.errors import InputError, NoLabels, OutputError
from ilk.core.portable_names import make_unique, name_file, name_folders
from ilk.images import Images, Row, escape_path
from ilk.images.original_content import read_original
from ilk.labelling.answers import Answers
from ilk.labelling.items import Item

COLUMNS = ("path", "label", "split", "annotator", "given", "sha256")


@dataclass(frozen=True)
class LabelledItem:
    """What is known of one image.

    Attributes:
        item: The image.
        label: Its class: by annotators, else given; None without one.
        annotators: Who gave it this class.
        is_audited: Whether it is of the audit slice.
        is_disputed: Whether annotators differ and nobody has resolved it.
        is_unsure: Whether it has no class because somebody could not tell it.
    """

    item: Item
    label: str | None
    annotators: tuple[str, ...] = ()
    is_audited: bool = False
    is_disputed: bool = False
    is_unsure: bool = False


def describe_item(item: Item, answers: Answers, *, is_audited: bool) -> LabelledItem:
    """Return what the answers and the folder say of an image."""
    settled, labels = answers.settle(item.digest), answers.list_labels(item.digest)
    label = item.given_label if settled is None and not labels else settled
    by = tuple(sorted(name for name, given in labels.items() if given == label))
    return LabelledItem(
        item,
        label,
        by,
        is_audited and label is not None,
        item.digest in answers.disputed,
        answers.is_unsure(item.digest),
    )


def read_content(images: Images, row: Row) -> bytes:
    """Return the bytes of an image; see `ilk.images.original_content.read_original`.

    Raises:
        InputError: The file is gone or changed, or cannot be read.
    """
    changed = "open the session again, which takes it for a new image"
    gone = "its labels are kept, put the file back"
    return read_original(images, row, changed=changed, gone=gone)


def write_table(
    path: Path, images: Images, rows: Mapping[str, Row], labelled: Sequence[LabelledItem]
) -> int:
    """Write the labelled images as CSV; return their number. See `LabellingSession.export_csv`."""
    chosen = select_labelled(labelled)
    if path.exists():
        raise OutputError(f"{escape_path(path)} exists; name another file")
    home = Path(os.path.abspath(path)).parent
    format_line = CsvFormatter().format
    lines = [format_line(COLUMNS)]
    for one in chosen:
        shown = _relate(images, rows[one.item.digest], home)
        split = "test" if one.is_audited else "train"
        given = one.item.given_label or ""
        by = "; ".join(one.annotators)
        lines.append(format_line((shown, one.label, split, by, given, one.item.digest)))
    try:
        home.mkdir(parents=True, exist_ok=True)
    except OSError as error:
        raise OutputError(
            f"cannot write {escape_path(path)}: {error.strerror}; name another file"
        ) from error
    write_atomically(path, "".join(lines).encode("utf-8", "surrogateescape"))
    return len(chosen)


def _relate(images: Images, row: Row, home: Path) -> str:
    """Return the path of an image as a table in the folder `home` names it."""
    absolute = os.path.abspath(images.path_of(row))
    try:
        return Path(os.path.relpath(absolute, home)).as_posix()
    except ValueError:  # another drive
        return absolute


def write_folder(
    path: Path,
    images: Images,
    rows: Mapping[str, Row],
    labelled: Sequence[LabelledItem],
    *,
    link: bool,
) -> int:
    """Write one sub-folder of images per class; see `LabellingSession.export_folder`."""
    from ilk.artifacts.overwrite_guard import holds_only_leftovers
    from ilk.core.folder_transaction import FolderTransaction, lock_folder

    chosen = select_labelled(labelled)
    folders = name_folders(sorted({str(one.label) for one in chosen}))
    names = make_unique([f"{folders[str(x.label)]}/{name_file(x.item.path)}" for x in chosen])
    with lock_folder(path):
        if not holds_only_leftovers(path):
            raise OutputError(f"{escape_path(path)} is not empty; name a new or an empty folder")
        change = FolderTransaction(path)
        for one, name in zip(chosen, names, strict=True):
            change.write_with(name, partial(_write_image, images, rows[one.item.digest], link))
        change.commit()
    return len(chosen)


def _write_image(images: Images, row: Row, link: bool, to: Path) -> None:
    if link and row.digest not in images.contents and not row.page:
        to.symlink_to(os.path.abspath(images.path_of(row)))
        return
    try:
        to.write_bytes(read_content(images, row))
    except InputError as error:
        raise OutputError(f"{error}; nothing is written") from error


def select_labelled(labelled: Sequence[LabelledItem]) -> list[LabelledItem]:
    """Return the images with a class.

    Raises:
        NoLabels: There is none.
    """
    chosen = [one for one in labelled if one.label is not None]
    if not chosen:
        raise NoLabels("nothing is labelled yet; label some images first")
    return chosen
