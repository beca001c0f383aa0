"""A calibrated classifier of features, as `ilk fit` makes it."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from ilk.artifacts.classifier import Classifier
from ilk.core.contracts import Method, describe
from ilk.core.data import Data, Labels
from ilk.fitting.cross_validation import cross_validate
from ilk.images.pixels import PixelEncoder
from ilk.protocols import stratified_folds
from ilk.trust.calibration import Calibration
from ilk.trust.conformal import ConformalPredictor
from ilk.trust.out_of_distribution import OutOfDistributionDetector, cross_validate_scores
from ilk.trust.summary_statistics import SummaryStatistics

N_FOLDS = 5


@dataclass(frozen=True, eq=False)
class FeatureSet:
    """Labelled rows, their folds and an out-of-distribution detector, shared by all heads."""

    data: Data
    fold: Labels
    ood_scores: NDArray[np.float64]
    detector: OutOfDistributionDetector

    @classmethod
    def from_data(cls, data: Data, seed: int = 0) -> FeatureSet:
        """Make one from `data`, with a false-alarm rate of 5 %."""
        fold = stratified_folds(data.y, N_FOLDS, seed)
        ood_scores = cross_validate_scores(data, fold)
        return cls(data, fold, ood_scores, OutOfDistributionDetector.fit(data, ood_scores, 0.05))

    def fit(self, method: Method) -> Classifier:
        """Fit `method` and calibrate it, with 90 % prediction sets.

        The encoder is a substitute with the width of the features.
        """
        data, ood_scores = self.data, self.ood_scores
        oof = cross_validate(method, data, self.fold)
        rows = oof.is_tested
        calibration = Calibration.fit(oof.logits[rows], data.y[rows])
        p = calibration.to_probabilities(oof.logits[rows])
        return Classifier(
            data.classes,
            PixelEncoder(1, data.x.shape[1], 1),
            method.fit(data),
            calibration,
            ConformalPredictor.fit(p, data.y[rows], 0.9, ood_scores[rows]),
            self.detector,
            metadata={"method": describe(method)},
            summary_statistics=SummaryStatistics.from_data(data, oof.logits, rows, ood_scores),
        )
