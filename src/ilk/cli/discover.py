"""`ilk discover`: groups of images that fit no known class, ready to be named and added."""

from __future__ import annotations

from pathlib import Path

import click

from ilk.cli.options import network_options


@click.command()
@click.argument("source")
@click.option("--known", required=True, help="The model folder of the classes that are known.")
@click.option("--out", required=True, help="A new folder for the groups.")
@click.option("--groups", type=click.IntRange(min=1), help="How many there are [default: found].")
@click.option(
    "--all",
    "everything",
    is_flag=True,
    help="Suggest every group that is found, also where the classifier calls nothing unknown.",
)
@network_options
def command(
    source: str,
    known: str,
    out: str,
    groups: int | None,
    everything: bool,
    device: str,
    runtime: str,
) -> None:
    """Group the images of SOURCE that fit no class of the model folder --known.

    Labels that SOURCE may tell are not read. Each group becomes a folder of copies, the images
    stay where they are; look at groups.html, rename a folder, and add it with: ilk add.

    Exit code 0 when every file could be read, 1 when some could not; groups.csv says why.
    """
    from ilk.classifier import load
    from ilk.cli.options import table
    from ilk.errors import NoImages
    from ilk.images import listing, read, shown
    from ilk.living.discover import discover
    from ilk.living.suggestions import PAGE, free, write
    from ilk.progress import told
    from ilk.store import Store

    home = free(Path(out))
    classifier = load(known, device=device, runtime=runtime)
    store = Store()
    paths = listing(source)
    if not paths:
        raise NoImages(f"{source} is empty; it must hold images")
    # A folder is read as a list, so that the names of its folders are not taken for classes.
    images = read(
        paths if Path(source).is_dir() else source,
        verify=False,
        store=store,
        progress=told(),
        called=shown(source),
    )
    found = discover(
        classifier, images, store, groups=groups, everything=everything, progress=told()
    )
    write(found, home, known)
    if found.groups:
        table(
            ("group", "images", "called unknown", "for example"),
            [
                (
                    f"group-{n}",
                    f"{len(members):,}",
                    f"{sum(f.unknown for f in members):,}",
                    members[0].row.path,
                )
                for n in range(1, min(found.groups, 50) + 1)
                for members in [found.group(n)]
            ],
        )
        if found.groups > 50:
            click.echo(f"… and {found.groups - 50} more groups")
    else:
        click.echo(f"nothing new: no group of these images is unlike what {known} knows")
    for note in found.notes:
        click.echo(f"· {note}")
    click.echo(f"see {home / PAGE}", err=True)
    if found.failed:
        click.echo(
            f"ilk: {found.failed:,} of {len(found.images.rows):,} files could not be used", err=True
        )
        raise click.exceptions.Exit(1)
