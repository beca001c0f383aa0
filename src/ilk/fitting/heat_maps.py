"""Heat maps of a few evaluated images for the report: wrong ones first, then right ones."""

from __future__ import annotations

from pathlib import Path

import numpy as np
from numpy.typing import NDArray
from PIL import Image

from ilk.artifacts.classifier import Classifier
from ilk.artifacts.evaluation import Evaluation
from ilk.core.data import Labels
from ilk.core.errors import IlkError
from ilk.explain.explain_image import choose_on_pictures, explain_picture
from ilk.explain.explanation import Explanation
from ilk.explain.read_image import decode_row
from ilk.images import Images

GAP = 8  # pixels between an image and its map


def choose_rows(p: NDArray[np.float64], y: Labels, n: int) -> list[int]:
    """Return at most `n` rows: half of them wrong, most confident first; then right ones.

    Right ones are those in the middle of the ranking by confidence, of different classes in turn.

    Args:
        p: Probabilities `[m, k]`.
        y: Classes, `[m]`.
        n: Number of rows.
    """
    predicted, confidence = p.argmax(1), p.max(1)
    wrong = [int(i) for i in np.argsort(-confidence, kind="stable") if predicted[i] != y[i]]
    right: list[int] = []
    for c in np.unique(y):
        rows = np.flatnonzero((y == c) & (predicted == c))
        if len(rows):
            right.append(int(rows[np.argsort(confidence[rows], kind="stable")[len(rows) // 2]]))
    n_wrong = min(len(wrong), n // 2 if right else n)
    return wrong[:n_wrong] + right[: n - n_wrong]


def draw_heat_maps(
    classifier: Classifier, images: Images, evaluation: Evaluation, n: int, seed: int
) -> list[tuple[Path, tuple[str, ...], Image.Image]]:
    """Return file, caption lines and picture of the explained images, `n` at most.

    Args:
        classifier: The classifier.
        images: Images that contain the evaluated rows.
        evaluation: Its evaluated rows.
        n: Number of images.
        seed: Seed of what is random.
    """
    chosen = choose_rows(evaluation.scored.probabilities, evaluation.y, n)
    decoded: list[tuple[int, Image.Image]] = []
    for i in chosen:
        try:
            decoded.append((i, decode_row(images, evaluation.rows[i])))
        except IlkError:
            continue
    if not decoded:
        return []
    choice = choose_on_pictures(classifier, [picture for _, picture in decoded], seed)
    maps: list[tuple[Path, tuple[str, ...], Image.Image]] = []
    for i, picture in decoded:
        found = explain_picture(classifier, picture, method=choice, seed=seed)
        label = classifier.classes[int(evaluation.y[i])]
        is_right = "right" if found.predicted == label else f"labelled {label}"
        captions = (
            f"{found.predicted} {found.probability:.2f}, {is_right}",
            found.verdict.sentence,
        )
        maps.append((images.shown_path_of(evaluation.rows[i]), captions, draw_pair(found)))
    return maps


def draw_pair(explanation: Explanation) -> Image.Image:
    """Return a picture and its map, one below the other."""
    pair = (explanation.draw_picture(), explanation.draw_overlay())
    width, height = pair[0].size
    canvas = Image.new("RGB", (width, 2 * height + GAP), (255, 255, 255))
    canvas.paste(pair[0], (0, 0))
    canvas.paste(pair[1], (0, height + GAP))
    return canvas
