"""What 8 bits cost on held images, over several draws of the training images."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np

import ilk
from benchmarks.export.held_images import write_folders
from benchmarks.runner import summarize
from ilk.artifacts.classifier import Classifier
from ilk.core.data import Data
from ilk.export.check_images import CheckImages, encode_check_images
from ilk.export.encoders.network import get_network_key, read_network
from ilk.export.int8 import compare_speed, estimate_loss
from ilk.export.int8_features import embed_images, list_networks, normalize_images
from ilk.export.quantize import QuantizableNetwork
from ilk.export.recalibrate import recalibrate, score_rows
from ilk.images import read_images
from ilk.methods import parse
from ilk.store import Store

N_DRAWS = 5
N_RANGES = 100


def measure_int8(home: Path, n_train: int, n_held: int, store: Store) -> dict[str, Any]:
    """Return loss, coverage and false alarms in 8 bits, over draws of the training images.

    The network is quantized once; heads, calibration and thresholds are those of each draw. Held
    images are as the data set has them, since coverage is promised for images like those of the
    fit.

    Args:
        home: Folder to write to.
        n_train: Training images per class, of which each draw has half.
        n_held: Held images per class.
        store: Where features are kept.
    """
    from ilk.export.build import build_model

    folders = write_folders("CIFAR-10", home / "plain", n_train, n_held, ("as it is",))
    classifier = ilk.fit(
        str(folders.train), encoders=("efficientnet-lite0",), methods=("GDA",), store=store
    )
    assert isinstance(classifier, Classifier)
    folder = classifier.save(home / "int8-model")
    train, held = (
        encode_check_images(
            classifier, read_images(str(source), store=store), folder, "", store, limit=10_000
        )
        for source in (folders.train, folders.held)
    )
    [encoder] = list_networks(classifier.encoder)
    chosen = list(np.linspace(0, len(train) - 1, N_RANGES).round().astype(int))
    network = QuantizableNetwork(read_network(encoder), normalize_images(encoder, train, chosen))
    models = {get_network_key(encoder): network.quantize()}
    changed = {
        name: embed_images(classifier.encoder, images, models)
        for name, images in (("train", train), ("held", held))
    }
    draws = [
        measure_draw(classifier, train, held, changed["train"], changed["held"], seed)
        for seed in range(N_DRAWS)
    ]
    exact, quantized = build_model(classifier), build_model(classifier, None, models)
    return {
        "n_train": len(train) // 2,
        "n_held": len(held),
        "draws": draws,
        "summary": {key: summarize([draw[key] for draw in draws]) for key in draws[0]},
        "loss_interval_of_one_draw": measure_interval(classifier, held, changed["held"]),
        "speed_ratio": compare_speed(exact, quantized, held.decode(0)),
        "size_ratio": quantized.model.ByteSize() / exact.model.ByteSize(),
        "megabytes": quantized.model.ByteSize() / 1e6,
    }


def measure_draw(
    classifier: Classifier,
    train: CheckImages,
    held: CheckImages,
    changed_train: Any,
    changed_held: Any,
    seed: int,
) -> dict[str, float]:
    """Return figures in points, log loss in nats, of a head fitted to half of the images."""
    rng = np.random.default_rng(seed)
    half = np.sort(rng.permutation(len(train))[: len(train) // 2])
    part = train.take(half)
    data = Data(part.x, part.y, classifier.classes)
    head = parse("GDA").fit(data)
    original = replace(classifier, model=head)
    exact_rows = score_rows(original, part, np.arange(len(part)), part.x, seed)
    rows = score_rows(original, part, np.arange(len(part)), changed_train[half], seed)
    kept = recalibrate(_fit_detector(original, data), exact_rows)
    anew = recalibrate(_fit_detector(original, data), rows)
    before = kept.score_batch(held.x).probabilities.argmax(1) == held.y
    figures = {
        "accuracy in float32": before.mean(),
        "estimated loss": rows.differences.mean(),
    }
    log_loss: dict[str, float] = {}
    for name, fitted in (("kept", kept), ("anew", anew)):
        scored = fitted.score_batch(changed_held)
        inside = scored.prediction_sets[np.arange(len(held)), held.y]
        p = scored.probabilities[np.arange(len(held)), held.y]
        figures[f"coverage, {name}"] = inside.mean()
        figures[f"false alarms, {name}"] = scored.is_unknown.mean()
        figures[f"loss, {name}"] = before.mean() - (scored.probabilities.argmax(1) == held.y).mean()
        log_loss[f"log loss, {name}"] = float(-np.log(np.maximum(p, 1e-12)).mean())
    return {key: float(100 * value) for key, value in figures.items()} | log_loss


def _fit_detector(classifier: Classifier, data: Data) -> Classifier:
    from ilk.trust.out_of_distribution import fit_gaussian

    detector = replace(
        fit_gaussian(data), false_alarm=classifier.ood_detector.false_alarm, n_rows=len(data)
    )
    return replace(classifier, ood_detector=detector)


def measure_interval(classifier: Classifier, held: CheckImages, changed: Any) -> list[float]:
    """Return the paired interval of the loss of the whole model on held images, in points."""
    before = classifier.score_batch(held.x).probabilities.argmax(1) == held.y
    after = classifier.score_batch(changed).probabilities.argmax(1) == held.y
    low, high = estimate_loss(before.astype(np.int64) - after.astype(np.int64))
    return [100 * low, 100 * high]
