"""`ilk add`: add classes to a model folder."""

from __future__ import annotations

import os
from collections.abc import Sequence
from dataclasses import replace
from functools import partial
from itertools import repeat
from pathlib import Path
from typing import TYPE_CHECKING

import click

from ilk.cli.add_output import show_report, summarize
from ilk.cli.intake_options import IntakeOptions
from ilk.cli.options import add_fetch_option, add_force_option, add_network_options
from ilk.cli.output import Result, add_json_option, print_note
from ilk.cli.source_options import add_intake_options

if TYPE_CHECKING:
    from ilk.artifacts.classifier import Classifier
    from ilk.images import Images, NamedInput
    from ilk.store import Store


@click.command()
@click.argument("model")
@click.argument("source", required=False)
@click.option(
    "--class-images",
    "class_folders",
    nargs=2,
    multiple=True,
    metavar="NAME DIR",
    help="Class name and its images: a folder, file, table or list of paths, archive or quoted "
    "pattern; may be repeated.",
)
@click.option("--out", help="Folder for the extended model [default: MODEL itself].")
@click.option(
    "--allow-known", is_flag=True, help="Also accept images of classes that the model already has."
)
@add_force_option
@add_intake_options
@add_fetch_option
@add_network_options
@add_json_option
def command(
    model: str,
    source: str | None,
    class_folders: tuple[tuple[str, str], ...],
    out: str | None,
    allow_known: bool,
    force: bool,
    intake: IntakeOptions,
    device: str,
    runtime: str,
    fetch: bool,
) -> Result:
    """Add classes to the model folder MODEL and report how its predictions change.

    Name each class with its folder, as in --class-images owl owls/, or give a SOURCE as for
    `ilk fit`: a folder with a sub-folder per class, or a table. The images that MODEL was trained
    on are not needed, because MODEL contains statistics of its classes.
    """
    import numpy as np

    from ilk.artifacts.load_classifier import load
    from ilk.artifacts.model_folder import read_digest
    from ilk.artifacts.output_files import check_outside_sources
    from ilk.cli.encode_images import encode_or_exit
    from ilk.cli.output_folder import hold_model, hold_output_folder, is_same_folder
    from ilk.core.data import Data
    from ilk.images import describe_groups, number_row_groups
    from ilk.store import Store
    from ilk.updates.add_groups import describe_single_groups, refuse_tested_groups
    from ilk.updates.add_validation import get_summary
    from ilk.updates.extend import extend_classifier
    from ilk.updates.extend_neighbours import extend_neighbours
    from ilk.updates.side_files import SideFiles, refuse_known

    home, store = Path(model), Store()
    if not out or is_same_folder(out, home):
        hold_model(home)
    digest = read_digest(home)
    classifier = load(model, device=device, runtime=runtime, fetch=fetch)
    get_summary(classifier)
    side_files = replace(SideFiles.read(home, classifier.metadata.get("last_added")), digest=digest)
    read = [source, *(folder for _, folder in class_folders)]
    out_folder = check_outside_sources(Path(out) if out else home, read)
    if out:
        hold_output_folder(out_folder, source_model=home)
    images, names = _read_images((source, intake), class_folders, classifier, store)
    images = refuse_known(images, side_files.known_rows)
    images, group_note = refuse_tested_groups(images, side_files.known_rows)
    images = encode_or_exit(
        images,
        classifier.encoder,
        store,
        strict=intake.strict,
        known_rows=side_files.known_rows,
    )
    rows = [row for row in images.used if row.label is not None and row.split != "test"]
    x = store.get(classifier.encoder.space, [row.digest for row in rows])
    y = np.array([names.index(str(row.label)) for row in rows], np.int64)
    data = Data(x, y, names, group=number_row_groups(rows))
    extended, report = extend_classifier(classifier, data, allow_known=allow_known, force=force)
    summary, last_added = summarize(report), side_files.merge_additions(rows)
    image_rows = [
        replace(row, path=str(images.shown_path_of(row).absolute()), split="train") for row in rows
    ]
    updated = replace(
        extended,
        metadata={**extended.metadata, "last_added": last_added},
        side_files=partial(side_files.render, summary, image_rows),
        neighbours=extend_neighbours(classifier, images, rows, x),
    )
    side_files.check_unchanged()
    updated.save(out_folder)
    show_report(report)
    notes = [*([] if source else describe_groups(rows)), group_note, *describe_single_groups(data)]
    notes += [extended.conformal.note, extended.ood_detector.note]
    notes = [note for note in notes if note]
    for note in (*notes, summary):
        print_note(note)
    click.echo(f"model  {out_folder}")
    value = {"model": out_folder, "classes": extended.classes, "summary": summary, "notes": notes}
    return Result({**value, **report.to_json()})


