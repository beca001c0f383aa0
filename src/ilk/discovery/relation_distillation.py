"""Discovery of new classes that preserves how rows relate to the known ones.

Peiyan Gu, Chuyu Zhang, Ruijie Xu, Xuming He, 2023, Class-relation Knowledge Distillation for Novel
Class Discovery, arXiv 2307.09158.

    stage 1   cross-entropy of the labelled rows over the k known classes
    stage 2   one cosine head over known and new classes, logits cos / 0.1:
              cross-entropy of the labelled rows
              + cross-entropy of two views of an unlabelled row, each with the other's assignment to
                new classes as target, balanced over the batch by Sinkhorn iterations
              + distillation_weight * w_i * T^2 cross-entropy of the known classes' probabilities,
                between stage 1 (teacher) and stage 2 (student), at temperature T, unlabelled rows
    w_i       the student's probability of all known classes together, over its mean in the batch

Departures: the network is a head on frozen features and the views are made by dropout and noise;
the paper tunes a backbone on crops, and takes the best of several heads. Every unlabelled row is
assumed to be of a new class, and the number of new classes must be given.
"""

from __future__ import annotations

from dataclasses import dataclass, replace
from typing import TYPE_CHECKING, ClassVar

import numpy as np

from ilk.core.contracts import DiscoveryTags, labelled_features
from ilk.core.data import Data, Features, Logits
from ilk.core.linear_models import apply_affine, normalize_rows
from ilk.maths.gaussian import Matrix

if TYPE_CHECKING:
    import torch
    from torch import Tensor, nn

    from ilk.training.batch import Batch
    from ilk.training.objective import LossFunction

TEMPERATURE = 0.1
SINKHORN_TEMPERATURE, SINKHORN_ITERATIONS = 0.05, 3
DROPOUT, NOISE = 0.2, 0.2  # of a view: fraction of features dropped, std of the added noise


@dataclass(frozen=True, eq=False)
class JointHead:
    """One hidden layer and cosine similarities with k + new classes.

    Attributes:
        centre: Subtracted from the features, `[d]` float32.
        scale: Divides the centred features, `[d]` float32.
        hidden_weight: `[h, d]` float32.
        hidden_bias: `[h]` float32.
        weight: Unit rows `[k + new, h]` float32; zeros for known classes without labelled rows.
        bias: `[k + new]` float32: 0, or `-inf` for such classes.
    """

    kind: ClassVar[str] = "joint_head"
    shapes: ClassVar[dict[str, str]] = {
        "centre": "d",
        "scale": "d",
        "hidden_weight": "h d",
        "hidden_bias": "h",
        "weight": "k h",
        "bias": "k",
    }

    centre: Features
    scale: Features
    hidden_weight: Features
    hidden_bias: Features
    weight: Features
    bias: Features

    def compute_hidden(self, x: Features) -> Matrix:
        """Return the rectified hidden units `[n, h]` of features `[n, d]`."""
        z = (np.asarray(x, np.float64) - self.centre) / self.scale
        return np.asarray(np.maximum(apply_affine(z, self.hidden_weight, self.hidden_bias), 0))

    def logits(self, x: Features) -> Logits:
        """Return scores `[n, k + new]`, float64, the new classes last."""
        return apply_affine(
            normalize_rows(self.compute_hidden(x)), self.weight / np.float32(TEMPERATURE), self.bias
        )


