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
digits as pixels, as oriented gradients, through a random convolution (the control); cifar10_jpeg
through the ImageNet network in the shared weights, as gradients and through a random convolution.

The simulation draws Gaussian classes at -1, 1, 2 in each of n features, half with variance n and
half with 1, and reports m at which the error comes within 0.01 of Bayes, and the power of n that
it grows with: near 0 where m is logarithmic in n, near 1 where it is linear.
"""

from __future__ import annotations

import tarfile
from collections.abc import Iterator
from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.lib.stride_tricks import sliding_window_view
from numpy.typing import NDArray

from ilk.bench import shared
from ilk.data import Data, Features, Labels
from ilk.encoders import resolve
from ilk.encoders.hog import Hog
from ilk.errors import Unavailable
from ilk.images import decode
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
SIMULATED = ("naive Bayes", "logistic regression, C = 1", "logistic regression, C chosen")
GRID = (20, 50, 100, 200, 500, 1000, 2000)
DRAWS, RESAMPLES, NEAR = 10, 1000, 0.01
POOL, TEST = 300, 150  # images a class of cifar10_jpeg to draw from, and to test on
PARTS = 20_000  # draws of the scores, which make the error of a simulated classifier


@dataclass(frozen=True, eq=False)
class Split:
    """Rows to draw from and rows to test on, fixed for all draws."""

    x: Features
    y: Labels
    test_x: Features
    test_y: Labels


def run(small: bool = False) -> dict[str, Any]:
    """Curves, crossings and the simulation; `small` takes pixels, three draws and few features."""
    told: dict[str, Any] = {}
    plots = []
    grid, draws = ((20, 100, 500), 3) if small else (GRID, DRAWS)
    for name, split in splits(small):
        told[name], curves = study(split, [m for m in grid if m <= 0.8 * len(split.y)], draws)
        plots.append(_curves_plot(name, told[name], curves))
    if not small and "cifar10_jpeg, mobilenetv2" not in told:
        told["left out"] = "cifar10_jpeg or the network's weights are not there"
    widths, repeats = ((16, 32, 64), 2) if small else ((50, 100, 200, 400), 5)
    told["simulation"] = {f"{k} classes": simulation(k, widths, repeats) for k in (2, 3)}
    plots.append(_simulation_plot(told["simulation"]["3 classes"]["needed"]))
    return {**told, "plots": plots}


def splits(small: bool) -> Iterator[tuple[str, Split]]:
    """Every set of features by its name, the same images in each of one source."""
    images, y = digits()
    cut = np.random.default_rng(0).permutation(len(y))
    yield "digits, pixels", _split(images.reshape(len(y), -1), y, cut, 1297)
    if small:
        return
    yield "digits, hog", _split(gradients(images), y, cut, 1297)
    yield "digits, random convolution", _split(convolved(images, 3, 1), y, cut, 1297)
    try:
        (x, y), (test_x, test_y) = pictures("train", POOL), pictures("test", TEST)
        images, y = np.concatenate([x, test_x]), np.concatenate([y, test_y])
        features = embedded(images)
    except Unavailable:
        return
    order = np.arange(len(y))
    yield "cifar10_jpeg, mobilenetv2", _split(features, y, order, len(x))
    yield "cifar10_jpeg, hog", _split(gradients(images), y, order, len(x))
    yield "cifar10_jpeg, random convolution", _split(convolved(images, 6, 2), y, order, len(x))


def _split(x: Any, y: Labels, order: NDArray[np.int64], n: int) -> Split:
    pool, test = order[:n], order[n:]
    x = np.asarray(x, np.float32)
    return Split(x[pool], y[pool], x[test], y[test])


def digits() -> tuple[Images, Labels]:
    """scikit-learn's 1,797 digits, 8 x 8."""
    from sklearn.datasets import load_digits

    x, y = load_digits(return_X_y=True)
    return np.rint(x * 255 / 16).astype(np.uint8).reshape(-1, 1, 8, 8), y


def pictures(part: str, per_class: int) -> tuple[Images, Labels]:
    """The first images of each class of a part of cifar10_jpeg, `[n, 3, 32, 32]`."""
    names: list[str] = []
    images = []
    with tarfile.open(shared("data", "cifar10_jpeg", "cifar10_jpeg.tar.gz")) as archive:
        for member in archive:
            where, _, rest = member.name.partition("/")
            name = rest.partition("/")[0]
            if where != part or not member.isfile() or names.count(name) >= per_class:
                continue
            file = archive.extractfile(member)
            assert file is not None  # a plain file always opens
            names.append(name)
            images.append(np.asarray(decode(file.read())).transpose(2, 0, 1))
    return np.stack(images), np.unique(names, return_inverse=True)[1]


def embedded(images: Images) -> Features:
    """1,280 features of the ImageNet network."""
    encoder = resolve(f"local-dir:{shared('weights', 'mobilenetv2_100.imagenet')}")
    encoder.load()
    return _through(encoder, images)


def gradients(images: Images) -> Features:
    """324 features of oriented gradients."""
    return _through(Hog(32), images)


