"""Count what a stream of predictions holds, and sum up what there is to know about the images."""

from __future__ import annotations

import re
from typing import TYPE_CHECKING, Any

import click

from ilk.cli.output import Result

if TYPE_CHECKING:
    from ilk.artifacts.multi_label_prediction import MultiLabelPrediction
    from ilk.artifacts.prediction import Prediction

NUMBERS = re.compile(r"-?\d[\d,.]*")


class Tally:
    """Number of predictions, of inputs that could not be read, and notes by kind."""

    def __init__(self) -> None:
        self.n = self.n_failed = 0
        self._notes: dict[str, tuple[int, str]] = {}  # by their wording: number, example

    def add(self, prediction: Prediction | MultiLabelPrediction) -> None:
        """Count one prediction."""
        self.count(prediction.path, prediction.note, is_read=not prediction.error)

    def count(self, path: str, notes: str, *, is_read: bool) -> None:
        """Count one input, and what there is to know about it, separated by semicolons."""
        self.n += 1
        self.n_failed += not is_read
        for note in filter(None, notes.split("; ")):
            kind = NUMBERS.sub("#", note)
            n, example = self._notes.get(kind, (0, f"{path}: {note}"))
            self._notes[kind] = (n + 1, example)

    def report(self, rows: list[dict[str, Any]]) -> Result:
        """Return the rows, and print notes and how many inputs could not be read."""
        self._show_notes()
        if self.n_failed:
            click.echo(f"ilk: {self.n_failed:,} of {self.n:,} inputs could not be read", err=True)
        return Result(rows, exit_code=1 if self.n_failed else 0)

    def _show_notes(self) -> None:
        """Print each kind of note once, with the number of images and an example."""
        from ilk.images import escape_path

        for n, example in self._notes.values():
            images = "1 image has a note" if n == 1 else f"{n:,} of {self.n:,} images have a note"
            click.echo(f"· {images}: {escape_path(example)}", err=True)
