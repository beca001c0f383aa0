"""How scores of encoders agree with the accuracy that is reached on them, as tables."""

from __future__ import annotations

import time
from collections.abc import Callable, Mapping, Sequence
from functools import partial
from typing import Any

import numpy as np
import sklearn.covariance  # noqa: F401  (its import is to count as no score's time)
from numpy.typing import NDArray

from ilk.bench import spread
from ilk.bench._encoder_zoo import WIDTH, Encoder
from ilk.bench._family import Claim, table
from ilk.bench._small_networks import answers, fine_tuned
from ilk.data import Data
from ilk.maths.axes import principal
from ilk.methods.k_nearest import KNearest
from ilk.methods.logistic_regression import LogisticRegression
from ilk.protocols import steps, stratified_folds
from ilk.ranking import agreement, h_score, leep, logme, nce, tmi

LEARN, TEST = 600, 1000
DRAWS = 500  # of encoders, for the bootstrap
ROW, FILE = "tmi-intraclass-variance", "ranking/tmi.py"
OURS, THEIRS, EVEN = "TMI", "TMI, floor 1", "TMI, common axes"
RIVALS = ("LogME", "H-score", "kNN accuracy", "feature dimension")


Column = list[float | None]


def figures(encoders: Sequence[Encoder], data: Data, seed: int) -> dict[str, Column]:
    """Each score, each accuracy and each time, an entry an encoder."""
    rows = np.random.default_rng(seed).permutation(len(data))
    learn, test = data.rows(rows[:LEARN]), data.rows(rows[LEARN : LEARN + TEST])
    seen = [Data(e.embed(learn.x), learn.y, learn.classes) for e in encoders]
    width = min(WIDTH, *(len(principal(data.x).squares) for data in seen))
    columns: dict[str, Column] = {}
    for encoder, data in zip(encoders, seen, strict=True):
        told = _scores(data, width, seed) | _truth(encoder, data, learn, test, seed)
        told |= {"feature dimension": data.x.shape[1], "parameters": encoder.parameters}
        for name, value in told.items():
            columns.setdefault(name, []).append(value)
    return columns


def _truth(
    encoder: Encoder, seen: Data, learn: Data, test: Data, seed: int
) -> dict[str, float | None]:
    """What the encoder is worth, and the scores that read a network's own classifier."""
    began = time.perf_counter()
    model = LogisticRegression().fit(seen)
    seconds = time.perf_counter() - began
    right = model.logits(encoder.embed(test.x)).argmax(1) == test.y
    told: dict[str, float | None] = {"LEEP": None, "NCE": None, "fine-tuned": None}
    told |= {"seconds logistic regression": seconds, "frozen": float(np.mean(right))}
    if (net := encoder.network) is not None:
        p = answers(net, learn.x)
        told |= {"LEEP": leep.score(p, learn.y), "NCE": nce.score(p, learn.y)}
        told["fine-tuned"] = fine_tuned(net, learn, test, seed)
    return told


def _scores(seen: Data, width: int, seed: int) -> dict[str, float | None]:
    """The scores that read features, and what each took."""
    x, y = np.asarray(seen.x), seen.y
    tries: dict[str, Callable[[], float]] = {
        OURS: partial(tmi.score, x, y),
        THEIRS: partial(tmi.score, x, y, floor=1.0),
        EVEN: partial(tmi.score, x, y, width=width),
        "LogME": partial(logme.score, x, y),
        "H-score": partial(h_score.score, x, y),
        "kNN accuracy": partial(_neighbours, seen, seed),
    }
    told: dict[str, float | None] = {}
    for name, made in tries.items():
        began = time.perf_counter()
        told[name] = made()
        told[f"seconds {name}"] = time.perf_counter() - began
    return told


def _neighbours(seen: Data, seed: int) -> float:
    """Share that five neighbours of other folds answer rightly."""
    fold = stratified_folds(seen.y, 5, seed)
    right = [
        KNearest(k=5).fit(step.train).logits(step.test.x).argmax(1) == step.test.y
        for step in steps(seen, fold)
    ]
    return float(np.mean(np.concatenate(right)))


def only(figures: Mapping[str, Column], which: Sequence[int]) -> dict[str, Column]:
    return {name: [column[i] for i in which] for name, column in figures.items()}


