"""Few labels: Gaussians against nearest mean and logistic regression, with and without zero-shot.

Entry gda-clip-baseline, on frozen features: scikit-learn's digits as pixels, 2,000 images of
cifar10_jpeg through the ImageNet network of the shared weights, and 50 characters of Omniglot, 20
drawings each, through the network that is installed with ilk (without zero-shot: too few rows). 1
to 16 labelled rows per class are drawn six times; test rows, and the rows that the substitute text
comes from, are never trained on. All figures are means with the half width of their 95 % interval
(Student) over the draws; differences are paired by draw.

`rows` are Gaussians on rows as they are, on unit rows (the paper's) and on the directions of unit
rows from their mean; `GDA()` chooses the first or the last from the training rows, and `gain of the
choice` is its accuracy minus that on rows as they are. `precision` is that of unit rows under each
covariance estimate; `any rows and rule` is the form of rows (all three) and the rule
(Kubokawa-Srivastava, OAS or Ledoit-Wolf) with the least log loss of left-out rows together.

No text encoder is available offline. The substitute for the text embedding of a class is the mean
of 30 unit rows of it from a separate part of the data, displaced by noise of one and a half times
the distance between class means: a zero-shot classifier that is mostly right and makes errors of
its own. The augmented copies that the paper counts as rows are left out; so at one shot there is no
covariance, and all precisions are the same sphere.
"""

from __future__ import annotations

import time
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray

from benchmarks.gda_clip.few_label_sets import embed_drawings, embed_photos, read_digits
from ilk.core.contracts import describe
from ilk.core.data import Data, Features, Labels
from ilk.core.errors import Unavailable
from ilk.core.linear_models import normalize_rows
from ilk.maths.covariance import Shrinkage
from ilk.maths.gaussian import RowSpan, compute_statistics
from ilk.maths.unit_discriminant import ROW_FORMS, measure_left_out_loss
from ilk.methods.gda import GDA
from ilk.methods.gda_clip import ALPHAS, GDAZeroShot
from ilk.methods.gda_clip_unlabelled import ZeroShotEM
from ilk.methods.logistic_regression import LogisticRegression
from ilk.methods.naive_bayes import NaiveBayes
from ilk.methods.nearest_mean import NearestClassMean
from ilk.methods.zero_shot import ZeroShot

SHOTS = (1, 2, 4, 8, 16)
DRAWS, FIRST_SEED = 6, 900
POOL_PER_CLASS = 40  # rows per class for shots
TEXT_PER_CLASS = 30  # for text; the rest is for testing
DRAWN_SHOTS = 16  # drawings of a character of Omniglot; the other 4 are for testing
TEXT_NOISE = 1.5
ROUNDS = (1, 2, 5, 10, 20)
CHARACTER_SET = "Omniglot, efficientnet-lite0"
METHODS: tuple[Any, ...] = (
    NearestClassMean(),
    NaiveBayes(),
    GDA(uniform=True),
    LogisticRegression(),
    ZeroShot(),
    GDAZeroShot(),
)


@dataclass(frozen=True, eq=False)
class FewShotDraw:
    """One draw: training rows, test rows, and rows whose labels are hidden."""

    train: Data
    test: Data
    unlabelled: Data


def run(small: bool = False) -> dict[str, Any]:
    """Return every table of each data set; `small` takes digits, two draws and two shots."""
    draws, shots = (2, (1, 4)) if small else (DRAWS, SHOTS)
    results = {"digits": compare_methods(*read_digits(), draws, shots)}
    if not small:
        try:
            results["cifar10_jpeg, mobilenetv2"] = compare_methods(*embed_photos(), draws, shots)
        except Unavailable as missing:
            results["cifar10_jpeg, mobilenetv2"] = {"left out": str(missing)}
        try:
            results[CHARACTER_SET] = compare_on_drawings(*embed_drawings(), draws, shots)
        except Unavailable as missing:
            results[CHARACTER_SET] = {"left out": str(missing)}
    return results


def compare_methods(x: Features, y: Labels, draws: int, shots: tuple[int, ...]) -> dict[str, Any]:
    """Return all tables of one data set."""
    tables = {
        s: [_evaluate_draw(_make_draw(x, y, s, FIRST_SEED + i)) for i in range(draws)]
        for s in shots
    }
    return _describe(x, draws, tables) | {"unlabelled": _evaluate_em(x, y, draws)}


