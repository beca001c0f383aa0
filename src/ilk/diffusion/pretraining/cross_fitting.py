"""Cross-fitted pretraining: a network on all images, networks that each exclude one fold, and the
levels and features learned from images that a network was not trained on.
"""

from __future__ import annotations

from collections.abc import Sequence
from contextlib import suppress
from dataclasses import dataclass, replace
from pathlib import Path

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

from ilk.core.errors import ArtifactError, InputError
from ilk.core.progress import Progress, silent_progress
from ilk.diffusion.checkpoint import training_images
from ilk.diffusion.checkpoint.model_paths import get_fold_folder
from ilk.diffusion.classification import calibration_errors
from ilk.diffusion.classification.calibration_errors import CalibrationErrors
from ilk.diffusion.classification.nearest_mean_head import NearestMeanHead
from ilk.diffusion.denoiser.companions import read_entry
from ilk.diffusion.denoiser.karras import Denoiser
from ilk.diffusion.denoiser.protocol import Denoises, normalize_images
from ilk.diffusion.errors.class_errors import Measure, compute_class_errors
from ilk.diffusion.errors.levels import Levels
from ilk.diffusion.features import search_result
from ilk.diffusion.features.search import SearchConfig, search, subsample_balanced
from ilk.diffusion.pretraining.pretrain import (
    PretrainConfig,
    check_same_spec,
    make_other_plan_error,
    make_spec,
    pretrain,
)
from ilk.training import distributed
from ilk.training.trainer import Batch, DeviceConfig

MAX_FOLDED_IMAGES = 5_000  # labelled images up to which extra networks are affordable
MIN_TRAINING_IMAGES = 20  # labelled images that must remain for training
DEFAULT_FOLDS = 3  # up to MAX_FOLDED_IMAGES
HOLDOUT_FRACTION = 0.1  # beyond MAX_FOLDED_IMAGES
MAX_HEAD_IMAGES = 20_000  # that a head is fitted to, where they are not all in memory
N_LEVELS, MAX_IMAGES, MAX_CALLS = 32, 400, 150_000  # limits of the calibration errors


@dataclass(frozen=True, eq=False)
class PretrainingData:
    """Training images.

    Attributes:
        batch: Images `[n, c, h, w]` uint8 and class indices, -1 where unknown.
        digests: SHA-256 of their files, hexadecimal.
        classes: Names; empty for an unconditional network.
        group: Group of each image, `[n]`, -1 for a group of its own; None makes every image one.
    """

    batch: Batch
    digests: Sequence[str]
    classes: tuple[str, ...]
    group: NDArray[np.int64] | None = None

    def select(self, mask: np.ndarray[tuple[int], np.dtype[np.bool_]]) -> PretrainingData:
        """Return the images selected by a boolean mask."""
        indices = torch.from_numpy(np.flatnonzero(mask))
        digests = [d for d, k in zip(self.digests, mask, strict=True) if k]
        return PretrainingData(
            self.batch.select(indices),
            digests,
            self.classes,
            None if self.group is None else self.group[mask],
        )

    def select_labelled(self) -> PretrainingData:
        """Return the images with a label."""
        return self.select((self.batch.y >= 0).numpy())


