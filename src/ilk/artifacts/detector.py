"""A saved anomaly detector: an encoder and a model of normal images."""

from __future__ import annotations

import os
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np

from ilk.artifacts import model_folder
from ilk.artifacts.overwrite_guard import check_writable
from ilk.artifacts.pack import pack, unpack
from ilk.artifacts.restored_parts import check_answers, check_kinds, make_probe
from ilk.core.capabilities import Embeds
from ilk.core.data import UNLABELLED, Data
from ilk.core.errors import InputError, NoImages
from ilk.core.progress import Progress, silent_progress
from ilk.core.typed_values import check_type
from ilk.detectors.gaussian_anomaly import GaussianAnomaly, GaussianDetector
from ilk.encode import encode_images
from ilk.encoders import restore_encoder
from ilk.images import (
    Images,
    NamedInput,
    Row,
    escape_path,
    inspect_inputs,
    iter_inputs,
    list_files,
)
from ilk.store import Store

MIN_IMAGES = 3  # two images are always equally far from their mean


@dataclass(frozen=True)
class AnomalyResult:
    """Result for one image.

    Attributes:
        row: The image; `row.status` is not "used" if it could not be read.
        score: Anomaly score; nan if the image could not be read.
        is_anomaly: Whether the score exceeds the threshold.
    """

    row: Row
    score: float
    is_anomaly: bool


@dataclass(frozen=True, eq=False)
class AnomalyDetector:
    """An encoder, a detector fitted to its features, and a false-alarm rate.

    Attributes:
        encoder: The encoder.
        model: Detector fitted to the features of normal images.
        false_alarm: Probability that a normal image is flagged, in (0, 1).
    """

    encoder: Embeds
    model: GaussianDetector
    false_alarm: float = 0.01

    @classmethod
    def fit(
        cls, images: Images, encoder: Embeds, store: Store, false_alarm: float = 0.01
    ) -> AnomalyDetector:
        """Fit a detector to images that are already encoded, all of which count as normal.

        Args:
            images: The images; see `ilk.encode.encode_images`.
            encoder: The encoder.
            store: Store with its features.
            false_alarm: Probability that a normal image is flagged, in (0, 1).

        Raises:
            NoImages: If there is no image.
            InputError: If there are fewer than three, or `false_alarm` is not between 0 and 1.
        """
        images.check_not_empty()
        if len(images.used) < MIN_IMAGES:
            raise InputError(
                f"{len(images.used)} normal images are too few; at least {MIN_IMAGES} are needed, "
                "and about a hundred for a reliable threshold"
            )
        x = store.get(encoder.space, [row.digest for row in images.used])
        model = GaussianAnomaly().fit(Data(x, np.full(len(x), UNLABELLED), ()))
        model.compute_threshold(false_alarm)  # raises for an invalid rate
        return cls(encoder, model, false_alarm)

    def detect(
        self,
        inputs: Any,
        store: Store,
        threshold: float | None = None,
        progress: Progress = silent_progress,
    ) -> list[AnomalyResult]:
        """Score images and compare the scores with a threshold.

        Args:
            inputs: Path of an image or a folder, or several; or images in memory, as for
                `Classifier.predict`.
            store: Feature store.
            threshold: Images with greater scores are anomalies; None takes the threshold of
                `false_alarm`.
            progress: Receives the progress of encoding.

        Returns:
            One result per file, in the order of `inputs`.

        Raises:
            NoImages: If there is no file.
            InputError: If something in `inputs` is no image.
        """
        threshold_value = (
            self.model.compute_threshold(self.false_alarm) if threshold is None else threshold
        )
        images = inspect_inputs(_list_inputs(inputs))
        images = images.refuse(encode_images(images, [self.encoder], store, progress=progress))
        used = [row for row in images.rows if row.status == "used"]
        x = store.get(self.encoder.space, [row.digest for row in used])
        scores = iter(self.model.score(x).tolist())
        results = []
        for row in images.rows:
            score = next(scores) if row.status == "used" else float("nan")
            results.append(AnomalyResult(row, score, score > threshold_value))
        return results

    def save(self, folder: str | os.PathLike[str]) -> None:
        """Write the detector to a model folder.

        Raises:
            OutputError: If the folder cannot be written or contains something else.
        """
        output = check_writable(Path(folder), model_folder.DETECTOR)
        weights, parts = pack({"detector": self.model})
        metadata = {
            "encoder": self.encoder.describe(),
            "false_alarm": self.false_alarm,
            "parts": parts,
        }
        model_folder.write(output, weights, metadata, model_folder.DETECTOR)


def load(
    folder: str | os.PathLike[str], *, device: str = "auto", runtime: str = "auto"
) -> AnomalyDetector:
    """Load a detector from its model folder.

    Args:
        folder: The model folder.
        device: Device of the encoder, such as "cpu" or "cuda"; "auto" chooses one.
        runtime: auto, torch, openvino or onnxruntime.

    Raises:
        ArtifactError: If the folder contains something else, or was altered.
        Unavailable: If the encoder is not available.
    """
    weights, metadata = model_folder.read(Path(folder), model_folder.DETECTOR)
    with model_folder.report_damage(Path(folder)):
        check_type(metadata, model_folder.DETECTOR.entries, "")
        parts = unpack(weights, metadata["parts"])
        check_kinds(parts, {"detector": GaussianDetector}, set())
        encoder = restore_encoder(metadata["encoder"], device=device, runtime=runtime)
        model, false_alarm = parts["detector"], float(metadata["false_alarm"])
        if not 0 < false_alarm < 1:
            raise ValueError(f"the false-alarm rate is {false_alarm}")
        with np.errstate(all="ignore"):
            check_answers(0, scores=model.score(make_probe(encoder.space.dim)))
        return AnomalyDetector(encoder, model, false_alarm)


def _list_inputs(inputs: Any) -> list[NamedInput]:
    """Return the images of `inputs`; a folder, also one in a list, stands for the files in it.

    Raises:
        NoImages: If there is none.
    """
    items = inputs if isinstance(inputs, list | tuple) else [inputs]
    if not all(isinstance(item, str | os.PathLike) for item in items):
        return list(iter_inputs(inputs))
    named: list[NamedInput] = [(file, file) for item in items for file in list_files(item)]
    if not named:
        shown_paths = ", ".join(escape_path(item) for item in items) or "an empty list"
        raise NoImages(f"there is no file in {shown_paths}; pass images or a folder with images")
    return named