def _contenders(figures: Mapping[str, Column]) -> list[str]:
    """Columns that predict and that have something to say: no gap, not all the same."""
    told = [n for n in figures if n not in ("frozen", "fine-tuned") and "seconds" not in n]
    return [n for n in told if None not in figures[n] and len(set(figures[n])) > 1]


def _tau(figures: Mapping[str, Column], name: str, truth: str) -> float:
    tau = agreement(_whole(figures[name]), _whole(figures[truth]))
    return 0.0 if tau is None else tau  # a score that is the same everywhere tells nothing


def _whole(column: Column) -> list[float]:
    """A column that has no gap."""
    return [float(value) for value in column if value is not None]


def tabled(
    where: str, found: Mapping[str, list[dict[str, Column]]], truth: str, settled: bool = True
) -> dict[str, Any]:
    """Tau of each predictor a seed, averaged over targets; with TMI's claims where `settled`."""
    by_seed = list(zip(*found.values(), strict=True))
    names = _contenders(by_seed[0][0])
    scores = {
        name: [float(np.mean([_tau(f, name, truth) for f in each])) for each in by_seed]
        for name in names
    }
    claims = [
        Claim(ROW, FILE, ours, rival)
        for ours in (OURS, THEIRS)
        for rival in RIVALS
        if settled and ours in names and rival in names
    ]
    return table(where, f"Kendall's tau with {truth} accuracy", scores, claims)


def bootstrap(found: Mapping[str, list[dict[str, Column]]], truth: str) -> dict[str, Any]:
    """Mean tau over targets, figures averaged over seeds, and its 95 % range over encoders."""
    first = next(iter(found.values()))[0]
    n, rng = len(first[truth]), np.random.default_rng(0)
    draws = rng.integers(0, n, (DRAWS, n))
    told = {}
    for name in _contenders(first):
        taus = []
        for by_seed in found.values():
            a, b = (np.mean([_whole(f[c]) for f in by_seed], axis=0) for c in (name, truth))
            taus.append([_quick(a[at], b[at]) for at in (np.arange(n), *draws)])
        mean = np.mean(taus, axis=0)
        low, high = np.percentile(mean[1:], (2.5, 97.5))
        told[name] = {"tau": float(mean[0]), "low": float(low), "high": float(high)}
    return told


def _quick(a: NDArray[np.float64], b: NDArray[np.float64]) -> float:
    """Kendall's tau-b by all pairs; 0 where one side is the same throughout."""
    p, q = (np.sign(v[:, None] - v) for v in (a, b))
    size = float(np.sqrt(np.sum(p**2) * np.sum(q**2)))
    return float(np.sum(p * q)) / size if size else 0.0


def times(found: Mapping[str, list[dict[str, Column]]]) -> dict[str, Any]:
    """Seconds of each score by those of logistic regression with its strength chosen."""
    by_seed = list(zip(*found.values(), strict=True))
    names = [n for n in by_seed[0][0] if n.startswith("seconds")]
    spent = {
        n.removeprefix("seconds "): [float(np.sum([f[n] for f in each])) for each in by_seed]
        for n in names
    }
    regression = spent.pop("logistic regression")
    ratio = {n: [s / r for s, r in zip(v, regression, strict=True)] for n, v in spent.items()}
    where, metric = "all targets and encoders", "seconds by those of logistic regression"
    rivals = [n for n in ("kNN accuracy", "LogME") if n in ratio]
    return table(where, metric, ratio, [Claim(ROW, FILE, OURS, n) for n in rivals], "lower")


def listing(
    encoders: Sequence[Encoder], found: Mapping[str, list[dict[str, Column]]]
) -> list[dict[str, Any]]:
    """Each encoder with its mean accuracy on each target."""
    return [
        {
            "encoder": encoder.name,
            "features": found[next(iter(found))][0]["feature dimension"][i],
            "parameters": encoder.parameters,
            **{
                truth: {
                    name: spread([float(f[truth][i] or 0) for f in by_seed])["mean"]
                    for name, by_seed in found.items()
                    if by_seed[0][truth][i] is not None
                }
                for truth in ("frozen", "fine-tuned")
            },
        }
        for i, encoder in enumerate(encoders)
    ]
