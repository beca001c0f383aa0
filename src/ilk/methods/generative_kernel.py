"""Kernel ridge regression that goes on from generated rows, with no old row kept.

Mohammad Mahdi Derakhshani, Xiantong Zhen, Ling Shao, Cees G. M. Snoek, 2021, Generative Kernel
Continual Learning, arXiv 2112.13410; the generator: Tipping, Bishop, 1999, Probabilistic Principal
Component Analysis, doi:10.1111/1467-9868.00196.

    keep        of each class its mean m, `latents` loadings L and the spread s of what they leave
    generate    x = m + L' z + s e,  z and e standard normal: `samples` rows of every class
    classify    W = Y' K (K K' + a I)^-1 on the generated rows with their one-hot classes Y

Departures: where the paper trains a variational autoencoder, each class has a linear one on frozen
features, whose best fit is known in closed form; its spread is a feature's own. Its kernel is
linear, or that of a hidden layer trained on generated rows by cross-entropy and, with `contrast`, a
supervised contrastive term, which stands for the paper's regulariser of the latents. The penalty a
is the best of a path on half of the rows. With the linear kernel the order of tasks changes nothing
but rounding. Classes are generated in equal numbers and weighted by the rows behind them. Whether
the contrastive term adds anything could not be told on digits (`ilk bench growing`).
"""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass, replace
from typing import Any
from zlib import crc32

import numpy as np
from numpy.typing import NDArray

from ilk.data import Data, Features, Labels, Logits, one_hot
from ilk.maths import factors
from ilk.maths.axes import principal
from ilk.maths.sharpness import sharpness
from ilk.models import Facts, Perceptron, affine, learnable
from ilk.training.arriving import arrival, taught
from ilk.training.continual import to_learn

Matrix = NDArray[np.float64]
PATH = np.logspace(-4, 2, 13)  # of the penalty over the mean sum of squares of an axis
SOFT = 0.1  # temperature of the contrastive term
STEPS = 150


@dataclass(frozen=True, eq=False)
class Generated:
    """A kernel machine, and what rows are generated from.

    Attributes:
        memory: `[k, latents + 2, d]` float32: mean, loadings and spread of each class; or rows.
        counts: Rows that each class was learnt from, `[k]` int64.
        centre: `[d]` float32, as `scale`, `inner` and `threshold` of a hidden layer.
        scale: `[d]` float32.
        inner: `[h, d]` float32; without a row the features themselves are the kernel's.
        threshold: `[h]` float32.
        weight: `[k, d or h]` float64.
        bias: `[k]` float64, `-inf` for a class never seen.
    """

    memory: Features
    counts: Labels
    centre: Features
    scale: Features
    inner: Features
    threshold: Features
    weight: Matrix
    bias: Matrix

    def mapped(self, x: Features) -> Matrix:
        """What the kernel multiplies: features `[n, d]`, or hidden units `[n, h]`."""
        off = np.asarray(x, np.float64) - self.centre
        if not len(self.inner):
            return off
        return np.asarray(np.maximum(affine(off / self.scale, self.inner, self.threshold), 0))

    def logits(self, x: Features) -> Logits:
        """Scores `[n, k]`, float64."""
        return self.mapped(x) @ self.weight.T + self.bias


