"""Encode the images of a command, and show or stop at the files that are refused."""

from __future__ import annotations

from collections.abc import Mapping
from typing import TYPE_CHECKING

from ilk.cli.output import exit_refused, print_notes, show_intake

if TYPE_CHECKING:
    from ilk.core.capabilities import Embeds
    from ilk.images import Images, Row
    from ilk.store import Store


def encode_or_exit(
    images: Images,
    encoder: Embeds,
    store: Store,
    *,
    strict: bool,
    known_rows: Mapping[str, Row] | None = None,
    ranges: Mapping[str, tuple[float, float]] | None = None,
) -> Images:
    """Encode `images`; print the files that cannot be used, and exit if `strict`.

    Returns:
        The images; files that cannot be decoded, and pictures that appear twice or are among
        `known_rows` (by digest), are marked as refused. `ranges` are the value ranges of the
        model, which images of more than 8 bits are read with.
    """
    from ilk.core.progress import terminal_progress
    from ilk.encode import encode_and_refuse
    from ilk.images.value_ranges.model_ranges import use_ranges
    from ilk.updates.side_files import refuse_known_pixels

    known_notes = images.notes
    if ranges is not None:
        images = use_ranges(images, ranges, store, terminal_progress())
    images = encode_and_refuse(images, [encoder], store, progress=terminal_progress())
    print_notes([note for note in images.notes if note not in known_notes])
    if known_rows:
        images = refuse_known_pixels(images, known_rows)
    if images.refused and strict:
        exit_refused(images)
    if images.refused:
        show_intake(images)
    return images
