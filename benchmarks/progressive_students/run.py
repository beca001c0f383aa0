"""Do ever smaller students, distilled in steps, beat students trained on labels, and as a group?

MNIST: 10,000 training and the 10,000 test digits. The teacher, a residual convolutional network, is
trained once on the labels. Three students read a digit, reduced to 14 x 14 pixels, row by row: one
Mamba block of 32, 16 and 8 channels, 700 updates of 64 digits each, five seeds; all arms have the
same digits, order, updates and recipe:

* labels: each student by itself;
* direct: each distilled from the teacher (temperature 4, labels count half);
* stepwise: the first from the teacher, each next one from the student before it;
* boosted: each learns what the sum of the students before it leaves of teacher and labels.

Tables: the accuracy of each student alone, and that of the group: the sum of logits of boosted
students, the mean of the others' (that of *labels* is a plain ensemble of the same size), against
the teacher and a gated recurrent network (GRU) with as many multiplications as the group, trained
as *direct*. A boosted student after the first is not made to answer alone. Said to happen: stepwise
students beat those of labels and of direct distillation; the group is within a point of the
teacher.

Nothing is chosen on test labels: losses have the paper's settings, the recipe was fixed before.
"""

from __future__ import annotations

from typing import Any

from torch import Tensor

from benchmarks.claims import Claim, make_table
from benchmarks.progressive_students.setting import (
    GRU,
    TEACHER,
    WIDTHS,
    Setting,
    load_setting,
    sum_logits,
)
from benchmarks.student_networks import measure_accuracy

FILE = "training/objectives/progressive.py"
LABELS, DIRECT, STEPWISE, BOOSTED = "labels", "direct", "stepwise", "boosted"
ARMS = (LABELS, DIRECT, STEPWISE, BOOSTED)


def run(small: bool = False) -> dict[str, Any]:
    """Return the accuracy of students and of groups, and their multiplications."""
    setting = load_setting(small)
    alone: dict[str, list[list[float]]] = {name: [[] for _ in WIDTHS] for name in ARMS}
    groups: dict[str, list[float]] = {name: [] for name in (*ARMS, GRU, TEACHER)}
    for seed in setting.seeds:
        for name, students in train_students(setting, seed).items():
            for scores, logits in zip(alone[name], students, strict=True):
                scores.append(measure_accuracy(logits, setting.test.y))
            groups[name].append(measure_accuracy(sum_logits(students), setting.test.y))
        groups[GRU].append(setting.score_recurrent(seed))
        groups[TEACHER].append(setting.teacher_accuracy)
    tables = [
        make_table(
            f"MNIST, student of {width} channels",
            "test accuracy",
            {name: alone[name][i] for name in ARMS},
            [_claim(STEPWISE, LABELS), _claim(STEPWISE, DIRECT), _claim(DIRECT, LABELS)],
        )
        for i, width in enumerate(WIDTHS)
    ]
    rivals = (LABELS, DIRECT, GRU, TEACHER)
    claims = [_claim(ours, theirs) for ours in (BOOSTED, STEPWISE) for theirs in rivals]
    tables.append(make_table("MNIST, group of three students", "test accuracy", groups, claims))
    return {"tables": tables, "sizes": setting.describe()}


def train_students(setting: Setting, seed: int) -> dict[str, list[Tensor]]:
    """Return the test logits of the students of each arm, from the largest to the smallest."""
    first, *others = WIDTHS
    largest = setting.train_student(first, seed, setting.teacher_logits)  # of three arms
    answers = {
        LABELS: [setting.train_student(width, seed, None)[1] for width in WIDTHS],
        **{name: [largest[1]] for name in (DIRECT, STEPWISE, BOOSTED)},
    }
    previous = group = largest[0]
    for width in others:
        direct = setting.train_student(width, seed, setting.teacher_logits)
        stepwise = setting.train_student(width, seed, previous)
        boosted = setting.train_student(width, seed, setting.teacher_logits, group)
        previous, group = stepwise[0], group + boosted[0]
        for name, found in ((DIRECT, direct), (STEPWISE, stepwise), (BOOSTED, boosted)):
            answers[name].append(found[1])
    return answers


def _claim(ours: str, theirs: str) -> Claim:
    return Claim("mamba-pkd", FILE, ours, theirs)
