"""`diffusion-classifier:PATH`: an encoder whose features are one score per class.

Scores go through the store like any other features, so an interrupted run resumes where it was,
and calibration, conformal sets and out-of-distribution detection work as for any other encoder.
"""

from __future__ import annotations

import threading
from collections.abc import Sequence
from contextlib import AbstractContextManager, nullcontext
from dataclasses import asdict, replace
from functools import cached_property
from typing import Any

import numpy as np
import torch
from numpy.typing import NDArray
from PIL import Image

from ilk.core import device as devices
from ilk.core.data import Features
from ilk.core.fingerprint import compute_key
from ilk.core.space import FeatureSpace
from ilk.diffusion.checkpoint import training_images
from ilk.diffusion.checkpoint.model_paths import get_fold_folder, resolve_home
from ilk.diffusion.checkpoint.training_images import TrainingImages
from ilk.diffusion.classification.context import ClassificationContext
from ilk.diffusion.classification.scorer import Scorer
from ilk.diffusion.classification.source import IlkCheckpoint, Source, open_source
from ilk.diffusion.denoiser.protocol import normalize_images
from ilk.diffusion.errors.class_errors import Measure
from ilk.encoders.classifier_config import ClassifierConfig, split_name
from ilk.encoders.options import EncoderOptions

FORM = "diffusion-classifier:PATH"
SETTINGS = True
FAMILY = "diffusion-classifier"
VERSIONS = {  # by distance; increment when the same network and image give different scores
    "l2": 1,
    "l1": 1,
    "huber": 2,
}


class DiffusionClassifier:
    """One score per class for each image, `[n, k]`; higher means more likely.

    Args:
        name: `diffusion-classifier:PATH[@SETTINGS]`.
        context: The classes to choose among.
        device: `auto`, `cpu`, `cuda`, `cuda:N` or `mps`.
        precision: `float32` or `bfloat16`, of the network's own arithmetic.

    Raises:
        ArtifactError: The folder holds no diffusion model.
        InputError: A setting is invalid, or the network does not know a class.
        Unavailable: It is a checkpoint of diffusers, which is not installed.
    """

    def __init__(
        self,
        name: str,
        context: ClassificationContext,
        device: str = "auto",
        precision: str = "float32",
    ) -> None:
        devices.check_device(device)
        path, settings = split_name(name.partition(":")[2])
        self.folder, self.config = resolve_home(path), ClassifierConfig.parse(settings)
        self.source: Source = open_source(self.folder, context, device, precision)
        self.context, self.device, self.precision = context, device, precision
        self.name = f"{FAMILY}:{path}" + (f"@{text}" if (text := str(self.config)) else "")
        self._load_lock, self._scorers = threading.Lock(), dict[int, Scorer]()
        self._device_lock: AbstractContextManager[Any] = nullcontext()

    @property
    def classes(self) -> tuple[str, ...]:
        """Class names, in the order of the scores."""
        return self.source.classes

    @property
    def batch_size(self) -> int:
        """Images per batch; few for a checkpoint, so that little is lost when stopped."""
        return 32 if isinstance(self.source, IlkCheckpoint) else 4

    @cached_property
    def _training_images(self) -> TrainingImages:
        """An optimized noise belongs to the one network that it was optimized for."""
        uses_one_noise = self.config.strategy == "noise"
        return (
            replace(self.source.training_images, folds=0)
            if uses_one_noise
            else self.source.training_images
        )

    @cached_property
    def space(self) -> FeatureSpace:
        return FeatureSpace(compute_key(self._describe_space()), self.name, len(self.classes))

    def _describe_space(self) -> dict[str, Any]:
        return {
            "family": FAMILY,
            "version": VERSIONS[self.config.distance],
            "settings": asdict(self.config),
            "classes": list(self.classes),
            "prompts": list(self.context.prompts),
            "precision": self.precision,
            "files": self.source.collect_digests(self.config.strategy),
        }

    def describe(self) -> dict[str, Any]:
        description = {"name": self.name, "key": self.space.key, **self._describe_space()}
        return {**description, "folder": str(self.folder.absolute())}

    def is_held_out(
        self, digests: Sequence[str], groups: NDArray[np.int64] | None = None
    ) -> NDArray[np.bool_]:
        """Whether each file can be scored by a network not trained on it or its group, `[n]`."""
        return self._training_images.is_held_out(digests, groups)

    def load(self) -> None:
        """Load the network and the cross-fitted networks. Takes about a second.

        Raises:
            ArtifactError: A file is corrupt or missing.
        """
        with self._load_lock:
            if self._scorers:
                return
            device_name = devices.pick_device(self.device)
            measure = Measure(self.config.distance, 512, self.source.precision, device_name)
            scorers = {
                fold: self._make_scorer(fold, measure)
                for fold in sorted(
                    {
                        -1,
                        *self._training_images.find_held_out_fold(
                            self._training_images.pixel_hashes
                        ).tolist(),
                    }
                )
            }
            self._device_lock = nullcontext() if device_name == "cpu" else threading.Lock()
            self._scorers = scorers

    def _make_scorer(self, fold: int, measure: Measure) -> Scorer:
        home = self.source.home
        network, network_folder = self.source.load_network(fold), get_fold_folder(home, fold)
        return Scorer(network, home, network_folder, measure, self.source.calibration_errors)

    def prepare(self, image: Image.Image) -> NDArray[np.uint8]:
        """Preprocess an RGB image to `[c, h, w]` uint8."""
        return self.source.prepare(image)

    def embed(self, batch: NDArray[np.uint8]) -> Features:
        """Return features `[b, d]` of prepared images `[b, c, h, w]`."""
        self.load()
        folds = self._training_images.find_held_out_fold(training_images.hash_images(batch))
        scores = np.empty((len(batch), len(self.classes)), np.float32)
        with self._device_lock:  # threads take turns on a GPU
            x = self.source.to_network_input(batch)
            for fold in np.unique(folds):
                rows = np.flatnonzero(folds == fold)
                result = self._scorers[int(fold)].score_batch(
                    x[torch.from_numpy(rows)], self.config
                )
                scores[rows] = result.scores.numpy()
        return scores

    def explain(self, prepared: NDArray[np.uint8], first: int, second: int) -> Image.Image:
        """Show where an image `[c, h, w]` supports class `first` (red) and where `second`."""
        scorer = self._find_scorer(prepared)
        background = normalize_images(torch.from_numpy(np.array(prepared)))
        with self._device_lock:
            x = self.source.to_network_input(prepared[None])
            return scorer.explain(x, background, (first, second), self.config)

    def compute_difference(
        self, prepared: NDArray[np.uint8], first: int, second: int
    ) -> NDArray[np.float32]:
        """Return where an image `[c, h, w]` supports class `first` (> 0) or `second`, `[h, w]`."""
        scorer = self._find_scorer(prepared)
        with self._device_lock:
            x = self.source.to_network_input(prepared[None])
            return np.asarray(scorer.compute_difference(x, (first, second), self.config).numpy())

    def _find_scorer(self, prepared: NDArray[np.uint8]) -> Scorer:
        """Return the scorer of a network that was not trained on a prepared image `[c, h, w]`."""
        self.load()
        digests = training_images.hash_images(prepared[None])
        return self._scorers[int(self._training_images.find_held_out_fold(digests)[0])]


def open_encoder(name: str, options: EncoderOptions) -> DiffusionClassifier:
    """Open `diffusion-classifier:PATH[@SETTINGS]`; raises what `DiffusionClassifier` raises."""
    return DiffusionClassifier(name, options.context, options.device, options.precision)
