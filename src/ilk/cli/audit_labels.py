"""Cross-validated predictions for all labels of a source, for `ilk audit`."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, replace
from typing import TYPE_CHECKING

import click

from ilk.images.annotations.groups import SPLIT_REASON

if TYPE_CHECKING:
    from ilk.core.data import Data
    from ilk.core.leaderboard import Leaderboard
    from ilk.fitting.config import FitConfig
    from ilk.images import Images, Row
    from ilk.store import Store


@dataclass(frozen=True, eq=False)
class AuditedLabels:
    """Labelled images and their cross-validated predictions.

    Attributes:
        images: All files of the source.
        rows: The labelled images, n of them.
        data: Their features and labels, for the encoder of the winner.
        leaderboard: Cross-validation results.
    """

    images: Images
    rows: tuple[Row, ...]
    data: Data
    leaderboard: Leaderboard


def cross_validate_labels(images: Images, config: FitConfig, store: Store) -> AuditedLabels:
    """Encode all labelled images and predict each by models of the other folds.

    Raises:
        NoLabels, InputError: There are too few labels to compare.
    """
    from ilk.core.capabilities import ScoresClasses
    from ilk.core.errors import InputError
    from ilk.core.progress import terminal_progress
    from ilk.diffusion.classification.context import ClassificationContext
    from ilk.encode import encode_and_refuse
    from ilk.fitting.candidates import check_methods, resolve_methods, select_candidates
    from ilk.fitting.encoding import load_features, resolve_encoders
    from ilk.fitting.leakage import check_unseen
    from ilk.fitting.model_selection import rank_candidates
    from ilk.fitting.split import split_images
    from ilk.fitting.variants import add_variants

    images = _merge_splits(images)
    _check_auditable(images)
    context = ClassificationContext(images.classes, config.prompts, store)
    encoders = resolve_encoders(images, config, context, click.echo)
    encoders = add_variants(encoders, images, config, click.echo)
    if classifiers := [e.name for e in encoders if isinstance(e, ScoresClasses)]:
        raise InputError(
            f"{classifiers[0]} is a classifier and may have been trained on these labels; audit "
            "with an encoder that gives features"
        )
    methods = resolve_methods(config)
    check_methods(methods, config, encoders)
    images = encode_and_refuse(images, encoders, store, progress=terminal_progress())
    _check_auditable(images)
    split = split_images(images, config)
    check_unseen(encoders, split.train, "their labels cannot be audited with it")
    tables = {e.name: load_features(e, split, config, store) for e in encoders}
    candidates = {e.name: select_candidates(e, methods, labels=True) for e in encoders}
    leaderboard = rank_candidates(
        tables, candidates, n_folds=config.folds, seed=config.seed, progress=terminal_progress()
    )
    if leaderboard.probabilities is None:
        raise InputError(
            "every class has a single labelled image, so no label can be compared with another; "
            "label at least two images of each class"
        )
    return AuditedLabels(images, split.train, tables[leaderboard.winner[0]], leaderboard)


def check_auditing_methods(texts: Sequence[str]) -> None:
    """Check, before any work, that the methods to audit with exist and learn from features.

    Raises:
        UnknownName: There is no such method.
        InputError: A method cannot be parsed, or has no features to learn from.
    """
    from ilk.core.contracts import describe
    from ilk.core.errors import InputError
    from ilk.fitting.candidates import has_tag, parse_methods

    for method in parse_methods(texts):
        if has_tag(method, "needs_class_scores"):
            raise InputError(
                f"{describe(method)} is a classifier that may have been trained on these labels; "
                "audit with a method that learns from features, such as GDA"
            )


def _merge_splits(images: Images) -> Images:
    """Move all used images to the train split, because the other splits are audited as well.

    So are images that were refused because other splits hold images of their groups.
    """
    rows = tuple(
        replace(r, split="train", status="used", reason="", detail="")
        if r.status == "used" or r.reason == SPLIT_REASON
        else r
        for r in images.rows
    )
    return replace(images, rows=rows)


def _check_auditable(images: Images) -> None:
    """Raise NoLabels or InputError unless there are labels of at least two classes."""
    from ilk.core.errors import InputError, NoLabels

    images.check_not_empty()
    if not images.classes:
        raise NoLabels(
            f"there are {len(images.used)} images and not one label, so there is nothing to audit; "
            "put them in a sub-folder per class, or name the column with --label-column"
        )
    if len(images.classes) == 1:
        raise InputError(
            f"every label is {images.classes[0]!r}; finding wrong labels needs at least two "
            f"classes{images.hint and '; '}{images.hint}"
        )
