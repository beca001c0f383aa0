"""Models that get more classes from class statistics, with no row of the old classes at hand.

- `GDA`, `StreamingGDA`: counts, means and scatter are merged and the rule is made anew. That is the
  rule of all rows together, so old logits move as much as the new rows move the covariance.
- `NearestClassMean`: the new mean, about the centre there is; nothing else changes.
- `KNearest`: the new rows beside the old ones, which its model holds anyway.
- Any other head learnt its classes against each other and cannot be taken apart. Its logits stay as
  they are, and a new class j gets a column by Bayes' rule for "j or one of the old",

      z_j = T s_j + T log sum_c exp(z_c / T),    s_j = g_j - log sum_c exp g_c    (c: old classes)

  with g the log posteriors of Gaussians with one covariance over all classes, divided by the one
  number that makes them true on rows held out, and T the head's own temperature. Then
  softmax(z / T) gives j the probability that the Gaussians give it, and leaves the old classes in
  the proportions that the head gives them.
"""

from __future__ import annotations

from dataclasses import dataclass, replace

import numpy as np
from numpy.typing import NDArray
from scipy.special import logsumexp

from ilk.data import Data, Features, Labels, Logits
from ilk.maths.gaussian import Statistics, covariance, discriminant, log_prior
from ilk.methods.gda import GDA
from ilk.methods.k_nearest import KNearest, Neighbours
from ilk.methods.nearest_mean import NearestClassMean, UnitMeans
from ilk.methods.streaming_gda import StreamingGaussian, StreamingGDA
from ilk.models import Linear, Method, Model, affine, unit_rows
from ilk.trust import left_out
from ilk.trust.calibrate import Calibration

Matrix = NDArray[np.float64]


@dataclass(frozen=True, eq=False)
class Widened:
    """A model as it was, and a column for each class that came later.

    Attributes:
        base: The model of the classes that were learnt together.
        weight: Of the Gaussians of all classes, `[k, d]` float32.
        bias: `[k]` float32.
        heat: What their log posteriors are divided by, > 0.
        sharp: Temperature of the base, > 0.
        old: Number of classes of the base.
    """

    base: Model
    weight: Features
    bias: Features
    heat: float
    sharp: float
    old: int

    def logits(self, x: Features) -> Logits:
        """Scores `[n, k]`, float64; the first `old` columns are the base's own."""
        return self.beside(self.base.logits(x), affine(x, self.weight, self.bias))

    def beside(self, z: Logits, gaussian: Logits) -> Logits:
        """Columns from the base's logits `z [n, old]` and Gaussian ones `[n, k]`."""
        g = gaussian / self.heat
        odds = g[:, self.old :] - logsumexp(g[:, : self.old], axis=1, keepdims=True)
        whole = logsumexp(z / self.sharp, axis=1, keepdims=True)
        return np.hstack([z, self.sharp * (odds + whole)])


@dataclass(frozen=True, eq=False)
class Learnt:
    """Statistics before and after some rows were added, both of all classes there are now.

    Attributes:
        added: The rows, with classes as they are now.
        old: How many of the classes there were before.
    """

    before: Statistics
    after: Statistics
    added: Data
    old: int

    @property
    def earlier(self) -> Statistics:
        """Those before, of the classes there were."""
        b = self.before
        return Statistics(b.counts[: self.old], b.means[: self.old], b.scatter)


@dataclass(frozen=True, eq=False)
class Rows:
    """Rows that can be answered for as if they had not been learnt from.

    Attributes:
        x: `[m, d]`.
        y: `[m]`.
        logits: What models that had not learnt from them say, `[m, k]` for as many classes as the
            model knows (or knew); read for a head that cannot be taken apart.
        distance: Their unknown scores, from Gaussians that had not learnt from them, `[m]`.
    """

    x: Features
    y: Labels
    logits: Logits
    distance: NDArray[np.float64]

    def at(self, index: NDArray[np.bool_] | Labels) -> Rows:
        """Some of them."""
        return Rows(self.x[index], self.y[index], self.logits[index], self.distance[index])


