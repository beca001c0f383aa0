"""Keep images out of the evaluation that an encoder was trained on with their labels."""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence

import numpy as np
from numpy.typing import NDArray

from ilk.core.capabilities import Embeds, find_trained_parts
from ilk.core.data import Labels
from ilk.core.errors import InputError
from ilk.fitting.split import Split
from ilk.images import Row, number_row_groups
from ilk.maths.folds import has_shared_groups

MIN_ROWS = 50  # with fewer images, the standard error of the accuracy can exceed 7 points
LEAKED_NOTE = (
    "not evaluated: it was trained on these images with their labels, or on others of their "
    "groups; hold out some images when it is trained (--hold-out 0.3 of ilk finetune and ilk "
    "learn-metric, --folds 3 of ilk pretrain), with the same groups"
)


def find_leaked_rows(encoders: Sequence[Embeds], split: Split) -> dict[str, NDArray[np.bool_]]:
    """Return the rows that each encoder that knows its training images was trained on with labels.

    That are pretrained classifiers and learned embeddings; `[n]` by encoder name.
    """
    rows = split.train + split.unlabelled
    return {e.name: ~is_held_out(e, rows) for e in encoders if find_trained_parts(e)}


def is_held_out(encoder: Embeds, rows: Sequence[Row]) -> NDArray[np.bool_]:
    """Return whether each image has a network that was not trained on it or its group, `[n]`."""
    digests, groups = [row.digest for row in rows], number_row_groups(rows)
    known_groups = (groups,) if has_shared_groups(groups) else ()
    held_out = np.ones(len(rows), bool)
    for part in find_trained_parts(encoder):
        held_out &= part.is_held_out(digests, *known_groups)
    return held_out


def count_trained_on(encoder: Embeds, rows: Sequence[Row]) -> int:
    """Return how many images the encoder was trained on with labels, or on others of a group."""
    return int((~is_held_out(encoder, rows)).sum()) if find_trained_parts(encoder) else 0


def check_unseen(encoders: Iterable[Embeds], rows: Sequence[Row], purpose: str) -> None:
    """Check that no encoder was trained on the images, where all of them have to be judged.

    Args:
        encoders: Encoders.
        rows: Images.
        purpose: What would be wrong otherwise, such as "their labels cannot be audited with it".

    Raises:
        InputError: One was; the message says what to use instead.
    """
    for encoder in encoders:
        if n := count_trained_on(encoder, rows):
            base = getattr(encoder, "base", None)
            instead = f"use {base.name}, or " if base is not None else ""
            raise InputError(
                f"{encoder.name} was trained on {n:,} of these {len(rows):,} images with their "
                f"labels, or on others of their groups, so {purpose}; {instead}give images that it "
                "was not trained on"
            )


def exclude_leaked_rows(
    y: Labels, leaked_rows: Mapping[str, NDArray[np.bool_]]
) -> tuple[NDArray[np.bool_], set[str]]:
    """Return the rows to exclude from the evaluation and the encoders that cannot be evaluated.

    Args:
        y: Class indices, `[n]`, -1 for rows without a label.
        leaked_rows: For each encoder, the rows it was trained on, `[n]`.

    Returns:
        Rows to exclude, `[n]`, and the names of the encoders for which fewer than `MIN_ROWS`
        labelled rows would remain. The rows of such encoders are not excluded.
    """
    is_leaked, excluded_encoders = np.zeros(len(y), bool), set[str]()
    for name, rows in leaked_rows.items():
        if np.sum((y >= 0) & ~rows) < MIN_ROWS and rows.any():
            excluded_encoders.add(name)
        else:
            is_leaked |= rows
    return is_leaked, excluded_encoders


def describe_leakage(is_leaked: NDArray[np.bool_]) -> str:
    """Return a note on how many of the rows `[n]` were excluded, or ""."""
    if not is_leaked.any():
        return ""
    return (
        f"an encoder was trained on {int(is_leaked.sum())} of {len(is_leaked)} training "
        "images with their labels, so every method was evaluated on the others only"
    )
