"""The benchmarks of selection run small, and what they compare is what they say."""

import json

import numpy as np
import pytest

from benchmarks.color_filter.bigrams import SMOOTHING, Bigrams
from benchmarks.color_filter.recurrent import RecurrentModel, compute_losses, pad, train_model
from benchmarks.color_filter.text_arms import compute_importance, hash_sentences
from benchmarks.source_pruning import sources
from benchmarks.source_pruning.run import _take_clusters

SENTENCES = [np.array([1, 2, 3, 1]), np.array([1, 2, 2, 4, 1])]


def test_bigrams_are_smoothed_towards_words():
    model = Bigrams.fit(SENTENCES, 6)
    count = np.array([0, 2, 3, 1, 1, 0]) + 1.0  # of words that follow
    word = count / count.sum()
    p = [(2 + SMOOTHING * word[2]) / (2 + SMOOTHING), (1 + SMOOTHING * word[3]) / (3 + SMOOTHING)]
    losses = model.compute_losses([np.array([1, 2, 3]), np.array([1, 2])])
    assert losses[0] == pytest.approx(-np.mean(np.log(p)))
    assert losses[1] == pytest.approx(-np.log(p[0]))
    total = sum(np.exp(-model.compute_losses([np.array([2, w])])[0]) for w in range(6))
    assert total == pytest.approx(1)


def test_tuned_bigrams_prefer_what_they_were_tuned_on():
    model = Bigrams.fit(SENTENCES, 6)
    tuned = model.tune(SENTENCES[:1], 20.0)
    first, second = tuned.compute_losses(SENTENCES) - model.compute_losses(SENTENCES)
    assert first < 0
    assert first < second


def test_the_recurrent_model_scores_each_word_of_a_sentence_once():
    model = RecurrentModel(6, 8, 0)
    alone = compute_losses(model, SENTENCES[:1])
    np.testing.assert_allclose(compute_losses(model, SENTENCES)[:1], alone, rtol=1e-5)
    assert (pad(SENTENCES)[0, 4:] < 0).all()
    trained = train_model(model, SENTENCES, 40, 1e-2, 0)
    assert (compute_losses(trained, SENTENCES) < compute_losses(model, SENTENCES)).all()


def test_importance_is_higher_for_sentences_like_the_target():
    x = hash_sentences(SENTENCES)
    assert x.sum(1).tolist() == [2 + 3, 3 + 4]
    scores = compute_importance(x, hash_sentences(SENTENCES[1:]))
    assert scores[1] > scores[0]


def test_clusters_are_kept_by_use_until_the_count_is_reached():
    cluster = np.array([0, 1, 2, 1, 0, 2])
    kept = _take_clusters(cluster, np.array([1.0, 0.0, 5.0]), 3)
    np.testing.assert_array_equal(kept, [0, 2, 5])


def test_a_task_holds_every_class_of_the_source():
    pytest.importorskip("h5py")
    try:
        task = sources.read_task(sources_setting(), 0, small=True)
    except Exception as error:
        pytest.skip(f"the shared data is not there: {error}")
    assert len(task.source) == 30 * 20
    assert (np.bincount(task.source.y) == 20).all()
    assert sorted(task.by_name) == list(range(30))
    assert set(task.by_name[:10]) == set(range(10))
    assert json.dumps(task.source.classes).count("digit") == 10


def sources_setting():
    from benchmarks.source_pruning.run import SETTINGS

    return SETTINGS[0]
