"""Causal paths: channels of the last convolution, weighted by what removing each one changes.

Ola Ahmad, Nicolas Béreux, Loïc Baret, Vahid Hashemi, Freddy Lecue, 2024, Causal Analysis for Robust
Interpretability of Neural Networks, arXiv 2305.08950:

    e_k = s(x) - s(x | channel k at its mean),    S = sum_k max(e_k, 0) A_k

s is the log-odds of the answer. Batch norm is folded first. For one image, the mean is that of the
channel on the image without its content (blurred). `ilk.explain.causal_paths` traces the whole
graph of a class over many images, with a test of each path.

Departure: the paper keeps channels by a threshold over many images; here those are kept that
together make up most of the positive effect.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import ClassVar

import numpy as np

from ilk.core.errors import InputError
from ilk.explain.contract import ExplainerTags, Map
from ilk.explain.interventions import InterventionRunner
from ilk.explain.networks import Part, open_parts, spread_map
from ilk.explain.subject import Subject
from ilk.explain.unit_effects import Effects, Score, measure_unit_effects
from ilk.explain.windows import resize_map

N_PASSES = 4  # two of the whole network per part; replaced channels run only what comes after


@dataclass(frozen=True)
class CausalPaths(ExplainerTags):
    """Channels of the last convolution by their causal effect.

    Attributes:
        kept: Share of the positive effect that the kept channels hold, in (0, 1].
    """

    name: ClassVar[str] = "causal-paths"
    paper: ClassVar[str] = "Ahmad and others 2024"
    needs_gradients: ClassVar[bool] = True

    kept: float = 0.9

    def __post_init__(self) -> None:
        if not 0 < self.kept <= 1:
            raise InputError(f"kept is {self.kept}; it must be above 0 and at most 1")

    def count_passes(self, subject: Subject, /) -> int:
        """Return the passes of whole networks; those of single channels cost a fraction."""
        return N_PASSES

    def explain(self, subject: Subject, seed: int, /) -> Map:
        """Return the weighted sum of the kept channels, at least 0 where activations are."""
        import torch

        total = np.zeros(subject.shape, np.float32)
        filled = subject.get_filled("blur")
        for part in open_parts(subject, self.name):
            x, empty = (
                torch.from_numpy(part.normalize(part.cut(pixels[None])))
                for pixels in (subject.prepared, filled)
            )
            runner = InterventionRunner(part.network, x)
            layer = runner.layers[-1]
            reference = InterventionRunner(part.network, empty).layers[-1].activation
            subject.n_passes += N_PASSES
            score = _make_score(part, subject, runner)
            effects = measure_unit_effects(runner, layer, reference, score)[:, 0]
            weights = keep_greatest(effects, self.kept)
            small = np.tensordot(weights, layer.activation[0].numpy(), 1)
            values = resize_map(small.astype(np.float32), (part.shape[1], part.shape[2]))
            total += spread_map(part, values, subject)
        return total


def keep_greatest(effects: Effects, kept: float) -> Effects:
    """Return effects `[units]` with all but the greatest at 0.

    The fewest are kept that hold the share `kept` of the sum of the positive ones.
    """
    positive = np.maximum(effects, 0.0)
    order = np.argsort(-positive, kind="stable")
    sums = np.cumsum(positive[order])
    n_kept = int(np.searchsorted(sums, kept * sums[-1] * (1 - 1e-9))) + 1
    weights = np.zeros(len(effects))
    weights[order[:n_kept]] = positive[order[:n_kept]]
    return weights


def _make_score(part: Part, subject: Subject, runner: InterventionRunner) -> Score:
    """Return the log-odds of the answer when a part of the features changes."""
    first, last = part.columns
    whole = subject.features

    def score(out: Map) -> Effects:
        changed = np.repeat(whole[None], len(out), axis=0)
        changed[:, first:last] += part.weight * (out - runner.features)
        return np.asarray(subject.answer.log_odds(changed), np.float64)

    return score
