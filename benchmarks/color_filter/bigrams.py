"""A bigram language model with Dirichlet smoothing, whose counts can be continued.

    p(w | v) = (c(v, w) + k p1(w)) / (c(v) + k),   p1(w) = (c(w) + 1) / (N + V)

(David J. C. MacKay, Linda C. Bauman Peto, 1995, doi:10.1017/S1351324900000218.)
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from benchmarks.color_filter.text import Sentence

SMOOTHING = 50.0
Counts = NDArray[np.float64]


@dataclass(frozen=True, eq=False)
class Bigrams:
    """Counts `[v, v]` of pairs of words that follow each other."""

    counts: Counts

    @classmethod
    def fit(cls, sentences: Sequence[Sentence], n_words: int) -> Bigrams:
        """Count the pairs of `sentences`."""
        return cls(np.zeros((n_words, n_words))).tune(sentences, 1.0)

    def tune(self, sentences: Sequence[Sentence], weight: float) -> Bigrams:
        """Return the model with further sentences, each counted `weight` times."""
        counts = self.counts.copy()
        pairs = np.concatenate([np.stack([s[:-1], s[1:]]) for s in sentences], 1)
        np.add.at(counts, (pairs[0], pairs[1]), weight)
        return Bigrams(counts)

    def compute_losses(self, sentences: Sequence[Sentence]) -> Counts:
        """Return the mean of `-log p` per word of each sentence, in nats."""
        words = self.counts.sum(0) + 1
        unigram = words / words.sum()
        rows = self.counts.sum(1)
        first = np.concatenate([s[:-1] for s in sentences])
        second = np.concatenate([s[1:] for s in sentences])
        p = (self.counts[first, second] + SMOOTHING * unigram[second]) / (rows[first] + SMOOTHING)
        lengths = np.array([len(s) - 1 for s in sentences])
        starts = np.concatenate([[0], np.cumsum(lengths)[:-1]])
        return np.asarray(np.add.reduceat(-np.log(p), starts) / lengths)
