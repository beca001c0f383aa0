"""Groups of files: what they concern, which file is kept, and what connects each with it."""

from __future__ import annotations

import numpy as np
import pytest

from ilk.deduplication import candidates as module
from ilk.deduplication.candidates import _rerank, join_candidates
from ilk.deduplication.evidence import CONTENT, FEATURES, HASH, Link
from ilk.deduplication.find_groups import _list_missing
from ilk.deduplication.groups import form_groups
from ilk.images import Images
from ilk.images.duplicates.near_pairs import CONFLICT, COPY, GROUPS, LEAK, PARTLY
from ilk.images.rows.row import Row


def make_row(name, label="a", split="train", side=10, kind="PNG", size=100, group=None):
    return Row(name, label, split, width=side, height=side, format=kind, size=size, group=group)


def form(rows, *links):
    return form_groups(Images(None, tuple(rows)), links)


def link(i, j, evidence=FEATURES, score=1.0):
    return Link(i, j, evidence, score=score)


@pytest.mark.parametrize(
    ("fields", "others", "concerns"),
    [
        ({}, (), COPY),
        ({"label": "b"}, (), CONFLICT),
        ({"label": None}, (), PARTLY),
        ({"split": "test", "label": "b"}, (), LEAK),
        ({"split": "val"}, (), LEAK),  # where there is no test part, the val part judges
        ({"split": "val"}, ("test",), COPY),
        ({"group": "q"}, (), GROUPS),
        ({"group": None}, (), COPY),
    ],
)
def test_what_a_group_concerns(fields, others, concerns):
    rows = [make_row("x", group="p"), make_row("y", **{"group": "p", **fields})]
    rows += [make_row(f"z{i}", split=split) for i, split in enumerate(others)]
    [group] = form(rows, link(0, 1))
    assert group.concerns == concerns


@pytest.mark.parametrize(
    ("better", "worse"),
    [
        ({"label": "a", "side": 5}, {"label": None, "side": 50}),
        ({"side": 11, "kind": "JPEG"}, {"side": 10}),
        ({"kind": "PNG", "size": 5}, {"kind": "JPEG", "size": 500}),
        ({"size": 200}, {"size": 100}),
    ],
)
def test_which_file_is_kept(better, worse):
    rows = [make_row("x", **worse), make_row("yyy", **better)]
    [group] = form(rows, link(0, 1))
    assert [(m.path, m.keep) for m in group.members] == [("yyy", True), ("x", False)]
    same = [make_row("b"), make_row("a"), make_row("long")]
    [group] = form(same, link(0, 1), link(0, 2))
    assert [m.path for m in group.members] == ["a", "b", "long"]


def test_a_file_is_shown_with_the_one_to_keep_where_a_link_is_there():
    rows = [make_row("best", side=99), make_row("x"), make_row("y")]
    links = (link(0, 1, score=1.0), link(0, 2, HASH, 5.0), link(1, 2, CONTENT, np.inf))
    [group] = form(rows, *links)
    assert [(m.path, m.of) for m in group.members[1:]] == [("x", "best"), ("y", "best")]
    assert group.evidence == FEATURES  # the weakest that holds it together
    assert [m.evidence for m in group.members[1:]] == [FEATURES, HASH]


def test_leaks_come_before_larger_groups():
    rows = [make_row(n) for n in "abc"] + [make_row("d"), make_row("e", split="test")]
    rows += [make_row("f"), make_row("g", "b")]
    groups = form(rows, link(0, 1), link(0, 2), link(3, 4), link(5, 6))
    assert [g.concerns for g in groups] == [LEAK, CONFLICT, COPY]


def test_of_too_many_candidates_the_most_similar_are_looked_at(monkeypatch):
    monkeypatch.setattr(module, "MAX_PAIRS", 3)
    near = (np.array([0]), np.array([5]), np.array([[1, 2]]))
    similar = (
        np.array([[0, 5], [0, 1], [0, 2], [0, 3]]),
        np.array([0.99, 0.5, 0.9, 0.7], np.float32),
    )
    found = join_candidates(near, similar)
    assert found.pairs.tolist() == [[0, 5], [0, 2], [0, 3]]
    assert found.is_near.tolist() == [True, False, False]
    assert found.codes.tolist() == [[1, 2], [0, 0], [0, 0]]
    assert found.n_left_out == 1


def test_neighbours_of_an_approximate_search_are_ordered_by_all_features():
    rng = np.random.default_rng(0)
    x = rng.normal(size=(40, 8)).astype(np.float32)
    x /= np.linalg.norm(x, axis=1, keepdims=True)
    index = np.stack([rng.permutation(np.delete(np.arange(40), i))[:20] for i in range(40)])
    index[3, 5:] = -1
    found, similarity = _rerank(x, index)
    for i in (0, 3, 39):
        known = index[i][index[i] >= 0]
        expected = known[np.argsort(-(x[known] @ x[i]))][:6]
        n = len(expected)
        assert found[i, :n].tolist() == expected.tolist()
        np.testing.assert_allclose(similarity[i, :n], x[expected] @ x[i], rtol=1e-5)
    assert np.isneginf(similarity[3, 5:]).all()


def test_pairs_of_connected_pictures_that_were_not_compared():
    known = np.array([[0, 1], [1, 2], [7, 8]])
    missing = _list_missing([link(0, 1), link(1, 2), link(7, 8)], known)
    assert missing.tolist() == [[0, 2]]
    star = [link(0, i) for i in range(1, 30)] + [link(1, 2), link(2, 3)]
    far = _list_missing(star, np.array([[s.first, s.second] for s in star]))
    assert {i for pair in far.tolist() for i in pair[:1]} == {1, 2}  # besides 0, the best connected
