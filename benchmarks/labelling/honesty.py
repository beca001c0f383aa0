"""How often the interval that a session shows holds the accuracy of its model."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np

from benchmarks.labelling.simulate import STEP, Trial
from ilk.core.data import Data, Labels
from ilk.core.metrics import Interval, wilson_interval
from ilk.labelling.audit import EVERY, AuditResult, count_reserved, find_slice, judge
from ilk.labelling.learner import (
    UNIT_FEATURES,
    Snapshot,
    choose_width,
    fit_model,
    fit_snapshot,
    to_unit_rows,
)
from ilk.labelling.learning import AHEAD
from ilk.labelling.orders import DEFAULT, parse_order
from ilk.labelling.orders.order import Pool


@dataclass(frozen=True)
class Outcome:
    """A session at its end.

    Attributes:
        audit: What the session shows.
        truth: Accuracy of its model on the images beyond the pool. (Those of the pool that are left
            are easier than others, because the hard ones have been asked.)
        naive: Accuracy of the suggestions on the images that the model chose, as they were asked,
            with the interval that a random sample would have.
        refitted: Accuracy on all labels that the model has learned from, likewise.
    """

    audit: AuditResult
    truth: float
    naive: Interval
    refitted: Interval


def run_session(data: Data, n: int, n_labels: int, seed: int) -> Outcome:
    """Label `n_labels` images of a pool of `n` as `ilk label` asks for them.

    Args:
        data: All images; those outside the pool only serve to measure.
        n: Size of the pool.
        n_labels: Number of answers, a multiple of 5.
        seed: Seed of the pool, the audit and the order.
    """
    trial = Trial.draw(data, n, seed)
    x, y = trial.x[:n], np.full(n, -1)
    units, order = to_unit_rows(x[:, :UNIT_FEATURES]), parse_order(DEFAULT)
    audit = np.random.default_rng(seed + 1).permutation(n)[: count_reserved(n)].tolist()
    snapshot: Snapshot | None = None
    asked: list[bool] = []
    for number in range(0, n_labels, STEP):
        probabilities = None if snapshot is None else snapshot.probabilities
        rows = order.choose(Pool(units, y, y < 0, probabilities), AHEAD, seed + number)
        for i in range(number, number + STEP):
            is_audit = i % EVERY == EVERY - 1
            row = next(int(r) for r in [*(audit if is_audit else ()), *rows] if y[r] < 0)
            if snapshot is not None and not is_audit:
                asked.append(bool(snapshot.probabilities[row].argmax() == trial.y[row]))
            y[row] = trial.y[row]
        is_last = number + STEP >= n_labels  # only then the slice is looked at
        audited = np.array(find_slice(audit, y >= 0) if is_last else [], np.int64)
        snapshot = fit_snapshot(x, y, trial.classes, audited, len(audited))
    assert snapshot is not None, "so many labels are of several classes"
    result = judge(y[audited], snapshot.left_out_probabilities)
    assert result is not None, "one question in five is of the audit"
    beyond = np.arange(n, len(trial.y))
    labelled = np.flatnonzero(y >= 0)
    return Outcome(
        result,
        _measure(trial, labelled, beyond),
        wilson_interval(sum(asked), len(asked)),
        wilson_interval(_measure(trial, labelled, labelled) * len(labelled), len(labelled)),
    )


def _measure(trial: Trial, labelled: Labels, rows: Labels) -> float:
    """Return the accuracy on some rows of the model of others."""
    x = trial.x[:, : choose_width(len(labelled))]
    model = fit_model(x, trial.y, trial.classes, labelled)
    return float(np.mean(model.logits(x[rows]).argmax(1) == trial.y[rows]))
