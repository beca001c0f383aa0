"""The model of a labelling session: fitted in closed form after every few answers.

Gaussian discriminant analysis (`ilk.methods.gda`) on features that are reduced once, when the
session is opened, to the directions that carry most of them, so that a refit takes a fraction of a
second whatever the width of the encoder. While labels are few, only the first of these directions
are read: what little the others hold is noise to a covariance of so few rows (20 labels of CIFAR-10
give 0.37 with 64 directions, 0.34 with 256; 200 labels give 0.627 and 0.632).
"""

from __future__ import annotations

import time
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from ilk.core.data import Data, Features, Labels, Logits
from ilk.core.linear_models import Linear, normalize_rows
from ilk.core.unit_gaussian import UnitGaussian
from ilk.maths.gaussian import compute_statistics
from ilk.maths.pca import RANK_TOLERANCE
from ilk.methods.gda import GDA
from ilk.trust.calibration import Calibration, cross_calibrate

MIN_FEATURES, MAX_FEATURES = 64, 256
ROWS_PER_FEATURE = 2  # labels for each direction beyond the first
MAX_SAMPLE = 10_000  # rows that the directions are estimated from
N_FOLDS = 10
MIN_AUDITED = 30  # audited rows that suffice to calibrate on them alone
CHUNK_SIZE = 8_192
UNIT_FEATURES = 128  # of the reduced features, that orders and groups compare images by

Probabilities = NDArray[np.float64]


def reduce_features(x: Features, seed: int = 0, fit_rows: int | None = None) -> Features:
    """Return rows `[n, <= 256]` with nearly the inner products of rows `[n, d]`.

    The directions are the first right singular vectors of the rows, which are not centred, so that
    the angles between rows remain as well.

    Args:
        x: Rows, `[n, d]`.
        seed: Seed of the sample of many rows that the directions are estimated from.
        fit_rows: Number of rows, the first ones, that may be used for that; None takes all.
    """
    if x.shape[1] <= MAX_FEATURES:
        return np.asarray(x, np.float32)
    sample = x[:fit_rows]
    if len(sample) > MAX_SAMPLE:
        rows = np.random.default_rng(seed).choice(len(sample), MAX_SAMPLE, replace=False)
        sample = sample[np.sort(rows)]
    return np.asarray(x @ _find_directions(sample), np.float32)


def _find_directions(x: Features) -> Features:
    """Return the first right singular vectors of rows `[n, d]` as columns, by the smaller Gram."""
    is_wide = len(x) < x.shape[1]
    gram = np.asarray(x @ x.T if is_wide else x.T @ x, np.float64)
    values, vectors = np.linalg.eigh(gram)
    values, vectors = values[::-1][:MAX_FEATURES], vectors[:, ::-1][:, :MAX_FEATURES]
    keep = values > RANK_TOLERANCE * max(float(values[0]), 1e-30)
    if is_wide:
        vectors = x.T.astype(np.float64) @ (vectors[:, keep] / np.sqrt(values[keep]))
        return np.asarray(vectors, np.float32)
    return np.asarray(vectors[:, keep], np.float32)


def to_unit_rows(z: Features) -> Features:
    """Return the directions `[n, d]` of rows from the mean direction."""
    unit = normalize_rows(z)
    return np.asarray(normalize_rows(unit - unit.mean(0)), np.float32)


@dataclass(frozen=True, eq=False)
class Snapshot:
    """A fitted model and what it says of all images.

    Attributes:
        n_labels: Number of labels it was fitted on.
        classes: Class names; those without a label have probability 0.
        probabilities: Calibrated probabilities of all rows, `[n, k]`.
        left_out: Rows that were also answered by a model that had learned from no label of their
            fold: the audit slice, and images that two annotators are asked.
        left_out_probabilities: These answers, calibrated on the other folds, `[m, k]`.
        seconds: How long the fit took.
    """

    n_labels: int
    classes: tuple[str, ...]
    probabilities: NDArray[np.float32]
    left_out: Labels
    left_out_probabilities: Probabilities
    seconds: float

    def answer(self, row: int) -> Probabilities:
        """Return the probabilities `[k]` of a row by a model that has not learned its label."""
        found = np.flatnonzero(self.left_out == row)
        if len(found):
            return np.asarray(self.left_out_probabilities[found[0]])
        return np.asarray(self.probabilities[row], np.float64)


