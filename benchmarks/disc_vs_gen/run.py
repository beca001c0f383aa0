"""Naive Bayes against logistic regression on frozen features: at how many labels do they cross?

Entry disc-vs-gen-naive-bayes (arXiv 2302.02334). Error on a fixed test part over m training rows,
drawn anew (until every class occurs) for each m and draw, scaled to [0, 1] on those m rows only.
`as in the paper` compares naive Bayes with one variance for all classes and no floor with logistic
regression at C = 1. At few rows that comparison is partly one of penalties, so `tuned C` (by
cross-validation inside the m rows) is added, and as controls naive Bayes with its default variance
floor, naive Bayes with per-class variances (scikit-learn's) and GDA with a shrunk covariance (of
rows as they are, not of unit rows).

The crossing m* separates the m at which naive Bayes has less error from those at which it has more:
it maximises the area between the mean curves over ln m, summed from the left. Its interval is 95 %
of 1,000 resamples of the draws; null means below the smallest m or above the largest. Draws share a
pool, so those of the largest m overlap and intervals there are too narrow. Features: digits as
pixels, as oriented gradients and through a random convolution (the control); test images of
cifar10_jpeg, split into training and test, through the ImageNet network of the shared weights.
"""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import suppress
from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.lib.stride_tricks import sliding_window_view
from numpy.typing import NDArray
from PIL import Image

from benchmarks.gda_clip.few_label_sets import embed_photos, read_digits
from ilk.core.data import Data, Features, Labels
from ilk.core.errors import Unavailable
from ilk.encoders.hog import HogEncoder
from ilk.methods.gda import GDA
from ilk.methods.logistic_regression import LogisticRegression
from ilk.methods.naive_bayes import NaiveBayes

Images = NDArray[np.uint8]
Values = NDArray[np.float64]

PER_CLASS = "naive Bayes, per-class variances"
METHODS: dict[str, Any] = {
    "naive Bayes": NaiveBayes(variance_floor=0.0),
    "naive Bayes, variance floor": NaiveBayes(),
    PER_CLASS: None,
    "GDA": GDA(rows="raw"),
    "logistic regression, C = 1": LogisticRegression(C=1.0),
    "logistic regression, tuned C": LogisticRegression(),
}
PAIRS = {
    "as in the paper": ("naive Bayes", "logistic regression, C = 1"),
    "tuned C": ("naive Bayes", "logistic regression, tuned C"),
    "variance floor, tuned C": ("naive Bayes, variance floor", "logistic regression, tuned C"),
    "GDA, tuned C": ("GDA", "logistic regression, tuned C"),
}
PHOTOS = "cifar10_jpeg, mobilenetv2"
GRID = (20, 50, 100, 200, 500, 1000, 2000)
N_DRAWS, N_RESAMPLES = 10, 1000
POOL_PER_CLASS, TEST_PER_CLASS = (
    300,
    150,
)  # images per class to draw from and to test on, on average


@dataclass(frozen=True, eq=False)
class PoolSplit:
    """Rows to draw from and rows to test on, fixed for all draws."""

    x: Features
    y: Labels
    test_x: Features
    test_y: Labels


def run(small: bool = False) -> dict[str, Any]:
    """Return curves and crossings; `small` takes pixels of digits and three draws."""
    results: dict[str, Any] = {}
    plots = []
    grid, draws = ((20, 100, 500), 3) if small else (GRID, N_DRAWS)
    for name, split in load_splits(small):
        results[name], curves = compare_methods(
            split, [m for m in grid if m <= 0.8 * len(split.y)], draws
        )
        plots.append(_plot_curves(name, results[name], curves))
    if not small and PHOTOS not in results:
        results["left out"] = "cifar10_jpeg or the network's weights are not there"
    return {**results, "plots": plots}


