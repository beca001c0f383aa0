"""What `ilk pretrain` learns from: images of any source, or the shards that a cluster encoded."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING

from ilk.cli.intake_options import IntakeOptions
from ilk.cli.output import print_note, show_intake

if TYPE_CHECKING:
    from ilk.diffusion.pretraining.cross_fitting import PretrainingData


def load_training_data(
    source: str, out: Path, image_size: int, ignore_labels: bool, intake: IntakeOptions
) -> PretrainingData:
    """Return the training images of a source, called in every process.

    Raises:
        InputError: Options do not fit the source, or it has no images.
        Unavailable: It is a shard folder that not every process sees.
    """
    from ilk.shards.manifest import is_shard_folder

    if is_shard_folder(source):
        return _load_shards(source, out, image_size, ignore_labels, intake)
    return _load_images(source, image_size, ignore_labels, intake)


def _load_images(
    source: str, image_size: int, ignore_labels: bool, intake: IntakeOptions
) -> PretrainingData:
    from ilk.core.progress import terminal_progress
    from ilk.diffusion.pretraining.cross_fitting import PretrainingData
    from ilk.diffusion.pretraining.pixels import choose_pixels, load_batch
    from ilk.encode import encode_and_refuse
    from ilk.images import number_row_groups
    from ilk.maths.folds import has_shared_groups
    from ilk.store import Store

    store = Store()
    images = intake.read_images(source, store).select_split("train")
    pixels = choose_pixels(images, image_size)
    images = encode_and_refuse(images, [pixels], store, progress=terminal_progress())
    classes = () if ignore_labels else images.classes
    data, used_images, _ = load_batch(images, classes, pixels, store)
    if used_images.refused:
        show_intake(used_images)
    used = used_images.used
    group = number_row_groups(used)
    return PretrainingData(
        data, [row.digest for row in used], classes, group if has_shared_groups(group) else None
    )


def _load_shards(
    source: str, out: Path, image_size: int, ignore_labels: bool, intake: IntakeOptions
) -> PretrainingData:
    from ilk.core.errors import InputError
    from ilk.core.progress import silent_progress, terminal_progress
    from ilk.diffusion.pretraining.cross_fitting import PretrainingData
    from ilk.diffusion.pretraining.shard_pixels import check_shared_folder, load_shard_images
    from ilk.maths.folds import has_shared_groups
    from ilk.training import distributed

    if intake != IntakeOptions():
        raise InputError(
            f"{source} is a shard folder, whose list of images says labels, splits and groups; "
            "leave options such as --label-column out, or give them to `ilk encode --relabel`"
        )
    is_main = distributed.is_main_process()
    check_shared_folder(out)  # every process resumes from the state that lies there
    progress = terminal_progress() if is_main else silent_progress
    found = load_shard_images(source, image_size, ignore_labels=ignore_labels, progress=progress)
    if found.n_refused and is_main:
        print_note(
            f"{found.n_refused:,} training images of {source} are not used; the column `reason` "
            "of the parts says why"
        )
    group = found.group if has_shared_groups(found.group) else None
    return PretrainingData(found.images, found.digests, found.classes, group)
