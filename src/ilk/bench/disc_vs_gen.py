"""Naive Bayes against logistic regression on frozen features: at how many labels do they cross?

The catalogue's row disc-vs-gen-naive-bayes (arXiv 2302.02334). Error on a fixed test part over m
training rows, drawn anew (until every class is in) for each m and draw, scaled to [0, 1] on those
m rows alone. `as the paper` is naive Bayes with one variance for all classes and no floor, against
logistic regression at C = 1; at few rows that comparison is partly one of penalties, so `C chosen`
(by cross-validation inside the m rows) stands beside it, with naive Bayes as it comes (`floored`),
naive Bayes with a variance a class (scikit-learn's) and GDA with a shrunk covariance as controls.

The crossing m* parts the m at which naive Bayes has less error from those at which it has more:
where the area between the mean curves over ln m, summed from the left, is greatest. Its interval
is 95 % of 1,000 resamples of the draws; null is below the least m or above the greatest. Draws
share a pool, so those of the greatest m overlap, and intervals there are too narrow. Features:
digits as pixels, as oriented gradients, and through a random convolution (the control); test
pictures of cifar10_jpeg, some learnt from and others tested, through the ImageNet network in the
shared weights.
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

from ilk.bench.gda_clip import digits, pictures
from ilk.data import Data, Features, Labels
from ilk.encoders.hog import Hog
from ilk.errors import Unavailable
from ilk.methods.gda import GDA
from ilk.methods.logistic_regression import LogisticRegression
from ilk.methods.naive_bayes import NaiveBayes

Images = NDArray[np.uint8]
Values = NDArray[np.float64]

PER_CLASS = "naive Bayes, a variance a class"
METHODS: dict[str, Any] = {
    "naive Bayes": NaiveBayes(floor=0.0),
    "naive Bayes, floored": NaiveBayes(),
    PER_CLASS: None,
    "GDA": GDA(),
    "logistic regression, C = 1": LogisticRegression(C=1.0),
    "logistic regression, C chosen": LogisticRegression(),
}
PAIRS = {
    "as the paper": ("naive Bayes", "logistic regression, C = 1"),
    "C chosen": ("naive Bayes", "logistic regression, C chosen"),
    "floored, C chosen": ("naive Bayes, floored", "logistic regression, C chosen"),
    "GDA, C chosen": ("GDA", "logistic regression, C chosen"),
}
PICTURES = "cifar10_jpeg, mobilenetv2"
GRID = (20, 50, 100, 200, 500, 1000, 2000)
DRAWS, RESAMPLES = 10, 1000
POOL, TEST = 300, 150  # pictures a class to draw from, and to test on, on average


@dataclass(frozen=True, eq=False)
class Split:
    """Rows to draw from and rows to test on, fixed for all draws."""

    x: Features
    y: Labels
    test_x: Features
    test_y: Labels


def run(small: bool = False) -> dict[str, Any]:
    """Curves and crossings; `small` takes pixels of digits and three draws."""
    told: dict[str, Any] = {}
    plots = []
    grid, draws = ((20, 100, 500), 3) if small else (GRID, DRAWS)
    for name, split in splits(small):
        told[name], curves = study(split, [m for m in grid if m <= 0.8 * len(split.y)], draws)
        plots.append(_curves_plot(name, told[name], curves))
    if not small and PICTURES not in told:
        told["left out"] = "cifar10_jpeg or the network's weights are not there"
    return {**told, "plots": plots}


def splits(small: bool) -> Iterator[tuple[str, Split]]:
    """Every set of features by its name; those of one source have the same rows to test on."""
    x, y = digits()
    images = np.rint(x * 255 / 16).astype(np.uint8).reshape(-1, 1, 8, 8)
    yield "digits, pixels", _split(x, y, 1297)
    if small:
        return
    yield "digits, hog", _split(gradients(images), y, 1297)
    yield "digits, random convolution", _split(convolved(images), y, 1297)
    with suppress(Unavailable):
        x, y = pictures(POOL + TEST)
        yield PICTURES, _split(x, y, len(y) * POOL // (POOL + TEST))


def _split(x: Features, y: Labels, n: int) -> Split:
    order = np.random.default_rng(0).permutation(len(y))
    pool, test = order[:n], order[n:]
    return Split(x[pool], y[pool], x[test], y[test])


def gradients(images: Images) -> Features:
    """324 features of oriented gradients, of grey images `[n, 1, h, w]`."""
    encoder = Hog(32)
    prepared = [encoder.prepare(Image.fromarray(i).convert("RGB")) for i in images[:, 0]]
    return encoder.embed(np.stack(prepared))


def convolved(images: Images, window: int = 3, filters: int = 128) -> Features:
    """512 features that were never trained: random filters, rectified, means of four quarters."""
    weight = np.random.default_rng(0).standard_normal((window**2, filters), np.float32)
    seen = sliding_window_view(images[:, 0] / np.float32(127.5) - 1, (window, window), (1, 2))
    n, high, wide = seen.shape[:3]
    maps = np.maximum(seen.reshape(n, high, wide, -1) @ weight, 0)
    quarters = maps.reshape(n, 2, high // 2, 2, wide // 2, filters).mean((2, 4))
    return np.asarray(quarters.reshape(n, -1), np.float32)


def study(split: Split, grid: list[int], draws: int) -> tuple[dict[str, Any], dict[str, Values]]:
    """Curves and crossings of one set; and errors `[draws, grid]` of each method."""
    found = np.array([[errors(split, m, seed) for m in grid] for seed in range(draws)])
    curves = {name: found[:, :, i] for i, name in enumerate(METHODS)}
    records = [
        {"m": m, **{name: spread(curve[:, i]) for name, curve in curves.items()}}
        for i, m in enumerate(grid)
    ]
    crossings = [
        {"pair": pair, **crossed(grid, curves[other] - curves[one])}
        for pair, (one, other) in PAIRS.items()
    ]
    told = {
        "features": split.x.shape[1],
        "tested": len(split.test_y),
        "draws": draws,
        "error": records,
        "crossing": crossings,
    }
    return told, curves


def errors(split: Split, m: int, seed: int) -> list[float]:
    """Test error of each method on one draw of m rows."""
    from sklearn.naive_bayes import GaussianNB
    from sklearn.preprocessing import MinMaxScaler

    rows = drawn(split.y, m, seed)
    scaler = MinMaxScaler().fit(split.x[rows])  # never on rows that are not learnt from
    x, test = scaler.transform(split.x[rows]), scaler.transform(split.test_x)
    data = Data(x, split.y[rows], tuple(map(str, range(int(split.y.max()) + 1))))
    answers = [
        GaussianNB().fit(x, data.y).predict(test)
        if method is None
        else method.fit(data).logits(test).argmax(1)
        for method in METHODS.values()
    ]
    return [float(np.mean(answer != split.test_y)) for answer in answers]


def drawn(y: Labels, m: int, seed: int) -> NDArray[np.int64]:
    """m different rows, drawn again until every class is among them."""
    rng, k = np.random.default_rng([seed, m]), len(np.unique(y))
    while len(np.unique(y[rows := rng.permutation(len(y))[:m]])) < k:
        pass
    return rows


def crossed(grid: list[int], gap: Values) -> dict[str, Any]:
    """m* and its interval, of how much better the first of a pair is, `[draws, grid]`."""
    rng = np.random.default_rng(0)
    again = (gap[rng.integers(0, len(gap), len(gap))].mean(0) for _ in range(RESAMPLES))
    found = np.array([crossing(grid, mean) for mean in again])
    low, high = np.quantile(found, (0.025, 0.975), method="inverted_cdf")
    m = crossing(grid, gap.mean(0))
    mean = gap.mean(0)
    ahead = "first, then second" if 0 < m < np.inf else "now one, now the other"
    if (mean >= 0).all() or (mean <= 0).all():
        ahead = f"{'first' if (mean >= 0).all() else 'second'} at every m"
    return {
        "m*": _inside(m),
        "low": _inside(low),
        "high": _inside(high),
        "ahead": ahead,
        "first's lead at the least m": spread(gap[:, 0]),
        "at the greatest m": spread(gap[:, -1]),
    }


def crossing(grid: list[int], gap: Values) -> float:
    """Where `gap` `[grid]`, summed over ln m from the left, is greatest: 0 and inf are the ends."""
    at, best, most, area = np.log(grid), 0.0, 0.0, 0.0
    for i in range(len(gap) - 1):
        one, two, step = float(gap[i]), float(gap[i + 1]), at[i + 1] - at[i]
        if one > 0 >= two:
            part = one / (one - two) * step
            if area + one * part / 2 > most:
                best, most = float(np.exp(at[i] + part)), area + one * part / 2
        area += (one + two) / 2 * step
    return np.inf if area > most else best


def _inside(m: float) -> float | None:
    return round(float(m), 1) if 0 < m < np.inf else None


def spread(values: Values) -> dict[str, float]:
    """Mean and the half width of its 95 % interval (Student)."""
    from scipy.stats import t

    n = len(values)
    half = float(t.ppf(0.975, n - 1) * np.std(values, ddof=1) / np.sqrt(n)) if n > 1 else 0.0
    return {"mean": round(float(np.mean(values)), 5), "half_width": round(half, 5)}


def points(records: list[dict[str, Any]], x: str, y: str) -> list[list[float]]:
    """Records as points of a plot, with their intervals."""
    spreads = [(row[x], row[y]["mean"], row[y]["half_width"]) for row in records]
    return [[at, mean, mean - half, mean + half] for at, mean, half in spreads]


def _curves_plot(name: str, told: dict[str, Any], curves: dict[str, Values]) -> dict[str, Any]:
    found = {row["pair"]: row["m*"] for row in told["crossing"][:2]}
    return {
        "file": f"disc_vs_gen-{name.replace(', ', '-').replace(' ', '-')}.svg",
        "kind": "lines",
        "title": f"{name}: error over training rows, mean and 95 % interval",
        "x": "training rows m",
        "y": "test error",
        "series": {method: points(told["error"], "m", method) for method in curves},
        "log_x": True,
        "marks": {f"m* {pair}: {m:.0f}": m for pair, m in found.items() if m},
    }
