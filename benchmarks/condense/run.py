"""Do a few images per class, made or chosen, train nearly as good a classifier as all of them?

On MNIST (20,000 training images), 10 images per class are chosen at random or by herding, or made
by matching gradients class by class (DC), summed over classes (DCC), by matching mean features of
random networks, or as refined crops (NRR-DD). A small convolutional network that is trained on them
from scratch is judged on test images. DC and DCC are compared with 1 image per class as well, on
plain digits and before a texture that all classes share. NRR-DD's students learn from hard labels,
from soft ones, and from two numbers per image. Methods that are compared get the same start, real
images and updates; nothing is chosen on test labels.
"""

from __future__ import annotations

import re
from collections import defaultdict
from dataclasses import dataclass, replace
from typing import Any

import torch
from torch import Tensor, nn

from benchmarks.claims import Claim, make_table
from benchmarks.condense.sets import Digits, add_texture, read_digits
from benchmarks.diffusion_setup import load_or_compute
from ilk.subset_selection.condensation import parse_condensation_method
from ilk.subset_selection.condensation.nrr_dd import NRRDD, train_teacher
from ilk.subset_selection.foundations.problem import Condensed, Problem, Run
from ilk.subset_selection.small_classifiers import NetworkTraining, predict_classes, train_network
from ilk.training.batch import Batch
from ilk.training.losses import distillation_loss
from ilk.training.objective import LossFunction, Objective
from ilk.training.objectives.distance_based_transfer import DistanceBasedTransfer

SEEDS = 5
PER_CLASS = 10
UPDATES = 120  # of the network that judges
BAR = 0.95
VERSION = 1  # of the cached scores
MANY_SETTING = f"MNIST, {PER_CLASS} images per class"
ONE_SETTING = "MNIST, 1 image per class"
PAINTED_SETTING = "MNIST on a shared texture, 1 image per class"
RANDOM, HERDING, CLASS_WISE, SUMMED, MEANS = (
    "random real images",
    "herding",
    "class-wise gradient matching (DC)",
    "gradients summed over classes (DCC)",
    "distribution matching",
)
CROPS, REFINED_ALL, REFINED, SOFT, DISTANCES = (
    "NRR-DD, crops unrefined",
    "NRR-DD, all places refined",
    "NRR-DD, hard labels",
    "NRR-DD, soft labels",
    "NRR-DD, two numbers per image",
)
DCC_FILE = "subset_selection/condensation/dcc.py"
NRR_FILE = "subset_selection/condensation/nrr_dd.py"
DBR_FILE = "training/objectives/distance_based_transfer.py"
MEANS_FILE = "subset_selection/condensation/distribution_matching.py"
DCC_CLAIM = Claim("dcc-contrastive-condensation", DCC_FILE, SUMMED, CLASS_WISE)
NRR_CLAIM = Claim("nrr-dd", NRR_FILE, REFINED, CROPS)
DCC_CLAIMS = tuple(replace(DCC_CLAIM, baseline=b) for b in (RANDOM, CLASS_WISE, HERDING))
NRR_CLAIMS = (
    *(replace(NRR_CLAIM, baseline=b) for b in (RANDOM, CROPS, REFINED_ALL, HERDING, CLASS_WISE)),
    Claim("nrr-dd", DBR_FILE, DISTANCES, REFINED),
    Claim("nrr-dd", DBR_FILE, DISTANCES, SOFT),
)
BAR_CLAIMS = tuple(
    Claim("ilk condense", MEANS_FILE, MEANS, b) for b in (RANDOM, CLASS_WISE, HERDING)
)


@dataclass(frozen=True)
class Effort:
    """How long images are trained: networks, updates of the images on each, real images."""

    outer: int
    inner: int
    batch: int

    @property
    def text(self) -> str:
        """The settings of gradient matching, as a user writes them."""
        return f"(outer={self.outer}, inner={self.inner}, batch={self.batch})"


MANY, ONE = Effort(5, 10, 10), Effort(60, 1, 10)
SMALL = Effort(1, 2, 2)


@dataclass(frozen=True, eq=False)
class Trial:
    """One set of digits with one seed."""

    digits: Digits
    problem: Problem
    updates: int

    @classmethod
    def open(cls, digits: Digits, per_class: int, seed: int, *, small: bool) -> Trial:
        """Return the trial of a seed."""
        width = 4 if small else 32
        problem = Problem(digits.x, digits.y, 10, per_class, digits.features, seed, width=width)
        return cls(digits, problem, 3 if small else UPDATES)

    def condense(self, method: str) -> Condensed:
        """Return the images of a method."""
        return parse_condensation_method(method).condense(self.problem, Run())

    def score(self, few: Condensed, objective: Objective | LossFunction | None = None) -> float:
        """Return the test accuracy of a network trained on a few images."""
        training = NetworkTraining(self.updates)
        network = train_network(self.problem, few.x, few.y, training, Run(), "network", objective)
        found = predict_classes(self.problem, network, self.digits.x_test)
        return float((found == self.digits.y_test).mean())


