"""UniME's losses row by row, and their limiting cases."""

import math

import pytest
import torch
from torch.nn import functional

from helpers.small_training import make_step
from ilk.architectures.two_towers import CaptionTower, ImageTower, TwoTowers
from ilk.training.batch import Batch
from ilk.training.objectives.hard_negatives import (
    HardNegatives,
    find_false_negatives,
    hard_negative_losses,
)
from ilk.training.objectives.similarity_distillation import (
    SimilarityDistillation,
    similarity_divergences,
)

N, T = 12, 0.07


def make_cosines(seed=0):
    generator = torch.Generator().manual_seed(seed)
    a, b = torch.randn(2, N, 5, generator=generator, dtype=torch.float64)
    return functional.normalize(a + b, dim=1) @ functional.normalize(b, dim=1).T


def compute_by_hand(s, count, margin, dropped=()):
    losses = []
    for i in range(N):
        kept = [
            float(s[i, j])
            for j in range(N)
            if j != i and (i, j) not in dropped and not s[i, j] > s[i, i] + margin
        ]
        hardest = sorted(kept)[::-1][:count]
        terms = [math.exp((x - float(s[i, i])) / T) for x in hardest]
        losses.append(math.log(1 + sum(terms)))
    return torch.tensor(losses, dtype=torch.float64)


@pytest.mark.parametrize(("count", "margin"), [(3, 0.1), (3, math.inf), (N, 0.0), (8, 0.05)])
def test_the_loss_of_each_row_by_hand(count, margin):
    s = make_cosines()
    assert (s > s.diagonal()[:, None] + 0.1).any()  # something to filter
    ours = hard_negative_losses(s, torch.zeros(N, N, dtype=torch.bool), count, margin, T)
    torch.testing.assert_close(ours, compute_by_hand(s, count, margin))


def test_without_filter_and_sampling_it_is_infonce():
    s = make_cosines()
    none = torch.zeros(N, N, dtype=torch.bool)
    infonce = functional.cross_entropy(s / T, torch.arange(N), reduction="none")
    torch.testing.assert_close(hard_negative_losses(s, none, None, None, T), infonce)


def test_a_row_without_negatives_left_has_no_loss_and_takes_none_back():
    s = torch.full((3, 3), 0.9, dtype=torch.float64) - 0.8 * torch.eye(3, dtype=torch.float64)
    s.requires_grad_()
    losses = hard_negative_losses(s, torch.zeros(3, 3, dtype=torch.bool), 2, 0.1, T)
    assert losses.tolist() == [0, 0, 0]
    losses.sum().backward()
    assert torch.equal(s.grad, torch.zeros_like(s))


def test_the_filter_is_the_one_of_the_loss():
    s = make_cosines()
    dropped = find_false_negatives(s, 0.1)
    by_hand = compute_by_hand(s, N, math.inf, {tuple(p) for p in dropped.nonzero().tolist()})
    ours = hard_negative_losses(s, torch.zeros(N, N, dtype=torch.bool), N, 0.1, T)
    torch.testing.assert_close(ours, by_hand)


def make_towers():
    torch.manual_seed(0)
    captions = torch.tensor([[0, 1, 2], [2, 1, 0], [3, 1, 0], [3, 1, 2]])
    tower = CaptionTower(4, 3, 8)
    return TwoTowers(ImageTower((3, 8, 8), 8), tower, captions)


def test_warm_up_is_infonce_and_the_oracle_drops_equal_captions():
    towers = make_towers()
    batch = Batch(torch.rand(6, 3, 8, 8), torch.tensor([0, 1, 2, 3, 0, 0]))
    early, late = make_step(4), make_step(5)
    plain = HardNegatives(None, None, T)(towers, batch, late)
    tuned = HardNegatives(1, 0.0, T, warmup=5)
    assert torch.equal(tuned(towers, batch, early), plain)
    assert not torch.isclose(tuned(towers, batch, late), plain)
    oracle = HardNegatives(None, None, T, drops_equal=True)(towers, batch, late)
    one_of_each = Batch(batch.x[:4], batch.y[:4])
    equal = HardNegatives(None, None, T)(towers, one_of_each, late)
    assert oracle < plain
    same = Batch(batch.x[:3], torch.zeros(3, dtype=torch.int64))
    alone = HardNegatives(None, None, T, drops_equal=True)(towers, same, late)
    assert float(alone.detach()) == 0
    assert equal > 0


def test_the_oracle_compares_meanings_where_they_are_given():
    towers, batch = make_towers(), Batch(torch.rand(4, 3, 8, 8), torch.arange(4))
    meanings = torch.tensor([7, 7, 7, 7])
    objective = HardNegatives(None, None, T, drops_equal=True, meanings=meanings)
    assert float(objective(towers, batch, make_step()).detach()) == 0
    plain = HardNegatives(None, None, T, drops_equal=True)(towers, batch, make_step())
    assert float(plain.detach()) > 0


def test_a_filter_below_zero_drops_equal_captions_and_one_above_cannot():
    towers = make_towers()
    batch = Batch(torch.rand(3, 3, 8, 8), torch.zeros(3, dtype=torch.int64))
    s = towers.embed_images(batch.x) @ towers.embed_captions(batch.y).T
    assert not find_false_negatives(s, 0.01).any()  # as similar as the pair, not more
    assert int(find_false_negatives(s, -0.01).sum()) == 6


def test_a_bag_of_words_has_one_embedding_for_both_orders_and_a_transformer_two():
    towers = make_towers()
    a, b = towers.embed_captions(torch.tensor([0, 1]))
    assert not torch.allclose(a, b, atol=1e-3)
    bag = TwoTowers(towers.image_tower, CaptionTower(4, 3, 8, False), towers.captions)
    a, b = bag.embed_captions(torch.tensor([0, 1]))
    torch.testing.assert_close(a, b)


def test_divergence_of_similarities_by_hand_and_for_a_rotated_teacher():
    generator = torch.Generator().manual_seed(1)
    a, b = (
        functional.normalize(torch.randn(5, 4, generator=generator, dtype=torch.float64), dim=1)
        for _ in range(2)
    )
    by_hand = []
    for i in range(5):
        others = [j for j in range(5) if j != i]
        p, q = (torch.softmax(z[others] @ z[i] / 0.3, 0) for z in (a, b))
        by_hand.append(sum(float(x * (x / y).log()) for x, y in zip(p, q, strict=True)))
    ours = similarity_divergences(a, b, 0.3)
    torch.testing.assert_close(ours, torch.tensor(by_hand, dtype=torch.float64))
    rotation = torch.linalg.qr(torch.randn(4, 4, generator=generator, dtype=torch.float64))[0]
    assert float(similarity_divergences(a, a @ rotation, 0.3).abs().max()) < 1e-12


def test_distillation_reads_captions_alone():
    towers, teacher = make_towers(), torch.eye(4)
    y = torch.tensor([0, 1, 2, 3])
    loss = SimilarityDistillation(teacher)
    one, other = (loss(towers, Batch(x, y), make_step()) for x in torch.rand(2, 4, 3, 8, 8))
    assert torch.equal(one, other)
