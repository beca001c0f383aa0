"""Do sketches generated for photos without one improve the search of photos by sketch?

More Photos are All You Need (entry semi-sup-sketch-retrieval) on a stand-in: coloured digits as
photos and their bent skeletons as sketches (`benchmarks.sketch_world`), which are images: the
generator is a small convolutional network that draws pixels, where the paper's draws strokes and is
rewarded by the retrieval network and by the discriminator. 200 photos have their sketch; 500 or
2,000 others have none, and get one from: nobody (pairs only, the baseline); an edge filter; a
skeleton of what stands out from the ground, which a person who knew how sketches are made would
write (a strong control); the generator, trained on the 200 pairs; the generator, each pair weighted
by how real a discriminator finds its sketch; the same with distillation from the network trained on
true pairs, which is the paper's; and an oracle, the true sketches. Batches are half true pairs. The
loss is a triplet loss, margin 0.2, the same for all; nothing is tuned.

Score: recall at 1 and at 10 of the very photo that a sketch was drawn from, among 1,000 photos of
digits that no training image shows. Five seeds (0 to 4), paired. `weights` is the weight of a
generated pair relative to its mean: its standard deviation, and its correlation with how much the
generated sketch resembles the true one.
"""

from __future__ import annotations

from typing import Any

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor, nn
from torch.nn import functional

from benchmarks.claims import Claim, make_table
from benchmarks.runner import summarize
from benchmarks.sketch_world import (
    SIDE,
    Images,
    draw_edges,
    draw_skeletons,
    make_photos,
    make_sketches,
    read_instances,
)
from ilk.architectures.cross_domain_towers import CrossDomainTowers
from ilk.architectures.image_translator import ImageTranslator, PatchDiscriminator
from ilk.architectures.two_towers import ImageTower
from ilk.core.errors import Unavailable
from ilk.maths.retrieval import score_similarities
from ilk.training.objectives.cross_domain_triplet import CrossDomainTriplet
from ilk.training.samplers import BalancedSampler
from ilk.training.sources import SampledSource
from ilk.training.trainer import Batch, Recipe, train

ENTRY, FILE = "semi-sup-sketch-retrieval", "training/objectives/cross_domain_triplet.py"
SEEDS, N_PAIRS, SIZES, N_TEST, WIDTH = range(5), 200, (500, 2000), 1000, 64
STEPS, GENERATOR_STEPS, DISCRIMINATOR_STEPS, BATCH_SIZE = 400, 400, 150, 96
PAIRS, EDGES, SKELETONS = "pairs only", "edges as sketches", "skeletons as sketches"
GENERATED, WEIGHTED = "generated", "generated, weighted"
OURS, ORACLE = "generated, weighted, distilled", "true sketches (oracle)"
DEPTHS = (1, 10)
CLAIMS = (
    *(Claim(ENTRY, FILE, OURS, other) for other in (PAIRS, EDGES, SKELETONS, GENERATED, WEIGHTED)),
    Claim(ENTRY, FILE, WEIGHTED, GENERATED),
    Claim(ENTRY, FILE, GENERATED, PAIRS),
)


def run(small: bool = False) -> dict[str, Any]:
    """Return a table per number of photos and depth; `small` trains for seconds."""
    sizes = (40,) if small else SIZES
    scores: dict[tuple[int, int], dict[str, list[float]]] = {
        (size, k): {} for size in sizes for k in DEPTHS
    }
    weights: dict[str, list[float]] = {"standard deviation": [], "correlation with likeness": []}
    try:
        for seed in range(2) if small else SEEDS:
            study = Study(seed, max(sizes), small)
            for size in sizes:
                for name, recalls in study.measure_all(size).items():
                    for k, recall in zip(DEPTHS, recalls, strict=True):
                        scores[size, k].setdefault(name, []).append(recall)
            for name, value in study.describe_weights().items():
                weights[name].append(value)
    except Unavailable as missing:
        return {"tables": [], "left out": [str(missing)]}
    return {
        "tables": [
            make_table(
                f"digits by sketch, {size:,} photos without one", f"recall at {k}", rows, CLAIMS
            )
            for (size, k), rows in scores.items()
        ],
        "weights": {name: summarize(values) for name, values in weights.items()},
        "left out": [],
    }


