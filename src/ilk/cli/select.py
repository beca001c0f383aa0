"""`ilk select`: keep the most useful images of a folder."""

from __future__ import annotations

import shlex
from pathlib import Path
from typing import TYPE_CHECKING

import click

from ilk.cli.intake_options import IntakeOptions
from ilk.cli.options import add_network_options, add_seed_option
from ilk.cli.output import Result, add_json_option, print_note, print_table, show_intake
from ilk.cli.source_options import add_intake_options, add_single_label_option
from ilk.core.terminal_text import escape_line

if TYPE_CHECKING:
    from ilk.subset_selection.from_images import SelectionResult


@click.command()
@click.argument("source")
@click.option("--out", required=True, help="Folder for the images that are kept.")
@click.option(
    "--keep",
    type=float,
    required=True,
    help="Fraction of the distinct images to keep (at most 1), or a number of images (above 1).",
)
@click.option(
    "--target",
    help="Images of the domain or task for which images are selected: a folder, table or archive, "
    "with or without labels.",
)
@click.option("--balance", is_flag=True, help="Keep the same number of images of each class.")
@click.option(
    "--method",
    default="auto",
    show_default=True,
    help="Rule that ranks images, such as Herding, KCenter, Moderate, EL2N, Forgetting or "
    "RandomSubset; with --target ColorFilter, SourcePruning, TargetDiscriminator or NearestTarget; "
    "auto uses the best one on held-out images.",
)
@click.option("--link", is_flag=True, help="Make hard links instead of copies of the files.")
@click.option(
    "--keep-copies",
    is_flag=True,
    help="Keep near-duplicates; only files with the same content are left out.",
)
@click.option(
    "--encoder",
    "encoder_name",
    help="Encoder of the features [default: the best one that is installed].",
)
@add_seed_option
@add_single_label_option
@add_intake_options
@add_network_options
@add_json_option
def command(
    source: str,
    out: str,
    keep: float,
    target: str | None,
    balance: bool,
    method: str,
    link: bool,
    keep_copies: bool,
    encoder_name: str | None,
    seed: int,
    intake: IntakeOptions,
    device: str,
    runtime: str,
) -> Result:
    """Keep the most useful images of SOURCE, and write them to the image folder OUT.

    Near-duplicates are removed first. Then images are ranked by how useful they are for the domain
    or task of --target or, without it, for training a classifier (a coreset). On held-out images,
    the ranking rules are compared with a random choice of as many images. Without --target, random
    images are kept unless a rule is significantly better, and classes keep their proportions, with
    at least one image each. With --target, the best rule is used unless it is significantly worse
    than random, and classes that are of no use for the target may be dropped.

    OUT is an ordinary image folder: the original files, in one folder per class. selection.json
    says what was lost, and selection.csv lists every image with its rank. The val and test splits
    are left out.
    """
    from ilk.artifacts.output_files import check_outside_sources
    from ilk.cli.duplicates import open_feature_encoder
    from ilk.cli.intake_options import check_source
    from ilk.cli.output_folder import hold
    from ilk.core.progress import terminal_progress
    from ilk.images import read_images
    from ilk.store import Store
    from ilk.subset_selection.folder import check_image_folder
    from ilk.subset_selection.from_images import select_from_images, write_selection
    from ilk.subset_selection.select_rows import SelectionConfig

    config = SelectionConfig(keep, balance, method, seed)
    folder = check_outside_sources(Path(out), [s for s in (source, target) if s])
    hold(folder, check_image_folder)
    store = Store()
    images = intake.read_images(source, store)
    goal = None
    if target is not None:
        goal = read_images(check_source(target), verify=False, store=store)
    network = open_feature_encoder(encoder_name, images, device, runtime)
    result = select_from_images(
        images,
        goal,
        network,
        store,
        config,
        find_near_copies=not keep_copies,
        progress=terminal_progress(),
    )
    if images.refused:
        show_intake(images)
    write_selection(folder, images, result, link=link, progress=terminal_progress())
    _show(result)
    for note in result.notes:
        print_note(note)
    click.echo(f"images     {folder}")
    if any(result.counts.values()):
        click.echo(f"next       {escape_line(shlex.join(('ilk', 'fit', str(folder))))} --out MODEL")
    return Result({"out": str(folder), **result.to_json()})


def _show(result: SelectionResult) -> None:
    """Print what is kept, and what was measured on images left out."""
    verdict, n = result.selection.verdict, len(result.selection.kept)
    click.echo(
        f"kept {n:,} of {len(result.rows):,} distinct pictures ({result.n_images:,} training "
        f"images), by {result.selection.selector}"
    )
    if verdict is None:
        return
    is_best = result.selection.selector == verdict.best
    rows: list[tuple[str, str, str]] = [
        ("all", f"{len(result.rows):,}", str(verdict.all)),
        (f"chosen by {verdict.best}{' *' * is_best}", f"{n:,}", str(verdict.kept)),
        (f"as many at random{' *' * (not is_best)}", f"{n:,}", str(verdict.random)),
    ]
    title = "accuracy" if verdict.measure == "accuracy" else "log density of the target"
    print_table(("images", "number", f"{title}, 95 % interval"), rows)
    click.echo(
        f"measured on {verdict.n:,} images, each left out of the selection and of the training; "
        f"* is kept; its loss against all images: {verdict.loss!s}"
    )
