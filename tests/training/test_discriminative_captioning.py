"""VladVA's losses by hand, and what its captioner may and may not read."""

import pytest
import torch
from torch import nn

from helpers.small_training import make_step
from ilk.architectures.captioner import N_IMAGE_TOKENS, Captioner, LowRankLinear
from ilk.training.batch import Batch
from ilk.training.objectives.discriminative_captioning import (
    DiscriminativeCaptioning,
    contrastive_losses,
    word_losses,
)
from ilk.training.trainer import Recipe, train

CAPTIONS = torch.tensor([[0, 1, 2, 3], [2, 1, 0, 3], [4, 1, 2, 3], [4, 4, 2, 3]])


@pytest.fixture
def captioner():
    torch.manual_seed(0)
    return Captioner(nn.Linear(6, 8 * N_IMAGE_TOKENS), CAPTIONS, 5, 8, 2, 2)


def test_a_low_rank_term_is_zero_at_first_and_can_be_merged():
    torch.manual_seed(0)
    layer, x = LowRankLinear(6, 5, 3), torch.randn(4, 6)
    torch.testing.assert_close(layer(x), layer.base(x))
    with torch.no_grad():
        layer.up.normal_()
        merged = layer.base.weight + layer.up @ layer.down / 3
        assert torch.linalg.matrix_rank(layer.up @ layer.down) == 3
        torch.testing.assert_close(layer(x), x @ merged.T + layer.base.bias)


def test_tuning_changes_prompts_and_low_rank_terms_alone(captioner):
    captioner.set_stage("tuning")
    rows = Batch(torch.randn(20, 6), torch.arange(20) % 4)
    before = {name: value.clone() for name, value in captioner.state_dict().items()}
    train(captioner, rows, DiscriminativeCaptioning(), Recipe(3, 8, 1e-2, 0))
    after = captioner.state_dict()
    changed = {name for name in after if not torch.equal(after[name], before[name])}
    added = {n for n in after if n == "prompts" or n.endswith((".down", ".up"))}
    assert changed == added
    assert len(added) == 1 + 2 * 2


@torch.no_grad()
def test_a_word_reads_the_words_before_it_alone(captioner):
    x = torch.randn(3, 6)
    labels, others = torch.tensor([0, 0, 0]), torch.tensor([1, 2, 3])  # differ from word 0 on
    for through_summary in (False, True):
        one = captioner.compute_word_logits(x, labels, through_summary)
        other = captioner.compute_word_logits(x, others, through_summary)
        torch.testing.assert_close(one[:, 0], other[:, 0])
        assert not torch.allclose(one[:, 1], other[:, 1], atol=1e-4)
    late = captioner.compute_word_logits(x, torch.tensor([2, 2, 2]), False)
    changed = captioner.compute_word_logits(x, torch.tensor([3, 3, 3]), False)  # word 1 differs
    torch.testing.assert_close(late[:, :2], changed[:, :2])
    assert not torch.allclose(late[:, 2], changed[:, 2], atol=1e-4)


def test_words_read_the_image_through_the_last_prompt(captioner):
    """The gradient of a word's logits with respect to what the blocks read directly."""
    x, labels = torch.randn(1, 6), torch.tensor([0])
    seen = []
    hook = captioner.blocks[0].register_forward_pre_hook(lambda _, args: seen.append(args[1]))
    captioner.compute_word_logits(x, labels, True)
    hook.remove()
    (mask,) = seen
    start = N_IMAGE_TOKENS + len(captioner.prompts)
    assert not mask[start:, : start - 1].any()
    assert mask[start:, start - 1].all()
    assert torch.equal(mask[start:, start:], torch.ones(3, 3, dtype=torch.bool).tril())
    assert torch.equal(mask[:start, :start], torch.ones(start, start, dtype=torch.bool).tril())


@torch.no_grad()
def test_the_summary_that_words_follow_is_the_embedding_of_the_image(captioner):
    x = torch.randn(2, 6)
    hidden = []
    hook = captioner.norm.register_forward_hook(lambda _, __, out: hidden.append(out))
    captioner.compute_word_logits(x, torch.tensor([0, 1]), True)
    hook.remove()
    at = N_IMAGE_TOKENS + len(captioner.prompts) - 1
    summary = nn.functional.normalize(hidden[0][:, at], dim=1)
    torch.testing.assert_close(summary, captioner.embed_images(x))


@torch.no_grad()
def test_order_of_words_matters_to_the_embedding(captioner):
    a, b = captioner.embed_captions(torch.tensor([0, 1]))
    assert not torch.allclose(a, b, atol=1e-3)


def test_contrast_by_hand_leaves_out_equal_captions():
    torch.manual_seed(1)
    logits, y = torch.randn(4, 4).double(), torch.tensor([0, 1, 0, 2])
    ours = contrastive_losses(logits, y)
    for i in range(4):
        others = [j for j in range(4) if j == i or y[j] != y[i]]
        forth = -logits[i, others].log_softmax(0)[others.index(i)]
        back = -logits[others, i].log_softmax(0)[others.index(i)]
        assert float(ours[i]) == pytest.approx(float(forth + back) / 2)


def test_the_loss_is_the_weighted_sum_of_both(captioner):
    batch = Batch(torch.randn(4, 6), torch.arange(4))
    terms = [
        DiscriminativeCaptioning(*weights)(captioner, batch, make_step())
        for weights in ((1, 0), (0, 1), (0.5, 3))
    ]
    torch.testing.assert_close(terms[2], 0.5 * terms[0] + 3 * terms[1])
    logits = captioner.compute_word_logits(batch.x, batch.y, True).detach()
    p = logits.softmax(2)
    by_hand = [-sum(float(p[i, t, CAPTIONS[i, t]].log()) for t in range(4)) / 4 for i in range(4)]
    torch.testing.assert_close(word_losses(logits, CAPTIONS), torch.tensor(by_hand))
