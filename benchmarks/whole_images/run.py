"""Does the mean over flips and crops help with few images, and when does it help to crop nothing?

PACS (30 images of each of 7 classes in 4 styles) through `efficientnet-lite0`, on the photographs
alone and on all styles mixed. 1 to 20 images per class are drawn six times, the others tested;
differences are paired by draw.

Views: the image, its mirror image and four corner crops of 80 % of its sides. `mean of views`
averages the features of an image, in training and in prediction; `views as rows` trains on each
view as a row of its own (no fold of a method's own cross-validation splits an image where the
method reads groups) and averages the logits; `chosen` takes plain or mean by five-fold
cross-validation of the training images, as `ilk fit` does; with one image per class there is
nothing to choose by, and it is plain.

Shapes: the images are 227 x 227, so strips are cut from them: full in one direction, 3/4 to 1/3 in
the other. `crop` is the network's own preprocessing. The bars of `letterbox` have the network's
mean color. In a strip the whole length is part of the subject, which favours ways that keep it;
wide photographs of small subjects in the centre would favour the crop more. `chosen` takes crop or
letterbox by cross-validation.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

import numpy as np

from benchmarks.claims import make_table
from benchmarks.decoders import PACS_STYLES
from benchmarks.runner import summarize
from benchmarks.whole_images.photos import (
    N_VIEWS,
    RATIOS,
    WAYS,
    Photos,
    encode_strips,
    encode_views,
    read_digit_images,
    read_pacs_images,
)
from ilk.core.contracts import Method
from ilk.core.data import Data, Features, Labels
from ilk.fitting.cross_validation import cross_validate
from ilk.methods.gda import GDA
from ilk.methods.nearest_mean import NearestClassMean
from ilk.methods.ridge import Ridge
from ilk.protocols import stratified_folds

METRIC = "test accuracy"
SEEDS, SHOTS = 6, (1, 2, 5, 10, 20)
STRIP_SHOTS = (2, 5, 20)
PLAIN, MEAN, ROWS, CHOSEN = "plain", "mean of views", "views as rows", "chosen"
CROP, LETTERBOX = "crop", "letterbox"
METHODS: tuple[Method, ...] = (GDA(), Ridge(), NearestClassMean())

Scores = dict[str, list[float]]


def run(small: bool = False) -> dict[str, Any]:
    """Return the tables; `small` has digits as pixels, two draws and few conditions."""
    photos = read_digit_images() if small else read_pacs_images()
    tables: list[dict[str, Any]] = []
    for scope, is_used in _list_scopes(photos, small).items():
        for method in METHODS[: 1 if small else None]:
            tables += _compare_views(photos, np.flatnonzero(is_used), method, scope, small)
    for method in METHODS[: 1 if small else 2]:
        tables += _compare_strips(photos, method, small)
    return {"tables": tables}


def _list_scopes(photos: Photos, small: bool) -> dict[str, Any]:
    is_photo = photos.style == PACS_STYLES.index("photo")
    every = np.ones(len(photos.y), bool)
    return {"digits": every} if small else {"photographs": is_photo, "all styles": every}


def _compare_views(
    photos: Photos, rows: Labels, method: Method, scope: str, small: bool
) -> list[dict[str, Any]]:
    views = encode_views(photos)
    features = {PLAIN: views[:, 0], MEAN: views.mean(1, dtype=np.float64).astype(np.float32)}
    tables = []
    for n in (2, 5) if small else SHOTS:
        scores: Scores = {}
        for seed in range(2 if small else SEEDS):
            train, test = _draw(photos.y, rows, n, seed)
            _score_candidates(scores, features, photos, method, train, test)
            data = _stack_views(views[train], photos, train)
            model, y = method.fit(data), photos.y[test]
            logits = np.mean([model.logits(views[test, v]) for v in range(N_VIEWS)], axis=0)
            scores.setdefault(ROWS, []).append(float(np.mean(logits.argmax(1) == y)))
        tables.append(_tabulate(f"{scope}, {_count(n)}", method, scores, PLAIN))
    return tables


def _compare_strips(photos: Photos, method: Method, small: bool) -> list[dict[str, Any]]:
    used = [PACS_STYLES.index(style) for style in ("photo", "art_painting")]
    part = np.flatnonzero(np.isin(photos.style, used))
    photos = Photos(
        tuple(photos.images[i] for i in part),
        photos.y[part],
        photos.style[part],
        photos.classes,
        photos.encoder,
        photos.cache,
    )
    tables = []
    features_of = encode_strips(photos)
    for ratio in RATIOS[2:3] if small else RATIOS:
        features = features_of[ratio]
        for n in (5,) if small else STRIP_SHOTS:
            scores: Scores = {}
            for seed in range(2 if small else SEEDS):
                train, test = _draw(photos.y, np.arange(len(part)), n, seed)
                candidates = {way: features[way] for way in (CROP, LETTERBOX)}
                _score_candidates(scores, candidates, photos, method, train, test)
                for way in set(WAYS) - set(candidates):
                    accuracy = _test(features[way], photos, method, train, test)
                    scores.setdefault(way, []).append(accuracy)
            tables.append(_tabulate(f"sides {ratio:.2f} : 1, {_count(n)}", method, scores, CROP))
    return tables


def _draw(y: Labels, rows: Labels, n: int, seed: int) -> tuple[Labels, Labels]:
    """Return `n` training rows of each class, and the other rows."""
    rng = np.random.default_rng(seed)
    drawn = [rng.permutation(rows[y[rows] == c])[:n] for c in np.unique(y[rows])]
    return np.concatenate(drawn), np.setdiff1d(rows, np.concatenate(drawn))


def _score_candidates(
    scores: Scores,
    features: Mapping[str, Features],
    photos: Photos,
    method: Method,
    train: Labels,
    test: Labels,
) -> None:
    """Add the accuracy of each candidate, and of the one that cross-validation chooses."""
    accuracy = {name: _test(x, photos, method, train, test) for name, x in features.items()}
    held_out = {name: _cross_validate(x, photos, method, train) for name, x in features.items()}
    best = max(held_out, key=lambda name: held_out[name])  # the first, plain, of equal ones
    for name, value in {**accuracy, CHOSEN: accuracy[best]}.items():
        scores.setdefault(name, []).append(value)


def _test(x: Features, photos: Photos, method: Method, train: Labels, test: Labels) -> float:
    model = method.fit(Data(x[train], photos.y[train], photos.classes))
    return float(np.mean(model.logits(x[test]).argmax(1) == photos.y[test]))


def _cross_validate(x: Features, photos: Photos, method: Method, train: Labels) -> float:
    data = Data(x[train], photos.y[train], photos.classes)
    fold = stratified_folds(data.y, 5, 0, data.group)
    tested = fold >= 0
    if not tested.any():
        return 0.0
    logits = cross_validate(method, data, fold).logits
    return float(np.mean(logits[tested].argmax(1) == data.y[tested]))


def _stack_views(views: Features, photos: Photos, train: Labels) -> Data:
    """Return the views of the training images as rows; those of an image are a group."""
    n = len(train)
    return Data(
        views.reshape(n * N_VIEWS, -1),
        np.repeat(photos.y[train], N_VIEWS),
        photos.classes,
        group=np.repeat(np.arange(n), N_VIEWS),
    )


def _tabulate(setting: str, method: Method, scores: Scores, baseline: str) -> dict[str, Any]:
    """Return a table of accuracies and their paired differences from the baseline."""
    table = make_table(f"{setting}, {type(method).__name__}", METRIC, scores, [])
    base = np.array(scores[baseline])
    table["differences"] = [
        {
            "method": name,
            "baseline": baseline,
            "difference": summarize((np.array(values) - base).tolist()),
        }
        for name, values in scores.items()
        if name != baseline
    ]
    return table


def _count(n: int) -> str:
    return f"{n} image{'s' if n > 1 else ''} per class"
