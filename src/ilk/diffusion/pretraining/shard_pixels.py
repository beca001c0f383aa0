"""Training images from a shard folder: each process encodes its part of them to pixels, once.

The pixels are features like others, in `features/pixels-…` of the shard folder: parts that are done
stay when a process is lost, and a restarted run goes on from there. Images are then read from a
memory-mapped copy that the processes of a machine share.
"""

from __future__ import annotations

import os
import time
import uuid
from contextlib import suppress
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import torch
from numpy.typing import NDArray

from ilk.core.cores import count_cores
from ilk.core.errors import NoImages, OutputError, Unavailable
from ilk.core.progress import Progress, silent_progress
from ilk.images.pixels import GREY_MODES, PixelEncoder
from ilk.images.rows import escape_path
from ilk.shards.encode import encode_shards
from ilk.shards.features import ShardedFeatures
from ilk.shards.manifest import Manifest
from ilk.shards.parts import check_part
from ilk.shards.spaces import ShardSpace, list_spaces, open_space
from ilk.training import distributed
from ilk.training.stored_images import StoredImages

POLL_SECONDS = 0.5
SEE_SECONDS = 30.0  # that a network disk may take to show a new file


@dataclass(frozen=True, eq=False)
class ShardImages:
    """The training images of a shard folder.

    Attributes:
        images: The images that are used, on disk.
        classes: Names of their classes, sorted; empty without labels.
        digests: Digests of their files.
        group: Number of the group of each, `[n]`, -1 for a group of its own.
        n_refused: Training images that are not used.
    """

    images: StoredImages
    classes: tuple[str, ...]
    digests: list[str]
    group: NDArray[np.int64]
    n_refused: int


def choose_shard_pixels(manifest: Manifest, size: int = 0) -> PixelEncoder:
    """Return square pixels for the training images of a manifest, as `choose_pixels` does.

    Args:
        manifest: The manifest, which has the size of every image that was on this machine.
        size: Height and width in pixels; 0 chooses.
    """
    table = manifest.read_all(["width", "height", "mode", "split", "status"])
    columns = {name: np.array(table[name].to_pylist(), object) for name in table.column_names}
    sides = np.minimum(columns["width"].astype(int), columns["height"].astype(int))
    known = (columns["split"] == "train") & (columns["status"] == "used") & (sides > 0)
    is_grey = set(columns["mode"][known]) <= GREY_MODES
    fitted = PixelEncoder.from_sizes(sides[known], is_grey)
    side = size or (fitted.height - fitted.height % 4 or fitted.height)
    return PixelEncoder(side, side, fitted.channels)


def load_shard_images(
    folder: str | os.PathLike[str],
    size: int = 0,
    *,
    ignore_labels: bool = False,
    progress: Progress = silent_progress,
) -> ShardImages:
    """Return the training images of a shard folder as pixels, encoding what is missing of them.

    In a process group, each process encodes its own part of the shards and waits for the others.

    Args:
        folder: The shard folder, which all processes must see.
        size: Height and width in pixels; 0 chooses.
        ignore_labels: Leave out labels.
        progress: Reports images that this process encodes.

    Raises:
        NoImages: No training image can be used.
        InputError: It is not a shard folder.
        Unavailable: Another process does not see the folder.
        ArtifactError: A part is damaged, or of another manifest.
        OutputError: The folder cannot be written.
    """
    manifest = Manifest.read(folder)
    check_shared_folder(manifest.folder)
    encoder = choose_shard_pixels(manifest, size)
    known = [s.dtype for s in list_spaces(manifest.folder) if s.key == encoder.space.key]
    dtype = known[0] if known else "float16"  # which holds 256 levels exactly
    space = open_space(manifest.folder, encoder, dtype)
    own = list(range(distributed.get_rank(), manifest.n_shards, distributed.get_world_size()))
    missing = [i for i in own if check_part(manifest, space, i)[1] is None]
    with progress("reading images", sum(manifest.shards[i].n for i in missing)) as advance:
        n_threads = max(1, count_cores() // int(os.environ.get("LOCAL_WORLD_SIZE", "1")))
        parts = encode_shards(
            manifest.folder,
            missing,
            encoder,
            dtype=dtype,
            n_threads=n_threads,
            meter=lambda n, _seconds: advance(n),
        )
        for _ in parts:
            pass
    wait_for_parts(manifest, space)
    features = ShardedFeatures.open(manifest.folder, space.key)
    if distributed.is_main_process():
        features.memory_map()
    distributed.wait_for_all()
    return _select(features, encoder, ignore_labels)


def _select(features: ShardedFeatures, encoder: PixelEncoder, ignore_labels: bool) -> ShardImages:
    """Return the training images that are used, in the order of `ilk.images.read_images`."""
    is_training = features.split == "train"
    rows = np.flatnonzero(is_training & features.is_used)
    if not len(rows):
        raise NoImages("no image can be read; the column `reason` of the parts says why")
    if features.manifest.root is not None:  # a folder is listed by path
        paths = features.paths
        rows = np.array(sorted(rows.tolist(), key=lambda i: paths[i]), np.int64)
    all_classes, y = features.classes, features.y[rows]
    present = [] if ignore_labels else sorted(set(y[y >= 0].tolist()))
    number = np.full(len(all_classes) + 1, -1)
    number[present] = np.arange(len(present))
    names = features.group[rows]
    ids = {name: i for i, name in enumerate(sorted({name for name in names if name}))}
    shape = (encoder.channels, encoder.height, encoder.width)
    return ShardImages(
        StoredImages(features.memory_map(), rows, torch.from_numpy(number[y]), shape),
        tuple(all_classes[c] for c in present),
        [str(digest) for digest in features.digests[rows]],
        np.array([ids[name] if name else -1 for name in names], np.int64),
        int(is_training.sum()) - len(rows),
    )


def wait_for_parts(manifest: Manifest, space: ShardSpace) -> None:
    """Wait until all parts are done; `torchrun` ends this process if another one is lost."""
    waiting = list(range(manifest.n_shards))
    while waiting := [i for i in waiting if check_part(manifest, space, i)[1] is None]:
        time.sleep(POLL_SECONDS)


def check_shared_folder(folder: Path, seconds: float = SEE_SECONDS) -> None:
    """Check that all processes see the same folder.

    Args:
        folder: A folder that this process can write to.
        seconds: Time that a network disk may take.

    Raises:
        Unavailable: Another process does not see what the main process writes there.
        OutputError: The folder cannot be written.
    """
    if not distributed.is_distributed():
        return
    mark = folder / distributed.share_text(f".ranks-{uuid.uuid4().hex}")
    try:
        if distributed.is_main_process():
            folder.mkdir(parents=True, exist_ok=True)
            mark.touch()
    except OSError as error:
        raise OutputError(
            f"cannot write to {escape_path(folder)}: {error.strerror}; choose another folder"
        ) from None
    until = time.monotonic() + seconds
    while not mark.exists() and time.monotonic() < until:
        time.sleep(POLL_SECONDS / 10)
    is_seen = mark.exists()
    distributed.wait_for_all()
    if distributed.is_main_process():
        with suppress(OSError):
            mark.unlink()
    if not is_seen:
        raise Unavailable(
            f"process {distributed.get_rank()} does not see {escape_path(folder)} as the first one "
            "does; use a folder that is shared by all machines under the same path"
        )
