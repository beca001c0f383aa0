"""`ilk duplicates`: find duplicates and near-duplicates in a source."""

from __future__ import annotations

import shlex
from pathlib import Path
from typing import TYPE_CHECKING

import click

from ilk.cli.csv_safe import add_csv_safe_option
from ilk.cli.intake_options import IntakeOptions
from ilk.cli.options import add_network_options, add_seed_option
from ilk.cli.output import Result, add_json_option, print_note, print_table, show_intake
from ilk.cli.source_options import add_intake_options, add_multi_label_options
from ilk.core.terminal_text import escape_line

if TYPE_CHECKING:
    from ilk.core.capabilities import Embeds
    from ilk.deduplication.groups import DuplicateGroups
    from ilk.images import Images

MAX_GROUPS = 20  # in the printed table


@click.command()
@click.argument("source")
@click.option(
    "--encoder", help="Encoder of the features [default: the best one that is installed]."
)
@click.option(
    "--false-matches",
    type=float,
    default=1.0,
    show_default=True,
    help="Upper limit for the expected number of wrong pairs in SOURCE; less is stricter.",
)
@click.option("--out", help="Write the groups to this file: .csv (a line per file) or .json.")
@click.option(
    "--page", help="Write a page that shows the pictures side by side to this .html file."
)
@add_seed_option
@add_csv_safe_option
@add_multi_label_options
@add_intake_options
@add_network_options
@add_json_option
def command(
    source: str,
    encoder: str | None,
    false_matches: float,
    out: str | None,
    page: str | None,
    seed: int,
    intake: IntakeOptions,
    device: str,
    runtime: str,
) -> Result:
    """Find duplicates and near-duplicates in SOURCE; no file is deleted or moved.

    The evidence for each pair is named: the same content, the same pixels, nearly the same
    thumbnail (also mirrored or rotated by 90°), or similar features. Pairs of the last two kinds
    are aligned and compared pixel by pixel, and the threshold is calibrated on SOURCE itself, so
    that at most --false-matches wrong pairs are expected. Labels are not needed. Leaks between
    training and test images come first, then pictures under two labels. In each group, one file is
    marked to be kept: one with a label if there is one, then the one with the most pixels and the
    least compression.

    The exit code is 0 if there are no duplicates, and 1 otherwise.
    """
    from ilk.artifacts.output_files import check_output_file
    from ilk.cli.duplicates_output import describe_duplicates, write_groups
    from ilk.core.atomic_write import write_atomically
    from ilk.core.progress import terminal_progress
    from ilk.deduplication.find_groups import check_false_matches, find_groups
    from ilk.report.duplicates_page import render_duplicates
    from ilk.store import Store

    check_false_matches(false_matches)
    if out:
        check_output_file(Path(out), (".csv", ".json"), [source])
    if page:
        check_output_file(Path(page), (".html",), [source])
    store = Store()
    images = intake.read_images(source, store)
    network = open_feature_encoder(encoder, images, device, runtime)
    found = find_groups(
        images,
        network,
        store,
        false_matches=false_matches,
        seed=seed,
        progress=terminal_progress(),
    )
    notes = describe_duplicates(found)
    if found.images.refused:
        show_intake(found.images)
    _show_groups(found)
    for note in notes:
        print_note(note)
    if out:
        write_groups(found, Path(out))
        click.echo(f"see {out}", err=True)
    if page:
        text = render_duplicates(found, tuple(notes))
        write_atomically(Path(page), text.encode())
        click.echo(f"see {page}", err=True)
    if found.groups:
        _say_what_is_next(found, source, page)
    return Result(found.to_json(), exit_code=1 if found.groups else 0)


def open_feature_encoder(name: str | None, images: Images, device: str, runtime: str) -> Embeds:
    """Return the named encoder, or the last of the default encoders, which is the best.

    Raises:
        UnknownName: There is no such encoder.
        InputError: It is a classifier and gives no features.
    """
    from ilk.core.capabilities import ScoresClasses
    from ilk.core.errors import InputError
    from ilk.encoders import choose_encoders, resolve_encoder

    if name is None or name == "default":
        return choose_encoders(images, device=device, runtime=runtime)[0][-1]
    encoder = resolve_encoder(name, images=images, device=device, runtime=runtime)
    if isinstance(encoder, ScoresClasses):
        raise InputError(
            f"{name} is a classifier and gives no features to compare; name another encoder with "
            "--encoder"
        )
    return encoder


def _say_what_is_next(found: DuplicateGroups, source: str, page: str | None) -> None:
    """Print the commands that show the pictures, and that learn in spite of the copies."""
    name = escape_line(shlex.quote(source))
    lines = (
        [] if page else [f"ilk duplicates {name} --page duplicates.html  (pictures side by side)"]
    )
    if any(row.label is not None for row in found.images.used):
        command = f"ilk fit {name} --group-from duplicates --out MODEL"
        lines.append(f"{command}  (copies stay on one side of every split)")
    for i, line in enumerate(lines):
        click.echo(f"{'       ' if i else 'next   '}{line}")


def _show_groups(found: DuplicateGroups) -> None:
    """Print the most serious groups."""
    from ilk.report.duplicates_page import describe_evidence

    if not found.groups:
        return
    rows = []
    for number, group in enumerate(found.groups[:MAX_GROUPS], 1):
        for member in group.members:
            what = "keep" if member.keep else describe_evidence(member)
            where = member.split if len(group.splits) > 1 else ""
            rows.append((f"{number}", member.path, what, member.label or "", where, group.concerns))
    print_table(("group", "file", "evidence", "label", "split", "copies in"), rows)
    if len(found.groups) > MAX_GROUPS:
        click.echo(f"… and {len(found.groups) - MAX_GROUPS:,} more groups; --out lists all of them")
