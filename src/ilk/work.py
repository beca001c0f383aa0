"""What choosing hands on to finishing."""

from __future__ import annotations

from dataclasses import dataclass

from ilk.board import Leaderboard
from ilk.data import Data
from ilk.encoders import Embeds, Explains
from ilk.images import Images
from ilk.models import Method
from ilk.plan import Parts, Plan


@dataclass(frozen=True, eq=False)
class Work:
    """All that choosing left behind.

    Attributes:
        table: The winner's encoder's features of `parts.train`, then of `parts.unlabelled`.
        classifiers: Encoders that classify by themselves and can show why.
    """

    plan: Plan
    images: Images
    parts: Parts
    encoder: Embeds
    method: Method
    table: Data
    board: Leaderboard
    classifiers: tuple[Explains, ...] = ()

    @property
    def train(self) -> Data:
        """The labelled rows of the table."""
        return self.table.labelled()
