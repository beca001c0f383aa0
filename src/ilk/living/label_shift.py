"""Class shares of images without labels, and a saved classifier that follows them.

Marco Saerens, Patrice Latinne, Christine Decaestecker, 2002, Adjusting the Outputs of a Classifier
to New a Priori Probabilities, doi:10.1162/089976602753284446, equations 2.9 and 2.10: with p(c | x)
calibrated under shares learnt_c, the likeliest shares of now are where

    q_i(c) ~ p(c | x_i) now_c / learnt_c,     now_c = (sum_i q_i(c) + 1) / (n + k)

stays as it is. The 1 is ours (theirs is 0): a class that is not among the images may still come,
and a share of 0 would shut it out for good. Beside it, as a control, stands what Zachary Lipton,
Yu-Xiang Wang, Alex Smola, 2018, Detecting and Correcting for Label Shift with Black Box Predictors,
arXiv 1802.03916, estimate from hard answers alone: confusion (answer by class) times weight =
answers now. Both hold where each class looks as it did and only its share has changed.
"""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray

from ilk.data import Labels
from ilk.metrics import Probabilities

ROUNDS = 2000
STILL = 1e-6  # change of any share that ends the rounds

Vector = NDArray[np.float64]


def granted(p_held: Probabilities, y_held: Labels, counts: Labels) -> Vector:
    """Shares `[k]` that the probabilities take for granted: their mean on held-out rows.

    Unlike the shares of the labels, it leaves shares as they are where nothing has changed, however
    the probabilities lean (Alexandari, Kundaje, Shrikumar 2020, arXiv 1901.06852). A class weighs
    as among all rows, whichever were kept.
    """
    if not len(y_held):
        return np.asarray((counts + 1) / (counts.sum() + len(counts)))
    kept = np.bincount(y_held, minlength=len(counts))
    weight = (counts / np.maximum(kept, 1))[y_held]
    mean = np.maximum(weight @ p_held / weight.sum(), 1e-6)
    return np.asarray(mean / mean.sum())


def expectation_maximisation(p: Probabilities, learnt: Vector, each: float = 1.0) -> Vector:
    """The likeliest shares `[k]` of rows of `p [n, k]`, with `each` more row of every class."""
    likelihood, now = p / learnt, learnt
    for _ in range(ROUNDS):
        q = likelihood * now
        after = (np.sum(q / q.sum(1, keepdims=True), axis=0) + each) / (len(p) + each * len(now))
        done = np.abs(after - now).max() < STILL
        now = after
        if done:
            break
    return np.asarray(now)


def by_answers(p: Probabilities, p_held: Probabilities, y_held: Labels, learnt: Vector) -> Vector:
    """Shares `[k]` by inverting the confusion of hard answers; no share falls below 0."""
    k = len(learnt)
    answer = np.bincount(p.argmax(1), minlength=k) / len(p)
    joint = np.zeros((k, k))
    np.add.at(joint, (p_held.argmax(1), y_held), 1 / max(1, len(y_held)))
    ratio = np.maximum(np.linalg.lstsq(joint, answer, rcond=1e-6)[0], 0.0)
    now = ratio * np.bincount(y_held, minlength=k)
    return np.asarray(now / now.sum() if now.sum() > 0 else learnt)


def standard_error(p: Probabilities, p_held: Probabilities, learnt: Vector, now: Vector) -> Vector:
    """Standard errors of `now`, by the curvature of its likelihood on shares that sum to 1.

    With r_ic = p_ic / learnt_c and m_i = sum_c r_ic now_c, the score is S_c = sum_i r_ic / m_i and
    the information G = sum_i r_i r_i' / m_i^2. A change of log learnt moves the shares by
    G^-1 (G diag(now) - diag(S)), both on the plane of changes that sum to 0.
    """
    k = len(now)
    r = p / learnt
    r /= (r @ now)[:, None]
    information, score = r.T @ r, r.sum(0)
    plane = np.linalg.svd(np.ones((1, k)))[2][1:].T
    inner = plane.T @ (information + np.diag(1 / now**2)) @ plane
    inverse = plane @ np.linalg.solve(inner, plane.T)
    out = np.diag(inverse).copy()
    if len(p_held) > 1:
        moves = inverse @ (information * now - np.diag(score)) / learnt
        out += np.diag(moves @ np.cov(p_held.T) @ moves.T) / len(p_held)
    return np.asarray(np.sqrt(np.maximum(out, 0.0)))
