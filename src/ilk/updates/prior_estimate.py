"""Class priors of unlabelled images, with the evidence for and against using them."""

from __future__ import annotations

from dataclasses import asdict, dataclass
from statistics import NormalDist
from typing import Any

import numpy as np

from ilk.core.data import Labels
from ilk.core.metrics import Probabilities
from ilk.updates.label_shift import (
    Vector,
    compute_standard_error,
    estimate_priors_bbse,
    estimate_priors_em,
    estimate_source_priors,
)
from ilk.updates.shift_checks import (
    mean_class_probabilities,
    measure_accuracy_gain,
    measure_likelihood_gain,
    measure_unexplained,
)

Z_SCORE = 1.96  # half the width of a 95 % interval, in standard errors
MAX_ACCURACY_LOSS = 0.01  # that adapting may cost


@dataclass(frozen=True, eq=False)
class PriorEstimate:
    """Class priors of `n_images` unlabelled images.

    Attributes:
        source: Priors that the classifier's probabilities imply, `[k]`.
        target: Estimated priors of the images, `[k]`, > 0.
        standard_error: Standard errors of `target`, `[k]`: the sampling error of the images and of
            the held-out rows behind `source`, but not the error of wrong probabilities.
        safe_target: Priors to adapt to, `[k]`: the point of each 95 % interval nearest to
            `source`, scaled to sum to 1.
        bbse_target: Priors by black-box shift estimation, `[k]`, as a control.
        likelihood_gain: Gain in log likelihood per image, in nats, of priors estimated on other
            images: mean and standard error.
        accuracy_gain: Expected change of the accuracy on these images by adapting, from held-out
            rows, and its standard deviation.
        unexplained: Fraction of the predictions (half the absolute difference) that no mixture of
            the classes explains, and its mean by chance.
        n_images: Number of images.
    """

    source: Vector
    target: Vector
    standard_error: Vector
    safe_target: Vector
    bbse_target: Vector
    likelihood_gain: tuple[float, float]
    accuracy_gain: tuple[float, float]
    unexplained: tuple[float, float]
    n_images: int

    @property
    def has_shifted(self) -> bool:
        """Whether the priors differ significantly from `source`.

        The likelihood gain must exceed two standard errors, and some prior must differ from its
        source by more than its simultaneous 95 % interval. The latter includes the error of
        `source`, which does not fall with the number of images.
        """
        half_width = NormalDist().inv_cdf(1 - 0.025 / len(self.target)) * self.standard_error
        differs = bool(np.any(np.abs(self.target - self.source) > half_width))
        return differs and self.likelihood_gain[0] > 2 * self.likelihood_gain[1]

    @property
    def is_safe(self) -> bool:
        """Whether adapting loses at most a point of accuracy, at two standard deviations."""
        return self.accuracy_gain[0] - 2 * self.accuracy_gain[1] >= -MAX_ACCURACY_LOSS

    @property
    def confidence_interval(self) -> tuple[Vector, Vector]:
        """Lower and upper ends of the 95 % interval of each prior, `[k]` each."""
        half_width = Z_SCORE * self.standard_error
        return np.maximum(self.target - half_width, 0.0), np.minimum(self.target + half_width, 1.0)

    def to_json(self) -> dict[str, Any]:
        """Return all values as JSON types."""
        values = asdict(self)
        return {k: v.tolist() if isinstance(v, np.ndarray) else v for k, v in values.items()}


def estimate_priors(
    p: Probabilities,
    p_cal: Probabilities,
    y_cal: Labels,
    counts: Labels,
    seed: int = 0,
    groups: Labels | None = None,
) -> PriorEstimate:
    """Estimate the class priors of images from their calibrated probabilities.

    Args:
        p: Probabilities of the images, `[n, k]`.
        p_cal: Probabilities of held-out labelled rows, `[m, k]`.
        y_cal: Their classes, `[m]`.
        counts: Training rows per class, `[k]`.
        seed: Seed of folds and resampling.
        groups: Group of each image, `[n]`, which vary together; None makes every image one.
    """
    rng = np.random.default_rng(seed)
    source = estimate_source_priors(p_cal, y_cal, counts)
    target = estimate_priors_em(p, source)
    error = compute_standard_error(p, p_cal, source, target, groups)
    shrunken = np.clip(source, target - Z_SCORE * error, target + Z_SCORE * error)
    ratio = shrunken / shrunken.sum() / source
    by_class = mean_class_probabilities(p_cal, y_cal, len(counts))
    return PriorEstimate(
        source,
        target,
        error,
        ratio * source,
        estimate_priors_bbse(p, p_cal, y_cal, source),
        measure_likelihood_gain(p, source, rng, groups),
        measure_accuracy_gain(p, (p_cal, y_cal), ratio, target, error),
        measure_unexplained(p, p_cal, y_cal, by_class, rng),
        len(p),
    )
