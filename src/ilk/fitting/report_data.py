"""Collect the data of the report: results, label errors, unknown images and notes."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING

import numpy as np

from ilk.artifacts.classifier import Classifier
from ilk.artifacts.evaluation import Evaluation
from ilk.core.contracts import describe
from ilk.core.metrics import Interval
from ilk.core.ordered_classes import describe_order
from ilk.core.versions import format_now, get_versions
from ilk.encoders.families import list_credits
from ilk.fitting.class_names import collect_name_notes
from ilk.fitting.constant_answer import describe_constant_answer
from ilk.fitting.explanations import explain_classes
from ilk.fitting.fit_state import FitState
from ilk.fitting.heat_maps import draw_heat_maps
from ilk.fitting.leakage import is_held_out
from ilk.fitting.split import Split
from ilk.fitting.structured_classes import collect_structure_notes
from ilk.fitting.suspect_labels import describe_suspects, find_suspects
from ilk.fitting.variants import describe_variants
from ilk.images import Row, describe_groups
from ilk.images.duplicates.near_pairs import HARMLESS, describe_near_pairs
from ilk.report.report_data import ReportData, SuspectedLabel
from ilk.store import Store

if TYPE_CHECKING:
    from PIL.Image import Image


def build_report_data(
    state: FitState, classifier: Classifier, evaluation: Evaluation, store: Store
) -> ReportData:
    """Return the data of the report of a fit."""
    split, leaderboard, config = state.split, state.leaderboard, state.config
    ranked, label_note = _rank_label_errors(state)
    counts = {"train": split.count_labels(split.train)}
    if split.held_out:
        counts[split.held_out_name] = split.count_labels(split.held_out)
    return ReportData(
        command=_format_command(state),
        task=f"classify images into {len(split.classes)} classes",
        version=", ".join(f"{name} {v}" for name, v in get_versions().items()),
        date=format_now(),
        seed=config.seed,
        source=str(state.images.root or "a list of images"),
        classes=split.classes,
        class_counts=counts,
        n_unlabelled=len(split.unlabelled),
        results=leaderboard.results,
        encoder=state.encoder.name,
        method=describe(state.method),
        corrected_accuracy=leaderboard.corrected_accuracy,
        folds_note=leaderboard.note,
        evaluated_on=describe_evaluated_rows(split),
        y=evaluation.y,
        probabilities=evaluation.scored.probabilities,
        prediction_sets=evaluation.scored.prediction_sets,
        target_coverage=config.coverage,
        is_unknown=evaluation.scored.is_unknown,
        paths=[state.images.shown_path_of(row) for row in evaluation.rows],
        scores=evaluation.scores if evaluation.rows else None,
        coverage=evaluation.coverage if evaluation.rows else Interval(float("nan"), 0, 1),
        false_alarm=config.false_alarm,
        label_errors=[label_error for label_error, is_flagged in ranked if is_flagged],
        ranked_labels=[label_error for label_error, _ in ranked],
        unknown_examples=_find_unknown_images(state, classifier, evaluation, store),
        difference_maps=_make_difference_maps(state, evaluation, store),
        heat_maps=_draw_heat_maps(state, classifier, evaluation),
        credits=list_credits(state.encoder),
        notes=[*collect_notes(state, classifier, evaluation), *filter(None, [label_note])],
        images=state.images,
        groups=evaluation.groups,
        group_notes=_describe_groups(split),
        held_together=state.held_together,
        duplicate_leaks=state.duplicate_leaks,
        near_pairs=state.near_pairs,
        label_note=label_note,
    )


def _describe_groups(split: Split) -> list[str]:
    """Return how many groups of images there are, in sentences."""
    return describe_groups(split.train + split.held_out + split.novel + split.unlabelled)


def _format_command(state: FitState) -> str:
    """Return the call that repeats the fit."""
    root = state.images.root
    source = "images" if root is None else f"ilk.read({str(root)!r})"
    return f"ilk.fit({source}, {state.config!r})"


def describe_evaluated_rows(split: Split) -> str:
    """Return which images the classifier was evaluated on."""
    if split.held_out:
        return f"the {split.held_out_name} split, scored once"
    return "the training images, out of fold"


def collect_notes(state: FitState, classifier: Classifier, evaluation: Evaluation) -> list[str]:
    """Return remarks on the limits of the results."""
    split, evaluated_on = state.split, describe_evaluated_rows(state.split)
    intake = list(state.images.notes)
    messages = [state.leaderboard.note, classifier.conformal.note, classifier.ood_detector.note]
    messages[1:1] = collect_name_notes(state)
    if (combination := state.leaderboard.combination) is not None:
        messages.insert(1, str(combination))
    messages.insert(0, describe_constant_answer(evaluation, split.classes, evaluated_on))
    if state.held_together is not None:
        messages.insert(0, str(state.held_together))
    messages[:0] = _describe_groups(split)
    if state.duplicate_leaks is not None:
        messages[:0] = state.duplicate_leaks.describe()
    messages += describe_near_pairs([p for p in state.near_pairs if p.concerns not in HARMLESS])
    messages += collect_structure_notes(state)
    if split.train and state.config.classes and not state.config.class_structure:
        messages.append(
            "the labels decide the classes: names given by --class (classes=) are added to them "
            "and do not replace any"
        )
    if not state.config.ordered:
        messages.append(describe_order(split.classes))
    messages += describe_variants(state.leaderboard.results)
    if split.novel:
        names = sorted({str(row.label) for row in split.novel})
        messages.append(
            f"{len(split.novel)} {split.held_out_name} images belong to classes without a training "
            f"image ({', '.join(names[:5])}) and are excluded from the scores"
        )
    if split.held_out and split.held_out_name == "val":
        messages.append("there is no test split, so the val split is held out")
    elif any(row.split == "val" for row in split.train):
        messages.append(
            "the train and val splits are used for training, the test split is held out"
        )
    n = len(split.held_out)
    for encoder in {e.name: e for e in (*state.explainers, state.encoder)}.values():
        if n_leaked := int(np.sum(~is_held_out(encoder, split.held_out + split.train)[:n])):
            messages.append(
                f"{encoder.name} was trained on {n_leaked} of the {n} "
                f"{split.held_out_name} images with their labels; its predictions for them are "
                "optimistic"
            )
    return [note for note in (*messages, *intake) if note]


def _rank_label_errors(state: FitState) -> tuple[list[tuple[SuspectedLabel, bool]], str]:
    """Return evaluated training rows, most likely errors first, and a note.

    A row comes with whether it is flagged.
    """
    probabilities = state.audit_probabilities
    if probabilities is None:
        probabilities = state.leaderboard.probabilities
    if probabilities is None:
        return [], ""
    errors = find_suspects(probabilities, state.features.y)
    names, rows = state.split.classes, state.split.train
    ranked = [
        (
            (
                state.images.shown_path_of(rows[i]),
                str(rows[i].label),
                names[errors.suggested_label[j]],
                float(errors.score[j]),
            ),
            bool(errors.is_suspect[j]),
        )
        for j, i in enumerate(errors.rows)
    ]
    return ranked, describe_suspects(errors, probabilities, state.features.y, "suspects.csv")


def _find_unknown_images(
    state: FitState, classifier: Classifier, evaluation: Evaluation, store: Store
) -> list[tuple[Path, float]]:
    """Return the evaluated, novel and unlabelled images flagged as unknown, highest score first."""
    rows: list[Row] = list(state.split.novel + state.split.unlabelled)
    x = store.get(state.encoder.space, [row.digest for row in rows])
    scored_rows = list(zip(rows, classifier.ood_detector.score(x), strict=True))
    scored_rows += list(zip(evaluation.rows, evaluation.scored.unknown_score, strict=True))
    unknown = [(row, float(s)) for row, s in scored_rows if s > classifier.ood_detector.threshold]
    unknown.sort(key=lambda pair: -pair[1])
    return [(state.images.shown_path_of(row), score) for row, score in unknown]


def _make_difference_maps(
    state: FitState, evaluation: Evaluation, store: Store
) -> list[tuple[Path, tuple[str, ...], Image]]:
    """Return difference maps of the first encoder that can explain its class scores."""
    if not (state.explainers and evaluation.rows):
        return []
    return explain_classes(state.explainers[0], state.images, evaluation.rows, evaluation.y, store)


def _draw_heat_maps(
    state: FitState, classifier: Classifier, evaluation: Evaluation
) -> list[tuple[Path, tuple[str, ...], Image]]:
    """Return heat maps of as many evaluated images as the settings ask for."""
    if not (state.config.explain and evaluation.rows):
        return []
    n, seed = state.config.explain, state.config.seed
    return draw_heat_maps(classifier, state.images, evaluation, n, seed)
