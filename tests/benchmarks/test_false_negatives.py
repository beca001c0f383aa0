"""The world of captions is what it says, and its benchmark runs small."""

import numpy as np
import torch

from benchmarks import caption_world
from benchmarks.caption_world import COLOURS, WORDS, World, measure_recall
from benchmarks.false_negatives import run as false_negatives


def test_a_caption_names_both_digits_and_swapping_colours_keeps_its_words():
    world = World(4)
    for style in (0, 1):
        captions = world.write_captions(style)
        assert captions.shape == (4 * 3 * 4 * 3, 8)
        assert len(torch.unique(captions, dim=0)) == len(captions)
    words = [WORDS[i] for i in captions[0].tolist()]
    assert " ".join(words) == "a zero red left , a one green"
    y = torch.arange(len(captions))
    swapped = world.swap_colours(y)
    assert (swapped != y).all()
    assert torch.equal(world.swap_colours(swapped), y)
    first = world.write_captions()
    assert torch.equal(first[y].sort(1).values, first[swapped].sort(1).values)


def test_an_image_shows_its_caption():
    world = World(4)
    rows = world.make_images(50, 0, "digits")
    palette = np.array(list(COLOURS.values()))
    for x, y in zip(rows.x.numpy(), rows.y.tolist(), strict=True):
        for place, (_, colour) in enumerate(world.table[y]):
            light = x[:, :, place * 14 : (place + 1) * 14].sum((1, 2))
            cosines = palette @ light / np.linalg.norm(palette, axis=1)
            assert cosines.argmax() == colour
    again = world.make_images(50, 0, "digits")
    assert torch.equal(rows.x, again.x)
    assert not torch.equal(rows.x, world.make_images(50, 1, "digits").x)


def test_an_equal_caption_is_a_hit():
    cosines = torch.tensor([[0.1, 0.9, 0.2], [0.3, 0.2, 0.9], [0.1, 0.2, 0.9]])
    assert measure_recall(cosines, torch.tensor([0, 0, 1])) == 2 / 3
    assert measure_recall(cosines, torch.tensor([0, 1, 2])) == 1 / 3
    assert measure_recall(cosines, torch.tensor([0, 1, 2]), 3) == 1


def test_a_small_run_has_all_arms():
    result = false_negatives.run(small=True)
    (table,) = result["tables"]
    assert {row["method"] for row in table["scores"]} == set(false_negatives.ARMS)
    assert {c["entry"] for c in table["claims"]} == {"unime-mllm-embedding"}
    assert caption_world.SHAPE == (3, 14, 28)


def test_a_meaning_has_two_wordings_and_the_other_one_is_a_hit():
    world = World(3)
    rows = world.make_images(100, 0, "digits")
    pairs = false_negatives.make_pairs(world, rows, 2, 0)
    assert torch.equal(pairs.meanings, rows.y)
    assert 30 < int((pairs.rows.y != rows.y).sum()) < 70
    one = false_negatives.make_pairs(world, rows, 1, 0)
    assert torch.equal(one.rows.y, rows.y)


def test_the_teacher_knows_side_digit_and_colour():
    world = World(3)
    teacher = false_negatives.describe_captions(world)
    shared = teacher @ teacher.T
    a, b = world.table[0].ravel(), world.table[5].ravel()
    assert int(shared[0, 5]) == int((a == b).sum())
    assert (shared.diagonal() == 4).all()
