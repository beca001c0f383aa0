"""Compare an exported file with the model it came from, image by image, and find what differs."""

from __future__ import annotations

import hashlib
from dataclasses import asdict, dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray

from ilk.artifacts.classifier import Classifier
from ilk.artifacts.prediction import ScoredBatch
from ilk.core.data import Features
from ilk.core.errors import ArtifactError
from ilk.core.progress import Progress, silent_progress
from ilk.export.bisect import find_difference
from ilk.export.build import OUTPUTS, BuiltModel
from ilk.export.check_images import CheckImages
from ilk.export.session import Session, expose
from ilk.images import escape_path

MAX_DIFFERENCE = 1e-3  # of a probability
ROUNDING = 1e-5  # of a probability: what engines that add in another order may differ by
SCORE_ROUNDING = 1e-4  # of an unknown score, relative
MAX_LISTED = 20  # near ties listed by name


@dataclass(frozen=True)
class Parity:
    """How an exported file compares with the model on n images.

    Attributes:
        n_images: Number of images compared.
        images: What they are.
        images_digest: SHA-256 of their digests, in order.
        max_probability_difference: Greatest difference of a probability.
        max_score_difference: Greatest relative difference of an unknown score.
        different_labels: Images with another label.
        different_sets: Images with another prediction set.
        different_unknown: Images whose unknown flag differs.
        near_ties: Images among these whose value lies within rounding of the limit that decides:
            the model itself may answer either way on another machine. At most 20 are listed.
        n_near_ties: Their number.
    """

    n_images: int
    images: str
    images_digest: str
    max_probability_difference: float
    max_score_difference: float
    different_labels: int
    different_sets: int
    different_unknown: int
    near_ties: tuple[str, ...] = ()
    n_near_ties: int = 0

    def to_json(self) -> dict[str, Any]:
        """Return plain values."""
        return asdict(self)

    @property
    def sentence(self) -> str:
        """The result in one sentence."""
        same = "names, sets and unknown flags are the same"
        if self.n_near_ties:
            same = (
                f"the same except for {self.n_near_ties} whose value is within rounding error of "
                f"the limit that decides ({', '.join(self.near_ties[:3])})"
            )
        return (
            f"compared on {self.n_images:,} images ({self.images}): {same}; probabilities differ "
            f"by at most {self.max_probability_difference:.1g}"
        )


@dataclass(frozen=True, eq=False)
class Answers:
    """What a file answers for n images: its outputs, stacked."""

    label: NDArray[np.int64]
    probabilities: NDArray[np.float32]
    prediction_set: NDArray[np.bool_]
    unknown: NDArray[np.bool_]
    unknown_score: NDArray[np.float32]
    features: Features | None = None


def run_images(
    content: bytes,
    images: CheckImages,
    features_name: str = "",
    progress: Progress = silent_progress,
) -> Answers:
    """Return the answers of a file for images, one at a time; features too if they are named."""
    session = Session(content)
    names = [*OUTPUTS, *([features_name] if features_name else [])]
    rows = []
    with progress("comparing the file with the model", len(images)) as advance:
        for i in range(len(images)):
            rows.append(session.run(images.decode(i)[None], names))
            advance(1)
    stacked = {name: np.concatenate([row[name] for row in rows]) for name in names}
    features = stacked.get(features_name)
    return Answers(
        stacked["label"],
        stacked["probabilities"],
        stacked["prediction_set"],
        stacked["unknown"],
        stacked["unknown_score"],
        features,
    )


def check_parity(
    classifier: Classifier,
    built: BuiltModel,
    images: CheckImages,
    *,
    quantized: bool = False,
    progress: Progress = silent_progress,
) -> Parity:
    """Return how a built model compares with the classifier on images.

    Args:
        classifier: The classifier; of a quantized file, with the calibration of that file.
        built: Its ONNX model.
        images: The images.
        quantized: Take the features from the file, whose network is not that of the classifier.
        progress: Reports the progress.

    Raises:
        ArtifactError: They differ by more than rounding; the message names the step.
    """
    name = built.stages["features"][0] if quantized else ""
    content = expose(built.model, [name] if name else [])
    answers = run_images(content, images, name, progress)
    x = images.x if answers.features is None else answers.features
    expected = classifier.score_batch(x)
    label = expected.probabilities.argmax(1)
    differs = {
        "name": answers.label != label,
        "prediction set": (answers.prediction_set != expected.prediction_sets).any(1),
        "unknown flag": answers.unknown != expected.is_unknown,
    }
    p_difference = np.abs(answers.probabilities - expected.probabilities).max(1)
    scale = np.maximum(np.abs(expected.unknown_score), np.finfo(np.float32).tiny)
    s_difference = np.abs(answers.unknown_score - expected.unknown_score) / scale
    is_tie = _find_near_ties(classifier, expected, answers, differs)
    any_differs = np.any(list(differs.values()), axis=0)
    is_wrong = (any_differs & ~is_tie) | ~(p_difference <= MAX_DIFFERENCE)
    paths = [escape_path(row.path) for row in images.rows]
    if is_wrong.any():
        worst = int(np.argmax(np.where(is_wrong, 1 + p_difference, 0)))
        what = [n for n, mask in differs.items() if mask[worst]] or ["probabilities"]
        step = find_difference(classifier, built, images.decode(worst), x[worst : worst + 1])
        raise ArtifactError(
            f"the file does not give the same answers as the model: {int(is_wrong.sum())} of "
            f"{len(images)} images "
            f"differ, such as {paths[worst]} ({', '.join(what)}; a probability by "
            f"{p_difference[worst]:.2g}); {step}; nothing was written"
        )
    ties = np.flatnonzero(any_differs)
    return Parity(
        len(images),
        images.origin,
        hashlib.sha256("\n".join(row.digest for row in images.rows).encode()).hexdigest(),
        float(p_difference.max()),
        float(s_difference.max()),
        int(differs["name"].sum()),
        int(differs["prediction set"].sum()),
        int(differs["unknown flag"].sum()),
        tuple(paths[i] for i in ties[:MAX_LISTED]),
        len(ties),
    )


def _find_near_ties(
    classifier: Classifier,
    expected: ScoredBatch,
    answers: Answers,
    differs: dict[str, NDArray[np.bool_]],
) -> NDArray[np.bool_]:
    """Return where all that differs is decided by a value within rounding of its limit, `[n]`."""
    p = expected.probabilities
    top = np.sort(p, axis=1)[:, -2:]
    close_names = np.ptp(top, axis=1) <= ROUNDING if p.shape[1] > 1 else np.zeros(len(p), bool)
    conformal, detector = classifier.conformal, classifier.ood_detector
    at_threshold = np.abs(p - conformal.threshold) <= ROUNDING
    tied = np.minimum(p, conformal.threshold) >= conformal.threshold - ROUNDING
    near_score = _is_near(expected.unknown_score, conformal.tie_threshold)
    set_differs = answers.prediction_set != expected.prediction_sets
    explained = ~set_differs | at_threshold | (tied & near_score[:, None])
    near_flag = _is_near(expected.unknown_score, detector.threshold)
    return np.asarray(
        (~differs["name"] | close_names) & explained.all(1) & (~differs["unknown flag"] | near_flag)
    )


def _is_near(score: NDArray[np.float64], limit: float) -> NDArray[np.bool_]:
    with np.errstate(over="ignore"):
        return np.asarray(np.abs(score - limit) <= SCORE_ROUNDING * abs(limit))
