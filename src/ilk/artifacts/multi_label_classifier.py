"""Define `MultiLabelClassifier`, which predicts the labels that apply to an image."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import TYPE_CHECKING, Any, overload

import numpy as np
from numpy.typing import NDArray

from ilk.artifacts import model_folder, pack
from ilk.artifacts.classifier import RESERVED_KEYS
from ilk.artifacts.encoder_files import collect_files, locate_files
from ilk.artifacts.explainable import Explainable
from ilk.artifacts.image_blocks import (
    ManyImages,
    OneImage,
    PathLike,
    encode_block,
    format_refusal,
    format_unreadable,
    iter_image_blocks,
)
from ilk.artifacts.multi_label_prediction import MultiLabelPrediction
from ilk.artifacts.neighbour_file import add_neighbours, make_loader
from ilk.artifacts.output_files import check_outside
from ilk.artifacts.overwrite_guard import check_writable
from ilk.artifacts.restored_parts import check_answers, check_classes, check_kinds, make_probe
from ilk.core.capabilities import Embeds
from ilk.core.data import Features
from ilk.core.errors import InputError
from ilk.core.progress import Progress, silent_progress
from ilk.core.typed_values import check_type
from ilk.encoders import restore_encoder
from ilk.images import (
    Images,
    is_single,
)
from ilk.images.value_ranges.value_range import restore_ranges
from ilk.multilabel.calibration import LabelCalibration
from ilk.multilabel.one_vs_rest import OneVsRest
from ilk.multilabel.thresholds import LabelThresholds
from ilk.store import Store
from ilk.trust.out_of_distribution import OutOfDistributionDetector
from ilk.trust.summary_statistics import check_feature_width

if TYPE_CHECKING:
    from ilk.explain.neighbours import NeighbourIndex

PART_KINDS: dict[str, type[Any]] = {
    "calibration": LabelCalibration,
    "thresholds": LabelThresholds,
    "ood_detector": OutOfDistributionDetector,
}


@dataclass(frozen=True, eq=False)
class LabelBatch:
    """Predictions for `n` rows of features.

    Attributes:
        probabilities: Probability of each label, `[n, k]` float64.
        predicted: Whether each label reaches its threshold, `[n, k]`.
        is_unknown: Whether each row is out-of-distribution, `[n]`.
        unknown_score: Out-of-distribution scores, `[n]` float64.
    """

    probabilities: NDArray[np.float64]
    predicted: NDArray[np.bool_]
    is_unknown: NDArray[np.bool_]
    unknown_score: NDArray[np.float64]


@dataclass(frozen=True, eq=False)
class MultiLabelClassifier(Explainable):
    """A trained classifier of images that may have several labels.

    Attributes:
        classes: The labels, `k` of them.
        encoder: Encoder of the images.
        model: A model per label, against the rest.
        calibration: Maps margins to probabilities.
        thresholds: The probability from which each label applies.
        ood_detector: Computes out-of-distribution scores.
        metadata: Further entries of `model.json`: metrics, versions, seed.
        side_files: Returns the contents of further files to save beside the model, by file name.
        image_folders: Folders that it was fitted to, as far as known, in which it is not saved.
        neighbours: Returns the training images that are kept with it, for `explain`; None if it
            keeps none.
    """

    classes: tuple[str, ...]
    encoder: Embeds
    model: OneVsRest
    calibration: LabelCalibration
    thresholds: LabelThresholds
    ood_detector: OutOfDistributionDetector
    metadata: dict[str, Any] = field(default_factory=dict)
    side_files: Callable[[], Mapping[str, bytes]] | None = None
    image_folders: tuple[Path, ...] = ()
    neighbours: Callable[[], NeighbourIndex | None] | None = None

    @property
    def value_ranges(self) -> dict[str, tuple[float, float]]:
        """Stored values that are black and white in images of more than 8 bits, by kind."""
        return restore_ranges(self.metadata.get("value_ranges"))

    def score_batch(self, x: Features) -> LabelBatch:
        """Predict from features `[n, d]` of the encoder of this classifier.

        Raises:
            InputError: The features come from another encoder.
        """
        check_feature_width(x, len(self.ood_detector.centre))
        p = self.calibration.to_probabilities(self.model.margins(x))
        score = self.ood_detector.score(x)
        return LabelBatch(p, self.thresholds.predict(p), score > self.ood_detector.threshold, score)

    def predict_features(self, x: Features) -> list[MultiLabelPrediction]:
        """Return the predictions of features `[n, d]`, whose paths are "".

        Raises:
            InputError: The features come from another encoder.
        """
        return list(self._iter_predictions(x))

    @overload
    def predict(
        self, inputs: OneImage, *, store: Store | None = None, progress: Progress = ...
    ) -> MultiLabelPrediction: ...

    @overload
    def predict(
        self, inputs: ManyImages, *, store: Store | None = None, progress: Progress = ...
    ) -> list[MultiLabelPrediction]: ...

    @overload
    def predict(
        self, inputs: Any, *, store: Store | None = None, progress: Progress = ...
    ) -> Any: ...

    def predict(
        self,
        inputs: Any,
        *,
        store: Store | None = None,
        progress: Progress = silent_progress,
    ) -> MultiLabelPrediction | list[MultiLabelPrediction]:
        """Return the prediction of one image, or a list with one prediction per image, in order.

        Args:
            inputs: One image or several, as for `Classifier.predict`.
            store: Cache of encoded images; the user's own by default.
            progress: Reports the progress of encoding.

        Raises:
            InputError: Something in `inputs` is not an image, such as an array of floats.
            NoImages: A folder without files.
        """
        predictions = list(self.stream(inputs, store=store, progress=progress))
        return predictions[0] if is_single(inputs) else predictions

    def predict_proba(
        self,
        inputs: Any,
        *,
        store: Store | None = None,
        progress: Progress = silent_progress,
    ) -> NDArray[np.float64]:
        """Return the probability of each label, `[n, k]`, in the order of `self.classes`.

        Args:
            inputs: Images, as for `predict`; a single one gives one row.
            store: Cache of encoded images; the user's own by default.
            progress: Reports the progress of encoding.

        Raises:
            InputError: An image cannot be read; `predict` would give a row with the reason.
        """
        rows = []
        for one in self.stream(inputs, store=store, progress=progress):
            if one.error:
                raise InputError(format_unreadable(one.path, one.error, "names"))
            rows.append([one.probabilities[name] for name in self.classes])
        return np.array(rows, np.float64).reshape(-1, len(self.classes))

    def stream(
        self,
        inputs: Any,
        *,
        store: Store | None = None,
        progress: Progress = silent_progress,
        pages: str = "first",
    ) -> Iterator[MultiLabelPrediction]:
        """Yield the predictions of images block by block, for inputs of any number.

        `pages` is "first" or "all", as for `Classifier.stream`.
        """
        feature_store = store if store is not None else Store()
        for images in iter_image_blocks(inputs, pages):
            yield from self._predict_block(images, feature_store, progress)

    def _predict_block(
        self, images: Images, store: Store, progress: Progress
    ) -> Iterator[MultiLabelPrediction]:
        images, x = encode_block(images, self.encoder, store, progress, self.value_ranges)
        predictions = self._iter_predictions(x)
        for row in images.rows:
            if row.status == "used":
                yield replace(next(predictions), path=row.path, note=row.detail)
            else:
                yield MultiLabelPrediction.from_error(row.path, format_refusal(row))

    def _iter_predictions(self, x: Features) -> Iterator[MultiLabelPrediction]:
        scored = self.score_batch(x)
        for p, applies, is_unknown, score in zip(
            scored.probabilities,
            scored.predicted,
            scored.is_unknown,
            scored.unknown_score,
            strict=True,
        ):
            names = tuple(self.classes[c] for c in np.argsort(-p, kind="stable") if applies[c])
            probabilities = dict(zip(self.classes, p.tolist(), strict=True))
            yield MultiLabelPrediction("", names, probabilities, bool(is_unknown), float(score))

    def save(self, folder: PathLike) -> Path:
        """Write the classifier and its side files to a model folder, and return the folder.

        Raises:
            OutputError: The folder cannot be written, or contains other files.
        """
        home = check_writable(
            check_outside(Path(folder), self.image_folders), model_folder.MULTI_LABEL
        )
        weights, description = pack.pack(
            {
                **self.model.to_parts(),
                "calibration": self.calibration,
                "thresholds": self.thresholds,
                "ood_detector": self.ood_detector,
            }
        )
        side_files = dict(self.side_files()) if self.side_files else {}
        described, encoder_files = collect_files(self.encoder)
        side_files |= encoder_files
        metadata = {
            "classes": list(self.classes),
            "encoder": described,
            **add_neighbours(self.metadata, self.neighbours, side_files),
            "parts": description,
        }
        model_folder.write(home, weights, metadata, model_folder.MULTI_LABEL, side_files)
        return home


def load_multi_label(
    folder: PathLike, *, device: str = "auto", runtime: str = "torch", fetch: bool = False
) -> MultiLabelClassifier:
    """Load a multi-label classifier from a model folder; see `ilk.load`.

    Raises:
        ArtifactError: The folder is not a multi-label classifier, was written by another version of
            ilk, or was altered.
        Unavailable: The encoder is not available on this machine, or differs.
    """
    weights, metadata = model_folder.read(Path(folder), model_folder.MULTI_LABEL)
    with model_folder.report_damage(Path(folder)):
        check_type(metadata, model_folder.MULTI_LABEL.entries, "")
        parts = pack.unpack(weights, metadata["parts"])
        described = locate_files(metadata["encoder"], Path(folder))
        encoder = restore_encoder(described, device=device, runtime=runtime, fetch=fetch)
        check_kinds(parts, PART_KINDS, set())
        classifier = MultiLabelClassifier(
            check_classes(metadata["classes"]),
            encoder,
            OneVsRest.from_parts(parts),
            parts["calibration"],
            parts["thresholds"],
            parts["ood_detector"],
            {key: value for key, value in metadata.items() if key not in RESERVED_KEYS},
            neighbours=make_loader(Path(folder), metadata),
        )
        with np.errstate(all="ignore"):
            scored = classifier.score_batch(make_probe(encoder.space.dim))
        check_answers(
            len(classifier.classes),
            probabilities=scored.probabilities,
            labels=scored.predicted,
            scores=scored.unknown_score,
        )
        return classifier
