"""`ilk discover`: group images that belong to no known class."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING, Any

import click

from ilk.cli.csv_safe import add_csv_safe_option
from ilk.cli.intake_options import IntakeOptions
from ilk.cli.options import add_fetch_option, add_network_options
from ilk.cli.output import Result, add_json_option, print_note, print_table
from ilk.cli.source_options import add_source_options

if TYPE_CHECKING:
    from ilk.updates.discover import Discovery
    from ilk.updates.discovery_evaluation import DiscoveryEvaluation

MAX_GROUPS = 50  # groups in the printed table


@click.command()
@click.argument("model")
@click.argument("source")
@click.option("--out", required=True, help="New folder for the groups.")
@click.option("--groups", type=click.IntRange(min=1), help="Number of groups [default: estimated].")
@click.option(
    "--all",
    "keep_all",
    is_flag=True,
    help="Suggest all groups, also those with few images that are flagged as unknown.",
)
@click.option(
    "--evaluate",
    is_flag=True,
    help="Compare the groups with the labels of SOURCE, which is read as by `ilk fit`.",
)
@add_csv_safe_option
@add_source_options
@add_fetch_option
@add_network_options
@add_json_option
def command(
    model: str,
    source: str,
    out: str,
    groups: int | None,
    keep_all: bool,
    evaluate: bool,
    intake: IntakeOptions,
    device: str,
    runtime: str,
    fetch: bool,
) -> Result:
    """Group the images of SOURCE that belong to no class of the model folder MODEL.

    SOURCE is a folder, a table or list of paths, an archive, a quoted pattern, or - for standard
    input. Labels are ignored, unless --evaluate compares the groups with them. Images are flagged
    as unknown by the score that detects known classes best when each of them is hidden in turn; the
    score is printed. A group gets a suggested name if the encoder knows an ImageNet class for its
    images. Each group becomes a folder with copies of its images. Look at groups.html, delete the
    copies that do not belong to a group, and add the group as a class with the command shown there.

    The exit code is 0 if every file could be read and 1 otherwise; groups.csv states the reasons.
    """
    from ilk.artifacts.load_classifier import load
    from ilk.artifacts.output_files import check_outside_sources
    from ilk.cli.output_folder import hold
    from ilk.core.progress import terminal_progress
    from ilk.store import Store
    from ilk.updates.discover import discover_groups
    from ilk.updates.discovery_evaluation import evaluate_discovery
    from ilk.updates.suggestions import PAGE_FILE, check_output_folder, write_groups

    home = hold(check_outside_sources(Path(out), source), check_output_folder)
    classifier, store = load(model, device=device, runtime=runtime, fetch=fetch), Store()
    read = intake.read_images if evaluate else intake.read_unlabelled
    discovery = discover_groups(
        classifier,
        read(source, store, ranges=classifier.value_ranges),
        store,
        n_groups=groups,
        keep_all=keep_all,
        progress=terminal_progress(),
    )
    evaluation = evaluate_discovery(discovery, classifier.classes) if evaluate else None
    write_groups(discovery, home, model)
    listing = _list_groups(discovery, model, str(home))
    if listing:
        _show_groups(listing)
    else:
        click.echo(f"nothing new: no group of these images differs from the classes of {model}")
    if evaluation:
        _show_evaluation(evaluation)
    for note in discovery.notes:
        print_note(note)
    if listing:
        first = next((group for group in listing if group["suggested_name"]), listing[0])
        print_note("delete the copies that do not belong to a group before you add it")
        print_note(f"{first['group']} becomes a class with: {first['command']}")
        if len(listing) > 1:
            print_note(f"{PAGE_FILE} has the command of each group")
    click.echo(f"see {home / PAGE_FILE}", err=True)
    if discovery.n_failed:
        n_files = len(discovery.images.rows)
        click.echo(f"ilk: {discovery.n_failed:,} of {n_files:,} files could not be used", err=True)
    value = {
        "out": home,
        "groups": listing,
        "unknown_score": {
            "name": discovery.choice.score.label,
            "auroc_of_hidden_classes": dict(discovery.choice.auroc),
        },
        "evaluation": evaluation,
        "notes": discovery.notes,
        "failed": discovery.n_failed,
    }
    return Result(value, exit_code=1 if discovery.n_failed else 0)


def _list_groups(discovery: Discovery, model: str, out: str) -> list[dict[str, Any]]:
    """Return what is printed of each group, with the most typical image as an example."""
    from ilk.updates.add_command import build_add_command

    listing = []
    for number in range(1, discovery.n_groups + 1):
        members, name = discovery.list_group(number), discovery.names.get(number)
        listing.append(
            {
                "group": f"group-{number}",
                "suggested_name": name.name if name else None,
                "name_probability": name.probability if name else None,
                "images": len(members),
                "unknown": sum(member.is_unknown for member in members),
                "example": members[0].row.path,
                "command": build_add_command(discovery, number, model, out),
            }
        )
    return listing


def _show_groups(listing: list[dict[str, Any]]) -> None:
    print_table(
        ("group", "suggested name", "images", "unknown", "example"),
        [
            (
                group["group"],
                _format_name(group),
                f"{group['images']:,}",
                f"{group['unknown']:,}",
                group["example"],
            )
            for group in listing[:MAX_GROUPS]
        ],
    )
    if len(listing) > MAX_GROUPS:
        click.echo(f"… and {len(listing) - MAX_GROUPS} more groups")


def _show_evaluation(evaluation: DiscoveryEvaluation) -> None:
    """Print accuracy of all, known and new images: matched, and strict beside it."""

    def format_value(value: float | None) -> str:
        return "–" if value is None or value != value else f"{value:.3f}"

    print_table(
        (f"{evaluation.n:,} images, {evaluation.n_new:,} of new classes", "matched", "strict"),
        [
            (f"accuracy, {what}", format_value(matched), format_value(strict))
            for what, matched, strict in (
                ("all", evaluation.matched.overall, evaluation.strict.overall),
                ("known classes", evaluation.matched.old, evaluation.strict.old),
                ("new classes", evaluation.matched.new, evaluation.strict.new),
            )
        ],
    )
    print_note(
        "matched: groups and predicted classes are paired with true classes in the best way; "
        "strict: a known class counts only under its own name. AUROC of new against known classes: "
        f"{format_value(evaluation.auroc)}"
    )


def _format_name(group: dict[str, Any]) -> str:
    """Return the suggested name and its probability, such as `guitar 83%`."""
    if group["suggested_name"] is None:
        return ""
    return f"{group['suggested_name']} {group['name_probability']:.0%}"
