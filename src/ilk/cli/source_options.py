"""Options of every command that reads images, and of those that read labels and groups."""

from __future__ import annotations

from dataclasses import fields
from functools import wraps
from typing import Any, cast

import click

from ilk.cli.intake_options import IntakeOptions
from ilk.cli.options import F

add_strict_option = click.option(
    "--strict", is_flag=True, help="Stop if any file has to be refused."
)
add_merge_option = click.option(
    "--merge-spellings",
    is_flag=True,
    help="Merge class names that differ only in spelling, such as Cat and cat.",
)
add_label_separator_option = click.option(
    "--label-separator",
    help="Separator of several labels in one cell [default: the one of ; | , that is found].",
)
add_single_label_option = click.option(
    "--no-multi-label",
    "multi_label",
    is_flag=True,
    flag_value=False,
    default=None,
    help="Take a label with separators, such as 'cat; dog', as the name of one class.",
)
add_exclude_option = click.option(
    "--exclude",
    multiple=True,
    metavar="PATTERN",
    help="Leave out files, as in .gitignore: '*_mask.png', 'masks/'; may be repeated.",
)
add_value_range_option = click.option(
    "--value-range",
    metavar="auto|LOW-HIGH",
    help="Stored values that are black and white in images of more than 8 bits, such as 0-4095; "
    "auto finds the smallest standard range that holds all of them [default: auto, or that of the "
    "model].",
)
add_pages_option = click.option(
    "--pages",
    type=click.Choice(["first", "all"]),
    default="first",
    show_default=True,
    help="For files with several pages or frames: use the first, or make an image of each.",
)


def add_group_options(f: F) -> F:
    """Add the options for groups of images, which stay on one side of every split."""
    column = click.option(
        "--group-column",
        help="Table column with the group of each image, such as a patient or a video. A group is "
        "never on both sides of a split.",
    )
    pattern = click.option(
        "--group-from",
        metavar="REGEX",
        help="Regular expression that finds the group in the path of an image, such as "
        "'(p[0-9]+)_' or, for a folder per group, '([^/]+)/[^/]+$'. For `ilk fit`, `duplicates` "
        "finds copies of the same picture and makes a group of them.",
    )
    return column(pattern(f))


def add_source_options(f: F) -> F:
    """Add the options of every command that reads images; it receives them as `intake`.

    Other options that are fields of `IntakeOptions` are collected there as well.
    """

    @wraps(f)
    def command(*args: Any, **options: Any) -> Any:
        intake = IntakeOptions(
            **{f.name: options.pop(f.name) for f in fields(IntakeOptions) if f.name in options}
        )
        return f(*args, intake=intake, **options)

    for option in (
        add_exclude_option,
        add_pages_option,
        add_value_range_option,
        click.option("--path-column", help="Table column with the image paths."),
    ):
        command = option(command)
    return cast(F, command)


def add_intake_options(f: F) -> F:
    """Add the options of commands that read labels, and those of `add_source_options`."""
    command = add_source_options(f)
    for option in (
        add_merge_option,
        add_group_options,
        click.option(
            "--label-column", help="Table column with the class names; `none` reads no labels."
        ),
        click.option(
            "--split-column",
            help="Table column that says what is held out: its name, or 'fold:test=0' to say which "
            "of its values is; `none` reads no splits [default: split, is_valid, Usage, … if they "
            "are clear].",
        ),
        add_strict_option,
    ):
        command = option(command)
    return command


def add_multi_label_options(f: F) -> F:
    """Add the options for images with several labels, to a command with `add_intake_options`."""
    multi_label = click.option(
        "--multi-label/--no-multi-label",
        default=None,
        help="Whether images of a table have several labels each: names in one cell, a column of 0 "
        "and 1 per label, or a line per image and label.",
    )
    return multi_label(add_label_separator_option(f))
