"""The common part of explainers that weigh the outputs of a layer by their gradient."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from typing import ClassVar

import numpy as np

from ilk.explain.activations import Array, find_stages, record_outputs
from ilk.explain.contract import ExplainerTags, Map, check_least
from ilk.explain.networks import open_parts, run_backward, spread_map
from ilk.explain.subject import GRADIENT_PASSES, Subject
from ilk.explain.windows import resize_map

Weigh = Callable[[Array, Array], Array]


def weigh_activations(subject: Subject, explainer: str, stage: int, weigh: Weigh) -> Map:
    """Return the map of a stage of every network behind the encoder, added up.

    The gradient runs from the log-odds through the head (exactly, see `Answer.compute_gradient`)
    and back through the network.

    Args:
        subject: What is explained.
        explainer: Name of the explainer, for messages.
        stage: 0 for the last layer with places, 1 for the stage before, ...
        weigh: Maps outputs and gradients `[c, h', w']` of a layer to a map `[h', w']`.

    Raises:
        Unavailable: The encoder has no network, or its layers have no places.
    """
    parts = open_parts(subject, explainer)
    gradient = subject.answer.compute_gradient(subject.features)
    total = np.zeros(subject.shape, np.float32)
    for part in parts:
        with record_outputs(part.network) as recorded:
            run_backward(part, subject, gradient)
        stages = find_stages(recorded, part.shape, explainer)
        outputs, slopes = stages[min(stage, len(stages) - 1)]
        small = weigh(outputs, slopes)
        total += spread_map(part, resize_map(small, (part.shape[1], part.shape[2])), subject)
    return total


@dataclass(frozen=True)
class StageExplainer(ExplainerTags):
    """An explainer that weighs the outputs of a stage of the network by their gradient.

    Attributes:
        stage: 0 for the last stage with places, 1 for the one before, at least 0.
    """

    needs_gradients: ClassVar[bool] = True
    default_candidate: ClassVar[bool] = True

    stage: int = 0

    def __post_init__(self) -> None:
        check_least(self, stage=0)

    def count_passes(self, subject: Subject, /) -> int:
        """Return the cost of one gradient."""
        return GRADIENT_PASSES

    def list_variants(self) -> tuple[ExplainerTags, ...]:
        """Return the last two stages."""
        return type(self)(0), type(self)(1)
