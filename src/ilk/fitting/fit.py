"""Fit a classifier: from images to a classifier and its report."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import replace
from functools import partial
from typing import Any

from ilk.artifacts.classifier import Classifier
from ilk.artifacts.loading import AnyClassifier
from ilk.artifacts.multi_label_classifier import MultiLabelClassifier
from ilk.core.capabilities import Embeds, Explains
from ilk.core.contracts import Method, describe
from ilk.core.device import check_device
from ilk.core.progress import Progress, silent_progress
from ilk.diffusion.classification.context import ClassificationContext
from ilk.encoders.combined import combine_encoders
from ilk.fitting.candidates import (
    add_pixel_encoder,
    check_methods,
    has_tag,
    make_zero_shot_leaderboard,
    resolve_methods,
    select_candidates,
)
from ilk.fitting.class_names import check_class_names
from ilk.fitting.class_structure import read_class_structure
from ilk.fitting.config import DEFAULT_PROMPTS, FitConfig
from ilk.fitting.duplicate_leaks import compare_leaks, group_duplicates
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
from ilk.fitting.held_together import hold_together
from ilk.fitting.joined_features import find_detector_columns, join_features
from ilk.fitting.leakage import find_leaked_rows
from ilk.fitting.model_selection import rank_candidates
from ilk.fitting.multi_label import fit_multi_label_with_report
from ilk.fitting.neighbour_rows import keep_neighbours
from ilk.fitting.report_data import build_report_data
from ilk.fitting.settings import (
    FIT_SETTINGS,
    READ_SETTINGS,
    add_settings,
    configure,
    read_source,
    take_duplicates,
)
from ilk.fitting.side_files import drop_unused_contents, render_side_files
from ilk.fitting.split import Split, list_classes, split_images
from ilk.fitting.structured_classes import add_structure_classes
from ilk.fitting.usable_methods import check_labels, describe_left_out
from ilk.fitting.variants import add_variants
from ilk.images import Images
from ilk.report import ReportData
from ilk.report.multi_label_data import MultiLabelReport
from ilk.store import Store

__all__ = ["DEFAULT_PROMPTS", "FitConfig", "fit", "fit_with_report"]

REPEAT_SECONDS = 2.0  # for repeated folds, where there are few images; estimated


@add_settings(READ_SETTINGS, FIT_SETTINGS)
def fit(
    images: Any,
    config: FitConfig | None = None,
    *,
    store: Store | None = None,
    progress: Progress = silent_progress,
    log: LogCallback = lambda _line: None,
    **settings: Any,
) -> AnyClassifier:
    """Select the best encoder and method for the images, and fit and calibrate a classifier.

    >>> ilk.fit("photos/", encoders="hog", methods=("GDA", "Ridge"), folds=3)  # doctest: +SKIP

    Args:
        images: What `ilk.read` returns or reads: a folder, a table or DataFrame of paths and
            labels, or several images with `labels`. Files are decoded only once, while they are
            encoded. Of a shard folder that `ilk encode` made, the features are used, and read
            block by block if they need more than `memory`.
        config: Settings; the defaults work.
        store: Cache of encoded images; the user's own by default.
        progress: Reports the progress of long operations.
        log: Called with a message about each choice, and each remark on the results.
        settings: Any field of `FitConfig`, which replaces that of `config`; and, unless `images`
            is the result of `ilk.read`, any of its settings, such as `labels`, `path_column` and
            `label_column`.

    Returns:
        The classifier, a `MultiLabelClassifier` for images that were read with `multi_label=True`.
        Its `save` also writes its report and leaderboard.

    Raises:
        NoImages: No file can be used.
        NoLabels: There are no labels and no `classes`.
        InputError: The images cannot be read, there is only one class, or the settings contradict
            each other.
        Unavailable: A requested encoder or device is not available on this machine.
    """
    settings = take_duplicates(settings)
    config = configure(config, settings)
    feature_store = store if store is not None else Store()
    source = read_source(images, settings, config, feature_store, progress)
    return fit_read_images(
        source,
        config,
        partial(fit_with_report, source, store=feature_store),
        partial(fit_multi_label_with_report, source, store=feature_store),
        progress,
        log,
    )


def fit_read_images(
    images: Images,
    config: FitConfig,
    fit_classifier: Callable[..., tuple[Classifier, ReportData]],
    fit_labels: Callable[..., tuple[MultiLabelClassifier, MultiLabelReport]],
    progress: Progress,
    log: LogCallback,
) -> AnyClassifier:
    """Fit images that are read, and log their notes and those of the fit.

    Args:
        images: The images.
        config: Settings.
        fit_classifier: Fits a classifier; called with `config`, `progress` and `log`.
        fit_labels: Called instead, in the same way, where images have several labels.
        progress: Reports the progress of long operations.
        log: Called with each note, once.
    """
    for note in images.notes:
        log(note)
    if images.is_multi_label or config.multi_label:
        return fit_labels(config=config, progress=progress, log=log)[0]
    classifier, report_data = fit_classifier(config=config, progress=progress, log=log)
    for note in report_data.notes:
        if note not in images.notes:
            log(note)
    return classifier


def fit_with_report(
    images: Images,
    config: FitConfig | None = None,
    *,
    store: Store | None = None,
    progress: Progress = silent_progress,
    log: LogCallback = lambda _line: None,
    encoders: Sequence[Embeds] | None = None,
) -> tuple[Classifier, ReportData]:
    """Fit a classifier as `fit` does, and return it together with the data of its report.

    With `encoders`, these are compared and no variants of them, whatever the settings name.
    """
    config, feature_store = config or FitConfig(), store if store is not None else Store()
    state = _select_model(images, config, feature_store, progress, log, encoders)
    classifier, evaluation = finalize(state, feature_store)
    report_data = build_report_data(state, classifier, evaluation, feature_store)
    side_files = partial(render_side_files, drop_unused_contents(report_data))
    neighbours = keep_neighbours(
        state.images,
        state.split.train,
        [str(row.label) for row in state.split.train],
        state.encoder.space,
        feature_store,
        thumbnails=state.config.thumbnails,
    )
    classifier = replace(
        classifier, side_files=side_files, image_folders=images.folders, neighbours=neighbours
    )
    return classifier, report_data


def _select_model(
    images: Images,
    config: FitConfig,
    store: Store,
    progress: Progress,
    log: LogCallback,
    given: Sequence[Embeds] | None = None,
) -> FitState:
    methods = resolve_methods(config)
    check_device(config.device)

    config = config if given is not None else add_pixel_encoder(methods, config)
    config = add_classifier_classes(images, config, store)
    images = refuse_undecodable(images, config, store, progress)
    structure = read_class_structure(config.class_structure) if config.class_structure else None
    if structure is not None:
        config = add_structure_classes(structure, images, config, methods)
    classes = list_classes(images, config)
    context = ClassificationContext(classes, config.prompts, store)
    encoders = list(given or ())
    if given is None:
        encoders = resolve_encoders(images, config, context, log)
        encoders = add_variants(encoders, images, config, log)
    check_methods(methods, config, encoders, structure is not None)

    images = encode(images, encoders, store, progress, log)
    duplicates = None
    if config.group_duplicates:
        duplicates = group_duplicates(images, encoders, store, config.seed, progress)
        images = duplicates.images
    split = split_images(images, config)
    features = {e.name: load_features(e, split, config, store, structure) for e in encoders}

    candidates = {
        e.name: select_candidates(
            e,
            methods,
            labels=bool(split.train),
            knows_classes=features[e.name].class_model is not None,
            has_structure=structure is not None,
        )
        for e in encoders
    }
    check_class_names(methods, encoders, features, candidates)
    if config.methods:
        check_labels(methods, bool(split.train))
        for line in describe_left_out(methods, candidates.values(), bool(split.train)):
            log(line)
    _log_missing_unlabelled(methods, config, split, log)
    leaderboard = (
        rank_candidates(
            features,
            candidates,
            n_folds=config.folds,
            seed=config.seed,
            criterion=config.criterion,
            ordered=config.ordered,
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
    log(f"{describe(method)} on {name} is selected; fitting it to all training images")
    state = FitState(
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
    state = hold_together(state, store)
    return state if duplicates is None else compare_leaks(state, duplicates, store)


def _log_missing_unlabelled(
    methods: Sequence[Method], config: FitConfig, split: Split, log: LogCallback
) -> None:
    """Log which requested methods would also use unlabelled images, if there are none."""
    if split.unlabelled or not config.methods:
        return
    for method in methods:
        if has_tag(method, "uses_unlabelled"):
            log(f"{describe(method)} also uses unlabelled images, but there are none")
