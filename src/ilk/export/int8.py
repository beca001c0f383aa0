"""A classifier in 8 bits: networks quantized, calibration fitted anew, the loss measured."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from functools import partial
from typing import Any

import numpy as np
from numpy.typing import NDArray

from ilk.artifacts.classifier import Classifier
from ilk.core.data import Features, Labels
from ilk.core.errors import ArtifactError, InputError
from ilk.core.progress import Progress, silent_progress
from ilk.core.timing import time_in_turns
from ilk.encoders.compressed import CompressedEncoder
from ilk.encoders.network import NetworkEncoder
from ilk.export.build import BuiltModel, build_model
from ilk.export.check_images import CheckImages
from ilk.export.encoders.network import get_network_key, read_network
from ilk.export.int8_features import embed_images, list_networks, normalize_images
from ilk.export.quantize import QuantizableNetwork
from ilk.export.recalibrate import HonestRows, find_honest_index, recalibrate, score_rows
from ilk.export.session import Session
from ilk.maths.clusters import count_effective_pairs

MAX_LOSS = 0.005  # of the accuracy
N_RANGES = 100  # images that the ranges come from
N_RANKED = 16  # images that the layers are ranked on
STEPS = (2, 4, 8, 16, 32)  # layers that go back to float32, until the loss is small enough
N_TIMED = 15
Refit = Callable[[Features], Classifier]
Z_95 = 1.959964  # normal quantile of a two-sided 95 % interval


@dataclass(frozen=True, eq=False)
class Int8Result:
    """A classifier in 8 bits.

    Attributes:
        built: Its ONNX model.
        classifier: The classifier with the calibration of that model.
        report: What it costs and gains, as plain values.
    """

    built: BuiltModel
    classifier: Classifier
    report: dict[str, Any]


def build_int8(
    classifier: Classifier,
    images: CheckImages,
    summary: Mapping[str, Any],
    *,
    progress: Progress = silent_progress,
) -> Int8Result:
    """Return the classifier with its networks in 8 bits.

    Layers that hurt most go back to float32 while the accuracy on honest rows falls by more than
    half a point.

    Args:
        classifier: The classifier.
        images: Images, some of which have labels.
        summary: Further entries of the metadata.
        progress: Reports the progress.

    Raises:
        InputError: The encoder has no network, or there are too few labelled images.
        ArtifactError: The accuracy falls by more than half a point, beyond what chance explains.
    """
    encoders = list_networks(classifier.encoder)
    if not encoders:
        raise InputError(
            f"{classifier.encoder.name} has no network, so --int8 would change nothing; leave it "
            "out"
        )
    refuse_int8(encoders)
    index = find_honest_index(images, classifier.encoder)
    networks = measure_networks(encoders, images, progress)
    models, rows, skipped = quantize_networks(
        classifier, images, index, networks, progress=progress
    )
    loss, interval = check_loss(
        rows,
        MAX_LOSS,
        "in 8 bits",
        ", even with half of the layers in float32; export it without --int8",
    )
    fitted = recalibrate(classifier, rows)
    built = build_model(fitted, {**summary, "precision": "int8"}, models)
    exact = build_model(classifier, summary, {k: n.model for k, n in networks.items()})
    ratio = compare_speed(exact, built, images.decode(0))
    n_layers = sum(len(network.layers) for network in networks.values())
    names = [name for key in skipped for name in skipped[key]]
    report = _describe(rows, loss, interval, n_layers, names)
    report["speed_ratio"] = ratio
    report["size_ratio"] = built.model.ByteSize() / exact.model.ByteSize()
    report["notes"] = _format_notes(report)
    return Int8Result(built, fitted, report)


def refuse_int8(encoders: Sequence[NetworkEncoder], advice: str = "leave --int8 out") -> None:
    """Raise InputError, with an advice at its end, if one of the networks is in 8 bits already."""
    for encoder in encoders:
        if isinstance(encoder, CompressedEncoder) and encoder.checkpoint.network.is_int8:
            raise InputError(f"{encoder.name} computes in 8 bits already; {advice}")


def check_loss(
    rows: HonestRows, max_loss: float, what: str, advice: str
) -> tuple[float, tuple[float, float]]:
    """Return the loss of accuracy and its 95 % interval, both as fractions.

    Args:
        rows: Rows scored before and after.
        max_loss: The greatest loss that is allowed.
        what: What was done, for the message: "in 8 bits".
        advice: End of the message.

    Raises:
        ArtifactError: The loss is greater, and not explained by chance.
    """
    loss, interval = _compute_loss(rows), estimate_loss(rows.differences, rows.group)
    if loss > max_loss and interval[0] > 0:
        raise ArtifactError(
            f"{what} the accuracy falls by {100 * loss:.1f} points (95 % interval "
            f"{100 * interval[0]:.1f} to {100 * interval[1]:.1f}, {len(rows.y):,} labelled "
            f"images){advice}"
        )
    return loss, interval


def measure_networks(
    encoders: Sequence[NetworkEncoder], images: CheckImages, progress: Progress
) -> dict[str, QuantizableNetwork]:
    """Return the networks by key, with the ranges of their activations on some images."""
    chosen = list(np.unique(np.linspace(0, len(images) - 1, N_RANGES).round().astype(int)))
    networks = {}
    with progress("measuring the ranges of activations", len(encoders)) as advance:
        for encoder in encoders:
            batches = normalize_images(encoder, images, chosen)
            network = QuantizableNetwork(read_network(encoder), batches)
            network.measure_ranges()
            networks[get_network_key(encoder)] = network
            advance(1)
    return networks


def quantize_networks(
    classifier: Classifier,
    images: CheckImages,
    index: NDArray[np.int64],
    networks: Mapping[str, QuantizableNetwork],
    *,
    max_loss: float = MAX_LOSS,
    refit: Refit | None = None,
    progress: Progress = silent_progress,
) -> tuple[dict[str, Any], HonestRows, dict[str, list[str]]]:
    """Return models in 8 bits, their honest rows, and the layers that stay in float32.

    Args:
        classifier: The classifier.
        images: Labelled images.
        index: Those that the loss is measured on, `[m]`.
        networks: Its networks with the ranges of their activations, by key.
        max_loss: Layers go back to float32 while the accuracy falls by more, as a fraction.
        refit: Returns the classifier fitted to changed features of all images; None keeps the head.
        progress: Reports the images that the networks in 8 bits run on.
    """
    skipped: dict[str, list[str]] = {key: [] for key in networks}
    models, rows = _try(classifier, images, index, networks, skipped, refit, progress)
    ranked: dict[str, list[str]] = {}
    for n_skipped in STEPS:
        if _compute_loss(rows) <= max_loss:
            break
        for key, network in networks.items():
            if key not in ranked:
                ranked[key] = network.rank_layers(np.concatenate(network.batches)[:N_RANKED])
            skipped[key] = ranked[key][: min(n_skipped, len(ranked[key]) // 2)]
        models, rows = _try(classifier, images, index, networks, skipped, refit, progress)
    return models, rows, skipped


def _try(
    classifier: Classifier,
    images: CheckImages,
    index: NDArray[np.int64],
    networks: Mapping[str, QuantizableNetwork],
    skipped: Mapping[str, list[str]],
    refit: Refit | None,
    progress: Progress,
) -> tuple[dict[str, Any], HonestRows]:
    models = {key: n.quantize(skipped=skipped[key]) for key, n in networks.items()}
    if refit is None:
        changed = embed_images(classifier.encoder, images.take(index), models, progress)
        return models, score_rows(classifier, images, index, changed)
    changed = embed_images(classifier.encoder, images, models, progress)
    return models, score_rows(classifier, images, index, changed[index], refitted=refit(changed))


def _compute_loss(rows: HonestRows) -> float:
    return float(rows.differences.mean())


def estimate_loss(
    differences: NDArray[np.int64], groups: Labels | None = None
) -> tuple[float, float]:
    """Return a 95 % interval for the mean of paired differences of -1, 0 and 1.

    Alan Agresti, Yongyi Min, 2005, doi:10.1002/sim.1781: Wald's interval after half an observation
    is added to each cell of the table of pairs. Rows of a group are no independent observations:
    the table counts as many as have a mean that varies as much.

    Args:
        differences: 1 where only the first of a pair is right, -1 where only the second, `[n]`.
        groups: Group of each pair, `[n]`, -1 for a group of its own; pairs of a group count as far
            as they differ from each other. None makes every pair one.
    """
    n_pairs = len(differences)
    n_effective = n_pairs if groups is None else count_effective_pairs(differences, groups)
    n, share = n_effective + 2, n_effective / n_pairs
    only_first, only_second = (share * (differences == s).sum() + 0.5 for s in (1, -1))
    mean = (only_first - only_second) / n
    variance = (only_first + only_second - n * mean**2) / n**2
    half = Z_95 * float(np.sqrt(variance))
    return float(mean - half), float(mean + half)


def compare_speed(first: BuiltModel, second: BuiltModel, pixels: NDArray[np.uint8]) -> float:
    """Return how many times as fast the second file answers for an image `[h, w, 3]`."""
    sessions = [Session(built.model.SerializeToString()) for built in (first, second)]
    tasks = [partial(session.run, pixels[None]) for session in sessions]
    before, after = time_in_turns(tasks, N_TIMED)
    return before / after


def _describe(
    rows: HonestRows, loss: float, interval: tuple[float, float], n_layers: int, names: list[str]
) -> dict[str, Any]:
    n = len(rows.y)
    before = float((rows.logits.argmax(1) == rows.y).mean())
    same = float((rows.logits.argmax(1) == rows.changed_logits.argmax(1)).mean())
    return {
        "n_labelled": n,
        "scored": "out of fold" if rows.is_out_of_fold else "not trained on",
        "accuracy_float32": before,
        "accuracy_int8": before - loss,
        "loss": loss,
        "loss_interval": list(interval),
        "same_names": same,
        "layers": n_layers,
        "layers_in_float32": names,
    }


def _format_notes(report: Mapping[str, Any]) -> list[str]:
    low, high = report["loss_interval"]
    change = (
        f"{'falls' if report['loss'] > 0 else 'rises'} by {100 * abs(report['loss']):.2f} points"
    )
    if report["loss"] == 0:
        change = "is the same"
    accuracy = (
        f"in 8 bits the accuracy {change} (95 % interval of the loss {100 * low:.2f} to "
        f"{100 * high:.2f} points) on {report['n_labelled']:,} labelled images "
        f"({report['scored']}); {report['same_names']:.1%} of the names are the same"
    )
    cost = (
        f"one image takes {1 / report['speed_ratio']:.2f} times as long as in float32, and the "
        f"file has {report['size_ratio']:.0%} of the size"
    )
    notes = [accuracy, cost]
    if report["loss"] > MAX_LOSS:
        notes.append(
            "the loss is above half a point, but on these images that may be chance: check it "
            "on more labelled images"
        )
    if report["layers_in_float32"]:
        notes.append(
            f"{len(report['layers_in_float32'])} of {report['layers']} layers stay in float32: "
            f"{', '.join(report['layers_in_float32'][:4])}"
        )
    return notes