def _read_images(
    source_options: tuple[str | None, IntakeOptions],
    class_folders: Sequence[tuple[str, str]],
    classifier: Classifier,
    store: Store,
) -> tuple[Images, tuple[str, ...]]:
    """Read the images to add.

    Args:
        source_options: The argument SOURCE, or None, and how it is read.
        class_folders: Class names with their folders.
        classifier: The model, which has class names and value ranges.
        store: The cache of encoded images.

    Returns:
        The images, and the names of their classes.

    Raises:
        InputError: Both or neither of SOURCE and `--class-images` are given, or cannot be read.
    """
    from ilk.core.errors import InputError
    from ilk.images import (
        ListedInputs,
        escape_path,
        normalize_class_name,
        parse_labels,
        read_images,
    )

    source, intake = source_options
    names = parse_labels(name for name, _ in class_folders)
    if None in names:
        raise InputError("a class needs a name, as in --class-images owl owls/")
    class_folders = [(str(n), folder) for n, (_, folder) in zip(names, class_folders, strict=True)]
    spellings = {name for name, _ in class_folders}
    if len({normalize_class_name(name) for name in spellings}) < len(spellings):
        raise InputError(
            f"one class has several spellings: {', '.join(map(repr, sorted(spellings)))}; write "
            "its name the same way each time"
        )
    if bool(source) == bool(class_folders):
        raise InputError(
            "give either --class-images NAME DIR for each class, or one folder with a sub-folder "
            "per class"
        )
    if source:
        images = intake.read_images(source, store, ranges=classifier.value_ranges)
        return images, images.classes
    labelled = [
        (named, name, group)
        for name, folder in class_folders
        for named, group in _list_class_inputs(name, folder, classifier.classes, intake)
    ]
    images = read_images(
        ListedInputs(tuple(named for named, _, _ in labelled)),
        labels=[name for _, name, _ in labelled],
        groups=[group for _, _, group in labelled] if intake.group_column else None,
        group_from=intake.group_from,
        verify=False,
        store=store,
        value_range=intake.choose_range(classifier.value_ranges),
        pages=intake.pages,
        source_name=" and ".join(escape_path(folder) for _, folder in class_folders),
    )
    return images, tuple(dict.fromkeys(name for name, _ in class_folders))


def _list_class_inputs(
    name: str, source: str, classes: Sequence[str], intake: IntakeOptions
) -> list[tuple[NamedInput, str | None]]:
    """List the images of class `name` that `source` stands for, and the group of each.

    Raises:
        InputError: `source` is missing or empty, or has sub-folders of other known classes.
    """
    from ilk.core.errors import InputError, NoImages
    from ilk.images import escape_path
    from ilk.images.sources.kinds import find_kind

    if find_kind(source) == "missing":
        raise InputError(
            f"there is no folder or file {escape_path(source)} with images of {name!r}"
        )
    entries = {entry.name for entry in os.scandir(source)} if os.path.isdir(source) else set()
    if known := sorted((entries & set(classes)) - {name}):
        raise InputError(
            f"{escape_path(source)} has sub-folders for {', '.join(known[:3])}, so not all its "
            f"images are of {name!r}; give the folder of {name!r} alone"
        )
    try:
        listed = intake.list_inputs([source])
    except NoImages:
        raise InputError(
            f"{escape_path(source)} is empty; it must contain images of {name!r}"
        ) from None
    first_parts = {os.path.relpath(f, source).split(os.sep)[0] for f in listed.list_paths()} - {"."}
    if subfolders := sorted(
        entry
        for entry in first_parts
        if os.path.isdir(source) and os.path.isdir(os.path.join(source, entry))
    ):
        names = ", ".join(escape_path(folder) for folder in subfolders[:3])
        print_note(
            f"all images in sub-folders of {escape_path(source)} ({names}) count as {name!r}"
        )
    return list(zip(listed.inputs, listed.groups or repeat(None), strict=False))
