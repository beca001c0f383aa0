"""Render the report of a multi-label fit as one self-contained HTML file."""

from __future__ import annotations

import numpy as np
from markupsafe import Markup

from ilk.core.metrics import wilson_interval
from ilk.core.short_lists import list_first
from ilk.multilabel.metrics import compute_bins
from ilk.report.charts import draw_interval_bar, draw_reliability_chart
from ilk.report.formatting import (
    abbreviate,
    format_count,
    format_interval,
    format_percent,
)
from ilk.report.intake_table import build_intake_rows
from ilk.report.metrics import N_BINS, ReliabilityBin
from ilk.report.multi_label_data import MultiLabelReport
from ilk.report.multi_label_summary import build_label_summary
from ilk.report.multi_label_tables import build_candidate_table, build_label_rows
from ilk.report.render import MAX_THUMBNAILS, Gallery, Tile
from ilk.report.templates import render_template
from ilk.report.thumbnails import show_image

MAX_NAMES = 6  # labels in a caption


def render_multi_label_report(report: MultiLabelReport) -> str:
    """Return the report as HTML that can be encoded as UTF-8."""
    bins = _compute_bins(report)
    value = format_percent(report.scores.mean_average_precision.value)
    kinds = format_count(len(report.classes), "label")
    return render_template(
        "multi_label.html",
        report=report,
        version=report.version,
        title=f"Classifier for {kinds}: {value} mean average precision",
        tiles=_build_tiles(report),
        summary=build_label_summary(report),
        notes=list(dict.fromkeys(report.notes)),
        leaderboard=build_candidate_table(report),
        label_rows=build_label_rows(report),
        bins=bins,
        reliability_chart=draw_reliability_chart(bins, N_BINS),
        mistakes=_build_mistakes(report),
        unknown_images=_build_unknowns(report),
        intake_rows=build_intake_rows(report.images),
    )


def _compute_bins(report: MultiLabelReport) -> list[ReliabilityBin]:
    """Return the reliability curve over all pairs of image and label."""
    is_known = np.isfinite(report.probabilities)
    values = compute_bins(report.targets[is_known], report.probabilities[is_known], N_BINS)
    return [
        ReliabilityBin(min(int(p * N_BINS), N_BINS - 1), p, wilson_interval(round(rate * n), n), n)
        for p, rate, n in values
    ]


def _build_tiles(report: MultiLabelReport) -> list[Tile]:
    s, used = report.scores, len(report.images.used)
    precision, exact = s.mean_average_precision, s.exact_match
    return [
        Tile(
            "Mean average precision",
            format_percent(precision.value),
            format_interval(precision),
            draw_interval_bar(precision),
        ),
        Tile(
            "F1, mean over labels",
            format_percent(s.macro_f1),
            f"{format_percent(s.micro_f1)} over all pairs of image and label",
            Markup(""),
        ),
        Tile(
            "All labels correct",
            format_percent(exact.value),
            format_interval(exact),
            draw_interval_bar(exact),
        ),
        Tile(
            "Images used",
            f"{used:,}",
            f"of {format_count(len(report.images.rows), 'file')}, "
            f"{len(report.images.refused):,} refused",
            Markup(""),
        ),
    ]


def _build_mistakes(report: MultiLabelReport) -> Gallery:
    """Return the images with the most confident errors: wrong or missed labels."""
    own = np.where(report.targets, report.probabilities, 1 - report.probabilities)
    worst = np.where(report.targets != report.predicted, own, np.nan)
    rows = np.flatnonzero((report.targets != report.predicted).any(1) & np.isfinite(worst).any(1))
    order = rows[np.argsort(np.nanmin(worst[rows], axis=1), kind="stable")] if len(rows) else rows
    thumbnails = [
        show_image(report.images, report.paths[i], *_describe_mistake(report, int(i)))
        for i in order[:MAX_THUMBNAILS]
    ]
    return Gallery(thumbnails, max(0, len(order) - MAX_THUMBNAILS))


def _describe_mistake(report: MultiLabelReport, i: int) -> tuple[str, ...]:
    def list_names(mask: np.ndarray[tuple[int], np.dtype[np.bool_]]) -> str:
        return list_first([abbreviate(report.classes[c]) for c in np.flatnonzero(mask)], MAX_NAMES)

    missed = list_names(report.targets[i] & ~report.predicted[i])
    wrong = list_names(report.predicted[i] & ~report.targets[i])
    lines = [f"missed: {missed}"] * bool(missed) + [f"wrong: {wrong}"] * bool(wrong)
    return tuple(lines)


def _build_unknowns(report: MultiLabelReport) -> Gallery:
    shown = report.unknown_examples[:MAX_THUMBNAILS]
    return Gallery(
        [show_image(report.images, file, f"score {score:.3g}") for file, score in shown],
        len(report.unknown_examples) - len(shown),
    )
