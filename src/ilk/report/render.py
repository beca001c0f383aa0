"""Render the report as one self-contained HTML file."""

from __future__ import annotations

import os
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

from markupsafe import Markup

from ilk.core.atomic_write import write_atomically
from ilk.core.metrics import Interval, Scores
from ilk.report import charts, confusion_tables, tables
from ilk.report.formatting import (
    abbreviate,
    format_count,
    format_file_name,
    format_interval,
    format_level,
    format_percent,
)
from ilk.report.intake_table import build_intake_rows
from ilk.report.leaderboard import build_leaderboard
from ilk.report.metrics import N_BINS, EvaluationMetrics
from ilk.report.report_data import ReportData, SuspectedLabel
from ilk.report.summary import build_summary, format_headline
from ilk.report.templates import render_template
from ilk.report.thumbnails import Thumbnail, embed_image, show_image

if TYPE_CHECKING:
    from PIL.Image import Image

MAX_THUMBNAILS = 24  # per gallery
MAX_LISTED_LABELS = 200  # label errors listed by name in addition to those shown as thumbnails
MAX_LISTED_PAIRS = 50  # near-duplicates


@dataclass(frozen=True)
class Gallery:
    """Thumbnails, and the number of images that are not shown."""

    thumbnails: list[Thumbnail]
    n_hidden: int


@dataclass(frozen=True)
class Tile:
    """A key figure at the top of the page."""

    label: str
    value: str
    detail: str
    bar: Markup


def render_report(report: ReportData) -> str:
    """Return the report as HTML that can be encoded as UTF-8.

    The page stays under 5 MB whatever the number of images and classes.
    """
    metrics, leaderboard = EvaluationMetrics(report), build_leaderboard(report)
    return render_template(
        "page.html",
        report=report,
        version=report.version,
        metrics=metrics,
        title=format_headline(report, metrics),
        tiles=_build_tiles(report, metrics),
        summary=build_summary(report, metrics),
        notes=[
            note
            for note in dict.fromkeys(report.notes)
            if note not in (report.folds_note, *report.group_notes, str(report.held_together))
            and note != report.label_note
        ],
        leaderboard=leaderboard,
        is_ordered=any(
            r.scores and r.scores.mean_absolute_error is not None for r in report.results
        ),
        class_table=tables.build_class_table(report, metrics),
        confusion_matrix=confusion_tables.build_confusion_matrix(report, metrics),
        class_names=[
            abbreviate(name) for name in report.classes[: confusion_tables.MAX_MATRIX_CLASSES]
        ],
        pair_rows=confusion_tables.build_pair_rows(report, metrics),
        bins=metrics.compute_bins(),
        reliability_chart=charts.draw_reliability_chart(metrics.compute_bins(), N_BINS),
        size_rows=tables.build_size_rows(metrics),
        mistakes=_build_mistakes(report, metrics),
        label_errors=_build_label_errors(report),
        more_label_errors=_list_label_errors(report),
        unknown_images=_build_unknowns(report),
        difference_maps=_build_maps(report, report.difference_maps),
        heat_maps=_build_maps(report, report.heat_maps),
        intake_rows=build_intake_rows(report.images),
        near_pairs=report.near_pairs[:MAX_LISTED_PAIRS],
        max_distance=f"{max((pair.distance for pair in report.near_pairs), default=0):.3f}",
    )


def write_report(report: ReportData, path: str | os.PathLike[str]) -> Path:
    """Render the report, write it to `path`, and return the path.

    Raises:
        OutputError: The file cannot be written.
    """
    path_out = Path(path)
    write_atomically(path_out, render_report(report).encode("utf-8"))
    return path_out


def list_pictured_files(report: ReportData) -> list[Path]:
    """Return the files whose pictures the report shows, apart from difference maps."""
    mistakes = EvaluationMetrics(report).mistakes[:MAX_THUMBNAILS]
    return [
        *(report.paths[i] for i in mistakes),
        *(label_error[0] for label_error in report.label_errors[:MAX_THUMBNAILS]),
        *(file for file, _ in report.unknown_examples[:MAX_THUMBNAILS]),
    ]