def _through(encoder: Any, images: Images) -> Features:
    from PIL import Image

    colours = np.broadcast_to(images, (len(images), 3, *images.shape[2:])).transpose(0, 2, 3, 1)
    parts = np.array_split(np.ascontiguousarray(colours), -(-len(images) // encoder.batch))
    return np.concatenate(
        [encoder.embed(np.stack([encoder.prepare(Image.fromarray(i)) for i in p])) for p in parts]
    )


def convolved(images: Images, window: int, stride: int, filters: int = 128) -> Features:
    """512 features that were never trained: random filters, rectified, means of four quarters."""
    weight = np.random.default_rng(0).standard_normal((filters, images.shape[1] * window**2))
    x = images.astype(np.float32) / 127.5 - 1
    seen = sliding_window_view(x, (window, window), (2, 3))[:, :, ::stride, ::stride]
    n, _, high, wide = seen.shape[:4]
    rows = seen.transpose(0, 2, 3, 1, 4, 5).reshape(n, high, wide, -1)
    maps = np.maximum(rows @ weight.T.astype(np.float32), 0)
    halves = maps.reshape(n, 2, high // 2, 2, wide // 2, filters)
    return halves.mean((2, 4)).reshape(n, -1)


def study(split: Split, grid: list[int], draws: int) -> tuple[dict[str, Any], dict[str, Values]]:
    """Curves and crossings of one set; and errors `[draws, grid]` of each method."""
    found = np.array([[errors(split, m, seed) for m in grid] for seed in range(draws)])
    curves = {name: found[:, :, i] for i, name in enumerate(METHODS)}
    records = [
        {"m": m, **{name: _spread(curve[:, i]) for name, curve in curves.items()}}
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
    ahead = {0.0: "second at every m", np.inf: "first at every m"}
    return {
        "m*": _inside(m),
        "low": _inside(low),
        "high": _inside(high),
        "ahead": ahead.get(m, "first, then second"),
        "first's lead at the least m": _spread(gap[:, 0]),
        "at the greatest m": _spread(gap[:, -1]),
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


def simulation(k: int, widths: tuple[int, ...], repeats: int) -> dict[str, Any]:
    """Rows needed at each width, and the power of the width that they grow with."""
    needs = {
        name: np.array([[needed(k, n, METHODS[name], s) for n in widths] for s in range(repeats)])
        for name in SIMULATED
    }
    records = [
        {"n": n, **{name: _spread(need[:, i]) for name, need in needs.items()}}
        for i, n in enumerate(widths)
    ]
    powers = {
        name: _spread(np.polyfit(np.log(widths), np.log(need).T, 1)[0])
        for name, need in needs.items()
    }
    return {"needed": records, "power": powers}


def needed(k: int, n: int, method: Any, seed: int) -> int:
    """Least m, within 5 %, whose first rows of one sample bring the error near Bayes."""
    variance = np.where(np.arange(n) % 2, 1.0, n)
    means = np.array([-1.0, 1.0, 2.0])[:k]
    weight, bias = np.outer(means, 1 / variance), -(means**2) * np.sum(1 / variance) / 2
    limit = true_error(weight, bias, means, variance) + NEAR
    few, many = k, 2 * k
    while true_error(*_learnt(method, means, variance, many, seed), means, variance) > limit:
        few, many = many, 2 * many
    while many - few > max(1, 0.05 * many):
        middle = (few + many) // 2
        near = true_error(*_learnt(method, means, variance, middle, seed), means, variance) <= limit
        few, many = (few, middle) if near else (middle, many)
    return many


def _learnt(
    method: Any, means: Values, variance: Values, m: int, seed: int
) -> tuple[Features, Features]:
    """Weight and bias after the first m rows of a sample that starts with one of each class."""
    k, n = len(means), len(variance)
    labels, noise = (np.random.default_rng([seed, k, n, i]) for i in range(2))
    y = np.concatenate([np.arange(k), labels.integers(0, k, m - k)])
    x = means[y][:, None] + noise.standard_normal((m, n)) * np.sqrt(variance)
    model = method.fit(Data(x.astype(np.float32), y, tuple(map(str, range(k)))))
    return model.weight, model.bias


def true_error(weight: Any, bias: Any, means: Values, variance: Values) -> float:
    """Error of a linear classifier on the Gaussians themselves: its k scores are Gaussian too."""
    weight, k = np.asarray(weight, np.float64), len(means)
    values, vectors = np.linalg.eigh((weight * variance) @ weight.T)
    z = np.random.default_rng(0).standard_normal((PARTS, k))
    noise = z @ (vectors * np.sqrt(np.maximum(values, 0))).T
    centres = np.outer(means, weight.sum(1)) + bias
    return float(np.mean([((c + noise).argmax(1) != i).mean() for i, c in enumerate(centres)]))


def _spread(values: Values) -> dict[str, float]:
    """Mean and the half width of its 95 % interval (Student)."""
    from scipy.stats import t

    n = len(values)
    half = float(t.ppf(0.975, n - 1) * np.std(values, ddof=1) / np.sqrt(n)) if n > 1 else 0.0
    return {"mean": round(float(np.mean(values)), 5), "half_width": round(half, 5)}


def _points(records: list[dict[str, Any]], x: str, y: str) -> list[list[float]]:
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
        "series": {method: _points(told["error"], "m", method) for method in curves},
        "log_x": True,
        "marks": {f"m* {pair}: {m:.0f}": m for pair, m in found.items() if m},
    }


def _simulation_plot(records: list[dict[str, Any]]) -> dict[str, Any]:
    return {
        "file": "disc_vs_gen-simulation.svg",
        "kind": "lines",
        "title": "Rows until within 0.01 of the Bayes error, 3 simulated classes",
        "x": "features n",
        "y": "training rows needed",
        "series": {name: [p[:2] for p in _points(records, "n", name)] for name in SIMULATED},
        "log_x": True,
        "log_y": True,
    }
