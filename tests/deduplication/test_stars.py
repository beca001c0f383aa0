"""Copies of one original are a group; a chain, in which only neighbours agree, is not."""

from __future__ import annotations

from ilk.deduplication.evidence import CONTENT, FEATURES, Link
from ilk.deduplication.stars import connect_links, form_stars


def link(i: int, j: int, score: float = 1.0, evidence: str = FEATURES) -> Link:
    return Link(i, j, evidence, score=score)


def test_a_star_is_a_group():
    assert form_stars([link(0, 1), link(0, 2), link(0, 3)]) == [[0, 1, 2, 3]]


def test_a_chain_is_cut():
    groups = form_stars([link(i, i + 1, score=10 - i) for i in range(5)])
    assert max(map(len, groups)) <= 3
    assert [0, 1, 2] in groups


def test_one_wrong_link_does_not_join_two_groups():
    links = [link(0, 1, 9), link(0, 2, 9), link(5, 6, 9), link(5, 7, 9), link(2, 6, 3)]
    assert form_stars(links) == [[0, 1, 2], [5, 6, 7]]


def test_stronger_evidence_is_used_first():
    links = [link(1, 2, 100), link(0, 1, evidence=CONTENT), link(2, 3, 200)]
    assert [0, 1] in form_stars([*links, link(0, 9, evidence=CONTENT)]) or form_stars(links)


def test_connected_components():
    assert connect_links([link(0, 1), link(1, 2), link(5, 4)]) == [[0, 1, 2], [4, 5]]
