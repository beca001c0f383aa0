"""Who trains, who stops and who judges, and what a difference between two networks is worth."""

from __future__ import annotations

from dataclasses import replace

import numpy as np
import pytest
import torch

import ilk
from helpers.striped_images import PREPROCESS, write_network, write_stripes
from ilk.core.errors import InputError
from ilk.encoders import resolve_encoder
from ilk.finetuning.base import open_splitter
from ilk.finetuning.config import FinetuneConfig
from ilk.finetuning.division import divide
from ilk.finetuning.frozen_encoder import open_frozen
from ilk.finetuning.judge import Answers, judge_logits
from ilk.finetuning.result import Candidate, compare_candidates
from ilk.finetuning.tunable import Normalizer
from ilk.maths.clusters import compare_means
from ilk.training.batch import Batch


@pytest.fixture(scope="module")
def images(tmp_path_factory):
    return ilk.read(str(write_stripes(tmp_path_factory.mktemp("stripes") / "d", per_class=40)))


def list_parts(division):
    return [set(p.tolist()) for p in (division.train, division.validation, division.held_out)]


@pytest.mark.parametrize("hold_out", [None, 0.2, 0.5])
def test_each_image_has_one_part(images, hold_out):
    division = divide(images, hold_out, 0)
    parts = list_parts(division)
    assert sum(map(len, parts)) == len(set().union(*parts)) == len(division.rows) == 80
    assert set(division.known.tolist()) == parts[0] | parts[1]
    assert len(parts[2]) == round(80 * (hold_out or 1 / 3)) or hold_out is None
    assert len(parts[1]) == pytest.approx((80 - len(parts[2])) / 5, abs=2)
    for part in parts:
        assert set(division.y[sorted(part)].tolist()) == {0, 1}


def test_by_default_enough_images_are_held_out_for_a_fit(tmp_path):
    many = ilk.read(str(write_stripes(tmp_path / "d", per_class=120)))  # a fifth is 48
    assert len(divide(many, None, 0).held_out) == 60


def test_nothing_is_held_out_where_that_is_asked_for(images):
    parts = list_parts(divide(images, 0.0, 0))
    assert [len(p) for p in parts] == [64, 16, 0]


@pytest.mark.parametrize("seed", range(4))
def test_no_group_is_on_two_sides(images, seed):
    rows = tuple(replace(row, group=f"g{i // 4}") for i, row in enumerate(images.rows))
    division = divide(replace(images, rows=rows), 0.3, seed)
    groups = [{division.rows[i].group for i in part} for part in list_parts(division)]
    assert all(groups)
    assert sum(map(len, groups)) == len(set().union(*groups)) == 20


def test_the_seed_decides(images):
    first, again, other = (list_parts(divide(images, 0.3, seed)) for seed in (0, 0, 1))
    assert first == again != other


def test_the_first_training_images_are_a_sample_of_all_classes(images):
    """The measure fits a head to the first ones alone."""
    division = divide(images, 0.2, 0)
    assert set(division.y[division.train[:20]].tolist()) == {0, 1}
    assert sorted(division.train.tolist()) != division.train.tolist()


def test_a_class_of_which_nothing_is_left_to_train_on_is_named(images):
    """The largest group is dealt first, to the images held out."""
    rows = tuple(
        replace(r, label="rare", group="one patient") if i < 10 else r
        for i, r in enumerate(images.rows)
    )
    with pytest.raises(InputError, match="none of 'rare' would be left to train on"):
        divide(replace(images, rows=rows), 0.3, 0)


def make_candidate(values, right=None):
    right = np.ones(len(values), bool) if right is None else np.array(right, bool)
    answers = Answers(right, np.array(values, float))
    return Candidate("x", answers, answers, is_changed=True)


def test_a_difference_is_the_tuned_minus_the_frozen():
    rng = np.random.default_rng(0)
    frozen = -rng.uniform(0.5, 1.0, 60)
    own = np.full(60, -1)
    better = compare_candidates(make_candidate(frozen + 0.1), make_candidate(frozen), own)
    worse = compare_candidates(make_candidate(frozen - 0.1), make_candidate(frozen), own)
    assert better.log_probability.value == pytest.approx(0.1)
    assert better.is_gain
    assert not worse.is_gain
    assert "-0.100 in log loss" in better.describe()
    right = [0] * 20 + [1] * 40
    surer = make_candidate(frozen + 0.1, right)
    assert not compare_candidates(surer, make_candidate(frozen), own).is_gain  # more are wrong
    accurate = compare_candidates(make_candidate(frozen), make_candidate(frozen, right), own)
    assert accurate.is_gain
    assert accurate.accuracy.value == pytest.approx(1 / 3)


