"""The candidates of an image are its label and different others, drawn evenly."""

from __future__ import annotations

import torch

from ilk.diffusion.errors.candidates import draw_candidates
from ilk.training.rng import make_generator


def test_the_label_is_first_and_the_others_are_drawn_evenly():
    y = torch.arange(30).repeat(40)
    found = draw_candidates(y, 30, 15, make_generator(0, 7, "cpu"))
    assert found.shape == (1200, 15)
    assert torch.equal(found[:, 0], y)
    assert all(len(set(row)) == 15 for row in found.tolist())
    counts = torch.bincount(found[:, 1:].flatten(), minlength=30).double()
    assert (counts - 560).abs().max() < 5 * (560 * 15 / 29) ** 0.5
    assert not torch.equal(found, draw_candidates(y, 30, 15, make_generator(0, 8, "cpu")))


def test_few_classes_are_all_compared_and_an_unknown_label_is_the_null_class():
    y, generator = torch.tensor([0, 4, 2, -1]), torch.Generator().manual_seed(0)
    for m in (5, 32):
        every = draw_candidates(y, 5, m, generator)
        assert every[:, 0].tolist() == [0, 4, 2, 5]
        assert all(sorted(row) == [0, 1, 2, 3, 4] for row in every[:3].tolist())
    seen: set[int] = set()
    for _ in range(50):
        some = draw_candidates(y, 5, 3, generator)
        assert some.shape == (4, 3)
        assert all(len(set(row)) == 3 for row in some.tolist())
        seen |= set(some[1, 1:].tolist())
    assert seen == {0, 1, 2, 3}
