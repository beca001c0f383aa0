"""Do day images that a small network turned into night teach an embedding to see by night?

Dark Side Augmentation (entry dark-side-augmentation) on a stand-in: characters of Omniglot rendered
by day and by night (`benchmarks.night_world`) instead of landmarks, a small network instead of
VGG-16. An embedding is trained on 2,420 labelled day images; 300 night images of other drawings
have no labels and no day counterpart. Anchors, 600 of the day images, meet a day image of their
class as positive; with probability 0.25 the anchor is shown by night, as made by: nobody (the
baseline); a gamma and a factor drawn by hand; the histogram of a random night image; a generator
trained on day and night images, without and with the term that keeps edges, which is the paper's;
and an oracle, the true renderer. Another baseline equalizes all images adaptively, tests included,
as the paper's pipeline does. Anchors are random; with the paper's generator they are also diverse
(between the 20 % and the 80 % quantile of similarity to those chosen) and hard (farthest from the
mean of their class). Loss: contrastive, margin 0.5, the same for all; nothing is tuned.

Score: mean average precision over characters that no training image shows (156 of them, other
alphabets): night queries among day images of other drawings, and day queries among the same. Five
seeds (0 to 4) of rendering, generators, anchors and embeddings, paired.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass, replace
from typing import Any

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

from benchmarks.claims import Claim, make_table
from benchmarks.night_world import (
    SIDE,
    Images,
    darken,
    equalize_adaptively,
    match_histograms,
    read_ink,
    render_day,
    render_night,
)
from ilk.architectures.image_translator import ImageTranslator
from ilk.architectures.two_towers import ImageTower
from ilk.core.errors import Unavailable
from ilk.core.linear_models import normalize_rows
from ilk.maths.diverse_anchors import choose_diverse
from ilk.maths.retrieval import average_precision
from ilk.training.objective import augment_objective
from ilk.training.objectives.contrastive_pairs import ContrastivePairs
from ilk.training.objectives.unpaired_translation import UnpairedTranslation
from ilk.training.optimizers import AdamW
from ilk.training.samplers import BalancedSampler
from ilk.training.sources import SampledSource
from ilk.training.trainer import Augmentation, Batch, Recipe, train

ENTRY, FILE = "dark-side-augmentation", "training/objectives/unpaired_translation.py"
ANCHOR_FILE = "maths/diverse_anchors.py"
SEEDS, N_NIGHT, N_ANCHORS, WIDTH, PROBABILITY = range(5), 300, 600, 64, 0.25
STEPS, GENERATOR_STEPS, EDGES = 400, 900, 5.0
NONE, OURS, NO_EDGES = "day alone", "generated night", "generated night, no edges"
GAMMA, HISTOGRAM, EQUALIZED = "darkened by hand", "histogram of night", "equalized, day alone"
ORACLE = "true night (oracle)"
DIVERSE, HARD = "generated night, diverse anchors", "generated night, hard anchors"
CONDITIONS = ("night queries", "day queries")
CLAIMS = (
    *(Claim(ENTRY, FILE, OURS, other) for other in (NONE, GAMMA, HISTOGRAM, EQUALIZED, NO_EDGES)),
    Claim(ENTRY, ANCHOR_FILE, DIVERSE, OURS),
    Claim(ENTRY, ANCHOR_FILE, DIVERSE, HARD),
)


def run(small: bool = False) -> dict[str, Any]:
    """Return a table for night and one for day queries; `small` trains for seconds."""
    scores: dict[str, dict[str, list[float]]] = {c: {} for c in CONDITIONS}
    try:
        for seed in range(2) if small else SEEDS:
            study = Study(seed, small)
            for name, both in study.measure_all().items():
                for condition, value in zip(CONDITIONS, both, strict=True):
                    scores[condition].setdefault(name, []).append(value)
    except Unavailable as missing:
        return {"tables": [], "left out": [str(missing)]}
    return {
        "tables": [
            make_table(f"Omniglot by day, {name}", "mean average precision", rows, CLAIMS)
            for name, rows in scores.items()
        ],
        "left out": [],
    }


@dataclass(frozen=True, eq=False)
class Rows:
    """Images `[n, 28, 28]` and their characters `[n]`."""

    x: Images
    y: NDArray[np.int64]


class Study:
    """Day and night images of one seed."""

    def __init__(self, seed: int, small: bool) -> None:
        self.seed, rng = seed, np.random.default_rng(seed)
        self.steps, self.generator_steps = (4, 4) if small else (STEPS, GENERATOR_STEPS)
        if small:  # characters are rows of random strokes
            ink, y = _draw_bars(80, rng), np.arange(80) // 8
            test_ink, test_y, n_night, self.n_anchors = (
                _draw_bars(40, rng),
                np.arange(40) // 4,
                8,
                30,
            )
        else:
            (ink, y), (test_ink, test_y) = read_ink(1), read_ink(2)
            n_night, self.n_anchors = N_NIGHT, N_ANCHORS
        order = rng.permutation(len(y))
        unlabelled, labelled = order[:n_night], order[n_night:]
        self.day = Rows(render_day(ink[labelled], rng), y[labelled])
        self.night = render_night(render_day(ink[unlabelled], rng), rng)
        self.true_night = render_night(self.day.x, rng)
        is_query = np.zeros(len(test_y), bool)
        for c in np.unique(test_y):
            rows = rng.permutation(np.flatnonzero(test_y == c))
            is_query[rows[: len(rows) // 2]] = True
        day = render_day(test_ink, rng)
        self.gallery = Rows(day[~is_query], test_y[~is_query])
        self.queries = Rows(day[is_query], test_y[is_query])
        self.night_queries = replace(self.queries, x=render_night(self.queries.x, rng))

    def measure_all(self) -> dict[str, tuple[float, float]]:
        """Return both scores of every arm."""
        rng = np.random.default_rng([self.seed, 1])
        random = rng.permutation(len(self.day.y))[: self.n_anchors]
        network = self.train_embedding(random, None)
        generated = self.generate(EDGES)
        arms = {
            GAMMA: darken(self.day.x, rng),
            HISTOGRAM: match_histograms(self.day.x, self.night, rng),
            NO_EDGES: self.generate(0.0),
            OURS: generated,
            ORACLE: self.true_night,
        }
        results = {NONE: self.score(network)}
        results[EQUALIZED] = self.score(
            self.train_embedding(random, None, equalize_adaptively), equalize_adaptively
        )
        for name, images in arms.items():
            results[name] = self.score(self.train_embedding(random, images))
        for name, anchors in self.mine_anchors(network, rng).items():
            results[name] = self.score(self.train_embedding(anchors, generated))
        return results

    def mine_anchors(self, network: ImageTower, rng: np.random.Generator) -> dict[str, Any]:
        """Return diverse and hard anchors by the embedding that was trained by day."""
        z = normalize_rows(embed(network, self.day.x))
        means = np.stack([z[self.day.y == c].mean(0) for c in range(self.day.y.max() + 1)])
        similarity = (z * normalize_rows(means)[self.day.y]).sum(1)
        return {
            DIVERSE: choose_diverse(z, self.n_anchors, rng),
            HARD: np.argsort(similarity, kind="stable")[: self.n_anchors],
        }

    def generate(self, edges: float) -> Images:
        """Return the training images by night as a generator makes them."""
        with torch.random.fork_rng(devices=[]):
            torch.manual_seed(self.seed)
            translator = ImageTranslator((1, SIDE, SIDE))
        x = torch.from_numpy(np.concatenate([self.day.x, self.night]))[:, None]
        style = torch.cat([torch.zeros(len(self.day.y)), torch.ones(len(self.night))]).long()
        source = SampledSource(Batch(x, style), BalancedSampler(style))
        recipe = Recipe(
            *(self.generator_steps, 48, 3e-3, self.generator_steps // 20, 0.0),
            seed=self.seed,
            optimizer=AdamW((0.5, 0.999)),
        )
        trained = train(translator, source, UnpairedTranslation(edges, self.seed), recipe)
        generator = torch.Generator().manual_seed(self.seed)
        with torch.inference_mode():
            parts = [trained(part, generator) for part in torch.split(x[: len(self.day.y)], 500)]
        return np.asarray(torch.cat(parts)[:, 0].numpy(), np.float32)

    def train_embedding(
        self,
        anchors: NDArray[np.int64],
        night: Images | None,
        prepare: Callable[[Images], Images] | None = None,
    ) -> ImageTower:
        """Return an embedding trained on anchors, which are shown by night now and then."""
        with torch.random.fork_rng(devices=[]):
            torch.manual_seed(self.seed)
            network = ImageTower((1, SIDE, SIDE), WIDTH)
        day = torch.from_numpy(self.day.x if prepare is None else prepare(self.day.x))[:, None]
        y, rows = torch.from_numpy(self.day.y), torch.from_numpy(anchors)
        data = Batch(day[rows], y[rows], rows)
        dark = None if night is None else torch.from_numpy(night)[:, None]
        objective = augment_objective(ContrastivePairs(), add_positives(day, y, dark))
        recipe = Recipe(self.steps, 64, 2e-3, self.steps // 10, seed=self.seed)
        return train(network, data, objective, recipe)

    def score(
        self, network: ImageTower, prepare: Callable[[Images], Images] | None = None
    ) -> tuple[float, float]:
        """Return the mean average precision of night and of day queries."""
        keep = (lambda x: x) if prepare is None else prepare
        gallery = normalize_rows(embed(network, keep(self.gallery.x)))
        results = []
        for queries in (self.night_queries, self.queries):
            similarity = normalize_rows(embed(network, keep(queries.x))) @ gallery.T
            relevant = queries.y[:, None] == self.gallery.y
            results.append(float(np.mean(average_precision(similarity, relevant))))
        return results[0], results[1]


def add_positives(day: Tensor, y: Tensor, night: Tensor | None) -> Augmentation:
    """Return what adds to every anchor a random day image of its class, and darkens anchors.

    Args:
        day: All day images, `[n, 1, h, w]`; `Batch.indices` are rows of it.
        y: Their classes, `[n]`.
        night: The same images by night, shown with `PROBABILITY`; None shows day alone.
    """

    def augment(batch: Batch, generator: torch.Generator) -> Batch:
        assert batch.indices is not None
        draws = torch.rand(len(batch), len(y), generator=generator)
        is_other = torch.arange(len(y)) != batch.indices[:, None]
        draws = draws + 2.0 * ((batch.y[:, None] == y) & is_other)  # others of the class win
        positives = draws.argmax(1)
        x = batch.x
        if night is not None:
            is_dark = torch.rand(len(batch), generator=generator) < PROBABILITY
            x = torch.where(is_dark[:, None, None, None], night[batch.indices], x)
        return Batch(torch.cat([x, day[positives]]), torch.cat([batch.y, y[positives]]))

    return augment


@torch.inference_mode()
def embed(network: ImageTower, x: Images) -> NDArray[np.float64]:
    """Return embeddings `[n, 64]` of images `[n, 28, 28]`."""
    parts = [network(part[:, None]) for part in torch.split(torch.from_numpy(x), 500)]
    return np.asarray(torch.cat(parts).numpy(), np.float64)


def _draw_bars(n: int, rng: np.random.Generator) -> Images:
    ink = np.zeros((n, SIDE, SIDE), np.float32)
    for image in ink:
        row, column = rng.integers(4, SIDE - 8, 2)
        image[row : row + 3, 4:-4] = 1
        image[4:-4, column : column + 3] = 1
    return ink
