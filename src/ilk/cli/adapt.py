"""`ilk adapt`: a model folder that follows the shares of the classes where it is used."""

from __future__ import annotations

import os
from pathlib import Path
from typing import TYPE_CHECKING

import click

from ilk.cli.options import network_options

if TYPE_CHECKING:
    from ilk.classifier import Classifier
    from ilk.living.share_estimate import Estimate

SHOWN = 20  # classes


@click.command()
@click.argument("model")
@click.argument("source")
@click.option("--out", required=True, help="Folder for the adapted model.")
@click.option("--anyway", is_flag=True, help="Follow the estimate whatever speaks against it.")
@click.option("--strict", is_flag=True, help="Stop if any file is refused.")
@network_options
def command(
    model: str, source: str, out: str, anyway: bool, strict: bool, device: str, runtime: str
) -> None:
    """Correct MODEL for the shares that its classes have among the images of SOURCE.

    SOURCE is a folder of images as they come where the model is used; names of folders in it are
    not read as labels. It holds where each class looks as it did, and only its share has changed.
    """
    from ilk.claimed import claim
    from ilk.classifier import load
    from ilk.cli.options import encoded
    from ilk.errors import InputError
    from ilk.images import listing, read, shown
    from ilk.living.carried import Beside
    from ilk.living.following import follow
    from ilk.progress import told
    from ilk.store import Store

    classifier, store = load(model, device=device, runtime=runtime), Store()
    beside = Beside.of(Path(model))
    place = claim(Path(out), grown_from=Path(model))
    if not os.path.exists(source):
        raise InputError(f"there is no folder or file {shown(source)}")
    if not (files := listing(source)):
        raise InputError(f"{shown(source)} is empty; it must hold images, which need no labels")
    images = read(files, verify=False, store=store, progress=told(), called=shown(source))
    images = encoded(images, classifier.encoder, store, strict=strict)
    x = store.get(classifier.encoder.space, [row.digest for row in images.used])
    followed, found = follow(classifier, x, anyway=anyway)
    beside.unchanged()
    followed.save(place)
    said = sentence(found, followed)
    beside.carry(place, said)
    show(found, followed.classes)
    click.echo(f"· {said}\nmodel  {place}")


def sentence(found: Estimate, followed: Classifier) -> str:
    """What was estimated and whether it is followed, for the report."""
    date = followed.about["followed"]["date"]
    gain, spread = (100 * value for value in found.benefit)
    if followed.shares is None and found.changed:
        return (
            f"{date}: among {found.n:,} images the shares of the classes are others than "
            "answers take for granted, but that following them pays is not certain enough "
            f"({gain:+.1f} ± {spread:.1f} points of accuracy), so answers are as they were learnt; "
            "give more images, or pass --anyway."
        )
    if followed.shares is None:
        return (
            f"{date}: among {found.n:,} images the shares of the classes cannot be told from "
            "those that answers take for granted, so answers stay as they were learnt."
        )
    order = (-abs(found.now - found.learnt)).argsort()[:3]
    most = ", ".join(
        f"{followed.classes[c]} {found.now[c]:.1%} (taken for granted: {found.learnt[c]:.1%})"
        for c in order
    )
    return (
        f"{date}: adapted to the shares of classes among {found.n:,} images: {most}; expected to "
        f"bring {gain:+.1f} ± {spread:.1f} points of accuracy there."
    )


def show(found: Estimate, classes: tuple[str, ...]) -> None:
    """Shares that answers take for granted and those of now, what changed most first."""
    from ilk.cli.options import table

    order = (-abs(found.now - found.learnt)).argsort()
    low, high = found.interval
    table(
        ("class", "taken for granted", "now", "95 % interval", "safe to follow", "by hard answers"),
        [
            (
                classes[c],
                f"{found.learnt[c]:.3f}",
                f"{found.now[c]:.3f}",
                f"[{low[c]:.3f}, {high[c]:.3f}]",
                f"{found.to_follow[c]:.3f}",
                f"{found.by_answers[c]:.3f}",
            )
            for c in order[:SHOWN]
        ],
    )
    if len(classes) > SHOWN:
        click.echo(f"{len(classes) - SHOWN} more classes, whose shares changed less, in model.json")
