"""The thread that owns the model: whose answer is whose, how many at once, and who has a place."""

import threading
from types import SimpleNamespace

import numpy as np
import pytest

from helpers.served_model import wait_until
from ilk.serve.batching import MAX_BATCH, Batcher
from ilk.serve.problems import Busy


class CountingModel:
    """Answers an image of the value v with `NAME v`, the probability 10 v and the features v."""

    def __init__(self, name="a"):
        self.name, self.sizes, self.may_go = name, [], threading.Event()
        self.encoder = self

    def embed(self, batch):
        self.sizes.append(len(batch))
        assert self.may_go.wait(60)
        return batch.reshape(len(batch), -1)[:, :1].astype(np.float32)

    def predict_features(self, x):
        return [f"{self.name} {int(v)}" for v in x[:, 0]]

    def score_batch(self, x):
        return SimpleNamespace(probabilities=10 * x)


def draw_pixels(value):
    return np.full((3, 2, 2), value, np.uint8)


@pytest.fixture
def batcher():
    batcher = Batcher(limit=100)
    yield batcher
    batcher.close()


def submit(batcher, model, values):
    batcher.announce(len(values))
    return [batcher.submit(model, draw_pixels(v)) for v in values]


def test_every_image_gets_its_own_answer_in_batches_that_are_full(batcher):
    model = CountingModel()
    futures = submit(batcher, model, [0])
    assert wait_until(lambda: model.sizes == [1])  # the others wait for it
    futures += submit(batcher, model, range(1, 40))
    model.may_go.set()
    for v, answer in enumerate(future.result(60) for future in futures):
        assert answer.prediction == f"a {v}"
        assert answer.probabilities.tolist() == [10 * v]
        assert answer.features.tolist() == [v]
        assert 0 <= answer.model_seconds <= answer.seconds
    assert model.sizes == [1, MAX_BATCH, MAX_BATCH, 39 - 2 * MAX_BATCH]
    assert (batcher.n_batches, batcher.n_images, batcher.n_waiting) == (4, 40, 0)


def test_an_image_is_answered_by_the_model_that_it_was_given_to(batcher):
    first, a, b = CountingModel(), CountingModel("a"), CountingModel("b")
    submit(batcher, first, [0])
    assert wait_until(lambda: first.sizes == [1])
    futures = [submit(batcher, (a, b)[v % 2], [v])[0] for v in range(6)]
    for model in (first, a, b):
        model.may_go.set()
    assert [f.result(60).prediction for f in futures] == [f"{'ab'[v % 2]} {v}" for v in range(6)]
    assert (a.sizes, b.sizes) == ([3], [3])


def test_places_are_bounded_and_given_back():
    batcher, model = Batcher(limit=3), CountingModel()
    batcher.announce(5)  # more than all, but nobody else waits
    with pytest.raises(Busy, match="5 images are already waiting"):
        batcher.announce(1)
    for _ in range(4):
        batcher.withdraw()
    batcher.announce(2)
    with pytest.raises(Busy, match="3 images are already waiting"):
        batcher.announce(1)
    model.may_go.set()
    assert batcher.submit(model, draw_pixels(7)).result(60).prediction == "a 7"
    assert wait_until(lambda: batcher.n_waiting == 2)
    batcher.close()


def test_a_model_waits_for_nobody_who_has_not_announced_an_image(batcher, monkeypatch):
    monkeypatch.setattr("ilk.serve.batching.MAX_WAIT", 3_600.0)
    model = CountingModel()
    model.may_go.set()
    [future] = submit(batcher, model, [1])
    assert future.result(60).prediction == "a 1"


def test_a_request_that_gave_up_costs_the_others_nothing(batcher):
    model = CountingModel()
    submit(batcher, model, [0])
    assert wait_until(lambda: model.sizes == [1])
    gone, *kept = submit(batcher, model, [1, 2, 3])
    assert gone.cancel()
    model.may_go.set()
    assert [f.result(60).features.tolist() for f in kept] == [[2], [3]]
    assert model.sizes == [1, 2]
