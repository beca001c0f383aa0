"""Gaussian discriminant analysis: one Gaussian per class, all with the same covariance.

Ronald A. Fisher, 1936, The Use of Multiple Measurements in Taxonomic Problems,
doi:10.1111/j.1469-1809.1936.tb02137.x; on frozen features: Wang et al., 2024, A Hard-to-Beat
Baseline for Training-free CLIP-based Adaptation, arXiv 2402.04087.

    log p(c | x) = mean_c' P x - mean_c' P mean_c / 2 + log prior_c + constant

with P the inverse of the pooled covariance S after shrinkage towards a multiple of the identity.

With few rows per class, directions often tell classes apart better than the rows themselves, as the
unit rows of Wang et al. do, and those of centred unit rows better still; whether they are read is
chosen by leave-one-out (`ilk.maths.unit_discriminant`). The shrinkage rule is not: chosen in the
same way from "ks", "oas" and Ledoit-Wolf it gained nothing over "ks" (benchmark `gda_clip`).
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from ilk.core.contracts import MethodTags, labelled_features
from ilk.core.data import Data, Features, Labels, Logits
from ilk.core.errors import InputError
from ilk.core.linear_models import Linear
from ilk.core.row_stream import RowStream
from ilk.core.statistics import Statistics
from ilk.core.unit_gaussian import UnitGaussian
from ilk.maths.covariance import Shrinkage, check_shrinkage
from ilk.maths.gaussian import fit_linear_discriminant
from ilk.maths.label_rules import fit_label_discriminants
from ilk.maths.leave_group_out import compute_gaussian_logits_by_fold
from ilk.maths.leave_one_out import compute_gaussian_logits
from ilk.maths.row_discriminant import fit_rows_discriminant
from ilk.maths.unit_discriminant import (
    RAW,
    ROW_FORMS,
    choose_rows,
    extend_unit_discriminant,
    fit_unit_discriminant,
    has_few_rows,
    leave_out_of_unit_discriminant,
)


@dataclass(frozen=True)
class GDA(MethodTags):
    """Shared-covariance Gaussian discriminant analysis in closed form.

    Attributes:
        shrink: Shrinkage intensity of the covariance, in [0, 1]; "ks" for the empirical Bayes ridge
            `S + tr(S) I / (N - 1)` of Kubokawa and Srivastava, the default (None); "oas" for oracle
            approximating shrinkage.
        uniform: Assume equal class priors instead of the class frequencies.
        rows: "raw" reads features as they are, "unit" their directions, "centred" the directions of
            these from their mean over the training rows. None (the default) is "raw" from 20 rows
            per class on, and for fewer than 16 features; with fewer rows, that of "raw" and
            "centred" with the least log loss of left-out rows; and "centred" where most classes
            have a single row. With several labels per image it is "raw".
    """

    default_candidate = True
    fit_cost = 0.5
    one_vs_rest = True
    exact_extension = True
    supports_weights = True

    shrink: Shrinkage = None
    uniform: bool = False
    rows: str | None = None

    def __post_init__(self) -> None:
        check_shrinkage(self.shrink)
        if self.rows is not None and self.rows not in ROW_FORMS:
            forms = ", ".join(repr(form) for form in ROW_FORMS)
            raise ValueError(f"rows is {self.rows!r}; allowed are {forms} or None")

    def fit(self, data: Data) -> Linear | UnitGaussian:
        labelled = labelled_features(data, self)
        x, y, weight = labelled.x, labelled.y, labelled.sample_weight
        rows = self.rows or choose_rows(labelled, self.shrink, self.uniform)
        if rows == RAW:
            return fit_rows_discriminant(x, y, data.k, self.shrink, self.uniform, weight)
        return fit_unit_discriminant(x, y, data.k, rows, self.shrink, self.uniform, weight)

    def fit_stream(self, rows: RowStream) -> Linear:
        """Return the classifier of rows that are read block by block, from their statistics.

        Raises:
            InputError: Directions of rows are asked for, or must be compared with the rows.
        """
        stats = rows.statistics
        is_raw = self.rows == RAW or (self.rows is None and not has_few_rows(stats.counts, rows.d))
        if not is_raw:
            raise InputError(
                "directions of rows need the rows themselves, and are compared with them below 20 "
                "rows per class; use GDA(rows='raw')"
            )
        return fit_linear_discriminant(stats, self.shrink, self.uniform)

    def fit_labels(self, data: Data, targets: NDArray[np.bool_]) -> tuple[Linear, ...]:
        """Return the classifier of each label against the rest; `targets` are `[n, k]`."""
        return fit_label_discriminants(data.x, targets, self.shrink, self.uniform).to_models()

    def extend(
        self, model: Linear | UnitGaussian, added: Data, statistics: Statistics
    ) -> Linear | UnitGaussian:
        """Return the classifier of all rows, from their statistics; the form of rows stays."""
        if isinstance(model, UnitGaussian):
            return extend_unit_discriminant(model, added, self.shrink, self.uniform)
        return fit_linear_discriminant(statistics, self.shrink, self.uniform)

    def leave_one_out_logits(
        self,
        model: Linear | UnitGaussian,
        x: Features,
        y: Labels,
        statistics: Statistics,
        group: Labels | None = None,
    ) -> Logits:
        """Return logits `[m, k]` of rows `x [m, d]` of classes `y [m]`, each group left out."""
        if isinstance(model, UnitGaussian):
            return leave_out_of_unit_discriminant(model, x, y, group, self.shrink, self.uniform)
        if group is not None:
            return compute_gaussian_logits_by_fold(
                statistics, x, y, group, self.shrink, self.uniform
            )
        return compute_gaussian_logits(statistics, x, y, self.shrink, self.uniform)
