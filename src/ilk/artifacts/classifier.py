"""Define `Classifier`, a trained classifier with calibrated probabilities."""

from __future__ import annotations

import os
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field, replace
from itertools import islice
from pathlib import Path
from typing import Any

import numpy as np

from ilk.artifacts import model_folder, pack
from ilk.artifacts.overwrite_guard import check_writable
from ilk.artifacts.prediction import Prediction, ScoredBatch
from ilk.artifacts.remainder import explain_missing, remove_encoders
from ilk.core.atomic_write import write_atomically
from ilk.core.capabilities import Embeds
from ilk.core.contracts import Model
from ilk.core.data import Features, Logits
from ilk.core.errors import Unavailable
from ilk.core.metrics import Probabilities
from ilk.core.progress import Progress, silent_progress
from ilk.encode import encode_images
from ilk.encoders import restore_encoder
from ilk.images import Images, Row, inspect_file
from ilk.store import Store
from ilk.trust.calibration import Calibration
from ilk.trust.class_priors import ClassPriors
from ilk.trust.conformal import ConformalPredictor
from ilk.trust.out_of_distribution import OutOfDistributionDetector
from ilk.trust.summary_statistics import SummaryStatistics, check_feature_width

BLOCK_SIZE = 2_000  # inputs per block, so that memory does not grow with their number
PART_NAMES = (
    "model",
    "calibration",
    "conformal",
    "ood_detector",
    "summary_statistics",
    "class_priors",
)
RESERVED_KEYS = {"format", "version", "weights", "digest", "parts", "classes", "encoder"}

PathLike = str | os.PathLike[str]


