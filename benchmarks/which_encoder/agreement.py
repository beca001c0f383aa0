"""Tables of the agreement of encoder scores with the accuracy of the encoders."""

from __future__ import annotations

import time
from collections.abc import Callable, Mapping, Sequence
from functools import partial
from typing import Any

import numpy as np
import sklearn.covariance  # noqa: F401  (imported here so that no score is timed with it)
from numpy.typing import NDArray

from benchmarks.claims import Claim, make_table
from benchmarks.encoder_zoo import N_AXES, CandidateEncoder
from benchmarks.runner import summarize
from benchmarks.small_networks import fine_tune, predict_proba
from ilk.core.data import Data
from ilk.maths.pca import fit_pca
from ilk.methods.k_nearest import KNearest
from ilk.methods.logistic_regression import LogisticRegression
from ilk.protocols import cross_validation_steps, stratified_folds
from ilk.ranking import h_score, leep, logme, nce, rank_correlation, tmi

N_TRAIN, N_TEST = 600, 1000
N_RESAMPLES = 500  # of encoders, for the bootstrap
ENTRY, FILE = "tmi-intraclass-variance", "ranking/tmi.py"
TMI, TMI_FLOORED, TMI_COMMON_AXES = "TMI", "TMI, floor 1", "TMI, common axes"
TMI_NEGATED = "TMI, common axes, negated"
BASELINES = ("LogME", "H-score", "kNN accuracy", "feature dimension")


Column = list[float | None]


def score_encoders(
    encoders: Sequence[CandidateEncoder], data: Data, seed: int, with_tuning: bool = True
) -> dict[str, Column]:
    """Return each score, accuracy and time with one entry per encoder.

    Networks are fine-tuned only `with_tuning`, which takes most of the time.
    """
    rows = np.random.default_rng(seed).permutation(len(data))
    train_data, test_data = data.take(rows[:N_TRAIN]), data.take(rows[N_TRAIN : N_TRAIN + N_TEST])
    embedded = [Data(e.embed(train_data.x), train_data.y, train_data.classes) for e in encoders]
    width = min(N_AXES, *(len(fit_pca(data.x).eigenvalues) for data in embedded))
    columns: dict[str, Column] = {}
    for encoder, data in zip(encoders, embedded, strict=True):
        values = _compute_scores(data, width, seed) | _measure_accuracies(
            encoder, data, train_data, test_data, seed if with_tuning else None
        )
        values |= {"feature dimension": data.x.shape[1], "parameters": encoder.n_parameters}
        for name, value in values.items():
            columns.setdefault(name, []).append(value)
    return columns


def _measure_accuracies(
    encoder: CandidateEncoder, features: Data, train_data: Data, test_data: Data, seed: int | None
) -> dict[str, float | None]:
    """Return the accuracies of an encoder, and the scores that read its own classifier.

    Without a seed its network is not fine-tuned.
    """
    start = time.perf_counter()
    model = LogisticRegression().fit(features)
    seconds = time.perf_counter() - start
    is_correct = model.logits(encoder.embed(test_data.x)).argmax(1) == test_data.y
    figures: dict[str, float | None] = {"LEEP": None, "NCE": None, "fine-tuned": None}
    figures |= {"seconds logistic regression": seconds, "frozen": float(np.mean(is_correct))}
    if (net := encoder.network) is not None:
        p = predict_proba(net, train_data.x)
        figures |= {"LEEP": leep.score(p, train_data.y), "NCE": nce.score(p, train_data.y)}
        if seed is not None:
            figures["fine-tuned"] = fine_tune(net, train_data, test_data, seed)
    return figures


def _compute_scores(features: Data, width: int, seed: int) -> dict[str, float | None]:
    """Return the scores that read features, and their times."""
    x, y = np.asarray(features.x), features.y
    scorers: dict[str, Callable[[], float]] = {
        TMI: partial(tmi.score, x, y),
        TMI_FLOORED: partial(tmi.score, x, y, floor=1.0),
        TMI_COMMON_AXES: partial(tmi.score, x, y, width=width),
        "LogME": partial(logme.score, x, y),
        "H-score": partial(h_score.score, x, y),
        "kNN accuracy": partial(_knn_accuracy, features, seed),
    }
    scores: dict[str, float | None] = {}
    for name, compute in scorers.items():
        start = time.perf_counter()
        scores[name] = compute()
        scores[f"seconds {name}"] = time.perf_counter() - start
    return scores | {TMI_NEGATED: -float(scores[TMI_COMMON_AXES] or 0.0)}


def _knn_accuracy(features: Data, seed: int) -> float:
    """Return the accuracy of five neighbours from other folds."""
    fold = stratified_folds(features.y, 5, seed)
    is_correct = [
        KNearest(k=5).fit(step.train).logits(step.test.x).argmax(1) == step.test.y
        for step in cross_validation_steps(features, fold)
    ]
    return float(np.mean(np.concatenate(is_correct)))


