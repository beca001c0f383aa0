"""Build the table of input files by status and reason."""

from __future__ import annotations

from collections import Counter
from collections.abc import Sequence
from dataclasses import dataclass
from itertools import islice
from typing import TYPE_CHECKING

from ilk.report.formatting import abbreviate, escape_text, format_file_name

if TYPE_CHECKING:
    from ilk.images import Images, Row

MAX_EXAMPLES = 3  # files listed per status and reason


@dataclass(frozen=True)
class IntakeRow:
    """Files with the same status and reason, with examples."""

    status: str
    reason: str
    meaning: str
    count: str
    examples: list[tuple[str, str]]
    n_hidden: int


def build_intake_rows(images: Images) -> list[IntakeRow]:
    """Return one row per status and reason: refused files first, then by frequency."""
    order = {"refused": 0, "ignored": 1, "used": 2}
    counts = Counter((row.status, row.reason) for row in images.rows)
    keys = sorted(counts, key=lambda key: (order.get(key[0], 3), -counts[key], key))
    return [_build_intake_row(images, key, counts[key]) for key in keys]


def _build_intake_row(images: Images, key: tuple[str, str], n: int) -> IntakeRow:
    from ilk.images import REASONS

    status, reason = key
    max_examples = 0 if status == "used" else MAX_EXAMPLES
    matching: Sequence[Row] = list(
        islice((r for r in images.rows if (r.status, r.reason) == key), max_examples)
    )
    examples = [(format_file_name(row.path), abbreviate(row.detail)) for row in matching]
    meaning = REASONS.get(reason, "")
    return IntakeRow(
        status,
        escape_text(reason),
        meaning,
        f"{n:,}",
        examples,
        max(0, n - max_examples) if max_examples else 0,
    )
