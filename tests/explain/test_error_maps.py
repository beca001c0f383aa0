"""Error maps of a diffusion classifier are exact: their mean is the difference of its scores."""

from dataclasses import replace

import numpy as np
import pytest
from PIL import Image

from helpers.encoder_examples import diffusion_classifier
from helpers.planted_classifier import make_classifier
from ilk.core.linear_models import Linear
from ilk.diffusion.classification.context import ClassificationContext
from ilk.encoders import resolve_encoder
from ilk.explain.explainers.error_maps import ErrorMaps
from ilk.explain.question import ask


def test_the_mean_of_the_map_is_the_difference_of_the_scores(tmp_path, monkeypatch):
    name = diffusion_classifier.make(tmp_path, monkeypatch)
    encoder = resolve_encoder(name, context=ClassificationContext())
    k = len(encoder.classes)
    head = Linear(np.eye(k, dtype=np.float32), np.zeros(k, np.float32))
    classifier = replace(make_classifier(encoder, model=head), classes=encoder.classes)
    rng = np.random.default_rng(0)
    image = Image.fromarray(rng.integers(0, 255, (16, 16, 3)).astype(np.uint8))
    subject, question = ask(classifier, image, encoder.classes[0], encoder.classes[1])
    assert question.against == encoder.classes[1]
    values = ErrorMaps().explain(subject, 0)
    scores = subject.features.astype(np.float64)
    assert values.mean() == pytest.approx(scores[0] - scores[1], rel=1e-3, abs=1e-6)
    other, _ = ask(classifier, image, encoder.classes[1], encoder.classes[0])
    np.testing.assert_allclose(ErrorMaps().explain(other, 0), -values, atol=1e-6)
    if k > 2:  # without a contrast it is the most probable of the others
        best = int(np.argmax(np.where(np.arange(k) == 0, -np.inf, scores)))
        alone, question = ask(classifier, image, encoder.classes[0])
        assert question.against == ""
        mean = ErrorMaps().explain(alone, 0).mean()
        assert mean == pytest.approx(scores[0] - scores[best], rel=1e-3, abs=1e-6)