@dataclass(frozen=True)
class RelationDistillation(DiscoveryTags):
    """Discovery of a given number of new classes, with distillation from the known classes.

    Attributes:
        n_new: Number of new classes among the unlabelled rows, >= 0; 0 fits the known ones alone.
        distillation_weight: Weight of the distillation loss, >= 0.
        weight_by_similarity: Weight rows by w_i; otherwise all have weight 1.
        temperature: Temperature T of the distillation, > 0.
        hidden: Number of hidden units.
        epochs: Passes over the rows, in each stage.
        seed: Seed of weights, order and views.
    """

    n_new: int = 0
    distillation_weight: float = 0.1
    weight_by_similarity: bool = True
    temperature: float = 4.0
    hidden: int = 256
    epochs: float = 40.0
    seed: int = 0

    def __post_init__(self) -> None:
        if self.n_new < 0 or self.distillation_weight < 0 or self.temperature <= 0:
            raise ValueError(
                f"n_new is {self.n_new}, distillation_weight {self.distillation_weight} and "
                f"temperature {self.temperature}; they must be >= 0, >= 0 and > 0"
            )

    def fit(self, data: Data) -> JointHead:
        known = labelled_features(data, self)
        data = data if (data.weight > 0).all() else data.take(data.weight > 0)
        rows = replace(
            data,
            x=np.asarray(data.x, np.float32),
            class_embeddings=None,
            class_distances=None,
            description_embeddings=None,
            class_model=None,
        )
        teacher_net = self._train(rows, known, self._make_supervised_objective())
        if not self.n_new or not len(data.take_unlabelled()):
            return _to_joint_head(teacher_net)
        names = tuple(f"new {g + 1}" for g in range(self.n_new))
        extended = replace(rows, classes=(*known.classes, *names))
        return _to_joint_head(
            self._train(extended, extended, self._make_discovery_objective(teacher_net), names)
        )

    def _train(
        self,
        reference: Data,
        rows: Data,
        objective: LossFunction,
        new_classes: tuple[str, ...] = (),
    ) -> nn.Module:
        """Return a head for the classes of `reference`, standardized on it, trained on `rows`."""
        import torch

        from ilk.training.heads import BATCH_SIZE, Head, count_steps, fit_head
        from ilk.training.trainer import Recipe

        net = Head.from_data(reference, self.hidden, self.seed)
        net.present[len(reference.classes) - len(new_classes) :] = True
        with torch.no_grad():  # the new classes have no rows to start from
            start = torch.randn(
                len(new_classes), self.hidden, generator=torch.Generator().manual_seed(self.seed)
            )
            net.output_layer.weight[len(reference.classes) - len(new_classes) :] = (
                start / self.hidden**0.5
            )
        n_steps = count_steps(len(rows), self.epochs)
        recipe = Recipe(n_steps, min(BATCH_SIZE, len(rows)), 4e-3, 20, 0.05, seed=self.seed)
        return fit_head(net, rows, objective, recipe)

    def _make_supervised_objective(self) -> LossFunction:
        from torch.nn import functional

        def loss(net: nn.Module, batch: Batch, generator: torch.Generator) -> Tensor:
            return functional.cross_entropy(
                _compute_scores(net, _augment(batch.x, generator)), batch.y
            )

        return loss

    def _make_discovery_objective(self, teacher_net: nn.Module) -> LossFunction:
        import torch
        from torch.nn import functional

        def loss(net: nn.Module, batch: Batch, generator: torch.Generator) -> Tensor:
            views = [_augment(batch.x, generator) for _ in (0, 1)]
            scores = [_compute_scores(net, view) for view in views]
            is_labelled, k = batch.y >= 0, scores[0].shape[1] - self.n_new
            total = scores[0].sum() * 0
            if is_labelled.any():
                total = total + functional.cross_entropy(
                    scores[0][is_labelled], batch.y[is_labelled]
                )
            if is_labelled.all():
                return total
            new = [s[~is_labelled] for s in scores]
            for one, other in (new, new[::-1]):
                assignments = sinkhorn(one[:, k:].detach() * TEMPERATURE)
                total = total - (assignments * other.log_softmax(1)[:, k:]).sum(1).mean() / 2
            if self.distillation_weight:
                with torch.no_grad():
                    teacher = _compute_scores(teacher_net, views[0][~is_labelled])[:, :k]
                total = total + self.distillation_weight * self._compute_relation_loss(
                    teacher, new[0], k
                )
            return total

        return loss

    def _compute_relation_loss(self, teacher: Tensor, student: Tensor, k: int) -> Tensor:
        """Return the distillation loss of a batch of unlabelled rows, a scalar."""
        t = self.temperature
        cross = -((teacher / t).softmax(1) * (student[:, :k] / t).log_softmax(1)).sum(1)
        if not self.weight_by_similarity:
            return t**2 * cross.mean()
        known_mass = (student / t).softmax(1)[:, :k].sum(1)
        return t**2 * (known_mass / known_mass.mean() * cross).mean()


def sinkhorn(cosines: Tensor) -> Tensor:
    """Return balanced assignments `[n, m]` of rows to new classes; rows sum to 1.

    Args:
        cosines: Cosine similarities with the new classes, `[n, m]`.
    """
    q = ((cosines - cosines.max()) / SINKHORN_TEMPERATURE).exp()
    for _ in range(SINKHORN_ITERATIONS):
        q = q / q.sum(0, keepdim=True).clamp_min(1e-12)
        q = q / q.sum(1, keepdim=True).clamp_min(1e-12)
    return q


def _augment(x: Tensor, generator: torch.Generator) -> Tensor:
    """Return a view of standardized features: some set to their mean 0, and noise added."""
    import torch

    mask = torch.rand(x.shape, generator=generator) >= DROPOUT
    return mask * x + NOISE * torch.randn(x.shape, generator=generator)


def _compute_scores(net: nn.Module, x: Tensor) -> Tensor:
    """Return cosines divided by `TEMPERATURE`; -1e4 for a class without labelled rows."""
    from torch.nn import functional

    from ilk.training.heads import Head

    assert isinstance(net, Head)
    unit = functional.normalize(net.compute_hidden(x), dim=1)
    scores = (
        functional.linear(unit, functional.normalize(net.output_layer.weight, dim=1)) / TEMPERATURE
    )
    return scores.masked_fill(~net.present, -1e4)


def _to_joint_head(net: nn.Module) -> JointHead:
    """Return a trained head as arrays."""
    from ilk.training.heads import Head

    assert isinstance(net, Head)
    model = net.to_model()
    present = np.isfinite(model.bias)
    bias = np.where(present, 0.0, -np.inf).astype(np.float32)
    weight = np.where(present[:, None], normalize_rows(model.weight), 0.0).astype(np.float32)
    return JointHead(
        model.centre, model.scale, model.hidden_weight, model.hidden_bias, weight, bias
    )
