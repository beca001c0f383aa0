"""Is the default classifier of a folder as good as the best of scikit-learn, and do ensembles pay?

Folders of real photographs are split into training and fresh test parts. `ilk.fit` with its
defaults, offline, against scikit-learn's shrinkage discriminant analysis and logistic regression
(with the penalty chosen by cross-validation) on the same features of `efficientnet-lite0`, the
better of the two by cross-validation on the training part; and against the best single candidate
(`FitConfig(single=True)`), also with a second pretrained network. Nothing is chosen on test labels.
"""

from __future__ import annotations

import os
import shutil
import tempfile
import time
import warnings
from collections import Counter, defaultdict
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np

import ilk
from benchmarks.claims import Claim, make_table
from benchmarks.runner import shared_path
from benchmarks.shared_files import iterate_archive
from ilk.artifacts.classifier import Classifier
from ilk.core.data import Features
from ilk.core.metrics import Probabilities, accuracy, log_loss
from ilk.encode import encode_images
from ilk.encoders import resolve_encoder
from ilk.fitting.fit import FitConfig
from ilk.store import Store

SETS = ("PACS photos", "PACS, four styles", "CIFAR-10")
TRAIN_SIZES = {"PACS photos": (15,), "PACS, four styles": (30,), "CIFAR-10": (20,)}
N_SPLITS, N_SMALL = 5, 1
CIFAR_PER_CLASS = 50
NETWORK = "efficientnet-lite0"
DEFAULT, SINGLE, SKLEARN = "ilk default", "best single candidate", "scikit-learn's best"
TWO, TWO_SINGLE = "two networks", "best single of two networks"
SELECTION_FILE = "fitting/ensemble_selection.py"


@dataclass(frozen=True)
class Photo:
    """A file with its class."""

    path: Path
    label: str


def run(small: bool = False) -> dict[str, Any]:
    """Return accuracy and log loss over splits of each set and training size."""
    os.environ.setdefault("HF_HUB_OFFLINE", "1")
    folder = Path(tempfile.mkdtemp(prefix="ilk-ensembles-"))
    try:
        store = Store(os.environ.get("ILK_BENCH_STORE", folder / "store.sqlite"))
        tables, details = [], []
        for name in SETS[:1] if small else SETS:
            photos = _read_photos(name, folder, 6 if small else CIFAR_PER_CLASS)
            for per_class in (4,) if small else TRAIN_SIZES[name]:
                made, detail = _compare(
                    f"{name}, {per_class} training images per class",
                    photos,
                    per_class,
                    N_SMALL if small else N_SPLITS,
                    store,
                )
                tables += made
                details.append(detail)
        return {"tables": tables, "details": details}
    finally:
        shutil.rmtree(folder, ignore_errors=True)


def _read_photos(name: str, folder: Path, per_class: int) -> list[Photo]:
    """Write the photos of a set below `folder`, at most `per_class` of each CIFAR-10 class."""
    is_cifar = name.startswith("CIFAR")
    archive = "cifar10_jpeg" if is_cifar else "pacs_subset"
    counts: dict[str, int] = defaultdict(int)
    photos = []
    for member, content in iterate_archive(archive, f"{archive}.tar.gz"):
        *parents, label, file = Path(member).parts
        group = label if is_cifar else f"{parents[-1]} {label}"
        if is_cifar and parents[-1] != "test":
            continue
        if name == "PACS photos" and parents[-1] != "photo":
            continue
        counts[group] += 1
        if counts[group] > per_class:
            continue
        path = folder / name.replace(" ", "-") / group.replace(" ", "-") / file
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_bytes(content)
        photos.append(Photo(path, label))
    return photos


def _compare(
    setting: str, photos: Sequence[Photo], per_class: int, n_splits: int, store: Store
) -> tuple[list[dict[str, Any]], dict[str, Any]]:
    """Return tables of accuracy and log loss, and details of each split."""
    accuracies, losses = defaultdict(list), defaultdict(list)
    details = []
    second = f"local-dir:{shared_path('weights', 'mobilenetv2_100.imagenet')}"
    configs = {
        DEFAULT: FitConfig(),
        SINGLE: FitConfig(single=True),
        TWO: FitConfig(encoders=(NETWORK, second)),
        TWO_SINGLE: FitConfig(encoders=(NETWORK, second), single=True),
    }
    for seed in range(n_splits):
        train, test = split_photos(photos, per_class, seed)
        classes = sorted({photo.label for photo in train})
        y = np.array([classes.index(photo.label) for photo in test])
        answers: dict[str, Probabilities] = {}
        detail: dict[str, Any] = {"seed": seed}
        for name, config in configs.items():
            started_at = time.perf_counter()
            images = ilk.read([str(p.path) for p in train], labels=[p.label for p in train])
            classifier = ilk.fit(images, config, store=store)
            assert isinstance(classifier, Classifier), "one label per image"
            detail[name] = _describe_fit(classifier, time.perf_counter() - started_at)
            answers[name] = _predict(classifier, test, store)
        answers[SKLEARN], detail[SKLEARN] = _fit_sklearn(train, test, store, seed)
        details.append(detail)
        for name, p in answers.items():
            accuracies[name].append(accuracy(y, p.argmax(1)).value)
            losses[name].append(log_loss(y, p))
    return [
        _make_table(setting, "test accuracy", accuracies, "higher"),
        _make_table(setting, "test log loss", losses, "lower"),
    ], {"setting": setting, "splits": details}


