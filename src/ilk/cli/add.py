"""`ilk add`: classes that come later, into a model folder, in seconds."""

from __future__ import annotations

import os
from collections.abc import Sequence
from dataclasses import replace
from pathlib import Path
from typing import TYPE_CHECKING

import click

from ilk.cli.options import network_options

if TYPE_CHECKING:
    from ilk.images import Images
    from ilk.living.added import Growth
    from ilk.store import Store


@click.command()
@click.argument("model")
@click.argument("source", required=False)
@click.option(
    "--class",
    "named",
    nargs=2,
    multiple=True,
    metavar="NAME DIR",
    help="A class and the folder (or image) that shows it; may be repeated.",
)
@click.option("--out", help="Folder for the grown model [default: MODEL itself].")
@click.option("--more", is_flag=True, help="Let a name be known already: it gets these images too.")
@click.option(
    "--anyway", is_flag=True, help="Add a class that cannot be told from one that there is."
)
@click.option("--merge-spellings", is_flag=True, help="Take Owl and owl in SOURCE for one class.")
@click.option("--strict", is_flag=True, help="Stop if any file is refused.")
@network_options
def command(
    model: str,
    source: str | None,
    named: tuple[tuple[str, str], ...],
    out: str | None,
    more: bool,
    anyway: bool,
    merge_spellings: bool,
    strict: bool,
    device: str,
    runtime: str,
) -> None:
    """Add classes to the model folder MODEL, and show that the old ones answer as before.

    Give each class with its folder, --class owl owls/, or a SOURCE as for `ilk fit`: a folder with
    one sub-folder a class, or a table. No old image is needed: MODEL keeps class statistics.
    """
    import numpy as np

    from ilk.claimed import claim
    from ilk.classifier import load
    from ilk.cli.options import encoded
    from ilk.data import Data
    from ilk.living.carried import Beside, known_before
    from ilk.living.growing import grow
    from ilk.living.newcomers import growable
    from ilk.store import Store

    classifier = load(model, device=device, runtime=runtime)
    growable(classifier)
    home, store = Path(model), Store()
    beside = Beside.of(home, classifier.about.get("last_added"))
    place = claim(Path(out), grown_from=home) if out else home
    images, names = _images((source, merge_spellings), named, classifier.classes, store)
    images = known_before(images, beside.learnt)
    images = encoded(images, classifier.encoder, store, strict=strict)
    rows = [row for row in images.used if row.label is not None and row.split != "test"]
    x = store.get(classifier.encoder.space, [row.digest for row in rows])
    data = Data(x, np.array([names.index(str(row.label)) for row in rows], np.int64), names)
    grown, growth = grow(classifier, data, more=more, anyway=anyway)
    beside.unchanged()
    last = beside.last_added(rows)
    replace(grown, about={**grown.about, "last_added": last}).save(place)
    said = sentence(growth)
    path = [replace(row, path=str(images.file(row).absolute()), split="train") for row in rows]
    beside.carry(place, said, path)
    show(growth)
    for note in filter(None, (grown.sets.note, grown.unknown.note)):
        click.echo(f"· {note}")
    click.echo(f"· {said}\nmodel  {place}")


def _images(
    given: tuple[str | None, bool],
    named: Sequence[tuple[str, str]],
    classes: Sequence[str],
    store: Store,
) -> tuple[Images, tuple[str, ...]]:
    """What is to be added, looked at, and the names that it was given."""
    from ilk.cli.options import Intake
    from ilk.errors import InputError
    from ilk.images import folded, read, shown

    source, merge = given
    spelt = {name for name, _ in named}
    if len({folded(name) for name in spelt}) < len(spelt):
        raise InputError(
            f"one class is spelt in several ways: {', '.join(map(repr, sorted(spelt)))}; write it "
            "alike each time"
        )
    if bool(source) == bool(named):
        raise InputError(
            "say what to add in one way: --class NAME DIR for each class, or one folder that has a "
            "sub-folder for each"
        )
    if source:
        images = Intake(merge_spellings=merge).read(source, store)
        return images, images.classes
    found = [(file, name) for name, place in named for file in _files(name, place, classes)]
    images = read(
        [file for file, _ in found],
        labels=[name for _, name in found],
        verify=False,
        store=store,
        called=" and ".join(shown(place) for _, place in named),
    )
    return images, tuple(dict.fromkeys(name for name, _ in named))


def _files(name: str, place: str, classes: Sequence[str]) -> list[str]:
    """The files that show `name`."""
    from ilk.errors import InputError
    from ilk.images import listing, shown

    if not os.path.exists(place):
        raise InputError(f"there is no folder or file {shown(place)} with images of {name!r}")
    inside = {entry.name for entry in os.scandir(place)} if os.path.isdir(place) else set()
    if known := sorted((inside & set(classes)) - {name}):
        raise InputError(
            f"{shown(place)} has folders for {', '.join(known[:3])}, so not all in it is {name!r}; "
            f"name the folder of {name!r} alone"
        )
    if not (files := listing(place)):
        raise InputError(f"{shown(place)} is empty; it must hold images of {name!r}")
    below = {os.path.relpath(file, place).split(os.sep)[0] for file in files} - {"."}
    if deeper := sorted(entry for entry in below if os.path.isdir(os.path.join(place, entry))):
        told = ", ".join(shown(folder) for folder in deeper[:3])
        click.echo(f"· all in the folders of {shown(place)} ({told}) is taken for {name!r}")
    return files


def sentence(growth: Growth) -> str:
    """What was added and what it did, for the report."""
    from ilk.report.words import count

    new = ", ".join(f"{count(n, 'image')} of {name}" for name, n in growth.images.items())
    said = f"{growth.date}: {new} added in {growth.seconds:.1f} seconds."
    if growth.old_same is None:
        return f"{said} No old image was held out, so how the old classes answer is not known."
    said += (
        f" Of {growth.old_rows:,} held-out images of the other classes {growth.old_same:.1%} are "
        f"named as before and {growth.taken:.1%} are taken for what was added"
    )
    found = [f"{name} {share:.1%}" for name, share in growth.found.items() if share is not None]
    if found:
        said += f"; of those added, each without itself, {', '.join(found)} are found"
    single = [name for name, share in growth.found.items() if share is None]
    if single:
        said += f"; of {', '.join(single)} there is one image, so how often is not known"
    return said + "."


def show(growth: Growth) -> None:
    """How the old classes answer before and after, as a table."""
    from ilk.cli.options import table

    def told(value: float | None) -> str:
        return "–" if value is None else f"{value:.3f}"

    table(
        ("figure, on images held out", "before", "after"),
        [
            ("accuracy on the other classes", *map(told, growth.old_right)),
            ("calibration error", *map(told, growth.calibration_error)),
            ("answers as before", "", told(growth.old_same)),
            ("taken for what was added", "", told(growth.taken)),
            ("greatest change between two old logits", "", f"{growth.moved:.3g}"),
            ("(their median winning margin)", f"{growth.gap:.3g}", ""),
            *[(f"{name} found", "", told(share)) for name, share in growth.found.items()],
        ],
    )
