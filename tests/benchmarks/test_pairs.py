"""Coloured digits in pairs: captions, their wrong versions, the judge, and the two towers."""

from __future__ import annotations

import numpy as np
import pytest
import torch

from benchmarks.diffusion_self.captions import TASKS, Captions, Judge, make_images
from benchmarks.diffusion_self.pairs import build_denoiser
from benchmarks.diffusion_self.two_towers import TwoTowers, compute_contrastive_loss
from benchmarks.diffusion_setup import load_digit_images, scale_images
from ilk.training.trainer import Batch


@pytest.fixture(scope="module")
def digits():
    return load_digit_images(11)


def test_a_wrong_caption_is_wrong_in_one_way():
    captions = Captions.make()
    assert len(captions.table) == len(set(captions.names)) == 6 * 5 * 4 * 3
    true = np.arange(0, 360, 3)
    wrong = {t: captions.table[w.numpy()] for t, w in captions.make_wrong(true, 1).items()}
    rows = captions.table[true]
    assert tuple(wrong) == TASKS
    for name, attribute in (("digit", 0), ("colour", 1)):
        differs = wrong[name] != rows
        assert (differs.sum((1, 2)) == 1).all()
        assert differs[:, :, attribute].sum() == len(rows)
        assert 0.3 < differs[:, 0, attribute].mean() < 0.7  # either side
    assert (wrong["binding"][:, :, 0] == rows[:, :, 0]).all()
    assert (wrong["binding"][:, ::-1, 1] == rows[:, :, 1]).all()
    assert (wrong["position"][:, ::-1] == rows).all()
    assert captions.names[0] == "a red 0 to the left of a green 1"


@pytest.mark.parametrize("ground", ["dark", "grey"])
def test_the_judge_reads_what_was_composed(digits, ground):
    captions = Captions.make()
    test = make_images(digits.test, captions, 150, 3, ground)
    judge = Judge(digits.train, captions, ground)
    x = scale_images(test)
    assert judge(x, test.y).double().mean() > 0.93
    wrong = captions.make_wrong(test.y.numpy(), 0)
    assert max(float(judge(x, wrong[t]).double().mean()) for t in TASKS) < 0.05
    assert judge(torch.rand_like(x) * 2 - 1, test.y).double().mean() < 0.05


def test_towers_have_the_size_of_the_denoiser_and_both_get_a_gradient(digits):
    captions = Captions.make()
    data = make_images(digits.train, captions, 64, 3)
    denoiser = build_denoiser(captions, data, 0)
    size = sum(p.numel() for p in denoiser.parameters())
    towers = TwoTowers(denoiser)
    assert sum(p.numel() for p in towers.parameters()) == pytest.approx(size, rel=0.1)
    batch = Batch(scale_images(data)[:16], data.y[:16])
    loss = compute_contrastive_loss
    loss(towers, batch, torch.Generator()).backward()
    for part in (towers.backbone.proj_in, towers.caption, towers.project):
        assert any(p.grad is not None and bool(p.grad.any()) for p in part.parameters())
    with torch.no_grad():
        images, texts = towers.embed_images(batch.x), towers.embed_captions(batch.y)
        assert torch.allclose(towers.compare(batch.x, batch.y), (images * texts).sum(1), atol=1e-5)
        logits = towers.log_scale.exp() * images @ texts.T
        same = batch.y[:, None] == batch.y
        logits[same & ~torch.eye(16, dtype=torch.bool)] = -torch.inf
        target = torch.arange(16)
        brute = -(logits.log_softmax(1)[target, target] + logits.log_softmax(0)[target, target]) / 2
        assert float(loss(towers, batch, torch.Generator())) == pytest.approx(
            float(brute.mean()), rel=1e-4
        )


def test_a_caption_that_occurs_twice_is_no_negative(digits):
    captions = Captions.make()
    data = make_images(digits.train, captions, 8, 3)
    towers = TwoTowers(build_denoiser(captions, data, 0))
    x, y = scale_images(data), data.y.clone()
    y[1:] = y[0]
    same = compute_contrastive_loss(towers, Batch(x, y), torch.Generator())
    assert float(same.detach()) == pytest.approx(0, abs=1e-6)