def load_splits(small: bool) -> Iterator[tuple[str, PoolSplit]]:
    """Return every set of features by name; those of one source share their test rows."""
    x, y = read_digits()
    images = np.rint(x * 255 / 16).astype(np.uint8).reshape(-1, 1, 8, 8)
    yield "digits, pixels", _split_rows(x, y, 1297)
    if small:
        return
    yield "digits, hog", _split_rows(compute_hog(images), y, 1297)
    yield "digits, random convolution", _split_rows(convolve_randomly(images), y, 1297)
    with suppress(Unavailable):
        x, y = embed_photos(POOL_PER_CLASS + TEST_PER_CLASS)
        yield (
            PHOTOS,
            _split_rows(x, y, len(y) * POOL_PER_CLASS // (POOL_PER_CLASS + TEST_PER_CLASS)),
        )


def _split_rows(x: Features, y: Labels, n: int) -> PoolSplit:
    order = np.random.default_rng(0).permutation(len(y))
    pool, test = order[:n], order[n:]
    return PoolSplit(x[pool], y[pool], x[test], y[test])


def compute_hog(images: Images) -> Features:
    """Return 324 oriented gradients of grey images `[n, 1, h, w]`."""
    encoder = HogEncoder(32)
    prepared = [encoder.prepare(Image.fromarray(i).convert("RGB")) for i in images[:, 0]]
    return encoder.embed(np.stack(prepared))


def convolve_randomly(images: Images, window: int = 3, filters: int = 128) -> Features:
    """Return 512 untrained features: random filters, rectified, means of four quarters."""
    weight = np.random.default_rng(0).standard_normal((window**2, filters), np.float32)
    windows = sliding_window_view(images[:, 0] / np.float32(127.5) - 1, (window, window), (1, 2))
    n, high, wide = windows.shape[:3]
    maps = np.maximum(windows.reshape(n, high, wide, -1) @ weight, 0)
    quarters = maps.reshape(n, 2, high // 2, 2, wide // 2, filters).mean((2, 4))
    return np.asarray(quarters.reshape(n, -1), np.float32)


def compare_methods(
    split: PoolSplit, grid: list[int], draws: int
) -> tuple[dict[str, Any], dict[str, Values]]:
    """Return curves and crossings of one data set, and errors `[draws, grid]` of each method."""
    all_errors = np.array([[measure_errors(split, m, seed) for m in grid] for seed in range(draws)])
    curves = {name: all_errors[:, :, i] for i, name in enumerate(METHODS)}
    records = [
        {"m": m, **{name: summarize(curve[:, i]) for name, curve in curves.items()}}
        for i, m in enumerate(grid)
    ]
    crossings = [
        {"pair": pair, **estimate_crossing(grid, curves[baseline] - curves[method])}
        for pair, (method, baseline) in PAIRS.items()
    ]
    summary = {
        "features": split.x.shape[1],
        "n_test": len(split.test_y),
        "draws": draws,
        "error": records,
        "crossing": crossings,
    }
    return summary, curves


def measure_errors(split: PoolSplit, m: int, seed: int) -> list[float]:
    """Return the test error of each method on one draw of m rows."""
    from sklearn.naive_bayes import GaussianNB
    from sklearn.preprocessing import MinMaxScaler

    rows = sample_rows(split.y, m, seed)
    scaler = MinMaxScaler().fit(split.x[rows])  # fitted to training rows only
    x, test = scaler.transform(split.x[rows]), scaler.transform(split.test_x)
    data = Data(x, split.y[rows], tuple(map(str, range(int(split.y.max()) + 1))))
    answers = [
        GaussianNB().fit(x, data.y).predict(test)
        if method is None
        else method.fit(data).logits(test).argmax(1)
        for method in METHODS.values()
    ]
    return [float(np.mean(answer != split.test_y)) for answer in answers]


def sample_rows(y: Labels, m: int, seed: int) -> NDArray[np.int64]:
    """Draw m different rows, repeatedly until every class occurs."""
    rng, k = np.random.default_rng([seed, m]), len(np.unique(y))
    while len(np.unique(y[rows := rng.permutation(len(y))[:m]])) < k:
        pass
    return rows


def estimate_crossing(grid: list[int], difference: Values) -> dict[str, Any]:
    """Return m* and its interval from the lead of the first of a pair, `[draws, grid]`."""
    rng = np.random.default_rng(0)
    resampled = (
        difference[rng.integers(0, len(difference), len(difference))].mean(0)
        for _ in range(N_RESAMPLES)
    )
    crossings = np.array([find_crossing(grid, mean) for mean in resampled])
    low, high = np.quantile(crossings, (0.025, 0.975), method="inverted_cdf")
    m = find_crossing(grid, difference.mean(0))
    mean = difference.mean(0)
    winner = "first, then second" if 0 < m < np.inf else "mixed"
    if (mean >= 0).all() or (mean <= 0).all():
        winner = f"{'first' if (mean >= 0).all() else 'second'} at every m"
    return {
        "m*": _finite_or_none(m),
        "low": _finite_or_none(low),
        "high": _finite_or_none(high),
        "ahead": winner,
        "lead of the first at the smallest m": summarize(difference[:, 0]),
        "at the largest m": summarize(difference[:, -1]),
    }


def find_crossing(grid: list[int], difference: Values) -> float:
    """Return the m that maximises the integral of `difference` `[grid]` over ln m, or 0 or inf."""
    at, best, max_area, area = np.log(grid), 0.0, 0.0, 0.0
    for i in range(len(difference) - 1):
        left, right, step = float(difference[i]), float(difference[i + 1]), at[i + 1] - at[i]
        if left > 0 >= right:
            fraction = left / (left - right) * step
            if area + left * fraction / 2 > max_area:
                best, max_area = float(np.exp(at[i] + fraction)), area + left * fraction / 2
        area += (left + right) / 2 * step
    return np.inf if area > max_area else best


def _finite_or_none(m: float) -> float | None:
    return round(float(m), 1) if 0 < m < np.inf else None


def summarize(values: Values) -> dict[str, float]:
    """Return the mean and the half width of its 95 % interval (Student)."""
    from scipy.stats import t

    n = len(values)
    half = float(t.ppf(0.975, n - 1) * np.std(values, ddof=1) / np.sqrt(n)) if n > 1 else 0.0
    return {"mean": round(float(np.mean(values)), 5), "half_width": round(half, 5)}


def make_points(records: list[dict[str, Any]], x: str, y: str) -> list[list[float]]:
    """Return records as points of a plot, with their intervals."""
    spreads = [(row[x], row[y]["mean"], row[y]["half_width"]) for row in records]
    return [[at, mean, mean - half, mean + half] for at, mean, half in spreads]


def _plot_curves(name: str, summary: dict[str, Any], curves: dict[str, Values]) -> dict[str, Any]:
    crossings = {row["pair"]: row["m*"] for row in summary["crossing"][:2]}
    return {
        "file": f"disc_vs_gen-{name.replace(', ', '-').replace(' ', '-')}.svg",
        "kind": "lines",
        "title": f"{name}: error over training rows, mean and 95 % interval",
        "x": "training rows m",
        "y": "test error",
        "series": {method: make_points(summary["error"], "m", method) for method in curves},
        "log_x": True,
        "marks": {f"m* {pair}: {m:.0f}": m for pair, m in crossings.items() if m},
    }
