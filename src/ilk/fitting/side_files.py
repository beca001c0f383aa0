"""Render the files that are saved beside a fitted model."""

from __future__ import annotations

from dataclasses import replace

from ilk.core.csv_cells import CsvFormatter
from ilk.core.plain_json import encode_json
from ilk.images.inspection.contents import to_content_map
from ilk.report import ReportData, leaderboard_to_json, list_pictured_files, render_report


def render_side_files(report_data: ReportData) -> dict[str, bytes]:
    """Return the contents of leaderboard.json, intake.json, suspects.csv and report.html."""
    return {
        "leaderboard.json": encode_json(leaderboard_to_json(report_data)),
        "intake.json": encode_json(report_data.images.to_json()),
        "suspects.csv": format_label_errors(report_data).encode("utf-8", "surrogateescape"),
        "report.html": render_report(report_data).encode("utf-8"),
    }


def drop_unused_contents(report_data: ReportData) -> ReportData:
    """Return the data without images in memory that the report does not show."""
    images = report_data.images
    if not images.contents:
        return report_data
    shown = {path.as_posix() for path in list_pictured_files(report_data)}
    digests = {row.digest for row in images.rows if images.shown_path_of(row).as_posix() in shown}
    contents = to_content_map(images.contents).select(digests)
    return replace(report_data, images=replace(images, contents=contents))


def format_label_errors(report_data: ReportData) -> str:
    """Return all evaluated training images as CSV, most likely mislabelled first."""
    error_paths = {path for path, *_ in report_data.label_errors}
    format_line = CsvFormatter().format
    lines = [format_line(("path", "label", "suggested", "score", "suspect"))]
    for path, label, suggested, score in report_data.ranked_labels:
        suspect = str(path in error_paths).lower()
        lines.append(format_line((str(path), label, suggested, f"{score:.6f}", suspect)))
    return "".join(lines)