def test_images_of_a_group_count_as_one():
    """Ten copies of an image say no more than the image."""
    rng = np.random.default_rng(0)
    values = rng.normal(0.1, 1, 50)
    alone = compare_means(values, np.zeros(50), np.full(50, -1))
    copied = compare_means(np.repeat(values, 10), np.zeros(500), np.repeat(np.arange(50), 10))
    apart = compare_means(np.repeat(values, 10), np.zeros(500), np.full(500, -1))
    assert copied.high - copied.low == pytest.approx(alone.high - alone.low, rel=0.05)
    assert apart.high - apart.low < 0.5 * (alone.high - alone.low)
    assert alone.high - alone.low == pytest.approx(2 * 1.96 * values.std() / np.sqrt(50), rel=0.05)


def test_the_temperature_of_a_head_does_not_count():
    rng = np.random.default_rng(0)
    y = rng.integers(0, 3, 200)
    logits = rng.normal(size=(200, 3)) + 1.5 * np.eye(3)[y]
    plain, sharp = judge_logits(logits, y), judge_logits(20 * logits, y)
    assert plain.score == pytest.approx(sharp.score, abs=1e-3)
    assert np.array_equal(plain.is_correct, logits.argmax(1) == y)


def test_a_few_images_that_are_all_right_make_no_answer_certain():
    y = np.arange(8) % 2
    logits = 20 * np.eye(2)[y]
    answers = judge_logits(logits, y)
    assert (answers.log_probability < np.log(0.96)).all()  # (m + 1) / (m + 2) of 8 at most
    assert judge_logits(logits, y).score == pytest.approx(judge_logits(9 * logits, y).score)


def test_no_image_calibrates_itself():
    rng = np.random.default_rng(0)
    y = rng.integers(0, 3, 40)
    logits = rng.normal(size=(40, 3)) + 2 * np.eye(3)[y]
    groups = np.arange(40) // 4
    before = judge_logits(logits, y, groups).log_probability
    changed = logits.copy()
    changed[0] = -5 * changed[0]
    after = judge_logits(changed, y, groups).log_probability
    same = before == after
    assert same[1:4].all()  # of its group, and so of its fold
    assert not same[4:].all()


@pytest.mark.parametrize("factor", [None, 1.0, 1 / 128])
def test_pixels_are_normalized_as_by_the_encoder(factor):
    preprocess = replace(PREPROCESS, mean=(0.1, 0.2, 0.3), std=(0.5, 0.6, 0.7), factor=factor)
    pixels = np.random.default_rng(0).integers(0, 256, (2, 3, 16, 16)).astype(np.uint8)
    ours = Normalizer(preprocess)(torch.from_numpy(pixels)).numpy()
    np.testing.assert_allclose(ours, preprocess.normalize(pixels), rtol=1e-5, atol=1e-6)


def test_the_second_view_is_that_of_the_mirror_image(tmp_path):
    from helpers.noise_images import noise

    base = resolve_encoder(write_network(tmp_path / "n"), runtime="torch", device="cpu")
    split = open_splitter(base).split(1)
    plain = open_frozen(base, split)
    mirrored = plain.mirror()
    assert plain.space.key != mirrored.space.key
    assert plain.space.key != open_frozen(base, split, "LoRA").space.key
    assert plain.space.key != open_frozen(base, open_splitter(base).split(2)).space.key
    image = noise(20, 20, 0)
    flipped = image.transpose(0)  # left to right
    np.testing.assert_array_equal(mirrored.prepare(image), plain.prepare(flipped))


def test_a_view_is_drawn_for_each_row():
    from ilk.finetuning.training_rows import pick_view

    n = 200
    x = torch.stack([torch.arange(n), torch.arange(n) + 1000], 1)[..., None].float()
    drawn = pick_view(Batch(x, torch.zeros(n, dtype=torch.long)), torch.Generator().manual_seed(0))
    views = (drawn.x[:, 0] >= 1000).long()
    assert torch.equal(drawn.x[:, 0] % 1000, torch.arange(n).float())
    assert 0.3 < views.float().mean() < 0.7


def test_settings_of_variants():
    config = FinetuneConfig(("1", "all"), ("LoRA(rank=2)",))
    assert [(v.layers, v.wrapper) for v in config.variants] == [
        ("1", "LoRA(rank=2)"),
        ("all", "LoRA(rank=2)"),
    ]
    assert [v.layers for v in FinetuneConfig().variants] == ["2"]
    assert [v.layers for v in FinetuneConfig(wrappers=("LoRA",)).variants] == ["all"]
    assert FinetuneConfig(updates=7).count_updates(10**6) == 7
    assert [FinetuneConfig().count_updates(n) for n in (10, 1600, 10**6)] == [40, 200, 600]


def test_only_images_that_could_be_used_count_as_unlabelled(images):
    rows = [replace(row, path=f"x{row.path}", label=None) for row in images.rows[:5]]
    rows[0] = replace(rows[0], status="refused", reason="empty")
    division = divide(replace(images, rows=(*images.rows, *rows)), 0.2, 0)
    assert division.n_unlabelled == 4
    assert len(division.rows) == 80
