"""The picture of the architecture shows every folder above all folders that it imports from."""

import random
import re
from itertools import pairwise

from tools.docs.architecture import draw_architecture, read_folder_graph
from tools.docs.imports import FOLDERS
from tools.docs.layered_graph import (
    assign_layers,
    count_crossings,
    order_layers,
    place_nodes,
    reduce_transitively,
    split_edges,
)

DIAMOND = {"a": {"b", "c", "d"}, "b": {"d"}, "c": {"d"}, "d": set()}


def find_reachable(graph, node):
    reachable, queue = set(), [node]
    while queue:
        for other in graph[queue.pop()] - reachable:
            reachable.add(other)
            queue.append(other)
    return reachable


def make_random_graph(seed, n=12):
    rng = random.Random(seed)
    return {str(i): {str(j) for j in range(i) if rng.random() < 0.4} for i in range(n)}


def test_every_folder_has_a_box_and_stands_above_its_imports():
    svg = draw_architecture()
    names = re.findall(r'class="name" x="[\d.]+" y="([\d.]+)">(\w+)<', svg)
    heights = {name: float(y) for y, name in names}
    assert set(heights) == set(FOLDERS)
    for folder, imported in read_folder_graph()[0].items():
        assert all(heights[folder] < heights[other] for other in imported)


def test_the_picture_has_the_same_bytes_each_time():
    assert draw_architecture() == draw_architecture()


def test_the_reduction_keeps_what_is_reachable_and_no_needless_edge():
    assert reduce_transitively(DIAMOND) == {**DIAMOND, "a": {"b", "c"}}
    for seed in range(20):
        graph = make_random_graph(seed)
        reduced = reduce_transitively(graph)
        for node in graph:
            assert find_reachable(reduced, node) == find_reachable(graph, node)
            for target in reduced[node]:
                fewer = {**reduced, node: reduced[node] - {target}}
                assert target not in find_reachable(fewer, node)


def test_layers_are_longest_paths_and_edges_bend_once_per_layer_between():
    graph = {"top": {"middle", "bottom"}, "middle": {"bottom"}, "bottom": set()}
    layers = assign_layers(graph)
    assert layers == {"top": 2, "middle": 1, "bottom": 0}
    paths = split_edges(graph, layers)
    assert ["top", "top>bottom@1", "bottom"] in paths
    assert layers["top>bottom@1"] == 1


def test_crossings_are_counted_and_removed():
    below = {"a": ["y"], "b": ["x"], "x": [], "y": []}
    assert count_crossings([["x", "y"], ["a", "b"]], below) == 1
    layers = {"x": 0, "y": 0, "a": 1, "b": 1}
    rows = order_layers(layers, [["a", "y"], ["b", "x"]])
    assert count_crossings(rows, below) == 0


def test_boxes_of_a_layer_keep_their_order_and_do_not_overlap():
    for seed in range(5):
        graph = reduce_transitively(make_random_graph(seed))
        layers = assign_layers(graph)
        paths = split_edges(graph, layers)
        rows = order_layers(layers, paths)
        x = place_nodes(rows, paths, lambda node: 10.0 + len(node), 5.0)
        for row in rows:
            for left, right in pairwise(row):
                distance = (len(left) + len(right)) / 2 + 10.0 + 5.0
                assert x[right] - x[left] >= distance - 1e-9
