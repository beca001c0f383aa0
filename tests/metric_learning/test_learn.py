"""Learning an embedding: classes that are held out, the verdict, and what is written."""

from __future__ import annotations

import json

import numpy as np
import pytest

from ilk.core.errors import InputError, UnknownName
from ilk.maths.retrieval import map_at_r
from ilk.metric_learning import learn
from ilk.metric_learning.config import LearningConfig, list_losses
from ilk.metric_learning.ledger import Ledger
from ilk.metric_learning.training import EmbeddingRecipe, embed_rows, train_embedding
from ilk.training.objectives.sup_con import SupCon

CLOSED = LearningConfig(loss="LDA", width=4)
BRIEF = LearningConfig(loss="SupCon", width=4, steps=4)


def make_rows(k=18, per_class=12, noise=2.0, seed=0):
    """Classes differ along two axes; six others vary more and mean nothing."""
    rng = np.random.default_rng(seed)
    y = np.repeat(np.arange(k), per_class)
    means = 3 * rng.normal(size=(k, 2))
    x = np.concatenate(
        [means[y] + 0.3 * rng.normal(size=(len(y), 2)), noise * rng.normal(size=(len(y), 6))], 1
    )
    return learn.LearningRows(x.astype(np.float32), y, np.full(len(y), -1))


@pytest.fixture(scope="module")
def learned():
    return learn.learn_embedding(make_rows(), CLOSED, Ledger())


def test_an_embedding_that_helps_unseen_classes_is_better(learned):
    assert learned.is_better
    assert learned.gains["mAP@R"]["features as they are"].low > 0.05
    assert learned.n_classes == 18
    rows = make_rows(seed=5)  # other classes
    assert map_at_r(embed_rows(learned.network, rows.x), rows.y) > map_at_r(rows.x, rows.y)


def test_labels_that_mean_nothing_give_no_better_embedding():
    rows = make_rows()
    shuffled = learn.LearningRows(
        np.random.default_rng(1).normal(size=rows.x.shape).astype(np.float32), rows.y, rows.groups
    )
    assert not learn.learn_embedding(shuffled, BRIEF, Ledger()).is_better


def test_no_class_is_judged_by_an_embedding_that_saw_it(monkeypatch):
    """What is embedded after a training shares no class with what was trained on."""
    seen, pairs = [], []

    def train(self, rows, setting):
        seen.append(set(rows.y.tolist()))
        return

    monkeypatch.setattr(learn._Learning, "train", train)
    rows = make_rows()
    of_row = {row.tobytes(): c for row, c in zip(rows.x, rows.y.tolist(), strict=True)}

    def embed(_network, x):
        pairs.append((seen[-1], {of_row[row.tobytes()] for row in x}))
        return x

    monkeypatch.setattr(learn, "embed_rows", embed)
    monkeypatch.setattr(learn, "CLOSED_FORMS", ())
    result = learn.learn_embedding(rows, BRIEF, Ledger())
    assert len(pairs) == 3 * (len(BRIEF.grid) + 1)
    assert all(not trained & judged for trained, judged in pairs)
    assert result.n_queries == len(rows.y)
    assert seen[-1] == set(range(18))  # the final one is trained on all


def test_settings_are_chosen_without_the_judge(monkeypatch):
    rows, trained = make_rows(), []
    part = learn.divide_classes(rows.y, 0)
    original = learn._Learning.train

    def train(self, rows, setting):
        trained.append(set(rows.y.tolist()))
        return original(self, rows, setting)

    monkeypatch.setattr(learn._Learning, "train", train)
    run = learn._Learning(rows, BRIEF, Ledger(), part)
    run.score_settings(1, BRIEF.grid[:2], lambda _n: None)
    judge = set(rows.y[part == 1].tolist())
    assert len(trained) == 2
    assert all(not classes & judge for classes in trained)


@pytest.mark.parametrize(("k", "n_parts"), [(4, 2), (5, 2), (6, 3), (20, 3)])
def test_classes_are_divided_into_parts_of_two_or_more(k, n_parts):
    part = learn.divide_classes(np.repeat(np.arange(k), 3), 0)
    sizes = [
        len({c for c, p in zip(np.repeat(np.arange(k), 3), part, strict=True) if p == q})
        for q in range(n_parts)
    ]
    assert part.max() == n_parts - 1
    assert min(sizes) >= 2
    assert sum(sizes) == k


def test_four_classes_are_judged_with_default_settings():
    result = learn.learn_embedding(make_rows(k=4), BRIEF, Ledger())
    assert not result.is_tuned
    assert result.n_classes == 4


def test_too_few_classes_are_refused_in_one_sentence():
    with pytest.raises(InputError, match="3 classes have two images or more, and at least 4"):
        learn.learn_embedding(make_rows(k=3), BRIEF, Ledger())


