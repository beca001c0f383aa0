"""Agreement with a graph of parts, counted by hand."""

import numpy as np
import pytest

from ilk.core.errors import InputError
from ilk.maths.part_graph import (
    check_graph,
    compute_alignment,
    compute_weights,
    find_edges,
    measure_graph_distance,
)

GRAPH = np.array([[1, -1], [1, 1], [-1, 1]])  # three parts, two classes
SHAPLEY = np.array(
    [
        [[0.5, -0.5], [0.2, 0.1], [0.0, 0.0]],
        [[-0.3, 0.3], [0.0, 0.0], [0.4, -0.4]],
    ]
)
PRESENT = np.array([[True, True, False], [False, False, True]])


def test_alignment_and_weights_by_hand():
    alignment = compute_alignment(SHAPLEY, np.array([0, 1]), GRAPH)
    np.testing.assert_allclose(alignment, [[0.5, 0.2, 0.0], [-0.3, 0.0, -0.4]])
    raw = np.array([1.0, 1 + 2 * 0.4])
    np.testing.assert_allclose(compute_weights(alignment, 2.0), raw / raw.mean())
    raw = np.exp([0.0, 2 * 0.4])
    np.testing.assert_allclose(compute_weights(alignment, 2.0, "exponential"), raw / raw.mean())
    np.testing.assert_array_equal(compute_weights(alignment, 0.0), 1.0)
    assert (compute_weights(np.full((3, 2), 0.9), 4.0) >= 0).all()


def test_edges_and_distance_by_hand():
    edges = find_edges(SHAPLEY, PRESENT)
    assert np.argwhere(edges).tolist() == [
        [0, 0, 0],  # present, for class 0
        [0, 1, 0],
        [0, 1, 1],
        [1, 0, 0],  # absent and against class 0: the part speaks for class 0
        [1, 2, 0],  # present, for class 0, which the graph denies
    ]
    # image 0: nodes 0 and 1, no difference. Image 1: node 0 has its edge; node 2 has an edge to
    # class 0 too many and lacks that to class 1: 2. Part 1 is absent without an edge: no node.
    assert measure_graph_distance(SHAPLEY, PRESENT, GRAPH) == pytest.approx(1.0)


def test_an_absent_part_of_another_image_does_not_matter():
    """The fault of the published code: images are not told apart where parts are absent."""
    many = np.concatenate([SHAPLEY, SHAPLEY[:1], SHAPLEY[:1]])
    present = np.concatenate([PRESENT, PRESENT[:1], PRESENT[:1]])
    assert measure_graph_distance(many, present, GRAPH) == pytest.approx(0.5)
    own = [measure_graph_distance(many[i : i + 1], present[i : i + 1], GRAPH) for i in range(4)]
    assert own == [0.0, 2.0, 0.0, 0.0]


def test_a_graph_of_other_shape_or_values_is_refused():
    with pytest.raises(InputError, match="give 1"):
        check_graph(GRAPH[:2], 3, 2)
    with pytest.raises(InputError, match="give 1"):
        check_graph(np.zeros((3, 2)), 3, 2)
