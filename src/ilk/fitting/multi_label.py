"""Fit a multi-label classifier: from images with sets of labels to a classifier and its report.

Every candidate method is fitted to each label against the rest. Encoder and method are selected by
mean average precision in cross-validation; calibration and thresholds come from the out-of-fold
margins of the selected one.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace
from functools import partial

import numpy as np

from ilk.artifacts.multi_label_classifier import LabelBatch, MultiLabelClassifier
from ilk.artifacts.multi_label_evaluation import (
    MultiLabelEvaluation,
    encode_targets,
    evaluate_labels,
)
from ilk.core.capabilities import Embeds, ScoresClasses
from ilk.core.contracts import Method, describe
from ilk.core.data import UNLABELLED, Data
from ilk.core.device import check_device
from ilk.core.errors import InputError
from ilk.core.progress import Progress, silent_progress
from ilk.diffusion.classification.context import ClassificationContext
from ilk.explain.neighbours import LABEL_SEPARATOR
from ilk.fitting.candidates import parse_methods
from ilk.fitting.config import FitConfig
from ilk.fitting.encoding import LogCallback, encode, resolve_encoders
from ilk.fitting.leakage import check_unseen
from ilk.fitting.multi_label_report import (
    build_multi_label_report,
    make_metadata,
    render_multi_label_side_files,
)
from ilk.fitting.multi_label_selection import rank_label_candidates
from ilk.fitting.multi_label_split import split_labels
from ilk.fitting.neighbour_rows import keep_neighbours
from ilk.fitting.variants import add_variants
from ilk.images import Images, Row, describe_groups, number_row_groups
from ilk.images.duplicates.near_pairs import HARMLESS, describe_near_pairs, find_near_pairs
from ilk.methods import list_methods
from ilk.multilabel.calibration import LabelCalibration
from ilk.multilabel.one_vs_rest import check_method, fit_one_vs_rest
from ilk.multilabel.thresholds import LabelThresholds, fit_thresholds
from ilk.report.multi_label_data import MultiLabelReport
from ilk.store import Store
from ilk.trust.out_of_distribution import OutOfDistributionDetector, cross_validate_scores


def fit_multi_label_with_report(
    images: Images,
    config: FitConfig | None = None,
    *,
    store: Store | None = None,
    progress: Progress = silent_progress,
    log: LogCallback = lambda _line: None,
    encoders: Sequence[Embeds] | None = None,
) -> tuple[MultiLabelClassifier, MultiLabelReport]:
    """Fit a classifier to images that were read with `multi_label=True`.

    Args:
        images: Images as returned by `ilk.read`.
        config: Settings; the defaults work.
        store: Cache of encoded images; the user's own by default.
        progress: Reports the progress of long operations.
        log: Called with a message about each choice.
        encoders: Encoders to compare instead of those that the settings name, without variants.

    Raises:
        NoImages: No file can be used.
        NoLabels: No image has labels.
        InputError: No label can be learned, or a setting is for single labels.
        Unavailable: A requested encoder or device is not available on this machine.
    """
    config, feature_store = config or FitConfig(), store if store is not None else Store()
    methods = _resolve_methods(config)
    check_device(config.device)
    split_labels(images)  # ends here before any network is opened
    context = ClassificationContext(None, config.prompts, feature_store)
    opened = resolve_encoders(images, config, context, log) if encoders is None else list(encoders)
    _check_encoders(opened)
    encoders = add_variants(opened, images, config, log) if encoders is None else opened
    images = encode(images, list(encoders), feature_store, progress, log)
    split = split_labels(images)
    check_unseen(encoders, split.train, "no classifier of several labels can be judged on them")
    features = {e.name: _load_features(e, split.train, feature_store) for e in encoders}
    targets = encode_targets(split.train, split.classes)
    leaderboard = rank_label_candidates(
        features,
        targets,
        split.classes,
        methods,
        n_folds=config.folds,
        seed=config.seed,
        progress=progress,
    )
    name, method = leaderboard.winner
    log(f"{describe(method)} on {name} is selected; fitting it to all training images")
    encoder = next(e for e in encoders if e.name == name)
    data = replace(features[name], y=np.zeros(len(targets), np.int64), classes=("image",))
    unknown_scores = cross_validate_scores(data, leaderboard.fold)
    calibration = LabelCalibration.fit(leaderboard.margins, targets)
    p = calibration.to_probabilities(leaderboard.margins)
    classifier = MultiLabelClassifier(
        split.classes,
        encoder,
        fit_one_vs_rest(method, features[name], targets),
        calibration,
        LabelThresholds(fit_thresholds(targets, p)),
        OutOfDistributionDetector.fit(data, unknown_scores, config.false_alarm),
        image_folders=images.folders,
    )
    threshold = classifier.ood_detector.threshold
    evaluation = (
        evaluate_labels(classifier, split.held_out, feature_store, config.seed)
        if split.held_out
        else MultiLabelEvaluation(
            split.classes,
            split.train,
            targets,
            LabelBatch(
                leaderboard.probabilities,
                leaderboard.predicted,
                unknown_scores > threshold,
                unknown_scores,
            ),
            config.seed,
        )
    )
    near_pairs = [
        p for p in find_near_pairs(images.used, feature_store) if p.concerns not in HARMLESS
    ]
    notes = [
        *describe_groups(split.train + split.held_out),
        *split.notes,
        classifier.ood_detector.note,
        *describe_near_pairs(near_pairs),
        *images.notes,
    ]
    report = build_multi_label_report(
        images, config, split, leaderboard, classifier, evaluation, [n for n in notes if n]
    )
    classifier = replace(
        classifier,
        metadata=make_metadata(images, config, split, report, classifier, evaluation),
        side_files=partial(render_multi_label_side_files, report),
        neighbours=keep_neighbours(
            images,
            split.train,
            [LABEL_SEPARATOR.join(sorted(row.labels or ())) for row in split.train],
            encoder.space,
            feature_store,
            thumbnails=config.thumbnails,
        ),
    )
    return classifier, report


def _resolve_methods(config: FitConfig) -> list[Method]:
    """Return the requested methods, or the default ones that are fitted one-against-rest."""
    for option, value in (
        ("classifiers (--classifier)", config.classifiers),
        ("classes (--class)", config.classes),
        ("descriptions (--descriptions)", config.descriptions),
        ("criterion (--criterion)", () if config.criterion == "accuracy" else config.criterion),
    ):
        if value:
            raise InputError(
                f"{option} is for one label per image; multi-label classifiers are selected by "
                "mean average precision among linear methods, so leave it out"
            )
    methods = parse_methods(config.methods)
    for method in methods:
        check_method(method)
    return methods or [
        kind() for kind in list_methods().values() if kind.default_candidate and kind.one_vs_rest
    ]


def _check_encoders(encoders: Sequence[Embeds]) -> None:
    for encoder in encoders:
        if isinstance(encoder, ScoresClasses):
            raise InputError(
                f"{encoder.name} gives one score per class, and images with several labels need "
                "features; name another encoder"
            )


def _load_features(encoder: Embeds, rows: Sequence[Row], store: Store) -> Data:
    x = store.get(encoder.space, [row.digest for row in rows])
    return Data(x, np.full(len(rows), UNLABELLED), (), group=number_row_groups(rows))
