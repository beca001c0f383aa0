"""The random walker against walks that are simulated, and what it finds on plain pictures."""

import numpy as np

from ilk.explain.segment import MIN_WEIGHT, _solve, find_points, list_edges, walk_from_points


def test_probabilities_are_those_of_simulated_walks():
    rng = np.random.default_rng(0)
    colours = rng.random((3, 4, 3)) * 60
    inside, outside = np.zeros((3, 4), bool), np.zeros((3, 4), bool)
    inside[0, 0] = outside[2, 3] = True
    found = _solve(colours, inside, outside).ravel()

    start, end, weight = list_edges(colours)
    step = np.zeros((12, 12))
    step[start, end] = step[end, start] = weight
    step /= step.sum(1, keepdims=True)
    cumulated = step.cumsum(1)
    met = np.zeros(12)
    n = 1500
    for pixel in (1, 5, 9, 10):
        at = np.full(n, pixel)
        while len(moving := np.flatnonzero((at != 0) & (at != 11))):
            draws = rng.random(len(moving))
            at[moving] = (draws[:, None] < cumulated[at[moving]]).argmax(1)
        met[pixel] = (at == 0).mean()
        assert abs(met[pixel] - found[pixel]) < 4 * np.sqrt(0.25 / n), pixel
    assert found[0] == 1
    assert found[11] == 0


def test_like_colours_are_near_and_unlike_ones_far():
    colours = np.zeros((1, 3, 3))
    colours[0, 2] = 100
    _, _, weight = list_edges(colours)
    assert weight[0] > 0.99
    assert weight[1] < weight[0] / 100
    assert weight[1] >= MIN_WEIGHT


def draw_square(side=40):
    picture = np.full((side, side, 3), 60, np.uint8)
    picture += np.random.default_rng(0).integers(0, 20, (side, side, 1)).astype(np.uint8)
    square = np.zeros((side, side), bool)
    square[10:22, 14:30] = True
    picture[square] = (200, 40, 40)
    return picture, square


def test_a_point_in_a_square_gives_the_square():
    picture, square = draw_square()
    background = np.zeros_like(square)
    background[:3] = background[-3:] = True
    found = walk_from_points(picture, np.array([[15, 20]]), background)
    assert (found == square).mean() > 0.99


def test_a_large_picture_is_halved_and_gives_nearly_the_same():
    picture, square = draw_square()
    picture, square = (np.repeat(np.repeat(a, 5, 0), 5, 1) for a in (picture, square))
    background = np.zeros_like(square)
    background[:15] = background[-15:] = True
    found = walk_from_points(picture, np.array([[75, 100]]), background)
    assert found.shape == square.shape
    assert (found & square).sum() / (found | square).sum() > 0.9


def test_points_are_always_inside_and_the_background_outside():
    picture, _ = draw_square()
    background = np.ones(picture.shape[:2], bool)
    found = walk_from_points(picture, np.array([[0, 0]]), background)
    assert found[0, 0]
    assert found.sum() == 1
    assert walk_from_points(picture, np.array([[0, 0]]), ~background).all()


def test_points_lie_in_the_best_parts_where_most_changes():
    values = np.kron(np.array([[3.0, 1.0], [0.0, 2.0]]), np.ones((2, 2)))
    change = np.arange(16.0).reshape(4, 4)
    assert find_points(values, change, 1).tolist() == [[1, 1]]
    assert find_points(values, change, 2).tolist() == [[1, 1], [3, 3]]
    assert find_points(values, change, 9).tolist() == [[1, 1], [3, 3], [1, 3]]
    assert len(find_points(-1 - values, change, 3)) == 1
