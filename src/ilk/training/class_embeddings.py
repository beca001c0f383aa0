"""Class embeddings, or the prompt that they come from, tuned on rows with labels."""

from __future__ import annotations

from dataclasses import replace
from typing import TypeVar

import numpy as np
import torch
from numpy.typing import NDArray
from torch import nn

from ilk.architectures.cosine_classifier import CosineClassifier
from ilk.core.data import Features, Labels
from ilk.training.batch import Batch
from ilk.training.losses import cross_entropy
from ilk.training.recipe import Recipe
from ilk.training.trainer import train

C = TypeVar("C", bound=nn.Module)


def tune_classes(
    classes: C,
    rows: Features,
    y: Labels,
    recipe: Recipe,
    scale: float = 100.0,
    weight: NDArray[np.float64] | None = None,
) -> C:
    """Return class embeddings tuned by the cross-entropy of labelled rows.

    Args:
        classes: Returns unit class embeddings `[k, d]`, such as `ClassResiduals` or `PromptedText`;
            it is trained in place.
        rows: Unit rows, `[n, d]`.
        y: Their classes, `[n]`; rows with -1 are left out. At least one has a class.
        recipe: Hyperparameters; its batch size is at most the number of rows.
        scale: Inverse temperature of the cosines, > 0.
        weight: Weight of each row in the loss, `[n]`; None counts each once.

    Returns:
        The average of `classes` over the run.
    """
    known = np.flatnonzero(y >= 0)
    batch = Batch(
        torch.from_numpy(np.array(rows[known], np.float32)),
        torch.from_numpy(np.array(y[known], np.int64)),
        weight=None if weight is None else torch.from_numpy(weight[known].astype(np.float32)),
    )
    recipe = replace(recipe, batch_size=min(recipe.batch_size, len(batch)))
    network = CosineClassifier(classes, scale)
    return train(network, batch, cross_entropy, recipe).classes  # type: ignore[return-value]


@torch.no_grad()
def embed_classes(classes: nn.Module) -> Features:
    """Return the class embeddings of a module, `[k, d]` float32."""
    return np.asarray(classes().cpu().numpy(), np.float32)
