"""Fit a classifier: from images to a classifier and its report."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace
from functools import partial

from ilk.artifacts.classifier import Classifier
from ilk.core.capabilities import Explains
from ilk.core.contracts import Method, describe
from ilk.core.device import check_device
from ilk.core.progress import Progress, silent_progress
from ilk.diffusion.classification.context import ClassificationContext
from ilk.encoders.combined import combine_encoders
from ilk.fitting.candidates import (
    add_pixel_encoder,
    check_image_support,
    check_text_support,
    has_tag,
    make_zero_shot_leaderboard,
    resolve_methods,
    select_candidates,
)
from ilk.fitting.config import DEFAULT_PROMPTS, FitConfig
from ilk.fitting.encoding import (
    LogCallback,
    add_classifier_classes,
    encode,
    load_features,
    refuse_undecodable,
    resolve_encoders,
)
from ilk.fitting.finalize import finalize
from ilk.fitting.fit_state import FitState
from ilk.fitting.joined_features import find_detector_columns, join_features
from ilk.fitting.leakage import find_leaked_rows
from ilk.fitting.model_selection import rank_candidates
from ilk.fitting.report_data import build_report_data
from ilk.fitting.side_files import render_side_files
from ilk.fitting.split import Split, list_classes, split_images
from ilk.images import Images
from ilk.report import ReportData
from ilk.store import Store

__all__ = ["DEFAULT_PROMPTS", "FitConfig", "fit", "fit_with_report"]

REPEAT_SECONDS = 2.0  # for repeated folds, where there are few images


def fit(
    images: Images,
    config: FitConfig | None = None,
    *,
    store: Store | None = None,
    progress: Progress = silent_progress,
    log: LogCallback = lambda _line: None,
) -> Classifier:
    """Select the best encoder and method for the images, and fit and calibrate a classifier.

    Args:
        images: Images as returned by `ilk.read`.
        config: Settings; the defaults work.
        store: Cache of encoded images; the user's own by default.
        progress: Reports the progress of long operations.
        log: Called with a message about each choice.

    Returns:
        The classifier. `Classifier.save` also writes its report and leaderboard.

    Raises:
        NoImages: No file can be used.
        NoLabels: There are no labels and no `config.classes`.
        InputError: There is only one class, or the settings contradict each other.
        Unavailable: A requested encoder or device is not available on this machine.
    """
    return fit_with_report(images, config, store=store, progress=progress, log=log)[0]


def fit_with_report(
    images: Images,
    config: FitConfig | None = None,
    *,
    store: Store | None = None,
    progress: Progress = silent_progress,
    log: LogCallback = lambda _line: None,
) -> tuple[Classifier, ReportData]:
    """Fit a classifier as `fit` does, and return it together with the data of its report."""
    config, feature_store = config or FitConfig(), store if store is not None else Store()
    state = _select_model(images, config, feature_store, progress, log)
    classifier, evaluation = finalize(state, feature_store)
    report_data = build_report_data(state, classifier, evaluation, feature_store)
    side_files = partial(render_side_files, report_data)
    return replace(classifier, side_files=side_files), report_data


def _select_model(
    images: Images, config: FitConfig, store: Store, progress: Progress, log: LogCallback
) -> FitState:
    methods = resolve_methods(config)
    check_device(config.device)

    config = add_pixel_encoder(methods, config)
    config = add_classifier_classes(images, config, store)
    images = refuse_undecodable(images, config, store, progress)
    classes = list_classes(images, config)
    context = ClassificationContext(classes, config.prompts, store)
    encoders = resolve_encoders(images, config, context, log)
    check_text_support(methods, config.descriptions, encoders)
    check_image_support(methods, encoders)

    images = encode(images, encoders, store, progress)
    split = split_images(images, config)
    features = {e.name: load_features(e, split, config, store) for e in encoders}

    candidates = {e.name: select_candidates(e, methods, labels=bool(split.train)) for e in encoders}
    _log_missing_unlabelled(methods, config, split, log)
    leaderboard = (
        rank_candidates(
            features,
            candidates,
            n_folds=config.folds,
            seed=config.seed,
            criterion=config.criterion,
            leaked_rows=find_leaked_rows(encoders, split),
            repeat_seconds=REPEAT_SECONDS,
            combine=not config.single,
            stop_early=True,
            progress=progress,
        )
        if split.train
        else make_zero_shot_leaderboard(candidates, len(split.unlabelled))
    )

    name, method = leaderboard.winner
    if leaderboard.combination:
        log(str(leaderboard.combination))
    log(f"{describe(method)} on {name} is selected; fitting it to all training images")
    return FitState(
        config,
        images,
        split,
        encoder=combine_encoders(
            tuple(e for name in leaderboard.winner_encoders for e in encoders if e.name == name)
        ),
        method=method,
        features=join_features(leaderboard.winner_encoders, features),
        leaderboard=leaderboard,
        detector_columns=find_detector_columns(leaderboard, features),
        explainers=tuple(e for e in encoders if isinstance(e, Explains)),
    )


def _log_missing_unlabelled(
    methods: Sequence[Method], config: FitConfig, split: Split, log: LogCallback
) -> None:
    """Log which requested methods would also use unlabelled images, if there are none."""
    if split.unlabelled or not config.methods:
        return
    for method in methods:
        if has_tag(method, "uses_unlabelled"):
            log(f"{describe(method)} also uses unlabelled images, but there are none")
