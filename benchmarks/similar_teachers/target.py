"""A target task with few labels, and the ways to train a student of it."""

from __future__ import annotations

import copy
from collections.abc import Callable, Sequence
from dataclasses import dataclass

import numpy as np
import torch
from torch import Tensor, nn
from torch.nn import functional

from benchmarks.datasets import read_fashion, read_usps
from benchmarks.similar_teachers.sources import (
    STUDENT_WIDTHS,
    SourceModel,
    make_recipe,
    select_classes,
    shift_weakly,
)
from benchmarks.student_networks import (
    ConvNet,
    compute_logits,
    measure_accuracy,
    shift,
    train_student,
)
from ilk.core.data import Data
from ilk.ranking import parc
from ilk.training.batch import Batch
from ilk.training.losses import cross_entropy, mean_cross_entropy
from ilk.training.objective import Objective, as_objective
from ilk.training.objectives.similar_sources import SimilarSources, weight_sources
from ilk.training.samplers import BalancedSampler
from ilk.training.sources import SampledSource

TARGETS: dict[str, tuple[Callable[[str], Data], range]] = {
    "USPS": (read_usps, range(10)),
    "Fashion-MNIST 5 to 9": (read_fashion, range(5, 10)),
}
N_LABELLED, N_UNLABELLED, N_TEST, STEPS = 5, 200, 2_000, 250  # the first two per class
POWER, CONFIDENCE, ERASED = 4.0, 0.95, 10


@dataclass(frozen=True, eq=False)
class Target:
    """Few labelled and more unlabelled pictures, and answers of all sources for them.

    Attributes:
        rows: Labelled rows, then unlabelled ones with `y` of -1.
        test: Pictures and labels.
        sources: The source models.
        answers: Logits of each source for the rows.
        k: Number of classes.
        seed: Of the draw, the student and the order of rows.
        steps: Updates of a student.
    """

    rows: Batch
    test: Batch
    sources: Sequence[SourceModel]
    answers: Sequence[Tensor]
    k: int
    seed: int
    steps: int

    @classmethod
    def load(cls, name: str, sources: Sequence[SourceModel], seed: int, small: bool) -> Target:
        """Draw the rows of a target task."""
        read, classes = TARGETS[name]
        pool, test = (select_classes(read(part), classes) for part in ("train", "test"))
        draw = np.random.default_rng(seed)
        labelled, unlabelled = [], []
        for c in range(len(classes)):
            order = draw.permutation(np.flatnonzero(pool.y.numpy() == c))
            labelled += list(order[:N_LABELLED])
            unlabelled += list(order[N_LABELLED : N_LABELLED + (10 if small else N_UNLABELLED)])
        rows = torch.tensor([*labelled, *unlabelled])
        y = pool.y[rows].clone()
        y[len(labelled) :] = -1
        x = pool.x[rows]
        answers = [compute_logits(source.network, x) for source in sources]
        test = test.select(torch.arange(min(len(test), 100 if small else N_TEST)))
        return cls(Batch(x, y), test, sources, answers, len(classes), seed, 3 if small else STEPS)

    def measure_similarities(self) -> list[float]:
        """Return PARC of each source's features of the labelled pictures."""
        is_labelled = self.rows.y >= 0
        x, y = self.rows.x[is_labelled], self.rows.y[is_labelled].numpy()
        with torch.inference_mode():
            features = [source.network.forward_features(x).numpy() for source in self.sources]
        return [parc.score(f, y) for f in features]

    def one_hot(self, source: int) -> list[float]:
        """Return the weights of one source alone."""
        return [float(s == source) for s in range(len(self.sources))]

    def weight(self, similarities: Sequence[float]) -> list[float]:
        """Return the weights of all sources by their similarity."""
        return weight_sources(similarities, POWER)

    def distill(self, weights: Sequence[float]) -> float:
        """Return the accuracy of a student of the sources."""
        return self._fit(self._make_student(), SimilarSources(self.answers, weights))

    def train_on_labels(self) -> float:
        """Return the accuracy of a student of the labelled pictures."""
        return self._fit(self._make_student(), as_objective(cross_entropy))

    def tune(self, source: int) -> float:
        """Return the accuracy of a network of a source, tuned on the labelled pictures."""
        network = copy.deepcopy(self.sources[source].start).requires_grad_()
        network.fc = self._make_student().fc
        return self._fit(network, as_objective(cross_entropy))

    def train_on_pseudo_labels(self) -> float:
        """Return the accuracy of a student of labels and of its own confident answers."""
        return self._fit(self._make_student(), as_objective(compute_pseudo_label_loss))

    def _make_student(self) -> ConvNet:
        return ConvNet(STUDENT_WIDTHS, self.k, 1, seed=1000 + self.seed)

    def _fit(self, network: ConvNet, objective: Objective) -> float:
        groups = (self.rows.y >= 0).long()
        source = SampledSource(self.rows, BalancedSampler(groups))
        recipe = make_recipe(self.steps, self.seed)
        trained = train_student(network, source, objective, recipe, shift_weakly)
        return measure_accuracy(compute_logits(trained, self.test.x), self.test.y)


def compute_pseudo_label_loss(
    network: nn.Module, batch: Batch, generator: torch.Generator
) -> Tensor:
    """Return the loss of FixMatch: labels, and confident answers for pictures changed strongly."""
    is_labelled = batch.y >= 0
    if is_labelled.all():
        return cross_entropy(network, batch, generator)
    weak = batch.x[~is_labelled]
    logits = network(torch.cat([batch.x, change_strongly(weak, generator)]))
    own = logits[: len(batch)]
    confidence, y = own[~is_labelled].detach().softmax(1).max(1)
    losses = functional.cross_entropy(logits[len(batch) :], y, reduction="none")
    loss: Tensor = (losses * (confidence >= CONFIDENCE)).mean()
    if is_labelled.any():
        loss = loss + mean_cross_entropy(own[is_labelled], batch.y[is_labelled])
    return loss


def change_strongly(x: Tensor, generator: torch.Generator) -> Tensor:
    """Return pictures moved by up to 4 pixels, of other contrast, with a square erased."""
    n, _, height, width = x.shape
    x = shift(x, 4, generator) * (0.5 + torch.rand(n, 1, 1, 1, generator=generator))
    top = torch.randint(height - ERASED + 1, (n, 1, 1, 1), generator=generator)
    left = torch.randint(width - ERASED + 1, (n, 1, 1, 1), generator=generator)
    rows, columns = torch.arange(height).view(1, 1, -1, 1), torch.arange(width).view(1, 1, 1, -1)
    is_erased = (rows >= top) & (rows < top + ERASED) & (columns >= left)
    return x.masked_fill(is_erased & (columns < left + ERASED), 0.0)
