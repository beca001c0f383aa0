"""What does the choice of a classifier cost once images are encoded?

Each step of a fit against the plain way to compute the same (`before.py`), in turn and in one
process, with the difference of the results; what a new process imports; a whole leaderboard of the
default methods with calibration and out-of-distribution scores; and the time and peak memory of
one at 100,000 x 768 with 100 classes, in a process of its own.
"""

from __future__ import annotations

import json
import subprocess
import sys
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from functools import partial
from pathlib import Path
from statistics import median
from typing import Any

import numpy as np

from benchmarks.fit_cost import before
from benchmarks.fit_cost.worlds import make_features
from ilk.core.data import Data
from ilk.fitting.model_selection import rank_candidates
from ilk.maths.logistic_regression import PENALTY_PATH
from ilk.maths.pca import fit_pca
from ilk.maths.softmax_regression import CurvatureHistory, SoftmaxRegressions
from ilk.methods import list_methods
from ilk.methods.gda import GDA
from ilk.methods.k_nearest import EXTRA_CANDIDATES, Neighbours
from ilk.methods.nearest_mean import NearestClassMean
from ilk.methods.ridge import ALPHAS, _Problem
from ilk.protocols import stratified_folds
from ilk.trust.calibration import Calibration
from ilk.trust.out_of_distribution import cross_validate_scores, fit_gaussian

ROUNDS = 3
Timed = tuple[float, Any]


def run(small: bool = False) -> dict[str, Any]:
    """Measure steps, imports, a leaderboard, and a large leaderboard."""
    few = (120, 160, 4) if small else (1000, 1280, 10)
    many_classes = (150, 160, 15) if small else (1000, 1280, 100)
    many_rows = (600, 32, 4) if small else (20_000, 768, 10)
    large = (1200, 48, 6) if small else (100_000, 768, 100)
    return {
        "steps": [
            *_compare_steps(make_features(*few)),
            *_compare_searches(make_features(*few)),
            *_compare_searches(make_features(*many_classes, distance=0.6)),
            *_compare_many_rows(make_features(*many_rows)),
        ],
        "import": _measure_import(),
        "leaderboard": _measure_leaderboard(make_features(*few)),
        "large": measure_large(*large),
    }


def _compare(
    name: str, data: Data, old: Callable[[], Any], new: Callable[[], Any], difference: Any
) -> dict[str, Any]:
    """Time two ways in turn, and return the medians, their ratio and the difference of results."""
    seconds = [(_time(old), _time(new)) for _ in range(ROUNDS)]
    (_, was), (_, now) = seconds[-1]
    return {
        "step": name,
        "rows, features, classes": [*data.x.shape, data.k],
        "seconds_before": round(median(a[0] for a, _ in seconds), 4),
        "seconds": round(median(b[0] for _, b in seconds), 4),
        "times_faster": round(median(a[0] / b[0] for a, b in seconds), 2),
        "difference": float(f"{difference(was, now):.2g}"),
    }


def _time(call: Callable[[], Any]) -> Timed:
    start = time.perf_counter()
    result = call()
    return time.perf_counter() - start, result


def _relative(was: Any, now: Any) -> float:
    return float(np.max(np.abs(np.asarray(was) - now)) / np.mean(np.abs(was)))


def _compare_steps(data: Data) -> list[dict[str, Any]]:
    """Compare what a fold computes with fewer rows than features."""
    n = len(data) // 5
    test, train = data.take(np.arange(n)), data.take(np.arange(n, len(data)))
    fold = np.where(np.arange(len(data)) < n, 0, -1)
    centre = train.x.mean(0)
    model = Neighbours(train.x - centre, train.y, centre, 1, train.k)
    k = min(50, len(train) - 1)
    return [
        _compare(
            "out-of-distribution scores of a fold",
            train,
            lambda: before.score_unknown(train, test.x),
            lambda: cross_validate_scores(data, fold)[:n],
            _relative,
        ),
        _compare(
            "Gaussian discriminant analysis",
            train,
            lambda: _centre(before.fit_gda(train).logits(test.x)),
            lambda: _centre(GDA().fit(train).logits(test.x)),
            _relative,
        ),
        _compare(
            f"{k} nearest neighbours of each row",
            train,
            lambda: before.find_nearest(
                model.rows, model.rows, k, min(len(train), k + EXTRA_CANDIDATES)
            ),
            lambda: model.find_nearest(train.x, k),
            lambda was, now: np.mean(was != now),
        ),
    ]


def _centre(logits: Any) -> Any:
    return logits - logits.mean(1, keepdims=True)


def _compare_searches(data: Data) -> list[dict[str, Any]]:
    """Compare the choice of a penalty by ridge and by logistic regression."""
    x, y = data.x, data.y
    pca = fit_pca(x, np.float32)
    scale = np.float32(np.sqrt(pca.eigenvalues.sum() / x.size))
    scores = np.hstack([pca.scores / scale, np.ones((len(x), 1), np.float32)])
    masks = stratified_folds(y, 5) != np.arange(5)[:, None]
    problem = SoftmaxRegressions.from_masks(scores, y, masks)
    return [
        _compare(
            "penalty of ridge",
            data,
            lambda: before.choose_ridge(data, ALPHAS),
            lambda: _choose_ridge(data),
            _relative,
        ),
        _compare(
            "penalty path of logistic regression",
            data,
            lambda: before.walk_path(problem),
            lambda: _walk_path(problem),
            lambda was, now: abs(np.log10(was / now)),
        ),
    ]


def _choose_ridge(data: Data) -> float:
    problem = _Problem.from_data(data)
    return problem.find_least_error(problem.eigenvalues.mean() * ALPHAS)


