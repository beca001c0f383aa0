"""A memory of nearest neighbours that grows with test rows, as `ilk.methods.adanpc` has it.

    u = (x - centre) / |x - centre|,  N(x) = the k rows v of the memory with the largest u'v
    s_c(x) = sum_{v in N(x), y_v = c} exp(u'v / T) / sum_{v in N(x)} exp(u'v / T)

Logits are `log((k s_c + 1 / m) / (k + 1))` with m classes: one vote is spread over the classes,
which changes no prediction.
"""

from __future__ import annotations

from dataclasses import dataclass, replace
from typing import Any, ClassVar

import numpy as np
from numpy.typing import NDArray

from ilk.core.data import Features, Labels, Logits
from ilk.core.linear_models import CHUNK_SIZE, normalize_rows


@dataclass(frozen=True, eq=False)
class NeighbourMemory:
    """Unit rows and their classes: training rows, followed by admitted test rows.

    Attributes:
        centre: Mean of the training rows, `[d]` float32.
        rows: `[n, d]` float32.
        y: `[n]` int64: labels, followed by predictions.
        initial_predictions: `[n]` int64: labels, followed by predictions of the initial memory.
        n_train: Number of training rows.
        validation_rows: Training rows on which the guard measures accuracy, `[m]` int64.
        initial_accuracy: Leave-one-out accuracy on these, before any row was admitted.
        min_similarity: Similarity to the others that all but `TAIL_FRACTION` of the training rows
            have.
        recent_similarity: Similarity of the last rows of the stream to the memory, `[r]` float64.
        recent_predictions: Their predictions, `[r]` int64.
        k: Number of neighbours that vote.
        temperature: T.
        n_classes: Number of classes.
        message: Why the last batch was not admitted, or what was removed; otherwise "".
        min_vote: Winning vote of a confident prediction.
        expected_accuracy: Fraction of confident predictions in the batches that were admitted.
        confident_precision: Fraction of right ones among the training rows that the others predict
            with the confidence of an admitted row.
        recent_confident: 1 where the prediction for a row of the last rows is confident, `[r]`.
    """

    kind: ClassVar[str] = "neighbour_memory"
    shapes: ClassVar[dict[str, str]] = {
        "centre": "d",
        "rows": "n d",
        "y": "n",
        "initial_predictions": "n",
        "validation_rows": "m",
        "recent_similarity": "r",
        "recent_predictions": "r",
        "recent_confident": "r",
    }

    centre: Features
    rows: Features
    y: Labels
    initial_predictions: Labels
    n_train: int
    validation_rows: Labels
    initial_accuracy: float
    min_similarity: float
    recent_similarity: NDArray[np.float64]
    recent_predictions: Labels
    k: int
    temperature: float
    n_classes: int
    message: str = ""
    min_vote: float = 0.0
    expected_accuracy: float = 0.0
    confident_precision: float = 1.0
    recent_confident: Labels | None = None

    def logits(self, x: Features) -> Logits:
        """Return the log of the smoothed votes, `[n, classes]`, of features `[n, d]`."""
        out = np.empty((len(x), self.n_classes))
        for start in range(0, len(x), CHUNK_SIZE):
            out[start : start + CHUNK_SIZE] = self.votes_to_logits(
                self.compute_votes(self.compute_cosines(x[start : start + CHUNK_SIZE]))
            )
        return out

    def normalize(self, x: Features) -> NDArray[np.float64]:
        """Return unit vectors from the centre, `[n, d]`, of features `[n, d]`."""
        return np.asarray(normalize_rows(np.asarray(x, np.float64) - self.centre))

    def compute_cosines(self, x: Features) -> NDArray[np.float64]:
        """Return cosines with each row of the memory, `[n, rows]`, of features `[n, d]`."""
        return np.asarray(self.normalize(x) @ self.rows.T.astype(np.float64))

    def compute_votes(self, cosines: NDArray[Any]) -> NDArray[np.float64]:
        """Return the votes s of each class, `[n, classes]`, rows sum to 1.

        Args:
            cosines: Cosines with the rows of the memory, or with its first rows, `[n, m]`.
        """
        k = min(self.k, cosines.shape[1])
        neighbours = np.argpartition(-cosines, k - 1, axis=1)[:, :k]
        neighbour_cosines = np.take_along_axis(cosines, neighbours, axis=1).astype(np.float64)
        weight = np.exp(
            (neighbour_cosines - neighbour_cosines.max(1, keepdims=True)) / self.temperature
        )
        votes = np.zeros((len(cosines), self.n_classes))
        np.add.at(votes, (np.arange(len(votes))[:, None], self.y[neighbours]), weight)
        return np.asarray(votes / weight.sum(1, keepdims=True))

    def votes_to_logits(self, votes: NDArray[np.float64]) -> Logits:
        """Return votes `[n, classes]` as logits of the same shape."""
        present = np.bincount(self.y, minlength=self.n_classes) > 0
        proportion = np.where(present, (self.k * votes + 1 / present.sum()) / (self.k + 1), 0.0)
        return np.log(proportion, where=proportion > 0, out=np.full_like(proportion, -np.inf))

    def compute_validation_cosines(self) -> NDArray[np.float32]:
        """Return cosines of validation rows with the memory, `[m, n]`; `-inf` with themselves."""
        cosines = self.rows[self.validation_rows] @ self.rows.T
        cosines[np.arange(len(cosines)), self.validation_rows] = -np.inf
        return cosines

    def measure_accuracy(self) -> float:
        """Return the leave-one-out accuracy on the validation rows, in [0, 1]."""
        if len(self.rows) < 2:
            return 1.0
        predictions = self.compute_votes(self.compute_validation_cosines()).argmax(1)
        return float(np.mean(predictions == self.y[self.validation_rows]))

    def reset(self, message: str = "") -> NeighbourMemory:
        """Return the memory without admitted rows."""
        n = self.n_train
        original = replace(
            self, rows=self.rows[:n], y=self.y[:n], initial_predictions=self.initial_predictions[:n]
        )
        return replace(original, message=message)
