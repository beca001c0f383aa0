"""Show predictions, classifiers and leaderboards in a notebook: HTML without outside resources.

Styles are inline and colours follow the notebook (`inherit`, translucent greys), because a notebook
may be dark, and several outputs share one page. Every text is escaped.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

from ilk.core.metrics import Interval
from ilk.report.formatting import abbreviate, format_interval, format_percent_value

if TYPE_CHECKING:
    from ilk.core.leaderboard import CandidateResult
    from ilk.images import Content

MAX_NAMES = 10  # class names listed
MAX_ROWS = 20  # rows of a leaderboard


@dataclass(frozen=True)
class LeaderboardView:
    """The candidates that a fit compared, best first; prints as a table and shows as HTML.

    Attributes:
        results: The candidates with their cross-validated scores.
        winner: Encoder name and method of the selected one.
    """

    results: tuple[CandidateResult, ...]
    winner: tuple[str, str]

    def __len__(self) -> int:
        return len(self.results)

    def __iter__(self) -> Iterator[CandidateResult]:
        return iter(self.results)

    def __str__(self) -> str:
        rows: list[tuple[str, ...]] = [
            ("encoder", "method", "accuracy, %", "95 % interval", "log loss", "ECE, %", "")
        ]
        rows += [
            (row.encoder, row.method, *(row.metrics or ("–",) * 4), row.mark or row.note)
            for row in self._build_rows()
        ]
        widths = [max(map(len, column)) for column in zip(*rows, strict=True)]
        aligned = ["  ".join(map(_align, row, widths, range(len(row)))).rstrip() for row in rows]
        return "\n".join(aligned)

    def _repr_html_(self) -> str:
        return _render("leaderboard", table=self.build_table())

    def build_table(self) -> _Table:
        """Return the first rows and the number of those that are left out."""
        rows = self._build_rows()
        return _Table(rows[:MAX_ROWS], max(0, len(rows) - MAX_ROWS))

    def _build_rows(self) -> list[_Row]:
        return [_build_row(r, (r.encoder, r.method) == self.winner) for r in self.results]


@dataclass(frozen=True)
class _Row:
    encoder: str
    method: str
    is_winner: bool
    mark: str
    metrics: tuple[str, ...]
    note: str


@dataclass(frozen=True)
class _Table:
    rows: list[_Row]
    n_hidden: int


def _build_row(result: CandidateResult, is_winner: bool) -> _Row:
    metrics: tuple[str, ...] = ()
    mark = "selected" if is_winner else "as good" if result.is_tied else ""
    if (s := result.scores) is not None:
        metrics = (
            format_percent_value(s.accuracy.value),
            format_interval(s.accuracy),
            f"{s.log_loss:.3f}",
            format_percent_value(s.calibration_error),
        )
    names = abbreviate(result.encoder), abbreviate(result.method)
    return _Row(*names, is_winner, mark, metrics, abbreviate(result.note))


def _align(cell: str, width: int, column: int) -> str:
    return cell.rjust(width) if 2 <= column <= 5 else cell.ljust(width)


def render_prediction(
    path: str,
    name: str,
    probability: float,
    prediction_set: Sequence[str],
    *,
    is_unknown: bool,
    error: str,
    content: Content | None,
) -> str:
    """Return a prediction as HTML: a small picture, the name, a bar of its probability, the set.

    Args:
        path: Path of the image, or what it is called.
        name: Most probable class.
        probability: Its probability, in [0, 1].
        prediction_set: Conformal set, most probable class first.
        is_unknown: Whether the image is out-of-distribution.
        error: Why the image could not be read, or "".
        content: The image if it is in memory: bytes, a Pillow image, or an array `[h, w]` or `[h,
            w, c]`. Without it, the file at `path` is shown if it can be opened.
    """
    from ilk.report.thumbnails import make_thumbnail

    thumbnail = make_thumbnail(Path(path), None, content=content)
    return _render(
        "prediction",
        path=abbreviate(path),
        predicted=abbreviate(name),
        probability=probability,
        members=[abbreviate(member) for member in prediction_set[:MAX_NAMES]],
        n_more=max(0, len(prediction_set) - MAX_NAMES),
        is_unknown=is_unknown,
        error=error,
        thumbnail=thumbnail if thumbnail.data_uri else None,
    )


def render_classifier(
    classes: Sequence[str],
    encoder: str,
    method: str,
    rates: Sequence[tuple[str, Interval]],
    leaderboard: LeaderboardView | None,
) -> str:
    """Return a classifier as HTML: its classes, method, rates with intervals and leaderboard.

    Args:
        classes: Class names.
        encoder: Name of the encoder.
        method: The method, as text.
        rates: Accuracies, each with what it is called.
        leaderboard: The candidates that were compared, if known.
    """
    return _render(
        "classifier",
        n_classes=len(classes),
        members=[abbreviate(name) for name in classes[:MAX_NAMES]],
        n_more=max(0, len(classes) - MAX_NAMES),
        encoder=abbreviate(encoder),
        method=abbreviate(method),
        rates=rates,
        table=leaderboard.build_table() if leaderboard else _Table([], 0),
    )


def _render(kind: str, **values: Any) -> str:
    from ilk.report.templates import render_template

    return render_template("notebook.html", kind=kind, **values)
