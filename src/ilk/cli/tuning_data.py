"""The images that `ilk tune` learns from, and which of them the model was trained on."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING

from ilk.cli.intake_options import IntakeOptions
from ilk.cli.output import print_note

if TYPE_CHECKING:
    import numpy as np
    from numpy.typing import NDArray

    from ilk.diffusion.pretraining.cross_fitting import PretrainingData
    from ilk.store import Store


def load_unseen(home: Path, source: str, intake: IntakeOptions, store: Store) -> PretrainingData:
    """Load the labelled training images of `source` that the model was not trained on.

    Raises:
        InputError: The model has no classes, or there is no such image.
    """
    import numpy as np

    from ilk.core.errors import InputError
    from ilk.diffusion.checkpoint import checkpoint
    from ilk.maths.folds import share_group

    if not checkpoint.read_spec(home).classes:
        raise InputError(f"{home} was pretrained without labels, so there is nothing to tune")
    data, is_trained_on, group = load_images(home, source, intake, store)
    is_trained_on |= share_group(group, np.flatnonzero(is_trained_on))
    unseen = data.select(~is_trained_on & (data.batch.y >= 0).numpy())
    if len(unseen.batch) < 2:
        raise InputError(
            f"{home} was trained on all {len(data.batch)} images in {source}, or they have none of "
            "its classes as label; give labelled images that it was not trained on"
        )
    return unseen


def load_images(
    home: Path, source: str, intake: IntakeOptions, store: Store
) -> tuple[PretrainingData, NDArray[np.bool_], NDArray[np.int64]]:
    """Load the training images of `source`.

    Returns:
        The images; which of them the model was trained on, `[n]`; and their groups `[n]`.
    """
    from ilk.core.progress import terminal_progress
    from ilk.diffusion.checkpoint import checkpoint, training_images
    from ilk.diffusion.pretraining.cross_fitting import PretrainingData
    from ilk.diffusion.pretraining.pixels import choose_pixels, load_batch
    from ilk.images import adopt_spellings, number_row_groups
    from ilk.maths.folds import has_shared_groups

    spec = checkpoint.read_spec(home)
    channels, size, _ = spec.shape
    images = intake.read_images(source, store).select_split("train")
    if spec.classes:
        images, note = adopt_spellings(images, spec.classes)
        if note:
            print_note(note)
    classes = spec.classes or images.classes
    pixels = choose_pixels(images, size, channels)
    batch, used_images, _ = load_batch(images, classes, pixels, store, terminal_progress())
    digests = [row.digest for row in used_images.used]
    group = number_row_groups(used_images.used)
    data = PretrainingData(batch, digests, classes, group if has_shared_groups(group) else None)
    is_known = training_images.load(home).is_training_image(batch.x.numpy(), digests)
    return data, is_known, group