def test_a_class_of_one_image_or_one_group_is_left_out():
    rows = make_rows(k=7)
    single = np.flatnonzero(rows.y == 6)[1:]
    groups = rows.groups.copy()
    groups[rows.y == 5] = 3  # all pictures of one animal
    rows = learn.LearningRows(rows.x, rows.y, groups).take(
        np.setdiff1d(np.arange(len(rows.y)), single)
    )
    assert set(np.unique(learn.keep_pairs(rows).y)) == {0, 1, 2, 3, 4}


def test_copies_in_a_group_do_not_count_as_found():
    rows = make_rows(k=6, noise=60.0)
    x, y = np.concatenate([rows.x, rows.x]), np.concatenate([rows.y, rows.y])
    groups = np.tile(np.arange(len(rows.y)), 2)
    config = LearningConfig(loss="LDA", width=4)
    free = learn.learn_embedding(learn.LearningRows(x, y, np.full(len(y), -1)), config, Ledger())
    held = learn.learn_embedding(learn.LearningRows(x, y, groups), config, Ledger())
    name = "features as they are"
    assert free.scores["recall at 1"][name].value == 1
    assert held.scores["recall at 1"][name].value < 0.7


def test_an_interrupted_run_goes_on_and_ends_alike(tmp_path, monkeypatch):
    run = {"source": "a"}
    whole = learn.learn_embedding(make_rows(), BRIEF, Ledger())
    calls = []
    original = learn.train_embedding

    def train(*args, **options):
        calls.append(1)
        if len(calls) == 8:
            raise KeyboardInterrupt
        return original(*args, **options)

    monkeypatch.setattr(learn, "train_embedding", train)
    with pytest.raises(KeyboardInterrupt):
        learn.learn_embedding(make_rows(), BRIEF, Ledger(tmp_path / "l", run))
    resumed = learn.learn_embedding(make_rows(), BRIEF, Ledger(tmp_path / "l", run))
    assert len(calls) == 8 + 22 - 7  # the seven that were finished are not trained again
    assert resumed.scores == whole.scores
    for a, b in zip(resumed.network.parameters(), whole.network.parameters(), strict=True):
        assert bool((a == b).all())


def test_the_ledger_of_another_run_or_a_damaged_one_is_dropped(tmp_path):
    path = tmp_path / "l"
    Ledger(path, {"seed": 0}).get_or_make("a", lambda: [1.0, float("nan")])
    kept = Ledger(path, {"seed": 0}).get_or_make("a", lambda: [9.0])
    np.testing.assert_array_equal(kept, [1.0, np.nan])
    assert Ledger(path, {"seed": 1}).get_or_make("a", lambda: [2.0]) == [2.0]
    path.write_text(json.dumps({"run": {"seed": 1}, "results": {"a": [7.0]}}))
    assert Ledger(path, {"seed": 1}).get_or_make("a", lambda: [3.0]) == [3.0]


@pytest.mark.parametrize("loss", list_losses())
def test_every_loss_learns(loss):
    config = LearningConfig(loss=loss, width=4, steps=2)
    result = learn.learn_embedding(make_rows(k=4, per_class=6), config, Ledger())
    z = embed_rows(result.network, make_rows().x)
    np.testing.assert_allclose(np.linalg.norm(z, axis=1), 1, rtol=1e-5)


def test_a_head_with_hidden_units_and_a_network_of_pixels_learn():
    rows = make_rows(k=4, per_class=6)
    hidden = LearningConfig(width=4, hidden=8, steps=2)
    learn.learn_embedding(rows, hidden, Ledger())
    pixels = learn.LearningRows(
        np.random.default_rng(0).random((24, 64)).astype(np.float32), rows.y, rows.groups, (1, 8, 8)
    )
    config = LearningConfig(width=4, network="convolutional", steps=2)
    learn.learn_embedding(pixels, config, Ledger())
    with pytest.raises(InputError, match="reads pixels"):
        learn.learn_embedding(rows, config, Ledger())


def test_wrong_settings_are_refused():
    with pytest.raises(UnknownName, match="loss"):
        LearningConfig(loss="Foo")
    with pytest.raises(UnknownName, match="network"):
        LearningConfig(network="resnet")
    with pytest.raises(InputError, match="hidden"):
        LearningConfig(loss="LDA", network="convolutional")
    with pytest.raises(InputError, match="width"):
        LearningConfig(width=1)


def test_a_head_starts_at_the_features_as_they_are():
    rows = make_rows()
    network = learn.make_network(rows, LearningConfig(width=8))
    start = map_at_r(embed_rows(network.eval(), rows.x), rows.y)
    assert start == pytest.approx(map_at_r(rows.x - rows.x.mean(0), rows.y), abs=1e-6)


def test_training_needs_pairs():
    network = learn.make_network(make_rows(), LearningConfig(width=2))
    with pytest.raises(InputError, match="classes have two images"):
        train_embedding(
            network, np.zeros((3, 8), np.float32), np.arange(3), SupCon(), EmbeddingRecipe(2)
        )
