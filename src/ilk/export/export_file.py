"""Write the file: build it, compare it with the model, store the result in it."""

from __future__ import annotations

import hashlib
import json
from dataclasses import dataclass
from importlib import resources
from pathlib import Path
from typing import Any

from ilk.artifacts.classifier import Classifier
from ilk.artifacts.model_folder import read_digest
from ilk.core.atomic_write import write_atomically
from ilk.core.errors import InputError
from ilk.core.progress import Progress, silent_progress
from ilk.encoders.compressed import CompressedEncoder
from ilk.export.build import PARITY_KEY, SUMMARY_KEY, build_model, get_metadata, set_metadata
from ilk.export.check_images import CheckImages
from ilk.export.int8_features import list_networks
from ilk.export.parity import Parity, check_parity
from ilk.hub.client import require_package

RUNNER_FILE = "run_model.py"
EXTRA = "export"


@dataclass(frozen=True)
class Export:
    """A written file.

    Attributes:
        path: The file.
        n_bytes: Its size.
        sha256: Its digest.
        parity: How it compares with the model.
        int8: What became of the accuracy with weights of 8 bits; None in float32.
    """

    path: Path
    n_bytes: int
    sha256: str
    parity: Parity
    int8: dict[str, Any] | None = None

    def to_json(self) -> dict[str, Any]:
        """Return plain values."""
        values = {"path": str(self.path), "bytes": self.n_bytes, "sha256": self.sha256}
        return {**values, "parity": self.parity.to_json(), "int8": self.int8}


def check_packages(*packages: str) -> None:
    """Raise Unavailable if a package that exports is not installed."""
    for package in ("onnx", "onnxruntime", *packages):
        require_package(package, EXTRA)


def export_classifier(
    classifier: Classifier,
    model_folder: Path,
    images: CheckImages,
    path: Path,
    *,
    int8: bool = False,
    progress: Progress = silent_progress,
) -> Export:
    """Write a classifier as an ONNX file that answers the same.

    Args:
        classifier: The classifier.
        model_folder: Its folder.
        images: Images to compare on; with `int8`, also those that the ranges and the calibration
            come from.
        path: File to write.
        int8: Compute the networks in 8 bits.
        progress: Reports the progress.

    Raises:
        InputError, Unavailable: The model cannot be expressed in ONNX.
        ArtifactError: The file would not answer as the model does.
        OutputError: The file cannot be written.
    """
    check_packages()
    summary = {"model_digest": read_digest(model_folder), "precision": "float32"}
    report = None
    if int8:
        from ilk.export.int8 import build_int8

        result = build_int8(classifier, images, summary, progress=progress)
        built, classifier, report = result.built, result.classifier, result.report
    else:
        built = build_model(classifier, summary)
    has_int8 = int8 or any(
        isinstance(network, CompressedEncoder) and network.checkpoint.network.is_int8
        for network in list_networks(classifier.encoder)
    )
    parity = check_parity(classifier, built, images, quantized=has_int8, progress=progress)
    graph_digest = hashlib.sha256(built.model.graph.SerializeToString()).hexdigest()
    entry = {**parity.to_json(), "graph_sha256": graph_digest}
    set_metadata(built.model, {PARITY_KEY: json.dumps(entry)})
    if report is not None:
        values = json.loads(get_metadata(built.model)[SUMMARY_KEY])
        set_metadata(built.model, {SUMMARY_KEY: json.dumps({**values, "int8": report})})
    content = built.model.SerializeToString()
    write_atomically(path, content)
    return Export(path, len(content), hashlib.sha256(content).hexdigest(), parity, report)


def read_runner() -> str:
    """Return the program that names images with an exported file, without ilk."""
    return resources.files("ilk.export").joinpath("runner.txt").read_text(encoding="utf-8")


def refuse_other_models(classifier: object) -> Classifier:
    """Return the classifier if it has one label per image.

    Raises:
        InputError: It has several labels per image.
    """
    if not isinstance(classifier, Classifier):
        raise InputError(
            "a model with several labels per image is not exported: the file would need one "
            "threshold per label and no set; keep using `ilk predict`"
        )
    return classifier
