"""A saved anomaly detector: an encoder and a model of normal images."""

from __future__ import annotations

import os
from collections.abc import Iterator, Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, Protocol, runtime_checkable

import numpy as np

from ilk.artifacts import model_folder
from ilk.artifacts.anomaly_result import AnomalyResult
from ilk.artifacts.encoder_files import collect_files, locate_files
from ilk.artifacts.image_blocks import BLOCK_SIZE, encode_block, iter_image_blocks
from ilk.artifacts.output_files import check_outside
from ilk.artifacts.overwrite_guard import check_writable
from ilk.artifacts.pack import pack, unpack
from ilk.artifacts.pixel_map import PixelMap
from ilk.artifacts.restored_parts import check_answers, check_kinds, make_probe
from ilk.artifacts.scratch_features import open_scratch_store
from ilk.core.capabilities import Embeds
from ilk.core.contracts import Detector
from ilk.core.data import Features
from ilk.core.errors import InputError, NoImages
from ilk.core.progress import Progress, silent_progress
from ilk.core.typed_values import check_type
from ilk.encoders import restore_encoder
from ilk.encoders.patches import PatchEncoder, open_patches
from ilk.images import Images, decode
from ilk.images.value_ranges.value_range import restore_ranges
from ilk.store import Store

MIN_IMAGES = 3  # two images are always equally far from their mean
PATCH_BLOCK_SIZE = 250  # images whose patches are in memory at once: 30 MB


@dataclass(frozen=True, eq=False)
class AnomalyDetector:
    """An encoder, a detector fitted to its features, and a false-alarm rate.

    Attributes:
        encoder: The encoder.
        model: Detector fitted to the features of normal images.
        false_alarm: Probability that a normal image is flagged, in (0, 1).
        image_folders: Folders that it was fitted to, as far as known, in which it is not saved.
        value_ranges: Stored values that are black and white in images of more than 8 bits, by kind.
        patches: The encoder of the patches that `model` compares; None if it reads the features
            of `encoder`.
        method: The method that `model` was fitted by, as a call.
        choice: Area under the ROC curve of each method that was compared, by kind of synthetic
            anomaly; empty if none was (`ilk.fitting.detector_choice`).
    """

    encoder: Embeds
    model: Detector
    false_alarm: float = 0.01
    image_folders: tuple[Path, ...] = ()
    value_ranges: Mapping[str, tuple[float, float]] = field(default_factory=dict)
    patches: PatchEncoder | None = None
    method: str = "GaussianAnomaly()"
    choice: Mapping[str, Mapping[str, float]] = field(default_factory=dict)

    def detect(
        self,
        inputs: Any,
        store: Store,
        threshold: float | None = None,
        progress: Progress = silent_progress,
    ) -> list[AnomalyResult]:
        """Score images and compare the scores with a threshold.

        Args:
            inputs: Images, as for `Classifier.predict`.
            store: Feature store.
            threshold: Images with greater scores are anomalies; None takes the threshold of
                `false_alarm`.
            progress: Receives the progress of encoding.

        Returns:
            One result per file, in the order of `inputs`.

        Raises:
            NoImages: If there is no file.
            InputError: If something in `inputs` is not an image.
        """
        results = list(self.stream(inputs, store, threshold, progress))
        if not results:
            raise NoImages("there is no file in an empty list; pass images or a folder with images")
        return results

    def stream(
        self,
        inputs: Any,
        store: Store,
        threshold: float | None = None,
        progress: Progress = silent_progress,
        pages: str = "first",
        maps: bool = False,
    ) -> Iterator[AnomalyResult]:
        """Yield the results of `detect` block by block, for inputs of any number.

        `pages` is "first" or "all", as for `Classifier.stream`. With `maps`, images are decoded
        once more, and results have their picture and, of a detector of patches, its map.
        """
        if threshold is None:
            threshold = self.model.compute_threshold(self.false_alarm)
        size = BLOCK_SIZE if self.patches is None else PATCH_BLOCK_SIZE
        for block in iter_image_blocks(inputs, pages, size):
            images, x = self._encode(block, store, progress)
            scores, values = self._score(x)
            at = iter(range(len(x)))
            for row in images.rows:
                if row.status != "used":
                    yield AnomalyResult(row, float("nan"), False)
                    continue
                i = next(at)
                score = float(scores[i])
                picture = decode(images.source_of(row), **row.reading) if maps else None
                pixel_map = None
                if picture is not None and values is not None and self.patches is not None:
                    box = self.patches.preprocess.locate_input(*picture.size)
                    pixel_map = PixelMap(values[i], box, picture.size)
                yield AnomalyResult(row, score, score > threshold, pixel_map, picture)

    def _encode(self, block: Images, store: Store, progress: Progress) -> tuple[Images, Features]:
        if self.patches is None:
            return encode_block(block, self.encoder, store, progress, self.value_ranges)
        with open_scratch_store() as scratch:
            return encode_block(block, self.patches, scratch, progress, self.value_ranges)

    def _score(self, x: Features) -> tuple[Features, Features | None]:
        """Return scores `[n]` and, of patches, maps `[n, rows, columns]`."""
        if self.patches is None or not isinstance(self.model, MapsPatches):
            return np.asarray(self.model.score(x)), None
        return self.model.score_with_map(x)

    def save(self, folder: str | os.PathLike[str]) -> None:
        """Write the detector to a model folder.

        Raises:
            OutputError: If the folder cannot be written or contains something else.
        """
        output = check_writable(
            check_outside(Path(folder), self.image_folders), model_folder.DETECTOR
        )
        weights, parts = pack({"detector": self.model})
        described, encoder_files = collect_files(self.encoder)
        metadata = {
            "encoder": described,
            "false_alarm": self.false_alarm,
            "value_ranges": dict(self.value_ranges),
            "parts": parts,
            "method": self.method,
            "reads_patches": self.patches is not None,
            "choice": {name: dict(values) for name, values in self.choice.items()},
        }
        model_folder.write(output, weights, metadata, model_folder.DETECTOR, encoder_files)


