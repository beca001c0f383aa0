"""Options of `ilk label` for what is written without a page."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from functools import wraps
from typing import Any

import click


@dataclass(frozen=True)
class LabelOutput:
    """What is written instead of serving the page.

    Attributes:
        status: Whether the progress is printed.
        csv: File for a table of labels, or None.
        folder: Folder for copies of the labelled images, or None.
        model: Folder for a model, or None.
    """

    status: bool
    csv: str | None
    folder: str | None
    model: str | None

    @property
    def is_wanted(self) -> bool:
        """Whether anything is to be written."""
        return self.status or any((self.csv, self.folder, self.model))


def add_output_options(f: Callable[..., Any]) -> Callable[..., Any]:
    """Add the options for what is written without a page."""

    @wraps(f)
    def command(
        *args: Any,
        status: bool,
        csv: str | None,
        folder: str | None,
        model: str | None,
        **options: Any,
    ) -> Any:
        return f(*args, output=LabelOutput(status, csv, folder, model), **options)

    for option in (
        click.option(
            "--export-model",
            "model",
            metavar="MODEL",
            help="Fit a classifier to the labels, write the model folder MODEL and stop.",
        ),
        click.option(
            "--export-folder",
            "folder",
            metavar="FOLDER",
            help="Copy the labelled images to FOLDER, one sub-folder per class, and stop.",
        ),
        click.option(
            "--export-csv",
            "csv",
            metavar="FILE",
            help="Write a table of the labels, which ilk fit reads, and stop.",
        ),
        click.option("--status", is_flag=True, help="Print the progress and stop."),
    ):
        command = option(command)
    return command