def select_encoders(columns: Mapping[str, Column], indices: Sequence[int]) -> dict[str, Column]:
    """Return the columns of the encoders at `indices` only."""
    return {name: [column[i] for i in indices] for name, column in columns.items()}


def _list_predictors(columns: Mapping[str, Column]) -> list[str]:
    """Return the columns without gaps that are not constant."""
    names = [n for n in columns if n not in ("frozen", "fine-tuned") and "seconds" not in n]
    return [n for n in names if None not in columns[n] and len(set(columns[n])) > 1]


def _kendall_tau(columns: Mapping[str, Column], name: str, truth: str) -> float:
    tau = rank_correlation(_drop_missing(columns[name]), _drop_missing(columns[truth]))
    return 0.0 if tau is None else tau  # a constant score predicts nothing


def _drop_missing(column: Column) -> list[float]:
    """Drop a column that has gaps."""
    return [float(value) for value in column if value is not None]


def tabulate_tau(
    setting: str,
    results: Mapping[str, list[dict[str, Column]]],
    truth: str,
    with_claims: bool = True,
) -> dict[str, Any]:
    """Make a table of the tau of each score per seed, averaged over targets, with TMI's claims."""
    by_seed = list(zip(*results.values(), strict=True))
    names = _list_predictors(by_seed[0][0])
    scores = {
        name: [float(np.mean([_kendall_tau(f, name, truth) for f in each])) for each in by_seed]
        for name in names
    }
    claims = [
        Claim(ENTRY, FILE, ours, baseline)
        for ours in (TMI, TMI_FLOORED)
        for baseline in BASELINES
        if with_claims and ours in names and baseline in names
    ]
    return make_table(setting, f"Kendall's tau with {truth} accuracy", scores, claims)


def bootstrap(results: Mapping[str, list[dict[str, Column]]], truth: str) -> dict[str, Any]:
    """Return the mean tau over targets and its 95 % range over resampled encoders."""
    first = next(iter(results.values()))[0]
    n, rng = len(first[truth]), np.random.default_rng(0)
    draws = rng.integers(0, n, (N_RESAMPLES, n))
    intervals = {}
    for name in _list_predictors(first):
        taus = []
        for by_seed in results.values():
            a, b = (np.mean([_drop_missing(f[c]) for f in by_seed], axis=0) for c in (name, truth))
            taus.append([_fast_kendall_tau(a[at], b[at]) for at in (np.arange(n), *draws)])
        mean = np.mean(taus, axis=0)
        low, high = np.percentile(mean[1:], (2.5, 97.5))
        intervals[name] = {"tau": float(mean[0]), "low": float(low), "high": float(high)}
    return intervals


def _fast_kendall_tau(a: NDArray[np.float64], b: NDArray[np.float64]) -> float:
    """Return Kendall's tau-b by all pairs; 0 where one side is constant."""
    p, q = (np.sign(v[:, None] - v) for v in (a, b))
    size = float(np.sqrt(np.sum(p**2) * np.sum(q**2)))
    return float(np.sum(p * q)) / size if size else 0.0


def tabulate_times(results: Mapping[str, list[dict[str, Column]]]) -> dict[str, Any]:
    """Tabulate the seconds of each score relative to tuned logistic regression."""
    by_seed = list(zip(*results.values(), strict=True))
    names = [n for n in by_seed[0][0] if n.startswith("seconds")]
    seconds = {
        n.removeprefix("seconds "): [float(np.sum([f[n] for f in each])) for each in by_seed]
        for n in names
    }
    regression = seconds.pop("logistic regression")
    ratio = {n: [s / r for s, r in zip(v, regression, strict=True)] for n, v in seconds.items()}
    setting, metric = "all targets and encoders", "seconds relative to logistic regression"
    baselines = [n for n in ("kNN accuracy", "LogME") if n in ratio]
    return make_table(
        setting, metric, ratio, [Claim(ENTRY, FILE, TMI, n) for n in baselines], "lower"
    )


def list_encoders(
    encoders: Sequence[CandidateEncoder], results: Mapping[str, list[dict[str, Column]]]
) -> list[dict[str, Any]]:
    """Return each encoder with its mean accuracy on each target."""
    return [
        {
            "encoder": encoder.name,
            "features": results[next(iter(results))][0]["feature dimension"][i],
            "parameters": encoder.n_parameters,
            **{
                truth: {
                    name: summarize([float(f[truth][i] or 0) for f in by_seed])["mean"]
                    for name, by_seed in results.items()
                    if by_seed[0][truth][i] is not None
                }
                for truth in ("frozen", "fine-tuned")
            },
        }
        for i, encoder in enumerate(encoders)
    ]
