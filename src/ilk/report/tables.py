"""The rows of the report's tables: every figure already text, long tables cut and counted."""

from __future__ import annotations

from collections import Counter
from collections.abc import Sequence
from dataclasses import dataclass
from itertools import islice
from math import sqrt
from typing import TYPE_CHECKING

import numpy as np
from markupsafe import Markup

from ilk.report.charts import interval_bar, share_bar
from ilk.report.evidence import Evidence
from ilk.report.figures import ClassScore, Figures, SetSize
from ilk.report.words import bare, between, brief, name_of, plain

if TYPE_CHECKING:
    from ilk.images import Row

CLASSES = 40  # class rows in sight; up to FOLDED more behind a fold
FOLDED = 1_000
MATRIX = 20  # classes of a confusion matrix that a page can hold
PAIRS = 40  # confused pairs told instead of a larger matrix
EXAMPLES = 3  # files named for each reason of the intake
FAINTEST, HEAT = 0.06, 0.5  # tints of mistakes; deeper would cost the numbers their contrast


@dataclass(frozen=True)
class ClassRow:
    """One class: its images, how it fared, and what it is taken for."""

    name: str
    counts: tuple[str, ...]
    judged: str
    recall: str
    interval: str
    bar: Markup
    precision: str
    confused: str


@dataclass(frozen=True)
class ClassTable:
    """Class rows: those in sight, those behind a fold, and how many are left out.

    `tells_judged`: the judged images need a column of their own.
    """

    parts: tuple[str, ...]
    rows: list[ClassRow]
    folded: list[ClassRow]
    left_out: int
    tells_judged: bool

    @property
    def hardest_first(self) -> bool:
        """Many classes are shown by difficulty, few in their own order."""
        return bool(self.folded)


def class_table(e: Evidence, judged: Figures) -> ClassTable:
    """Every class; where there are many, the hardest first."""
    scores = judged.classes
    if len(scores) > CLASSES:
        scores = sorted(scores, key=lambda c: (c.n == 0, c.recall.value if c.n else 0.0, -c.n))
    rows = [_class_row(e, c) for c in scores[: CLASSES + FOLDED]]
    left_out = len(scores) - len(rows)
    tells_judged = not _is_a_part(e, judged)
    return ClassTable(tuple(e.counts), rows[:CLASSES], rows[CLASSES:], left_out, tells_judged)


def _is_a_part(e: Evidence, judged: Figures) -> bool:
    """Whether the judged images are one part as it stands, so that its column tells them."""
    n = [c.n for c in judged.classes]
    return any(list(map(int, counts)) == n for counts in e.counts.values())


def _class_row(e: Evidence, c: ClassScore) -> ClassRow:
    pair = c.confused
    return ClassRow(
        brief(e.classes[c.index]),
        tuple(f"{int(counts[c.index]):,}" for counts in e.counts.values()),
        f"{c.n:,}",
        bare(c.recall.value),
        between(c.recall) if c.n else "",
        interval_bar(c.recall) if c.n else Markup(""),
        "–" if c.precision is None else bare(c.precision),
        f"{brief(e.classes[pair.answer])}\N{NO-BREAK SPACE}({pair.count:,})" if pair else "",
    )


@dataclass(frozen=True)
class Cell:
    """A count of the confusion matrix, how deep its tint is, and whether it is right."""

    count: int
    heat: float
    right: bool


def matrix(e: Evidence, judged: Figures) -> list[tuple[str, list[Cell]]]:
    """Rows of the confusion matrix; empty where there are too many classes, or no image.

    The tint of a mistake grows with the square root of its share of the row, the largest being
    the deepest, so that a good classifier's few mistakes are seen.
    """
    k = len(e.classes)
    if k > MATRIX or not len(judged):
        return []
    counts = np.zeros((k, k), np.int64)
    for pair in judged.pairs:
        counts[pair.truth, pair.answer] = pair.count
    shares = counts / np.maximum(counts.sum(1, keepdims=True), 1)
    worst = max(float(shares[~np.eye(k, dtype=bool)].max(initial=0.0)), 1e-12)
    return [
        (
            brief(e.classes[i]),
            [Cell(int(counts[i, j]), _heat(float(shares[i, j]) / worst), i == j) for j in range(k)],
        )
        for i in range(k)
    ]


def _heat(share: float) -> float:
    return round(FAINTEST + (HEAT - FAINTEST) * sqrt(min(share, 1.0)), 3)


@dataclass(frozen=True)
class PairRow:
    """A confused pair: how often, and what share of the true class that is."""

    truth: str
    answer: str
    count: str
    share: str
    bar: Markup


def pair_rows(e: Evidence, judged: Figures) -> list[PairRow]:
    """The most confused pairs."""
    return [
        PairRow(
            brief(e.classes[p.truth]),
            brief(e.classes[p.answer]),
            f"{p.count:,}",
            bare(p.count / judged.classes[p.truth].n),
            share_bar(p.count / judged.classes[p.truth].n),
        )
        for p in judged.confused[:PAIRS]
    ]


@dataclass(frozen=True)
class SizeRow:
    """Sets of one size: how many, their share, and how often they held the truth."""

    size: str
    count: str
    share: str
    bar: Markup
    held: str


def size_rows(judged: Figures) -> list[SizeRow]:
    """Conformal sets by size."""
    return [
        SizeRow(
            _size(s), f"{s.n:,}", bare(s.n / len(judged)), share_bar(s.n / len(judged)), _held(s)
        )
        for s in judged.set_sizes()
    ]


def _size(s: SetSize) -> str:
    if s.high == 0:
        return "no name: none sure enough"
    if s.low == s.high:
        return "1 name" if s.low == 1 else f"{s.low} names"
    return f"{s.low} to {s.high} names"


def _held(s: SetSize) -> str:
    return "–" if s.high == 0 else bare(s.held / s.n)


@dataclass(frozen=True)
class IntakeRow:
    """What became of some files: used, or refused with a reason; and which, for example."""

    became: str
    reason: str
    means: str
    count: str
    examples: list[tuple[str, str]]
    left_out: int


def intake_rows(e: Evidence) -> list[IntakeRow]:
    """One row for each status and reason, refused first, the most frequent first."""
    order = {"refused": 0, "ignored": 1, "used": 2}
    counts = Counter((row.status, row.reason) for row in e.images.rows)
    keys = sorted(counts, key=lambda key: (order.get(key[0], 3), -counts[key], key))
    return [_intake_row(e, key, counts[key]) for key in keys]


def _intake_row(e: Evidence, key: tuple[str, str], n: int) -> IntakeRow:
    from ilk.images import REASONS

    status, reason = key
    wanted = 0 if status == "used" else EXAMPLES
    matching: Sequence[Row] = list(
        islice((r for r in e.images.rows if (r.status, r.reason) == key), wanted)
    )
    examples = [(name_of(row.path), brief(row.detail)) for row in matching]
    means = REASONS.get(reason, "")
    return IntakeRow(
        status, plain(reason), means, f"{n:,}", examples, max(0, n - wanted) if wanted else 0
    )
