"""A classifier of features, calibrated as `ilk fit` does it, for benchmarks of its later life."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from ilk.classifier import Classifier
from ilk.data import Data, Labels
from ilk.encoders.pixels import Pixels
from ilk.evaluate import cross_validate
from ilk.models import Method, describe
from ilk.protocols import stratified_folds
from ilk.trust.calibrate import Calibration
from ilk.trust.conformal import Sets
from ilk.trust.kept import Kept
from ilk.trust.unknown import Unknown, held_out_scores

FOLDS = 5


@dataclass(frozen=True, eq=False)
class Material:
    """Labelled rows, their folds, and the sense of the unknown, which every head shares."""

    data: Data
    fold: Labels
    far: NDArray[np.float64]
    unknown: Unknown

    @classmethod
    def of(cls, data: Data, seed: int = 0) -> Material:
        """With 5 % false alarms."""
        fold = stratified_folds(data.y, FOLDS, seed)
        far = held_out_scores(data, fold)
        return cls(data, fold, far, Unknown.fit(data, far, 0.05))

    def learnt(self, method: Method) -> Classifier:
        """`method` on the rows, with 90 % sets.

        The encoder is a stand-in whose rows are as wide as the features.
        """
        data, far = self.data, self.far
        oof = cross_validate(method, data, self.fold)
        at = oof.tested
        calibration = Calibration.fit(oof.logits[at], data.y[at])
        p = calibration.probabilities(oof.logits[at])
        return Classifier(
            data.classes,
            Pixels(1, data.x.shape[1], 1),
            method.fit(data),
            calibration,
            Sets.fit(p, data.y[at], 0.9, far[at]),
            self.unknown,
            about={"method": describe(method)},
            kept=Kept.of(data, oof.logits, at, far),
        )