def compare_on_drawings(
    x: Features, y: Labels, draws: int, shots: tuple[int, ...]
) -> dict[str, Any]:
    """Return the table of a data set whose classes have too few rows for zero-shot."""
    tables: dict[int, list[dict[str, float]]] = {s: [] for s in shots}
    data = Data(x, y, tuple(map(str, range(int(y.max()) + 1))))
    for i in range(draws):
        order = np.random.default_rng(FIRST_SEED + i).permutation(len(y))
        by_class = [order[y[order] == c] for c in range(data.k)]
        test = data.take(np.concatenate([rows[DRAWN_SHOTS:] for rows in by_class]))
        for s in shots:
            train = data.take(np.concatenate([rows[:s] for rows in by_class]))
            methods = [m for m in METHODS if not m.needs_class_embeddings]
            draw = FewShotDraw(train, test, test)
            tables[s].append(_score_methods(draw, methods) | _compare_forms(draw))
    return _describe(x, draws, tables)


def _describe(x: Features, draws: int, tables: dict[int, list[dict[str, float]]]) -> dict[str, Any]:
    """Return the size of a data set, and the mean figures of all draws by shots."""
    return {
        "rows": len(x),
        "features": x.shape[1],
        "draws": draws,
        "shots": {
            str(s): {key: _summarize([o[key] for o in figures]) for key in figures[0]}
            for s, figures in tables.items()
        },
    }


def _make_draw(x: Features, y: Labels, shots: int, seed: int) -> FewShotDraw:
    rng = np.random.default_rng(seed)
    order = rng.permutation(len(y))
    by_class = [order[y[order] == c] for c in range(int(y.max()) + 1)]
    text = np.stack(
        [
            normalize_rows(x[rows[POOL_PER_CLASS : POOL_PER_CLASS + TEXT_PER_CLASS]]).mean(0)
            for rows in by_class
        ]
    )
    noise = rng.standard_normal(text.shape)
    class_distance = np.linalg.norm(text - text.mean(0), axis=1).mean()
    class_embeddings = (text + TEXT_NOISE * class_distance * normalize_rows(noise)).astype(
        np.float32
    )
    data = Data(x, y, tuple(map(str, range(len(by_class)))), class_embeddings=class_embeddings)
    remaining = [rows[POOL_PER_CLASS + TEXT_PER_CLASS :] for rows in by_class]
    return FewShotDraw(
        data.take(np.concatenate([rows[:shots] for rows in by_class])),
        data.take(np.concatenate([rows[::2] for rows in remaining])),
        data.take(np.concatenate([rows[1::2] for rows in remaining])),
    )


def _evaluate_draw(draw: FewShotDraw) -> dict[str, float]:
    """Return the figures of one draw: accuracy, seconds, differences, precisions, weights."""
    figures = _score_methods(draw, METHODS) | _compare_forms(draw)
    mean, _, gda, logistic, text, both = (figures[f"accuracy {describe(m)}"] for m in METHODS)
    figures["GDA minus nearest mean"] = gda - mean
    figures["GDA minus logistic regression"] = gda - logistic
    figures["both minus zero-shot"] = both - text
    figures["both minus GDA"] = both - gda
    figures |= {
        f"alpha {a:g}": _accuracy(GDAZeroShot(alpha=a).fit(draw.train), draw.test) for a in ALPHAS
    }
    return figures


def _score_methods(draw: FewShotDraw, methods: Sequence[Any]) -> dict[str, float]:
    """Return accuracy and seconds of fitting of methods."""
    figures: dict[str, float] = {}
    for method in methods:
        start = time.perf_counter()
        model = method.fit(draw.train)
        figures[f"seconds {describe(method)}"] = time.perf_counter() - start
        figures[f"accuracy {describe(method)}"] = _accuracy(model, draw.test)
    return figures


def _compare_forms(draw: FewShotDraw) -> dict[str, float]:
    """Return the accuracy of Gaussians by form of rows and by precision, and of the choices."""
    figures = {
        f"rows {form}": _accuracy(GDA(uniform=True, rows=form).fit(draw.train), draw.test)
        for form in ROW_FORMS
    }
    chosen = _accuracy(GDA(uniform=True).fit(draw.train), draw.test)
    figures["gain of the choice"] = chosen - figures["rows raw"]
    figures |= {f"precision {name}": a for name, a in _compare_precisions(draw).items()}
    figures["any rows and rule"] = _accuracy(_choose_rows_and_rule(draw.train), draw.test)
    return figures


