"""Zero-shot classification with descriptions selected to separate the most likely classes.

Pingchuan Ma, Lennart Rietdorf, Dmytro Kotovenko, Vincent Tao Hu, Björn Ommer, 2024, Does VLM
Classification Benefit from LLM Description Semantics?, arXiv 2412.11917.

    S[d, c]  = mean of cos(x, t_d) over the labelled rows of class c
    score_c(x) = name_weight cos(x, t_c) + mean of cos(x, t_d) over the descriptions selected for c

For each row the `n_candidates` most likely classes by name alone are taken. A description is
eligible for class c among them if the labelled rows of no other candidate are more similar to it;
of those, the `descriptions_per_class` with the greatest mean margin are selected. The descriptions
(`Data.description_embeddings`) name no class and belong to none, so that they add meaning and not
another wording of the name. A class without eligible descriptions gets the mean of those of all
candidates, where the published code divides by zero. Classes beyond the candidates keep their order
behind them. Without descriptions this is zero-shot classification by name.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import ClassVar

import numpy as np

from ilk.core.contracts import MethodTags, class_embeddings_of, labelled_features
from ilk.core.data import Data, Features, Labels, Logits, one_hot
from ilk.core.errors import InputError
from ilk.core.linear_models import CHUNK_SIZE, normalize_rows
from ilk.maths.gaussian import Matrix


@dataclass(frozen=True, eq=False)
class DescriptionClassifier:
    """Embeddings of names and descriptions, and their similarity to the rows of each class.

    Attributes:
        class_embeddings: Unit embeddings of the names, `[k, d]` float32.
        description_embeddings: Unit embeddings of the descriptions, `[m, d]` float32; m may be 0.
        similarity: S, `[m, k]` float32; nan for a class without labelled rows.
        name_weight: Weight of the name.
        n_candidates: Most likely classes that descriptions separate.
        descriptions_per_class: Descriptions selected per class.
        scale: Inverse temperature of all scores.
    """

    kind: ClassVar[str] = "description_classifier"
    nan_fields: ClassVar[tuple[str, ...]] = ("similarity",)
    shapes: ClassVar[dict[str, str]] = {
        "class_embeddings": "k d",
        "description_embeddings": "m d",
        "similarity": "m k",
    }

    class_embeddings: Features
    description_embeddings: Features
    similarity: Features
    name_weight: float
    n_candidates: int
    descriptions_per_class: int
    scale: float

    def logits(self, x: Features) -> Logits:
        """Return scores `[n, k]`, float64."""
        out = np.empty((len(x), len(self.class_embeddings)))
        for at in range(0, len(x), CHUNK_SIZE):
            out[at : at + CHUNK_SIZE] = self._compute_batch_logits(
                normalize_rows(x[at : at + CHUNK_SIZE])
            )
        return self.scale * out

    def _compute_batch_logits(self, u: Matrix) -> Logits:
        name_scores = u @ self.class_embeddings.T.astype(np.float64)
        out: Logits = (self.name_weight if len(self.description_embeddings) else 1.0) * name_scores
        if not len(self.description_embeddings) or not len(u):
            return out
        description_scores = u @ self.description_embeddings.T.astype(np.float64)
        n_candidates = min(self.n_candidates, len(self.class_embeddings))
        top = np.sort(np.argsort(-name_scores, axis=1, kind="stable")[:, :n_candidates], axis=1)
        groups, member = np.unique(top, axis=0, return_inverse=True)
        for g, classes in enumerate(groups):
            rows = np.flatnonzero(member.ravel() == g)
            added_scores = self._score_descriptions(description_scores[rows], classes)
            out[rows] += added_scores.min(1, keepdims=True)
            out[np.ix_(rows, classes)] += added_scores - added_scores.min(1, keepdims=True)
        return out

    def _score_descriptions(self, similarity: Matrix, classes: Labels) -> Matrix:
        """Return the mean similarity to the descriptions selected for `classes [m]`, `[n, m]`."""
        selected = [
            select_descriptions(self.similarity[:, classes], i, self.descriptions_per_class)
            for i in range(len(classes))
        ]
        all_selected = [d for part in selected for d in part]
        mean_score = (
            similarity[:, all_selected].mean(1) if all_selected else np.zeros(len(similarity))
        )
        return np.stack(
            [similarity[:, part].mean(1) if len(part) else mean_score for part in selected], 1
        )


@dataclass(frozen=True)
class DescriptionSelection(MethodTags):
    """Zero-shot classification by names and selected descriptions.

    Attributes:
        name_weight: Weight of the name relative to the mean of the descriptions, >= 0; at 0 names
            only select the candidates.
        n_candidates: Most likely classes that descriptions separate, >= 2.
        descriptions_per_class: Descriptions selected per class, >= 1.
        scale: Inverse temperature of the scores, > 0; 100 is CLIP's.
    """

    supports_weights = True

    needs_class_embeddings: ClassVar[bool] = True

    name_weight: float = 1.0
    n_candidates: int = 3
    descriptions_per_class: int = 5
    scale: float = 100.0

    def __post_init__(self) -> None:
        if not (0 <= self.name_weight < np.inf and 0 < self.scale < np.inf):
            raise ValueError(
                f"name_weight is {self.name_weight} and scale {self.scale}; give >= 0 and > 0"
            )
        if self.n_candidates < 2 or self.descriptions_per_class < 1:
            raise ValueError(
                f"n_candidates is {self.n_candidates} and descriptions_per_class "
                f"{self.descriptions_per_class}; give >= 2 and >= 1"
            )

    def fit(self, data: Data) -> DescriptionClassifier:
        labelled, text = (
            labelled_features(data, self),
            normalize_rows(class_embeddings_of(data, self)),
        )
        descriptions = (
            np.zeros((0, text.shape[1]))
            if data.description_embeddings is None
            else normalize_rows(data.description_embeddings)
        )
        if descriptions.shape[1] != text.shape[1]:
            raise InputError(
                f"descriptions have width {descriptions.shape[1]} and names {text.shape[1]}; both "
                "must come from one encoder"
            )
        counts, targets = labelled.sum_label_weights(), one_hot(labelled.y, data.k)
        sums = (normalize_rows(labelled.x) @ descriptions.T).T @ (
            targets * labelled.weight[:, None]
        )
        similarity = np.full(sums.shape, np.nan)
        similarity[:, counts > 0] = sums[:, counts > 0] / counts[counts > 0]
        text, descriptions, similarity = (
            np.asarray(a, np.float32) for a in (text, descriptions, similarity)
        )
        return DescriptionClassifier(
            text,
            descriptions,
            similarity,
            self.name_weight,
            self.n_candidates,
            self.descriptions_per_class,
            self.scale,
        )


def select_descriptions(similarity: Features, class_index: int, max_descriptions: int) -> Labels:
    """Return the descriptions selected for one of the candidate classes, greatest margin first.

    Args:
        similarity: Mean similarity of the rows of the candidates to each description, `[m, c]`.
        class_index: Column of the class.
        max_descriptions: Number of descriptions, at most.
    """
    own = similarity[:, class_index : class_index + 1]
    margin = own - np.delete(similarity, class_index, axis=1)
    eligible = np.flatnonzero((margin >= 0).all(1))  # none where a candidate has no rows (nan)
    order = np.argsort(-margin[eligible].mean(1), kind="stable")
    return np.asarray(eligible[order[:max_descriptions]], np.int64)
