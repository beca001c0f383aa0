"""Draw difference maps of a diffusion classifier for one image per class."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path
from typing import TYPE_CHECKING

import numpy as np

from ilk.core.capabilities import Explains
from ilk.core.data import Labels
from ilk.images import Images, Row, decode
from ilk.store import Store

if TYPE_CHECKING:
    from PIL.Image import Image

MAX_IMAGES = 10


def explain_classes(
    encoder: Explains, images: Images, rows: Sequence[Row], y: Labels, store: Store
) -> list[tuple[Path, tuple[str, ...], Image]]:
    """Explain, for each class, the image with the median margin over the runner-up class.

    Args:
        encoder: Classifier whose scores of `rows` are in `store`.
        images: Images that contain `rows`.
        rows: Evaluated images, `n` of them.
        y: Their classes as indices into `encoder.classes`, `[n]`.
        store: Store of the scores.

    Returns:
        File, caption lines and picture of at most `MAX_IMAGES` explanations.
    """
    scores = store.get(encoder.space, [row.digest for row in rows]).astype(np.float64)
    explanations: list[tuple[Path, tuple[str, ...], Image]] = []
    for c in np.unique(y)[:MAX_IMAGES]:
        class_rows = np.flatnonzero(y == c)
        other_scores = scores[class_rows].copy()
        other_scores[:, c] = -np.inf
        margin = scores[class_rows, c] - other_scores.max(1)
        i = int(np.argsort(margin, kind="stable")[len(class_rows) // 2])
        row_index, runner_up = int(class_rows[i]), int(other_scores[i].argmax())
        row = rows[row_index]
        path = images.shown_path_of(row)
        pixels = encoder.prepare(decode(images.source_of(row), **row.reading))
        picture = encoder.explain(pixels, int(c), runner_up)
        caption = (f"{encoder.classes[c]}, not {encoder.classes[runner_up]}",)
        explanations.append((path, caption, picture))
    return explanations