def _choose_rows_and_rule(train: Data) -> Any:
    """Return the Gaussians whose form of rows and covariance estimate leave-one-out prefers."""
    if np.bincount(train.y).max() < 2:
        return GDA(uniform=True).fit(train)
    losses: dict[tuple[str, Shrinkage], float] = {}
    unit = normalize_rows(train.x)
    centred = normalize_rows(unit - unit.mean(0))
    for form, rows in zip(ROW_FORMS, (train.x, unit, centred), strict=True):
        x = rows.astype(np.float32)
        for rule in ("ks", "oas", _estimate_ledoit_wolf(x, train.y, train.k)):
            loss = measure_left_out_loss(train, x, np.arange(len(train)), None, rule, True)
            losses[form, rule] = loss
    best_form, best_rule = min(losses, key=losses.__getitem__)
    return GDA(shrink=best_rule, uniform=True, rows=best_form).fit(train)


def _estimate_ledoit_wolf(x: Features, y: Labels, k: int) -> float:
    """Return the shrinkage intensity of Ledoit and Wolf for class-centred rows."""
    from sklearn.covariance import ledoit_wolf_shrinkage

    centred = x - compute_statistics(x, y, k, diagonal=True).means[y]
    if np.abs(centred).max() < 1e-6:  # one row per class
        return 1.0
    return float(ledoit_wolf_shrinkage(centred, assume_centered=True))


def _accuracy(model: Any, test: Data) -> float:
    return float(np.mean(model.logits(test.x).argmax(1) == test.y))


def _compare_precisions(draw: FewShotDraw) -> dict[str, float]:
    """Return the accuracy of Gaussians on unit rows under each covariance estimate."""
    u, y, k = normalize_rows(draw.train.x).astype(np.float32), draw.train.y, draw.train.k
    rules: dict[str, Shrinkage] = {"Ledoit-Wolf": _estimate_ledoit_wolf(u, y, k), "OAS": "oas"}
    accuracies = {
        name: _accuracy(GDA(shrink=rule, uniform=True, rows="unit").fit(draw.train), draw.test)
        for name, rule in rules.items()
    }
    kubokawa = GDA(shrink="ks", uniform=True, rows="unit").fit(draw.train)
    return {
        "pinv": _score_pseudoinverse(u, draw),
        **accuracies,
        "Kubokawa-Srivastava": _accuracy(kubokawa, draw.test),
    }


def _score_pseudoinverse(u: Features, draw: FewShotDraw) -> float:
    """Return the accuracy with the pseudoinverse of the covariance, in the span of the rows."""
    from scipy.linalg import pinvh

    span = RowSpan.from_rows(u)
    stats = compute_statistics(span.x, draw.train.y, draw.train.k)
    means = stats.means - stats.centre
    is_degenerate = np.abs(span.x - stats.means[draw.train.y]).max() < 1e-6  # one row per class
    inverse = np.eye(means.shape[1]) if is_degenerate else pinvh(stats.scatter, rtol=1e-6)
    weight = means @ inverse
    bias = -0.5 * np.einsum("kd,kd->k", weight, means)
    centre, weight, bias = span.to_features(stats.centre, weight, bias)
    scores = (normalize_rows(draw.test.x) - centre) @ weight.T + bias
    return float(np.mean(scores.argmax(1) == draw.test.y))


def _evaluate_em(x: Features, y: Labels, draws: int) -> dict[str, Any]:
    """Return the accuracy of zero-shot, and of EM on unlabelled rows by round."""
    accuracies: dict[str, list[float]] = {}
    for seed in range(FIRST_SEED, FIRST_SEED + draws):
        draw = _make_draw(x, y, 1, seed)
        unlabelled = Data(
            draw.unlabelled.x,
            np.full(len(draw.unlabelled), -1),
            draw.unlabelled.classes,
            class_embeddings=draw.unlabelled.class_embeddings,
        )
        accuracies.setdefault("zero-shot", []).append(
            _accuracy(ZeroShot().fit(unlabelled), draw.test)
        )
        for rounds in ROUNDS:
            model = ZeroShotEM(n_iter=rounds).fit(unlabelled)
            accuracies.setdefault(f"{rounds} rounds", []).append(_accuracy(model, draw.test))
    gain = np.subtract(accuracies["10 rounds"], accuracies["zero-shot"])
    accuracies["10 rounds minus zero-shot"] = [float(g) for g in gain]
    return {name: _summarize(values) for name, values in accuracies.items()}


def _summarize(values: list[float] | NDArray[np.float64]) -> list[float]:
    """Return the mean and half the width of its 95 % interval."""
    from scipy.stats import t

    n = len(values)
    half = float(t.ppf(0.975, n - 1) * np.std(values, ddof=1) / np.sqrt(n)) if n > 1 else 0.0
    return [round(float(np.mean(values)), 5), round(half, 5)]
