"""Does a diffusion head over the candidates re-rank image-text retrieval better than a plain one?

DiffusionRet (entry diffusionret) on a stand-in: no video and no large image-text model; two small
towers for images of two coloured digits and their captions (`benchmarks.caption_world`), trained by
InfoNCE and frozen. A head, trained on their embeddings alone, then re-ranks the 32 images most
similar to a caption: its distribution, times a factor, is added to the cosine. The arms: the cosine
alone; the diffusion head (ten deterministic steps, the mean of five draws of noise, and with one
draw); and the same network with neither the noisy distribution nor its level, which is a re-ranker
by cross-attention, trained with the same cross-entropy on the same candidates: the honest control.
Towers trained for as many more updates as a head takes are the control of equal training.

The factor (0.01, 0.03, 0.1, 0.3 or 1) is chosen for every head alike on validation images of the
seed. The score is recall at 1 from caption to image, on 1,000 test pairs as in training, with
captions of another style (other order, a new word), and with images on a grey instead of a black
ground. `cost` is the time per query of scoring and re-ranking, relative to the cosine of 1,000
images. `spread between draws` is the largest difference in recall between five single draws of
noise. Five seeds (0 to 4), paired.
"""

from __future__ import annotations

import time
from typing import Any

import torch
from torch import Tensor

from benchmarks.caption_world import GREY_GROUND, SHAPE, WIDTH, World, make_towers, measure_recall
from benchmarks.claims import Claim, make_table
from benchmarks.runner import summarize
from ilk.architectures.candidate_denoiser import CandidateDenoiser
from ilk.architectures.two_towers import TwoTowers
from ilk.core.errors import Unavailable
from ilk.training.objectives.candidate_diffusion import CandidateDiffusion
from ilk.training.objectives.hard_negatives import HardNegatives
from ilk.training.trainer import Batch, Recipe, train

ENTRY, FILE = "diffusionret", "training/objectives/candidate_diffusion.py"
SEEDS, STEPS, HEAD_STEPS, BATCH_SIZE = range(5), 600, 600, 128
N_TRAIN, N_TEST, N_CANDIDATES, TEMPERATURE = 4000, 1000, 32, 0.1
FACTORS, N_DRAWS = (0.01, 0.03, 0.1, 0.3, 1.0), 5
COSINE, LONGER = "cosine", "cosine, trained longer"
PLAIN, OURS, ONE_DRAW = "cross-attention re-ranker", "diffusion head", "diffusion head, one draw"
CLAIMS = [Claim(ENTRY, FILE, OURS, other) for other in (COSINE, LONGER, PLAIN)]
CONDITIONS = ("as in training", "captions of another style", "images on a grey ground")


def run(small: bool = False) -> dict[str, Any]:
    """Return a table per condition; `small` trains for seconds."""
    scores: dict[str, dict[str, list[float]]] = {c: {} for c in CONDITIONS}
    costs: dict[str, list[float]] = {}
    spreads: dict[str, list[float]] = {c: [] for c in CONDITIONS}
    factors: dict[str, list[float]] = {}
    try:
        for seed in range(2) if small else SEEDS:
            study = Study(seed, small)
            for condition in CONDITIONS:
                for name, recall in study.measure(condition).items():
                    scores[condition].setdefault(name, []).append(recall)
                spreads[condition].append(study.measure_spread(condition))
            for name, factor in study.factors.items():
                factors.setdefault(name, []).append(factor)
            for name, cost in study.measure_costs().items():
                costs.setdefault(name, []).append(cost)
    except Unavailable as missing:
        return {"tables": [], "left out": [str(missing)]}
    tables = [
        make_table(f"pairs of digits, {name}", "recall at 1", rows, CLAIMS)
        for name, rows in scores.items()
    ]
    return {
        "tables": tables,
        "cost": {name: summarize(values) for name, values in costs.items()},
        "spread between draws": {name: summarize(values) for name, values in spreads.items()},
        "factors": factors,
        "left out": [],
    }