def pretrain_cross_fit(
    data: PretrainingData,
    config: PretrainConfig,
    home: Path,
    folds: int = -1,
    machine: DeviceConfig = DeviceConfig(),  # noqa: B008  (frozen)
    progress: Progress = silent_progress,
) -> Denoiser:
    """Pretrain and, if there are labels, save what is needed to classify training images fairly.

    Args:
        data: Images, files and classes.
        config: Configuration of all networks.
        home: Folder of the model.
        folds: Number of networks that each exclude one fold; 0 trains one network without a tenth
            of the images; -1 chooses by the number of images.
        machine: Device and precision.
        progress: Reports updates.

    Raises:
        InputError: As in `pretrain`.
        DivergenceError: Training diverged.
        OutputError: `home` cannot be written.
    """
    has_label = (data.batch.y >= 0).numpy()
    if not (data.classes and has_label.any()):
        return pretrain(data.batch, data.classes, config, home, machine, progress)
    blocks = [training_images.hash_images(block.numpy()) for block in data.batch.iterate()]
    hashes = np.concatenate(blocks)
    folds = choose_folds(folds, int(has_label.sum()), hashes, data.group)
    fold_ids = training_images.assign_folds(
        hashes, folds or round(1 / HOLDOUT_FRACTION), data.group
    )
    is_training = (
        (fold_ids >= 0)
        if folds or (fold_ids[has_label] > 0).sum() < MIN_TRAINING_IMAGES
        else fold_ids > 0
    )
    training_data = data.select(is_training)
    check_same_spec(make_spec(training_data.batch, data.classes, config), home)
    used_folds = [fold for fold in range(folds) if (fold_ids == fold).any()]
    for fold in used_folds:  # before anything is written: other groups make other folds
        if (fold_folder := get_fold_folder(home, fold)).exists():
            batch = split_fold(data, fold_ids, fold)[0].batch
            check_same_spec(make_spec(batch, data.classes, config), fold_folder)
    if (
        distributed.is_main_process()
    ):  # before training, so that an interrupted run is marked as well
        rows = is_training & has_label
        record = training_images.TrainingImages.from_hashes(
            hashes[rows],
            [data.digests[i] for i in np.flatnonzero(rows).tolist()],
            folds,
            None if data.group is None else fold_ids[rows],
        )
        _save_record(record, home)
    full_network = pretrain(training_data.batch, data.classes, config, home, machine, progress)
    held_out: list[tuple[Denoises, PretrainingData]] = []
    heads: list[tuple[Denoiser, PretrainingData, Path]] = [(full_network, training_data, home)]
    for fold in used_folds:
        (fold_data, other), fold_folder = (
            split_fold(data, fold_ids, fold),
            get_fold_folder(home, fold),
        )
        fold_config = replace(
            config, checkpoint_every=config.recipe.steps
        )  # no pictures on the way: they cost as much
        network = pretrain(
            fold_data.batch, data.classes, fold_config, fold_folder, machine, progress
        )
        held_out.append((network, other))
        heads.append((network, fold_data, fold_folder))
    if not folds:
        held_out = [(full_network, data.select(~is_training))]
    if distributed.is_main_process():
        save_search_and_errors(
            home,
            full_network,
            training_data.batch,
            held_out,
            machine,
            progress,
            training_data.group,
        )
        fit_nearest_mean_heads(home, heads, machine)
    return full_network


def _save_record(record: training_images.TrainingImages, home: Path) -> None:
    """Save the training images, unless the network in `home` is saved with its own record of them.

    Raises:
        InputError: The record of that network is another.
    """
    known = None
    if read_entry(home, training_images.ENTRY) is not None:
        with suppress(ArtifactError):  # it is missing or damaged
            known = training_images.load(home)
    if known is None:
        record.save(home)
    elif not known.has_same_folds(record):
        raise make_other_plan_error(home)


def split_fold(
    data: PretrainingData, fold_ids: NDArray[np.int64], fold: int
) -> tuple[PretrainingData, PretrainingData]:
    """Return the images that the network of a fold is trained on, and those that it is not.

    Args:
        data: The images.
        fold_ids: Fold of each, `[n]`.
        fold: The fold.
    """
    return data.select(fold_ids != fold), data.select(fold_ids == fold)


def fit_nearest_mean_heads(
    home: Path, networks: Sequence[tuple[Denoiser, PretrainingData, Path]], machine: DeviceConfig
) -> None:
    """Fit a nearest-mean head for each network on its own training images.

    Args:
        home: Folder of the model, with the feature point; without one nothing is fitted.
        networks: Networks, their training images, and the folder of each head.
        machine: Device.
    """
    point = search_result.read_selected_point(home)
    if point is None:
        return
    for network, data, folder in networks:
        batch = _limit(data.batch, MAX_HEAD_IMAGES)
        head = NearestMeanHead.fit(network.to(machine.device), batch.x, batch.y, point)
        head.save(folder)


def _choose_rows(batch: Batch, limit: int) -> NDArray[np.int64] | None:
    """Return positions of `limit` images of a batch that is not in memory; None for all.

    Drawn as `search` draws them, so that it finds the same ones.
    """
    if type(batch) is Batch or len(batch) <= limit:
        return None
    return subsample_balanced(batch.y.numpy(), limit, SearchConfig().feature_config.seed)