def load(
    folder: str | os.PathLike[str],
    *,
    device: str = "auto",
    runtime: str = "auto",
    fetch: bool = False,
) -> AnomalyDetector:
    """Load a detector from its model folder.

    Args:
        folder: The model folder.
        device: Device of the encoder, such as "cpu" or "cuda"; "auto" chooses one.
        runtime: auto, torch, openvino or onnxruntime.
        fetch: Fetch the files of an encoder that are not on this machine. Which repository they
            come from stands in the folder, so trust its source; the user's token is not sent.

    Raises:
        ArtifactError: If the folder contains something else, or was altered.
        Unavailable: If the encoder is not available.
    """
    weights, metadata = model_folder.read(Path(folder), model_folder.DETECTOR)
    with model_folder.report_damage(Path(folder)):
        check_type(metadata, model_folder.DETECTOR.entries, "")
        parts = unpack(weights, metadata["parts"])
        check_kinds(parts, {"detector": Detector}, set())
        described = locate_files(metadata["encoder"], Path(folder))
        encoder = restore_encoder(described, device=device, runtime=runtime, fetch=fetch)
        ranges = restore_ranges(metadata.get("value_ranges"))
        model, false_alarm = parts["detector"], float(metadata["false_alarm"])
        if not 0 < false_alarm < 1:
            raise ValueError(f"the false-alarm rate is {false_alarm}")
        patches = open_patches(encoder) if metadata.get("reads_patches") else None
        if metadata.get("reads_patches") and not isinstance(model, MapsPatches):
            raise TypeError("the detector compares no patches")
        if patches is not None and isinstance(model, MapsPatches):
            learned, grid = (model.height, model.width), patches.grid[:2]
            if learned != grid:
                raise ValueError(f"the detector compares {learned} patches, the encoder has {grid}")
        reader = patches or encoder
        with np.errstate(all="ignore"):
            check_answers(0, scores=model.score(make_probe(reader.space.dim)))
        return AnomalyDetector(
            encoder,
            model,
            false_alarm,
            value_ranges=ranges,
            patches=patches,
            method=str(metadata.get("method", "GaussianAnomaly()")),
            choice=metadata.get("choice", {}),
        )


@runtime_checkable
class MapsPatches(Protocol):
    """A fitted detector that compares patches.

    Attributes:
        height: Rows of patches per image.
        width: Columns of patches per image.
    """

    height: int
    width: int

    def score_with_map(self, x: Features, /) -> tuple[Any, Features]:
        """Return scores `[n]` and maps `[n, rows, columns]` of patches `[n, rows columns c]`."""
        ...


def check_enough_images(images: Images) -> None:
    """Check that there are images to learn from.

    Raises:
        NoImages: If there is no image.
        InputError: If there are fewer than three.
    """
    images.check_not_empty()
    if len(images.used) < MIN_IMAGES:
        raise InputError(
            f"{len(images.used)} normal images are too few; at least {MIN_IMAGES} are needed, "
            "and about a hundred for a reliable threshold"
        )