def _build_tiles(report: ReportData, metrics: EvaluationMetrics) -> list[Tile]:
    tiles = []
    if report.scores is not None and len(metrics):
        error = 100 * report.scores.calibration_error
        target = format_level(report.target_coverage)
        tiles = [
            _build_rate_tile("Accuracy", report.scores.accuracy),
            *_build_error_tiles(report.scores),
            _build_rate_tile(f"Coverage of prediction sets, target {target}", report.coverage),
            Tile("Expected calibration error", f"{error:.1f}", "points", Markup("")),
        ]
    detail = (
        f"of {format_count(len(report.images.rows), 'file')}, "
        f"{len(report.images.refused):,} refused"
    )
    return [*tiles, Tile("Images used", f"{len(report.images.used):,}", detail, Markup(""))]


def _build_error_tiles(scores: Scores) -> list[Tile]:
    """Return the mean absolute error of ordered classes."""
    if scores.mean_absolute_error is None:
        return []
    error = f"{scores.mean_absolute_error:.2f}"
    return [Tile("Mean absolute error", error, "of the median class", Markup(""))]


def _build_rate_tile(label: str, rate: Interval) -> Tile:
    return Tile(
        label, format_percent(rate.value), format_interval(rate), charts.draw_interval_bar(rate)
    )


def _build_gallery(
    items: Sequence[Any],
    report: ReportData,
    make_caption: Callable[[Any], tuple[Path, tuple[str, ...]]],
) -> Gallery:
    captioned = [make_caption(item) for item in items[:MAX_THUMBNAILS]]
    return Gallery(
        [show_image(report.images, file, *lines) for file, lines in captioned],
        max(0, len(items) - MAX_THUMBNAILS),
    )


def _build_mistakes(report: ReportData, metrics: EvaluationMetrics) -> Gallery:
    def make_caption(i: int) -> tuple[Path, tuple[str, ...]]:
        true_class = report.classes[metrics.y[i]]
        predicted_class = report.classes[metrics.predicted[i]]
        lines = (
            f"{abbreviate(true_class)}, classified as {abbreviate(predicted_class)}",
            f"confidence {format_percent(metrics.confidence[i])}",
        )
        return report.paths[i], (*lines, "flagged as unknown") if report.is_unknown[i] else lines

    return _build_gallery([int(i) for i in metrics.mistakes], report, make_caption)


def _build_label_errors(report: ReportData) -> Gallery:
    def make_caption(label_error: SuspectedLabel) -> tuple[Path, tuple[str, ...]]:
        file, given, suggested, score = label_error
        text = f"labelled {abbreviate(given)}, suggested {abbreviate(suggested)}"
        return file, (text, f"score {score:.2f}")

    return _build_gallery(report.label_errors, report, make_caption)


def _list_label_errors(report: ReportData) -> list[tuple[str, str, str, str]]:
    """Return file, given label, suggested label and score of errors without a thumbnail."""
    listed = report.label_errors[MAX_THUMBNAILS : MAX_THUMBNAILS + MAX_LISTED_LABELS]
    return [
        (
            format_file_name(file, report.images.root),
            abbreviate(given),
            abbreviate(suggested),
            f"{score:.2f}",
        )
        for file, given, suggested, score in listed
    ]


def _build_unknowns(report: ReportData) -> Gallery:
    return _build_gallery(
        report.unknown_examples, report, lambda pair: (pair[0], (f"score {pair[1]:.3g}",))
    )


def _build_maps(
    report: ReportData, drawn: Sequence[tuple[Path, tuple[str, ...], Image]]
) -> Gallery:
    maps = drawn[:MAX_THUMBNAILS]
    thumbnails = [
        embed_image(image, file, report.images.root, *lines) for file, lines, image in maps
    ]
    return Gallery(thumbnails, len(drawn) - len(maps))