def _limit(batch: Batch, limit: int) -> Batch:
    """Return a batch in memory, of at most `limit` images if it is not."""
    rows = _choose_rows(batch, limit)
    return batch if rows is None else batch.select(torch.from_numpy(rows))


def choose_folds(
    requested: int,
    n_labelled: int,
    hashes: training_images.Hashes,
    groups: NDArray[np.int64] | None = None,
) -> int:
    """Return the number of folds: as requested (-1 chooses), if the images allow it.

    Images of one of the `groups [n]` are in one fold.

    Raises:
        InputError: One fold would leave nothing to train on.
    """
    if requested == 1:
        raise InputError("1 part leaves nothing to learn from; give --folds 0, or 2 or more")
    requested = (
        requested if requested >= 0 else DEFAULT_FOLDS if n_labelled <= MAX_FOLDED_IMAGES else 0
    )
    return (
        requested
        if requested and len(np.unique(training_images.assign_folds(hashes, requested, groups))) > 1
        else 0
    )


def save_search_and_errors(
    home: Path,
    network: Denoiser,
    batch: Batch,
    held_out: Sequence[tuple[Denoises, PretrainingData]],
    machine: DeviceConfig,
    progress: Progress = silent_progress,
    groups: NDArray[np.int64] | None = None,
) -> None:
    """Save the best feature point and the calibration errors to `home`.

    The groups `[n]` of the images of `batch` stay together in the folds of the search. Nothing is
    saved if too few images are labelled; results from more images are kept.
    """
    counts = torch.bincount(batch.y[batch.y >= 0])
    should_search = not (home / search_result.FILE).exists() or search_result.read(
        home
    ).n_images <= int(counts.sum())
    if should_search and int((counts > 0).sum()) > 1 and int(counts.max()) > 1:
        device_network = network.to(machine.device)
        rows = _choose_rows(batch, SearchConfig().max_images)
        part = batch if rows is None else batch.select(torch.from_numpy(rows))
        part_groups = groups if groups is None or rows is None else groups[rows]
        search_result.write(
            search(device_network, part.x, part.y.numpy(), progress=progress, groups=part_groups),
            home,
        )
    n_images = sum(int((fold_data.batch.y >= 0).sum()) for _, fold_data in held_out)
    previous = calibration_errors.load(home)
    if n_images and (previous is None or len(previous.y) <= min(MAX_IMAGES, n_images)):
        measure_calibration_errors(held_out, machine=machine, progress=progress).save(home)


def measure_calibration_errors(
    held_out: Sequence[tuple[Denoises, PretrainingData]],
    seed: int = 0,
    machine: DeviceConfig = DeviceConfig(),  # noqa: B008  (frozen)
    progress: Progress = silent_progress,
) -> CalibrationErrors:
    """Compute the denoising errors of labelled images under networks that were not trained on them.

    Up to 400 images, drawn at random, or as many as 150,000 network calls allow.
    """
    levels = Levels.log_spaced(held_out[0][0], N_LEVELS)
    results: list[tuple[Tensor, Tensor]] = []
    max_images = min(MAX_IMAGES, max(1, MAX_CALLS // (N_LEVELS * len(held_out[0][0].classes))))
    rng = torch.Generator().manual_seed(seed)
    for network, fold_data in held_out:
        labelled = torch.nonzero(fold_data.batch.y >= 0).flatten()
        order = labelled[torch.randperm(len(labelled), generator=rng)]
        indices = order[: max_images // len(held_out)]
        x = normalize_images(fold_data.batch.take(indices, "cpu").x)
        measure = Measure(batch_size=512, precision=machine.precision, device=machine.device)
        device_network = network.to(machine.device) if isinstance(network, Denoiser) else network
        class_errors = compute_class_errors(
            device_network,
            x,
            torch.tensor(levels.sigmas),
            levels.draw_noise(device_network),
            measure,
            progress,
        )
        results.append((class_errors, fold_data.batch.y[indices]))
    return CalibrationErrors(
        torch.cat([e for e, _ in results]), torch.cat([y for _, y in results]), levels
    )
