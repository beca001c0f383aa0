"""Digits: one diffusion model classifies, describes and draws. As well as what is trained for one?

scikit-learn's digits, 70/30, seeds 0 to 2. A U-Net of 0.41 million weights is pretrained for 300
steps of 128 images on the training part. Beside its diffusion classifier (32 levels, evenly spaced
in ln sigma, weighed by the likelihood) and logistic regression on its features stand a supervised
network with the same trunk and budget, features of a network with random weights, and logistic
regression and 3 nearest neighbours on pixels. The place that features are read at is found by
cross-validation on the training part. Fréchet distances are between 540 drawn images and the test
part, on pixels, beside that between the training and test parts. The curve over labels gives each
contender the same few labelled images; the features are of a network that was pretrained on all
training images with their labels hidden, read at the default place (at all labels too). Finished
parts are kept and not measured again, so the seconds in all are those of the last command.
"""

from __future__ import annotations

import time
from functools import partial
from typing import Any

import numpy as np
import torch

from ilk.bench import spread
from ilk.bench._diffusion import (
    Pictures,
    accuracy,
    clean,
    digits,
    digits_plan,
    first,
    kept,
    machine,
    pretrained,
    untrained,
)
from ilk.data import Data
from ilk.diffusion.classify import Measure
from ilk.diffusion.denoiser import Denoiser
from ilk.diffusion.features import features
from ilk.diffusion.levels import Levels
from ilk.diffusion.naive import Naive
from ilk.diffusion.reading import Point
from ilk.diffusion.sample import Sampler
from ilk.diffusion.search import Settings, search
from ilk.diffusion.taps import Taps
from ilk.diffusion.twin import fit_twin
from ilk.maths.frechet import frechet_distance
from ilk.methods.logistic_regression import LogisticRegression
from ilk.training.loop import Batch

SEEDS = (0, 1, 2)
SHOTS = (1, 2, 5, 10)
MEASURE = Measure(batch=512, precision="bfloat16")


def run(small: bool = False) -> dict[str, Any]:
    """The table over seeds, and the curve over labels."""
    torch.manual_seed(0)
    steps = 10 if small else 300
    seeds = SEEDS[: 1 if small else None]
    rows = [kept(f"digits-table-{s}-{steps}", partial(one, s, steps, small)) for s in seeds]
    for seed, row in zip(seeds, rows, strict=True):
        key = "logistic regression on features of random weights"
        row[key] = kept(f"digits-random-{seed}-{steps}", partial(_random, seed, steps, small))
    figures = [key for key, value in rows[0].items() if isinstance(value, float)]
    curve = [row.pop("curve") for row in rows]
    return {
        "accuracy on test, mean and 95 % interval over seeds": {
            key: spread([row[key] for row in rows]) for key in figures
        },
        "seeds": rows,
        "labels": _means(curve),
        "plots": [_plot(curve)],
    }


def one(seed: int, steps: int, small: bool) -> dict[str, Any]:
    """One split: every contender on the same test images."""
    pictures, plan = digits(seed), digits_plan(seed, steps)
    test = first(pictures.test, 60) if small else pictures.test
    name = f"digits-{seed}-{steps}"
    network = pretrained(pictures, plan, name)
    tried = 60 if small else 2_000
    began = time.perf_counter()
    verdict = Naive().judge(network, clean(test), Levels.even(network, 32), MEASURE, seed)
    seconds = time.perf_counter() - began
    twin = fit_twin(pictures.train, pictures.classes, plan, machine())
    found = {
        "diffusion classifier": accuracy(verdict.scores, test.y),
        "supervised twin": accuracy(twin.logits(test.x), test.y),
        "logistic regression on diffusion features": probed(network, pictures, test, tried),
        **pixels(pictures, test),
        **drawn(network, pictures, test),
    }
    weights = sum(p.numel() for p in network.parameters())
    curve = few_labels(pictures, test, seed, steps)
    about = {"seed": seed, "weights": weights, "calls": int(verdict.calls[0])}
    return {**about, **found, "seconds an image": seconds / len(test), "curve": curve}


def _random(seed: int, steps: int, small: bool) -> float:
    pictures = digits(seed)
    test = first(pictures.test, 60) if small else pictures.test
    network = untrained(pictures, digits_plan(seed, steps))
    return probed(network, pictures, test, 60 if small else 2_000)


def probed(network: Denoiser, pictures: Pictures, test: Batch, rows: int = 2_000) -> float:
    """Accuracy of logistic regression on features, read where the training part says."""
    place = search(network, pictures.train.x, pictures.train.y.numpy(), Settings(rows=rows)).best
    taps = Taps(network)
    try:
        x, x_test = (features(taps, part.x, [place]).numpy() for part in (pictures.train, test))
    finally:
        taps.close()
    return regressed(x, pictures.train.y.numpy(), x_test, test.y)


