"""What do 8 bits and pruned channels cost a classifier, and what do they gain?

PACS, 840 photographs, paintings, cartoons and sketches of 7 classes, with the embedded encoder and
GDA. Per seed, a random half of each class is fitted to and compressed with, as `ilk compress` does
it; the other half judges the model before and after: accuracy, calibration, sets. Differences are
paired by seed. The bar: in 8 bits, no more than 0.5 points of accuracy and 1 point of coverage
less, and twice as fast as OpenVINO in float32, in one run.

Times are of a batch by one thread, engines in turns. `layers in 8 bits` is read from the model that
OpenVINO compiled. Magnitude pruning sets single weights to zero: the engines multiply by them all
the same. Variants of the quantizer are compared on one split: scales per channel or per layer,
activations with or without zero point, sums of residual connections not quantized by themselves
(what they read and what reads them is in 8 bits either way). Files are
named by their digest: the original names tell style and class, which `ilk fit` would notice.
"""

from __future__ import annotations

import hashlib
import tempfile
from collections import Counter, defaultdict
from pathlib import Path
from typing import Any

import numpy as np

import ilk
from benchmarks.claims import Claim, make_table
from benchmarks.compress.engines import count_int8_layers, measure_engines
from benchmarks.runner import summarize
from benchmarks.shared_files import iterate_archive
from ilk.artifacts.classifier import Classifier
from ilk.compression.compress import compress_classifier
from ilk.compression.config import CompressionConfig
from ilk.compression.magnitude import prune_onnx_weights
from ilk.core.metrics import score
from ilk.encoders.folding import compute_disagreement
from ilk.export.check_images import CheckImages, encode_check_images
from ilk.export.encoders.network import get_network_key, read_network
from ilk.export.int8 import N_RANGES
from ilk.export.int8_features import embed_images, list_networks, normalize_images
from ilk.export.quantize import QuantizableNetwork, list_operators
from ilk.images import read_images
from ilk.store import Store

ENCODER, METHOD = "efficientnet-lite0", "GDA"
BEFORE, INT8 = "float32", "8 bits"
ARMS = {
    INT8: (CompressionConfig(int8=True, max_loss=1.0), 5),
    "10 % pruned": (CompressionConfig(False, 0.1, 1.0), 3),
    "10 % pruned, 8 bits": (CompressionConfig(True, 0.1, 1.0), 3),
    "20 % pruned": (CompressionConfig(False, 0.2, 1.0), 3),
}
"""Settings and number of seeds; nothing is refused, so that every loss is seen."""
BATCH_SIZES = (1, 4, 16)
MAX_POINTS, MAX_COVERAGE_POINTS, MIN_SPEED = 0.5, 1.0, 2.0
METRICS = {
    "accuracy": "higher",
    "log loss": "lower",
    "calibration error": "lower",
    "coverage": "higher",
    "names per set": "lower",
}


def run(small: bool = False) -> dict[str, Any]:
    """Return the figures of each arm, the bars, and the times of the engines."""
    with tempfile.TemporaryDirectory() as folder:
        home = Path(folder)
        store = Store(home / "store.sqlite") if small else Store()
        files = read_files(4 if small else 10_000)
        arms = {INT8: (ARMS[INT8][0], 1)} if small else ARMS
        seeds = 1 if small else max(n for _, n in arms.values())
        rows: dict[str, list[dict[str, float]]] = {BEFORE: [], **{name: [] for name in arms}}
        reports: dict[str, list[dict[str, Any]]] = {name: [] for name in arms}
        for seed in range(seeds):
            split = Split.make(home / f"seed {seed}", files, seed, store)
            rows[BEFORE].append(split.judge(split.classifier))
            for name, (settings, n_seeds) in arms.items():
                if seed < n_seeds:
                    compressed = compress_classifier(
                        split.classifier, split.folder, split.train, store, settings,
                        home=split.folder.parent / name,
                    )  # fmt: skip
                    rows[name].append(split.judge(compressed.classifier))
                    reports[name].append(compressed.report)
        result = {
            "n_images": len(files),
            "summary": summarize_rows(rows),
            "costs": {name: describe_cost(reports[name]) for name in arms},
            "engines": measure_networks(split, 0.2 if small else 1.5),
            "variants": [] if small else compare_variants(split),
            "tables": make_tables(rows, seeds),
        }
        return {**result, "bars": check_bars(result)}


