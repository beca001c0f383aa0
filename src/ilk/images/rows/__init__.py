"""The intake result of every file: `Row` for one, `Images` for all files of a source."""

from __future__ import annotations

from ilk.images.rows.images import Images
from ilk.images.rows.row import DECODED, REASONS, Content, Row, SplitName, Status, escape_path

__all__ = ["DECODED", "REASONS", "Content", "Images", "Row", "SplitName", "Status", "escape_path"]
