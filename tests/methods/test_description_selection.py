"""Descriptions against a brute-force reading of the rule, and where they must and must not help."""

from dataclasses import replace

import numpy as np
import pytest

from ilk.core.data import Data
from ilk.core.errors import InputError
from ilk.methods.description_selection import DescriptionSelection, select_descriptions
from ilk.methods.zero_shot import ZeroShot

K, D, M = 5, 12, 30


def world(seed=0, n=40):
    """Names that confuse neighbours; descriptions that separate them."""
    rng = np.random.default_rng(seed)
    means = np.linalg.qr(rng.standard_normal((D, D)))[0][:K]
    y = np.repeat(np.arange(K), n)
    x = means[y] + 0.25 * rng.standard_normal((len(y), D))
    names = means + 0.9 * np.roll(means, 1, axis=0)  # every name is nearly its neighbour's too
    pool = np.concatenate([means, rng.standard_normal((M - K, D)) / np.sqrt(D)])
    arrays = (a.astype(np.float32) for a in (x, names, pool))
    x, names, pool = arrays
    return Data(x, y, tuple("abcde"), class_embeddings=names, description_embeddings=pool)


def test_logits_are_what_the_rule_says_row_by_row():
    train, test = world(), world(seed=0).take(np.arange(0, 200, 7))
    method = DescriptionSelection(name_weight=0.7, n_candidates=3, descriptions_per_class=2)
    result = method.fit(train).logits(test.x)
    unit = lambda a: a / np.linalg.norm(a, axis=-1, keepdims=True)  # noqa: E731
    pool, names = (
        unit(train.description_embeddings.astype(float)),
        unit(train.class_embeddings.astype(float)),
    )
    s = np.array(
        [[(unit(train.x[train.y == c].astype(float)) @ t).mean() for c in range(K)] for t in pool]
    )
    for row, ours in zip(unit(test.x.astype(float)), result, strict=True):
        name = names @ row
        top = set(np.argsort(-name)[:3].tolist())
        selected = {}
        for c in top:
            lead = [
                (np.mean([s[d, c] - s[d, r] for r in top - {c}]), d)
                for d in range(M)
                if all(s[d, c] >= s[d, r] for r in top - {c})
            ]
            selected[c] = [d for _, d in sorted(lead, key=lambda t: -t[0])[:2]]
        assert all(selected.values())
        added = {c: np.mean([pool[d] @ row for d in selected[c]]) for c in top}
        for c in range(K):
            want = 100 * (0.7 * name[c] + added.get(c, min(added.values())))
            assert ours[c] == pytest.approx(want, rel=1e-4, abs=1e-3)


def test_selected_descriptions_help_and_those_of_another_class_do_not():
    train, test = world(seed=1), world(seed=1)
    rng = np.random.default_rng(9)
    test = replace(test, x=test.x + 0.1 * rng.standard_normal(test.x.shape).astype(np.float32))
    right = lambda m: np.mean(m.logits(test.x).argmax(1) == test.y)  # noqa: E731
    model = DescriptionSelection(name_weight=0).fit(train)
    bare = DescriptionSelection().fit(replace(train, description_embeddings=None))
    assert right(model) > right(bare) + 0.1
    assert right(replace(model, similarity=model.similarity[:, [1, 2, 3, 4, 0]])) < right(bare)


def test_without_descriptions_it_is_zero_shot():
    data = replace(world(), description_embeddings=None)
    ours, theirs = (m.fit(data).logits(data.x) for m in (DescriptionSelection(), ZeroShot()))
    np.testing.assert_allclose(ours, theirs, atol=1e-4)


def test_selected_descriptions_are_at_least_as_similar_to_their_class_as_to_any_rival():
    similar = np.array([[0.9, 0.1, 0.2], [0.5, 0.6, 0.1], [0.4, 0.3, 0.2], [0.8, 0.8, 0.8]])
    assert select_descriptions(similar, 0, 5).tolist() == [0, 2, 3]
    assert select_descriptions(similar, 0, 1).tolist() == [0]
    assert select_descriptions(similar, 1, 5).tolist() == [1, 3]
    unseen = similar.copy()
    unseen[:, 2] = np.nan
    assert select_descriptions(unseen, 2, 5).tolist() == []


def test_a_class_without_selected_descriptions_has_an_even_chance():
    data = world()
    y = np.where(data.y == 3, -1, data.y)  # no labelled row: no description is selected
    logits = DescriptionSelection().fit(replace(data, y=y)).logits(data.x)
    assert np.isfinite(logits).all()
    assert (logits.argmax(1) == 3).any()


def test_descriptions_of_another_encoder_raise():
    narrow = np.ones((3, 4), np.float32)
    with pytest.raises(InputError, match="descriptions have width 4 and names 12"):
        DescriptionSelection().fit(replace(world(), description_embeddings=narrow))
    with pytest.raises(ValueError, match="n_candidates is 1"):
        DescriptionSelection(n_candidates=1)
