"""Does `ilk fit --group-from duplicates` report the accuracy that new pictures get?

Worlds of CIFAR-10 pictures of four classes, of which a share has one wrong label and copies (
recompressed, resized, cropped by 15 and 30 %, mirrored, recoloured) under the same label, in the
training folder and across train and test. A method that remembers its neighbours (KNearest) and
one that does not (GDA), on features of MobileNetV2. Accuracy by cross-validation and on the test
split with leaks and without, as ilk fit reports both, against the accuracy on 1,000 new pictures
whose labels are wrong as often; how many of the planted leaks are found.
"""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import Any

import numpy as np
from PIL import Image

from benchmarks.duplicates.kinds import KINDS
from benchmarks.runner import shared_path, summarize
from benchmarks.shared_files import decode_image, iterate_archive
from ilk.artifacts.evaluation import evaluate_images
from ilk.fitting.config import FitConfig
from ilk.fitting.fit import fit_with_report
from ilk.images import read_images
from ilk.store import Store

CLASSES = ("cat", "dog", "deer", "horse")
COPIES = (
    "recompressed, quality 20 to 60",
    "resized, factor 0.5 to 0.8",
    "cropped by 15 %",
    "cropped by 30 %",
    "mirrored",
    "colours shifted",
)
N_TRAIN, N_TEST, N_NEW, SEEDS = 200, 100, 1000, 5
COPIED = 0.4  # share of training pictures with a copy in train, and as many with one in test
WRONG = 0.3  # share of labels that are drawn at random
METHODS = ("KNearest", "GDA")

Pictures = Sequence[tuple[Image.Image, str]]


def run(small: bool = False) -> dict[str, Any]:
    """Return accuracies with and without leaks, and on new pictures, by method."""
    n_train, n_test, n_new, seeds = (40, 12, 20, 1) if small else (N_TRAIN, N_TEST, N_NEW, SEEDS)
    pictures = _read(n_train + n_test + n_new)
    rows: dict[str, list[dict[str, float]]] = {method: [] for method in METHODS}
    for seed in range(seeds):
        with TemporaryDirectory() as directory:
            home = Path(directory)
            found = _measure_world(home, pictures, n_train, n_test, n_new, seed, small)
        for method, values in found.items():
            rows[method].append(values)
    return {
        "seeds": seeds,
        "training pictures": n_train,
        "share of labels drawn at random": WRONG,
        "methods": [
            {
                "method": method,
                **{key: summarize([row[key] for row in values]) for key in values[0]},
            }
            for method, values in rows.items()
        ],
    }


def _read(n: int) -> Pictures:
    """Return at least `n` pictures of every world, some hundred per class."""
    out: list[tuple[Image.Image, str]] = []
    counts = dict.fromkeys(CLASSES, 0)
    for path, raw in iterate_archive("cifar10_jpeg", "cifar10_jpeg.tar.gz"):
        label = path.split("/")[-2]
        if "test/" in path and label in counts and counts[label] < n:
            counts[label] += 1
            out.append((decode_image(raw, "RGB"), label))
    return out


def _measure_world(
    home: Path, pictures: Pictures, n_train: int, n_test: int, n_new: int, seed: int, small: bool
) -> dict[str, dict[str, float]]:
    rng = np.random.default_rng(seed)
    order = rng.permutation(len(pictures))[: n_train + n_test + n_new]
    drawn = [
        (pictures[i][0], str(rng.choice(CLASSES)) if rng.random() < WRONG else pictures[i][1])
        for i in order.tolist()
    ]
    train, test, new = (
        drawn[:n_train],
        drawn[n_train : n_train + n_test],
        drawn[n_train + n_test :],
    )
    for split, entries in (("train", train), ("test", test)):
        for i, (picture, label) in enumerate(entries):
            _save(home / "world" / split / label / f"{split}{i:04}.png", picture)
    n_copies = round(COPIED * n_train)
    for split in ("train", "test"):
        for i in rng.permutation(n_train)[:n_copies].tolist():
            kind = COPIES[int(rng.integers(len(COPIES)))]
            copy, label = KINDS[kind](train[i][0], rng), train[i][1]
            _save(home / "world" / split / label / f"copy{i:04}.png", copy)
    for i, (picture, label) in enumerate(new):
        _save(home / "new" / label / f"{i:04}.png", picture)
    store = Store(home / "store.sqlite")
    images = read_images(home / "world", store=store, verify=False)
    fresh = read_images(home / "new", store=store, verify=False)
    weights = "hog" if small else f"local-dir:{shared_path('weights', 'mobilenetv2_100.imagenet')}"
    results = {}
    for method in METHODS:
        config = FitConfig(
            encoders=(weights,), methods=(method,), seed=seed, views=1, group_duplicates=True
        )
        classifier, report = fit_with_report(images, config, store=store)
        truth = evaluate_images(classifier, fresh, store=store)[0].scores.accuracy.value
        leaks = report.duplicate_leaks
        assert leaks is not None
        values = {
            "training pictures with a copy in the test": float(n_copies),
            "training pictures left out for it": float(leaks.n_refused),
            "new pictures": truth,
        }
        for found in leaks.comparisons:
            values[f"{found.on}, with leaks"] = found.with_leaks.value
            values[f"{found.on}, without leaks"] = found.without_leaks.value
            values[f"{found.on}, interval without leaks holds the accuracy on new pictures"] = (
                float(found.without_leaks.low <= truth <= found.without_leaks.high)
            )
        results[method] = values
    store.close()
    return results


def _save(path: Path, picture: Image.Image) -> None:
    path.parent.mkdir(parents=True, exist_ok=True)
    picture.save(path)
