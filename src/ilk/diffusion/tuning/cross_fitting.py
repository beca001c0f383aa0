"""Tune a model with its cross-fitted networks, and calibrate the classifier on unseen images."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import torch
from numpy.typing import NDArray

from ilk.core.errors import InputError
from ilk.core.progress import Progress, silent_progress
from ilk.diffusion.checkpoint import checkpoint, training_images
from ilk.diffusion.checkpoint.model_paths import get_fold_folder, get_tuned_folder
from ilk.diffusion.checkpoint.training_images import TrainingImages
from ilk.diffusion.classification.calibration_errors import CalibrationErrors
from ilk.diffusion.denoiser.karras import Denoiser
from ilk.diffusion.errors.levels import Levels
from ilk.diffusion.pretraining.cross_fitting import (
    HOLDOUT_FRACTION,
    PretrainingData,
    fit_nearest_mean_heads,
    split_fold,
)
from ilk.diffusion.tuning import report as reports
from ilk.diffusion.tuning.assessment import (
    N_LEVELS,
    Assessment,
    assess_errors,
    choose_levels,
    count_needed,
    make_levels,
    measure_drawing,
    measure_errors,
)
from ilk.diffusion.tuning.report import TuningReport
from ilk.diffusion.tuning.tune import TuningConfig, prepare_tuning, tune
from ilk.maths.folds import share_group
from ilk.training.trainer import Batch, DeviceConfig

MIN_HELD_OUT = 4  # images to calibrate on
DRAWN = 200  # images drawn to measure the drawing quality


def tune_cross_fit(
    home: Path,
    data: PretrainingData,
    config: TuningConfig,
    machine: DeviceConfig = DeviceConfig(),  # noqa: B008  (frozen)
    progress: Progress = silent_progress,
    drawn: int = DRAWN,
) -> TuningReport:
    """Tune the model in `home` and make the tuned network its classifier.

    The tuned network is saved beside the untuned one, in `home/tuned`, with the images it was
    trained on and the errors of others. A model without fold networks leaves a tenth of the images
    that it was not pretrained on for that, the same ones as `ilk pretrain` holds out.

    Args:
        home: Folder of the model; its own network stays as it is and draws.
        data: Images, labelled ones among them; those the model was trained on may be among them.
        config: Configuration of all networks.
        machine: Device and precision.
        progress: Reports updates.
        drawn: Number of images drawn to measure the drawing quality; 0 for none.

    Raises:
        InputError: The images are unsuitable, or none is left to calibrate on.
        DivergenceError: Training diverged.
        OutputError: `home` cannot be written.
    """
    record, tuned = training_images.load(home), get_tuned_folder(home)
    fold_ids, is_tuned_on = split_images(record, data)
    tuning_data = data.select(is_tuned_on)
    is_labelled = (data.batch.y >= 0).numpy()
    folds = [f for f in range(record.folds) if ((fold_ids == f) & is_labelled).any()]
    # Refuse before writing: the record below may be that of a finished network.
    prepare_tuning(home, tuning_data.batch, data.classes, config, tuned)
    for fold in folds:
        part, _ = split_fold(data, fold_ids, fold)
        base, fold_home = get_fold_folder(home, fold), get_fold_folder(tuned, fold)
        prepare_tuning(base, part.batch, data.classes, config, fold_home)
    rows = is_tuned_on & is_labelled
    trained = data.select(rows)
    TrainingImages.from_images(
        trained.batch.x.numpy(), trained.digests, record.folds, fold_ids[rows]
    ).save(tuned)
    network = tune(home, tuning_data.batch, data.classes, config, tuned, machine, progress)
    held_out: list[tuple[Denoiser, Batch, Path]] = []
    heads: list[tuple[Denoiser, PretrainingData, Path]] = [(network, tuning_data, tuned)]
    for fold in folds:
        part, other = split_fold(data, fold_ids, fold)
        base, folder = get_fold_folder(home, fold), get_fold_folder(tuned, fold)
        fold_network = tune(base, part.batch, data.classes, config, folder, machine, progress)
        held_out.append((fold_network, other.select_labelled().batch, base))
        heads.append((fold_network, part, folder))
    if not record.folds:
        held_out = [(network, data.select(~is_tuned_on & is_labelled).batch, home)]
    fit_nearest_mean_heads(home, heads, machine)
    return _calibrate(home, network, held_out, config, len(trained.batch), machine, progress, drawn)


def split_images(
    record: TrainingImages, data: PretrainingData
) -> tuple[NDArray[np.int64], NDArray[np.bool_]]:
    """Return the fold of each image `[n]`, and which of them `[n]` the main network is tuned on.

    Raises:
        InputError: Too few labelled images are left to calibrate on.
    """
    x = data.batch.x.numpy()
    hashes, known = training_images.hash_images(x), record.is_training_image(x, data.digests)
    labelled = (data.batch.y >= 0).numpy()
    if record.folds:
        if labelled.sum() < MIN_HELD_OUT:
            raise InputError(
                f"{labelled.sum()} labelled images are too few to tune on, and to calibrate the "
                f"tuned classifier on; give at least {MIN_HELD_OUT}"
            )
        fold_ids = record.find_held_out_fold(hashes)
        new = training_images.assign_folds(hashes, record.folds, data.group)
        fold_ids = np.where(fold_ids < 0, new, fold_ids)
        if data.group is not None:  # a group follows its images in the record
            for g in np.unique(data.group[known & (data.group >= 0)]):
                rows = data.group == g
                fold_ids[rows] = fold_ids[rows & known][0]
        return fold_ids, np.ones(len(x), bool)
    folds = training_images.assign_folds(hashes, round(1 / HOLDOUT_FRACTION), data.group)
    is_seen = known | share_group(_number(data), np.flatnonzero(known))
    is_held_out = ~is_seen & (folds == 0)
    if int((is_held_out & labelled).sum()) < MIN_HELD_OUT:
        raise InputError(
            f"{int((is_held_out & labelled).sum())} labelled images are left to calibrate the "
            f"tuned classifier on and {MIN_HELD_OUT} are needed: of the images that the model was "
            "not pretrained on, a tenth is held out; give more of them"
        )
    return folds, ~is_held_out


def _number(data: PretrainingData) -> NDArray[np.int64]:
    return np.full(len(data.batch), -1) if data.group is None else data.group


def _calibrate(
    home: Path,
    network: Denoiser,
    held_out: list[tuple[Denoiser, Batch, Path]],
    config: TuningConfig,
    n_images: int,
    machine: DeviceConfig,
    progress: Progress,
    drawn: int,
) -> TuningReport:
    """Save the errors of held-out images, compare before and after, and save the report last."""
    tuned, base = get_tuned_folder(home), checkpoint.load(home)
    noise = config.get_noise(network.sigma_data)
    levels = make_levels(network, noise.mean, noise.std)
    errors, seconds = measure_errors([(n, b) for n, b, _ in held_out], levels, machine, progress)
    real = Batch(
        *(torch.cat(part) for part in zip(*((b.x, b.y) for _, b, _ in held_out), strict=True))
    )

    def assess(
        denoiser: Denoiser, found: CalibrationErrors, level_seconds: float, max_levels: int
    ) -> Assessment:
        results = assess_errors(found)
        needed = min(count_needed(results, len(found.y)), max_levels)
        denoiser = denoiser.to(machine.device)
        drawing = measure_drawing(denoiser, real, drawn, machine.device, base.sigmas)
        return Assessment(results, needed, drawing, level_seconds * needed)

    after, before = assess(network, errors, seconds, config.max_levels), None
    if base.classes:
        old = [(checkpoint.load(folder), batch) for _, batch, folder in held_out]
        old_errors, old_seconds = measure_errors(
            old, Levels.log_spaced(base, N_LEVELS), machine, progress
        )
        before = assess(base, old_errors, old_seconds, N_LEVELS)
    choose_levels(errors, config.max_levels).save(tuned)
    report = TuningReport(
        config.objective, n_images, len(errors.y), config.max_levels, before, after
    )
    reports.write(report, tuned)
    return report
