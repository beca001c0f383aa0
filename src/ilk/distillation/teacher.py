"""The teacher: its answers, computed once through the store, and what it has seen."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from ilk.artifacts import load_classifier, model_folder
from ilk.artifacts.classifier import Classifier
from ilk.artifacts.image_blocks import PathLike
from ilk.core.errors import InputError
from ilk.core.metrics import Probabilities
from ilk.fitting.leakage import is_held_out
from ilk.fitting.split import fingerprint_images
from ilk.images import Images, Row
from ilk.store import Store

BLOCK = 2048  # images that are scored at a time
MIN_PROBABILITY = 1e-13


def load_teacher(folder: PathLike, *, device: str = "auto", runtime: str = "auto") -> Classifier:
    """Load the classifier that is to teach.

    Raises:
        InputError: The folder holds a detector or a multi-label classifier.
        ArtifactError, Unavailable: As `ilk.load`.
    """
    kinds = (model_folder.MULTI_LABEL, model_folder.DETECTOR)
    for kind in kinds:
        if model_folder.read_format(Path(folder)) == kind.format:
            raise InputError(
                f"{folder} holds an {kind.format}, and a student learns from a classifier with one "
                "label per image; fit one with: ilk fit DIR --out MODEL"
            )
    return load_classifier.load(folder, device=device, runtime=runtime)


def compute_probabilities(teacher: Classifier, rows: Sequence[Row], store: Store) -> Probabilities:
    """Return calibrated probabilities `[n, k]` of encoded images, in float64."""
    parts = [np.zeros((0, len(teacher.classes)))]
    for start in range(0, len(rows), BLOCK):
        digests = [row.digest for row in rows[start : start + BLOCK]]
        parts.append(teacher.score_batch(store.get(teacher.encoder.space, digests)).probabilities)
    return np.concatenate(parts)


def to_logits(probabilities: Probabilities) -> NDArray[np.float32]:
    """Return log-probabilities `[n, k]` float32 of probabilities `[n, k]`, all finite."""
    return np.log(np.maximum(probabilities, MIN_PROBABILITY)).astype(np.float32)


def describe_seen(
    teacher: Classifier, images: Images, rows: Sequence[Row], name: str = "teacher"
) -> str:
    """Return which of `rows` the teacher was fitted or trained on, as far as known; "" if none.

    It is known where it was fitted to the same images, keeps them, or has an encoder that was
    trained on them.

    Args:
        teacher: The teacher.
        images: All images.
        rows: Those that both are evaluated on.
        name: What it is called.
    """
    data = teacher.metadata.get("data") or {}
    n_trained = int((~is_held_out(teacher.encoder, rows)).sum())
    is_same = data.get("fingerprint") == fingerprint_images(images)
    is_fitted = [is_same and row.split != "test" for row in rows]
    index = teacher.neighbours() if teacher.neighbours else None
    if index is not None:
        kept = set(index.digests)
        is_fitted = [seen or row.digest in kept for seen, row in zip(is_fitted, rows, strict=True)]
    n = max(n_trained, sum(is_fitted))
    if not n:
        return ""
    which = f"all {n:,}" if n == len(rows) else f"at least {n:,} of the {len(rows):,}"
    who = "the teacher" if name == "teacher" else name
    return (
        f"{who} was fitted to {which} images that both are evaluated on: its accuracy there is "
        "optimistic, and the student's agreement with it too low"
    )
