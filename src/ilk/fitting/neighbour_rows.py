"""Which training images a fitted classifier keeps, to show the nearest ones to an image."""

from __future__ import annotations

from collections.abc import Sequence

from ilk.core.space import FeatureSpace
from ilk.explain.build_neighbours import build_index, choose_rows, count_rows
from ilk.explain.neighbours import HeldIndex
from ilk.images import Images, Row
from ilk.store import Store


def keep_neighbours(
    images: Images,
    rows: Sequence[Row],
    labels: Sequence[str],
    space: FeatureSpace,
    store: Store,
    *,
    thumbnails: bool,
) -> HeldIndex | None:
    """Return the training images to keep; None without any.

    Args:
        images: The images that contain the rows.
        rows: The labelled training images.
        labels: Their labels; of an image with several, joined by `LABEL_SEPARATOR`.
        space: Feature space of the classifier's encoder, which the store holds for all of them.
        store: Store of the features.
        thumbnails: Whether to keep small pictures, too.
    """
    chosen = choose_rows(labels, count_rows(space.dim))
    if not chosen:
        return None
    kept = [rows[i] for i in chosen]
    features = store.get(space, [row.digest for row in kept])
    names = [labels[i] for i in chosen]
    return HeldIndex(build_index(images, kept, names, space, features, thumbnails=thumbnails))
