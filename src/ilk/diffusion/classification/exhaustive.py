"""The diffusion classifier that evaluates every class at every level (arXiv 2303.16203)."""

from __future__ import annotations

from dataclasses import dataclass

from torch import Tensor

from ilk.diffusion.classification.strategy import Ledger, Strategy, select_lowest


@dataclass(frozen=True)
class Exhaustive(Strategy):
    """`k * levels` network calls per image."""

    def find_winners(self, ledger: Ledger) -> Tensor:
        """Evaluate everything and return the best classes `[n]`."""
        ledger.evaluate(ledger.live, range(len(ledger.levels)))
        return select_lowest(ledger.errors.sum(2), ledger.live)