def _walk_path(problem: SoftmaxRegressions) -> float:
    from ilk.maths import logistic_regression as module

    history = CurvatureHistory()
    thetas, losses = problem.init_parameters(), list[float]()
    for strength in PENALTY_PATH:
        thetas, loss = problem.solve(thetas, 1 / strength, module.PATH_TOLERANCE, history)
        losses.append(loss)
        if loss > module.STOP_RATIO * min(losses):
            break
    return float(PENALTY_PATH[np.argmin(losses)])


def _compare_many_rows(data: Data) -> list[dict[str, Any]]:
    """Compare what grows with the number of rows."""
    return [
        _compare(
            "nearest class mean",
            data,
            lambda: before.fit_nearest_mean(data),
            lambda: NearestClassMean().fit(data).inverse_temperature,
            _relative,
        ),
        _compare(
            "penalty of ridge",
            data,
            lambda: before.choose_ridge(data, ALPHAS),
            lambda: _choose_ridge(data),
            _relative,
        ),
    ]


def _measure_import() -> dict[str, Any]:
    """Time processes that import the classifier, with and without what was imported with it."""
    scipy = "import scipy.special, scipy.optimize, scipy.linalg, scipy.sparse; "
    statements = {
        "python": "pass",
        "ilk.artifacts.classifier": "import ilk.artifacts.classifier",
        "with scipy, as before": f"{scipy}import ilk.artifacts.classifier",
    }
    times: dict[str, list[float]] = {name: [] for name in statements}
    for _ in range(5):
        for name, statement in statements.items():
            command = [sys.executable, "-c", statement]
            times[name].append(_time(partial(subprocess.run, command, check=True))[0])
    return {"seconds": {name: round(median(values), 3) for name, values in times.items()}}


def _list_default_methods() -> list[Any]:
    """Return the default methods of an encoder that does not embed text."""
    defaults = (m for m in list_methods().values() if m.default_candidate)
    return [m() for m in defaults if not (m.needs_class_embeddings or m.needs_class_scores)]


def _measure_leaderboard(data: Data) -> dict[str, Any]:
    """Time the default leaderboard and what follows it, after a first one that imports things."""
    rank_candidates({"features": data.take(np.arange(40))}, {"features": _list_default_methods()})
    times = {}
    times["cross-validation"], board = _time(
        lambda: rank_candidates({"features": data}, {"features": _list_default_methods()})
    )
    assert board.out_of_fold is not None
    logits = board.out_of_fold.logits
    times["unknown scores"] = _time(lambda: cross_validate_scores(data, board.fold))[0]
    times["unknown detector"] = _time(lambda: fit_gaussian(data))[0]
    times["calibration"] = _time(lambda: Calibration.fit(logits, data.y))[0]
    times["winner"] = _time(lambda: board.winner[1].fit(data))[0]
    return {
        "rows, features, classes": [*data.x.shape, data.k],
        "seconds": {name: round(s, 3) for name, s in times.items()},
        "seconds_in_all": round(sum(times.values()), 2),
        "methods": {r.method: round(r.seconds, 3) for r in board.results},
    }


def measure_large(n: int, d: int, k: int) -> dict[str, Any]:
    """Return the seconds and the peak memory of a large leaderboard in a process of its own."""
    code = "import sys; from benchmarks.fit_cost.run import print_large; print_large(*sys.argv[1:])"
    command = [sys.executable, "-c", code, str(n), str(d), str(k)]
    done = subprocess.run(command, check=True, capture_output=True, text=True)
    return dict(json.loads(done.stdout.splitlines()[-1]))


def print_large(n: str, d: str, k: str) -> None:
    """Run a leaderboard of the default methods and print its cost as JSON.

    The peak counts from what the process holds before the features are made, so that the features
    themselves are part of it.
    """
    few = make_features(60, int(d), 3)
    rank_candidates({"features": few}, {"features": _list_default_methods()})
    baseline = _read_status("VmRSS")
    data = make_features(int(n), int(d), int(k), distance=0.6)
    size, methods = data.x.nbytes, _list_default_methods()
    peaks, started_at = dict[str, float](), time.perf_counter()

    def note_peak(name: str) -> None:
        peaks[name] = round((_read_status("VmHWM") - baseline) / size, 2)

    progress = _follow_methods([type(m).__name__ for m in methods], note_peak)
    board = rank_candidates({"features": data}, {"features": methods}, progress=progress)
    seconds = time.perf_counter() - started_at
    unknown_seconds = _time(lambda: cross_validate_scores(data, board.fold))[0]
    note_peak("unknown scores")
    result = {
        "rows, features, classes": [*data.x.shape, data.k],
        "features_megabytes": round(size / 2**20, 1),
        "seconds": round(seconds, 1),
        "seconds_unknown_scores": round(unknown_seconds, 1),
        "peak_over_features": max(peaks.values()),
        "peak_over_features_after": peaks,
        "methods": {
            r.method: {"seconds": round(r.seconds, 1), "note": r.note} for r in board.results
        },
    }
    print(json.dumps(result))


def _follow_methods(names: list[str], note_peak: Callable[[str], None]) -> Any:
    """Return a progress that notes the peak memory after the last fold of each method."""

    @contextmanager
    def progress(_: str, total: int) -> Iterator[Callable[[int], None]]:
        n_done, per_method = 0, total // len(names)

        def advance(n: int) -> None:
            nonlocal n_done
            n_done += n
            if n_done % per_method == 0:
                note_peak(names[n_done // per_method - 1])

        yield advance

    return progress


def _read_status(field: str) -> int:
    """Return a field of /proc/self/status in bytes; 0 where there is none."""
    status = Path("/proc/self/status")
    lines = status.read_text().splitlines() if status.exists() else []
    return next((int(x.split()[1]) * 1024 for x in lines if x.startswith(field)), 0)
