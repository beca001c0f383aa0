"""Layered layout of an acyclic graph: layers, crossings reduced by barycenters, coordinates.

Kozo Sugiyama, Shojiro Tagawa, Mitsuhiko Toda, 1981, Methods for Visual Understanding of
Hierarchical System Structures, doi:10.1109/TSMC.1981.4308636.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from itertools import pairwise

Graph = Mapping[str, set[str]]
Path = list[str]

N_SWEEPS = 40


def reduce_transitively(graph: Graph) -> dict[str, set[str]]:
    """Return `graph` without the edges that a longer path implies."""
    reachable: dict[str, set[str]] = {}

    def visit(node: str) -> set[str]:
        if node not in reachable:
            reachable[node] = set().union(graph[node], *(visit(other) for other in graph[node]))
        return reachable[node]

    return {
        node: {t for t in targets if not any(t in visit(other) for other in targets - {t})}
        for node, targets in graph.items()
    }


def assign_layers(graph: Graph) -> dict[str, int]:
    """Return the length of the longest path from each node to a node without edges."""
    layers: dict[str, int] = {}

    def visit(node: str) -> int:
        if node not in layers:
            layers[node] = max((visit(other) + 1 for other in graph[node]), default=0)
        return layers[node]

    for node in graph:
        visit(node)
    return layers


def split_edges(graph: Graph, layers: dict[str, int]) -> list[Path]:
    """Return each edge as a path with one bend, named `source>target@layer`, per layer between.

    The bends are added to `layers`.
    """
    paths = []
    for source in graph:
        for target in sorted(graph[source]):
            bends = [
                f"{source}>{target}@{at}" for at in range(layers[source] - 1, layers[target], -1)
            ]
            layers |= {bend: layers[source] - 1 - i for i, bend in enumerate(bends)}
            paths.append([source, *bends, target])
    return paths


def order_layers(layers: Mapping[str, int], paths: list[Path]) -> list[list[str]]:
    """Return the nodes of each layer from left to right, with few crossings of edges."""
    rows: list[list[str]] = [[] for _ in range(max(layers.values()) + 1)]
    for node, layer in layers.items():
        rows[layer].append(node)
    below: dict[str, list[str]] = {node: [] for node in layers}
    above: dict[str, list[str]] = {node: [] for node in layers}
    for upper, lower in (pair for path in paths for pair in pairwise(path)):
        below[upper].append(lower)
        above[lower].append(upper)
    best, fewest = [list(row) for row in rows], count_crossings(rows, below)
    for sweep in range(N_SWEEPS):
        upward = sweep % 2 == 0
        for i in range(1, len(rows)) if upward else range(len(rows) - 2, -1, -1):
            _sort_by_barycenter(
                rows[i], rows[i - 1 if upward else i + 1], below if upward else above
            )
        if (crossings := count_crossings(rows, below)) < fewest:
            best, fewest = [list(row) for row in rows], crossings
    return best


def _sort_by_barycenter(
    row: list[str], fixed: list[str], neighbours: Mapping[str, list[str]]
) -> None:
    """Sort `row` in place by the mean relative position of each node's neighbours in `fixed`."""
    place = {node: (i + 0.5) / len(fixed) for i, node in enumerate(fixed)}
    own = {node: (i + 0.5) / len(row) for i, node in enumerate(row)}

    def compute_barycenter(node: str) -> float:
        places = [place[other] for other in neighbours[node]]
        return sum(places) / len(places) if places else own[node]

    row.sort(key=compute_barycenter)


def count_crossings(rows: list[list[str]], below: Mapping[str, list[str]]) -> int:
    """Return how many pairs of edges between neighbouring layers cross."""
    total = 0
    for lower, upper in pairwise(rows):
        place = {node: i for i, node in enumerate(lower)}
        ends = [
            place[other] for node in upper for other in sorted(below[node], key=place.__getitem__)
        ]
        total += sum(a > b for i, a in enumerate(ends) for b in ends[i + 1 :])
    return total


def place_nodes(
    rows: list[list[str]], paths: list[Path], width_of: Callable[[str], float], gap: float
) -> dict[str, float]:
    """Return the x coordinate of the middle of each node: near its neighbours, without overlap."""
    neighbours: dict[str, list[str]] = {node: [] for row in rows for node in row}
    for a, b in (pair for path in paths for pair in pairwise(path)):
        neighbours[a].append(b)
        neighbours[b].append(a)
    x = dict.fromkeys(neighbours, 0.0)
    for row in rows:
        _spread(row, dict.fromkeys(row, 0.0), x, width_of, gap)
    for sweep in range(N_SWEEPS):
        for row in rows if sweep % 2 else rows[::-1]:
            wanted = {
                n: sum(x[m] for m in neighbours[n]) / len(neighbours[n]) if neighbours[n] else x[n]
                for n in row
            }
            _spread(row, wanted, x, width_of, gap)
    return x


def _spread(
    row: list[str],
    wanted: Mapping[str, float],
    x: dict[str, float],
    width_of: Callable[[str], float],
    gap: float,
) -> None:
    """Place a row as close to `wanted` as order and widths allow (pool adjacent violators)."""
    offsets, offset = [], 0.0
    for i, node in enumerate(row):
        if i:
            offset += (width_of(row[i - 1]) + width_of(node)) / 2 + gap
        offsets.append(offset)
    pools: list[tuple[float, int]] = []  # sum and number of the targets of nodes that touch
    for node, shift in zip(row, offsets, strict=True):
        pools.append((wanted[node] - shift, 1))
        while len(pools) > 1 and pools[-2][0] / pools[-2][1] > pools[-1][0] / pools[-1][1]:
            (total, n), (more, m) = pools.pop(-2), pools.pop()
            pools.append((total + more, n + m))
    starts = [total / n for total, n in pools for _ in range(n)]
    x |= {node: start + shift for node, start, shift in zip(row, starts, offsets, strict=True)}
