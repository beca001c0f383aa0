"""Name the first step at which an exported file differs from the model, for one image."""

from __future__ import annotations

from typing import Any

import numpy as np
from numpy.typing import NDArray
from PIL import Image

from ilk.artifacts.classifier import Classifier
from ilk.core.data import Features
from ilk.encoders.combined import CombinedEncoder
from ilk.encoders.folding import compute_disagreement
from ilk.export.build import OUTPUTS, STAGES, BuiltModel
from ilk.export.session import Session, expose

FEATURES_TOLERANCE = 1e-3  # relative to the length of a row
LOGITS_TOLERANCE = 1e-5  # relative to the greatest


def find_difference(
    classifier: Classifier, built: BuiltModel, pixels: NDArray[np.uint8], x: Features
) -> str:
    """Return which step differs first, in words.

    Each step of the file is compared with what ilk computes from the file's own previous step, so
    that an error is not blamed on a later one.

    Args:
        classifier: The classifier.
        built: Its ONNX model.
        pixels: The image, `[h, w, 3]`.
        x: Features `[1, d]` that the classifier answers from.
    """
    names = [name for stage in STAGES for name in built.stages[stage]]
    session = Session(expose(built.model, names))
    values = session.run(pixels[None], [*OUTPUTS, *names])
    found = {stage: [values[name] for name in built.stages[stage]] for stage in STAGES}
    encoder = classifier.encoder
    parts = encoder.parts if isinstance(encoder, CombinedEncoder) else (encoder,)
    image = Image.fromarray(pixels)
    for part, got in zip(parts, found["prepared pixels"], strict=True):
        expected = part.prepare(image).ravel().astype(np.float64)
        difference = np.abs(got.ravel() - expected)
        if difference.max() > 1:
            return (
                f"the step that differs is the resizing for {part.name}: "
                f"{np.mean(difference > 0):.1%} of the prepared pixels, by up to "
                f"{difference.max():.0f} of 255"
            )
    [features], [z], [p] = (found[stage] for stage in STAGES[1:])
    distance = compute_disagreement(features, x)
    if distance > FEATURES_TOLERANCE:
        return (
            f"the step that differs is the network of {encoder.name}: from the same pixels, "
            f"features differ by {distance:.2g} of their length"
        )
    logits = classifier.model.logits(np.asarray(features, np.float32))
    if _differ(z, logits):
        kind = getattr(classifier.model, "kind", "model")
        return (
            f"the step that differs is the head {kind!r}: from the same features, different logits"
        )
    if _differ(p, classifier.calibration.to_probabilities(logits)):
        return "the step that differs is the calibration"
    if _differ(values["probabilities"], classifier.to_probabilities(logits), 1e-6):
        return "the step that differs is the adjustment to the class priors"
    scored = classifier.score_batch(np.asarray(features, np.float32))
    if _differ(values["unknown_score"], scored.unknown_score, 1e-5):
        return "the step that differs is the unknown score"
    if (values["prediction_set"] != scored.prediction_sets).any():
        return "the step that differs is the prediction set"
    return (
        "no single step differs: the features differ by "
        f"{distance:.1g} of their length, which this image's answer depends on"
    )


def _differ(got: Any, expected: Any, tolerance: float = LOGITS_TOLERANCE) -> bool:
    finite = np.isfinite(expected)
    if not (np.isfinite(got) == finite).all():
        return True
    scale = max(1.0, float(np.abs(expected[finite]).max(initial=0)))
    return bool(np.abs(got[finite] - expected[finite]).max(initial=0) > tolerance * scale)
