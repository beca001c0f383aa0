"""What a student's answers are calibrated and judged on: images that it was not trained on."""

from __future__ import annotations

from hashlib import sha256
from types import SimpleNamespace

import numpy as np
import pytest

from ilk.core.data import Data
from ilk.core.linear_models import Linear
from ilk.distillation.assemble import assemble_classifier
from ilk.distillation.config import DistillConfig
from ilk.distillation.parts import Parts
from ilk.images.rows.row import Row
from ilk.protocols import stratified_folds
from ilk.trust.calibration import Calibration
from ilk.trust.out_of_distribution import OutOfDistributionDetector

CLASSES = ("a", "b")


@pytest.fixture(scope="module")
def world():
    """Parts of Gaussian rows with their features in a store, and a head that is far too sure."""
    rng = np.random.default_rng(0)
    x = {}

    def make(part, n, shift=0.0):
        rows = []
        for i in range(n):
            digest = sha256(f"{part} {i}".encode()).hexdigest()
            y = i % 2
            x[digest] = rng.normal(shift, 1, 3).astype(np.float32) + 2 * y
            rows.append(Row(f"{part}{i}.png", None if part == "new" else CLASSES[y], digest=digest))
        return tuple(rows)

    train = make("train", 80) + make("new", 5)
    parts = Parts(train, make("validation", 20), make("calibration", 60, 0.7), (), CLASSES)
    tested = Parts(train, parts.validation, parts.calibration, make("test", 30), CLASSES)
    store = SimpleNamespace(get=lambda _space, digests: np.stack([x[d] for d in digests]))
    head = Linear.from_arrays(20 * np.array([[-1, 0, 0], [1, 0, 0]]), np.array([20.0, -20.0]))
    return parts, tested, store, head


def assemble(world, part=0, **settings):
    encoder = SimpleNamespace(name="e", space=SimpleNamespace(key="s", dim=3), describe=dict)
    config = DistillConfig(seed=3, **settings)
    return assemble_classifier(encoder, world[3], world[part], config, world[2])


def read(world, rows):
    y = np.array([-1 if r.label is None else CLASSES.index(r.label) for r in rows])
    return world[2].get("", [row.digest for row in rows]), y


def test_calibration_and_limits_rest_on_the_calibration_part(world):
    classifier, _ = assemble(world, coverage=0.8, false_alarm=0.2)
    x, y = read(world, world[0].calibration)
    expected = Calibration.fit(world[3].logits(x), y)
    assert classifier.calibration.temperature == expected.temperature
    assert classifier.calibration.n_rows == 60
    assert classifier.conformal.level == 0.8
    assert classifier.ood_detector.false_alarm == 0.2
    flagged = assemble(world)[1].scored.is_unknown.mean()
    assert flagged < np.mean(assemble(world, false_alarm=0.2)[1].scored.is_unknown) < 0.35


def test_the_calibration_part_is_judged_fold_by_fold(world):
    classifier, evaluation = assemble(world)
    x, y = read(world, world[0].calibration)
    logits = world[3].logits(x)
    fold = stratified_folds(y, 5, 3)
    for f in range(5):
        others = Calibration.fit(logits[fold != f], y[fold != f])
        p = others.to_probabilities(logits[fold == f])
        np.testing.assert_allclose(evaluation.scored.probabilities[fold == f], p)
    all_at_once = classifier.calibration.to_probabilities(logits)
    assert not np.allclose(evaluation.scored.probabilities, all_at_once)
    assert evaluation.rows == world[0].calibration


def test_the_detector_of_the_judgement_saw_the_other_images_alone(world):
    _, evaluation = assemble(world)
    seen = [r for r in (*world[0].train, *world[0].validation) if r.label is not None]
    x, y = read(world, seen)
    detector = OutOfDistributionDetector.fit(Data(x, y, CLASSES), np.full(len(y), np.nan))
    expected = detector.score(read(world, world[0].calibration)[0])
    np.testing.assert_allclose(evaluation.scored.unknown_score, expected)


def test_a_test_split_is_scored_by_the_whole(world):
    classifier, evaluation = assemble(world, 1)
    x, _ = read(world, world[1].test)
    assert evaluation.rows == world[1].test
    expected = classifier.calibration.to_probabilities(world[3].logits(x))
    np.testing.assert_allclose(evaluation.scored.probabilities, expected)