@dataclass(frozen=True, eq=False)
class Classifier:
    """A trained classifier: encoder, model, calibration, conformal sets and outlier detection.

    Attributes:
        classes: Class names, `k` of them.
        encoder: Encoder of the images.
        model: Model that maps features to logits.
        calibration: Maps logits to probabilities.
        conformal: Maps probabilities to conformal sets.
        ood_detector: Computes out-of-distribution scores.
        metadata: Further entries of `model.json`: metrics, thresholds, versions, seed.
        side_files: Returns the contents of further files to save beside the model, by file name;
            `ilk.fit` provides the report and the leaderboard this way.
        summary_statistics: Statistics of the training features for later updates; None without
            labels.
        class_priors: Class priors that the classifier was adapted to; None for those of training.
    """

    classes: tuple[str, ...]
    encoder: Embeds
    model: Model
    calibration: Calibration
    conformal: ConformalPredictor
    ood_detector: OutOfDistributionDetector
    metadata: dict[str, Any] = field(default_factory=dict)
    side_files: Callable[[], Mapping[str, bytes]] | None = None
    summary_statistics: SummaryStatistics | None = None
    class_priors: ClassPriors | None = None

    def to_probabilities(self, logits: Logits) -> Probabilities:
        """Convert logits `[n, k]` of the model to calibrated probabilities `[n, k]`."""
        p = self.calibration.to_probabilities(logits)
        return self.class_priors.adjust(p) if self.class_priors else p

    def score_batch(self, x: Features) -> ScoredBatch:
        """Predict from features `[n, d]` of the encoder of this classifier.

        Raises:
            InputError: The features come from another encoder.
        """
        check_feature_width(x, self.encoder.space.dim)
        p = self.to_probabilities(self.model.logits(x))
        score = self.ood_detector.score(x)
        return ScoredBatch(
            p, self.conformal.contains(p, score), score > self.ood_detector.threshold, score
        )

    def predict(
        self,
        inputs: PathLike | Iterable[PathLike],
        *,
        store: Store | None = None,
        progress: Progress = silent_progress,
    ) -> list[Prediction]:
        """Return one prediction per input, in the given order.

        Args:
            inputs: Image paths, or a single path.
            store: Cache of encoded images; the user's own by default.
            progress: Reports the progress of encoding.
        """
        return list(self.stream(inputs, store=store, progress=progress))

    def stream(
        self,
        inputs: PathLike | Iterable[PathLike],
        *,
        store: Store | None = None,
        progress: Progress = silent_progress,
    ) -> Iterator[Prediction]:
        """Yield the predictions of `predict` block by block, for inputs of any number."""
        feature_store = store if store is not None else Store()
        input_list = [inputs] if isinstance(inputs, str | os.PathLike) else inputs
        paths = (os.fspath(p) for p in input_list)
        while block := list(islice(paths, BLOCK_SIZE)):
            yield from self._predict_block(block, feature_store, progress)

    def _predict_block(
        self, paths: Sequence[str], store: Store, progress: Progress
    ) -> list[Prediction]:
        images = Images(None, tuple(inspect_file(path) for path in paths))
        images = images.refuse(encode_images(images, [self.encoder], store, progress=progress))
        used = [i for i, row in enumerate(images.rows) if row.status == "used"]
        x = store.get(self.encoder.space, [images.rows[i].digest for i in used])
        predictions = dict(zip(used, self._iter_predictions(x), strict=True))
        return [
            replace(predictions[i], path=row.path)
            if i in predictions
            else Prediction.from_error(row.path, format_refusal(row))
            for i, row in enumerate(images.rows)
        ]

    def _iter_predictions(self, x: Features) -> Iterator[Prediction]:
        scored = self.score_batch(x)
        for p, in_set, is_unknown, score in zip(
            scored.probabilities,
            scored.prediction_sets,
            scored.is_unknown,
            scored.unknown_score,
            strict=True,
        ):
            order = np.argsort(-p, kind="stable")
            names = tuple(self.classes[c] for c in order if in_set[c])
            best_class = int(order[0])
            yield Prediction(
                "",
                self.classes[best_class],
                float(p[best_class]),
                names,
                bool(is_unknown),
                float(score),
            )

    def save(self, folder: PathLike) -> Path:
        """Write the classifier and its side files to a model folder, and return the folder.

        Raises:
            OutputError: The folder cannot be written, or contains other files.
        """
        home = check_writable(Path(folder))
        parts = {name: getattr(self, name) for name in PART_NAMES}
        weights, description = pack.pack({name: part for name, part in parts.items() if part})
        home.mkdir(parents=True, exist_ok=True)
        write_atomically(home / model_folder.PARTIAL_MARKER, b"")
        for name, content in (self.side_files() if self.side_files else {}).items():
            write_atomically(home / name, content)
        metadata = {
            "classes": list(self.classes),
            "encoder": self.encoder.describe(),
            **self.metadata,
        }
        model_folder.write(home, weights, {**metadata, "parts": description})
        (home / model_folder.PARTIAL_MARKER).unlink()
        return home


def format_refusal(row: Row) -> str:
    """Return the reason why a row was refused, with its detail."""
    return f"{row.reason}: {row.detail}" if row.detail else row.reason


def load(
    folder: PathLike,
    *,
    device: str = "auto",
    runtime: str = "torch",
    without: Sequence[str] = (),
) -> Classifier:
    """Load a classifier from a model folder.

    Args:
        folder: Folder written by `Classifier.save`.
        device: auto, cpu, cuda, cuda:N or mps.
        runtime: torch, channels-last or openvino.
        without: Encoder of an ensemble to do without, because it is gone from this machine.

    Raises:
        ArtifactError: The folder is not a classifier, was written by another version of ilk, or
            was altered.
        Unavailable: The encoder is not available on this machine, or differs from the one that the
            classifier was fitted with.
        InputError: The classifier cannot do without the encoder named in `without`.
    """
    weights, metadata = model_folder.read(Path(folder))
    parts = pack.unpack(weights, metadata["parts"])
    if without:
        parts, metadata = remove_encoders(parts, metadata, without)
    try:
        encoder = restore_encoder(metadata["encoder"], device=device, runtime=runtime)
    except Unavailable as error:
        raise explain_missing(error, metadata, device, runtime) from None
    other_metadata = {key: value for key, value in metadata.items() if key not in RESERVED_KEYS}
    return Classifier(tuple(metadata["classes"]), encoder, metadata=other_metadata, **parts)
