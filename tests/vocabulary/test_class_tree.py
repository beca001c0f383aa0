"""Trees of class names: what is read, the length of paths, and what is refused."""

import numpy as np
import pytest

from ilk.core.errors import InputError
from ilk.vocabulary.class_tree import build_tree, parse_nested, parse_newick


def measure(tree, *names):
    return tree.compute_distances([tree.names.index(name) for name in names]).tolist()


def test_paths_are_counted_in_branches_or_in_their_length():
    tree = parse_newick("((cat,dog)pet,(car:3,bus)'road''s vehicle':0.5)[a comment];")
    assert measure(tree, "cat", "dog") == [[0, 2], [2, 0]]
    assert measure(tree, "car", "bus") == [[0, 4], [4, 0]]
    assert measure(tree, "cat", "car") == [[0, 1 + 1 + 0.5 + 3], [5.5, 0]]
    assert measure(tree, "cat", "pet", "road's vehicle")[0] == [0, 1, 2.5]
    leaves = [n for n, leaf in zip(tree.names, tree.is_leaf, strict=True) if leaf]
    assert leaves == ["cat", "dog", "car", "bus"]


def test_distances_are_those_of_a_walk():
    """Against the shortest paths of SciPy, on a random tree."""
    from scipy.sparse.csgraph import shortest_path

    rng = np.random.default_rng(0)
    parent_of = {f"n{i}": f"n{rng.integers(i)}" if i else "" for i in range(30)}
    tree = build_tree(dict(sorted(parent_of.items(), reverse=True)))  # children come first
    graph = np.zeros((31, 31))
    for node, parent in enumerate(tree.parents):
        if parent >= 0:
            graph[node, parent] = 1
    expected = shortest_path(graph, directed=False)
    np.testing.assert_array_equal(tree.compute_distances(range(31)), expected)
    assert [tree.names[p] for p in tree.parents[1:]] == [parent_of[n] for n in tree.names[1:]]


@pytest.mark.parametrize(
    "value",
    [
        {"pet": ["cat", "dog"], "road": {"car": None, "bus": []}},
        [{"pet": {"cat": None, "dog": None}}, {"road": ["car", "bus"]}],
        [["cat", "dog"], ["car", "bus"]],
    ],
)
def test_json_is_a_tree_of_objects_and_lists(value):
    tree = parse_nested(value)
    assert measure(tree, "cat", "dog")[0] == [0, 2]
    assert measure(tree, "car", "bus")[0] == [0, 2]
    assert measure(tree, "cat", "bus")[0] == [0, 4]


@pytest.mark.parametrize(
    ("text", "sentence"),
    [
        ("cat,dog;", "starts with a parenthesis"),
        ("", "starts with a parenthesis"),
        ("((cat,dog);", "is not closed"),
        ("(cat,dog));", "closes that was never opened"),
        ("(cat,dog),bus;", "outside all parentheses"),
        ("(cat,dog); more", "after the end of the tree"),
        ("(cat 'a' ,dog);", "two names"),
        ("(cat(a,b),dog);", "a comma is missing"),
        ("(cat:far,dog);", "'far' is not a branch length"),
        ("(cat:-1,dog);", "'-1' is not a branch length"),
        ("(cat:nan,dog);", "'nan' is not a branch length"),
        ("(cat:1:2,dog);", "two lengths"),
        ("(cat:,dog);", "',' where a length is expected"),
        ("('cat,dog);", "a quote or a bracket without its end"),
        ("(cat,dog)[;", "a quote or a bracket without its end"),
    ],
)
def test_what_is_no_tree_is_refused(text, sentence):
    with pytest.raises(InputError, match=sentence):
        parse_newick(text)


def test_json_and_tables_that_are_no_tree_are_refused():
    with pytest.raises(InputError, match="the tree holds True"):
        parse_nested({"cat": True})
    deep = []
    for _ in range(300):
        deep = [deep]
    with pytest.raises(InputError, match="more than 200 levels deep"):
        parse_nested(deep)
    with pytest.raises(InputError, match="lies below itself"):
        build_tree({"a": "b", "b": "c", "c": "a"})
    with pytest.raises(InputError, match="'a' lies below itself"):
        build_tree({"a": "a"})