@dataclass(frozen=True)
class GenerativeKernel(Facts):
    """Kernel ridge regression on generated rows.

    Attributes:
        latents: Directions in which a class may vary together, >= 0.
        samples: Rows generated of each class, >= 2.
        stored: Keep `latents + 2` rows of each class, as many bytes, in the generator's place.
        hidden: Units of the layer that makes the kernel; 0 for the linear kernel.
        contrast: Weight of the contrastive term, >= 0; it needs a hidden layer.
        seed: Draws rows and weights.
    """

    latents: int = 4
    samples: int = 100
    stored: bool = False
    hidden: int = 0
    contrast: float = 0.0
    seed: int = 0

    def __post_init__(self) -> None:
        if self.latents < 0 or self.samples < 2 or self.hidden < 0:
            raise ValueError(
                f"latents is {self.latents}, samples {self.samples}, hidden {self.hidden}; "
                "the first and last must be at least 0, samples at least 2"
            )
        if not self.contrast >= 0:
            raise ValueError(f"contrast is {self.contrast}; it must be at least 0")

    def fit(self, data: Data) -> Generated:
        known = learnable(data, self)
        memory = np.zeros((data.k, self.latents + 2, known.x.shape[1]), np.float32)
        return self._learnt(known, memory, np.zeros(data.k, np.int64))

    def update(self, model: Generated, data: Data) -> Generated:
        """The model with the labelled rows of `data`; classes it knew go on from generated rows.

        Raises:
            ValueError: The two do not have the same number of classes.
        """
        rows = to_learn(len(model.bias), data, self)
        return self._learnt(rows, model.memory.copy(), model.counts) if rows else model

    def _learnt(self, rows: Data, memory: Features, counts: Labels) -> Generated:
        fresh = rows.counts()
        for c in np.flatnonzero(fresh):
            own, rng = rows.x[rows.y == c], self._chance(rows.classes[c], 0)
            if counts[c]:
                old = self._drawn(memory, counts, int(c), rng, int(counts[c]))
                own = np.concatenate([old.astype(np.float32), own])
            memory[c] = self._kept(own, rng)
        counts = counts + fresh
        x, y = self._coreset(memory, counts, rows.classes)
        return self._machine(Data(x.astype(np.float32), y, rows.classes), memory, counts)

    def _kept(self, own: Features, rng: np.random.Generator) -> Features:
        """Mean, loadings and spread of rows `[n, d]`; or some of them."""
        if not self.stored:
            return factors.kept(own, self.latents).astype(np.float32)
        out = np.zeros((self.latents + 2, own.shape[1]), np.float32)
        some = own[rng.permutation(len(own))[: len(out)]]
        out[: len(some)] = some
        return out

    def _coreset(
        self, memory: Features, counts: Labels, names: tuple[str, ...]
    ) -> tuple[Matrix, Labels]:
        """Rows of every class seen, `[m, d]`, and their classes."""
        parts, owners = list[Matrix](), list[int]()
        for c in np.flatnonzero(counts):
            rng = self._chance(names[c], 1)
            parts.append(self._drawn(memory, counts, int(c), rng, self.samples))
            owners += [int(c)] * len(parts[-1])
        return np.concatenate(parts), np.array(owners, np.int64)

    def _drawn(
        self, memory: Features, counts: Labels, c: int, rng: np.random.Generator, n: int
    ) -> Matrix:
        """`n` generated rows of class c, or those that were stored of it."""
        held = memory[c].astype(np.float64)
        if self.stored:
            stored: Matrix = held[: min(len(held), int(counts[c]))]
            return stored
        own, shared = held[-1] ** 2, factors.pooled(memory, counts)
        spread = np.sqrt((counts[c] * own + shared) / (counts[c] + 1))  # one row more, of any class
        return factors.drawn(held, spread, n, rng)

    def _chance(self, name: str, what: int) -> np.random.Generator:
        """Draws that hang on a class's name alone, not on when it came."""
        return np.random.default_rng([self.seed, what, crc32(name.encode())])

    def _machine(self, made: Data, memory: Features, counts: Labels) -> Generated:
        d = made.x.shape[1]
        centre = made.x.mean(0, dtype=np.float64).astype(np.float32)
        layer = Perceptron(
            *(
                centre,
                np.ones(d, np.float32),
                np.zeros((0, d), np.float32),
                np.zeros(0, np.float32),
            ),
            *(np.zeros((made.k, 0), np.float32), np.zeros(made.k, np.float32)),
        )
        if self.hidden:
            layer = self._layer(made)
        given = (layer.centre, layer.scale, layer.inner, layer.threshold)
        bare = Generated(memory, counts, *given, np.zeros((0, 0)), np.zeros(0))
        seen = np.flatnonzero(counts)
        rule, bias = _ridge(bare.mapped(made.x), np.searchsorted(seen, made.y), len(seen))
        weight, offset = np.zeros((made.k, rule.shape[1])), np.full(made.k, -np.inf)
        weight[seen], offset[seen] = rule, bias + np.log(counts[seen] / counts.sum())
        return replace(bare, weight=weight, bias=offset)

    def _layer(self, made: Data) -> Perceptron:
        """A hidden layer that tells the generated classes apart."""
        from ilk.training.heads import cross_entropy

        def objective(net: Any, batch: Any, generator: Any) -> Any:
            loss = cross_entropy(net, batch, generator)
            if self.contrast:
                loss = loss + self.contrast * _contrast(net.hidden(batch.x), batch.y)
            return loss

        return taught(arrival(made, None, self.hidden, self.seed), objective, STEPS, self.seed)


def _contrast(hidden: Any, y: Any) -> Any:
    """Rows of one class near each other and far from the rest (Khosla et al., arXiv 2004.11362)."""
    import torch
    from torch.nn import functional

    u = functional.normalize(hidden)
    self_ = torch.eye(len(y), dtype=torch.bool)
    near = (u @ u.T / SOFT).masked_fill(self_, -torch.inf).log_softmax(1)
    mates = (y[:, None] == y) & ~self_
    mean = near.masked_fill(~mates, 0).sum(1) / mates.sum(1).clamp(min=1)
    return -mean[mates.any(1)].sum() / max(1, int(mates.any(1).sum()))


def _ridge(z: Matrix, y: Labels, k: int) -> tuple[Matrix, Matrix]:
    """Weight `[k, m]` and bias `[k]` of the regression of classes on `z`, as log likelihoods.

    Every other row of a class settles the penalty and the sharpness on the rest.
    """
    told, part = one_hot(y, k), np.zeros(len(y), bool)
    for c in range(k):
        part[np.flatnonzero(y == c)[1::2]] = True
    level, t = 1.0, 1.0
    if k > 1 and part.any():
        asked = [z[part] @ w.T + b for w, b in _path(z[~part], told[~part], PATH)]
        at = int(np.argmin([np.sum((told[part] - s) ** 2) for s in asked]))
        level, t = float(PATH[at]), sharpness(asked[at], y[part])
    weight, bias = next(_path(z, told, np.array([level])))
    return t * weight, t * bias


def _path(z: Matrix, told: Matrix, levels: Matrix) -> Iterator[tuple[Matrix, Matrix]]:
    """The ridge regression of `told [n, k]` on `z` at each penalty."""
    axes, share = principal(z), told.mean(0)
    moment = axes.scores.T @ (told - share)
    mean = float(axes.squares.mean()) if len(axes.squares) else 1.0
    for level in levels:
        weight = (moment.T / (axes.squares + level * mean)) @ axes.basis.T
        yield weight, share - weight @ axes.centre
