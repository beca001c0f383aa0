"""Groups rows of unknown classes while keeping what a network for the known ones made of them.

Peiyan Gu, Chuyu Zhang, Ruijie Xu, Xuming He, 2023, Class-relation Knowledge Distillation for Novel
Class Discovery, arXiv 2307.09158.

    stage 1   cross-entropy of the labelled rows over the k known classes
    stage 2   one cosine head over known and new classes, scores cos / 0.1:
              cross-entropy of the labelled rows
              + cross-entropy of two views of an unlabelled row, each taught by the other's
                assignment to new classes, which Sinkhorn's rounds make even over a batch
              + distil * w_i * T^2 cross-entropy of the known classes' probabilities, between stage
                1 (teacher) and stage 2 (student), both at temperature T, for unlabelled rows
    w_i       the student's probability of all known classes together, over its mean in the batch

How a new row relates to the known classes is thus kept, more for rows that are more like them. Here
the network is a head on frozen features and the views are made by dropout and noise on them; the
paper tunes a backbone on crops, and takes the best of several heads. Every unlabelled row is taken
to be of a new class, and how many there are has to be told: `ilk discover` does neither. On frozen
features the distillation neither helps nor hurts, and plain k-means on the features is as good or
better (`ilk bench unknown_classes`): a head taught by the known classes forgets what parts the new.
"""

from __future__ import annotations

from dataclasses import dataclass, replace
from typing import TYPE_CHECKING, ClassVar

import numpy as np

from ilk.data import Data, Features, Logits
from ilk.maths.gaussian import Matrix
from ilk.models import Facts, affine, learnable, unit_rows

if TYPE_CHECKING:
    import torch
    from torch import Tensor, nn

    from ilk.training.loop import Batch, Objective

SHARP = 0.1  # what cosines are divided by
EVEN, SINKHORN = 0.05, 3  # sharpness and rounds of the even assignment
DROP, NOISE = 0.2, 0.2  # of a view: share of features set to their mean, and their spread's share


@dataclass(frozen=True, eq=False)
class Joint:
    """One hidden layer, and a cosine with each class.

    Attributes:
        centre: `[d]` float32, taken off.
        scale: `[d]` float32, divided by.
        inner: `[h, d]` float32.
        threshold: `[h]` float32.
        weight: Unit rows `[k + new, h]` float32; zeros for a known class without a labelled row.
        offset: `[k + new]` float32: 0, or `-inf` for such a class.
    """

    centre: Features
    scale: Features
    inner: Features
    threshold: Features
    weight: Features
    offset: Features

    def hidden(self, x: Features) -> Matrix:
        """Rectified hidden units `[n, h]`."""
        z = (np.asarray(x, np.float64) - self.centre) / self.scale
        return np.asarray(np.maximum(affine(z, self.inner, self.threshold), 0))

    def logits(self, x: Features) -> Logits:
        """Scores `[n, k + new]`, the new classes last."""
        return affine(unit_rows(self.hidden(x)), self.weight / np.float32(SHARP), self.offset)


