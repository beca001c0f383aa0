"""Pictures of why: for each class one image, and where a diffusion model tells it from the next."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path
from typing import TYPE_CHECKING

import numpy as np

from ilk.data import Labels
from ilk.encoders import Explains
from ilk.images import Images, Row, decode
from ilk.images.files import opened
from ilk.store import Store

if TYPE_CHECKING:
    from PIL.Image import Image

MOST = 10  # pictures


def explained(
    encoder: Explains, images: Images, rows: Sequence[Row], y: Labels, store: Store
) -> list[tuple[Path, tuple[str, ...], Image]]:
    """For each class the judged image of it that is told from its runner-up by a middling margin.

    Args:
        encoder: A classifier of its own; its scores of `rows` are in `store`.
        images: Where the files are.
        rows: Judged images, `n` of them.
        y: Their classes, as positions in `encoder.classes`, `[n]`.
        store: Holds the scores.

    Returns:
        File, what is said of it, and the picture.
    """
    scores = store.get(encoder.space, [row.digest for row in rows]).astype(np.float64)
    found: list[tuple[Path, tuple[str, ...], Image]] = []
    for c in np.unique(y)[:MOST]:
        of = np.flatnonzero(y == c)
        others = scores[of].copy()
        others[:, c] = -np.inf
        margin = scores[of, c] - others.max(1)
        i = int(np.argsort(margin, kind="stable")[len(of) // 2])
        at, second = int(of[i]), int(others[i].argmax())
        with opened(images.file(rows[at])) as (source, _):
            seen = encoder.prepare(decode(source.read()))
        drawn = encoder.explain(seen, int(c), second)
        says = (f"{encoder.classes[c]}, not {encoder.classes[second]}",)
        found.append((images.file(rows[at]), says, drawn))
    return found
