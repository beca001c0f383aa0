"""Distillation from similar sources: the loss by hand, and the weights of sources."""

import math

import pytest
import torch
from torch.nn import functional

from helpers.small_training import make_step
from ilk.core.errors import InputError
from ilk.training.batch import Batch
from ilk.training.objectives.similar_sources import SimilarSources, weight_sources
from ilk.training.student_features import RowStudent


def make_rows():
    generator = torch.Generator().manual_seed(0)
    x = torch.randn(9, 4, generator=generator)
    y = torch.tensor([0, 1, 2, -1, -1, -1, -1, -1, -1])
    sources = [torch.randn(9, k, generator=generator) for k in (2, 5)]
    return Batch(x, y, torch.arange(9)), sources


def make_parts(**settings):
    batch, sources = make_rows()
    torch.manual_seed(1)
    network, objective = RowStudent(4, 6, 3), SimilarSources(sources, **settings)
    objective.setup(network, batch)
    return network, objective, batch, sources


def test_the_loss_by_hand():
    network, objective, batch, sources = make_parts(
        weights=[1.0, 3.0], label_weight=0.2, temperature=2.0
    )
    features = network.forward_features(batch.x)
    expected = 0.2 * functional.cross_entropy(network.fc(features)[:3], batch.y[:3])
    for weight, head, logits in zip((0.25, 0.75), objective.heads, sources, strict=True):
        student = (head(features) / 2).log_softmax(1)
        divergence = functional.kl_div(student, (logits / 2).softmax(1), reduction="batchmean")
        expected = expected + 0.8 * weight * 4 * divergence
    torch.testing.assert_close(objective(network, batch, make_step()), expected)


def test_a_source_of_weight_0_teaches_nothing_and_only_labels_reach_the_head():
    network, objective, batch, sources = make_parts(weights=[0.0, 1.0])
    loss = objective(network, batch, make_step())
    loss.backward()
    assert objective.heads[0].weight.grad is None
    assert bool((objective.heads[1].weight.grad != 0).any())
    torch.manual_seed(1)
    alone = RowStudent(4, 6, 3)
    single = SimilarSources(sources[1], seed=1)
    single.setup(alone, batch)
    torch.testing.assert_close(single(alone, batch, make_step()), loss)
    unlabelled = Batch(batch.x[3:], batch.y[3:], batch.indices[3:])
    network.zero_grad()
    objective(network, unlabelled, make_step()).backward()
    assert not bool(network.fc.weight.grad.any())


def test_weights_of_similarities():
    assert weight_sources([0.2, 0.4, -0.1], 1.0) == pytest.approx([1 / 3, 2 / 3, 0])
    assert weight_sources([0.2, 0.4], 2.0) == pytest.approx([0.2, 0.8])
    assert weight_sources([0.2, 0.4, 0.1], 0.0) == pytest.approx([1 / 3] * 3)
    assert weight_sources([0.2, 0.4, 0.1], math.inf) == [0, 1, 0]
    assert weight_sources([-0.2, -0.4], 3.0) == [0.5, 0.5]
    assert weight_sources([1e-200, 2e-200], 4.0) == pytest.approx([1 / 17, 16 / 17])


def test_bad_settings_are_refused():
    for bad in ([], [math.nan]):
        with pytest.raises(InputError, match="must be finite, one at least"):
            weight_sources(bad)
    with pytest.raises(InputError, match="one for each of 2 source models"):
        make_parts(weights=[1.0])
    with pytest.raises(InputError, match="not all 0"):
        make_parts(weights=[0.0, 0.0])
    with pytest.raises(InputError, match="there is no source model"):
        SimilarSources([])
    with pytest.raises(InputError, match="label_weight 2 must be from 0 to 1"):
        SimilarSources(label_weight=2)