def read_files(per_class: int) -> list[tuple[str, str, bytes]]:
    """Return label, name and bytes of the images, at most some per class and style."""
    counts: Counter[tuple[str, ...]] = Counter()
    files = []
    for path, raw in iterate_archive("pacs_subset", "pacs_subset.tar.gz"):
        parts = Path(path).parts
        if path.endswith((".jpg", ".png")) and counts[parts[:-1]] < per_class:
            counts[parts[:-1]] += 1
            name = hashlib.sha256(raw).hexdigest()[:16]  # says nothing of style and class
            files.append((parts[-2], f"{name}.jpg", raw))
    return files


class Split:
    """A classifier of half of the images, and both halves."""

    def __init__(
        self, classifier: Classifier, folder: Path, train: CheckImages, held: Any, store: Store
    ) -> None:
        self.classifier, self.folder, self.train = classifier, folder, train
        self.held, self.store = held, store

    @classmethod
    def make(
        cls, home: Path, files: list[tuple[str, str, bytes]], seed: int, store: Store
    ) -> Split:
        """Write the halves of a seed, fit, save and return."""
        rng = np.random.default_rng(seed)
        by_class: dict[str, list[int]] = defaultdict(list)
        for i, (label, _, _) in enumerate(files):
            by_class[label].append(i)
        for label, index in by_class.items():
            order = rng.permutation(index)
            for part, chosen in (("train", order[::2]), ("held", order[1::2])):
                (home / part / label).mkdir(parents=True, exist_ok=True)
                for i in chosen:
                    (home / part / label / files[i][1]).write_bytes(files[i][2])
        classifier = ilk.fit(
            str(home / "train"), encoders=(ENCODER,), methods=(METHOD,), store=store, seed=seed
        )
        assert isinstance(classifier, Classifier)
        folder = classifier.save(home / "kinds")
        images = read_images(str(home / "train"), store=store)
        train = encode_check_images(classifier, images, folder, "train", store, limit=10_000)
        return cls(classifier, folder, train, read_images(str(home / "held"), store=store), store)

    def judge(self, classifier: Classifier) -> dict[str, float]:
        """Return the figures of a classifier on the held half."""
        held = encode_check_images(
            classifier, self.held, self.folder, "held", self.store, limit=10_000
        )
        scored = classifier.score_batch(held.x)
        scores = score(held.y, scored.probabilities)
        inside = scored.prediction_sets[np.arange(len(held.y)), held.y]
        return {
            "accuracy": scores.accuracy.value,
            "log loss": scores.log_loss,
            "calibration error": scores.calibration_error,
            "coverage": float(inside.mean()),
            "names per set": float(scored.prediction_sets.sum(1).mean()),
            "flagged as unknown": float(scored.is_unknown.mean()),
        }


def summarize_rows(rows: dict[str, list[dict[str, float]]]) -> dict[str, Any]:
    """Return each figure's mean by arm, and its paired change, over the seeds of the arm."""
    summary: dict[str, Any] = {}
    for name, values in rows.items():
        pairs = list(zip(values, rows[BEFORE], strict=False))
        summary[name] = {
            key: {
                "value": summarize([row[key] for row in values]),
                "change": summarize([row[key] - before[key] for row, before in pairs]),
            }
            for key in values[0]
        }
        summary[name]["seeds"] = len(values)
    return summary


def describe_cost(reports: list[dict[str, Any]]) -> dict[str, Any]:
    """Return size, speed and layers of an arm."""
    keys = [str(size) for size in (1, 16)]
    last = reports[-1]
    cost = {
        "size_ratio": last["bytes_after"] / last["bytes_before"],
        "head": last["head"],
        "estimated_loss": [report["loss"] for report in reports],
        "speed_ratio": {
            key: float(np.median([r["speed_ratios"][key] for r in reports])) for key in keys
        },
        "layers_in_float32": [len(report["layers_in_float32"]) for report in reports],
    }
    if "multiply_adds" in last:
        before, after = last["multiply_adds"]
        cost["multiplications_ratio"] = after / before
    return cost


