"""Does a captioner that is tuned for retrieval and captions at once tell apart swapped words?

VladVA (entry vladva-discriminative-lvlm) on a stand-in: no large vision-language model is used or
available. A captioner of some 10^5 weights (image tokens before three causal blocks of width 64) is
pretrained to describe images of two coloured digits (`benchmarks.caption_world`); then four soft
prompts and low-rank terms of rank 4 alone are trained, the same for all arms: by contrast, by next
words, by both, which is the paper's. The embedding is the hidden state of the last prompt.

An image of "a red 3 left of a blue 7" is compared with that caption and with "a blue 3 left of a
red 7": the same words, so that chance is 0.5 and a bag of words cannot do better. Of each such pair
of captions only one, drawn by seed, occurs in training, pretraining included; test images show both
kinds. Baselines in the same table: two towers trained from scratch for retrieval (with 30 times the
weights), whose caption tower knows the order of words, or is a bag of words, which must fail; the
pretrained captioner's own likelihood of both captions, which needs a pass for every pair of image
and caption and gives no embedding. For each arm alike, the learning rate (0.01 or 0.03) and for the
joint loss the weight of the words (0.1 or 1) are chosen by recall on validation images of another
seed. Scores: share of images nearer to their own caption than to the swapped one; recall at 1 among
1,000 pairs, the mean of both directions; and from image to caption where every caption's swapped
version is in the gallery, too. Five seeds (0 to 4), paired.
"""

from __future__ import annotations

import copy
from dataclasses import asdict, dataclass
from typing import Any

import numpy as np
import torch
from torch import Tensor

from benchmarks.caption_world import (
    SHAPE,
    WIDTH,
    WORDS,
    World,
    make_towers,
    measure_recall,
)
from benchmarks.claims import Claim, make_table
from ilk.architectures.captioner import N_IMAGE_TOKENS, Captioner
from ilk.architectures.two_towers import ImageTower, TwoTowers
from ilk.core.errors import Unavailable
from ilk.training.objectives.discriminative_captioning import DiscriminativeCaptioning, word_losses
from ilk.training.objectives.hard_negatives import HardNegatives
from ilk.training.trainer import Recipe, train

ENTRY, FILE = "vladva-discriminative-lvlm", "training/objectives/discriminative_captioning.py"
SEEDS, TUNING_SEED = range(5), 100
PRETRAINING_STEPS, STEPS, TUNING_STEPS, BATCH_SIZE = 500, 400, 200, 96
N_TRAIN, N_TEST, TEMPERATURE = 4000, 1000, 0.1
LEARNING_RATES, WORD_WEIGHTS = (0.01, 0.03), (0.1, 1.0)
OURS, CONTRAST, NEXT_WORDS = "contrast and next words", "contrast alone", "next words alone"
TOWERS, BAG, UNTUNED = "two towers", "two towers, bag of words", "not tuned"
LIKELIHOOD = "captioner's likelihood"
METRICS = (
    "share nearer to the own caption",
    "recall at 1",
    "recall at 1 among swapped captions",
)
RIVALS = (CONTRAST, NEXT_WORDS, TOWERS, BAG)


@dataclass(frozen=True)
class Tuning:
    """Weights of both losses, and the learning rate."""

    contrast: float
    words: float
    lr: float


CANDIDATES = {
    CONTRAST: [Tuning(1, 0, lr) for lr in LEARNING_RATES],
    NEXT_WORDS: [Tuning(0, 1, lr) for lr in LEARNING_RATES],
    OURS: [Tuning(1, w, lr) for w in WORD_WEIGHTS for lr in LEARNING_RATES],
}


def run(small: bool = False) -> dict[str, Any]:
    """Return a table per score; `small` trains for seconds."""
    scores: list[dict[str, list[float]]] = [{} for _ in METRICS]
    try:
        tunings = {name: c[0] for name, c in CANDIDATES.items()} if small else choose_tunings()
        for seed in range(2) if small else SEEDS:
            study = Study(seed, small)
            for name, values in study.measure_all(tunings).items():
                for table, value in zip(scores, values, strict=False):  # the likelihood has one
                    table.setdefault(name, []).append(value)
    except Unavailable as missing:
        return {"tables": [], "left out": [str(missing)]}
    claims = [Claim(ENTRY, FILE, OURS, other) for other in RIVALS]
    likelihood = Claim(ENTRY, FILE, OURS, LIKELIHOOD)
    return {
        "tables": [
            make_table(
                "pairs of digits, colours swapped",
                metric,
                table,
                [*claims, likelihood] if LIKELIHOOD in table else claims,
            )
            for metric, table in zip(METRICS, scores, strict=True)
        ],
        "chosen": {name: asdict(tuning) for name, tuning in tunings.items()},
        "trainable weights": study.n_trainable,
        "left out": [],
    }


def choose_tunings() -> dict[str, Tuning]:
    """Return the tuning of each arm that has the highest recall on validation images."""
    study = Study(TUNING_SEED, small=False, is_validation=True)
    study.steps = TUNING_STEPS
    return {
        name: max(candidates, key=lambda c: study.score(study.tune_captioner(c))[1])
        for name, candidates in CANDIDATES.items()
    }


