"""The answer as a number, and its gradient, against second derivations."""

import numpy as np
import pytest

from helpers.planted_classifier import make_classifier
from ilk.core.linear_models import MLP, Linear
from ilk.core.metrics import softmax
from ilk.explain.answer import Answer, compute_central_differences
from ilk.trust.calibration import Calibration
from ilk.trust.class_priors import ClassPriors

RNG = np.random.default_rng(3)
X = RNG.normal(size=(5, 4)).astype(np.float32)


def make_linear():
    return Linear(RNG.normal(size=(3, 4)).astype(np.float32), RNG.normal(size=3).astype(np.float32))


def make_mlp():
    def draw(*shape):
        return RNG.normal(size=shape).astype(np.float32)

    return MLP(np.zeros(4, np.float32), np.ones(4, np.float32), draw(6, 4), draw(6), draw(3, 6),
               draw(3))  # fmt: skip


def test_the_score_is_the_calibrated_probability_and_the_contrast_that_of_two_classes_alone():
    classifier = make_classifier(model=make_linear(), calibration=Calibration(2.0, 0.1, 9))
    p = classifier.to_probabilities(classifier.model.logits(X))
    np.testing.assert_allclose(Answer(classifier, 1).score(X), p[:, 1])
    pair = Answer(classifier, 1, 2).score(X)
    np.testing.assert_allclose(pair, p[:, 1] / (p[:, 1] + p[:, 2]))
    np.testing.assert_allclose(Answer(classifier, 2, 1).score(X), 1 - pair)


def test_log_odds_are_those_of_the_probability_without_the_uniform_part():
    priors = ClassPriors(np.array([0.2, 0.5, 0.3]), np.array([0.6, 0.2, 0.2]))
    classifier = make_classifier(
        model=make_linear(), calibration=Calibration(2.0, 0.0, 9), class_priors=priors
    )
    p = classifier.to_probabilities(classifier.model.logits(X))
    np.testing.assert_allclose(Answer(classifier, 0).log_odds(X), np.log(p[:, 0] / (1 - p[:, 0])))
    contrast = Answer(classifier, 0, 2).log_odds(X)
    np.testing.assert_allclose(contrast, np.log(p[:, 0] / p[:, 2]))


def test_the_gradient_of_a_confident_answer_does_not_vanish():
    classifier = make_classifier(calibration=Calibration(1.0, 0.2, 9))
    x = np.array([9.0, 0.0, 0.0, 0.0], np.float32)
    assert Answer(classifier, 0).score(x[None])[0] == pytest.approx(0.8 + 0.2 / 3)
    assert Answer(classifier, 0).compute_gradient(x)[0] > 50


@pytest.mark.parametrize("against", [-1, 2])
@pytest.mark.parametrize("make", [make_linear, make_mlp])
def test_the_gradient_is_that_of_autograd(make, against):
    import torch

    model = make()
    classifier = make_classifier(model=model, calibration=Calibration(1.7, 0.1, 9))
    answer = Answer(classifier, 1, against)
    x = torch.tensor(X[0].astype(np.float64), requires_grad=True)
    if isinstance(model, Linear):
        z = torch.tensor(model.weight).double() @ x + torch.tensor(model.bias).double()
    else:
        hidden = torch.relu(
            torch.tensor(model.hidden_weight).double() @ x + torch.tensor(model.hidden_bias)
        )
        z = torch.tensor(model.weight).double() @ hidden + torch.tensor(model.bias)
    z = z / 1.7
    value = z[1] - z[2] if against == 2 else z[1] - torch.logsumexp(z[[0, 2]], 0)
    value.backward()
    np.testing.assert_allclose(answer.compute_gradient(X[0]), x.grad.numpy(), atol=2e-3)
    np.testing.assert_allclose(answer.log_odds(X[:1])[0], value.item(), rtol=1e-5)


def test_exact_and_numerical_gradients_of_a_linear_head_agree():
    answer = Answer(make_classifier(model=make_linear()), 0)
    np.testing.assert_allclose(
        answer.compute_gradient(X[1]), compute_central_differences(answer.log_odds, X[1]), atol=2e-3
    )


def test_a_class_without_training_images_has_log_odds_of_minus_infinity():
    weight = np.zeros((3, 4), np.float32)
    head = Linear(weight, np.array([0.0, 0.0, -np.inf], np.float32))
    classifier = make_classifier(model=head)
    assert Answer(classifier, 2).log_odds(X)[0] == -np.inf
    assert np.isfinite(Answer(classifier, 0).log_odds(X)).all()


def test_a_model_whose_scores_depend_on_the_batch_is_asked_row_by_row():
    class Centred:
        def logits(self, x):
            return (x - x.mean(0))[:, :3].astype(np.float64)

    answer = Answer(make_classifier(model=Centred()), 0)
    np.testing.assert_allclose(answer.compute_logits(X), np.zeros((5, 3)), atol=1e-7)


def test_labels_of_an_image_are_independent():
    from dataclasses import dataclass

    @dataclass(frozen=True)
    class Margins:
        def margins(self, x):
            return np.asarray(x[:, :3], np.float64)

    class Sigmoid:
        def to_probabilities(self, margins):
            return 1 / (1 + np.exp(-margins))

    classifier = make_classifier(model=Margins(), calibration=Sigmoid())
    answer = Answer(classifier, 1)
    np.testing.assert_allclose(answer.score(X), 1 / (1 + np.exp(-X[:, 1])), rtol=1e-6)
    np.testing.assert_allclose(answer.log_odds(X), X[:, 1])
    np.testing.assert_allclose(answer.compute_gradient(X[0]), [0, 1, 0, 0], atol=1e-3)
    p = softmax(np.stack([np.zeros(5), np.zeros(5)], 1), 1)
    assert p.shape == (5, 2)