def measure_networks(split: Split, seconds: float) -> dict[str, Any]:
    """Return times per image of the networks on both engines, and OpenVINO's layers in 8 bits."""
    [encoder] = list_networks(split.classifier.encoder)
    images = list(range(min(N_RANGES, len(split.train))))
    network = QuantizableNetwork(
        read_network(encoder), normalize_images(encoder, split.train, images)
    )
    models = {
        "float32": network.prepared,
        "8 bits": network.quantize(),
        "80 % of the weights are zero": prune_onnx_weights(network.prepared, 0.8),
    }
    contents = {name: model.SerializeToString() for name, model in models.items()}
    batch = np.concatenate(network.batches)[:16]
    times = measure_engines(contents, batch, [s for s in BATCH_SIZES if s <= len(batch)], seconds)
    return {
        "milliseconds_per_image": times,
        "ratio_to_openvino_float32": {
            size: {name: row["OpenVINO float32"] / value for name, value in row.items()}
            for size, row in times.items()
        },
        "openvino_layers": {name: count_int8_layers(c) for name, c in contents.items()},
    }


def compare_variants(split: Split) -> list[dict[str, Any]]:
    """Return how much the features of the held half change by variant of the quantizer."""
    [encoder] = list_networks(split.classifier.encoder)
    rows = list(range(0, len(split.train), 4))[:N_RANGES]
    network = QuantizableNetwork(
        read_network(encoder), normalize_images(encoder, split.train, rows)
    )
    held = encode_check_images(
        split.classifier, split.held, split.folder, "held", split.store, limit=105
    )
    whole, key = split.classifier.encoder, get_network_key(encoder)
    exact, before = held.x, split.classifier.model.logits(held.x).argmax(1)
    variants: dict[str, dict[str, Any]] = {
        "as ilk does": {},
        "one scale per layer": {"per_channel": False},
        "activations without zero point": {"symmetric": True},
        "residual sums in float32": {
            "operators": [name for name in list_operators() if name != "Add"]
        },
    }
    results = []
    for name, options in variants.items():
        features = embed_images(whole, held, {key: network.quantize(**options)})
        logits = split.classifier.model.logits(features)
        distance = np.linalg.norm(features - exact, axis=1) / np.linalg.norm(exact, axis=1)
        results.append(
            {
                "variant": name,
                "mean_change_of_features": float(distance.mean()),
                "greatest_change_of_features": compute_disagreement(features, exact),
                "same_names": float((logits.argmax(1) == before).mean()),
                "accuracy": float((logits.argmax(1) == held.y).mean()),
            }
        )
    return results


def make_tables(rows: dict[str, list[dict[str, float]]], seeds: int) -> list[dict[str, Any]]:
    """Return the tables of arms with all seeds, and of those with three."""
    tables = []
    for n in sorted({len(values) for values in rows.values()}, reverse=True):
        names = [name for name, values in rows.items() if len(values) >= n]
        if n < min(3, seeds):
            continue
        for metric, better in METRICS.items():
            scores = {name: [row[metric] for row in rows[name][:n]] for name in names}
            claims = [
                Claim("compress", "compression/compress.py", name, BEFORE)
                for name in names
                if name != BEFORE and len(rows[name]) == n
            ]
            direction: Any = better
            tables.append(make_table("PACS, half of the images", metric, scores, claims, direction))
    return tables


def check_bars(result: dict[str, Any]) -> dict[str, Any]:
    """Return each bar: what was measured, and whether it was reached."""
    change = {key: result["summary"][INT8][key]["change"] for key in ("accuracy", "coverage")}
    ratios = result["engines"]["ratio_to_openvino_float32"]
    times = result["engines"]["milliseconds_per_image"].values()
    fastest = {name: min(row[f"OpenVINO {name}"] for row in times) for name in (BEFORE, INT8)}
    best = fastest[BEFORE] / fastest[INT8]
    return {
        "points_of_accuracy_lost": -100 * change["accuracy"]["mean"],
        "points_of_coverage_lost": -100 * change["coverage"]["mean"],
        "speed_by_batch_size": {size: row[f"OpenVINO {INT8}"] for size, row in ratios.items()},
        "speed_at_the_best_batch_size_of_each": best,
        "accuracy_reached": -100 * change["accuracy"]["mean"] <= MAX_POINTS,
        "coverage_reached": -100 * change["coverage"]["mean"] <= MAX_COVERAGE_POINTS,
        "speed_reached": best >= MIN_SPEED,
    }
