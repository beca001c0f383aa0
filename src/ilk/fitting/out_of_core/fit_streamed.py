"""Fit a classifier to a shard folder whose features do not fit in memory."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace
from functools import partial

import numpy as np
from numpy.typing import NDArray

from ilk.artifacts.classifier import Classifier
from ilk.core.capabilities import Embeds
from ilk.core.contracts import Method, describe
from ilk.core.data import Data
from ilk.core.device import check_device
from ilk.core.errors import InputError
from ilk.core.leaderboard import Leaderboard
from ilk.core.progress import Progress
from ilk.core.row_stream import FitsStream
from ilk.encode import encode_and_refuse
from ilk.fitting.candidates import resolve_methods, select_candidates
from ilk.fitting.config import FitConfig
from ilk.fitting.encoding import LogCallback
from ilk.fitting.finalize import make_metadata
from ilk.fitting.fit_state import FitState
from ilk.fitting.leaderboard_builder import make_unmeasured_leaderboard
from ilk.fitting.leakage import check_unseen
from ilk.fitting.neighbour_rows import keep_neighbours
from ilk.fitting.out_of_core.finish import Streams, finalize_streamed
from ilk.fitting.out_of_core.mapped import map_features
from ilk.fitting.out_of_core.memory import MemoryPlan
from ilk.fitting.out_of_core.ranking import StreamedLeaderboard, rank_streamed
from ilk.fitting.out_of_core.samples import SAMPLE_ROWS, Samples
from ilk.fitting.out_of_core.shard_images import ShardImages
from ilk.fitting.out_of_core.shard_source import ShardSource
from ilk.fitting.out_of_core.streamed_rows import (
    FeatureSource,
    StreamedRows,
    number_parts,
    stream_rows,
)
from ilk.fitting.report_data import build_report_data
from ilk.fitting.side_files import render_side_files
from ilk.fitting.split import Split, split_images
from ilk.fitting.usable_methods import check_labels
from ilk.images import Row, number_row_groups
from ilk.maths.sampling import sample_by_class
from ilk.protocols import describe_fold_limits, stratified_folds
from ilk.report import ReportData
from ilk.store import Store

METHOD_SHARE = 4  # of the memory limit, what one method may hold: a quarter
SEARCHED_ROWS = 20_000  # unlabelled images that are searched for unknown ones
DEPENDENCE_NOTE = (
    "nearly equal images, and clusters of images that depend on each other, are not looked for out "
    "of core: run ilk duplicates, and give groups with --group-from or when the shards are made"
)


def fit_streamed(
    opened: ShardSource,
    config: FitConfig,
    plan: MemoryPlan,
    store: Store,
    progress: Progress,
    log: LogCallback,
) -> tuple[Classifier, ReportData]:
    """Return the classifier of a shard folder and the data of its report.

    Args:
        opened: The shard folder, with features of one encoder.
        config: Settings.
        plan: The memory limit.
        store: Store of the shards' features.
        progress: Reports the progress of passes.
        log: Called with a message about each choice, and what rests on a sample.

    Raises:
        InputError: There are no labels, several encoders, or no method learns from a stream.
    """
    if len(opened.encoders) > 1:
        raise InputError(
            "features of several encoders are compared in memory only; name one with --encoder, or "
            "raise --memory"
        )
    encoder, features = opened.encoders[0], opened.features[0]
    methods = resolve_methods(config)
    check_device(config.device)
    images = encode_and_refuse(opened.images, list(opened.encoders), store, progress=progress)
    split = split_images(images, config)
    check_labels(methods, bool(split.train))
    check_unseen(
        opened.encoders,
        split.train,
        "a fit out of core cannot evaluate methods on them: raise --memory (memory=)",
    )
    methods, notes = _choose_methods(encoder, methods, bool(split.train))
    position = {
        row.digest: i
        for i, row in zip(features.order.tolist(), images.rows, strict=True)
        if row.status == "used"
    }
    source = map_features(features, log)
    train = _stream(split, position, source, config, plan, progress)
    fold = stratified_folds(train.y, config.folds, config.seed, train.group)
    tested = _draw_tested(train, fold, _count_sample(plan, split), config.seed)
    sample = Data(train.take(tested), train.y[tested], split.classes, group=train.group[tested])
    n_folds = int(fold.max(initial=-1)) + 1
    builder = StreamedLeaderboard(train, n_folds, sample, fold[tested], config)
    board = _rank(builder, encoder, methods, sample, train, fold, config, progress)
    name, method = board.winner
    log(f"{describe(method)} on {name} is selected; fitting it to all training images")
    searched = _draw(split.unlabelled + split.novel, config.seed)
    sampled = replace(
        split,
        train=tuple(split.train[i] for i in tested),
        unlabelled=tuple(row for row in searched if row.label is None),
        novel=tuple(row for row in searched if row.label is not None),
    )
    state = FitState(config, images, sampled, encoder, method, sample, board)
    held_out = np.array([position[row.digest] for row in split.held_out], np.int64)
    streams = Streams(train, builder, source, held_out)
    classifier, evaluation = finalize_streamed(state, streams, progress)
    best = board.results[0].scores
    samples = Samples(
        len(train.y),
        len(tested) if n_folds else 0,
        len(split.held_out),
        len(evaluation.rows) if split.held_out else 0,
        len(split.unlabelled + split.novel),
        len(searched),
        best.accuracy.value if best else float("nan"),
        config.coverage,
    )
    notes = [str(plan), *samples.describe(), *notes, *train.notes, DEPENDENCE_NOTE]
    whole = replace(state, split=split)
    classifier = replace(
        classifier,
        metadata={
            **make_metadata(whole, classifier, evaluation),
            "samples": samples.to_json(),
        },
        image_folders=images.folders,
        neighbours=keep_neighbours(
            images,
            split.train,
            [str(row.label) for row in split.train],
            encoder.space,
            store,
            thumbnails=config.thumbnails,
        ),
    )
    classifier.metadata["notes"] = [*notes, *classifier.metadata["notes"]]
    report = build_report_data(state, classifier, evaluation, store)
    report = _describe_whole(report, split, samples, notes)
    return replace(classifier, side_files=partial(render_side_files, report)), report


def _choose_methods(
    encoder: Embeds, methods: Sequence[Method], has_labels: bool
) -> tuple[list[Method], list[str]]:
    """Return the candidates that learn from a stream, and which others are left out, in words.

    Raises:
        InputError: None does.
    """
    if not has_labels:
        raise InputError(
            "no image has a label, and a first guess by the names of classes is made in memory "
            "only; raise --memory, or label some images"
        )
    usable = select_candidates(encoder, methods, labels=True)
    streamed: list[Method] = [method for method in usable if isinstance(method, FitsStream)]
    others = [method for method in usable if method not in streamed]
    names = ", ".join(map(describe, others))
    if not streamed:
        raise InputError(
            f"{names or ', '.join(map(describe, methods))}: no method that learns from rows read "
            "block by block; raise --memory, or name one that does, such as GDA, Ridge or "
            "LogisticRegression"
        )
    notes = ["ensembles are compared in memory only, so the best single method is used"]
    if others:
        verb = "is" if len(others) == 1 else "are"
        notes.insert(0, f"{names} {verb} left out, because all rows must be in memory for that")
    return streamed, notes


def _stream(
    split: Split,
    position: dict[str, int],
    source: FeatureSource,
    config: FitConfig,
    plan: MemoryPlan,
    progress: Progress,
) -> StreamedRows:
    """Return the training rows with the statistics of each fold."""
    y, group = split.encode_labels(split.train), number_row_groups(split.train)
    fold = stratified_folds(y, config.folds, config.seed, group)
    positions = np.array([position[row.digest] for row in split.train], np.int64)
    return stream_rows(
        source,
        positions,
        y,
        group,
        split.classes,
        number_parts(fold, group),
        plan.limit // METHOD_SHARE,
        progress,
    )


def _draw_tested(
    train: StreamedRows, fold: NDArray[np.int64], n: int, seed: int
) -> NDArray[np.int64]:
    """Return positions of about `n` rows that a fold tests, or of any rows if none is tested."""
    rows = np.flatnonzero(fold >= 0)
    if not len(rows):
        rows = np.arange(len(fold))
    return rows[sample_by_class(train.y[rows], n, seed, train.group[rows])]


def _count_sample(plan: MemoryPlan, split: Split) -> int:
    """Return how many rows are tested: as many as determine a rate, and their logits allow."""
    return min(SAMPLE_ROWS, max(1000, plan.limit // (64 * 8 * len(split.classes))))


def _rank(
    builder: StreamedLeaderboard,
    encoder: Embeds,
    methods: Sequence[Method],
    sample: Data,
    train: StreamedRows,
    fold: NDArray[np.int64],
    config: FitConfig,
    progress: Progress,
) -> Leaderboard:
    if builder.n_folds:
        labels = (train.y, fold, train.group)
        return rank_streamed(builder, encoder.name, methods, sample, labels, config, progress)
    note = describe_fold_limits(train.y, fold, config.folds, train.group)
    candidates = [(encoder.name, method) for method in methods]
    return make_unmeasured_leaderboard(candidates, builder.fold, note)


def _draw(rows: tuple[Row, ...], seed: int) -> list[Row]:
    """Return at most `SEARCHED_ROWS` random rows, in order."""
    if len(rows) <= SEARCHED_ROWS:
        return list(rows)
    drawn = np.random.default_rng(seed).permutation(len(rows))[:SEARCHED_ROWS]
    return [rows[i] for i in np.sort(drawn)]


def _describe_whole(
    report: ReportData, split: Split, samples: Samples, notes: Sequence[str]
) -> ReportData:
    """Return the report with the counts of all images, and what rests on a sample."""
    counts = {"train": split.count_labels(split.train)}
    if split.held_out:
        counts[split.held_out_name] = split.count_labels(split.held_out)
    evaluated_on = report.evaluated_on
    if not split.held_out and samples.n_tested:
        evaluated_on = f"{samples.n_tested:,} of {samples.n_train:,} training images, out of fold"
    return replace(
        report,
        class_counts=counts,
        n_unlabelled=len(split.unlabelled),
        evaluated_on=evaluated_on,
        notes=list(dict.fromkeys([*notes, *report.notes])),
        images=ShardImages.from_images(report.images),
        samples=samples.to_json(),
    )
