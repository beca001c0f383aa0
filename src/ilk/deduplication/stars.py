"""Groups of pictures from links between pairs, such that chains do not join different pictures.

A group is a star: one of its pictures has a link to each of the others. That is how copies come
about, all from one original; two crops of different corners need not resemble each other. Of a
chain, in which each picture resembles only the next, the ends come into different groups. Links are
taken in the order of their evidence, and two groups become one only if they then are a star. (A
complete link would tear copies of one original apart, a single link would join the chain.)
"""

from __future__ import annotations

from collections.abc import Sequence

from ilk.deduplication.evidence import Link


def form_stars(links: Sequence[Link]) -> list[list[int]]:
    """Return groups of at least two positions, each sorted, in the order of their first member.

    Args:
        links: Between positions; the strongest evidence is used first.
    """
    neighbours: dict[int, set[int]] = {}
    for link in links:
        neighbours.setdefault(link.first, {link.first}).add(link.second)
        neighbours.setdefault(link.second, {link.second}).add(link.first)
    group = {i: {i} for i in neighbours}
    for link in sorted(links, key=lambda link: link.rank):
        a, b = group[link.first], group[link.second]
        if a is b:
            continue
        smaller, larger = sorted((a, b), key=len)
        both = len(a) + len(b)
        hubs = (i for part in (larger, smaller) for i in part if len(neighbours[i]) >= both)
        if any(smaller <= neighbours[i] and larger <= neighbours[i] for i in hubs):
            larger |= smaller
            for i in smaller:
                group[i] = larger
    unique = {id(members): sorted(members) for members in group.values() if len(members) > 1}
    return sorted(unique.values())


def connect_links(links: Sequence[Link]) -> list[list[int]]:
    """Return the connected components of links, each sorted: whoever is linked in any way."""
    parent: dict[int, int] = {}

    def find(i: int) -> int:
        while parent.setdefault(i, i) != i:
            parent[i] = parent[parent[i]]
            i = parent[i]
        return i

    for link in links:
        parent[max(find(link.first), find(link.second))] = min(find(link.first), find(link.second))
    members: dict[int, list[int]] = {}
    for i in parent:
        members.setdefault(find(i), []).append(i)
    return sorted(sorted(m) for m in members.values())