def regressed(x: Any, y: Any, x_test: Any, y_test: torch.Tensor) -> float:
    """Test accuracy of ilk's logistic regression on standardised features."""
    mean, std = x.mean(0), x.std(0) + 1e-6
    data = Data((x - mean) / std, y, tuple(map(str, range(int(y.max()) + 1))))
    model = LogisticRegression().fit(data)
    return accuracy(model.logits((x_test - mean) / std), y_test)


def flat(batch: Batch) -> Any:
    """Pixels as rows in [0, 1]."""
    return batch.x.flatten(1).numpy().astype(np.float32) / 255


def pixels(pictures: Pictures, test: Batch) -> dict[str, float]:
    """What needs no network."""
    from sklearn.neighbors import KNeighborsClassifier

    x, y = flat(pictures.train), pictures.train.y.numpy()
    near = KNeighborsClassifier(3).fit(x, y).score(flat(test), test.y.numpy())
    return {
        "logistic regression on pixels": regressed(x, y, flat(test), test.y),
        "3 nearest neighbours on pixels": float(near),
    }


def drawn(network: Denoiser, pictures: Pictures, test: Batch) -> dict[str, float]:
    """How far drawn images lie from real ones, and real ones from real ones."""
    asked = torch.arange(len(test)) % len(pictures.classes)
    made = Sampler(steps=18).draw(network, asked, "cpu")
    real = flat(test).astype(np.float64)
    fake = ((made.clamp(-1, 1) + 1) / 2).flatten(1).double().numpy()
    return {
        "Fréchet distance of drawn images": frechet_distance(fake, real),
        "Fréchet distance of training images": frechet_distance(flat(pictures.train), real),
    }


def few_labels(
    pictures: Pictures, test: Batch, seed: int, steps: int
) -> dict[str, dict[str, float]]:
    """Accuracy by labelled images a class: features that no label taught, pixels, supervised."""
    hidden = Batch(pictures.train.x, torch.full_like(pictures.train.y, -1))
    plan = digits_plan(seed, steps)
    unlabelled = Pictures("digits", (), hidden, hidden, pictures.test)
    network = pretrained(unlabelled, plan, f"digits-unlabelled-{seed}-{steps}")
    curve: dict[str, dict[str, float]] = {}
    for shots in (*SHOTS, 0) if steps > 10 else (2, 0):
        kept = drawn_shots(pictures.train, shots, seed)
        twin = fit_twin(kept, pictures.classes, plan, machine())
        curve[str(shots or "all")] = {
            "diffusion features": at_place(network, kept, test),
            "pixels": regressed(flat(kept), kept.y.numpy(), flat(test), test.y),
            "supervised twin": accuracy(twin.logits(test.x), test.y),
        }
    return curve


def at_place(network: Denoiser, learn: Batch, test: Batch) -> float:
    """As the encoder reads features where nothing was searched."""
    taps = Taps(network)
    try:
        place = [Point(taps.middle + 1, 0.5 * network.spread, 2)]
        x, x_test = (features(taps, part.x, place).numpy() for part in (learn, test))
    finally:
        taps.close()
    return regressed(x, learn.y.numpy(), x_test, test.y)


def drawn_shots(batch: Batch, shots: int, seed: int) -> Batch:
    """`shots` images of each class, drawn at random; all where it is 0."""
    if not shots:
        return batch
    order = torch.randperm(len(batch), generator=torch.Generator().manual_seed(seed))
    kept = [order[batch.y[order] == c][:shots] for c in range(int(batch.y.max()) + 1)]
    at = torch.cat(kept)
    return Batch(batch.x[at], batch.y[at])


def _means(curves: list[dict[str, dict[str, float]]]) -> list[dict[str, Any]]:
    """One record a number of labels."""
    return [
        {"labels a class": shots, **{k: spread([c[shots][k] for c in curves]) for k in first}}
        for shots, first in curves[0].items()
    ]


def _plot(curves: list[dict[str, dict[str, float]]]) -> dict[str, Any]:
    full = 126  # images a class, on average, of the training part
    series: dict[str, list[list[float]]] = {}
    for row in _means(curves):
        shots = row.pop("labels a class")
        for name, value in row.items():
            mean, half = value["mean"], value["half_width"] or 0.0
            at = full if shots == "all" else float(shots)
            series.setdefault(name, []).append([at, mean, mean - half, min(1.0, mean + half)])
    return {
        "file": "diffusion_digits-labels.svg",
        "kind": "lines",
        "title": "Digits: accuracy by labelled images a class",
        "x": "labelled images a class (the last: all)",
        "y": "test accuracy, mean and 95 % interval",
        "series": series,
        "log_x": True,
    }
