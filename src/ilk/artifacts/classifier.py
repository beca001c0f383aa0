"""Define `Classifier`, a trained classifier with calibrated probabilities."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping
from copy import deepcopy
from dataclasses import dataclass, field, fields, replace
from pathlib import Path
from typing import TYPE_CHECKING, Any, overload

import numpy as np

from ilk.artifacts import model_folder, pack
from ilk.artifacts.encoder_files import collect_files
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
from ilk.artifacts.neighbour_file import add_neighbours
from ilk.artifacts.output_files import check_outside
from ilk.artifacts.overwrite_guard import check_writable
from ilk.artifacts.pickling import replace_encoders, restore_encoders
from ilk.artifacts.prediction import Prediction, ScoredBatch, summarize_order
from ilk.core.attention_maps import TrainedMaps
from ilk.core.capabilities import Embeds
from ilk.core.contracts import Model
from ilk.core.data import Features, Logits
from ilk.core.errors import InputError
from ilk.core.metrics import Probabilities
from ilk.core.ordered_classes import Values, compute_class_values
from ilk.core.progress import Progress, silent_progress
from ilk.images import (
    Images,
    inspect_inputs,
    is_single,
    iter_inputs,
)
from ilk.images.inspection.members import Member
from ilk.images.value_ranges.value_range import restore_ranges
from ilk.store import Store
from ilk.trust.calibration import Calibration
from ilk.trust.class_priors import ClassPriors
from ilk.trust.conformal import ConformalPredictor
from ilk.trust.out_of_distribution import OutOfDistributionDetector
from ilk.trust.summary_statistics import SummaryStatistics, check_feature_width

if TYPE_CHECKING:
    from ilk.explain.neighbours import NeighbourIndex
    from ilk.report.notebook import LeaderboardView
PART_KINDS: dict[str, type[Any]] = {
    "model": Model,
    "calibration": Calibration,
    "conformal": ConformalPredictor,
    "ood_detector": OutOfDistributionDetector,
    "summary_statistics": SummaryStatistics,
    "class_priors": ClassPriors,
    "attention_maps": TrainedMaps,
}
RESERVED_KEYS = {"format", "version", "weights", "digest", "parts", "classes", "encoder"}


@dataclass(frozen=True, eq=False, repr=False)
class Classifier(Explainable):
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
        image_folders: Folders that it was fitted to, as far as known, in which it is not saved.
        neighbours: Returns the training images that are kept with it, for `explain`; None if it
            keeps none.
        attention_maps: Trained attention maps for `explain`; None if there are none.
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
    image_folders: tuple[Path, ...] = ()
    neighbours: Callable[[], NeighbourIndex | None] | None = None
    attention_maps: TrainedMaps | None = None

    @property
    def leaderboard(self) -> LeaderboardView | None:
        """The candidates that the fit compared; None for a classifier saved without them."""
        from ilk.artifacts import classifier_summary

        return classifier_summary.parse_leaderboard(self.metadata)

    @property
    def class_values(self) -> Values | None:
        """Values of ordered classes, `[k]`; None if the classes have no order."""
        return compute_class_values(self.classes) if self.metadata.get("ordered") else None

    @property
    def value_ranges(self) -> dict[str, tuple[float, float]]:
        """Stored values that are black and white in images of more than 8 bits, by kind."""
        return restore_ranges(self.metadata.get("value_ranges"))

    def __repr__(self) -> str:
        from ilk.artifacts import classifier_summary

        return classifier_summary.format_classifier(self.classes, self.encoder.name, self.metadata)

    def _repr_html_(self) -> str:
        from ilk.artifacts import classifier_summary

        return classifier_summary.render_classifier(self.classes, self.encoder.name, self.metadata)

    def __getstate__(self) -> dict[str, Any]:
        return replace_encoders(self.__dict__)

    def __setstate__(self, state: Mapping[str, Any]) -> None:
        self.__dict__.update(restore_encoders(state))

    def __deepcopy__(self, memo: dict[int, Any]) -> Classifier:
        memo[id(self.encoder)] = self.encoder  # shared: it holds no state of this classifier
        copies = {f.name: deepcopy(getattr(self, f.name), memo) for f in fields(self)}
        return type(self)(**copies)

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

    def predict_features(self, x: Features) -> list[Prediction]:
        """Return the predictions of features `[n, d]`, whose paths are "".

        Raises:
            InputError: The features come from another encoder.
        """
        return list(self._iter_predictions(self.score_batch(x)))

    @overload
    def predict(
        self, inputs: OneImage, *, store: Store | None = None, progress: Progress = ...
    ) -> Prediction: ...

    @overload
    def predict(
        self, inputs: ManyImages, *, store: Store | None = None, progress: Progress = ...
    ) -> list[Prediction]: ...

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
    ) -> Prediction | list[Prediction]:
        """Return the prediction of one image, or a list with one prediction per image, in order.

        Args:
            inputs: One image: a path, the bytes of an image file, an open binary file, a Pillow
                image of any mode, or a uint8 array `[h, w]` or `[h, w, c]` with 1, 3 or 4 channels.
                Or several: an array `[n, h, w, c]`, a DataFrame with a column of paths, what
                `ilk.read` returns (one prediction per row, refused ones included), a folder, a
                table or list of paths, a zip or tar archive, a pattern such as
                `photos/**/*.jpg`, a list of any of these, or another iterable of images.
            store: Cache of encoded images; the user's own by default.
            progress: Reports the progress of encoding.

        Returns:
            A prediction for one image, a list for several. An image that cannot be read has a
            prediction too; its `error` says why.

        Raises:
            InputError: Something in `inputs` is not an image, such as an array of floats.
            NoImages: A folder without files.
        """
        if not is_single(inputs):
            return list(self.stream(inputs, store=store, progress=progress))
        [(name, content)] = iter_inputs(inputs)
        images = inspect_inputs([(name, content)])
        feature_store = store if store is not None else Store()
        [prediction] = self._predict_block(images, feature_store, progress)
        if isinstance(content, str | Member):
            return prediction
        return replace(prediction, image=content)

    def predict_proba(
        self,
        inputs: Any,
        *,
        store: Store | None = None,
        progress: Progress = silent_progress,
    ) -> Probabilities:
        """Return calibrated probabilities `[n, k]` of images, in the order of `self.classes`.

        Args:
            inputs: Images, as for `predict`; a single one gives one row.
            store: Cache of encoded images; the user's own by default.
            progress: Reports the progress of encoding.

        Raises:
            InputError: An image cannot be read; `predict` would give a row with the reason.
            NoImages: A folder without files.
        """
        feature_store = store if store is not None else Store()
        blocks = [np.zeros((0, len(self.classes)))]
        for block in iter_image_blocks(inputs):
            images, x = encode_block(
                block, self.encoder, feature_store, progress, self.value_ranges
            )
            if images.refused:
                row = images.refused[0]
                raise InputError(format_unreadable(row.path, format_refusal(row), "a name"))
            blocks.append(self.score_batch(x).probabilities)
        return np.concatenate(blocks)

    def stream(
        self,
        inputs: Any,
        *,
        store: Store | None = None,
        progress: Progress = silent_progress,
        pages: str = "first",
    ) -> Iterator[Prediction]:
        """Yield the predictions of `predict` block by block, for inputs of any number.

        Of a file with several pages or frames, `pages="all"` gives a prediction for each, called
        `scan.tif[2]`; "first" uses the first.
        """
        feature_store = store if store is not None else Store()
        for images in iter_image_blocks(inputs, pages):
            yield from self._predict_block(images, feature_store, progress)

    def _predict_block(
        self, images: Images, store: Store, progress: Progress
    ) -> Iterator[Prediction]:
        images, x = encode_block(images, self.encoder, store, progress, self.value_ranges)
        predictions = self._iter_predictions(self.score_batch(x))
        for row in images.rows:
            if row.status == "used":
                yield replace(next(predictions), path=row.path, note=row.detail)
            else:
                yield Prediction.from_error(row.path, format_refusal(row))

    def _iter_predictions(self, scored: ScoredBatch) -> Iterator[Prediction]:
        values = self.class_values
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
                **({} if values is None else summarize_order(p, self.classes, values)),
            )

    def save(self, folder: PathLike) -> Path:
        """Write the classifier and its side files to a model folder, and return the folder.

        Raises:
            OutputError: The folder cannot be written, contains other files, or lies in one of the
                folders of images that the classifier was fitted to.
        """
        home = check_writable(check_outside(Path(folder), self.image_folders))
        parts = {name: getattr(self, name) for name in PART_KINDS}
        weights, description = pack.pack({name: part for name, part in parts.items() if part})
        side_files = dict(self.side_files()) if self.side_files else {}
        described, encoder_files = collect_files(self.encoder)
        side_files |= encoder_files
        metadata = {
            "classes": list(self.classes),
            "encoder": described,
            **add_neighbours(self.metadata, self.neighbours, side_files),
        }
        metadata["parts"] = description
        model_folder.write(home, weights, metadata, side_files=side_files)
        return home