def run(small: bool = False) -> dict[str, Any]:
    """Return the tables and whether the bar is met."""
    digits, seeds = read_digits(small=small), range(2 if small else SEEDS)
    scores: dict[str, dict[str, list[float]]] = defaultdict(lambda: defaultdict(list))
    for seed in seeds:
        for setting in (MANY_SETTING, ONE_SETTING, PAINTED_SETTING):
            for name, value in _score_setting(digits, setting, seed, small=small).items():
                scores[setting][name].append(value)
    metric = "test accuracy of a small network"
    claims = {MANY_SETTING: (*BAR_CLAIMS, *DCC_CLAIMS, *NRR_CLAIMS)}
    tables = [
        make_table(setting, metric, found, claims.get(setting, DCC_CLAIMS))
        for setting, found in scores.items()
    ]
    return {
        "tables": tables,
        "bar": describe_bar(tables[0]),
        "gain_by_texture": compare_gains(tables),
    }


def _score_setting(digits: Digits, setting: str, seed: int, *, small: bool) -> dict[str, float]:
    """Return the score of each method in a setting, from the cache if it is there."""

    def compute() -> dict[str, float]:
        shown = add_texture(digits, seed) if setting == PAINTED_SETTING else digits
        is_many = setting == MANY_SETTING
        trial = Trial.open(shown, PER_CLASS if is_many else 1, seed, small=small)
        return score_methods(trial, MANY if is_many else ONE, small=small)

    if small:
        return compute()
    key = re.sub(r"\W+", "-", f"condense-{VERSION}-{setting}-{seed}")
    scores: dict[str, float] = load_or_compute(key, compute)
    return scores


def score_methods(trial: Trial, effort: Effort, *, small: bool) -> dict[str, float]:
    """Return the accuracy of a network that is trained on the images of each method."""
    settings = (SMALL if small else effort).text
    methods = {
        RANDOM: "RandomImages",
        HERDING: "Herding",
        CLASS_WISE: f"ClassGradientMatching{settings}",
        SUMMED: f"DCC{settings}",
    }
    if trial.problem.per_class == 1:
        return {name: trial.score(trial.condense(text)) for name, text in methods.items()}
    methods[MEANS] = "DistributionMatching(updates=2)" if small else "DistributionMatching"
    scores = {name: trial.score(trial.condense(text)) for name, text in methods.items()}
    return scores | score_refinement(trial, small=small)


def score_refinement(trial: Trial, *, small: bool) -> dict[str, float]:
    """Return the accuracies of NRR-DD's arms, which share one network that looks."""
    problem, run, updates = trial.problem, Run(), 3 if small else 150
    method = NRRDD(training_updates=updates, updates=2 if small else 50)
    teacher = train_teacher(problem, run, updates)
    sets = {
        CROPS: replace(method, refine="none").refine_crops(problem, run, teacher),
        REFINED_ALL: replace(method, refine="all").refine_crops(problem, run, teacher),
        REFINED: method.refine_crops(problem, run, teacher),
    }
    scores = {name: trial.score(few) for name, few in sets.items()}
    few = sets[REFINED]
    logits = compute_logits(problem, teacher, few)

    def learn_soft(network: nn.Module, batch: Batch, _generator: torch.Generator) -> Tensor:
        assert batch.indices is not None, "the trainer sets them"
        return distillation_loss(network(batch.x), logits[batch.indices], 1.0)

    scores[SOFT] = trial.score(few, learn_soft)
    scores[DISTANCES] = trial.score(few, DistanceBasedTransfer(logits))
    return scores


@torch.no_grad()
def compute_logits(problem: Problem, teacher: nn.Module, few: Condensed) -> Tensor:
    """Return the logits `[m, k]` of the network that looks for condensed images."""
    logits: Tensor = teacher(problem.scale.standardize(few.x))
    return logits


def describe_bar(table: dict[str, Any]) -> dict[str, Any]:
    """Return whether condensed images reach the bar, above random ones and class-wise matching."""
    scores = {row["method"]: row["score"]["mean"] for row in table["scores"]}
    verdicts = {
        claim["baseline"]: claim["verdict"] for claim in table["claims"] if claim["method"] == MEANS
    }
    is_met = scores[MEANS] >= BAR and all(
        verdicts[name] == "ahead" for name in (RANDOM, CLASS_WISE)
    )
    return {
        "required": BAR,
        "accuracy": scores[MEANS],
        "verdicts": verdicts,
        "met": bool(is_met),
    }


def compare_gains(tables: list[dict[str, Any]]) -> dict[str, Any]:
    """Return the gain of the sum over class-wise matching in each setting."""
    return {
        table["setting"]: claim["difference"]
        for table in tables
        for claim in table["claims"]
        if claim["method"] == SUMMED and claim["baseline"] == CLASS_WISE
    }
