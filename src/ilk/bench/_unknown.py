"""Sets whose classes are half unknown, and the tables of what contenders made of them."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass, field, replace
from typing import Any

import numpy as np

from ilk.bench import _sets
from ilk.bench._family import Claim, table
from ilk.data import Data
from ilk.maths.axes import principal
from ilk.maths.clusters import Matched

SEEDS, ROWS, AXES = range(100, 105), 1200, 50
KMEANS = "k-means, told the number"

Tables = list[dict[str, Any]]


@dataclass(frozen=True)
class Scores:
    """What each contender reached, one entry a seed."""

    all: dict[str, list[Matched]] = field(default_factory=dict)
    off: dict[str, list[float]] = field(default_factory=dict)

    def add(self, name: str, reached: Matched, off: float | None = None) -> None:
        """One seed's result; `off` is by how much the number was wrong, where it was looked for."""
        self.all.setdefault(name, []).append(reached)
        if off is not None:
            self.off.setdefault(name, []).append(abs(off))

    def tables(self, where: str, claims: Sequence[Claim], counted: Sequence[Claim]) -> Tables:
        """Accuracy of all, old and new rows, and the error of the number."""
        made = []
        for part, of in (("every", "all"), ("old", "old"), ("new", "new")):
            scores = {name: [getattr(m, part) for m in v] for name, v in self.all.items()}
            metric = f"matched accuracy, {of} rows without a label"
            made.append(table(where, metric, scores, claims if part == "every" else ()))
        metric = "error of the number of classes"
        return [*made, table(where, metric, self.off, counted, "lower")]


def sets(small: bool) -> dict[str, Callable[[int], Data]]:
    """A draw of each set by seed."""
    if small:
        return {"digits": lambda seed: _cut(_sets.digits(), 300, seed)}
    return {
        "digits": lambda seed: _cut(_sets.digits(), ROWS, seed),
        "pendigits": lambda seed: _cut(_sets.pendigits()[0], ROWS, seed),
        "letters": lambda seed: _cut(_sets.letters(), 1500, seed),
        "MNIST": lambda seed: _narrow(_cut(_sets.mnist("test"), ROWS, seed)),
        "Fashion-MNIST": lambda seed: _narrow(_cut(_sets.fashion("test"), ROWS, seed)),
        "CIFAR-10": lambda seed: _narrow(_cut(_sets.cifar("test"), ROWS, seed)),
        "Omniglot alphabet": lambda seed: _narrow(_alphabet()),
    }


def _cut(data: Data, rows: int, seed: int) -> Data:
    return data.rows(np.random.default_rng(seed).permutation(len(data))[:rows])


def _narrow(data: Data) -> Data:
    return replace(data, x=principal(data.x).scores[:, :AXES].astype(np.float32))


def _alphabet() -> Data:
    """The alphabet of small set 1 with the most characters."""
    whole = _sets.omniglot()
    most = int(np.bincount(whole.domain).argmax())
    part = whole.rows(whole.domain == most)
    names, y = np.unique(part.y, return_inverse=True)
    return Data(part.x, y, tuple(whole.classes[c] for c in names))
