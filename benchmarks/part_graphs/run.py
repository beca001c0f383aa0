"""Does weighting images by parts that are used against an expert's graph help?

Scenes of two to four real digits on a jittered 2 x 2 grid of 32 x 32 pixels; a class is a set of
three digits (2 of 4 classes share each of four digits), the graph says which belongs to which,
and 8 and 9 belong to none. In training scenes 9 goes with the first class (90 %, and 10 %
elsewhere); on test scenes it is in half of all ("9 at random"), or goes with the class as in
training. A network finds the digits, a perceptron of 11 hidden units names the class from their
scores, three rounds; arms differ in the weights of the second and third round: none,
misattribution by exact Shapley values with h of 1 and 4 (X-NeSyL), those of h = 4 shuffled over
the images, and those of the focal loss, which knows no graph. An end-to-end network of the same
trunk learns the classes alone for as many updates. Measured on test scenes: accuracy, graph
distance (edges in which explanation and graph differ, lower is better) and misattribution (worst
part of a scene, lower is better). 2,000 training scenes, 1,500 test scenes (400 for
explanations), five seeds (0 to 4).
"""

from __future__ import annotations

from typing import Any

import numpy as np
import torch
from torch import Tensor, nn
from torch.nn import functional

from benchmarks.claims import Claim, describe_claims, make_table
from benchmarks.part_graphs.scenes import (
    GRAPH,
    N_PARTS,
    PART_SETS,
    SceneNetwork,
    Scenes,
    make_scenes,
)
from ilk.maths.part_graph import Values, compute_alignment
from ilk.training.batch import Batch
from ilk.training.part_model import (
    PartModel,
    Rounds,
    Weighting,
    fit_part_model,
    weight_by_loss,
    weight_by_misattribution,
)
from ilk.training.trainer import Recipe, train

SEEDS = range(5)
N_TRAIN, N_TEST, N_EXPLAINED = 2000, 1500, 400
ROUNDS = Rounds(n_rounds=3, steps=80, lr=1e-2)
ENTRY, FILE = "x-nesyl-monumai", "training/part_model.py"
END_TO_END, UNWEIGHTED, FOCAL = "end-to-end network", "parts, no weights", "parts, focal weights"
STRENGTHS = (1.0, 4.0)
SHUFFLED = "parts, misattribution h = 4, shuffled"
METRICS = {
    "accuracy, 9 at random": "higher",
    "accuracy, 9 as in training": "higher",
    "graph distance": "lower",
    "misattribution": "lower",
}


def name_arm(h: float) -> str:
    """Return the name of the arm of strength h."""
    return f"parts, misattribution h = {h:g}"


def run(small: bool = False) -> dict[str, Any]:
    """Return one table per metric, the verdict and an explanation; `small` has two seeds."""
    seeds = range(2) if small else SEEDS
    results = [compare(seed, small) for seed in seeds]
    main = name_arm(1.0)
    tables = []
    for metric, better in METRICS.items():
        arms = [a for a in results[0]["arms"] if metric in results[0]["arms"][a]]
        scores = {arm: [r["arms"][arm][metric] for r in results] for arm in arms}
        rivals = [arm for arm in (UNWEIGHTED, SHUFFLED, FOCAL, END_TO_END) if arm in scores]
        claims = [Claim(ENTRY, FILE, main, rival) for rival in rivals]
        claims += [Claim(ENTRY, FILE, name_arm(4.0), rival) for rival in rivals]
        if metric.startswith("accuracy"):
            claims.append(Claim(ENTRY, FILE, UNWEIGHTED, END_TO_END))
        tables.append(make_table("scenes of digits", metric, scores, claims, better))  # type: ignore[arg-type]
    return {
        "tables": tables,
        "verdict": describe_claims(tables, ("metric",)),
        "explanation": results[0]["text"],
    }


def compare(seed: int, small: bool) -> dict[str, Any]:
    """Return the metrics of every arm for one seed, and an explanation in words."""
    n = 200 if small else N_TEST
    train_scenes = make_scenes(200 if small else N_TRAIN, seed)
    tests = {
        "accuracy, 9 at random": make_scenes(n, seed, "test", is_correlated=False),
        "accuracy, 9 as in training": make_scenes(n, seed, "test"),
    }
    steps = 6 if small else ROUNDS.steps
    rounds = Rounds(ROUNDS.n_rounds, steps, lr=ROUNDS.lr, seed=seed)
    arms: dict[str, dict[str, float]] = {}
    network = train_end_to_end(train_scenes, rounds)
    arms[END_TO_END] = {
        name: float(np.mean(_predict(network, t.images) == t.y)) for name, t in tests.items()
    }
    weightings: dict[str, Weighting] = {
        UNWEIGHTED: lambda a, _p, _y: np.ones(len(a)),
        **{name_arm(h): weight_by_misattribution(h) for h in STRENGTHS},
        SHUFFLED: _shuffle(weight_by_misattribution(4.0), seed),
        FOCAL: weight_by_loss(),
    }
    text = ""
    for name, weighting in weightings.items():
        model = fit_part_model(
            SceneNetwork(N_PARTS, seed),
            train_scenes.images,
            train_scenes.parts,
            train_scenes.y,
            GRAPH,
            rounds,
            weighting,
        )
        arms[name] = measure(model, tests)
        if name == name_arm(1.0):
            image = tests["accuracy, 9 at random"].images[0]
            text = model.describe(image, [f"digit {p}" for p in range(N_PARTS)], "ABCD")
    return {"arms": arms, "text": text}


def measure(model: PartModel, tests: dict[str, Scenes]) -> dict[str, float]:
    """Return all metrics of a part model."""
    out = {
        name: float(np.mean(model.predict_proba(t.images).argmax(1) == t.y))
        for name, t in tests.items()
    }
    free = tests["accuracy, 9 at random"]
    images, y = free.images[:N_EXPLAINED], free.y[:N_EXPLAINED]
    out["graph distance"] = model.measure_graph_distance(images)
    alignment = compute_alignment(model.explain(images), y, GRAPH)
    out["misattribution"] = float(np.maximum(-alignment.min(1), 0).mean())
    return out


def _shuffle(weighting: Weighting, seed: int) -> Weighting:
    """Return a weighting whose weights go to other rows."""
    rng = np.random.default_rng(seed)

    def weigh(a: Values, p: Values, y: Any) -> Values:
        return np.asarray(rng.permutation(weighting(a, p, y)))

    return weigh


def train_end_to_end(scenes: Scenes, rounds: Rounds) -> nn.Module:
    """Return a network from pixels to classes, trained for as many updates as all rounds."""
    recipe = Recipe(
        rounds.n_rounds * rounds.steps, rounds.batch_size, rounds.lr, 5, 0.01, seed=rounds.seed
    )
    rows = Batch(scenes.images, torch.from_numpy(scenes.y))
    return train(SceneNetwork(len(PART_SETS), rounds.seed), rows, _compute_loss, recipe)


def _compute_loss(net: nn.Module, batch: Batch, _generator: torch.Generator) -> Tensor:
    return functional.cross_entropy(net(batch.x), batch.y)


def _predict(network: nn.Module, images: Tensor) -> Any:
    with torch.inference_mode():
        return torch.cat([network(part) for part in torch.split(images, 256)]).argmax(1).numpy()
