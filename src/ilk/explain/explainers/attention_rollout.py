"""Attention of a transformer, followed through its layers, for the explained class.

Samira Abnar, Willem Zuidema, 2020, Quantifying Attention Flow in Transformers, arXiv 2005.00928,
section 3, and the class-specific form of Hila Chefer, Shir Gur, Lior Wolf, 2021, Generic
Attention-model Explainability, arXiv 2103.15679, equations 5 and 6:

    rollout:         R = A'_L ... A'_1,   A'_l = rows to sum 1 of (mean over heads of A_l + I) / 2
    class-specific:  R <- R + mean over heads of (A_l * d f / d A_l)+ R,   from R = I

The map is the row of the class token, or the mean row where there is none. f is the log-odds.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import ClassVar

import numpy as np

from ilk.explain.attention import Array, record_attention
from ilk.explain.contract import ExplainerTags, Map
from ilk.explain.networks import open_parts, run_backward, spread_map
from ilk.explain.subject import GRADIENT_PASSES, Subject
from ilk.explain.windows import resize_map


@dataclass(frozen=True)
class AttentionRollout(ExplainerTags):
    """Attention rollout.

    Attributes:
        class_specific: Weigh attention by its gradient. Without, the map is the same for every
            class: a control, not an explanation.
    """

    name: ClassVar[str] = "attention-rollout"
    paper: ClassVar[str] = "Abnar and Zuidema 2020; Chefer and others 2021"
    needs_gradients: ClassVar[bool] = True
    needs_attention: ClassVar[bool] = True
    default_candidate: ClassVar[bool] = True

    class_specific: bool = True

    def count_passes(self, subject: Subject, /) -> int:
        """Return the cost of one gradient."""
        return GRADIENT_PASSES

    def explain(self, subject: Subject, seed: int, /) -> Map:
        """Return how much attention reaches the answer from each patch, at least 0."""
        parts = open_parts(subject, self.name)
        gradient = subject.answer.compute_gradient(subject.features)
        total = np.zeros(subject.shape, np.float32)
        for part in parts:
            with record_attention(part, subject.encoder.name) as recorded:
                run_backward(part, subject, gradient)
            layers = recorded.list_layers()
            flow = follow_gradients(layers) if self.class_specific else roll_out(layers)
            small = recorded.to_grid(flow, part.shape)
            total += spread_map(part, resize_map(small, (part.shape[1], part.shape[2])), subject)
        return total


def roll_out(layers: list[tuple[Array, Array]]) -> Array:
    """Return the product `[n, n]` of the attention of all layers with half the identity added."""
    result = np.eye(layers[0][0].shape[-1])
    for attention, _ in layers:
        mixed = 0.5 * attention.mean(0) + 0.5 * np.eye(len(result))
        result = mixed / mixed.sum(1, keepdims=True) @ result
    return np.asarray(result, np.float32)


def follow_gradients(layers: list[tuple[Array, Array]]) -> Array:
    """Return the class-specific flow `[n, n]` of attention and gradients `[heads, n, n]`."""
    result = np.eye(layers[0][0].shape[-1])
    for attention, gradient in layers:
        result = result + np.maximum(attention * gradient, 0).mean(0) @ result
    return np.asarray(result - np.eye(len(result)), np.float32)
