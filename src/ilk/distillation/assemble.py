"""From a trained network to a classifier: encoder and head apart, and everything else fitted anew.

Calibration, sets, the detector's threshold and the statistics rest on the calibration part, which
the student was neither trained on nor chosen with.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np
from numpy.typing import NDArray

from ilk.artifacts.classifier import Classifier
from ilk.artifacts.evaluation import Evaluation, evaluate_rows
from ilk.artifacts.prediction import ScoredBatch
from ilk.core.data import Data, Logits
from ilk.core.linear_models import Linear
from ilk.distillation.config import DistillConfig
from ilk.distillation.parts import Parts
from ilk.distillation.students import Student
from ilk.encoders.options import EncoderOptions
from ilk.encoders.tuned_checkpoint import TunedNetworkEncoder, make_student_encoder
from ilk.encoders.tuned_files import pack_digests
from ilk.encoders.tuned_network import STUDENT, TunedNetwork, take_state
from ilk.images import Row, number_row_groups
from ilk.protocols import stratified_folds
from ilk.store import Store
from ilk.trust.calibration import Calibration, cross_calibrate
from ilk.trust.conformal import ConformalPredictor, cross_conformal_sets
from ilk.trust.out_of_distribution import OutOfDistributionDetector
from ilk.trust.summary_statistics import SummaryStatistics

if TYPE_CHECKING:
    from torch import nn

Vector = NDArray[np.float64]

N_FOLDS = 5  # of the calibration part, where it also judges


def make_encoder(
    student: Student,
    network: nn.Module,
    parts: Parts,
    folder: Path,
    results: Mapping[str, Any],
    *,
    device: str = "auto",
    runtime: str = "auto",
) -> TunedNetworkEncoder:
    """Return a trained network up to its features as an encoder, which a model folder will hold.

    Args:
        student: What the student is.
        network: The trained network, on the CPU.
        parts: Images by their use.
        folder: The model folder that will hold it.
        results: How its training ended; values of JSON.
        device: Where it runs.
        runtime: What it runs on.
    """
    from ilk.training.student_features import remove_head

    head: Any = network.fc
    tuned = TunedNetwork(
        STUDENT,
        student.preprocess,
        head.in_features,
        take_state(remove_head(network)),
        architecture=student.name,
        settings=student.settings,
        classes=parts.classes,
        trained_on=pack_digests([row.digest for row in (*parts.train, *parts.validation)]),
        results=results,
    )
    return make_student_encoder(tuned, folder / "encoder", EncoderOptions(None, device, runtime))


def make_head(network: nn.Module) -> Linear:
    """Return the head of a trained student as a model of features."""
    head: Any = network.fc
    weight, bias = (p.detach().cpu().numpy().astype(np.float32) for p in (head.weight, head.bias))
    return Linear.from_arrays(weight, bias)


def assemble_classifier(
    encoder: TunedNetworkEncoder,
    head: Linear,
    parts: Parts,
    config: DistillConfig,
    store: Store,
    *,
    ordered: bool = False,
) -> tuple[Classifier, Evaluation]:
    """Return the calibrated classifier of an encoder whose features the store holds, judged.

    It is judged on the test split, or else on the calibration part, where each fold is calibrated
    and gets its sets from the other folds.

    Args:
        encoder: The student's network.
        head: Its linear head.
        parts: Images by their use.
        config: Settings.
        store: Features of all labelled images.
        ordered: Whether the classes are ordered.
    """
    rows = _list_labelled(parts)
    data = _load_data(encoder, rows, parts, store)
    is_held_out = np.arange(len(rows)) >= len(rows) - len(parts.calibration)
    logits = np.asarray(head.logits(data.x), np.float64)
    scores = _score_held_out(data, is_held_out)
    y, group = data.y[is_held_out], data.group[is_held_out]
    calibration = Calibration.fit(logits[is_held_out], y)
    probabilities = calibration.to_probabilities(logits[is_held_out])
    classifier = Classifier(
        parts.classes,
        encoder,
        head,
        calibration,
        ConformalPredictor.fit(
            probabilities, y, config.coverage, scores[is_held_out], groups=group
        ),
        OutOfDistributionDetector.fit(data, scores, config.false_alarm),
        metadata={"ordered": ordered},
        summary_statistics=SummaryStatistics.from_data(data, logits, is_held_out, scores),
    )
    if parts.test:
        return classifier, evaluate_rows(classifier, parts.test, store)
    return classifier, _evaluate_calibration_part(
        classifier, parts, logits[is_held_out], scores[is_held_out], config.seed
    )


def _evaluate_calibration_part(
    classifier: Classifier, parts: Parts, logits: Logits, scores: Vector, seed: int
) -> Evaluation:
    """Return the evaluation of each fold of the calibration part, the others calibrating it.

    Args:
        classifier: The classifier.
        parts: Images by their use.
        logits: Logits of the calibration part, `[n, k]`.
        scores: How unknown its images are to a detector of the others, `[n]`.
        seed: Seed of the folds.
    """
    rows, level = parts.calibration, classifier.conformal.level
    y, groups = parts.encode_labels(rows), number_row_groups(rows)
    fold = np.maximum(stratified_folds(y, N_FOLDS, seed, groups), 0)
    probabilities = cross_calibrate(logits, y, fold)
    sets = cross_conformal_sets(probabilities, y, fold, level, scores, groups)
    is_unknown = scores > classifier.ood_detector.threshold
    scored = ScoredBatch(probabilities, sets, is_unknown, scores)
    return Evaluation(rows, y, scored, level, classifier.class_values)


def _list_labelled(parts: Parts) -> tuple[Row, ...]:
    """Return the labelled images, those of the calibration part last."""
    trained = [row for row in (*parts.train, *parts.validation) if row.label is not None]
    return (*trained, *parts.calibration)


def _load_data(
    encoder: TunedNetworkEncoder, rows: Sequence[Row], parts: Parts, store: Store
) -> Data:
    """Return features, labels and groups of labelled images."""
    x = store.get(encoder.space, [row.digest for row in rows])
    return Data(x, parts.encode_labels(tuple(rows)), parts.classes, group=number_row_groups(rows))


def _score_held_out(data: Data, is_held_out: NDArray[np.bool_]) -> Vector:
    """Return how unknown each held-out row is to a detector of the others, `[n]`; nan for them."""
    trained = data.take(np.flatnonzero(~is_held_out))
    detector = OutOfDistributionDetector.fit(trained, np.full(len(trained), np.nan))
    scores = np.full(len(data), np.nan)
    scores[is_held_out] = detector.score(data.x[is_held_out])
    return scores
