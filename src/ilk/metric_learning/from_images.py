"""From encoded images to a tuned folder."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from ilk.core.capabilities import Embeds, ScoresClasses
from ilk.core.errors import InputError
from ilk.core.progress import Progress, silent_progress
from ilk.encoders import resolve_encoder
from ilk.encoders.tuned import FAMILY
from ilk.encoders.tuned_folder import TunedEmbedding, pack_digests, take_weights, write_tuned
from ilk.images import Images, Row, number_row_groups
from ilk.images.labelled_rows import digest_rows, encode_labels, list_labelled
from ilk.maths.held_out import draw_held_out
from ilk.metric_learning.compatibility import Compatibility, measure_update
from ilk.metric_learning.config import LearningConfig
from ilk.metric_learning.learn import (
    MAP_AT_R,
    MIN_TUNED_CLASSES,
    RAW,
    LearnedEmbedding,
    LearningRows,
    learn_embedding,
)
from ilk.metric_learning.ledger import NAME, Ledger
from ilk.metric_learning.predecessor import LOSS, ClassVertices, Predecessor
from ilk.metric_learning.training import embed_rows
from ilk.store import Store

HOLD_OUT = 0.2
MIN_HELD_OUT = 50  # images that `ilk fit` needs to evaluate an encoder on


@dataclass(frozen=True, eq=False)
class LearningResult:
    """What `learn_from_images` found, and wrote if it is of use.

    Attributes:
        learned: The embedding and its scores.
        folder: The tuned folder.
        is_written: Whether the embedding was written.
        n_images: Images that it was trained on.
        n_held_out: Labelled images that it was not trained on.
        classes: Classes that it was trained on.
        notes: Sentences about the result, the verdict first.
        compatibility: What was measured against the version before; None without one.
    """

    learned: LearnedEmbedding
    folder: Path
    is_written: bool
    n_images: int
    n_held_out: int
    classes: tuple[str, ...]
    notes: tuple[str, ...]
    compatibility: Compatibility | None = None

    def to_json(self) -> dict[str, Any]:
        """Return the result as plain values."""
        return {
            "embedding": str(self.folder) if self.is_written else None,
            "kept": self.learned.is_better,
            "loss": self.learned.loss,
            "lr": self.learned.lr,
            "tuned": self.learned.is_tuned,
            "images": self.n_images,
            "held_out": self.n_held_out,
            "classes": list(self.classes),
            **describe_scores(self.learned),
            "notes": list(self.notes),
            **describe_compatibility(self.compatibility),
        }


def open_base(name: str, images: Images, device: str, runtime: str) -> Embeds:
    """Open the encoder whose features an embedding is to read.

    Raises:
        InputError: It is a classifier, or a learned embedding itself.
        UnknownName, Unavailable: As `resolve_encoder`.
    """
    base = resolve_encoder(name, images=images, device=device, runtime=runtime)
    if isinstance(base, ScoresClasses) or base.name.startswith(f"{FAMILY}:"):
        raise InputError(
            f"{name} was trained with labels itself; learn an embedding of an encoder such as "
            "efficientnet-lite0, timm/NAME or pixels"
        )
    return base


def learn_from_images(
    images: Images,
    base: Embeds,
    store: Store,
    config: LearningConfig,
    folder: Path,
    *,
    hold_out: float | None = None,
    force: bool = False,
    predecessor: Predecessor | None = None,
    progress: Progress = silent_progress,
) -> LearningResult:
    """Learn an embedding of encoded images, and write it if unseen classes gain from it.

    Args:
        images: Images whose features are in the store; those without a label are not used.
        base: Their encoder.
        store: The features.
        config: Settings.
        folder: The tuned folder.
        hold_out: Fraction of the images that is not trained on; None is `HOLD_OUT` where that
            gives at least `MIN_HELD_OUT` images, else 0.
        force: Write the embedding even if unseen classes do not gain.
        predecessor: The version whose indexes the embedding is to query; settings are adapted to it
            by `Predecessor.adapt`.
        progress: Reports each training.

    Raises:
        NoLabels, InputError: There are too few labels.
        OutputError: The folder cannot be written.
    """
    why = "an embedding is learned from images of one class and of others"
    rows, classes = list_labelled(images, why)
    y = encode_labels(rows, classes)
    groups = number_row_groups(rows)
    is_trained = ~choose_held_out(y, groups, hold_out, config.seed)
    trained = [row for row, keep in zip(rows, is_trained, strict=True) if keep]
    learning_rows = LearningRows(
        store.get(base.space, [row.digest for row in trained]),
        y[is_trained],
        groups[is_trained],
        _find_shape(base),
    )
    vertices = ClassVertices.assign(classes, predecessor) if config.loss == LOSS else None
    ledger = Ledger(folder / NAME, _describe_run(config, base, trained))
    learned = learn_embedding(learning_rows, config, ledger, progress, vertices)
    names = tuple(classes[c] for c in np.unique(y[is_trained]))
    measured = None
    if predecessor is not None:
        old, new = predecessor.embedding.build_network(), learned.network
        x = learning_rows.x
        measured = measure_update(embed_rows(old, x), embed_rows(new, x), learning_rows.y)
    is_written = learned.is_better or force
    if is_written:
        kind, settings, arrays = take_weights(learned.network)
        write_tuned(
            folder,
            TunedEmbedding(
                base.describe(),
                kind,
                settings,
                arrays,
                names if vertices is None else vertices.classes,
                learned.loss,
                pack_digests([row.digest for row in trained]),
                (predecessor.key,)
                if predecessor is not None and measured is not None and measured.is_compatible
                else (),
                {**describe_scores(learned), **describe_compatibility(measured)},
            ),
        )
    ledger.delete()
    n_held_out = int((~is_trained).sum())
    unlabelled = len(images.used) - len(rows)
    notes = _describe(learned, is_written, n_held_out, unlabelled, base.name)
    if predecessor is not None and measured is not None:
        notes.append(measured.explain(predecessor.name))
    return LearningResult(
        learned, folder, is_written, len(trained), n_held_out, names, tuple(notes), measured
    )


def choose_held_out(
    y: NDArray[np.int64], groups: NDArray[np.int64], part: float | None, seed: int
) -> NDArray[np.bool_]:
    """Return which rows `[n]` are not trained on; if `part` is None, a fifth, or none of few rows.

    Raises:
        InputError: `part` is not a number from 0 to below 1.
    """
    if part is None:
        part = HOLD_OUT if HOLD_OUT * len(y) >= MIN_HELD_OUT else 0.0
    return draw_held_out(y, groups, part, seed)


def describe_scores(learned: LearnedEmbedding) -> dict[str, Any]:
    """Return scores and gains as plain values."""
    return {
        "scores": {m: {n: asdict(i) for n, i in v.items()} for m, v in learned.scores.items()},
        "gains": {m: {n: asdict(i) for n, i in v.items()} for m, v in learned.gains.items()},
        "judged_classes": learned.n_classes,
        "judged_images": learned.n_queries,
    }


def describe_compatibility(measured: Compatibility | None) -> dict[str, Any]:
    """Return an entry with the figures of an update as plain values; none without a predecessor."""
    return {} if measured is None else {"compatibility": measured.describe()}


def _find_shape(base: Embeds) -> tuple[int, int, int] | None:
    """Return channels, height and width of pixels that are the features themselves."""
    sides = [getattr(base, name, 0) for name in ("channels", "height", "width")]
    if sides[0] * sides[1] * sides[2] == base.space.dim:
        return (sides[0], sides[1], sides[2])
    return None


def _describe_run(config: LearningConfig, base: Embeds, rows: Sequence[Row]) -> dict[str, Any]:
    return {"images": digest_rows(rows), "space": base.space.key, "config": asdict(config)}


def _describe(
    learned: LearnedEmbedding, is_written: bool, n_held_out: int, unlabelled: int, base: str
) -> list[str]:
    gain = learned.gains[MAP_AT_R][RAW]
    interval = f"{gain.value:+.3f} in mAP@R, 95 % interval {gain.low:+.3f} to {gain.high:+.3f}"
    if learned.is_better:
        verdict = (
            f"kept: it retrieves unseen classes better than the features as they are ({interval})"
        )
    else:
        what, how = ("no gain", "better") if gain.high < 0 else ("no clear gain", "as well")
        verdict = f"{what}: the features as they are retrieve unseen classes {how} ({interval}); "
        verdict += (
            "written because of --force"
            if is_written
            else f"nothing was written: use --encoder {base}, or pass --force"
        )
    notes = [verdict]
    notes += [
        f"{name} retrieves unseen classes better still, and needs no training: --loss {name}"
        for name in learned.better_projections
    ]
    if not learned.is_tuned and learned.n_classes < MIN_TUNED_CLASSES:
        notes.append(
            f"with fewer than {MIN_TUNED_CLASSES} classes, none are left to choose settings on: "
            "margin and learning rate are the defaults"
        )
    if is_written and not n_held_out:
        notes.append(
            "no image was held out, so ilk fit cannot compare it with other encoders on these "
            "images; give it others, a test split, or learn with --hold-out 0.2"
        )
    if unlabelled:
        words = "1 image has no label and was"
        if unlabelled > 1:
            words = f"{unlabelled:,} images have no label and were"
        notes.append(f"{words} not used")
    return notes