def fit_snapshot(
    x: Features, y: Labels, classes: tuple[str, ...], left_out: Labels, n_audited: int = 0
) -> Snapshot | None:
    """Fit the model to all labels; None with labels of fewer than two classes.

    Args:
        x: Reduced features, `[n, d]`.
        y: Class of each row, `[n]`, -1 where unknown.
        classes: Class names.
        left_out: Rows to answer without having learned their label, `[m]`; the audited ones first.
        n_audited: How many of them are audited.
    """
    start = time.perf_counter()
    labelled = np.flatnonzero(y >= 0)
    if len(np.unique(y[labelled])) < 2:
        return None
    x = x[:, : choose_width(len(labelled))]
    model = fit_model(x, y, classes, labelled)
    logits = answer_left_out(x, y, classes, left_out)
    fold = np.arange(len(left_out)) % N_FOLDS
    judged = np.flatnonzero((y[left_out] >= 0) & (np.arange(len(left_out)) < n_audited))
    if len(judged) >= MIN_AUDITED:
        calibration = Calibration.fit(logits[judged], y[left_out[judged]])
        left_out_probabilities = np.array(calibration.to_probabilities(logits))
        left_out_probabilities[judged] = cross_calibrate(
            logits[judged], y[left_out[judged]], fold[judged]
        )
    else:
        calibration = _calibrate_by_leaving_one_out(model, x, y, len(classes), labelled, left_out)
        left_out_probabilities = np.asarray(calibration.to_probabilities(logits))
    probabilities = np.empty((len(x), len(classes)), np.float32)
    for at in range(0, len(x), CHUNK_SIZE):
        part = slice(at, at + CHUNK_SIZE)
        probabilities[part] = calibration.to_probabilities(model.logits(x[part]))
    seconds = time.perf_counter() - start
    return Snapshot(
        len(labelled), classes, probabilities, left_out, left_out_probabilities, seconds
    )


def fit_model(
    x: Features, y: Labels, classes: tuple[str, ...], rows: Labels
) -> Linear | UnitGaussian:
    """Return the classifier of the labels `y [n]` of the rows `rows [m]` of `x [n, d]`."""
    return GDA().fit(Data(x[rows], y[rows], classes))


def choose_width(n_labels: int) -> int:
    """Return how many of the reduced features a model of so many labels reads."""
    return max(MIN_FEATURES, min(MAX_FEATURES, n_labels // ROWS_PER_FEATURE))


def answer_left_out(
    x: Features, y: Labels, classes: tuple[str, ...], left_out: Labels, n_folds: int = N_FOLDS
) -> Logits:
    """Return logits `[m, k]` of rows, each by a model without the labels of its fold.

    Without a label outside the fold the logits are those of no class knowledge, all 0.

    Args:
        x: Reduced features, `[n, d]`.
        y: Class of each row, `[n]`, -1 where unknown.
        classes: Class names.
        left_out: The rows, `[m]`; row i of them is in fold i modulo `n_folds`.
        n_folds: Number of folds, >= 2.
    """
    out = np.zeros((len(left_out), len(classes)))
    fold = np.arange(len(left_out)) % n_folds
    for f in range(min(n_folds, len(left_out))):
        own = left_out[fold == f]
        visible = y.copy()
        visible[own] = -1
        rows = np.flatnonzero(visible >= 0)
        if len(rows):
            z = x[:, : choose_width(len(rows))]
            out[fold == f] = fit_model(z, y, classes, rows).logits(z[own])
    return out


def _calibrate_by_leaving_one_out(
    model: Linear | UnitGaussian, x: Features, y: Labels, k: int, labelled: Labels, left_out: Labels
) -> Calibration:
    """Return a calibration on the labels outside `left_out`, each left out of the model in turn.

    The rows that the model chose are harder than others, so this errs on the side of caution. No
    audited label enters, so that probabilities of these are judged by labels of others.
    """
    rows = np.setdiff1d(labelled, left_out)
    if len(rows) < 2:
        return Calibration()
    statistics = compute_statistics(x[labelled], y[labelled], k)
    logits = GDA().leave_one_out_logits(model, x[rows], y[rows], statistics)
    return Calibration.fit(logits, y[rows])
