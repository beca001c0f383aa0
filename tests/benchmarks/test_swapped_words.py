"""The benchmark of swapped words runs small, and a bag of words fails in it."""

import torch

from benchmarks.caption_world import World
from benchmarks.swapped_words import run as swapped_words


def test_a_small_run_has_all_arms_and_a_bag_of_words_fails():
    result = swapped_words.run(small=True)
    share, recall, among = result["tables"]
    scores = {row["method"]: row["score"]["mean"] for row in share["scores"]}
    assert len(scores) == 7
    assert scores[swapped_words.BAG] == 0.5
    assert len(recall["scores"]) == len(among["scores"]) == 6
    assert result["trainable weights"][swapped_words.OURS] < 5000


def test_one_of_each_pair_of_captions_is_for_training():
    world = World(4)
    kept = swapped_words.draw_one_of_each_pair(world, 0)
    assert (kept != kept[world.swap_colours(torch.arange(len(kept)))]).all()
    assert not torch.equal(kept, swapped_words.draw_one_of_each_pair(world, 1))


def test_ties_count_half():
    assert swapped_words.count_nearer(torch.tensor([0.5, -0.5, 0.0, 1e-8])) == 0.5