class Study:
    """The pretrained captioner of one seed, its training images and its test images."""

    def __init__(self, seed: int, small: bool, is_validation: bool = False) -> None:
        self.world, self.seed = World(4 if small else 10), seed
        part, n, n_test = ("digits", 300, 100) if small else ("train", N_TRAIN, N_TEST)
        other = part if small or is_validation else "test"
        rows = self.world.make_images(2 * n, seed, part)
        kept = draw_one_of_each_pair(self.world, seed)[rows.y]
        self.rows = rows.take(torch.nonzero(kept)[:, 0], "cpu")
        self.test = self.world.make_images(n_test, 10_000 + seed, other)
        self.swapped = self.world.swap_colours(self.test.y)
        self.steps, self.first_steps = (10, 10) if small else (STEPS, PRETRAINING_STEPS)
        with torch.random.fork_rng(devices=[]):
            torch.manual_seed(seed)
            stem = ImageTower(SHAPE, N_IMAGE_TOKENS * WIDTH)
            captioner = Captioner(stem, self.world.write_captions(), len(WORDS), WIDTH)
        recipe = Recipe(self.first_steps, BATCH_SIZE, 2e-3, self.first_steps // 10, seed=seed)
        words = DiscriminativeCaptioning(0, 1, through_summary=False)
        self.captioner = train(captioner, self.rows, words, recipe)
        self.n_trainable = {
            OURS: count_trainable(self.start_tuning()),
            TOWERS: count_trainable(make_towers(self.world, seed)),
        }

    def start_tuning(self) -> Captioner:
        """Return a copy of the captioner whose prompts and low-rank terms are trainable."""
        captioner = copy.deepcopy(self.captioner)
        captioner.set_stage("tuning")
        return captioner

    def tune_captioner(self, tuning: Tuning) -> Captioner:
        """Return the captioner with tuned prompts and low-rank terms."""
        objective = DiscriminativeCaptioning(tuning.contrast, tuning.words, TEMPERATURE)
        recipe = Recipe(self.steps, BATCH_SIZE, tuning.lr, self.steps // 10, seed=self.seed)
        return train(self.start_tuning(), self.rows, objective, recipe)

    def train_towers(self, knows_order: bool) -> TwoTowers:
        """Return two towers trained from scratch for as many updates as captioner and tuning."""
        towers = make_towers(self.world, self.seed, knows_order)
        steps = self.steps + self.first_steps
        recipe = Recipe(steps, BATCH_SIZE, 2e-3, steps // 10, seed=self.seed)
        objective = HardNegatives(None, None, TEMPERATURE, drops_equal=True)
        return train(towers, self.rows, objective, recipe)

    def measure_all(self, tunings: dict[str, Tuning]) -> dict[str, tuple[float, ...]]:
        """Return the scores of every arm; the likelihood has the first one alone."""
        return {
            UNTUNED: self.score(self.captioner),
            **{name: self.score(self.tune_captioner(t)) for name, t in tunings.items()},
            TOWERS: self.score(self.train_towers(True)),
            BAG: self.score(self.train_towers(False)),
            LIKELIHOOD: (self.compare_likelihoods(),),
        }

    @torch.inference_mode()
    def score(self, network: Captioner | TwoTowers) -> tuple[float, ...]:
        """Return the share nearer to the own caption, ties counted half, and both recalls."""
        y = self.test.y
        images = network.embed_images(self.test.x)
        own, swapped = network.embed_captions(y), network.embed_captions(self.swapped)
        cosines, others = images @ own.T, images @ swapped.T
        recall = (measure_recall(cosines, y) + measure_recall(cosines.T, y)) / 2
        # Of equal cosines the first is taken, and swapped captions come first.
        top = torch.cat([others, cosines], 1).argmax(1)
        among_all = (torch.cat([self.swapped, y])[top] == y).double().mean()
        return count_nearer(cosines.diagonal() - others.diagonal()), recall, float(among_all)

    @torch.inference_mode()
    def compare_likelihoods(self) -> float:
        """Return the share of images whose own caption is the likelier one for the captioner."""
        losses = []
        for labels in (self.test.y, self.swapped):
            logits = self.captioner.compute_word_logits(self.test.x, labels, False)
            losses.append(word_losses(logits, self.captioner.captions[labels]))
        return count_nearer(losses[1] - losses[0])


def draw_one_of_each_pair(world: World, seed: int) -> Tensor:
    """Return which meanings occur in training, `[m]` bool: one of each pair of swapped colours."""
    every = torch.arange(len(world.table))
    swapped = world.swap_colours(every)
    value = torch.from_numpy(np.random.default_rng(seed).random(len(every)))
    return value > value[swapped]


def count_nearer(difference: Tensor) -> float:
    """Return the share of differences above 0; those that are rounding errors count half."""
    is_tied = difference.abs() < 1e-6
    return float(((difference > 0) & ~is_tied).double().mean() + is_tied.double().mean() / 2)


def count_trainable(network: torch.nn.Module) -> int:
    """Return the number of trainable weights."""
    return sum(p.numel() for p in network.parameters() if p.requires_grad)