def _make_table(
    setting: str, metric: str, scores: Mapping[str, Sequence[float]], better: Any
) -> dict[str, Any]:
    claims = [
        Claim("ensemble-selection", SELECTION_FILE, ours, theirs)
        for ours, theirs in ((DEFAULT, SKLEARN), (DEFAULT, SINGLE), (TWO, TWO_SINGLE))
    ]
    return make_table(setting, metric, scores, claims, better)


def split_photos(
    photos: Sequence[Photo], per_class: int, seed: int
) -> tuple[list[Photo], list[Photo]]:
    """Return `per_class` random photos of each class, and the others."""
    rng = np.random.default_rng(seed)
    train: list[Photo] = []
    test: list[Photo] = []
    for label in sorted({photo.label for photo in photos}):
        own = [photo for photo in photos if photo.label == label]
        order = rng.permutation(len(own))
        train += [own[i] for i in order[:per_class]]
        test += [own[i] for i in order[per_class:]]
    return train, test


def _describe_fit(classifier: Classifier, seconds: float) -> dict[str, Any]:
    ensemble = classifier.metadata["ensemble"]
    return {
        "encoder": classifier.encoder.name.rpartition("/")[2],
        "method": classifier.metadata["method"],
        "seconds": round(seconds, 2),
        "ensemble_gain": ensemble and ensemble["accuracy_gain"],
        "estimate": classifier.metadata["metrics"]["evaluation"]["accuracy"],
    }


def _predict(classifier: Classifier, test: Sequence[Photo], store: Store) -> Probabilities:
    """Return the probabilities `[n, k]` of photos."""
    images = ilk.read([str(p.path) for p in test], labels=[p.label for p in test])
    encode_images(images, [classifier.encoder], store)
    x = store.get(classifier.encoder.space, [row.digest for row in images.rows])
    return classifier.score_batch(x).probabilities


def _fit_sklearn(
    train: Sequence[Photo], test: Sequence[Photo], store: Store, seed: int
) -> tuple[Probabilities, dict[str, Any]]:
    """Return probabilities of scikit-learn's best classifier, chosen by 5-fold cross-validation."""
    from sklearn.discriminant_analysis import LinearDiscriminantAnalysis
    from sklearn.linear_model import LogisticRegressionCV
    from sklearn.model_selection import StratifiedKFold, cross_val_score
    from sklearn.pipeline import make_pipeline
    from sklearn.preprocessing import StandardScaler

    counts = Counter(photo.label for photo in train)
    folds = StratifiedKFold(min(5, *counts.values()), shuffle=True, random_state=seed)
    lda = LinearDiscriminantAnalysis(solver="lsqr", shrinkage="auto")
    regression = LogisticRegressionCV(Cs=np.logspace(-3, 1, 5), cv=folds, max_iter=100)
    pipeline = make_pipeline(StandardScaler(), regression)
    x, y = _load_features(train, store), [photo.label for photo in train]
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        scores = {"LDA": float(cross_val_score(lda, x, y, cv=folds).mean())}
        pipeline.fit(x, y)
        found = regression.scores_
        paths = list(found.values()) if isinstance(found, dict) else [found]
        mean_path = np.mean(paths, axis=(0, 1))  # over classes, which share it, and folds
        scores["LogisticRegression"] = float(np.max(mean_path))
        name = max(scores, key=lambda n: scores[n])
        best = lda.fit(x, y) if name == "LDA" else pipeline
    p = best.predict_proba(_load_features(test, store))
    return np.asarray(p), {"method": name, "cross_validation": scores}


def _load_features(photos: Sequence[Photo], store: Store) -> Features:
    images = ilk.read([str(p.path) for p in photos], labels=[p.label for p in photos])
    encoder = resolve_encoder(NETWORK)
    encode_images(images, [encoder], store)
    return store.get(encoder.space, [row.digest for row in images.rows])
