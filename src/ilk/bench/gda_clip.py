"""Few labels: Gaussians against nearest mean and logistic regression, and both beside zero-shot.

The catalogue's row gda-clip-baseline, on frozen features: scikit-learn's digits as pixels, and
2,000 pictures of cifar10_jpeg through the ImageNet network in the shared weights. 1 to 16 labelled
rows a class are drawn ten times; what is tested, and what the stand-in text comes from, is never
trained on. All figures are means with the half width of their 95 % interval (Student) over the
draws; differences are paired within draws.

No text encoder can be had here. What stands in for the text embedding of a class is the mean of 30
unit rows of it, from a part of the data of its own, pushed off by noise half again as long as class
means lie apart: a zero-shot classifier that is mostly right, and wrong in a way of its own. The
augmented copies that the paper counts as rows are left out; so at one shot there is no covariance,
and all precisions are the same sphere.
"""

from __future__ import annotations

import tarfile
import time
from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray
from scipy.linalg import pinvh

from ilk.bench import shared
from ilk.data import Data, Features, Labels
from ilk.errors import Unavailable
from ilk.maths.gaussian import (
    Matrix,
    class_statistics,
    discriminant,
    kubokawa_srivastava,
    log_prior,
    oas,
    shrunk,
)
from ilk.methods.gda import GDA
from ilk.methods.gda_clip import ALPHAS, GDAZeroShot
from ilk.methods.gda_clip_unlabelled import ZeroShotEM
from ilk.methods.logistic_regression import LogisticRegression
from ilk.methods.naive_bayes import NaiveBayes
from ilk.methods.nearest_mean import NearestClassMean
from ilk.methods.zero_shot import ZeroShot
from ilk.models import describe, unit_rows

SHOTS = (1, 2, 4, 8, 16)
POOL, TEXT = 40, 30  # rows a class to draw shots from, and to make text of; the rest is tested
NOISE = 1.5
ROUNDS = (1, 2, 5, 10, 20)
METHODS: tuple[Any, ...] = (
    NearestClassMean(),
    NaiveBayes(),
    GDA(uniform=True),
    LogisticRegression(),
    ZeroShot(),
    GDAZeroShot(),
)


@dataclass(frozen=True, eq=False)
class Draw:
    """One draw: what is learnt from, what is tested, and rows whose labels are kept hidden."""

    train: Data
    test: Data
    hidden: Data


def run(small: bool = False) -> dict[str, Any]:
    """Every table on each set; `small` takes digits, two draws and two numbers of shots."""
    draws, shots = (2, (1, 4)) if small else (10, SHOTS)
    told = {"digits": study(*digits(), draws, shots)}
    if not small:
        try:
            told["cifar10_jpeg, mobilenetv2"] = study(*pictures(), draws, shots)
        except Unavailable as missing:
            told["cifar10_jpeg, mobilenetv2"] = {"left out": str(missing)}
    return told


def digits() -> tuple[Features, Labels]:
    """1,797 digits as 64 pixels."""
    from sklearn.datasets import load_digits

    x, y = load_digits(return_X_y=True)
    return x.astype(np.float32), y


def pictures(per_class: int = 200) -> tuple[Features, Labels]:
    """The first test pictures of each class of cifar10_jpeg, as 1,280 features."""
    from ilk.encoders import resolve
    from ilk.images import decode

    encoder = resolve(f"local-dir:{shared('weights', 'mobilenetv2_100.imagenet')}")
    encoder.load()
    names: list[str] = []
    features, batch = [], []
    with tarfile.open(shared("data", "cifar10_jpeg", "cifar10_jpeg.tar.gz")) as archive:
        for member in archive:
            part, _, rest = member.name.partition("/")
            name = rest.partition("/")[0]
            if part != "test" or not member.isfile() or names.count(name) >= per_class:
                continue
            file = archive.extractfile(member)
            assert file is not None  # a plain file always opens
            names.append(name)
            batch.append(encoder.prepare(decode(file.read())))
            if len(batch) == encoder.batch:
                features.append(encoder.embed(np.stack(batch)))
                batch = []
    if batch:
        features.append(encoder.embed(np.stack(batch)))
    return np.concatenate(features), np.unique(names, return_inverse=True)[1]


def study(x: Features, y: Labels, draws: int, shots: tuple[int, ...]) -> dict[str, Any]:
    """All tables of one set."""
    tables = {s: [_one(_drawn(x, y, s, seed)) for seed in range(draws)] for s in shots}
    return {
        "rows": len(x),
        "features": x.shape[1],
        "draws": draws,
        "shots": {
            str(s): {key: _spread([o[key] for o in ones]) for key in ones[0]}
            for s, ones in tables.items()
        },
        "unlabelled": _unlabelled(x, y, draws),
    }


