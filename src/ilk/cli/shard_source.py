"""A shard folder as the source of `ilk fit`."""

from __future__ import annotations

from dataclasses import asdict
from typing import TYPE_CHECKING

import click

from ilk.cli.intake_options import IntakeOptions
from ilk.cli.output import exit_refused, print_notes

if TYPE_CHECKING:
    from ilk.fitting.config import FitConfig
    from ilk.fitting.out_of_core.fit import OpenedShards


def open_shard_source(source: str, config: FitConfig, intake: IntakeOptions) -> OpenedShards:
    """Open the shard folder `source`; print the refused images and exit if `intake` is strict.

    Raises:
        InputError: An option says how images are read.
    """
    from ilk.fitting.out_of_core.fit import check_reading, open_shards
    from ilk.images import describe_groups

    given = asdict(intake)
    for name in ("strict", "multi_label"):  # the fit reads these itself
        given.pop(name)
    check_reading({name.replace("_", "-"): value for name, value in given.items()}, "--{}")
    opened = open_shards(source, config, click.echo, intake.group_from)
    print_notes((*opened.images.notes, *describe_groups(opened.images.used)))
    if intake.strict and opened.images.refused:
        exit_refused(opened.images)
    return opened
