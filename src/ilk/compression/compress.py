"""A classifier whose network is pruned, in 8 bits, or both, and what that costs."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, replace
from functools import partial
from pathlib import Path
from typing import Any

import numpy as np

from ilk.artifacts.classifier import Classifier
from ilk.artifacts.image_blocks import encode_block
from ilk.artifacts.thresholds import describe_thresholds
from ilk.compression.config import CompressionConfig
from ilk.compression.figures import Figure, list_figures, measure_figures
from ilk.compression.prune_channels import PrunedNetwork, prune_channels
from ilk.compression.refit import can_refit, refit_head, summarize_features
from ilk.compression.replace_networks import replace_networks
from ilk.compression.speed import compare_speeds
from ilk.core.data import Features
from ilk.core.errors import InputError
from ilk.core.progress import Progress, silent_progress
from ilk.export.check_images import CheckImages
from ilk.export.export_file import check_packages
from ilk.export.int8 import check_loss, measure_networks, quantize_networks, refuse_int8
from ilk.export.int8_features import list_networks
from ilk.export.quantize import QuantizableNetwork
from ilk.export.recalibrate import find_honest_index, recalibrate, score_rows
from ilk.store import Store

N_TIMED = 16  # images in the batch that is timed
RUN_BATCHES = (1, N_TIMED)


@dataclass(frozen=True, eq=False)
class Compression:
    """A compressed classifier.

    Attributes:
        classifier: It, not saved yet.
        figures: What it costs on labelled images.
        report: What was done, and its size and speed, as plain values.
        changed: Features of the images by its network, `[n, d]`.
    """

    classifier: Classifier
    figures: tuple[Figure, ...]
    report: dict[str, Any]
    changed: Features


def compress_classifier(
    classifier: Classifier,
    folder: Path,
    images: CheckImages,
    store: Store,
    config: CompressionConfig = CompressionConfig(),  # noqa: B008  (frozen)
    *,
    home: Path = Path("compressed"),
    progress: Progress = silent_progress,
) -> Compression:
    """Return a classifier whose network is pruned, in 8 bits, or both.

    If the images that it was fitted to are there, its head is fitted anew to the features of the
    changed network; else the head stays. Calibration, sets and the threshold of unknown images are
    always fitted anew, on rows that the head was not fitted to.

    Args:
        classifier: The classifier.
        folder: Its folder.
        images: Images, some of which have labels: those that ranges, channels, calibration and
            figures come from.
        store: Where the new features are kept.
        config: Settings.
        home: Folder that it will be saved in.
        progress: Reports the progress.

    Raises:
        InputError: The encoder has no network, it computes in 8 bits already, it has no channels to
            remove, or there are too few labelled images.
        ArtifactError: The accuracy falls by more than is allowed, beyond what chance explains.
        Unavailable: ONNX or an engine is not installed.
    """
    check_packages()
    encoders = list_networks(classifier.encoder)
    if not encoders:
        raise InputError(
            f"{classifier.encoder.name} has no network, so there is nothing to compress; fit a "
            "model with an encoder that has one, such as efficientnet-lite0"
        )
    refuse_int8(encoders, "compress the model that it was made from")
    index = find_honest_index(images, classifier.encoder)
    refit = (
        partial(refit_head, classifier, images) if can_refit(classifier, images, folder) else None
    )
    networks = measure_networks(encoders, images, progress)
    pruned = _prune(networks, config, classifier.encoder.name, progress)
    smaller = {
        key: QuantizableNetwork(pruned[key].model, network.batches) if key in pruned else network
        for key, network in networks.items()
    }
    models, in_float32 = {key: n.prepared for key, n in smaller.items()}, []
    if config.int8:
        models, _, skipped = quantize_networks(
            classifier,
            images,
            index,
            smaller,
            max_loss=config.max_loss,
            refit=refit,
            progress=progress,
        )
        in_float32 = [name for names in skipped.values() for name in names]
    how = {"int8": config.int8, "prune": config.prune}
    encoder = replace_networks(classifier.encoder, models, how, config.int8, home)
    used = replace(images.images, rows=images.rows)
    _, changed = encode_block(used, encoder, store, progress, classifier.value_ranges)
    refitted = refit(changed) if refit else None
    rows = score_rows(classifier, images, index, changed[index], config.seed, refitted=refitted)
    loss, _ = check_loss(rows, config.max_loss, config.phrase, _advise(config, refit is not None))
    result = replace(
        recalibrate(refitted or classifier, rows), encoder=encoder, attention_maps=None
    )
    if refitted is not None:
        summary = summarize_features(classifier, images, changed, rows)
        result = replace(result, summary_statistics=summary)
    figures = measure_figures(
        rows, classifier.conformal.level, classifier.class_priors, config.seed
    )
    report = {
        **how,
        "n_labelled": len(rows.y),
        "scored": "out of fold" if rows.is_out_of_fold else "not trained on",
        "head": "refitted" if refit else "kept",
        "loss": loss,
        "max_loss": config.max_loss,
        "figures": list_figures(figures),
        "layers": sum(len(n.layers) for n in smaller.values()),
        "layers_in_float32": in_float32,
        "same_names": float(np.mean(rows.logits.argmax(1) == rows.changed_logits.argmax(1))),
        **_describe_size(networks, models, pruned),
        **_measure_speed(classifier, result, images),
    }
    metadata = _describe(result, report)
    result = replace(
        result, metadata=metadata, neighbours=_replace_neighbours(result, images, changed)
    )
    return Compression(result, figures, report, changed)


def _prune(
    networks: Mapping[str, QuantizableNetwork],
    config: CompressionConfig,
    name: str,
    progress: Progress,
) -> dict[str, PrunedNetwork]:
    if not config.prune:
        return {}
    return {
        key: prune_channels(n.prepared, n.batches, config.prune, name=name, progress=progress)
        for key, n in networks.items()
    }


def _advise(config: CompressionConfig, is_refitted: bool) -> str:
    """Return the end of the message that the loss is too great."""
    ways = []
    if config.prune:
        ways.append("a smaller --prune")
    if not is_refitted:
        ways.append("all images that the model was fitted to, so that its head is refitted")
    ways.append(f"--max-loss above {config.max_loss:g}")
    return f", more than {100 * config.max_loss:g}; nothing was written; try {' or '.join(ways)}"


def _describe_size(
    networks: Mapping[str, QuantizableNetwork],
    models: Mapping[str, Any],
    pruned: Mapping[str, PrunedNetwork],
) -> dict[str, Any]:
    before = sum(n.prepared.ByteSize() for n in networks.values())
    after = sum(model.ByteSize() for model in models.values())
    report: dict[str, Any] = {"bytes_before": before, "bytes_after": after}
    if pruned:
        report["multiply_adds"] = [sum(p.multiply_adds[i] for p in pruned.values()) for i in (0, 1)]
        report["channels"] = [
            sum(sizes[i] for p in pruned.values() for sizes in p.kept.values()) for i in (0, 1)
        ]
    return report


def _measure_speed(before: Classifier, after: Classifier, images: CheckImages) -> dict[str, Any]:
    """Return how many times as fast the new encoder is, alone and in batches."""
    from PIL import Image

    rows = range(min(N_TIMED, len(images)))
    pictures = [Image.fromarray(images.decode(i)) for i in rows]
    prepared = np.stack([before.encoder.prepare(picture) for picture in pictures])
    encoders = {"before": before.encoder, "after": after.encoder}
    ratios = {}
    for size in RUN_BATCHES:
        seconds = compare_speeds(encoders, prepared[:size])
        ratios[str(size)] = seconds["before"] / seconds["after"]
    notes = [_name_runtimes(c.encoder) for c in (before, after)]
    return {"speed_ratios": ratios, "runtimes": notes}


def _name_runtimes(encoder: Any) -> str:
    """Return what runs the networks of an encoder, such as "OpenVINO"."""
    return " and ".join(dict.fromkeys(n.runtime_note for n in list_networks(encoder)))


def _describe(classifier: Classifier, report: Mapping[str, Any]) -> dict[str, Any]:
    """Return the metadata of the compressed classifier."""
    return {
        **classifier.metadata,
        "thresholds": describe_thresholds(classifier),
        "compression": dict(report),
        "ensemble": None,  # what it is without one encoder was measured with the old features
    }


def _replace_neighbours(classifier: Classifier, images: CheckImages, changed: Features) -> Any:
    """Return what loads the kept training images with new features; None if one has none."""
    index = classifier.neighbours() if classifier.neighbours is not None else None
    position = {row.digest: i for i, row in enumerate(images.rows)}
    if index is None or not all(digest in position for digest in index.digests):
        return None
    features = changed[[position[digest] for digest in index.digests]].astype(np.float16)
    moved = replace(index, features=features, space=classifier.encoder.space.key)
    return lambda: moved
