"""Real leaderboards: methods on features of notMNIST and USPS, with a large test part as the truth.

Five kinds of features and six methods make 30 candidates, cross-validated on a few hundred images;
each is then fitted to all of these and scored on the images that are left, which no candidate saw.
Smaller leaderboards are random parts of the candidates. A candidate counts as really worse where it
is more than `MARGIN` less accurate on the test part than the best of its leaderboard. On
leaderboards with exchanged votes, the votes of each image are dealt to the candidates at random:
all are equal, with the correlation that real votes have.
"""

from __future__ import annotations

import gzip
from collections.abc import Iterator
from dataclasses import dataclass
from functools import partial
from typing import Any

import numpy as np
from numpy.typing import NDArray
from PIL import Image

from benchmarks.intervals.simulated_leaderboards import (
    Leaderboard,
    make_intervals,
    measure_marks,
    summarize_intervals,
)
from benchmarks.runner import shared_path
from ilk.core.data import Data, Labels
from ilk.encoders.hog import HogEncoder
from ilk.fitting.leaderboard_builder import LeaderboardBuilder
from ilk.fitting.selection_statistics import Outcomes
from ilk.methods import parse
from ilk.protocols import stratified_folds

METHODS = (
    "GDA",
    "GDA(shrink=0.5)",
    "Ridge",
    "NearestClassMean",
    "NaiveBayes",
    "KNearest",
)
SIZES, N_TRAIN, N_TEST = (3, 12, 30), 200, 3000
MARGIN, N_EXCHANGED = 0.02, 20  # leaderboards of exchanged votes per split
NAMES = tuple("0123456789")

Images = NDArray[np.uint8]


@dataclass(frozen=True, eq=False)
class Measured:
    """Outcomes of all candidates on the training rows `y [n]`, and their accuracy on the test."""

    y: Labels
    outcomes: list[Outcomes]
    truth: NDArray[np.float64]


def measure_real_leaderboards(n_splits: int) -> list[dict[str, Any]]:
    """Return errors, power and coverage on leaderboards of each size, by data set."""
    rows = []
    for name, (images, y) in read_sets().items():
        kept = np.random.default_rng(0).permutation(len(y))[: N_TRAIN + N_TEST]
        y, tables = y[kept], describe_images(images[kept])
        measured = [_measure_split(tables, y, seed) for seed in range(n_splits)]
        for size in SIZES:
            leaderboards = [_take_part(m, size, seed) for seed, m in enumerate(measured)]
            cases = [
                (make_intervals(leaderboard, seed), float(truth[leaderboard.find_best()]))
                for seed, (leaderboard, truth) in enumerate(leaderboards)
            ]
            rows.append(
                {
                    "images": name,
                    "candidates": size,
                    "rows": N_TRAIN,
                    "splits": n_splits,
                    "rules": measure_marks(partial(_mark_worse, leaderboards), n_splits),
                    "rules, votes exchanged": measure_marks(
                        partial(_exchange, leaderboards), N_EXCHANGED * n_splits
                    ),
                    "intervals": summarize_intervals(cases),
                }
            )
    return rows


def read_sets() -> dict[str, tuple[Images, Labels]]:
    """Return grey images `[n, h, w]` and classes `[n]` of each data set.

    Raises:
        Unavailable: The shared data is not there.
    """
    import h5py

    folder = shared_path("data", "notmnist_10k")
    pixels = gzip.decompress((folder / "t10k-images-idx3-ubyte.gz").read_bytes())
    labels = gzip.decompress((folder / "t10k-labels-idx1-ubyte.gz").read_bytes())
    letters = np.frombuffer(pixels, np.uint8, offset=16).reshape(-1, 28, 28)
    with h5py.File(shared_path("data", "usps", "usps.h5")) as file:
        digits = np.asarray(file["train"]["data"])
        y = np.asarray(file["train"]["target"])
    low, high = float(digits.min()), float(digits.max())
    grey = np.rint((digits - low) / (high - low) * 255).astype(np.uint8).reshape(-1, 16, 16)
    return {
        "notMNIST": (letters, np.frombuffer(labels, np.uint8, offset=8).astype(np.int64)),
        "USPS": (grey, y.astype(np.int64)),
    }


