"""Do evenly distributed pseudo-labels tune prompts better than those above a threshold?

A small image-text model learns MNIST and captions (`towers.py`) and meets USPS, which it has not
seen: 1,500 unlabelled training images, 1,500 test images. FPL, IFPL and GRIP tune the three words
of the prompt before the name through the caption tower, and, as `ilk fit --method GRIP` does, a
residual of each class embedding instead. Rivals: the names alone; pseudo-labels above a threshold
of 0.95 (FixMatch's) and all predictions, once; and EM with Gaussians (ZeroShotEM), in closed form.
The ceiling tunes on the true labels of the same rows. A second table has 2 labels per class as
well. The spread is the standard deviation of accuracy over classes. Learning rates were tried on
seed 100; five seeds (0 to 4) of towers and images. For each round: the share of rows with a
pseudo-label, and how many of those are right.
"""

from __future__ import annotations

from dataclasses import dataclass, field, replace
from typing import Any

import numpy as np
from numpy.typing import NDArray
from torch import nn

from benchmarks.claims import Claim, describe_claims, make_table
from benchmarks.datasets import read_mnist, read_usps
from benchmarks.pseudolabel_prompts.towers import SCALE, K, Towers, train_towers
from ilk.core.data import UNLABELLED, Data, Features, Labels
from ilk.core.errors import Unavailable
from ilk.core.metrics import softmax
from ilk.methods.gda_clip import GDAZeroShot
from ilk.methods.gda_clip_unlabelled import ZeroShotEM
from ilk.methods.grip import GRIP
from ilk.training.class_embeddings import embed_classes, tune_classes
from ilk.training.optimizers import AdamW
from ilk.training.recipe import Recipe
from ilk.transduction.pseudolabels import label_in_rounds, plan_sizes, select_confident

SEEDS, N_ROWS, N_TEST, SHOTS, THRESHOLD = range(5), 1500, 1500, 2, 0.95
STEPS, LR, SIZE, ROUNDS = 60, 0.02, 16, 10
ENTRY = "clip-pseudolabel-prompt-tuning"
PROMPT_FILE, METHOD_FILE = "transduction/pseudolabels.py", "methods/grip.py"
NAMES, EM, CEILING = "names alone", "ZeroShotEM", "words, true labels"
PLANS: dict[str, tuple[int | None, int]] = {
    "GRIP": (None, ROUNDS), "IFPL": (SIZE, ROUNDS), "FPL": (SIZE, 1)
}  # fmt: skip
WORDS_SURE, WORDS_ALL = "words, above 0.95", "words, all predictions"
METRICS = ("accuracy", "worst class", "spread over classes")
NO_LABELS, FEW_LABELS = "USPS, names alone", "USPS, names and 2 labels per class"


@dataclass(frozen=True, eq=False)
class Study:
    """What one seed has: towers, unlabelled rows with their hidden labels, test rows."""

    towers: Towers
    rows: Data
    test: Data
    seed: int
    steps: int
    rounds: dict[str, list[tuple[float, float]]] = field(default_factory=dict)

    @property
    def unlabelled(self) -> Data:
        """The rows without their labels."""
        return replace(self.rows, y=np.full(len(self.rows), UNLABELLED))

    def tune_words(self, y: Labels, number: int = 0) -> nn.Module:
        """Return a prompt learned from labels `[n]`, -1 where unknown."""
        recipe = Recipe(
            self.steps, 256, LR, self.steps // 10, seed=self.seed + number, optimizer=AdamW()
        )
        prompt = self.towers.make_prompt()
        return tune_classes(prompt, self.rows.x, y, recipe, SCALE) if (y >= 0).any() else prompt

    def predict(self, classes: Features, x: Features) -> NDArray[np.float64]:
        """Return probabilities `[n, k]` of unit rows."""
        return np.asarray(softmax(SCALE * x.astype(np.float64) @ classes.T, axis=1))

    def note(self, name: str, y: Labels) -> None:
        """Keep the share of rows with a pseudo-label, and how many of those are right."""
        given = y >= 0
        right = float(np.mean(y[given] == self.rows.y[given])) if given.any() else 0.0
        self.rounds.setdefault(name, []).append((round(float(given.mean()), 4), round(right, 4)))


def run(small: bool = False) -> dict[str, Any]:
    """Run the benchmark; `small` takes seconds."""
    try:
        mnist, sources = read_mnist(), (read_usps(), read_usps("test"))
    except Unavailable as error:
        return {"tables": [], "verdict": [], "left out": [f"digits: {error}"]}
    results = []
    for seed in range(2) if small else SEEDS:
        study = make_study(train_towers(mnist, seed, small), *sources, seed, small)
        results.append(
            {NO_LABELS: tune_without_labels(study), FEW_LABELS: tune_with_labels(study)}
            | {"rounds": study.rounds}
        )
    tables = []
    for setting in (NO_LABELS, FEW_LABELS):
        for metric in METRICS:
            arms = results[0][setting]
            scores = {arm: [r[setting][arm][metric] for r in results] for arm in arms}
            better = "lower" if metric == METRICS[2] else "higher"
            tables.append(make_table(setting, metric, scores, list_claims(setting), better))
    rounds = {name: [r["rounds"][name] for r in results] for name in results[0]["rounds"]}
    verdict = describe_claims(tables, ("setting", "metric"))
    return {"tables": tables, "rounds": rounds, "verdict": verdict, "left out": []}


