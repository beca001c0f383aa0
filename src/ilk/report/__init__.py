"""Render the report of a fit: one self-contained HTML file."""

from __future__ import annotations

from ilk.report.leaderboard import leaderboard_to_json
from ilk.report.render import list_pictured_files, render_report, write_report
from ilk.report.report_data import ReportData

__all__ = [
    "ReportData",
    "leaderboard_to_json",
    "list_pictured_files",
    "render_report",
    "write_report",
]
