"""Does the order of the questions matter, and does a session know how good its model is?

Features of `efficientnet-lite0`, which is installed with ilk, of three sets: the 210 photographs of
PACS (7 classes; pool of 140), CIFAR-10 recompressed as JPEG (10 classes; pool of 1,500 of 3,900)
and the letters of notMNIST (10 classes; pool of 1,500 of 3,000). The rest is the test part. A
person who is always right labels the pool in each order, starting from nothing; after 5, 10, 20, 50
and 100 labels the model of the session (Gaussian discriminant analysis) answers for the test part.
Five seeds (0 to 4), each with its own pool, which all orders share. The default order was chosen on
seeds 100 to 103, where margins within clusters fell behind coverage on CIFAR-10 and on letters.

"as ilk label asks" is the default with everything that a session adds: one question in five is a
random one, of the audit. It has the same number of labels in all.

Honesty: 100 sessions of 50 answers per set (seeds 1000 to 1099; pools of 105, 400 and 400). The
interval of the audit slice is compared with the accuracy of the session's model on all images
beyond the pool. Beside it stands what one would read off the images that the model chose: how often
its suggestion was right when they were asked, and how often the model is right on the labels that
it has learned.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import Any

import numpy as np

from benchmarks.claims import Claim, make_table
from benchmarks.labelling import data
from benchmarks.labelling.honesty import Outcome, run_session
from benchmarks.labelling.simulate import BUDGETS, Trial, label_in_order
from benchmarks.runner import summarize
from ilk.core.data import Data
from ilk.core.errors import Unavailable
from ilk.labelling.audit import EVERY
from ilk.labelling.orders import DEFAULT, parse_order

RANDOM, AS_ASKED = "random", "as ilk label asks"
ORDERS = {
    RANDOM: "RandomOrder",
    "k-means centres": "KMeansCentres",
    "MaxHerding": "MaxHerding",
    "MaxHerding, then margins within clusters": "HerdingThenMargin",
    "UncertaintyHerding, the default": DEFAULT,
}
FILES = {
    "k-means centres": ("typiclust", "labelling/orders/kmeans_centres.py"),
    "MaxHerding": ("maxherding", "labelling/orders/max_herding.py"),
    "MaxHerding, then margins within clusters": (
        "cluster-margin",
        "labelling/orders/herding_then_margin.py",
    ),
    "UncertaintyHerding, the default": (
        "uncertainty-herding",
        "labelling/orders/uncertainty_herding.py",
    ),
    AS_ASKED: ("uncertainty-herding", "labelling/session.py"),
}
SEEDS, SESSION_SEED, N_SESSIONS, N_ANSWERS = range(5), 1000, 100, 50
MIN_COVERED = 0.93
SETS: tuple[tuple[str, Callable[[], Data], int, int], ...] = (
    ("photographs of PACS", data.read_photos, 140, 105),
    ("CIFAR-10 as JPEG", data.read_cifar, 1500, 400),
    ("letters of notMNIST", data.read_letters, 1500, 400),
)
Scores = dict[int, dict[str, list[float]]]


def run(small: bool = False) -> dict[str, Any]:
    """Return tables by set and number of labels, and what the sessions knew of themselves."""
    tables: list[dict[str, Any]] = []
    honesty: list[dict[str, Any]] = []
    left_out: list[str] = []
    for name, read, pool, session_pool in [("digits", _read_digits, 150, 100)] if small else SETS:
        try:
            rows = read()
        except Unavailable as error:
            left_out.append(f"{name}: {error}")
            continue
        scores = compare_orders(rows, pool, SEEDS[:2] if small else SEEDS, (5, 20) if small else ())
        tables += [_make_table(name, n, by_order) for n, by_order in scores.items()]
        seeds = range(SESSION_SEED, SESSION_SEED + (4 if small else N_SESSIONS))
        outcomes = [run_session(rows, session_pool, 20 if small else N_ANSWERS, s) for s in seeds]
        honesty.append({"set": name, **summarize_outcomes(outcomes)})
    result = {"tables": tables, "honesty": honesty, "left out": left_out}
    return result if small else {**result, "bars missed": _list_missed(tables, honesty)}


def _list_missed(tables: Sequence[Any], honesty: Sequence[Any]) -> list[str]:
    """Return what falls short: 50 labels in the asked order against random, and the coverage."""
    missed = []
    for table in tables:
        if table["setting"].endswith(" 50 labels"):
            claim = next(c for c in table["claims"] if c["method"] == AS_ASKED)
            if claim["difference"]["mean"] <= 0:
                missed.append(f"{table['setting']}: as asked is no better than random")
    for one in honesty:
        if one["audit"]["covered"] < MIN_COVERED * one["sessions"]:
            missed.append(f"{one['set']}: {one['audit']['covered']} of {one['sessions']} covered")
    return missed


def compare_orders(
    rows: Data, pool: int, seeds: Sequence[int], budgets: Sequence[int] = ()
) -> Scores:
    """Return the accuracy on the test part by number of labels, order and seed."""
    budgets = budgets or BUDGETS
    scores: Scores = {n: {} for n in budgets}
    for seed in seeds:
        trial = Trial.draw(rows, pool, seed)
        curves = {
            name: label_in_order(trial, parse_order(order), seed, budgets)
            for name, order in ORDERS.items()
        }
        curves[AS_ASKED] = label_in_order(
            trial, parse_order(DEFAULT), seed, budgets, audit=lambda i: i % EVERY == EVERY - 1
        )
        for name, curve in curves.items():
            for n in budgets:
                scores[n].setdefault(name, []).append(curve[n])
    return scores


def _make_table(name: str, n: int, scores: dict[str, list[float]]) -> dict[str, Any]:
    claims = [Claim(*FILES[order], order, RANDOM) for order in scores if order != RANDOM]
    return make_table(f"{name}, {n} labels", "test accuracy", scores, claims)


def summarize_outcomes(outcomes: Sequence[Outcome]) -> dict[str, Any]:
    """Return how often the intervals hold the true accuracy, and how far the estimates are off."""
    truth = np.array([outcome.truth for outcome in outcomes])

    def compare(intervals: Sequence[Any]) -> dict[str, Any]:
        low, high = (np.array([getattr(i, side) for i in intervals]) for side in ("low", "high"))
        value = np.array([interval.value for interval in intervals])
        return {
            "covered": int(np.sum((low <= truth) & (truth <= high))),
            "difference": summarize((value - truth).tolist()),
            "mean_width": float(np.mean(high - low)),
        }

    audits = [outcome.audit for outcome in outcomes]
    return {
        "sessions": len(outcomes),
        "accuracy": summarize(truth.tolist()),
        "mean_audited": float(np.mean([audit.n for audit in audits])),
        "audit": compare([audit.accuracy for audit in audits]),
        "suggestions on chosen images": compare([outcome.naive for outcome in outcomes]),
        "model on its own labels": compare([outcome.refitted for outcome in outcomes]),
        "mean_confidence": float(np.mean([audit.confidence for audit in audits])),
    }


def _read_digits() -> Data:
    """Return scikit-learn's digits, for a run of seconds."""
    from benchmarks.datasets import read_digits

    return read_digits().take(np.arange(0, 1797, 4))