def describe_images(images: Images) -> dict[str, NDArray[np.float32]]:
    """Return features `[n, d]` of images `[n, h, w]` by name."""
    encoders = {f"hog/{side}": HogEncoder(side) for side in (16, 32)}
    small = [Image.fromarray(image) for image in images]
    pixels = {
        f"pixels/{side}": np.stack(
            [np.asarray(i.resize((side, side), Image.Resampling.BOX), np.float32) for i in small]
        ).reshape(len(small), -1)
        for side in (8, 14)
    }
    hog = {name: np.concatenate(list(_embed(encoder, small))) for name, encoder in encoders.items()}
    turn = np.random.default_rng(0).standard_normal((pixels["pixels/14"].shape[1], 128))
    rectified = np.maximum(pixels["pixels/14"] / 255 @ turn.astype(np.float32), 0)
    return pixels | hog | {"random units": rectified}


def _embed(encoder: HogEncoder, images: list[Image.Image]) -> Iterator[NDArray[np.float32]]:
    for at in range(0, len(images), 256):
        part = [encoder.prepare(image.convert("RGB")) for image in images[at : at + 256]]
        yield np.asarray(encoder.embed(np.stack(part)), np.float32)


def _measure_split(tables: dict[str, NDArray[np.float32]], y: Labels, seed: int) -> Measured:
    order = np.random.default_rng([seed, 47]).permutation(len(y))
    train, test = order[:N_TRAIN], order[N_TRAIN:]
    fold = stratified_folds(y[train], 5, seed)
    builder = LeaderboardBuilder(y[train], fold, "accuracy")
    truth = []
    for name, x in tables.items():
        data = Data(x[train], y[train], NAMES)
        for text in METHODS:
            method = parse(text)
            builder.evaluate_candidate(name, method, data, lambda _n: None)
            logits = method.fit(data).logits(x[test])
            truth.append(float(np.mean(logits.argmax(1) == y[test])))
    outcomes = [builder.outcomes[i] for i in range(len(truth))]
    return Measured(builder.tested_labels, outcomes, np.array(truth))


def _take_part(measured: Measured, size: int, seed: int) -> tuple[Leaderboard, NDArray[np.float64]]:
    """Return a leaderboard of random candidates, and their true accuracies."""
    kept = np.random.default_rng([seed, size]).permutation(len(measured.truth))[:size]
    candidates = [measured.outcomes[i] for i in kept]
    return Leaderboard(measured.y, candidates, "accuracy", None), measured.truth[kept]


def _mark_worse(
    leaderboards: list[tuple[Leaderboard, NDArray[np.float64]]], seed: int
) -> tuple[Leaderboard, NDArray[np.bool_]]:
    """Return a leaderboard, and which candidates are worse: the best alone must not be called so.

    Those that are within the margin of the best count neither as errors nor as recognized.
    """
    leaderboard, truth = leaderboards[seed]
    is_kept = (truth == truth.max()) | (truth < truth.max() - MARGIN)
    kept = Leaderboard(
        leaderboard.y,
        [c for c, keep in zip(leaderboard.candidates, is_kept, strict=True) if keep],
        "accuracy",
        None,
    )
    return kept, truth[is_kept] < truth.max() - MARGIN


def _exchange(
    leaderboards: list[tuple[Leaderboard, NDArray[np.float64]]], seed: int
) -> tuple[Leaderboard, NDArray[np.bool_]]:
    """Return a leaderboard whose votes are dealt to the candidates at random, image by image."""
    leaderboard = leaderboards[seed % len(leaderboards)][0]
    rng, n = np.random.default_rng([seed, 43]), len(leaderboard.candidates)
    order = rng.permuted(np.tile(np.arange(n), (len(leaderboard.y), 1)), axis=1)
    rows = np.arange(len(leaderboard.y))
    is_correct, loss = (
        np.stack([getattr(c, name) for c in leaderboard.candidates])
        for name in ("is_correct", "loss")
    )
    candidates = [
        Outcomes(is_correct[order[:, j], rows], loss[order[:, j], rows]) for j in range(n)
    ]
    return Leaderboard(leaderboard.y, candidates, "accuracy", None), np.zeros(n, bool)
