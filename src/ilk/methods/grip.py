"""Class embeddings tuned on pseudo-labels of unlabelled rows, as many of every class.

Cristina Menghini, Andrew Delworth, Stephen H. Bach, 2023, Enhancing CLIP with CLIP: Exploring
Pseudolabeling for Limited-Label Prompt Tuning, arXiv 2306.01669 (FPL, IFPL and GRIP).

    p_ic = softmax_c(scale u_i't_c),  u = x / |x|         the zero-shot classifier labels rows
    boards of equal length per class hold the rows with the greatest p   (transduction.pseudolabels)
    t_c  = (e_c + r_c) / |e_c + r_c|                      e_c the text embedding of class c
    loss = |P| / |L| mean_L CE + mean_P CE                over r; P the boards, L the labelled rows

Each round starts from r = 0 with the boards of the last round's p. In GRIP the boards grow over ten
rounds until every row is on one; `GRIP(size=16)` is IFPL, and `GRIP(size=16, rounds=1)` FPL.

Departures: the paper learns the words of the prompt (16 vectors before the class name) through the
text encoder, which is not there when a method is fitted. Here a residual per class is learned in
the space of the embeddings (Tao Yu and others, 2023, arXiv 2211.10277) with AdamW, whose weight
decay pulls towards the names; `ilk.encoders.clip_prompts` learns words. The weight of labelled rows
is that of the paper's textual FPL (its code has two others). Boards do not depend on the order of
rows. Where classes are not equally frequent, the last boards of GRIP must hold wrong labels: it is
for classes of about the same size, and may be worse than the names alone otherwise.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import ClassVar

import numpy as np
from numpy.typing import NDArray

from ilk.core.contracts import MethodTags, check_weights, class_embeddings_of
from ilk.core.data import Data, Features, Labels
from ilk.core.errors import InputError
from ilk.core.linear_models import NormalizedLinear, normalize_rows
from ilk.core.metrics import softmax
from ilk.transduction.pseudolabels import label_in_rounds, plan_sizes

BATCH_SIZE = 256


@dataclass(frozen=True)
class GRIP(MethodTags):
    """Class embeddings tuned on evenly distributed pseudo-labels, from the names alone or labels.

    Attributes:
        size: Rows per class on a board in every round, >= 1; None lets the boards grow to all rows.
        rounds: Rounds, >= 1.
        steps: Updates per round, >= 1.
        lr: Learning rate relative to the size of a coordinate, 1 / sqrt(d), > 0.
        scale: Inverse temperature of the cosines, > 0; 100 is CLIP's.
        seed: Seed of the order of rows.
    """

    uses_unlabelled = True

    needs_class_embeddings: ClassVar[bool] = True
    needs_labels: ClassVar[bool] = False

    size: int | None = None
    rounds: int = 10
    steps: int = 100
    lr: float = 0.01
    scale: float = 100.0
    seed: int = 0

    def __post_init__(self) -> None:
        if min(self.size or 1, self.rounds, self.steps) < 1 or self.size == 0:
            raise ValueError(
                f"size {self.size}, rounds {self.rounds} and steps {self.steps} must be at least 1"
            )
        if not (0 < self.scale < np.inf and 0 < self.lr < np.inf):
            raise ValueError(f"scale {self.scale} and lr {self.lr} must be above 0 and finite")

    def fit(self, data: Data) -> NormalizedLinear:
        text = np.asarray(normalize_rows(class_embeddings_of(data, self)), np.float32)
        check_weights(data, self)
        data = data.take_weighted()
        if not len(data):
            raise InputError("GRIP learns from rows and there are none; try ZeroShot")
        u = np.asarray(normalize_rows(data.x), np.float32)
        is_labelled = data.y >= 0
        unlabelled = u[~is_labelled]
        if not len(unlabelled):
            return self._make_model(self._tune(text, u, data.y, np.ones(len(data)), 0))

        def learn(pseudo: Labels, number: int) -> Features:
            y = data.y.copy()
            y[~is_labelled] = pseudo
            ratio = (pseudo >= 0).sum() / max(is_labelled.sum(), 1)  # both halves weigh the same
            return self._tune(text, u, y, np.where(is_labelled, ratio, 1.0), number)

        sizes = plan_sizes(len(unlabelled), data.k, self.size, self.rounds)
        start = self._predict(text, unlabelled)
        return self._make_model(
            label_in_rounds(start, sizes, learn, lambda t: self._predict(t, unlabelled))
        )

    def _predict(self, classes: Features, u: Features) -> Features:
        return softmax(self.scale * u.astype(np.float64) @ classes.T.astype(np.float64), axis=1)

    def _tune(
        self, text: Features, u: Features, y: Labels, weight: NDArray[np.float64], number: int
    ) -> Features:
        """Return class embeddings tuned on the rows with a label, from the text embeddings."""
        import torch

        from ilk.architectures.cosine_classifier import ClassResiduals
        from ilk.training.class_embeddings import embed_classes, tune_classes
        from ilk.training.optimizers import AdamW
        from ilk.training.recipe import Recipe

        classes = ClassResiduals(torch.from_numpy(text.copy()))
        lr = self.lr / text.shape[1] ** 0.5
        recipe = Recipe(
            self.steps, BATCH_SIZE, lr, self.steps // 10, seed=self.seed + number,
            optimizer=AdamW(),
        )  # fmt: skip
        return embed_classes(tune_classes(classes, u, y, recipe, self.scale, weight))

    def _make_model(self, classes: Features) -> NormalizedLinear:
        return NormalizedLinear(
            (self.scale * classes).astype(np.float32), np.zeros(len(classes), np.float32)
        )