class Study:
    """The networks of one seed and its test pairs."""

    def __init__(self, seed: int, small: bool) -> None:
        world = World(4 if small else 10)
        self.parts = ("digits", "digits") if small else ("train", "test")
        n, self.n_test = (96, 40) if small else (N_TRAIN, N_TEST)
        self.world, self.seed = world, seed
        steps, head_steps = (2, 2) if small else (STEPS, HEAD_STEPS)
        rows = world.make_images(n, seed, self.parts[0])
        self.towers = self.train_towers(rows, steps)
        self.longer = self.train_towers(rows, steps + head_steps)
        fresh = world.make_images(n, 2_000 + seed, self.parts[0])  # heads see other pairs
        self.heads = {
            PLAIN: self.train_head(fresh, False, head_steps),
            OURS: self.train_head(fresh, True, head_steps),
        }
        validation = world.make_images(self.n_test, 5_000 + seed, self.parts[0])
        self.factors = {name: self.choose_factor(name, validation) for name in self.heads}

    def train_towers(self, rows: Batch, steps: int) -> TwoTowers:
        towers = make_towers(self.world, self.seed)
        recipe = Recipe(steps, BATCH_SIZE, 2e-3, steps // 10, seed=self.seed)
        return train(towers, rows, HardNegatives(None, None, TEMPERATURE), recipe)

    def train_head(self, rows: Batch, reads_noise: bool, steps: int) -> CandidateDenoiser:
        with torch.random.fork_rng(devices=[]):
            torch.manual_seed(self.seed)
            head = CandidateDenoiser(WIDTH, reads_noise=reads_noise)
        captions, images = embed(self.towers, rows)
        pairs = Batch(torch.cat([captions, images], 1), rows.y)
        recipe = Recipe(steps, BATCH_SIZE, 2e-3, steps // 10, seed=self.seed)
        return train(head, pairs, CandidateDiffusion(N_CANDIDATES), recipe)

    def choose_factor(self, name: str, validation: Batch) -> float:
        captions, images = embed(self.towers, validation)
        cosines = captions @ images.T
        chosen, p = self.rerank(self.heads[name], captions, images, range(N_DRAWS))
        recalls = {
            f: measure_recall(add_to_cosines(cosines, chosen, p, f), validation.y) for f in FACTORS
        }
        return max(recalls, key=lambda f: recalls[f])

    def make_test(self, condition: str) -> tuple[Tensor, Tensor, Tensor, Tensor, Tensor]:
        """Return captions and images as embedded by both pairs of towers, and what they show."""
        ground = GREY_GROUND if condition == CONDITIONS[2] else 0.0
        test = self.world.make_images(self.n_test, 10_000 + self.seed, self.parts[1], ground)
        style = int(condition == CONDITIONS[1])
        words = self.world.write_captions(style)
        return (*embed(self.towers, test, words), *embed(self.longer, test, words), test.y)

    def measure(self, condition: str) -> dict[str, float]:
        """Return the recall of every arm."""
        captions, images, other_captions, other_images, y = self.make_test(condition)
        cosines = captions @ images.T
        recalls = {
            COSINE: measure_recall(cosines, y),
            LONGER: measure_recall(other_captions @ other_images.T, y),
        }
        for name, draws in ((PLAIN, 1), (OURS, N_DRAWS), (ONE_DRAW, 1)):
            kind = PLAIN if name == PLAIN else OURS
            chosen, p = self.rerank(self.heads[kind], captions, images, range(draws))
            total = add_to_cosines(cosines, chosen, p, self.factors[kind])
            recalls[name] = measure_recall(total, y)
        return recalls

    def measure_spread(self, condition: str) -> float:
        """Return the largest difference in recall between single draws of noise."""
        captions, images, _, _, y = self.make_test(condition)
        recalls = []
        for draw in range(N_DRAWS):
            chosen, p = self.rerank(self.heads[OURS], captions, images, range(draw, draw + 1))
            total = add_to_cosines(captions @ images.T, chosen, p, self.factors[OURS])
            recalls.append(measure_recall(total, y))
        return max(recalls) - min(recalls)

    def rerank(
        self, head: CandidateDenoiser, captions: Tensor, images: Tensor, draws: range
    ) -> tuple[Tensor, Tensor]:
        """Return the candidates of each caption `[n, 32]` and their mean probability over draws."""
        chosen = (captions @ images.T).topk(min(N_CANDIDATES, len(images)), dim=1).indices
        samples = [
            head.sample(captions, images[chosen], torch.Generator().manual_seed(1000 + draw))
            for draw in draws
        ]
        return chosen, torch.stack(samples).mean(0)

    def measure_costs(self) -> dict[str, float]:
        """Return the time of ranking relative to the cosine alone, the least of five."""
        captions, images, *_ = self.make_test(CONDITIONS[0])
        seconds = {
            COSINE: _time(lambda: (captions @ images.T).topk(N_CANDIDATES, dim=1)),
            PLAIN: _time(lambda: self.rerank(self.heads[PLAIN], captions, images, range(1))),
            ONE_DRAW: _time(lambda: self.rerank(self.heads[OURS], captions, images, range(1))),
            OURS: _time(lambda: self.rerank(self.heads[OURS], captions, images, range(N_DRAWS))),
        }
        return {name: value / seconds[COSINE] for name, value in seconds.items()}


def _time(work: Any) -> float:
    times = []
    for _ in range(5):
        start = time.perf_counter()
        work()
        times.append(time.perf_counter() - start)
    return min(times)


@torch.no_grad()
def embed(towers: TwoTowers, rows: Batch, words: Tensor | None = None) -> tuple[Tensor, Tensor]:
    """Return unit vectors of captions and images, `[n, 64]` each; `words` are other captions."""
    tokens = towers.captions if words is None else words
    captions = torch.nn.functional.normalize(towers.caption_tower(tokens[rows.y]), dim=1)
    return captions, towers.embed_images(rows.x.reshape(-1, *SHAPE))


def add_to_cosines(cosines: Tensor, chosen: Tensor, p: Tensor, factor: float) -> Tensor:
    """Return cosines `[n, m]`, with `factor p [n, c]` added to the candidates `chosen [n, c]`."""
    return cosines.scatter_add(1, chosen, factor * p)