class Study:
    """Pairs, photos without a sketch, and test pairs of one seed; generator and discriminator."""

    def __init__(self, seed: int, n_photos: int, small: bool) -> None:
        self.seed, rng = seed, np.random.default_rng(seed)
        self.steps, generator_steps, judge_steps = (
            (4, 4, 4) if small else (STEPS, GENERATOR_STEPS, DISCRIMINATOR_STEPS)
        )
        n_pairs, n_test = (20, 50) if small else (N_PAIRS, N_TEST)
        if small:
            digits, test = _draw_rings(n_pairs + n_photos, rng), _draw_rings(n_test, rng)
        else:
            digits = read_instances("train", n_pairs + n_photos, rng)
            test = read_instances("test", n_test, rng)
        photos, sketches = make_photos(digits, rng), make_sketches(digits, rng)
        self.paired = join(photos[:n_pairs], sketches[:n_pairs])
        self.photos, self.true_sketches = photos[n_pairs:], sketches[n_pairs:]
        self.test = join(make_photos(test, rng), make_sketches(test, rng))
        generator = self._train_generator(generator_steps)
        noise = torch.Generator().manual_seed(seed)
        with torch.inference_mode():
            drawn = generator(torch.from_numpy(self.photos), noise)
            self.generated = np.asarray(drawn[:, 0].numpy(), np.float32)
        self.realness = self._judge(judge_steps)
        self.teacher = self.train_towers(None, None, None)

    def _train_generator(self, steps: int) -> ImageTranslator:
        with torch.random.fork_rng(devices=[]):
            torch.manual_seed(self.seed)
            generator = ImageTranslator((3, SIDE, SIDE), 1)
        rows = Batch(self.paired, torch.zeros(len(self.paired), dtype=torch.int64))
        return train(generator, rows, draw_loss, self._make_recipe(steps, 48))

    def _judge(self, steps: int) -> NDArray[np.float64]:
        """Return how real a discriminator finds each generated sketch, in (0, 1)."""
        with torch.random.fork_rng(devices=[]):
            torch.manual_seed(self.seed)
            discriminator = PatchDiscriminator(1)
        made = torch.from_numpy(self.generated)[:, None]
        x = torch.cat([self.paired[:, 3:], made])
        y = torch.cat([torch.ones(len(self.paired)), torch.zeros(len(made))]).long()
        rows = SampledSource(Batch(x, y), BalancedSampler(y))
        trained = train(discriminator, rows, realness_loss, self._make_recipe(steps, 64))
        with torch.inference_mode():
            return np.asarray(trained(made).mean((1, 2)).sigmoid().double().numpy())

    def _make_recipe(self, steps: int, batch_size: int) -> Recipe:
        return Recipe(steps, batch_size, 2e-3, steps // 10, seed=self.seed)

    def train_towers(
        self,
        sketches: Images | None,
        weight: NDArray[np.float64] | None,
        teacher: CrossDomainTowers | None,
    ) -> CrossDomainTowers:
        """Return towers trained on the pairs and on photos with the first `sketches`, if any."""
        with torch.random.fork_rng(devices=[]):
            torch.manual_seed(self.seed)
            towers = CrossDomainTowers(
                ImageTower((3, SIDE, SIDE), WIDTH), ImageTower((1, SIDE, SIDE), WIDTH), 3
            )
        x = self.paired
        if sketches is not None:
            x = torch.cat([x, join(self.photos[: len(sketches)], sketches)])
        given = torch.ones(len(x))
        if weight is not None:
            used = weight[: len(x) - len(self.paired)]
            given[len(self.paired) :] = torch.from_numpy(used / used.mean()).float()
        is_made = (torch.arange(len(x)) >= len(self.paired)).long()
        rows = Batch(x, torch.arange(len(x)), None, given)
        objective = CrossDomainTriplet(teacher=teacher)
        recipe = self._make_recipe(self.steps, BATCH_SIZE)
        return train(towers, SampledSource(rows, BalancedSampler(is_made)), objective, recipe)

    def measure_all(self, size: int) -> dict[str, tuple[float, ...]]:
        """Return the recalls of every arm with `size` photos without a sketch."""
        photos, made = self.photos[:size], self.generated[:size]
        arms = {
            EDGES: (draw_edges(photos), None, None),
            SKELETONS: (draw_skeletons(photos), None, None),
            GENERATED: (made, None, None),
            WEIGHTED: (made, self.realness, None),
            OURS: (made, self.realness, self.teacher),
            ORACLE: (self.true_sketches[:size], None, None),
        }
        results = {PAIRS: self.score(self.teacher)}
        return results | {name: self.score(self.train_towers(*arm)) for name, arm in arms.items()}

    @torch.inference_mode()
    def score(self, towers: CrossDomainTowers) -> tuple[float, ...]:
        """Return recall at 1 and at 10 of the very photo of each test sketch."""
        queries, gallery = towers.eval()(self.test)
        similarity = (queries @ gallery.T).double().numpy()
        own = np.eye(len(similarity), dtype=bool)
        return tuple(map(float, score_similarities(similarity, own, k=DEPTHS).recall.mean(1)))

    def describe_weights(self) -> dict[str, float]:
        """Return the spread of the weights, and their correlation with likeness to the truth."""
        weight = self.realness / self.realness.mean()
        truth = self.true_sketches.reshape(len(weight), -1)
        made = self.generated.reshape(len(weight), -1)
        norms = np.linalg.norm(truth, axis=1) * np.linalg.norm(made, axis=1)
        likeness = (truth * made).sum(1) / np.maximum(norms, 1e-9)
        return {
            "standard deviation": float(weight.std()),
            "correlation with likeness": float(np.corrcoef(weight, likeness)[0, 1]),
        }


def join(photos: Images, sketches: Images) -> Tensor:
    """Return pairs `[n, 4, 28, 28]` of photos `[n, 3, 28, 28]` and sketches `[n, 28, 28]`."""
    return torch.from_numpy(np.concatenate([photos, sketches[:, None]], 1))


def draw_loss(network: nn.Module, batch: Batch, generator: torch.Generator) -> Tensor:
    """Return the cross-entropy of the pixels of a generated sketch."""
    drawn = network(batch.x[:, :3], generator)
    return functional.binary_cross_entropy(drawn, batch.x[:, 3:])


def realness_loss(network: nn.Module, batch: Batch, _generator: torch.Generator) -> Tensor:
    """Return the cross-entropy of real (label 1) against generated sketches, over patches."""
    scores = network(batch.x)
    target = batch.y[:, None, None].expand_as(scores).to(scores.dtype)
    return functional.binary_cross_entropy_with_logits(scores, target)


def _draw_rings(n: int, rng: np.random.Generator) -> Images:
    rows, columns = np.mgrid[:SIDE, :SIDE]
    centre, radius = rng.uniform(10, 18, (2, n, 1, 1)), rng.uniform(4, 8, (n, 1, 1))
    distance = np.hypot(rows - centre[0], columns - centre[1])
    return np.asarray(np.abs(distance - radius) < 1.5, np.float32)