@dataclass(frozen=True)
class RelationDistillation(Facts):
    """Discovery of a known number of new classes, taught by those that have labels.

    Attributes:
        groups: New classes among the rows without a label; 0 learns the known alone.
        distil: Weight of the distillation; 0 leaves it out.
        weighted: Weigh rows by how like the known classes they are; else all alike.
        temperature: Of the distillation, T.
        hidden: Units.
        passes: Over the rows, in each stage.
        seed: Of weights, order and views.
    """

    discovers: ClassVar[bool] = True

    groups: int = 0
    distil: float = 0.1
    weighted: bool = True
    temperature: float = 4.0
    hidden: int = 256
    passes: float = 40.0
    seed: int = 0

    def __post_init__(self) -> None:
        if self.groups < 0 or self.distil < 0 or self.temperature <= 0:
            raise ValueError(
                f"groups is {self.groups}, distil {self.distil}, temperature {self.temperature}; "
                "give at least 0, at least 0 and more than 0"
            )

    def fit(self, data: Data) -> Joint:
        known = learnable(data, self)
        rows = replace(data, x=np.asarray(data.x, np.float32), hints=None, pool=None)
        first = self._trained(rows, known, self._supervised())
        if not self.groups or not len(data.unlabelled()):
            return _joint(first)
        names = tuple(f"new {g + 1}" for g in range(self.groups))
        whole = replace(rows, classes=(*known.classes, *names))
        return _joint(self._trained(whole, whole, self._discovering(first), names))

    def _trained(
        self, like: Data, rows: Data, objective: Objective, new: tuple[str, ...] = ()
    ) -> nn.Module:
        """A head for the classes of `like`, standardised over it, trained on `rows`."""
        import torch

        from ilk.training.heads import BATCH, Head, fitted, steps
        from ilk.training.loop import Recipe

        net = Head.of(like, self.hidden, self.seed)
        net.seen[len(like.classes) - len(new) :] = True
        with torch.no_grad():  # no label points anywhere for these; a lot does
            start = torch.randn(
                len(new), self.hidden, generator=torch.Generator().manual_seed(self.seed)
            )
            net.outer.weight[len(like.classes) - len(new) :] = start / self.hidden**0.5
        count = steps(len(rows), self.passes)
        recipe = Recipe(count, min(BATCH, len(rows)), 4e-3, 20, 0.05, seed=self.seed)
        return fitted(net, rows, objective, recipe)

    def _supervised(self) -> Objective:
        from torch.nn import functional

        def loss(net: nn.Module, batch: Batch, generator: torch.Generator) -> Tensor:
            return functional.cross_entropy(_scores(net, _view(batch.x, generator)), batch.y)

        return loss

    def _discovering(self, first: nn.Module) -> Objective:
        import torch
        from torch.nn import functional

        def loss(net: nn.Module, batch: Batch, generator: torch.Generator) -> Tensor:
            views = [_view(batch.x, generator) for _ in (0, 1)]
            scores = [_scores(net, view) for view in views]
            told, k = batch.y >= 0, scores[0].shape[1] - self.groups
            out = scores[0].sum() * 0
            if told.any():
                out = out + functional.cross_entropy(scores[0][told], batch.y[told])
            if told.all():
                return out
            new = [s[~told] for s in scores]
            for one, other in (new, new[::-1]):
                even = evened(one[:, k:].detach() * SHARP)
                out = out - (even * other.log_softmax(1)[:, k:]).sum(1).mean() / 2
            if self.distil:
                with torch.no_grad():
                    teacher = _scores(first, views[0][~told])[:, :k]
                out = out + self.distil * self._relation(teacher, new[0], k)
            return out

        return loss

    def _relation(self, teacher: Tensor, student: Tensor, k: int) -> Tensor:
        """The distillation of one batch of new rows, a scalar."""
        t = self.temperature
        cross = -((teacher / t).softmax(1) * (student[:, :k] / t).log_softmax(1)).sum(1)
        if not self.weighted:
            return t**2 * cross.mean()
        mass = (student / t).softmax(1)[:, :k].sum(1)
        return t**2 * (mass / mass.mean() * cross).mean()


def evened(cosines: Tensor) -> Tensor:
    """Assignments `[n, groups]`, rows that sum to 1, columns as even as a few rounds make them."""
    q = ((cosines - cosines.max()) / EVEN).exp()
    for _ in range(SINKHORN):
        q = q / q.sum(0, keepdim=True).clamp_min(1e-12)
        q = q / q.sum(1, keepdim=True).clamp_min(1e-12)
    return q


def _view(x: Tensor, generator: torch.Generator) -> Tensor:
    """Standardised features with some set to their mean, and noise."""
    import torch

    kept = torch.rand(x.shape, generator=generator) >= DROP
    return kept * x + NOISE * torch.randn(x.shape, generator=generator)


def _scores(net: nn.Module, x: Tensor) -> Tensor:
    """Cosines with every class, divided; -1e4 for a class without a labelled row."""
    from torch.nn import functional

    from ilk.training.heads import Head

    assert isinstance(net, Head)
    unit = functional.normalize(net.hidden(x), dim=1)
    scores = functional.linear(unit, functional.normalize(net.outer.weight, dim=1)) / SHARP
    return scores.masked_fill(~net.seen, -1e4)


def _joint(net: nn.Module) -> Joint:
    """A trained head as arrays."""
    from ilk.training.heads import Head

    assert isinstance(net, Head)
    made = net.model()
    seen = np.isfinite(made.bias)
    offset = np.where(seen, 0.0, -np.inf).astype(np.float32)
    weight = np.where(seen[:, None], unit_rows(made.weight), 0.0).astype(np.float32)
    return Joint(made.centre, made.scale, made.inner, made.threshold, weight, offset)