def whole(method: Method | None) -> bool:
    """Whether its old classes were learnt against each other and cannot be learnt further."""
    return not isinstance(method, GDA | StreamingGDA | NearestClassMean | KNearest)


def widened(model: Model, method: Method | None, learnt: Learnt, rows: Rows, sharp: float) -> Model:
    """`model` after the rows of `learnt` were added.

    Args:
        rows: Rows of all classes to make the Gaussian columns true on.
        sharp: Temperature of the model.
    """
    stats = learnt.after
    if isinstance(method, StreamingGDA) and isinstance(model, StreamingGaussian):
        return _streamed(model, method, learnt)
    if isinstance(method, GDA):
        return _rule(method, stats)
    if isinstance(method, NearestClassMean) and isinstance(model, UnitMeans):
        return _nearest(model, method, learnt)
    if isinstance(model, Neighbours):
        return _joined(model, learnt.added)
    heat = 1.0
    if len(rows.y):
        heat = Calibration.fit(left_out.gaussian(stats, rows.x, rows.y), rows.y).temperature
    rule = _rule(GDA(), stats)
    if isinstance(model, Widened):
        return replace(model, weight=rule.weight, bias=rule.bias, heat=heat)
    return Widened(model, rule.weight, rule.bias, heat, sharp, learnt.old)


def held_out(model: Model, method: Method | None, stats: Statistics, rows: Rows) -> Logits:
    """What `model`, made of `stats`, would say of `rows` had it not learnt from them, `[m, k]`."""
    if isinstance(method, GDA | StreamingGDA):
        return left_out.gaussian(stats, rows.x, rows.y, method.shrink, method.uniform)
    if isinstance(model, UnitMeans):
        means = model.weight.astype(np.float64) / model.sharp
        u = _units(model, rows.x)
        return left_out.nearest(u, rows.y, means, stats.counts, model.sharp)
    if isinstance(model, Neighbours):
        k = min(model.k, len(model.rows) - 1)
        near = model.nearest(rows.x.astype(np.float64), k + 1)[:, 1:]  # the first is itself
        return model.scores(model.y[near], k)
    if isinstance(model, Widened):
        gaussian = left_out.gaussian(stats, rows.x, rows.y)
        return model.beside(rows.logits[:, : model.old], gaussian)
    return rows.logits


def _streamed(model: StreamingGaussian, method: StreamingGDA, learnt: Learnt) -> Model:
    """By the method's own update, of the model's own statistics."""
    new = learnt.added.k - learnt.old
    grown = replace(
        model,
        weight=np.pad(model.weight, ((0, new), (0, 0))),
        bias=np.pad(model.bias, (0, new)),
        counts=np.pad(model.counts, (0, new)),
        means=np.pad(model.means, ((0, new), (0, 0))),
    )
    return method.update(grown, learnt.added)


def _rule(method: GDA, stats: Statistics) -> Linear:
    prior = log_prior(stats, method.uniform)
    return Linear.about(stats.centre, *discriminant(stats, covariance(stats, method.shrink), prior))


def _nearest(model: UnitMeans, method: NearestClassMean, learnt: Learnt) -> Model:
    """By the method's own update; classes that got no row keep theirs to the bit."""
    new = learnt.added.k - learnt.old
    padded = replace(
        model,
        weight=np.pad(model.weight, ((0, new), (0, 0))),
        bias=np.pad(model.bias, (0, new), constant_values=-np.inf),
        counts=learnt.before.counts,
    )
    grown = method.update(padded, learnt.added)
    same = learnt.added.counts() == 0
    return replace(
        grown,
        weight=np.where(same[:, None], padded.weight, grown.weight),
        bias=np.where(same, padded.bias, grown.bias),
    )


def _joined(model: Neighbours, added: Data) -> Neighbours:
    rows = np.concatenate([model.rows, np.asarray(added.x - model.centre, np.float32)])
    return replace(model, rows=rows, y=np.append(model.y, added.y), classes=added.k)


def _units(model: UnitMeans, x: Features) -> Matrix:
    return np.asarray(unit_rows((np.asarray(x, np.float64) - model.centre) / model.scale))
