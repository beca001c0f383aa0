"""Losses that several objectives share: weighted means, and losses of logits."""

from __future__ import annotations

import torch
from torch import Tensor, nn
from torch.nn import functional

from ilk.training.batch import Batch


def weighted_mean(losses: Tensor, weight: Tensor | None) -> Tensor:
    """Return the mean of `losses [n]`, a scalar, each counted `weight [n]` times; None is once."""
    return losses.mean() if weight is None else (weight * losses).sum() / weight.sum()


def mean_cross_entropy(logits: Tensor, y: Tensor, weight: Tensor | None = None) -> Tensor:
    """Return the weighted mean cross-entropy, a scalar.

    Args:
        logits: `[n, k]`.
        y: Class indices, `[n]`, all >= 0.
        weight: Weight of each row, `[n]`; None counts each once.
    """
    if weight is None:
        return functional.cross_entropy(logits, y)
    return weighted_mean(functional.cross_entropy(logits, y, reduction="none"), weight)


def labelled_cross_entropy(logits: Tensor, y: Tensor, weight: Tensor | None = None) -> Tensor:
    """Return the weighted mean cross-entropy of the labelled rows, a scalar; 0 without any.

    Args:
        logits: `[n, k]`.
        y: Class indices, `[n]`, -1 where unknown.
        weight: Weight of each row, `[n]`; None counts each once.
    """
    is_labelled = y >= 0
    if not is_labelled.any():
        return 0.0 * logits.sum()
    kept = None if weight is None else weight[is_labelled]
    return mean_cross_entropy(logits[is_labelled], y[is_labelled], kept)


def distillation_loss(logits: Tensor, teacher_logits: Tensor, temperature: float = 2.0) -> Tensor:
    """Return the mean cross-entropy between teacher and student, both at `temperature`; a scalar.

    Args:
        logits: Of the student, `[n, k]`.
        teacher_logits: Of the teacher, `[n, k]`.
        temperature: Divides both, > 0.
    """
    teacher = (teacher_logits / temperature).softmax(1)
    return -(teacher * (logits / temperature).log_softmax(1)).sum(1).mean()


def row_divergences(teacher_logits: Tensor, logits: Tensor) -> Tensor:
    """Return the Kullback-Leibler divergence of each row's softmax from the teacher's, `[n]`.

    Args:
        teacher_logits: `[n, k]`, divided by the temperature.
        logits: Of the student, `[n, k]`, likewise.
    """
    log_p, log_q = teacher_logits.log_softmax(1), logits.log_softmax(1)
    return (log_p.exp() * (log_p - log_q)).sum(1)


def cross_entropy(network: nn.Module, batch: Batch, _generator: torch.Generator) -> Tensor:
    """Return the weighted mean cross-entropy of the labelled rows, a scalar.

    Args:
        network: Gives logits `[n, k]` for `batch.x`.
        batch: Rows; those with `y` of -1 are left out.
    """
    is_labelled = batch.y >= 0
    if not is_labelled.any():
        return 0.0 * network(batch.x).sum()  # type: ignore[no-any-return]
    weight = None if batch.weight is None else batch.weight[is_labelled]
    return mean_cross_entropy(network(batch.x[is_labelled]), batch.y[is_labelled], weight)