def list_claims(setting: str) -> list[Claim]:
    """Return the comparisons of a table."""
    if setting == FEW_LABELS:
        rivals = (NAMES, "residuals, labels alone", "GDAZeroShot", EM)
        return [Claim(ENTRY, METHOD_FILE, "residuals, GRIP", rival) for rival in rivals]
    words = [Claim(ENTRY, PROMPT_FILE, f"words, {p}", WORDS_SURE) for p in PLANS]
    rivals = (NAMES, WORDS_ALL, "words, IFPL", "words, FPL", EM)
    words += [Claim(ENTRY, PROMPT_FILE, "words, GRIP", rival) for rival in rivals]
    rivals = (NAMES, EM, "residuals, all predictions", "words, GRIP")
    return words + [Claim(ENTRY, METHOD_FILE, "residuals, GRIP", rival) for rival in rivals]


def make_study(towers: Towers, source: Data, test: Data, seed: int, small: bool) -> Study:
    """Draw and embed the images of a seed."""
    rng = np.random.default_rng(seed)
    names = embed_classes(towers.make_prompt())
    parts = []
    for data, count in ((source, N_ROWS), (test, N_TEST)):
        rows = rng.permutation(len(data))[: 120 if small else count]
        x = towers.embed(data.x[rows])
        parts.append(Data(x, data.y[rows], data.classes, class_embeddings=names))
    return Study(towers, parts[0], parts[1], seed, 3 if small else STEPS)


def tune_without_labels(study: Study) -> dict[str, dict[str, float]]:
    """Return the figures of every arm that has names and unlabelled rows."""
    names, rows = study.rows.class_embeddings, study.rows
    assert names is not None
    start = study.predict(names, rows.x)
    results = {NAMES: measure(study, study.predict(names, study.test.x))}
    for plan, (size, rounds) in PLANS.items():
        arm = f"words, {plan}"

        def learn(y: Labels, number: int, arm: str = arm) -> nn.Module:
            study.note(arm, y)
            return study.tune_words(y, number)

        sizes = plan_sizes(len(rows), K, size, rounds)
        tuned = label_in_rounds(
            start, sizes, learn, lambda net: study.predict(embed_classes(net), rows.x)
        )
        results[arm] = measure_words(study, tuned)
        method = GRIP(size, rounds, study.steps, scale=SCALE, seed=study.seed)
        results[f"residuals, {plan}"] = measure_method(study, method, study.unlabelled)
    single = GRIP(size=1, rounds=1, steps=study.steps, scale=SCALE, seed=study.seed)
    for label, threshold in (("above 0.95", THRESHOLD), ("all predictions", 0.0)):
        y = select_confident(start, threshold)
        study.note(f"words, {label}", y)
        results[f"words, {label}"] = measure_words(study, study.tune_words(y))
        some = replace(rows, y=y).take(y >= 0)
        results[f"residuals, {label}"] = (
            measure_method(study, single, some) if len(some) else results[NAMES]
        )
    results[EM] = measure_method(study, ZeroShotEM(), study.unlabelled)
    results[CEILING] = measure_words(study, study.tune_words(rows.y))
    results["residuals, true labels"] = measure_method(study, single, rows)
    return results


def tune_with_labels(study: Study) -> dict[str, dict[str, float]]:
    """Return the figures of every arm that has names, unlabelled rows and two labels per class."""
    y = np.full(len(study.rows), UNLABELLED)
    for c in range(K):
        known = np.flatnonzero(study.rows.y == c)[:SHOTS]
        y[known] = c
    rows = replace(study.rows, y=y)
    labelled = rows.take(y >= 0)
    method = GRIP(steps=study.steps, scale=SCALE, seed=study.seed)
    names = study.rows.class_embeddings
    assert names is not None
    return {
        NAMES: measure(study, study.predict(names, study.test.x)),
        "residuals, labels alone": measure_method(study, method, labelled),
        "GDAZeroShot": measure_method(study, GDAZeroShot(), labelled),
        EM: measure_method(study, ZeroShotEM(), rows),
        "residuals, FPL": measure_method(study, replace(method, size=SIZE, rounds=1), rows),
        "residuals, GRIP": measure_method(study, method, rows),
    }


def measure_words(study: Study, prompt: nn.Module) -> dict[str, float]:
    """Return the figures of a prompt."""
    return measure(study, study.predict(embed_classes(prompt), study.test.x))


def measure_method(study: Study, method: Any, data: Data) -> dict[str, float]:
    """Return the figures of a method of ilk."""
    return measure(study, method.fit(data).logits(study.test.x))


def measure(study: Study, scores: NDArray[Any]) -> dict[str, float]:
    """Return the accuracy, that of the worst class, and the spread over classes."""
    is_right = scores.argmax(1) == study.test.y
    per_class = [float(is_right[study.test.y == c].mean()) for c in np.unique(study.test.y)]
    figures = float(is_right.mean()), min(per_class), float(np.std(per_class))
    return dict(zip(METRICS, figures, strict=True))
