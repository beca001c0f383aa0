"""`ilk check`: list every file of a source as used or refused."""

from __future__ import annotations

from collections import Counter
from collections.abc import Sequence
from dataclasses import asdict
from pathlib import Path
from typing import TYPE_CHECKING

import click

from ilk.cli.intake_options import IntakeOptions
from ilk.cli.output import Result, add_json_option, print_note, print_table, show_intake
from ilk.cli.source_options import add_intake_options, add_multi_label_options

if TYPE_CHECKING:
    from ilk.images import Images
    from ilk.images.annotations.group_counts import GroupCounts
    from ilk.images.duplicates.near_pairs import NearPair

MAX_CLASSES = 50  # classes in the printed table
MAX_PAIRS = 20  # near-duplicates in the printed table
MANY_PAIRS = 10  # with one label or none, from which on they may be bursts or visits


@click.command()
@click.argument("source")
@click.option("--out", help="Write the intake report to this JSON file.")
@add_multi_label_options
@add_intake_options
@add_json_option
def command(source: str, out: str | None, intake: IntakeOptions) -> Result:
    """Inspect SOURCE: a folder with a sub-folder per class, a table, or a list of paths.

    Every file is decoded. Pictures that are nearly the same are listed with their distance, but not
    refused. The exit code is 0 if every file can be used and 1 if some were refused.
    """
    from ilk.artifacts.output_files import check_output_file
    from ilk.core.atomic_write import write_atomically
    from ilk.core.plain_json import encode_json
    from ilk.images import count_groups
    from ilk.images.duplicates.near_pairs import find_near_pairs, near_pairs_to_json
    from ilk.store import Store

    if out:
        check_output_file(Path(out), (".json",), [source])
    store = Store()
    images = intake.read_images(source, store, verify=True)
    show_intake(images)
    _show_classes(images)
    pairs = find_near_pairs(images.used, store)
    groups = count_groups(images.used)
    _show_near_pairs(pairs, groups is not None)
    report = {**images.to_json(), "near_duplicates": near_pairs_to_json(pairs)}
    if groups is not None:
        _show_groups(groups)
        report["groups"] = asdict(groups)
    if out:
        write_atomically(Path(out), encode_json(report))
    return Result(report, exit_code=1 if images.refused else 0)


def _show_groups(groups: GroupCounts) -> None:
    """Print the number of groups of images and the largest of them."""
    print_table(
        ("groups", "images", "without a group", "largest group", "its images"),
        [
            (
                f"{groups.n_groups:,}",
                f"{groups.n_images:,}",
                f"{groups.n_ungrouped:,}",
                groups.largest,
                f"{groups.largest_size:,}",
            )
        ],
    )


def _show_classes(images: Images) -> None:
    """Print the number of used images per class, or label, and split."""
    splits = [s for s in ("train", "val", "test") if any(row.split == s for row in images.used)]
    counts = Counter((name, row.split) for row in images.used for name in row.names)
    names = list(images.classes[:MAX_CLASSES])
    for row in images.used:
        if not row.names:
            counts["(no label)" if row.labels is None else "(none applies)", row.split] += 1
    names += [
        name for name in ("(none applies)", "(no label)") if any(counts[name, s] for s in splits)
    ]
    print_table(
        ("label" if images.is_multi_label else "class", *splits),
        [(name, *(f"{counts[name, split]:,}" for split in splits)) for name in names],
    )
    if len(images.classes) > MAX_CLASSES:
        what = "labels" if images.is_multi_label else "classes"
        click.echo(f"… and {len(images.classes) - MAX_CLASSES} more {what}")


def _show_near_pairs(pairs: Sequence[NearPair], has_groups: bool) -> None:
    """Print how many pictures are nearly the same, and the pairs that matter most."""
    from ilk.images.duplicates.near_pairs import HARMLESS, MAX_LISTED, describe_near_pairs

    if not pairs:
        return
    print_table(
        ("nearly the same", "as", "distance", "in"),
        [
            (pair.first, pair.second, f"{pair.distance:.3f}", pair.concerns)
            for pair in pairs[:MAX_PAIRS]
        ],
    )
    if len(pairs) > MAX_PAIRS:
        n_listed = min(len(pairs), MAX_LISTED)
        click.echo(f"… and {len(pairs) - MAX_PAIRS:,} more pairs; --out lists {n_listed:,} of them")
    for sentence in describe_near_pairs(pairs):
        print_note(sentence)
    if not has_groups and sum(pair.concerns in HARMLESS for pair in pairs) >= MANY_PAIRS:
        print_note(
            "if they show the same patient, scene or moment, keep them together with "
            "--group-column or --group-from"
        )
