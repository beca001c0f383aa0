"""The page of evidence: one self-contained HTML file that can be shown to a colleague."""

from __future__ import annotations

from ilk.report.board import leaderboard_json
from ilk.report.evidence import Evidence
from ilk.report.render import render, write

__all__ = ["Evidence", "leaderboard_json", "render", "write"]
