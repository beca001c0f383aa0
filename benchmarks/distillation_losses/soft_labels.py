"""Soft labels of three teachers alone, from a student that is already trained."""

from __future__ import annotations

import copy
from typing import Any

from benchmarks.claims import Claim, make_table
from benchmarks.distillation_losses.setting import Setting
from benchmarks.student_networks import ConvNet
from ilk.training.objectives.meal import MEAL, Game

FILE = "training/objectives/meal.py"
START, HARD, SOFT, BOTH = "start", "labels", "soft labels", "soft labels and labels"
TOGETHER, ADVERSARY = "soft labels, discriminator together", "soft labels, adversary"
RANDOM = "soft labels from random weights"

ARMS: dict[str, tuple[Game, float]] = {  # discriminator and weight of labels
    HARD: ("none", 1.0),
    SOFT: ("none", 0.0),
    BOTH: ("none", 0.5),
    TOGETHER: ("together", 0.0),
    ADVERSARY: ("adversarial", 0.0),
}


def compare(setting: Setting, students: dict[int, ConvNet]) -> dict[str, Any]:
    """Return the table of accuracies; `students` are where all but one arm start."""
    scores: dict[str, list[float]] = {name: [] for name in (START, *ARMS, RANDOM)}
    for seed, student in students.items():
        scores[START].append(setting.score(student))
        for name, (game, label_weight) in ARMS.items():
            objective = MEAL(list(setting.teachers), game, label_weight, seed)
            network = copy.deepcopy(student).requires_grad_()
            scores[name].append(setting.score(setting.fit(network, objective, seed, tuning=True)))
        random = setting.make_student(seed)
        objective = MEAL(list(setting.teachers), "none", seed=seed)
        scores[RANDOM].append(setting.score(setting.fit(random, objective, seed, tuning=True)))
    pairs = [
        (SOFT, HARD),
        (SOFT, BOTH),
        (SOFT, RANDOM),
        (SOFT, START),
        (TOGETHER, SOFT),
        (ADVERSARY, SOFT),
        (TOGETHER, HARD),
    ]
    claims = [Claim("meal-v2", FILE, ours, theirs) for ours, theirs in pairs]
    name = f"{setting.name}, {len(setting.train):,} pictures, three teachers, second run"
    return make_table(name, "test accuracy", scores, claims)