def _drawn(x: Features, y: Labels, shots: int, seed: int) -> Draw:
    rng = np.random.default_rng(seed)
    order = rng.permutation(len(y))
    by_class = [order[y[order] == c] for c in range(int(y.max()) + 1)]
    text = np.stack([unit_rows(x[rows[POOL : POOL + TEXT]]).mean(0) for rows in by_class])
    off = rng.standard_normal(text.shape)
    apart = np.linalg.norm(text - text.mean(0), axis=1).mean()
    hints = (text + NOISE * apart * unit_rows(off)).astype(np.float32)
    data = Data(x, y, tuple(map(str, range(len(by_class)))), hints=hints)
    rest = [rows[POOL + TEXT :] for rows in by_class]
    return Draw(
        data.rows(np.concatenate([rows[:shots] for rows in by_class])),
        data.rows(np.concatenate([rows[::2] for rows in rest])),
        data.rows(np.concatenate([rows[1::2] for rows in rest])),
    )


def _one(draw: Draw) -> dict[str, float]:
    """Figures of one draw: accuracy and fitting seconds, differences, precisions, weights."""
    told: dict[str, float] = {}
    for method in METHODS:
        began = time.perf_counter()
        model = method.fit(draw.train)
        told[f"seconds {describe(method)}"] = time.perf_counter() - began
        told[f"accuracy {describe(method)}"] = _right(model, draw.test)
    mean, _, gda, logistic, text, both = (told[f"accuracy {describe(m)}"] for m in METHODS)
    told["GDA less nearest mean"] = gda - mean
    told["GDA less logistic regression"] = gda - logistic
    told["both less zero-shot"] = both - text
    told["both less GDA"] = both - gda
    told |= {f"precision {name}": a for name, a in _precisions(draw).items()}
    told |= {
        f"alpha {a:g}": _right(GDAZeroShot(alpha=a).fit(draw.train), draw.test) for a in ALPHAS
    }
    return told


def _right(model: Any, test: Data) -> float:
    return float(np.mean(model.logits(test.x).argmax(1) == test.y))


def _precisions(draw: Draw) -> dict[str, float]:
    """Accuracy of Gaussians on unit rows under each way to invert their covariance."""
    from sklearn.covariance import ledoit_wolf_shrinkage

    u, y = unit_rows(draw.train.x), draw.train.y
    stats = class_statistics(u, y, draw.train.k)
    centred = u - stats.means[y]
    alike = np.abs(centred).max() < 1e-6  # one row a class
    wolf = 1.0 if alike else float(ledoit_wolf_shrinkage(centred, assume_centered=True))
    ways: dict[str, Matrix] = {
        "Ledoit-Wolf": shrunk(stats, wolf),
        "OAS": shrunk(stats, oas(stats)),
        "Kubokawa-Srivastava": kubokawa_srivastava(stats),
    }
    test = unit_rows(draw.test.x) - stats.centre
    told = {}
    for name, covariance in ways.items():
        weight, bias = discriminant(stats, covariance, log_prior(stats, uniform=True))
        told[name] = float(np.mean((test @ weight.T + bias).argmax(1) == draw.test.y))
    off = stats.means - stats.centre
    inverse = np.eye(u.shape[1]) if alike else pinvh(stats.scatter, rtol=1e-6)
    weight = off @ inverse
    scores = test @ weight.T - 0.5 * np.einsum("kd,kd->k", weight, off)
    return {"pinv": float(np.mean(scores.argmax(1) == draw.test.y)), **told}


def _unlabelled(x: Features, y: Labels, draws: int) -> dict[str, Any]:
    """Zero-shot, and what EM on rows without labels makes of it, round by round."""
    told: dict[str, list[float]] = {}
    for seed in range(draws):
        draw = _drawn(x, y, 1, seed)
        bare = Data(
            draw.hidden.x,
            np.full(len(draw.hidden), -1),
            draw.hidden.classes,
            hints=draw.hidden.hints,
        )
        told.setdefault("zero-shot", []).append(_right(ZeroShot().fit(bare), draw.test))
        for rounds in ROUNDS:
            model = ZeroShotEM(rounds=rounds).fit(bare)
            told.setdefault(f"{rounds} rounds", []).append(_right(model, draw.test))
    gain = np.subtract(told["10 rounds"], told["zero-shot"])
    told["10 rounds less zero-shot"] = [float(g) for g in gain]
    return {name: _spread(values) for name, values in told.items()}


def _spread(values: list[float] | NDArray[np.float64]) -> list[float]:
    """Mean, and half the width of its 95 % interval."""
    from scipy.stats import t

    n = len(values)
    half = float(t.ppf(0.975, n - 1) * np.std(values, ddof=1) / np.sqrt(n)) if n > 1 else 0.0
    return [round(float(np.mean(values)), 5), round(half, 5)]
