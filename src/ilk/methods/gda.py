"""Gaussian discriminant analysis: one Gaussian per class, all with the same covariance.

Ronald A. Fisher, 1936, The Use of Multiple Measurements in Taxonomic Problems,
doi:10.1111/j.1469-1809.1936.tb02137.x; on frozen features: Wang et al., 2024, A Hard-to-Beat
Baseline for Training-free CLIP-based Adaptation, arXiv 2402.04087.

    log p(c | x) = mean_c' P x - mean_c' P mean_c / 2 + log prior_c + constant

with P the inverse of the pooled covariance S after shrinkage towards a multiple of the identity.
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from ilk.core.contracts import MethodTags, labelled_features
from ilk.core.data import Data, Features, Labels, Logits
from ilk.core.linear_models import Linear
from ilk.core.statistics import Statistics
from ilk.maths.covariance import Shrinkage, check_shrinkage
from ilk.maths.gaussian import fit_linear_discriminant
from ilk.maths.label_rules import fit_label_discriminants
from ilk.maths.leave_group_out import compute_gaussian_logits_by_fold
from ilk.maths.leave_one_out import compute_gaussian_logits
from ilk.maths.row_discriminant import fit_rows_discriminant


@dataclass(frozen=True)
class GDA(MethodTags):
    """Shared-covariance Gaussian discriminant analysis in closed form.

    Attributes:
        shrink: Shrinkage intensity of the covariance, in [0, 1]; "ks" for the empirical Bayes ridge
            `S + tr(S) I / (N - 1)` of Kubokawa and Srivastava, the default (None); "oas" for oracle
            approximating shrinkage.
        uniform: Assume equal class priors instead of the class frequencies.
    """

    default_candidate = True
    one_vs_rest = True
    exact_extension = True
    supports_weights = True

    shrink: Shrinkage = None
    uniform: bool = False

    def __post_init__(self) -> None:
        check_shrinkage(self.shrink)

    def fit(self, data: Data) -> Linear:
        labelled = labelled_features(data, self)
        return fit_rows_discriminant(
            labelled.x, labelled.y, data.k, self.shrink, self.uniform, labelled.sample_weight
        )

    def fit_labels(self, data: Data, targets: NDArray[np.bool_]) -> tuple[Linear, ...]:
        """Return the classifier of each label against the rest; `targets` are `[n, k]`."""
        return fit_label_discriminants(data.x, targets, self.shrink, self.uniform).to_models()

    def extend(self, model: Linear, added: Data, statistics: Statistics) -> Linear:
        """Return the classifier of all rows, from their statistics."""
        return fit_linear_discriminant(statistics, self.shrink, self.uniform)

    def leave_one_out_logits(
        self,
        model: Linear,
        x: Features,
        y: Labels,
        statistics: Statistics,
        group: Labels | None = None,
    ) -> Logits:
        """Return logits `[m, k]` of rows `x [m, d]` of classes `y [m]`, each group left out."""
        if group is not None:
            return compute_gaussian_logits_by_fold(
                statistics, x, y, group, self.shrink, self.uniform
            )
        return compute_gaussian_logits(statistics, x, y, self.shrink, self.uniform)
