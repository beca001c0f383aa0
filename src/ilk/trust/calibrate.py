"""Logits to probabilities that mean what they say: a temperature, and a share for surprises.

Chuan Guo, Geoff Pleiss, Yu Sun, Kilian Q. Weinberger, 2017, On Calibration of Modern Neural
Networks, arXiv 1706.04599, equation 9, and the uniform term of Jize Zhang, Bhavya Kailkhura,
T. Yong-Jin Han, 2020, Mix-n-Match, arXiv 2003.07329, equation 5:

    p = (1 - w) softmax(z / T) + w / k

with T and w that fit held-out labels best. The answer never changes. Two guards against more
certainty than n held-out rows can carry, both gone as n grows:

- the label of a row is taken as right with 1 - e and as its strongest rival with e = 1 / (n + 2)
  (Platt 1999, for two classes), so that T stays above 0 when every row is right;
- w is at least (1 + rows whose label had the logit -inf) / (n + 2), so that n right out of n claim
  no more than Laplace's (n + 1) / (n + 2).
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray
from scipy.optimize import brentq, minimize

from ilk.data import Labels, Logits
from ilk.metrics import Probabilities, finite, softmax

ROWS = 4_000  # an even choice of so many rows knows T to about 2 %
FLOATS = 4_000_000  # logits that are fitted to, where that is more rows than ROWS
REACH = 12.0  # log of how far 1 / T may be from one over the mean margin, either way
FAR = -1e12  # stands for -inf where a product with probability 0 must be 0; in mean margins

Vector = NDArray[np.float64]


@dataclass(frozen=True, eq=False)
class Calibration:
    """`(1 - spread) softmax(logits / temperature) + spread / classes`, over the possible classes.

    Attributes:
        temperature: T > 0, in units of the logits.
        spread: w in [0, 1].
        rows: Number of held-out rows that it was fitted on; 0 when there were none.
    """

    temperature: float = 1.0
    spread: float = 0.0
    rows: int = 0

    def probabilities(self, logits: Logits) -> Probabilities:
        """Probabilities `[n, k]` float64, rows sum to 1, of logits `[n, k]`; `-inf` gives 0.

        Raises:
            FloatingPointError: A row has nan, `+inf`, or no class that is possible.
        """
        z = answerable(logits)
        possible = np.isfinite(z)
        even = possible / possible.sum(1, keepdims=True)
        sure = softmax(z / self.temperature, 1)
        return np.asarray((1 - self.spread) * sure + self.spread * even)

    @classmethod
    def fit(cls, logits: Logits, y: Labels) -> Calibration:
        """Fit on logits `[n, k]` of rows that their model did not learn from, and labels `[n]`.

        Without rows nothing is known: temperature 1, no spread.
        """
        n = len(y)
        if not n:
            return cls()
        z, y = answerable(logits), np.asarray(y)
        impossible = int(np.sum(~np.isfinite(z[np.arange(n), y])))
        least = (1 + impossible) / (n + 2)
        step = -(-n // max(ROWS, FLOATS // z.shape[1]))
        fit = _Fit.of(z[::step], y[::step], doubt=1 / (n + 2))
        return cls(*fit.best(least), n) if fit else cls(1.0, least, n)


def cross_fitted(logits: Logits, y: Labels, fold: Labels) -> Probabilities:
    """Out-of-fold logits as probabilities `[n, k]`, each fold calibrated on the other folds.

    So that no row has a say in its own calibration. Rows with `fold < 0` are nan.
    """
    out = np.full(np.shape(logits), np.nan)
    for f in range(int(fold.max(initial=-1)) + 1):
        here, others = fold == f, (fold >= 0) & (fold != f)
        out[here] = Calibration.fit(logits[others], y[others]).probabilities(logits[here])
    return out


def answerable(logits: Logits) -> NDArray[np.float64]:
    """Logits in float64, `-inf` kept.

    Raises:
        FloatingPointError: A row has nan, `+inf`, or nothing but `-inf`.
    """
    z = finite(logits)
    if z.size and not np.isfinite(top := z.max(1)).all():
        bad = int(np.sum(~np.isfinite(top)))
        raise FloatingPointError(f"{bad} rows of logits are infinite or allow no class")
    return z


@dataclass(frozen=True, eq=False)
class _Fit:
    """Held-out rows in units of their mean margin, less each row's greatest logit."""

    z: NDArray[np.float64]  # [n, k]
    label: Vector  # z of the label and of its strongest rival, [n]
    rival: Vector
    even: Vector  # one over the number of possible classes, [n]
    scale: float  # mean margin in units of the logits
    doubt: float

    @classmethod
    def of(cls, z: NDArray[np.float64], y: Labels, doubt: float) -> _Fit | None:
        """The rows that say something; None when no row does."""
        label = z[np.arange(len(y)), y]
        without = z.copy()
        without[np.arange(len(y)), y] = -np.inf
        rival = without.max(1)
        use = np.isfinite(label) & np.isfinite(rival)
        scale = float(np.mean(np.abs(label - rival)[use])) if use.any() else 0.0
        if scale == 0:
            return None
        top = np.maximum(label, rival)[use]
        even = 1 / np.isfinite(z[use]).sum(1)
        z = np.maximum((z[use] - top[:, None]) / scale, FAR)
        return cls(z, (label[use] - top) / scale, (rival[use] - top) / scale, even, scale, doubt)

    def best(self, least: float) -> tuple[float, float]:
        """Temperature and spread, the spread at least `least`: first T alone, then both."""
        start = [self.alone(), least]
        bounds = [(-REACH, REACH), (least, 1.0)]
        found = minimize(self.loss, start, jac=True, method="L-BFGS-B", bounds=bounds)
        return self.scale * float(np.exp(-found.x[0])), float(found.x[1])

    def alone(self) -> float:
        """log(1 / T) that is best without spread: the root of a slope that only rises."""
        wanted = (1 - self.doubt) * self.label + self.doubt * self.rival

        def slope(log_inverse: float) -> float:
            return float(np.mean(self._expect(float(np.exp(log_inverse)))[1] - wanted))

        if slope(-REACH) >= 0:
            return -REACH
        if slope(REACH) <= 0:
            return REACH
        return float(brentq(slope, -REACH, REACH, xtol=1e-4))

    def loss(self, at: Vector) -> tuple[float, Vector]:
        """Mean log loss in nats and its slope, at log(1 / T) and w."""
        inverse, spread = float(np.exp(at[0])), float(at[1])
        total, mean = self._expect(inverse)
        loss, slope = 0.0, np.zeros(2)
        for share, z in ((1 - self.doubt, self.label), (self.doubt, self.rival)):
            sure = np.exp(inverse * z) / total
            p = (1 - spread) * sure + spread * self.even
            loss -= share * float(np.mean(np.log(p)))
            slope[0] -= share * inverse * float(np.mean((1 - spread) * sure * (z - mean) / p))
            slope[1] -= share * float(np.mean((self.even - sure) / p))
        return loss, slope

    def _expect(self, inverse: float) -> tuple[Vector, Vector]:
        """Sum of `exp(z / T)` and the mean of z under the softmax, each `[n]`."""
        weight = np.exp(inverse * self.z)
        total = weight.sum(1)
        return total, np.einsum("nk,nk->n", weight, self.z) / total
