"""Discovery taught by known classes: its even assignment, its distillation, and groups it finds."""

from dataclasses import replace

import numpy as np
import pytest
import torch
from sklearn.datasets import load_digits

from ilk.core.data import Data
from ilk.discovery.relation_distillation import RelationDistillation, _compute_scores, sinkhorn
from ilk.protocols import unseen_classes

FEW = RelationDistillation(n_new=2, hidden=64, epochs=10)


def digits(classes=5, hidden=2, seed=0):
    x, y = load_digits(return_X_y=True)
    rows = y < classes
    data = Data(x[rows].astype(np.float32), y[rows], tuple(map(str, range(classes))))
    return unseen_classes(data, hidden, labelled_fraction=1.0, seed=seed)


def test_assignments_sum_to_one_and_are_as_even_as_sinkhorn_makes_them():
    scores = torch.randn(60, 3, generator=torch.Generator().manual_seed(0)) + torch.tensor(
        [2.0, 0, 0]
    )
    q = sinkhorn(0.1 * scores).double()
    np.testing.assert_allclose(q.sum(1), 1, rtol=1e-6)
    plain = (2.0 * scores).softmax(1).sum(0)  # without evening one has it all
    assert q.sum(0).std() < 0.2 * plain.std()
    # On two rows that prefer the same group it is the one that prefers it more that gets it.
    two = sinkhorn(torch.tensor([[0.9, 0.0], [0.8, 0.0]]))
    assert two[0, 0] > two[1, 0]


def test_the_distillation_is_the_cross_entropy_of_softened_probabilities():
    rng = torch.Generator().manual_seed(1)
    teacher, student = torch.randn(7, 3, generator=rng), torch.randn(7, 5, generator=rng)
    t = 4.0
    expected = RelationDistillation(n_new=2)._compute_relation_loss(teacher, student, 3)
    p = np.exp(teacher.double().numpy() / t)
    p /= p.sum(1, keepdims=True)
    s = np.exp(student.double().numpy() / t)
    mass = s[:, :3].sum(1) / s.sum(1)
    q = s[:, :3] / s[:, :3].sum(1, keepdims=True)
    brute = t**2 * np.mean(mass / mass.mean() * -(p * np.log(q)).sum(1))
    assert float(expected) == pytest.approx(brute, rel=1e-5)
    even = RelationDistillation(n_new=2, weight_by_similarity=False)._compute_relation_loss(
        teacher, student, 3
    )
    assert float(even) == pytest.approx(t**2 * np.mean(-(p * np.log(q)).sum(1)), rel=1e-5)


def test_it_groups_digits_of_classes_without_labels_and_still_knows_the_others():
    step = digits()
    model = FEW.fit(step.train)
    logits = model.logits(step.test.x)
    assert logits.shape == (len(step.test), 5)
    new = step.test.y >= 3
    group = logits[new][:, 3:].argmax(1)
    truth = step.test.y[new] - 3
    assert max(np.mean(group == truth), np.mean(group != truth)) > 0.9
    known = step.train.take_labelled()
    assert np.mean(model.logits(known.x).argmax(1) == known.y) > 0.95
    assert np.mean(logits[new].argmax(1) >= 3) > 0.9


def test_the_exported_arrays_match_the_network():
    from ilk.training.heads import Head, make_batch

    step = digits()
    net = Head.from_data(step.train, 16)
    from ilk.discovery.relation_distillation import _to_joint_head

    with torch.no_grad():
        expected = _compute_scores(net, make_batch(net, step.test).x)
    np.testing.assert_allclose(_to_joint_head(net).logits(step.test.x), expected.numpy(), atol=1e-3)


def test_without_groups_or_without_rows_it_is_a_plain_classifier():
    step = digits()
    for method, data in ((replace(FEW, n_new=0), step.train), (FEW, step.train.take_labelled())):
        assert method.fit(data).logits(step.test.x).shape == (len(step.test), 3)


def test_invalid_arguments_are_rejected():
    with pytest.raises(ValueError, match="n_new is -1"):
        RelationDistillation(n_new=-1)
    with pytest.raises(ValueError, match="temperature 0"):
        RelationDistillation(temperature=0)
